"""Rows beside the journal: proofs of life, calls for a human, late news of bars, the venue's own books."""

from __future__ import annotations

import json
from collections.abc import Mapping

from avwapd.store import notices
from avwapd.store.ledger import SQL
from avwapd.store.sql import Connection

BOOKS_KEPT_MS = 3 * 86_400_000
CUT_SHORT = "ended inside a catch-up: the late bars after input {} have no end yet"


def beat(conn: Connection, *, ts_ms: int, body: str) -> None:
    """The heartbeat's probe: that it could be written is what it proves. Of a minute's beats the last one stays."""
    conn.execute(SQL["thin_beats"], (ts_ms,))
    conn.execute(SQL["record_beat"], (ts_ms, body))


def forget(conn: Connection, *, beats_before_ms: int, notices_before_ms: int) -> None:
    """Beats, and notices that nobody waits for any more; of decisions and orders nothing is ever forgotten."""
    conn.execute(SQL["forget_beats"], (beats_before_ms,))
    conn.execute(SQL["forget_notices"], (notices_before_ms,))


def alert(conn: Connection, *, ts_ms: int, level: str, what: str, event: str = "alert") -> None:
    """Something a person must hear of; the notice that carries it is in the same commit."""
    notice = notices.put(conn, ts_ms, event, level, what)
    conn.execute(SQL["record_alert"], (ts_ms, level, what, notice)).fetchall()


def alerted(conn: Connection, *, what: str, since_ms: int = 0) -> bool:
    """Whether these very words were said already (since then)."""
    return conn.execute(SQL["alerted"], (what, since_ms)).fetchone() is not None


def open_catch_up(conn: Connection) -> int:
    """The input after which late bars have no end yet, 0 where there are none such."""
    row = conn.execute(SQL["open_catch_up"]).fetchone()
    return int(row[0]) if row else 0


def cut_short(conn: Connection, *, ts_ms: int) -> None:
    """An orderly end inside a catch-up says so, and where it began: marks that nobody spoke of prove nothing."""
    begun = open_catch_up(conn)
    if begun:
        alert(conn, ts_ms=ts_ms, level="info", what=CUT_SHORT.format(begun))


def told_short(conn: Connection) -> int:
    """`open_catch_up` where an orderly end said the same; 0 elsewhere."""
    begun = open_catch_up(conn)
    return begun if begun and alerted(conn, what=CUT_SHORT.format(begun)) else 0


def revision(
    conn: Connection,
    *,
    ts_ms: int,
    symbol_id: int,
    known_ms: int,
    kind: str,
    values: tuple[float, float, float, float, float],
) -> None:
    """A bar's other values, heard of after its barrier. kind: revised | late; values: its prices and volume."""
    conn.execute(SQL["record_revision"], (ts_ms, symbol_id, known_ms, kind, *values))


def venue_books(
    conn: Connection,
    *,
    ts_ms: int,
    cash: str,
    equity: str,
    holdings: Mapping[str, str],
    difference: str = "",
) -> None:
    """One reading of the venue's books; difference: how they differ from ours, in words, "" where they agree.

    Readings that agreed are kept for three days, the first and the others for ever.
    """
    body = json.dumps(dict(holdings), sort_keys=True)
    conn.execute(SQL["record_venue_books"], (ts_ms, cash, equity, body, difference == "", difference))
    conn.execute(SQL["forget_venue_books"], (ts_ms - BOOKS_KEPT_MS,))
