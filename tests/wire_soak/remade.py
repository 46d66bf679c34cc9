"""What the bars that a run has folded make of a symbol: its line, a former day's low, and the plan of an entry.

The engine's steps once more, to the bit and to the tick, from the ledger's bars alone: where a row of a ledger is what
that ledger's own bars make, and those of the other run make another, the row differs because of the bars.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from tests.wire_soak.rows import MINUTE_MS

# The settings of the market that is played: an entry's stop lies behind a former day's low, the line, the close.
SWING_FACTOR, LINE_FACTOR, PERCENT_FACTOR = 0.999, 0.9965, 0.9965
TICK = 0.01
MISSED = 15  # minutes that a session may begin late and is whole: gates.max_missing_bars_1m
SWING_DAYS = 20


class Bar(NamedTuple):
    ts_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Day(NamedTuple):
    """A session that began whole: its low, and the bar that made it."""

    low: float
    ts_ms: int


class Plan(NamedTuple):
    """Of an entry, in ticks."""

    stop: int
    r1: int
    r2: int


def folded(rows: Mapping[tuple[int, str], tuple[Any, ...]], symbol: str) -> list[Bar]:
    """A symbol's bars in the order of time: of each minute the first that has prices."""
    found = []
    for (ts_ms, of), versions in rows.items():
        first = next((row for row in versions if len(row) > 5 and row[4] is not None), None)
        if of == symbol and first is not None:
            found.append(Bar(ts_ms, *first[1:]))
    return sorted(found)


@dataclass(frozen=True)
class Remade:
    """Of one symbol in one run. opens: the sessions' beginnings, history's too."""

    bars: Sequence[Bar]
    opens: Sequence[int]

    def opening(self, ts_ms: int) -> int:
        """When the session of a bar began, 0 where that is not known."""
        at = bisect_left(self.opens, ts_ms)
        return self.opens[at - 1] if at else 0

    def between(self, since_ms: int, until_ms: int) -> Sequence[Bar]:
        """Behind the one time and up to the other."""
        first, end = (bisect_right(self.bars, ms, key=lambda bar: bar.ts_ms) for ms in (since_ms, until_ms))
        return self.bars[first:end]

    def line(self, open_ms: int, ts_ms: int) -> float | None:
        """The line of the session that began then, after the bar of `ts_ms`; None where it is not known."""
        bars = self.between(open_ms, ts_ms)
        if not bars or not whole(bars[0], open_ms):
            return None
        shift, weight, mean = bars[0].close, 0.0, 0.0
        for bar in bars:
            x = ((bar.high - shift) + (bar.low - shift) + (bar.close - shift)) / 3.0
            weight += bar.volume
            mean += (x - mean) * (bar.volume / weight if weight > 0.0 else 0.0)
        return shift + mean if weight > 0.0 else None

    def days(self, ts_ms: int) -> list[Day]:
        """Those before the session of `ts_ms` that began whole, the oldest first."""
        before = [open_ms for open_ms in self.opens if open_ms <= self.opening(ts_ms)]
        found = []
        for open_ms, end_ms in pairwise(before):
            bars = self.between(open_ms, end_ms)
            if bars and whole(bars[0], open_ms):
                lowest = min(bars, key=lambda bar: bar.low)
                found.append(Day(lowest.low, lowest.ts_ms))
        return found

    def swing(self, ts_ms: int) -> Day | None:
        """The newest former day whose low lies below both neighbours'."""
        days = self.days(ts_ms)
        for at in range(len(days) - 2, max(len(days) - SWING_DAYS, 0), -1):
            if days[at - 1].low > days[at].low < days[at + 1].low:
                return days[at]
        return None

    def plan(self, ts_ms: int) -> tuple[Plan, bool] | None:
        """Of an entry at the bar of `ts_ms`, and whether its stop lies behind the former day's low."""
        bars, level = self.between(ts_ms - 1, ts_ms), self.line(self.opening(ts_ms), ts_ms)
        if not bars or level is None:
            return None
        close, day = bars[0].close, self.swing(ts_ms)
        others = [price for price in (level * LINE_FACTOR, close * PERCENT_FACTOR) if price < close]
        swing = day.low * SWING_FACTOR if day is not None else math.inf
        stop = min([*others, *([swing] if swing < close else [])], default=math.nan)
        if math.isnan(stop):
            return None
        risk = abs(close - stop)
        return Plan(ticks(stop), ticks(close + risk), ticks(close + 2 * risk)), stop == swing


def whole(first: Bar, open_ms: int) -> bool:
    """Whether a session that begins with this bar is one of which nothing is missing."""
    return first.ts_ms - MINUTE_MS - open_ms <= MISSED * MINUTE_MS


def ticks(price: float) -> int:
    """The nearest, half to even."""
    return round(Fraction(price / TICK))
