"""A simulated exchange: a stranger with a file of its own, synchronous, on the core's fill model.

Each operation is one transaction of its file; a process that is killed and opened again goes on from its last commit.
A bar that meets no live order changes nothing and is kept in memory only: told again after a kill, it again changes
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from avwapd.core import codes, match
from avwapd.core.records import BAR, BOOK, EFFECT, INSTRUMENT, REPORT
from avwapd.venues.book_file import BookFile
from avwapd.venues.port import Request, VenueOrder, VenueRefused, Word

ABSURD = 1 << 40  # a quantity or price from here on could overflow the fee
NO_TRADE = codes.BAR_OUTSIDE | codes.BAR_MISSING
ROOM = 64  # reports of one operation on one book


class Exchange:
    """`volume_share`: of a bar's volume that the orders of a symbol may take together.

    refuses_duplicates: a known cid is refused, else it makes a second order; posts: a file that gets every request that
    arrived, one JSON line each; eager: commit every bar, also those that meet no order.
    """

    def __init__(
        self,
        path: Path,
        instruments: Any,
        symbols: Sequence[str],
        *,
        volume_share: float,
        refuses_duplicates: bool = True,
        posts: Path | None = None,
        eager: bool = False,
    ) -> None:
        if instruments.dtype != INSTRUMENT or len(instruments) != len(symbols):
            raise ValueError(f"{len(symbols)} symbols need as many INSTRUMENT records")
        self.symbols = tuple(symbols)
        self.refuses_duplicates = refuses_duplicates
        self._row_of = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._instruments = instruments
        self._share = float(volume_share)
        self._eager = eager
        self._reports = np.zeros(ROOM, REPORT)
        self._effect = np.zeros(1, EFFECT)
        self._no_bar = np.zeros(1, BAR)
        self._arrived = len(posts.read_bytes().splitlines()) if posts and posts.exists() else 0
        self._file = BookFile(path)
        try:
            self._load()
            self._posts = posts.open("ab", buffering=0) if posts else None
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()
        if self._posts:
            self._posts.close()

    @property
    def opened_ms(self) -> int:
        """The newest bar that was opened."""
        return self._hour.opened_ms

    @property
    def closed_ms(self) -> int:
        """The newest bar that was closed."""
        return self._hour.closed_ms

    # ------------------------------------------------------------------------------------------------ orders

    def take(self, request: Request) -> None:
        """Submit, replace or cancel. Raises VenueRefused where nothing was accepted."""
        self._arrived += 1
        if self._posts:
            self._posts.write(orjson.dumps({"number": self._arrived} | asdict(request)) + b"\n")
        reason = objection(request, self._row_of)
        if reason:
            raise VenueRefused(reason)
        makes_order = request.kind != "cancel"
        if makes_order and self.refuses_duplicates and self._file.number_of(request.cid):
            raise VenueRefused("the client order id is taken", duplicate=True)
        symbol = self._row_of[request.symbol]
        with self._transaction() as touched:
            touched.add(symbol)
            ref = self._file.number_of(request.ref_cid) if request.kind != "submit" else 0
            number = 0
            if makes_order:
                self._last_order += 1
                number = self._last_order
                self._file.add_order(number, request)
            self._say(self._place(request, symbol, number, ref), request)

    def look_up(self, cid: str) -> VenueOrder | None:
        """The order by the customer's id; of two that share it the live one, else the newest."""
        number = self._file.number_of(cid)
        return self._file.order(number) if number else None

    def words(self, after: int) -> list[Word]:
        """The log's words with number > after, oldest first, at most 1,000."""
        return self._file.words(after) if after < self.last_word else []

    def orders_rows(self) -> list[tuple[Any, ...]]:
        """The whole book, oldest order first: cid, symbol, side, type, qty, limit, stop, filled, state."""
        return self._file.orders()

    def positions(self) -> dict[str, int]:
        """Signed lots by symbol, flat ones left out."""
        return self._file.positions()

    # ------------------------------------------------------------------------------------------------ market

    def open_bar(self, ts_ms: int, bars: Any) -> None:
        """Run the resting orders over `bars` (BAR records of one ts_ms), which run until their close."""
        if ts_ms <= self._hour.opened_ms:
            return
        if np.any(bars["ts_ms"] != ts_ms) or np.any(bars["symbol"].astype(np.uint32) >= len(self.symbols)):
            raise ValueError(f"the bars are not all of {ts_ms} and of this exchange's {len(self.symbols)} symbols")
        rows = bars[bars["flags"] & NO_TRADE == 0]
        met = rows[self._books["count"][rows["symbol"]] > 0]
        if not len(met) and not self._eager:
            self._begin(ts_ms, rows)
            return
        with self._transaction() as touched:
            self._begin(ts_ms, rows)
            for bar in met:
                symbol = int(bar["symbol"])
                touched.add(symbol)
                self._say(self._meet(symbol, bar), None)

    def close_bar(self, ts_ms: int) -> None:
        """The bar is over: what is placed from here on works from the next one."""
        if ts_ms <= self._hour.closed_ms or ts_ms > self._hour.opened_ms:
            return
        if self._unsaved and not self._eager:  # nobody could tell that it was ever opened
            self._end(ts_ms)
            return
        with self._transaction():
            self._end(ts_ms)

    def _begin(self, ts_ms: int, rows: Any) -> None:
        self._hour.opened_ms = ts_ms
        self._hour.running = rows
        self._hour.last_ms[rows["symbol"]] = ts_ms
        self._unsaved = True

    def _end(self, ts_ms: int) -> None:
        self._hour.closed_ms = ts_ms
        if ts_ms == self._hour.opened_ms:
            self._hour.running = self._hour.running[:0]
        self._unsaved = True

    # ---------------------------------------------------------------------------------------------- matching

    def _meet(self, symbol: int, bar: Any) -> int:
        """Match a book with the running bar; returns the number of reports."""
        self._hour.met_ms[symbol] = self._hour.opened_ms
        inst = self._instruments[symbol]
        return int(match.match_bar(self._books[symbol], bar, inst, self._share, self._reports, 0))

    def _place(self, request: Request, symbol: int, number: int, ref: int) -> int:
        """Bring a request to the book; returns the number of reports."""
        effect = self._effect[0]
        effect["kind"] = codes.EFFECTS.index(request.kind)
        effect["symbol"] = symbol
        effect["intent"] = number
        effect["ref"] = ref
        effect["purpose"] = codes.PURPOSES.index(request.purpose)
        effect["side"] = request.side
        effect["type"] = codes.ORDER_TYPES.index(request.type) if number else 0
        effect["qty"] = request.qty
        effect["limit"] = request.limit_ticks
        effect["stop"] = request.stop_ticks
        running = self._hour.running[self._hour.running["symbol"] == symbol]
        if len(running) and self._hour.met_ms[symbol] != self._hour.opened_ms:
            self._meet(symbol, running[0])  # the book was empty then: this only says how much may trade
        bar = running[0] if len(running) else self._no_bar[0]
        ts_ms = int(self._hour.last_ms[symbol])
        book, inst = self._books[symbol], self._instruments[symbol]
        return int(match.place(book, effect, len(running) > 0, bar, inst, ts_ms, self._reports, 0))

    def _say(self, count: int, request: Request | None) -> None:
        """Log the first `count` reports as words and carry them into the orders."""
        for ts_ms, _, number, ref, code, _, _, final, cum_qty, last_qty, *money in self._reports[:count].tolist():
            kind = codes.REPORTS[code]
            cid, ref_cid, exec_id = self._file.cid_of(number) if number else "", "", ""
            self.last_word += 1
            if code == codes.FILLED:
                exec_id = f"x{self.last_word}"
                self._file.move_order(number, last_qty, "filled" if final else "live")
            elif code in (codes.CANCELED, codes.REJECTED):
                self._file.move_order(number, 0, kind)
            elif code == codes.REPLACED:
                self._file.move_order(ref, 0, kind)
            if request and code == codes.CANCEL_REFUSED:
                cid = request.ref_cid
            elif request and code in (codes.REPLACED, codes.REJECTED):
                ref_cid = request.ref_cid
            venue_id = f"v{number}" if number else ""
            head = (self.last_word, ts_ms, cid, ref_cid, venue_id, kind, exec_id, final)
            self._file.add_word((*head, cum_qty, last_qty, *money))

    # ---------------------------------------------------------------------------------------------- the file

    @contextmanager
    def _transaction(self) -> Iterator[set[int]]:
        """Yields the set to which the body adds the symbols whose books it changes; on an error memory is read anew."""
        touched: set[int] = set()
        try:
            with self._file.transaction():
                yield touched
                for symbol in sorted(touched):
                    self._file.save_book(self.symbols[symbol], int(self._hour.met_ms[symbol]), self._books[symbol])
                if self._unsaved:
                    self._file.save_hour(self.symbols, self._hour)
        except BaseException:
            self._load()
            raise
        self._unsaved = False

    def _load(self) -> None:
        self._books, self._hour = self._file.load(self.symbols)
        self._unsaved = False  # the hour in memory is ahead of the file
        self._last_order = self._file.last_order()
        self.last_word = self._file.last_word()


def objection(request: Request, symbols: Collection[str]) -> str:
    """Why a request cannot be an order of this exchange; empty where it can."""
    if request.kind not in codes.EFFECTS[1:] or request.purpose not in codes.PURPOSES[1:]:
        return f"neither submit, replace nor cancel of a known purpose: {request.kind} {request.purpose}"
    if request.symbol not in symbols:
        return f"unknown symbol {request.symbol}"
    if not 0 < len(request.cid) <= 48 or (request.kind == "submit") != (request.ref_cid == ""):
        return "the ids do not fit the request"
    if request.kind == "cancel":
        return ""
    if request.side not in (-1, 1) or not 0 < request.qty < ABSURD:
        return f"side {request.side}, quantity {request.qty}"
    prices = {"market": (0, 0), "limit": (request.limit_ticks, 0), "stop": (0, request.stop_ticks)}.get(request.type)
    if prices != (request.limit_ticks, request.stop_ticks) or (
        request.type != "market" and not 0 < sum(prices) < ABSURD
    ):
        return f"{request.type} order with limit {request.limit_ticks} and stop {request.stop_ticks}"
    return ""


def warm() -> None:
    """Compile the fill model, so that the first order does not wait for it."""
    records = [np.zeros(1, dtype)[0] for dtype in (BAR, INSTRUMENT, EFFECT)]
    bar, inst, effect = records
    inst["tick"] = inst["lot"] = 1.0
    effect["kind"] = codes.CANCEL
    book, out = np.zeros(1, BOOK)[0], np.zeros(2, REPORT)
    match.match_bar(book, bar, inst, 0.0, out, 0)
    match.place(book, effect, False, bar, inst, 0, out, 0)
