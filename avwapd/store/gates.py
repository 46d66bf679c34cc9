"""The outer gates as the ledger has them: what is closed now, and what was when a bar was decided."""

from __future__ import annotations

from typing import Any, NamedTuple

from avwapd.store.ledger import SQL
from avwapd.store.sql import Connection


class Outer(NamedTuple):
    """A gate that is closed. symbol: "" where it concerns all of them."""

    gate: str
    symbol: str
    reason: str
    since_ms: int


def gates_now(conn: Connection) -> list[Outer]:
    """Every gate whose newest turn closed it."""
    return [Outer(gate, symbol, reason, ts_ms) for gate, symbol, _, reason, ts_ms in conn.execute(SQL["gates_now"])]


def outer_at(conn: Connection, symbol: str, ts_ms: int) -> list[dict[str, Any]]:
    """The gates that were closed for a symbol when its bar of that close was decided; by the journal's order."""
    (seq,) = conn.execute(SQL["seq_of_decision"], (symbol, ts_ms)).fetchone()
    if seq is None:
        return []
    return [Outer(*row)._asdict() for row in conn.execute(SQL["outer_at"], (symbol, seq)).fetchall()]


def outer_words(closed: list[dict[str, Any]]) -> str:
    """One line for people; "none" where every outer gate was open."""
    return "; ".join(f"{row['gate']}: {row['reason']}" for row in closed) or "none"
