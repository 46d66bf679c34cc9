"""Seeded daily bars and scan parameters for the tests of daily anchors."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from avwapd.core import daily_anchor
from avwapd.core.codes import DAILY_ANCHORS
from avwapd.feeds.calendar import BELL, all_sessions
from tests.core.market import defaults

NAMES = (
    "window_bars",
    "anchor_days",
    "year_days",
    "gap_pct",
    "breakout_volume_factor",
    "breakout_volume_days",
    "breakout_range_fraction",
    "breakout_high_days",
    "swing_days",
    "swing_k",
    "acceptance_closes",
)


class Bars(NamedTuple):
    """One listing's bars, oldest first: session int32 [n], the rest float64 [n]."""

    session: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any

    def part(self, start: int, end: int) -> Bars:
        """Copies of the bars from `start` up to, not including, `end`."""
        return Bars(*(np.ascontiguousarray(column[start:end]) for column in self))


@cache
def calendar() -> Any:
    return all_sessions(BELL)


def params(**changes: float) -> Any:
    """The shipped defaults of the settings that anchors read, by the settings' names, with changes."""
    values = {name: getattr(defaults().scan, name) for name in NAMES} | changes
    record = np.zeros(1, [(name, "f8" if isinstance(value, float) else "i8") for name, value in values.items()])
    for name, value in values.items():
        record[name] = value
    return record[0]


def at(date: int) -> int:
    """Index of the session of a date, yyyymmdd."""
    index = int(np.searchsorted(calendar()["date"], date))
    assert calendar()["date"][index] == date, f"{date} is no session"
    return index


def walk(seed: int, first: int, count: int, holes: float = 0.0) -> Bars:
    """Bars of up to `count` sessions from `first`, some missing; prices in quarters, volumes in hundreds, so that
    extremes tie; gaps and bursts of volume happen."""
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(rng.random(count) >= holes)
    kept = kept if len(kept) else np.array([0])
    n = len(kept)
    jumps = np.where(rng.random(n) < 0.04, rng.normal(0.0, 0.06, n), rng.normal(0.0, 0.012, n))
    close = np.round(40.0 * np.exp(np.cumsum(jumps) - 0.3 * np.sin(np.arange(n) / 60.0)) * 4.0) / 4.0 + 1.0
    open_ = np.round((np.roll(close, 1) * (1.0 + 0.5 * jumps)) * 4.0) / 4.0 + 0.25
    high = np.maximum(open_, close) + rng.integers(0, 4, n) / 4.0
    low = np.minimum(open_, close) - rng.integers(0, 3, n) / 4.0
    volume = np.round(rng.lognormal(3.0, 0.5, n)) * 100.0
    return Bars((first + kept).astype(np.int32), open_, high, low, close, volume)


def locate(kind: str, bars: Bars, p: Any, begins: bool = False, given: int = -1, n: int | None = None) -> int:
    """`daily_anchor.locate` by the kind's word, on the first n bars."""
    code = DAILY_ANCHORS.index(kind)
    count = len(bars.session) if n is None else n
    return int(daily_anchor.locate(code, count, *bars, calendar(), p, begins, given))
