"""Open the ledger so that every promise of SQLite it relies on was read back, and run whole functions on it.

A file that is not ours, newer, damaged or not writable is refused before the first byte is written.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

import aiosqlite
import anyio

from avwapd.store import (
    LedgerDamaged,
    LedgerMissing,
    LedgerReadOnly,
    LockHeld,
    NotOurLedger,
    StoreError,
    migrate,
)
from avwapd.store.ledger import sync_words
from avwapd.store.migrate import Migrations
from avwapd.store.sql import Connection, in_transaction, read, statements, transact

T = TypeVar("T")

APPLICATION_ID = 0x61767764  # "avwd"
MAGIC = b"SQLite format 3\x00"
BUSY_MS = 5000
WAL_BYTES = 64 * 1024 * 1024
PRIMARY = 0xFF  # an extended result code's lowest byte
OF_THE_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN)

Synchronous = Literal["FULL", "NORMAL"]  # NORMAL only for the test that shows what it loses


class DiskRefused(StoreError):
    """The disk does not take what a start writes before anything else; the ledger is as it was."""


# ----------------------------------------------------------------------------------------------- identity


def identify(path: Path, migrations: Migrations, *, create: bool) -> bool:
    """Whether the ledger is still to be made; refuses whatever is not ours to write, reading only."""
    if path.is_dir():
        raise NotOurLedger("this is a folder, not a ledger", path, "name a file, such as avwapd.db in that folder")
    if not path.parent.is_dir():
        raise LedgerMissing("the folder is missing", path.parent, "create it, or set another --state-dir")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise LedgerReadOnly("the folder cannot be written", path.parent, "give this user the right to write there")
    if not path.exists():
        return _may_create(path, create=create)
    if not os.access(path, os.R_OK | os.W_OK):
        raise LedgerReadOnly("the file cannot be written", path, "give this user the right to read and write it")
    if path.stat().st_size == 0:
        return _may_create(path, create=create)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise NotOurLedger("not an SQLite file", path, "move it away, or set another --state-dir")
    try:
        _inspect(path, migrations)
    except sqlite3.DatabaseError as error:
        raise migrate.damaged(path, str(error)) from error
    return False


def _may_create(path: Path, *, create: bool) -> bool:
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size > 0:
        raise LedgerDamaged("the ledger is gone but its -wal is still here", wal, "put the two back together")
    if not create:
        raise LedgerMissing("no ledger yet", path, "start avwapd once, or check --state-dir")
    return True


def _inspect(path: Path, migrations: Migrations) -> None:
    """Read id, version and SQLite's own check through a connection that cannot write nor leave files."""
    alone = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
    conn = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", uri=True, isolation_level=None)
    try:
        (application_id,) = conn.execute("PRAGMA application_id").fetchone()
        if application_id != APPLICATION_ID:
            raise NotOurLedger("another program's database", path, "move it away, or set another --state-dir")
        migrate.refuse_newer(migrate.version_of(conn), path, migrations)
        (verdict,) = conn.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise migrate.damaged(path, verdict)
    finally:
        conn.close()


# ------------------------------------------------------------------------------------------------ opening


def _create(path: Path, migrations: Migrations) -> None:
    """Make the ledger under another name and give it its own once it is whole and durable."""
    new = path.with_name(path.name + ".new")
    for rest in ("", "-wal", "-shm", "-journal"):
        new.with_name(new.name + rest).unlink(missing_ok=True)
    conn = sqlite3.connect(new, isolation_level=None)
    try:
        configure(conn, new)
        transact(create_schema)(conn)
        migrate.upgrade(conn, new, migrations, keep=False)
    finally:
        conn.close()
    migrate.sync_path(new)
    new.replace(path)
    migrate.sync_path(path.parent)


def create_schema(conn: Connection) -> None:
    """Version 1 into an empty file."""
    for statement in statements(read("schema.sql")):
        conn.execute(statement)
    conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    conn.execute("PRAGMA user_version = 1")


def configure(conn: Connection, path: Path, synchronous: Synchronous = "FULL") -> None:
    """Set what makes a commit durable and a mistake loud, and believe only what is read back."""
    expected = {
        "journal_mode = WAL": "wal",
        f"synchronous = {synchronous}": {"FULL": 2, "NORMAL": 1}[synchronous],
        "foreign_keys = ON": 1,
        f"busy_timeout = {BUSY_MS}": BUSY_MS,
        "wal_autocheckpoint = 0": 0,  # the writer checkpoints when it is idle
        f"journal_size_limit = {WAL_BYTES}": WAL_BYTES,
        "mmap_size = 0": 0,
        "temp_store = MEMORY": 2,
        "cell_size_check = ON": 1,
        "trusted_schema = OFF": 0,
    }
    for setting, wanted in expected.items():
        conn.execute(f"PRAGMA {setting}").fetchall()
        (answer,) = conn.execute(f"PRAGMA {setting.split()[0]}").fetchone()
        if answer != wanted:
            raise StoreError(
                f"SQLite answers {answer!r} to PRAGMA {setting}",
                path,
                "use a local disk and a standard SQLite",
            )


def _assert_writable(conn: sqlite3.Connection, path: Path) -> None:
    """A write lock can be had; nothing is written to learn it."""
    try:
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise LockHeld("another program is writing the ledger", path, "stop it, then start again") from error
        raise LedgerReadOnly(f"the file cannot be written ({error})", path, "check its rights and the disk") from error


def open_sync(
    path: str | os.PathLike[str],
    *,
    create: bool = True,
    synchronous: Synchronous = "FULL",
    migrations: Migrations | None = None,
) -> sqlite3.Connection:
    """The one read-write connection, checked, configured, migrated. The caller holds the folder's lock."""
    file = Path(path)
    steps = migrate.packaged() if migrations is None else migrations
    if identify(file, steps, create=create):
        _create(file, steps)
    conn = sqlite3.connect(file, isolation_level=None, timeout=BUSY_MS / 1000, cached_statements=256)
    try:
        _assert_writable(conn, file)
        configure(conn, file, synchronous)
        migrate.upgrade(conn, file, steps)
        transact(sync_words)(conn)
    except sqlite3.Error as error:
        conn.close()
        raise unopened(error, file) from error
    except BaseException:
        conn.close()
        raise
    return conn


def unopened(error: sqlite3.Error, path: Path) -> StoreError:
    """What SQLite has against a ledger that passed its own check, in words: the disk's trouble or the file's."""
    if getattr(error, "sqlite_errorcode", 0) & PRIMARY in OF_THE_DISK:
        return DiskRefused(
            f"the ledger cannot be opened ({error})", path, "check the disk and make room, then start again"
        )
    return migrate.damaged(path, str(error))


def beginning(fn: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
    """`transact` for the first transaction of a start: nothing is in memory yet that the disk would lack.

    Raises DiskRefused where the disk does not take it.
    """

    def whole(conn: sqlite3.Connection) -> T:
        try:
            return transact(fn)(conn)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & PRIMARY not in OF_THE_DISK:
                raise
            raise unopened(error, Path(conn.execute("PRAGMA database_list").fetchone()[2])) from error

    return whole


# ------------------------------------------------------------------------------------------------ running


class LedgerDatabase:
    """The connection on a thread of its own; a piece of work is one function, never split by an await."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection: aiosqlite.Connection | None = connection

    async def run(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` to its end. A canceled caller hears of it later; what was committed stays committed."""
        if self._connection is None:
            raise RuntimeError("the ledger is closed")
        with anyio.CancelScope(shield=True):
            result: T = await self._connection._execute(_alone, self._connection._conn, fn)  # type: ignore[no-untyped-call]
        return result

    async def close(self) -> None:
        """Finish what is queued, fold the WAL into the file, close, and wait for the thread."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with anyio.CancelScope(shield=True):
            try:
                await connection._execute(_checkpoint, connection._conn)  # type: ignore[no-untyped-call]
            finally:
                await connection.close()
                if connection._thread.is_alive():
                    connection._thread.join()

    async def __aenter__(self) -> LedgerDatabase:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _alone(conn: sqlite3.Connection, fn: Callable[[sqlite3.Connection], T]) -> T:
    """No transaction before, none after: a half-open one would swallow the next caller's work."""
    if in_transaction(conn):
        raise AssertionError("a transaction was left open")
    try:
        return fn(conn)
    finally:
        if in_transaction(conn):
            conn.execute("ROLLBACK")
            raise AssertionError("a function left its transaction open; it was rolled back")


def _checkpoint(conn: sqlite3.Connection) -> None:
    """Fold the WAL in where the disk lets us; where not, the WAL keeps every commit for the next start."""
    with contextlib.suppress(sqlite3.Error):
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def fold_wal(path: Path) -> None:
    """Fold a ledger's WAL into its file where that can be done, nobody else having it open; else leave both."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


async def open_database(
    path: str | os.PathLike[str],
    *,
    create: bool = True,
    synchronous: Synchronous = "FULL",
    migrations: Migrations | None = None,
) -> LedgerDatabase:
    """`open_sync` on a thread of its own."""
    opening = partial(open_sync, path, create=create, synchronous=synchronous, migrations=migrations)
    connection = aiosqlite.Connection(opening, iter_chunk_size=64)
    with anyio.CancelScope(shield=True):
        try:
            await connection
        except BaseException:
            connection._thread.join()
            raise
    return LedgerDatabase(connection)
