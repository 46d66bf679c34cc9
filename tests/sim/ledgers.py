"""What two runs must have in common: the rows of a ledger and of a venue's book, less what chance may choose.

Between symbols a bad line changes who speaks first, so numbers that count across symbols (the journal's, the venue's)
are left out and rows are ordered by symbol; within a symbol everything stands in the order in which it happened.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from avwapd.core import codes
from avwapd.feeds.world import Setup, in_window
from avwapd.research import backtest
from avwapd.store.database import open_sync
from avwapd.store.journal import Journal, Names
from avwapd.store.ledger import inputs_after
from avwapd.venues.book import Exchange

Rows = dict[str, list[tuple[Any, ...]]]

FILL = (
    "ts_ms, intent, trade, purpose, reason, side, late, qty, price_ticks, fee_units, fee_lots, held, best_ticks, "
    "worst_ticks, initial_stop_ticks"
)
QUERIES = {
    "decisions": "SELECT * FROM decisions ORDER BY ts_ms, symbol_id",
    "transitions": "SELECT symbol_id, ts_ms, before, after, cause, qty FROM transitions ORDER BY symbol_id, seq, n",
    "fills": f"SELECT symbol_id, cum_qty, {FILL} FROM fills ORDER BY symbol_id, id",
    "orders": "SELECT symbol_id, intent, cid, purpose, side, type, qty, limit_ticks, stop_ticks, reason, ts_ms, "
    "replaces_intent, filled_qty FROM orders ORDER BY symbol_id, intent",
    "outbox": "SELECT symbol_id, intent, kind, cid, ref_intent, ref_cid, state, due_ts_ms FROM outbox "
    "ORDER BY symbol_id, intent",
    "positions": "SELECT symbol_id, phase, side, qty, entry_cost, entry_qty, stop_ticks, r1_ticks, r2_ticks, trade, "
    "halted, halt_reason FROM positions ORDER BY symbol_id",
}


def rows_of(conn: sqlite3.Connection, exchange: Exchange) -> Rows:
    found = {name: conn.execute(query).fetchall() for name, query in QUERIES.items()}
    found["venue"] = sorted(exchange.orders_rows())
    return found


def differences(one: Rows, other: Rows) -> list[str]:
    """Where the rows part, a line for each table; empty where they are the same."""
    lines = []
    for name in one.keys() & other.keys():
        left, right = one[name], other[name]
        if left != right:
            at = next(
                (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
            )
            pair = [rows[at] if at < len(rows) else None for rows in (left, right)]
            lines.append(f"{name} {len(left)}/{len(right)} row {at}: {pair[0]} | {pair[1]}")
    return sorted(lines)


def backtested(setup: Setup) -> Rows:
    """The same tables out of a backtest; without an outbox or a venue, which it has not."""
    bars, begin = in_window(setup.market.bars, setup.config)
    result = backtest.replay(setup, bars, begin)
    transitions = [
        (symbol, ts_ms, *_phases(symbol, before, after), codes.CAUSES[cause], qty)
        for ts_ms, symbol, before, after, cause, _, qty in result.transitions.tolist()
    ]
    fills = [
        (symbol, ts_ms, intent, trade, codes.PURPOSES[purpose], codes.EXITS[reason], _side(side), late, *rest)
        for ts_ms, symbol, intent, trade, purpose, reason, side, late, *rest in result.fills.tolist()
    ]
    return {
        "decisions": [tuple(_known(value) for value in row) for row in result.decisions.tolist()],
        "transitions": sorted(transitions, key=lambda row: row[0]),
        "fills": sorted(fills, key=lambda row: row[0]),
    }


def comparable(rows: Rows) -> Rows:
    """A ledger's rows as `backtested` gives them."""
    return {
        "decisions": [tuple(_known(value) for value in row) for row in rows["decisions"]],
        "transitions": rows["transitions"],
        "fills": [(symbol, *rest) for symbol, _, *rest in rows["fills"]],
    }


def refolded(setup: Setup, path: Path) -> list[str]:
    """I14: fold the journal from nothing and compare what it says with the rows that lie there."""
    config = setup.config
    names = Names(config.run.account, config.run.strategy, setup.market.symbols)
    journal = Journal(setup.fresh(), names, fingerprint=setup.fingerprint, fresh_ms=config.order.fresh_ms)
    conn = open_sync(path, synchronous="NORMAL")
    try:
        decisions, effects, fills, moves = [], [], [], 0
        for entry in inputs_after(conn, 0):
            rows = journal.fold(entry)
            assert rows is not None
            decisions += [tuple(_known(value) for value in row) for row in rows.decisions]
            effects += [(row.symbol_id, row.intent) for row in rows.effects]
            fills += [row[0] for row in rows.fills]
            moves += len(rows.transitions)
        found = comparable(rows_of_ledger(conn))
        pairs = {
            "decisions": (sorted(decisions, key=lambda row: row[:2]), found["decisions"]),
            "effects": (sorted(effects), conn.execute("SELECT symbol_id, intent FROM outbox ORDER BY 1, 2").fetchall()),
            "fills": (fills, [row[0] for row in conn.execute("SELECT exec_id FROM fills ORDER BY id")]),
            "transitions": (moves, len(found["transitions"])),
        }
        return [name for name, (left, right) in pairs.items() if left != right]
    finally:
        conn.close()


def rows_of_ledger(conn: sqlite3.Connection) -> Rows:
    return {name: conn.execute(query).fetchall() for name, query in QUERIES.items()}


def _known(value: Any) -> Any:
    """NaN as the ledger has it."""
    return None if value != value else value


def _side(side: int) -> str:
    return "buy" if side > 0 else "sell"


def _phases(symbol: int, before: int, after: int) -> tuple[str, str]:
    words = ("unblocked", "blocked") if symbol < 0 else codes.PHASES
    return words[before], words[after]
