"""Which live bars are due when: by calendar and timeframe, with what the venue says of single days.

Equities are due from 04:00 to 20:00 New York on days of a session, and inside only between the bells; 24/7 markets are
both always.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avwapd.feeds.calendar import ALWAYS, BELL, DAILY_CLOSE, DAY_MS, all_sessions, stamps_of

HOUR_MS = 3_600_000
EXTENDED_OPEN, EXTENDED_CLOSE = 4 * HOUR_MS, 20 * HOUR_MS  # of the day, local time
NEVER = 1 << 62

Mask = NDArray[np.bool_]


class Schedule:
    """calendars: the calendar's name of each symbol, in their order."""

    def __init__(self, calendars: Sequence[str], timeframe_ms: int, *, daily: bool = False) -> None:
        self.symbols = len(calendars)
        self.timeframe_ms = timeframe_ms
        self.daily = daily
        self._always: Mask = np.array([name == ALWAYS for name in calendars], bool)
        self._masks = {(bell, True): self._always | bell for bell in (False, True)}
        self._masks |= {(True, False): ~self._always, (False, False): np.zeros(self.symbols, bool)}
        self._counts = {key: int(mask.sum()) for key, mask in self._masks.items()}
        self._any_always, self._any_bell = bool(self._always.any()), not self._always.all()
        table = all_sessions(BELL)
        self._stamps = stamps_of(BELL, table)
        midnight = self._stamps - DAILY_CLOSE
        self._dates = table["date"].astype(np.int64)
        self._open, self._close = table["open_ms"].astype(np.int64), table["close_ms"].astype(np.int64)
        self._from, self._until = midnight + EXTENDED_OPEN, midnight + EXTENDED_CLOSE

    def correct(self, date: int, open_ms: int, close_ms: int) -> None:
        """The venue's word about one day (yyyymmdd) wins; close at or before open: no session at all."""
        at = int(np.searchsorted(self._dates, date))
        if at < len(self._dates) and self._dates[at] == date:
            self._open[at], self._close[at] = open_ms, close_ms
            if close_ms <= open_ms:
                self._until[at] = self._from[at]

    def is_stamp(self, ts_ms: int) -> bool:
        """A bar of this timeframe may close then."""
        if not self.daily:
            return ts_ms % self.timeframe_ms == 0
        if self._any_always and ts_ms % DAY_MS == 0:
            return True
        at = int(np.searchsorted(self._stamps, ts_ms))
        return at < len(self._stamps) and int(self._stamps[at]) == ts_ms

    def next(self, after_ms: int) -> int:
        """The first close behind `after_ms` at which any symbol is due; NEVER behind the calendar's end."""
        step = DAY_MS if self.daily else self.timeframe_ms
        found = (after_ms // step + 1) * step if self._any_always else NEVER
        return min(found, self._next_bell(after_ms)) if self._any_bell else found

    def _next_bell(self, after_ms: int) -> int:
        if self.daily:
            at = int(np.searchsorted(self._stamps, after_ms, side="right"))
            return int(self._stamps[at]) if at < len(self._stamps) else NEVER
        step = self.timeframe_ms
        found = (after_ms // step + 1) * step
        at = int(np.searchsorted(self._until, found))
        while at < len(self._until):
            found = max(found, (int(self._from[at]) // step + 1) * step)
            if found <= self._until[at]:
                return found
            at += 1
        return NEVER

    def sessions_back(self, now_ms: int, count: int) -> int:
        """Where the bars of the last `count` sessions before the running or coming one begin."""
        first = (now_ms // DAY_MS - count) * DAY_MS if self._any_always else NEVER
        if self._any_bell:
            at = int(np.searchsorted(self._until, now_ms))
            first = min(first, int(self._from[max(0, min(at, len(self._from) - 1) - count)]))
        return first

    def due(self, ts_ms: int) -> Mask:
        """Whose bar may close then; shape (symbols,), not to be written to."""
        return self._masks[self._due_kind(ts_ms)]

    def due_count(self, ts_ms: int) -> int:
        """How many `due` has."""
        return self._counts[self._due_kind(ts_ms)]

    def inside(self, ts_ms: int) -> Mask:
        """Whose session `ts_ms` lies in: open < ts_ms <= close; shape (symbols,), not to be written to."""
        bell = self._any_bell and self._in_bell(ts_ms)
        return self._masks[bell, self._on_always(ts_ms)]

    def open_between(self, after_ms: int, before_ms: int, most: int) -> int:
        """How many closes of bars inside a session lie between the two, both left out; counts to `most`."""
        found, ts_ms = 0, self.next(after_ms)
        while ts_ms < before_ms and found < most:
            if self.inside(ts_ms).any():
                found += 1
            elif self._any_bell and not self._any_always and not self.daily:
                ts_ms = max(ts_ms, self._before_bell(ts_ms))
            ts_ms = self.next(ts_ms)
        return found

    def next_open(self, ts_ms: int) -> int:
        """The opening bell at or behind a time; the time itself where some market never closes."""
        return ts_ms if not self._any_bell else self._before_bell(ts_ms)

    def _before_bell(self, ts_ms: int) -> int:
        """The opening bell at or behind a time outside sessions."""
        at = int(np.searchsorted(self._open, ts_ms))
        return int(self._open[at]) if at < len(self._open) else NEVER

    def _due_kind(self, ts_ms: int) -> tuple[bool, bool]:
        bell = False
        if self._any_bell and self.is_stamp(ts_ms):
            if self.daily:
                bell = self._in_bell(ts_ms)
            else:
                at = int(np.searchsorted(self._until, ts_ms))
                bell = at < len(self._until) and int(self._from[at]) < ts_ms
        return bell, self._on_always(ts_ms)

    def _on_always(self, ts_ms: int) -> bool:
        return self._any_always and ts_ms % (DAY_MS if self.daily else self.timeframe_ms) == 0

    def _in_bell(self, ts_ms: int) -> bool:
        if self.daily:
            at = int(np.searchsorted(self._stamps, ts_ms))
            return at < len(self._stamps) and self._stamps[at] == ts_ms and self._open[at] < self._close[at]
        at = int(np.searchsorted(self._close, ts_ms))
        return at < len(self._close) and int(self._open[at]) < ts_ms
