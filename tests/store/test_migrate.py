"""The road from an old ledger to this program's, with migrations made up for the test."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from avwapd.store import LedgerDamaged, LedgerNewer, MigrationFailed, migrate
from avwapd.store.audit import audit
from avwapd.store.database import open_sync
from avwapd.store.sql import transact
from tests.store import story

STEPS = migrate.from_folder(Path(__file__).parent / "migrations")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger of version 1 with a story and a beat in it."""
    path = tmp_path / "avwapd.db"
    conn = story.tell(path, migrations={})
    transact(lambda c: c.execute("INSERT INTO beats VALUES (7, '{}')"))(conn)
    conn.close()
    return path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def tables(conn: sqlite3.Connection) -> list[tuple[str, str]]:
    return conn.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


def test_each_step_is_taken_once_with_a_backup_before_it(old: Path) -> None:
    for _ in range(2):
        conn = open_sync(old, migrations=STEPS)
        assert migrate.version_of(conn) == 3
        assert conn.execute("SELECT * FROM moods").fetchall() == [(7, "calm")]
        assert conn.execute("SELECT why FROM instance").fetchall() == [("",)]
        assert conn.execute("PRAGMA foreign_keys").fetchone() == (1,)
        conn.close()
    assert names(old.parent) == ["avwapd.db", "avwapd.db.v1.bak", "avwapd.db.v2.bak"]
    for version in (1, 2):
        copy = sqlite3.connect(old.with_name(f"avwapd.db.v{version}.bak"))
        assert migrate.version_of(copy) == version
        assert copy.execute("SELECT count(*) FROM fills").fetchone() == (3,)
        copy.close()


def test_a_new_ledger_takes_the_same_road_without_backups(tmp_path: Path, old: Path) -> None:
    fresh = open_sync(tmp_path / "fresh.db", migrations=STEPS)
    grown = open_sync(old, migrations=STEPS)
    try:
        assert tables(fresh) == tables(grown)
    finally:
        fresh.close()
        grown.close()
    assert not list(tmp_path.glob("fresh.db.v*"))


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE moods (x);\nCREATE TABLE moods (x);",
        "DELETE FROM instruments;",  # leaves orders that point nowhere
    ],
)
def test_a_failed_step_leaves_the_ledger_as_it_was(script: str, old: Path) -> None:
    before = open_sync(old, migrations={})
    wanted = tables(before)
    before.close()
    with pytest.raises(MigrationFailed, match="still has version 1"):
        open_sync(old, migrations={2: script})
    after = open_sync(old, migrations={})
    try:
        assert tables(after) == wanted
        assert migrate.version_of(after) == 1
    finally:
        after.close()


def test_a_newer_ledger_is_left_alone(old: Path) -> None:
    open_sync(old, migrations=STEPS).close()
    before = old.read_bytes()
    with pytest.raises(LedgerNewer, match="version 3, this program knows 1"):
        open_sync(old, migrations={})
    assert old.read_bytes() == before


def test_a_backup_is_whole_or_not_there(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conn = open_sync(old)
    target = old.with_name("copy.db")
    try:
        target.write_text("an older copy")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
            with pytest.raises(OSError, match="disk full"):
                migrate.backup(conn, target)
        assert target.read_text() == "an older copy"
        migrate.backup(conn, target)
    finally:
        conn.close()
    copy = open_sync(target)
    assert copy.execute("SELECT count(*) FROM inputs").fetchone() == (11,)
    copy.close()
    assert not list(old.parent.glob("*.tmp"))


def test_a_damaged_copy_is_not_kept(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bad(sqlite3.Connection):
        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
            return super().execute("SELECT 'page 7 is gone'" if "quick_check" in sql else sql, *args)  # type: ignore[arg-type]

    conn = open_sync(old, migrations={})
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, factory=Bad, **options))
    try:
        with pytest.raises(LedgerDamaged, match="page 7"):
            migrate.backup(conn, old.with_name("copy.db"))
    finally:
        conn.close()
    assert names(old.parent) == ["avwapd.db"]


@pytest.mark.parametrize("names", [["0003_late.sql"], ["0002_a.sql", "0002_b.sql"], ["0001_first.sql"]])
def test_numbers_are_checked(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="migrations"):
        migrate.from_folder(tmp_path)


def test_a_ledger_of_version_1_learns_of_lists(old: Path) -> None:
    """Journal, orders and what points to them are as they were; its guards stand; a list can be taken."""
    before = open_sync(old, migrations={})
    rows = {
        name: before.execute(f"SELECT * FROM {name}").fetchall() for name in ("inputs", "fills", "outbox", "orders")
    }
    before.close()
    conn = open_sync(old)
    try:
        assert migrate.version_of(conn) == migrate.newest(migrate.packaged())
        assert {name: conn.execute(f"SELECT * FROM {name}").fetchall() for name in rows} == rows
        assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
        for change in ("UPDATE inputs SET body = 'x' WHERE seq = 1", "DELETE FROM inputs WHERE seq = 11"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                conn.execute(change)
        with pytest.raises(sqlite3.IntegrityError, match="no gaps"):
            conn.execute("INSERT INTO inputs VALUES (13, 'act', 1, NULL, '')")
        for part in story.lists():
            transact(lambda c, part=part: story.tell_one(c, part))(conn)  # type: ignore[misc]
        assert audit(conn) == []
        assert conn.execute("SELECT count(*) FROM watchlist").fetchone() == (3,)
    finally:
        conn.close()
    assert "avwapd.db.v1.bak" in names(old.parent)


def test_the_packaged_migrations_are_numbered() -> None:
    assert migrate.newest(migrate.packaged()) == 1 + len(migrate.packaged())
