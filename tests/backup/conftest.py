from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from avwapd.store.database import open_sync


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An empty ledger."""
    opened = open_sync(tmp_path / "avwapd.db")
    yield opened
    opened.close()
