"""Rows beside the journal: proofs of life, calls for a human, late news of bars, the venue's own books."""

from __future__ import annotations

import json
from collections.abc import Mapping

from avwapd.store.ledger import SQL
from avwapd.store.sql import Connection

BEATS_KEPT_MS = 3 * 86_400_000
BOOKS_KEPT_MS = 3 * 86_400_000


def beat(conn: Connection, *, ts_ms: int, body: str) -> None:
    """The heartbeat's probe: that it could be written is what it proves."""
    conn.execute(SQL["record_beat"], (ts_ms, body))
    conn.execute(SQL["forget_beats"], (ts_ms - BEATS_KEPT_MS,))


def alert(conn: Connection, *, ts_ms: int, level: str, what: str) -> None:
    """Something a person must hear of."""
    conn.execute(SQL["record_alert"], (ts_ms, level, what)).fetchall()


def alerted(conn: Connection, *, what: str, since_ms: int = 0) -> bool:
    """Whether these very words were said already (since then)."""
    return conn.execute(SQL["alerted"], (what, since_ms)).fetchone() is not None


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
