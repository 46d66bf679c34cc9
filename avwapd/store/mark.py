"""What is known of the ledger outside the ledger: how far it had come. An older one in its place is told by it.

The mark is written rarely (at a start, once a session, at a clean end) and durably, so it says less than there was,
never more. A copy that `db backup` took says of itself that it is one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from avwapd.store import migrate
from avwapd.store.ledger import SQL
from avwapd.store.sql import Connection

NAME = "avwapd.mark"
COPIES_SINCE = 4  # the schema that knows copies


class Reach(NamedTuple):
    """How far a ledger has come; compared in this order."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Mark:
    """clean: nothing was written after it (a clean end)."""

    epoch: int
    seq: int
    ts_ms: int
    clean: bool = False

    @property
    def reach(self) -> Reach:
        return Reach(self.epoch, self.seq)


def read(path: Path) -> Mark | None:
    """None where there is none, or one that cannot be read: it is evidence, its absence is not."""
    try:
        told = json.loads(path.read_bytes())
        return Mark(int(told["epoch"]), int(told["seq"]), int(told["ts_ms"]), bool(told["clean"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(path: Path, mark: Mark) -> None:
    """Whole or not at all, and there after a power cut."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("wb") as file:
        file.write(json.dumps(asdict(mark)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    migrate.sync_path(path.parent)


def reach_of(conn: Connection) -> Reach:
    """Of an open ledger, before an epoch is begun."""
    (epoch,) = conn.execute(SQL["newest_epoch"]).fetchone()
    (seq,) = conn.execute(SQL["last_seq"]).fetchone()
    return Reach(int(epoch), int(seq))


# ------------------------------------------------------------------------------------------------- copies


def stamp(conn: Connection, *, taken_ms: int) -> None:
    """Let a copy say that it is one."""
    reach = reach_of(conn)
    conn.execute(SQL["stamp_copy"], (taken_ms, reach.epoch, reach.seq))


def is_copy(conn: Connection) -> bool:
    """A copy on which no daemon was started since it was taken."""
    if int(conn.execute("PRAGMA user_version").fetchone()[0]) < COPIES_SINCE:
        return False
    return conn.execute(SQL["open_copies"]).fetchone() is not None


def found(conn: Connection, *, ts_ms: int) -> None:
    """What follows from this being a copy is on the disk: from here on it is the ledger."""
    conn.execute(SQL["found_copies"], (ts_ms,))


def behind(mark: Mark | None, reach: Reach, *, copy: bool) -> str:
    """Why a ledger is older than the one that traded here, in words; "" where nothing says so."""
    here = f"input {reach.seq} of start {reach.epoch}"
    if mark is not None and reach < mark.reach:
        return f"an older ledger is in place: it ends at {here}, the mark says input {mark.seq} of start {mark.epoch}"
    if copy and not (mark is not None and mark.clean and mark.reach == reach):
        return f"a restored copy is in place: it ends at {here}, and what was written after it is not in it"
    return ""
