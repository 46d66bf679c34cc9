"""What an operator asks of the ledger, over a connection that can only read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from avwapd.core.codes import GATES
from avwapd.store.reader import open_reader
from avwapd.store.sql import load

SQL = load("queries.sql")
TABLES = {"positions": "ask_positions", "orders": "ask_orders"}


def rows_of(conn: sqlite3.Connection, sql: str, given: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """Rows as objects with their columns' names."""
    cursor = conn.execute(sql, given)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def table(database: Path, name: str) -> list[dict[str, Any]]:
    """positions | orders (newest 200), in words."""
    with closing(open_reader(database)) as conn:
        return rows_of(conn, SQL[TABLES[name]])


def decision(database: Path, symbol: str, ts_ms: int) -> dict[str, Any] | None:
    """One decision in words, with every gate's verdict; None where there is none."""
    with closing(open_reader(database)) as conn:
        found = rows_of(conn, SQL["ask_decision"], (symbol, ts_ms))
        listed = list_of(conn, symbol, ts_ms)
    if not found:
        return None
    row = found[0]
    asked, blocked = row.pop("gates_asked"), row.pop("gates_blocked")
    row["gates"] = {name: verdict(asked, blocked, bit) for bit, name in enumerate(GATES)}
    row["watchlist"] = listed
    return row


def list_of(conn: sqlite3.Connection, symbol: str, ts_ms: int) -> dict[str, Any] | None:
    """scan_date and version of the list in force when a bar was decided; None where there was none."""
    found = conn.execute(SQL["list_of_decision"], (symbol, ts_ms)).fetchone()
    return None if found is None else {"scan_date": found[0], "version": found[1]}


def verdict(asked: int, blocked: int, bit: int) -> str:
    """pass | block | not asked."""
    if blocked >> bit & 1:
        return "block"
    return "pass" if asked >> bit & 1 else "not asked"
