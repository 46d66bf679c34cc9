"""The market as candles: closed ones from its history, and last the one that is still forming.

A minute without a trade has no candle, as it has no row in the archive. A forming candle knows its first price only.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from avwapd.demo_venue.sim import Sim


@dataclass(frozen=True, slots=True)
class Candle:
    """From start_ms (inclusive) to end_ms (exclusive), market ms."""

    start_ms: int
    end_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed: bool


def candles(sim: Sim, symbol: str, span_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
    """Those with start <= start_ms of the candle <= end, the oldest first; span_ms: a multiple of the market's own.

    The forming one comes last where it begins in that range.
    """
    market = sim.market
    rows = market.history(market.symbols.index(symbol), start_ms + 1, end_ms + span_ms)
    found = _spans(rows, span_ms, market.timeframe_ms, market.now_ms())
    found = [candle for candle in found if start_ms <= candle.start_ms <= end_ms]
    forming = forming_candle(sim, symbol)
    if forming is None:
        return found
    begin_ms = forming.start_ms // span_ms * span_ms
    if not start_ms <= begin_ms <= end_ms:
        return found
    last = found.pop() if found and found[-1].start_ms == begin_ms else None
    return [*found, _joined(last, forming, begin_ms, span_ms)]


def newest(sim: Sim, symbol: str, span_ms: int, end_ms: int, count: int) -> list[Candle]:
    """The last `count` candles that begin at or before end_ms, the oldest first."""
    found = candles(sim, symbol, span_ms, end_ms - 2 * count * span_ms, end_ms)
    return (found if len(found) >= count else candles(sim, symbol, span_ms, 0, end_ms))[-count:]


def forming_candle(sim: Sim, symbol: str) -> Candle | None:
    """The market's running candle of its own span; None where none has begun or its symbol does not trade in it."""
    market, bars = sim.market, sim.market.source.bars
    index = int(np.searchsorted(bars["ts_ms"], market.closed_ms, side="right"))
    if index >= len(bars):
        return None
    end_ms = int(bars["ts_ms"][index])
    start_ms = end_ms - market.timeframe_ms
    if market.now_ms() < start_ms:
        return None
    last = int(np.searchsorted(bars["ts_ms"], end_ms, side="right"))
    rows = bars[index:last]
    row = rows[rows["symbol"] == market.symbols.index(symbol)]
    if not len(row):
        return None
    price = _first_price(sim, symbol, row[0], end_ms)
    return Candle(start_ms, end_ms, price, price, price, price, 0.0, False)


def last_price(sim: Sim, symbol: str) -> Decimal:
    """The newest price that the market has shown; 0 before the first."""
    forming = forming_candle(sim, symbol)
    if forming is not None:
        return Decimal(str(forming.close))
    return sim.desk.marks.get(symbol, Decimal(0))


def exact(value: float, places: int = 8) -> str:
    """Decimal text that reads back as the very same float: of `places`, or as many more as that takes."""
    text = f"{value:.{places}f}"
    return text if float(text) == value else format(Decimal(repr(float(value))), "f")


def _first_price(sim: Sim, symbol: str, row: Any, end_ms: int) -> float:
    """The bar's open once the book has met it, until then the close before it."""
    if sim.desk.exchange.opened_ms >= end_ms:
        return float(row["open"])
    mark = sim.desk.marks.get(symbol)
    return float(row["open"]) if mark is None else float(mark)


def _spans(rows: Any, span_ms: int, own_ms: int, now_ms: int) -> list[Candle]:
    if span_ms == own_ms:
        return [
            Candle(ts_ms - span_ms, ts_ms, open_, high, low, close, volume, True)
            for ts_ms, _, _, open_, high, low, close, volume in rows.tolist()
        ]
    found: list[Candle] = []
    for ts_ms, _, _, open_, high, low, close, volume in rows.tolist():
        begin_ms = (ts_ms - 1) // span_ms * span_ms
        bar = Candle(begin_ms, begin_ms + span_ms, open_, high, low, close, volume, begin_ms + span_ms <= now_ms)
        if found and found[-1].start_ms == begin_ms:
            found[-1] = _joined(found[-1], bar, begin_ms, span_ms)
        else:
            found.append(bar)
    return found


def _joined(first: Candle | None, then: Candle, begin_ms: int, span_ms: int) -> Candle:
    start = first or then
    return Candle(
        begin_ms,
        begin_ms + span_ms,
        start.open,
        max(start.high, then.high),
        min(start.low, then.low),
        then.close,
        then.volume + (first.volume if first else 0.0),
        then.closed,
    )
