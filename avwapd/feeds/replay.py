"""The embedded feed: archived bars, barrier by barrier. The clock is the feed's: nothing it brings is ever late."""

from __future__ import annotations

from typing import Any

import numpy as np

from avwapd.core.codes import BAR_WARMUP


class ReplayFeed:
    """bars: BAR array sorted by (ts_ms, symbol); rows before `begin` are warm-up."""

    def __init__(self, bars: Any, begin: int) -> None:
        self._bars = bars
        self._begin = begin
        self._at = 0

    def seek(self, last_ms: int) -> None:
        """Go on behind the last bar that was taken in."""
        self._at = int(np.searchsorted(self._bars["ts_ms"], last_ms, side="right"))

    def at(self, ts_ms: int) -> Any:
        """The barrier of one close, as an array of its own; empty where there is none."""
        first, end = (int(np.searchsorted(self._bars["ts_ms"], ts_ms, side=side)) for side in ("left", "right"))
        return np.array(self._bars[first:end])

    @property
    def first_ms(self) -> int:
        """Close of the whole feed's first bar."""
        return int(self._bars["ts_ms"][0]) if len(self._bars) else 0

    @property
    def decides_ms(self) -> int | None:
        """Close of the first bar behind the warm-up, None where there is none."""
        return int(self._bars["ts_ms"][self._begin]) if self._begin < len(self._bars) else None

    @property
    def left(self) -> int:
        """Bars still to come."""
        return len(self._bars) - self._at

    def next(self) -> Any:
        """The next barrier as an array of its own, None at the end."""
        if self._at >= len(self._bars):
            return None
        begin = self._at
        ts_ms = self._bars["ts_ms"][begin]
        end = begin + 1
        while end < len(self._bars) and self._bars["ts_ms"][end] == ts_ms:
            end += 1
        self._at = end
        barrier = np.array(self._bars[begin:end])
        if begin < self._begin:
            barrier["flags"] |= BAR_WARMUP
        return barrier
