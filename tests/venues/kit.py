"""A small market, requests by hand, and the fill model driven directly: what an exchange must agree with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from numpy.typing import NDArray

from avwapd.core import codes, match
from avwapd.core.records import BAR, BOOK, EFFECT, INSTRUMENT, REPORT
from avwapd.venues.book import Exchange
from avwapd.venues.port import Request, VenueDoubt, Word

SYMBOLS = ("AAA", "BBB", "CCC")
SHARE = 0.1
MINUTE = 60_000


def instruments(n: int = len(SYMBOLS)) -> NDArray[np.void]:
    made = np.zeros(n, INSTRUMENT)
    made["tick"] = 0.01
    made["lot"] = 1.0
    made["commission_units"] = 100
    made["commission_ppm"] = 1_000
    made["slippage_ppm"] = 250
    return made


def bar(
    minute: int,
    symbol: int = 0,
    *,
    o: float = 100.0,
    h: float | None = None,
    lo: float | None = None,
    c: float | None = None,
    volume: float = 1_000.0,
    flags: int = 0,
) -> NDArray[np.void]:
    """One BAR row; high and low hug open and close unless given."""
    close = o if c is None else c
    high = max(o, close) if h is None else h
    low = min(o, close) if lo is None else lo
    row = np.zeros(1, BAR)
    row[0] = (minute * MINUTE, symbol, flags, o, high, low, close, volume)
    return row


def walk(seed: int, minutes: int, symbols: int = len(SYMBOLS)) -> list[NDArray[np.void]]:
    """Barriers of a random walk, one a minute."""
    rng = np.random.default_rng(seed)
    price = np.full(symbols, 100.0)
    barriers = []
    for minute in range(1, minutes + 1):
        rows = np.zeros(symbols, BAR)
        rows["ts_ms"] = minute * MINUTE
        rows["symbol"] = np.arange(symbols)
        rows["open"] = np.round(price * (1 + rng.normal(0, 0.002, symbols)), 2)
        rows["close"] = np.round(rows["open"] * (1 + rng.normal(0, 0.003, symbols)), 2)
        spread = np.round(np.abs(rng.normal(0, 0.2, symbols)), 2)
        rows["high"] = np.maximum(rows["open"], rows["close"]) + spread
        rows["low"] = np.minimum(rows["open"], rows["close"]) - spread
        rows["volume"] = rng.integers(0, 400, symbols)
        price = rows["close"].copy()
        barriers.append(rows)
    return barriers


def exchange(folder: Path, **how: Any) -> Exchange:
    return Exchange(folder / "venue.db", instruments(), SYMBOLS, volume_share=SHARE, **how)


def submit(
    cid: str, symbol: str = "AAA", *, side: int = 1, type: str = "market", qty: int = 10, limit: int = 0, stop: int = 0
) -> Request:
    return Request("submit", cid, "", symbol, "entry", side, type, qty, limit, stop)


def replace(cid: str, ref: str, symbol: str = "AAA", *, side: int = -1, qty: int = 10, stop: int) -> Request:
    return Request("replace", cid, ref, symbol, "stop", side, "stop", qty, 0, stop)


def cancel(cid: str, ref: str, symbol: str = "AAA") -> Request:
    return Request("cancel", cid, ref, symbol, "stop", 1, "", 0, 0, 0)


def kinds(words: list[Word]) -> list[str]:
    return [word.kind for word in words]


async def until(holds: Callable[[], Awaitable[bool]], limit_s: float = 20.0) -> None:
    with anyio.fail_after(limit_s):
        while True:
            if await holds():
                return
            await anyio.sleep(0.005)


async def insisted(call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Ask until there is an answer."""
    with anyio.fail_after(60):
        while True:
            try:
                return await call(*args)
            except VenueDoubt:
                await anyio.sleep(0.02)


class Model:
    """Orders straight to match.place and match.match_bar, the way the engine's backtest does it."""

    def __init__(self) -> None:
        self.books = np.zeros(len(SYMBOLS), BOOK)
        self.instruments = instruments()
        self.words: list[Word] = []
        self.cids: dict[int, str] = {0: ""}
        self.last_ms = [0] * len(SYMBOLS)
        self._numbers = count(1)
        self._running: NDArray[np.void] = np.zeros(0, BAR)

    def open_bar(self, bars: NDArray[np.void]) -> None:
        self._running = bars
        for row in bars:
            self.last_ms[row["symbol"]] = int(row["ts_ms"])
            out = np.zeros(64, REPORT)
            inst = self.instruments[row["symbol"]]
            self._hear(out[: match.match_bar(self.books[row["symbol"]], row, inst, SHARE, out, 0)], "")

    def close_bar(self) -> None:
        self._running = self._running[:0]

    def take(self, request: Request) -> None:
        symbol = SYMBOLS.index(request.symbol)
        number = 0 if request.kind == "cancel" else next(self._numbers)
        known = [n for n, cid in self.cids.items() if cid == request.ref_cid and n]
        effect = np.zeros(1, EFFECT)[0]
        effect["kind"], effect["symbol"] = codes.EFFECTS.index(request.kind), symbol
        effect["intent"], effect["ref"] = number, known[-1] if known else 0
        effect["purpose"], effect["side"] = codes.PURPOSES.index(request.purpose), request.side
        effect["type"] = codes.ORDER_TYPES.index(request.type)
        effect["qty"], effect["limit"], effect["stop"] = request.qty, request.limit_ticks, request.stop_ticks
        if number:
            self.cids[number] = request.cid
        at = np.flatnonzero(self._running["symbol"] == symbol)
        row = self._running[at[0]] if len(at) else np.zeros(1, BAR)[0]
        out, inst = np.zeros(64, REPORT), self.instruments[symbol]
        done = match.place(self.books[symbol], effect, len(at) > 0, row, inst, self.last_ms[symbol], out, 0)
        self._hear(out[:done], request.ref_cid)

    def _hear(self, reports: NDArray[np.void], named: str) -> None:
        for row in reports:
            kind, number = codes.REPORTS[row["kind"]], int(row["intent"])
            cid = named if kind == "cancel_refused" else self.cids[number]
            position = len(self.words) + 1
            self.words.append(
                Word(
                    number=position,
                    ts_ms=int(row["ts_ms"]),
                    cid=cid,
                    ref_cid=named if kind in ("replaced", "rejected") else "",
                    venue_id=f"v{number}" if number else "",
                    kind=kind,
                    exec_id=f"x{position}" if kind == "filled" else "",
                    final=bool(row["final"]),
                    cum_qty=int(row["cum_qty"]),
                    last_qty=int(row["last_qty"]),
                    price_ticks=int(row["price"]),
                    fee_units=int(row["fee"]),
                    fee_lots=int(row["fee_lots"]),
                )
            )
