from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from avwapd.store import LedgerMissing, NotOurLedger
from avwapd.store.reader import open_reader
from avwapd.store.sql import transact
from tests.store import story


def test_a_reader_sees_commits_and_cannot_write(conn: sqlite3.Connection, tmp_path: Path) -> None:
    reader = open_reader(tmp_path / "avwapd.db")
    try:
        for count in (1, 2):
            transact(lambda c, count=count: c.execute("INSERT INTO beats VALUES (?, '')", (count,)))(conn)
            assert reader.execute("SELECT count(*) FROM beats").fetchone() == (count,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("INSERT INTO beats VALUES (9, '')")
    finally:
        reader.close()


def test_a_reader_of_a_killed_daemon_sees_its_wal(tmp_path: Path) -> None:
    alive = story.tell(tmp_path / "a.db")
    for name in ("a.db", "a.db-wal"):
        (tmp_path / name.replace("a.", "b.")).write_bytes((tmp_path / name).read_bytes())
    alive.close()
    reader = open_reader(tmp_path / "b.db")
    try:
        assert reader.execute("SELECT count(*) FROM fills").fetchone() == (3,)
    finally:
        reader.close()


def test_a_query_beyond_its_steps_is_stopped(conn: sqlite3.Connection, tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    reader = open_reader(tmp_path / "avwapd.db", steps=1_000_000)
    try:
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            reader.execute(endless).fetchone()
    finally:
        reader.close()


def test_only_ledgers_are_read(tmp_path: Path) -> None:
    with pytest.raises(LedgerMissing):
        open_reader(tmp_path / "avwapd.db")
    (tmp_path / "text.db").write_text("no database " * 99)
    with pytest.raises(NotOurLedger):
        open_reader(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "other.db").close()
    with pytest.raises(NotOurLedger):
        open_reader(tmp_path / "other.db")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other.db", "text.db"]
