from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from avwapd.store.database import open_sync
from avwapd.store.sql import transact
from tests.store import story


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A ledger with an epoch, nothing journaled."""
    opened = open_sync(tmp_path / "avwapd.db")
    transact(story.begin)(opened)
    yield opened
    opened.close()
