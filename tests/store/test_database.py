"""Opening believes nothing unread, and a refused file keeps every byte."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd import store
from avwapd.store import database, ledger, migrate
from avwapd.store.database import open_database, open_sync
from avwapd.store.sql import transact


def pragma(conn: sqlite3.Connection, name: str) -> Any:
    return conn.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_ledger_is_what_it_claims(tmp_path: Path) -> None:
    conn = open_sync(tmp_path / "avwapd.db")
    try:
        assert pragma(conn, "application_id") == database.APPLICATION_ID
        assert pragma(conn, "user_version") == migrate.newest(migrate.packaged())
        assert pragma(conn, "journal_mode") == "wal"
        assert pragma(conn, "synchronous") == 2
        assert pragma(conn, "foreign_keys") == 1
        assert pragma(conn, "integrity_check") == "ok"
        assert not conn.in_transaction
        loose = conn.execute(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT strict"
        )
        assert loose.fetchall() == [("sqlite_schema",)]
    finally:
        conn.close()


def test_opening_again_finds_what_was_written(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        conn = open_sync(tmp_path / "avwapd.db")
        assert transact(lambda c: ledger.begin_epoch(c, 1, 2, "h", "b"))(conn) == epoch
        conn.close()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def other_program(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE theirs (x)")
    conn.commit()
    conn.close()


def branded(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA application_id = 1")
    conn.close()


def newer(path: Path) -> None:
    open_sync(path).close()
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA user_version = 99")
    conn.close()


def damaged(path: Path) -> None:
    conn = open_sync(path)
    transact(lambda c: c.execute("INSERT INTO beats VALUES (1, printf('%.*c', 50000, 'x'))"))(conn)
    conn.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(path.stat().st_size - 8192))


def truncated(path: Path) -> None:
    open_sync(path).close()
    os.truncate(path, path.stat().st_size // 2)


def text(path: Path) -> None:
    path.write_text("not a database at all, but longer than a header " * 9)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (other_program, store.NotOurLedger),
        (branded, store.NotOurLedger),
        (text, store.NotOurLedger),
        (newer, store.LedgerNewer),
        (damaged, store.LedgerDamaged),
        (truncated, store.LedgerDamaged),
    ],
)
def test_a_refused_file_keeps_every_byte(make: Any, error: type[store.StoreError], tmp_path: Path) -> None:
    path = tmp_path / "avwapd.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(error) as caught:
        open_sync(path)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["avwapd.db"]
    assert str(path) in str(caught.value)
    assert caught.value.next_step
    assert caught.value.exit_code == (1 if error is store.LedgerDamaged else 78)


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(store.NotOurLedger, match="folder"):
        open_sync(tmp_path)


def test_nothing_is_created_unasked(tmp_path: Path) -> None:
    with pytest.raises(store.LedgerMissing):
        open_sync(tmp_path / "avwapd.db", create=False)
    with pytest.raises(store.LedgerMissing, match="folder is missing"):
        open_sync(tmp_path / "nowhere" / "avwapd.db")
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "avwapd.db"
    open_sync(path).close()
    path.chmod(0o400)
    with pytest.raises(store.LedgerReadOnly):
        open_sync(path)


def test_a_file_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "avwapd.db"
    open_sync(path).close()
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != path)
    with pytest.raises(store.LedgerReadOnly):
        open_sync(path)


def test_another_writer_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "avwapd.db"
    first = open_sync(path)
    monkeypatch.setattr(database, "BUSY_MS", 50)
    first.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(store.LockHeld, match="another program is writing"):
            open_sync(path)
    finally:
        first.execute("ROLLBACK")
        first.close()


def test_a_wal_without_its_ledger_is_not_adopted(tmp_path: Path) -> None:
    conn = open_sync(tmp_path / "avwapd.db")
    transact(lambda c: c.execute("INSERT INTO beats VALUES (1, '')"))(conn)
    wal = (tmp_path / "avwapd.db-wal").read_bytes()
    conn.close()
    (tmp_path / "avwapd.db").unlink()
    (tmp_path / "avwapd.db-wal").write_bytes(wal)
    with pytest.raises(store.LedgerDamaged, match="gone"):
        open_sync(tmp_path / "avwapd.db")
    assert names(tmp_path) == ["avwapd.db-wal"]


def test_a_creation_cut_short_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "avwapd.db"
    half = "CREATE TABLE instance (epoch INTEGER PRIMARY KEY);\nCREATE TABLE instance (x);\n"
    with monkeypatch.context() as patch:
        patch.setattr(database, "read", lambda name: half)
        with pytest.raises(sqlite3.OperationalError):
            open_sync(path)
    assert not path.exists()
    conn = open_sync(path)
    assert pragma(conn, "application_id") == database.APPLICATION_ID
    conn.close()
    assert names(tmp_path) == ["avwapd.db"]


# ------------------------------------------------------------------------------------------------ running


async def test_work_runs_whole_and_the_file_is_folded_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "avwapd.db"
    async with await open_database(path) as db:
        epoch = await db.run(transact(lambda c: ledger.begin_epoch(c, 1, 2, "h", "b")))
        assert epoch == 1
        await db.close()
    await db.close()
    assert names(tmp_path) == ["avwapd.db"]
    with pytest.raises(RuntimeError, match="closed"):
        await db.run(lambda c: None)


async def test_a_refused_open_leaves_no_thread(tmp_path: Path) -> None:
    text(tmp_path / "avwapd.db")
    with pytest.raises(store.NotOurLedger):
        await open_database(tmp_path / "avwapd.db")


async def test_an_open_transaction_is_undone_and_named(tmp_path: Path) -> None:
    async with await open_database(tmp_path / "avwapd.db") as db:
        with pytest.raises(AssertionError, match="left its transaction open"):
            await db.run(lambda c: c.execute("BEGIN"))
        assert not await db.run(lambda c: c.in_transaction)
        with pytest.raises(AssertionError, match="ended the transaction"):
            await db.run(transact(lambda c: c.execute("COMMIT")))
        assert not await db.run(lambda c: c.in_transaction)


async def test_a_canceled_caller_does_not_split_a_transaction(tmp_path: Path) -> None:
    async with await open_database(tmp_path / "avwapd.db") as db:
        for number in range(40):

            def work(conn: sqlite3.Connection, number: int = number) -> None:
                for part in range(50):
                    conn.execute("INSERT INTO beats VALUES (?, '')", (number * 100 + part,))

            async with anyio.create_task_group() as group:
                group.start_soon(db.run, transact(work))
                await anyio.sleep(0 if number % 2 else 0.0005)
                group.cancel_scope.cancel()
            counts = await db.run(lambda c: c.execute("SELECT count(*) FROM beats GROUP BY ts_ms / 100").fetchall())
            assert set(counts) <= {(50,)}
            assert not await db.run(lambda c: c.in_transaction)


def test_keyed_tables_begin_with_their_key(tmp_path: Path) -> None:
    """SQLite 3.40's quick_check calls any other order damage, and then the daemon would refuse its own file."""
    conn = open_sync(tmp_path / "avwapd.db")
    try:
        keyed = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND wr"
        for (table,) in conn.execute(keyed).fetchall():
            order = [row[5] for row in conn.execute(f"PRAGMA table_info({table})") if row[5]]
            columns = [row[5] for row in conn.execute(f"PRAGMA table_info({table})")][: len(order)]
            assert columns == list(range(1, len(order) + 1)), table
    finally:
        conn.close()
