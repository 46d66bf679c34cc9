"""Hard limits, asked once more where an order is written: from the ledger's own rows, inside that transaction.

The engine has the same limits as caps. Should it ever say otherwise than the rows do, the rows win: the order is there,
DENIED, and never leaves. A value is the greater of what the order's limit and the last close make of it; as the limit
of a marketable order lies beyond the close by intention, `slack` is left for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from avwapd.store.rows import OutboxRow
from avwapd.store.sql import Connection, load

SQL = load("queries.sql")
ITSELF, NONE = -1, -2  # as the instrument records have it: quoted in the equity currency; no pair converts it


class Counted(NamedTuple):
    """What a symbol's ticks and lots are worth. convert: the symbol whose close is its rate, ITSELF or NONE."""

    tick: float
    lot: float
    convert: int = ITSELF
    inverse: bool = False


@dataclass(frozen=True)
class Limits:
    """In the equity currency; session_began: the close of the session before the one of a ts_ms."""

    order: float
    symbol: float
    gross: float
    positions: int
    entries_day: int
    slack: float
    counted: tuple[Counted, ...]
    session_began: Callable[[int], int]

    @classmethod
    def of(
        cls,
        limits: Mapping[str, float],
        *,
        ceiling: float,
        slack: float,
        counted: tuple[Counted, ...],
        session_began: Callable[[int], int],
    ) -> Limits:
        """From settings.live_limits and the compiled ceiling of an order."""
        return cls(
            order=min(ceiling, limits["max_symbol_notional"]),
            symbol=limits["max_symbol_notional"],
            gross=limits["max_gross_notional"],
            positions=int(limits["max_positions"]),
            entries_day=int(limits["max_entries_day"]),
            slack=slack,
            counted=counted,
            session_began=session_began,
        )


def breach(conn: Connection, row: OutboxRow, limits: Limits) -> str:
    """Which limit an entry breaks, in words; "" where it may be. What cannot be valued breaks them all."""
    own = _value(conn, limits, row.symbol_id, row.qty, row.limit)
    if own is None:
        return "over a hard limit: nothing tells what the order is worth"
    held: dict[int, float] = {}
    parts = [(symbol, qty, 0) for symbol, qty in conn.execute(SQL["limit_positions"]).fetchall()]
    parts += conn.execute(SQL["limit_entries"], (row.symbol_id, row.intent)).fetchall()
    for symbol, qty, limit_ticks in parts:
        value = _value(conn, limits, symbol, qty, limit_ticks)
        if value is None:
            return "over a hard limit: nothing tells what is held is worth"
        held[symbol] = held.get(symbol, 0.0) + value
    since = limits.session_began(row.ts_ms)
    entries = conn.execute(SQL["limit_entries_since"], (since, row.symbol_id, row.intent)).fetchone()[0] + 1
    found = (
        ("an order", own, limits.order * limits.slack),
        ("a symbol", held.get(row.symbol_id, 0.0) + own, limits.symbol * limits.slack),
        ("all positions", sum(held.values()) + own, limits.gross * limits.slack),
        ("positions", len(held.keys() | {row.symbol_id}), limits.positions),
        ("entries of a session", entries, limits.entries_day),
    )
    over = next(((what, value, most) for what, value, most in found if value > most), None)
    return "" if over is None else f"over the hard limit of {over[0]}: {over[1]:.10g}, at most {over[2]:.10g}"


def _value(conn: Connection, limits: Limits, symbol: int, qty: int, limit_ticks: int) -> float | None:
    """Of lots, in the equity currency; None where no close is known."""
    terms = limits.counted[symbol]
    close = _close(conn, symbol)
    rate = _rate(conn, terms)
    if close is None or rate is None:
        return None
    return qty * terms.lot * max(close, limit_ticks * terms.tick) * rate


def _rate(conn: Connection, terms: Counted) -> float | None:
    if terms.convert == ITSELF:
        return 1.0
    close = _close(conn, terms.convert) if terms.convert >= 0 else None
    if close is None:
        return None
    return 1.0 / close if terms.inverse else close


def _close(conn: Connection, symbol: int) -> float | None:
    row = conn.execute(SQL["last_close"], (symbol,)).fetchone()
    return float(row[0]) if row and row[0] and row[0] > 0 else None
