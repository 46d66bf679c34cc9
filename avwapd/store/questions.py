"""What an operator asks of the ledger, over a connection that can only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from avwapd.core.codes import GATES
from avwapd.store import StoreError
from avwapd.store.gates import outer_at
from avwapd.store.reader import open_reader
from avwapd.store.sql import load

SQL = load("queries.sql")
TABLES = {"positions": ("ask_positions", 1000), "orders": ("ask_orders", 200)}
STEPS = 30_000_000  # of SQLite's machine, some seconds: a question held open longer keeps the WAL from shrinking


class Unanswered(StoreError):
    """The ledger could not be asked just now; that says nothing about it."""


@contextmanager
def asked(database: Path) -> Iterator[sqlite3.Connection]:
    """A bounded reader; what SQLite has against a question becomes words."""
    try:
        with closing(open_reader(database, steps=STEPS)) as conn:
            yield conn
    except sqlite3.Error as error:
        raise Unanswered(f"the ledger did not answer ({error})", database.name, "ask again") from error


def rows_of(conn: sqlite3.Connection, sql: str, given: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """Rows as objects with their columns' names."""
    cursor = conn.execute(sql, given)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def table(database: Path, name: str) -> tuple[list[dict[str, Any]], bool]:
    """positions | orders (the newest), in words; whether there are more than are given."""
    statement, most = TABLES[name]
    with asked(database) as conn:
        rows = rows_of(conn, SQL[statement])
    return rows[:most], len(rows) > most


def decision(database: Path, symbol: str, ts_ms: int) -> dict[str, Any] | None:
    """One decision in words, with every gate's verdict; None where there is none."""
    with asked(database) as conn:
        found = rows_of(conn, SQL["ask_decision"], (symbol, ts_ms))
        listed = list_of(conn, symbol, ts_ms)
        closed = outer_at(conn, symbol, ts_ms)
    if not found:
        return None
    row = found[0]
    bits, blocked = row.pop("gates_asked"), row.pop("gates_blocked")
    row["gates"] = {name: verdict(bits, blocked, bit) for bit, name in enumerate(GATES)}
    row["watchlist"] = listed
    row["outer_closed"] = closed
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
