"""Rows beside the journal: proofs of life and calls for a human."""

from __future__ import annotations

from avwapd.store.ledger import SQL
from avwapd.store.sql import Connection

BEATS_KEPT_MS = 3 * 86_400_000


def beat(conn: Connection, *, ts_ms: int, body: str) -> None:
    """The heartbeat's probe: that it could be written is what it proves."""
    conn.execute(SQL["record_beat"], (ts_ms, body))
    conn.execute(SQL["forget_beats"], (ts_ms - BEATS_KEPT_MS,))


def alert(conn: Connection, *, ts_ms: int, level: str, what: str) -> None:
    """Something a person must hear of."""
    conn.execute(SQL["record_alert"], (ts_ms, level, what)).fetchall()
