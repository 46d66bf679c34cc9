"""Equity over time, from fills and closes: the engine's own sum, in its own order, for all barriers at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.core.codes import BAR_MISSING, PURPOSE_ENTRY, PURPOSE_RESTATE
from avwapd.feeds.calendar import in_session
from avwapd.feeds.world import Setup

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


def curve(setup: Setup, bars: Any, fills: Any, effects: Any) -> tuple[Ints, Floats]:
    """(ts_ms, equity) of each barrier where it changed, after the start's; all rows in time order."""
    start = float(setup.params["start_equity"][0])
    traded = np.unique(fills["symbol"])
    if not len(traded):
        return np.zeros(0, np.int64), np.zeros(0)
    history = History(setup, bars)
    after = bars["ts_ms"][int(np.searchsorted(bars["ts_ms"], fills["ts_ms"][0])) :]
    times = after[np.flatnonzero(np.diff(after, prepend=-1))]
    total = np.zeros(len(times))
    for symbol in traded.tolist():
        mine = fills[fills["symbol"] == symbol]
        at, value = history.worth(mine, effects["ts_ms"][effects["symbol"] == symbol], symbol)
        place = np.searchsorted(at, times * MOMENTS + FOLDED, side="right") - 1
        total += np.where(place >= 0, value[place], 0.0)
    equity = start + total
    changed = np.flatnonzero(np.diff(equity, prepend=start))
    return times[changed], equity[changed]


# A symbol's profit is marked when it fills, when its bar is folded while it holds, and when the venue answers after
# that. Between these moments of one ts_ms a conversion pair may move on.
FILLED, FOLDED, ANSWERED = 0, 1, 2
MOMENTS = 4


class History:
    """The bars, symbol by symbol."""

    def __init__(self, setup: Setup, bars: Any) -> None:
        self._setup = setup
        self._bars = bars
        self._order = np.argsort(bars["symbol"], kind="stable")
        counts = np.bincount(bars["symbol"], minlength=len(setup.instruments))
        self._first = np.concatenate([[0], np.cumsum(counts)])

    def worth(self, fills: Any, answered: Ints, symbol: int) -> tuple[Ints, Floats]:
        """(moment, profit in equity currency) of each mark, open position included.

        answered: the ts_ms of the symbol's requests. A moment is ts_ms x MOMENTS + which.
        """
        inst = self._setup.instruments[symbol]
        rows = self.session_bars(symbol)
        # A split pays nothing: it is seen with the day's first bar, in the prices of that day.
        traded = fills["ts_ms"][fills["purpose"] != PURPOSE_RESTATE]
        moments = np.concatenate(
            [traded * MOMENTS + FILLED, rows["ts_ms"] * MOMENTS + FOLDED, answered * MOMENTS + ANSWERED]
        )
        moments = np.unique(moments[moments >= fills["ts_ms"][0] * MOMENTS])
        side = fills["side"].astype(np.int64)
        # A fee in the base coin shrinks what is held, whichever way it was traded.
        sign = np.where(fills["purpose"] == PURPOSE_ENTRY, side, -side)
        last = np.searchsorted(fills["ts_ms"], moments // MOMENTS, side="right") - 1
        held = np.cumsum(side * fills["qty"] - sign * fills["fee_lots"])[last]
        units = np.cumsum(-side * fills["price"] * fills["qty"] - fills["fee"])[last]
        seen = np.searchsorted(rows["ts_ms"] * MOMENTS + FOLDED, moments, side="right") - 1
        units = units + held * np.where(seen >= 0, ticks(rows["close"], float(inst["tick"]))[seen], 0)
        rate = self._rate(moments, symbol)
        marked = ~np.isnan(rate) & ((held != 0) | (moments % MOMENTS != FOLDED))
        return moments[marked], (units * float(inst["unit_value"]) * rate)[marked]

    def _rate(self, moments: Ints, symbol: int) -> Floats:
        """Equity currency per quote currency as it was known at each moment."""
        inst = self._setup.instruments[symbol]
        pair = int(inst["convert_symbol"])
        if pair < 0:
            return np.full(len(moments), 1.0 if pair == -1 else math.nan)
        quotes = self.session_bars(pair)
        # Of one barrier the lower symbol is folded first.
        folded = quotes["ts_ms"] * MOMENTS + FOLDED
        found = np.searchsorted(folded, moments, side="right" if pair < symbol else "left")
        close = np.append(quotes["close"], math.nan)[found - 1]
        return 1.0 / close if inst["convert_inverse"] else close

    def session_bars(self, symbol: int) -> Any:
        """A symbol's bars that move state."""
        inst = self._setup.instruments[symbol]
        rows = self._bars[self._order[self._first[symbol] : self._first[symbol + 1]]]
        rows = rows[rows["flags"] & BAR_MISSING == 0]
        first = int(inst["session_first"])
        table = self._setup.sessions[first : first + int(inst["session_count"])]
        return rows[in_session(rows["ts_ms"], table, daily=bool(inst["daily"]))]


def ticks(prices: Floats, tick: float) -> Ints:
    """`to_ticks` of every price."""
    ratio = prices / tick
    whole = np.floor(ratio)
    part = ratio - whole
    n = whole.astype(np.int64)
    return np.asarray(n + ((part > 0.5) | ((part == 0.5) & (n % 2 == 1))), np.int64)
