"""Which bars are refused at the door, and why. A file of bars and a live bar meet the same rules.

Rules that need only the bar come first, then the boundary and the future, then its place among the bars
before it; a bar is refused for the first that it breaks. A refused bar never counts as "the bar before".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avwapd.config.kinds import EARLIEST_MS

PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume")

NOT_FINITE = "not_finite"
NOT_POSITIVE = "not_positive"
HIGH_BELOW_LOW = "high_below_low"
OUTSIDE_RANGE = "outside_range"
NEGATIVE_VOLUME = "negative_volume"
TOO_LARGE = "too_large"
IMPLAUSIBLE_TIME = "implausible_time"
MICROSECONDS = "microseconds"
NANOSECONDS = "nanoseconds"
OFF_BOUNDARY = "off_boundary"
FROM_FUTURE = "from_future"
OUT_OF_ORDER = "out_of_order"
DUPLICATE_SAME = "duplicate_same"
DUPLICATE_DIFFERENT = "duplicate_different"
MOST_PRICE, MOST_VOLUME = 1e12, 1e18  # beyond, ticks and lots could no longer be counted in 64 bits
MICRO_FROM, NANO_FROM = 10**14, 10**17  # as ms, the years 5138 and 3,170,843
REASONS: Mapping[str, str] = {
    NOT_FINITE: "a price or the volume is not a finite number",
    NOT_POSITIVE: "a price is zero or negative",
    HIGH_BELOW_LOW: "the high lies below the low",
    OUTSIDE_RANGE: "open or close lies outside low and high",
    NEGATIVE_VOLUME: "the volume is negative",
    TOO_LARGE: "a price is above 1e12 or the volume above 1e18",
    IMPLAUSIBLE_TIME: "the time lies before 1973; were seconds meant?",
    MICROSECONDS: "ts_ms looks like microseconds",
    NANOSECONDS: "ts_ms looks like nanoseconds",
    OFF_BOUNDARY: "the time is not where a bar of this timeframe closes",
    FROM_FUTURE: "the bar closes in the future",
    OUT_OF_ORDER: "an earlier row is newer",
    DUPLICATE_SAME: "the same bar came before",
    DUPLICATE_DIFFERENT: "another bar of this time came before",
}


class Refusal(NamedTuple):
    """One bar that was not let in."""

    row: int  # counted from 0
    ts_ms: int
    reason: str  # a key of REASONS


@dataclass(frozen=True)
class Checked:
    """kept: indices of good rows, int64, in the given order; refused: the others."""

    kept: NDArray[np.int64]
    refused: list[Refusal]

    @property
    def counts(self) -> dict[str, int]:
        """How many were refused by reason, in the order of the rules."""
        found = Counter(refusal.reason for refusal in self.refused)
        return {reason: found[reason] for reason in REASONS if found[reason]}


def check_bars(
    columns: Mapping[str, NDArray[Any]] | NDArray[np.void],
    *,
    timeframe_ms: int,
    stamps: NDArray[np.int64] | None = None,
    now_ms: int | None = None,
) -> Checked:
    """Check the rows of one symbol: BAR records, or columns `ts_ms` (int64) and VALUES (float64), shape (n,).

    stamps: the only times a bar may carry, sorted (daily bars of a market with sessions); now_ms: no bar
    closes later.
    """
    ts_ms = np.asarray(columns["ts_ms"])
    prices = np.stack([columns[name] for name in PRICES])
    volume = np.asarray(columns["volume"])
    opened, high, low, close = prices
    if stamps is None:
        off = ts_ms % timeframe_ms != 0
    else:
        off = ~np.isin(ts_ms, stamps)
    with np.errstate(invalid="ignore"):
        broken = {
            NOT_FINITE: ~(np.isfinite(prices).all(axis=0) & np.isfinite(volume)),
            NOT_POSITIVE: (prices <= 0).any(axis=0),
            HIGH_BELOW_LOW: high < low,
            OUTSIDE_RANGE: (np.maximum(opened, close) > high) | (np.minimum(opened, close) < low),
            NEGATIVE_VOLUME: volume < 0,
            TOO_LARGE: (prices > MOST_PRICE).any(axis=0) | (volume > MOST_VOLUME),
            IMPLAUSIBLE_TIME: ts_ms < EARLIEST_MS,
            MICROSECONDS: (ts_ms >= MICRO_FROM) & (ts_ms < NANO_FROM),
            NANOSECONDS: ts_ms >= NANO_FROM,
            OFF_BOUNDARY: off,
            FROM_FUTURE: ts_ms > now_ms if now_ms is not None else np.zeros(len(ts_ms), bool),
        }
    names = [*broken, OUT_OF_ORDER, DUPLICATE_SAME, DUPLICATE_DIFFERENT]
    verdict = np.zeros(len(ts_ms), np.int64)  # 0 = good, else 1 + index into names
    for code, rows in reversed(list(enumerate(broken.values(), start=1))):
        verdict[rows] = code
    sound = np.flatnonzero(verdict == 0)
    verdict[sound] = _placed([np.asarray(columns[name])[sound] for name in ("ts_ms", *VALUES)], len(broken))
    bad = np.flatnonzero(verdict)
    refused = [Refusal(int(row), int(ts_ms[row]), names[verdict[row] - 1]) for row in bad]
    return Checked(np.flatnonzero(verdict == 0), refused)


def _placed(columns: list[NDArray[Any]], rules: int) -> NDArray[np.int64]:
    """The verdict on each sound row's place: 0, or `rules` + 1 out of order, + 2 same, + 3 different."""
    ts_ms = columns[0]
    verdict = np.zeros(len(ts_ms), np.int64)
    if not len(ts_ms):
        return verdict
    _, first, which = np.unique(ts_ms, return_index=True, return_inverse=True)
    original = first[which]
    again = original != np.arange(len(ts_ms))
    same = np.logical_and.reduce([column == column[original] for column in columns])
    verdict[ts_ms < np.maximum.accumulate(ts_ms)] = rules + 1
    verdict[again] = np.where(same, rules + 2, rules + 3)[again]
    return verdict


def check_bar(
    ts_ms: int,
    values: tuple[float, float, float, float, float],
    *,
    timeframe_ms: int,
    stamps: NDArray[np.int64] | None = None,
    now_ms: int | None = None,
    last: tuple[int, tuple[float, float, float, float, float]] | None = None,
) -> str:
    """Why a live bar is refused, "" where it is good. values: VALUES in order; last: the newest good bar."""
    opened, high, low, close, volume = values
    if not all(map(math.isfinite, values)):
        return NOT_FINITE
    if min(opened, high, low, close) <= 0:
        return NOT_POSITIVE
    if high < low:
        return HIGH_BELOW_LOW
    if max(opened, close) > high or min(opened, close) < low:
        return OUTSIDE_RANGE
    if volume < 0:
        return NEGATIVE_VOLUME
    if max(opened, high, low, close) > MOST_PRICE or volume > MOST_VOLUME:
        return TOO_LARGE
    if ts_ms < EARLIEST_MS:
        return IMPLAUSIBLE_TIME
    if ts_ms >= MICRO_FROM:
        return MICROSECONDS if ts_ms < NANO_FROM else NANOSECONDS
    if ts_ms % timeframe_ms if stamps is None else not _among(ts_ms, stamps):
        return OFF_BOUNDARY
    if now_ms is not None and ts_ms > now_ms:
        return FROM_FUTURE
    if last is None or ts_ms > last[0]:
        return ""
    if ts_ms < last[0]:
        return OUT_OF_ORDER
    return DUPLICATE_SAME if values == last[1] else DUPLICATE_DIFFERENT


def _among(ts_ms: int, stamps: NDArray[np.int64]) -> bool:
    index = int(np.searchsorted(stamps, ts_ms))
    return index < len(stamps) and int(stamps[index]) == ts_ms
