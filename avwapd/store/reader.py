"""Reading the ledger without ever standing in the writer's way."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from avwapd.store import LedgerMissing, NotOurLedger, migrate
from avwapd.store.database import APPLICATION_ID

BUSY_S = 2.0
STEP = 10_000


def open_reader(path: str | os.PathLike[str], *, steps: int | None = None) -> sqlite3.Connection:
    """A connection that cannot write. `steps`: how many virtual machine steps a query may take.

    A long read holds back the checkpoint and lets the WAL grow, so what answers the daemon's users sets a
    bound (ten million steps are about a second); an offline verb needs none.
    """
    file = Path(path)
    if not file.is_file():
        raise LedgerMissing("no ledger here", file, "start avwapd once, or check --state-dir")
    conn = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_S)
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


def _assert_ours(conn: sqlite3.Connection, path: Path) -> None:
    try:
        (application_id,) = conn.execute("PRAGMA application_id").fetchone()
    except sqlite3.DatabaseError as error:
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
