"""Reading the ledger without ever standing in the writer's way."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avwapd.store import LedgerMissing, LedgerReadOnly, NotOurLedger, migrate
from avwapd.store.database import APPLICATION_ID, MAGIC

BUSY_S = 2.0
STEP = 10_000
PRIMARY = 0xFF  # an extended result code's lowest byte
# A query that was stopped, or met a writer, says nothing about the file.
PASSING = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT))


def open_reader(path: str | os.PathLike[str], *, steps: int | None = None) -> sqlite3.Connection:
    """A connection that cannot write. `steps`: how many virtual machine steps a query may take.

    A long read holds back the checkpoint and lets the WAL grow, so what answers the daemon's users sets a
    bound (ten million steps are about a second); an offline verb needs none.
    """
    file = Path(path)
    if not file.is_file():
        raise LedgerMissing("no ledger here", file, "start avwapd once, or check --state-dir")
    uri = f"{file.absolute().as_uri()}?mode=ro{'&immutable=1' if _still(file) else ''}"
    try:
        conn = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S)
    except sqlite3.OperationalError as error:
        next_step = "give this user the right to read it"
        raise LedgerReadOnly(f"the ledger cannot be opened ({error})", file, next_step) from error
    try:
        conn.execute("PRAGMA query_only = ON")
        conn.execute("PRAGMA mmap_size = 0")
        _assert_ours(conn, file)
        if steps is not None:
            _bound(conn, steps)
    except BaseException:
        conn.close()
        raise
    return conn


def _still(file: Path) -> bool:
    """Nobody writes here, so that SQLite need not make the -shm it could not make."""
    return not os.access(file.parent, os.W_OK) and not file.with_name(file.name + "-wal").exists()


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell what SQLite finds broken while the block reads as a damaged ledger."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # ours, not the file's
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & PRIMARY in PASSING:
            raise
        raise migrate.damaged(Path(path), str(error)) from error


def _assert_ours(conn: sqlite3.Connection, path: Path) -> None:
    try:
        (application_id,) = conn.execute("PRAGMA application_id").fetchone()
    except sqlite3.OperationalError as error:
        next_step = "copy the folder to where this user may write, then name that copy"
        raise LedgerReadOnly(f"the ledger cannot be read ({error})", path, next_step) from error
    except sqlite3.DatabaseError as error:
        with path.open("rb") as start:
            if start.read(len(MAGIC)) == MAGIC:
                raise migrate.damaged(path, str(error)) from error
        raise NotOurLedger(f"not a ledger ({error})", path, "name the avwapd.db of a state folder") from error
    if application_id != APPLICATION_ID:
        raise NotOurLedger("another program's database", path, "name the avwapd.db of a state folder")
    migrate.refuse_newer(migrate.version_of(conn), path, migrate.packaged())


def _bound(conn: sqlite3.Connection, steps: int) -> None:
    """Interrupt whatever runs once this connection has used up its steps."""
    left = steps

    def progress() -> int:
        nonlocal left
        left -= STEP
        return int(left < 0)

    conn.set_progress_handler(progress, STEP)
