from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from avwapd import cli
from avwapd.store import LedgerDamaged, LedgerMissing, NotOurLedger
from avwapd.store.database import open_sync
from avwapd.store.reader import open_reader, reading
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


def test_a_folder_that_cannot_be_written_is_read_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_sync(tmp_path / "avwapd.db").close()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    with closing(open_reader(tmp_path / "avwapd.db")) as conn:
        assert conn.execute("SELECT count(*) FROM runs").fetchone() == (0,)
        assert [entry.name for entry in tmp_path.iterdir()] == ["avwapd.db"]


@pytest.mark.parametrize("verb", [("audit",), ("export", "decisions"), ("verify",)])
def test_a_broken_ledger_is_told(tmp_path: Path, verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "avwapd.db"
    open_sync(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    assert cli.main(["--state-dir", str(tmp_path), *verb]) == 1
    told = capsys.readouterr().err
    assert "the ledger is damaged" in told
    assert "next: put a copy back: avwapd db restore COPY" in told


def test_a_stopped_query_is_no_damage(conn: sqlite3.Connection, tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    with (
        closing(open_reader(tmp_path / "avwapd.db", steps=100_000)) as reader,
        pytest.raises(sqlite3.OperationalError, match="interrupted"),
        reading(tmp_path),
    ):
        reader.execute(endless).fetchone()


def test_a_version_that_no_program_wrote_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "avwapd.db"
    with closing(open_sync(path)) as conn:
        conn.execute("PRAGMA user_version = 0")
    before = path.read_bytes()
    with pytest.raises(LedgerDamaged, match="says version 0"):
        open_sync(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["avwapd.db"]
    with pytest.raises(LedgerDamaged, match="says version 0"):
        open_reader(path)
    assert path.read_bytes() == before
