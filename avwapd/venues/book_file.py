"""The simulated exchange's file: orders, words, books and the market's hour, each commit of its own.

WAL with synchronous=NORMAL: a commit outlives the process, which is all that an exchange on the same machine needs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from avwapd.core.records import BAR, BOOK
from avwapd.venues.port import Request, VenueOrder, Word

VERSION = 1
WORDS_AT_ONCE = 1000

_ORDER = "cid, symbol, side, type, qty, limit_ticks, stop_ticks, filled_qty, state"

_MARKS = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?"


class BookError(Exception):
    """The file is not an exchange's book, or one of another version."""


@dataclass(slots=True)
class Hour:
    """The market's hour. `running`: the BAR records of the bar that runs, empty where none does.

    last_ms: int64 [symbols], a symbol's newest bar in session; met_ms: int64 [symbols], the bar its book last ran over.
    """

    opened_ms: int
    closed_ms: int
    running: Any
    last_ms: Any
    met_ms: Any


class BookFile:
    def __init__(self, path: Path) -> None:
        self._conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path)
        except BaseException:
            self._conn.close()
            raise

    def _prepare(self, path: Path) -> None:
        try:
            self._conn.execute("PRAGMA journal_mode = WAL").fetchone()
            self._conn.execute("PRAGMA synchronous = NORMAL")
            version = self._conn.execute("PRAGMA user_version").fetchone()[0]
            tables = self._conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise BookError(f"{path}: {error}") from error
        if version == 0 and tables == 0:
            script = files("avwapd.venues").joinpath("book.sql").read_text(encoding="utf-8")
            self._conn.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
        elif version != VERSION:
            raise BookError(f"{path} is no exchange's book of version {VERSION}")

    def close(self) -> None:
        self._conn.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._conn.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._conn.execute("COMMIT")
        except BaseException:
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")
            raise

    # ------------------------------------------------------------------------------------------------ orders

    def add_order(self, number: int, request: Request) -> None:
        terms = (request.symbol, request.side, request.type, request.qty, request.limit_ticks, request.stop_ticks)
        self._conn.execute(
            f"INSERT INTO orders ({_ORDER}, number) VALUES ({_MARKS})", (request.cid, *terms, 0, "live", number)
        )

    def move_order(self, number: int, filled: int, state: str) -> None:
        """Add `filled` lots and set the state."""
        self._conn.execute(
            "UPDATE orders SET filled_qty = filled_qty + ?, state = ? WHERE number = ?", (filled, state, number)
        )

    def number_of(self, cid: str) -> int:
        """The order that a customer's id means, 0 where there is none: of two that share it the live one or newest."""
        row = self._conn.execute(
            "SELECT number FROM orders WHERE cid = ? ORDER BY state = 'live' DESC, number DESC LIMIT 1", (cid,)
        ).fetchone()
        return int(row[0]) if row else 0

    def cid_of(self, number: int) -> str:
        return str(self._conn.execute("SELECT cid FROM orders WHERE number = ?", (number,)).fetchone()[0])

    def order(self, number: int) -> VenueOrder:
        row = self._conn.execute(f"SELECT {_ORDER} FROM orders WHERE number = ?", (number,)).fetchone()
        return VenueOrder(row[0], f"v{number}", *row[1:])

    def orders(self) -> list[tuple[Any, ...]]:
        """Every order, the oldest first."""
        return self._conn.execute(f"SELECT {_ORDER} FROM orders ORDER BY number").fetchall()

    def positions(self) -> dict[str, int]:
        """Signed lots by symbol, flat ones left out."""
        rows = self._conn.execute(
            "SELECT symbol, sum(side * filled_qty) AS lots FROM orders GROUP BY symbol HAVING lots <> 0 ORDER BY symbol"
        )
        return dict(rows.fetchall())

    def last_order(self) -> int:
        return int(self._conn.execute("SELECT coalesce(max(number), 0) FROM orders").fetchone()[0])

    # ------------------------------------------------------------------------------------------------- words

    def add_word(self, word: tuple[Any, ...]) -> None:
        """The fields of a Word, in its order."""
        self._conn.execute(f"INSERT INTO words VALUES ({_MARKS}, ?, ?, ?)", word)

    def words(self, after: int) -> list[Word]:
        rows = self._conn.execute(
            "SELECT * FROM words WHERE number > ? ORDER BY number LIMIT ?", (after, WORDS_AT_ONCE)
        )
        return [replace(Word(*row), final=row[7] == 1) for row in rows]

    def last_word(self) -> int:
        return int(self._conn.execute("SELECT coalesce(max(number), 0) FROM words").fetchone()[0])

    # ------------------------------------------------------------------------------------------------ market

    def save_book(self, symbol: str, met_ms: int, book: Any) -> None:
        self._conn.execute("REPLACE INTO books VALUES (?, ?, ?)", (symbol, met_ms, book.tobytes()))

    def save_hour(self, symbols: tuple[str, ...], hour: Hour) -> None:
        running = hour.running.tobytes() if len(hour.running) else None
        names = "\n".join(symbols)
        self._conn.execute(
            "REPLACE INTO market VALUES (0, ?, ?, ?, ?, ?)",
            (hour.opened_ms, hour.closed_ms, names, hour.last_ms.tobytes(), running),
        )

    def load(self, symbols: tuple[str, ...]) -> tuple[Any, Hour]:
        """The books (BOOK [symbols]) and the hour, whatever list of symbols they were written with."""
        row_of = {symbol: i for i, symbol in enumerate(symbols)}
        books = np.zeros(len(symbols), BOOK)
        hour = Hour(0, 0, np.zeros(0, BAR), np.zeros(len(symbols), np.int64), np.zeros(len(symbols), np.int64))
        for symbol, met_ms, record in self._conn.execute("SELECT symbol, met_ms, record FROM books"):
            if len(record) != BOOK.itemsize:
                raise BookError(f"the book of {symbol} has {len(record)} bytes, not {BOOK.itemsize}")
            if symbol in row_of:
                i = row_of[symbol]
                books[i] = np.frombuffer(record, BOOK)[0]
                books[i]["orders"]["symbol"] = i
                hour.met_ms[i] = met_ms
        saved = self._conn.execute("SELECT opened_ms, closed_ms, symbols, last_ms, running FROM market").fetchone()
        if saved:
            hour.opened_ms, hour.closed_ms, names, last_ms, running = saved
            rows = np.array([row_of.get(symbol, -1) for symbol in names.split("\n")], np.int64)
            hour.last_ms[rows[rows >= 0]] = np.frombuffer(last_ms, np.int64)[rows >= 0]
            bars = np.frombuffer(running or b"", BAR).copy()
            bars["symbol"] = rows[bars["symbol"]]
            hour.running = bars[bars["symbol"] >= 0]
        return books, hour
