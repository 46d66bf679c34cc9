"""Inputs read back from the ledger as they were committed, for whoever missed them."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

from avwapd.store.reader import open_reader
from avwapd.store.rows import GateRow, StepRows
from avwapd.store.sql import load

SQL = load("queries.sql")


def head(database: Path) -> int:
    """The newest input."""
    with closing(open_reader(database)) as conn:
        return int(conn.execute(SQL["last_seq"]).fetchone()[0])


def since(database: Path, seq: int, most: int) -> list[StepRows]:
    """Up to `most` inputs after `seq`, each with its decisions, transitions, fills and gates (codes)."""
    with closing(open_reader(database)) as conn:
        conn.execute("BEGIN")
        inputs = conn.execute(SQL["cycle_inputs"], (seq, most)).fetchall()
        if not inputs:
            return []
        span = (inputs[0][0], inputs[-1][0])
        parts = {name: _by_seq(conn, SQL[f"cycle_{name}"], span) for name in ("decisions", "transitions", "fills")}
        gates = _by_seq(conn, SQL["cycle_gates"], span)
    return [
        StepRows(
            seq=number,
            kind=kind,
            ts_ms=ts_ms,
            symbol_id=symbol_id,
            body=body,
            gates=[GateRow(number, *row) for row in gates[number]],
            decisions=parts["decisions"][number],
            transitions=parts["transitions"][number],
            fills=parts["fills"][number],
        )
        for number, kind, ts_ms, symbol_id, body in inputs
    ]


def verdicts(database: Path, seq: int) -> dict[int, int]:
    """The gates that held back each symbol of the newest barrier up to an input."""
    with closing(open_reader(database)) as conn:
        return {int(symbol): int(bits) for symbol, bits in conn.execute(SQL["cycle_verdicts"], (seq,))}


def _by_seq(conn: sqlite3.Connection, sql: str, span: tuple[int, int]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for number, *row in conn.execute(sql, span):
        found[number].append(tuple(row))
    return found
