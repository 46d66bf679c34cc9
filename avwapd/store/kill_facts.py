"""What the kill program asks of a ledger, whoever writes it meanwhile: whose an order is, what it is for, what is held.

Nothing heavy is imported on the way: the program has to be there within a blink.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from avwapd import APPLICATION_ID
from avwapd.store.sql import load

SQL = load("queries.sql")
BUSY_S = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """An instrument and what is held of it. held: signed lots; seq: the input that moved it last."""

    symbol: str
    asset: str
    quote: str
    tick: str
    lot: str
    min_qty: str
    min_notional: str
    held: int
    seq: int


@dataclass(frozen=True, slots=True)
class Open:
    """An order that the ledger has not seen the end of. filled: lots that it heard of."""

    cid: str
    symbol: str
    side: int
    filled: int


@dataclass(frozen=True, slots=True)
class Facts:
    """why: what kept the ledger from being read, "" where it was; lines: by symbol; purposes: of the ids asked about
    and of those of `unsettled`; booked: which of the ids asked about are fills of the ledger.
    """

    why: str
    lines: dict[str, Line]
    purposes: dict[str, str]
    unsettled: tuple[Open, ...] = ()
    booked: frozenset[str] = frozenset()


def facts(path: Path, cids: Sequence[str]) -> Facts:
    """Never raises: a ledger that cannot be read is told in `why`."""
    if not path.is_file():
        return Facts("there is no ledger here", {}, {})
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as conn:
            conn.execute("PRAGMA query_only = ON")
            if conn.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                return Facts("avwapd.db is another program's database", {}, {})
            return _read(conn, cids)
    except sqlite3.Error as error:
        return Facts(f"the ledger cannot be read ({error})", {}, {})


def _read(conn: sqlite3.Connection, cids: Sequence[str]) -> Facts:
    lines = {}
    for symbol, asset, quote, tick, lot, min_qty, least, side, qty, seq in conn.execute(SQL["kill_instruments"]):
        held = -qty if side == "short" else qty
        lines[symbol] = Line(symbol, asset, quote, tick, lot, min_qty, least, held, seq)
    purposes, unsettled = {}, []
    for cid, purpose, symbol, side, filled in conn.execute(SQL["kill_unsettled"]):
        purposes[cid] = purpose
        unsettled.append(Open(cid, symbol, side, filled))
    for cid in cids:
        found = conn.execute(SQL["kill_purpose"], (cid,)).fetchone()
        if found is not None:
            purposes[cid] = found[0]
    booked = frozenset(cid for cid in cids if conn.execute(SQL["kill_booked"], (cid,)).fetchone())
    return Facts("", lines, purposes, tuple(unsettled), booked)
