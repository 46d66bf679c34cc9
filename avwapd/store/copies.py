"""A copy of a ledger that others write to, and what is to be said of any ledger file: reads, and one new file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from avwapd.store import LedgerDamaged, StoreError, ledger, mark, migrate
from avwapd.store.audit import CHECKS, audit
from avwapd.store.mark import Reach
from avwapd.store.reader import open_reader, reading
from avwapd.store.sql import transact

FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class NoRoom(StoreError):
    """The disk has no room for the copy; nothing of it stays."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a ledger file says of itself. last_ms: its newest input's time, 0 without one."""

    schema: int
    epoch: int
    seq: int
    last_ms: int
    copy: bool

    @property
    def reach(self) -> Reach:
        return Reach(self.epoch, self.seq)


def facts_of(conn: sqlite3.Connection) -> Facts:
    reach = mark.reach_of(conn)
    found = conn.execute(ledger.SQL["last_input_ms"]).fetchone()
    return Facts(migrate.version_of(conn), reach.epoch, reach.seq, int(found[0]) if found else 0, mark.is_copy(conn))


def look(path: Path) -> Facts:
    """Facts of a ledger file. Raises StoreError where it is none of ours, newer or broken."""
    with reading(path), closing(open_reader(path)) as conn:
        return facts_of(conn)


def bytes_needed(path: Path) -> int:
    """The room that a copy may take: what the file and its WAL have now."""
    wal = path.with_name(path.name + "-wal")
    return path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)


def copy_into(source: Path, target: Path, *, taken_ms: int) -> Facts:
    """Write a whole, checked copy into the empty file `target`; the writer of `source` is not held up.

    One read transaction in one call: nothing that others commit meanwhile makes it begin anew.
    """
    try:
        with reading(source), closing(open_reader(source)) as conn:
            conn.execute("PRAGMA query_only = OFF")  # mode=ro stays; the statement calls its own target a write
            conn.execute("VACUUM INTO ?", (str(target),))
    except (StoreError, sqlite3.Error) as error:
        raise _no_room(error, target) or error from error
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        try:
            if migrate.version_of(copy) >= mark.COPIES_SINCE:
                transact(lambda conn: mark.stamp(conn, taken_ms=taken_ms))(copy)
            facts = facts_of(copy)
        except sqlite3.Error as error:
            raise _no_room(error, target) or error from error
        broken = damage(copy)
    if broken:
        next_step = "avwapd db check looks at the ledger; check the disk, then try again"
        raise LedgerDamaged(f"the copy is damaged ({broken[0]})", target, next_step)
    return facts


def _no_room(error: BaseException, target: Path) -> NoRoom | None:
    cause = error if isinstance(error, sqlite3.Error) else error.__cause__
    code = getattr(cause, "sqlite_errorcode", 0)
    if code & 0xFF not in FULL:
        return None
    return NoRoom(f"the copy cannot be written ({cause})", target.parent, "make room there, or name another folder")


def damage(conn: sqlite3.Connection) -> list[str]:
    """What SQLite itself has against a file: pages, indices, rows that point nowhere."""
    found = [str(row[0]) for row in conn.execute("PRAGMA integrity_check(20)").fetchall() if row[0] != "ok"]
    orphans = conn.execute("PRAGMA foreign_key_check").fetchmany(20)
    return found + [f"{row[0]} row {row[1]} points to no row of {row[2]}" for row in orphans]


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    found: tuple[str, ...]


def check(path: Path) -> tuple[Facts, list[Check]]:
    """Everything that can be said against a ledger, in order. Raises StoreError where it cannot be read at all."""
    with reading(path), closing(open_reader(path)) as conn:
        conn.execute("BEGIN")
        facts = facts_of(conn)
        checks = [Check("sqlite", tuple(damage(conn)))]
        if facts.schema == migrate.newest(migrate.packaged()):
            found = audit(conn)
            snapshots = tuple(str(each) for each in found if each.check == "i3_snapshot")
            others = tuple(str(each) for each in found if each.check != "i3_snapshot")
            checks += [Check("snapshots", snapshots), Check(f"audit ({len(CHECKS) + 2} checks)", others)]
        return facts, checks
