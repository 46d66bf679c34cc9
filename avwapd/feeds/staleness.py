"""Whether a stream of bars still works, judged by the bars that were due: never by pings, never by a clock alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from avwapd.feeds.live_barrier import Barrier

FIRST_PAUSE_S, MOST_PAUSE_S = 0.5, 15.0
WINDOW_S = 60.0


class Backoff:
    """Pauses that double with every failure in a row, jittered by `draw` (a number in [0, 1))."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self.failures = 0
        self._draw = draw

    def worked(self) -> None:
        self.failures = 0

    def failed(self) -> float:
        """Seconds to rest after one more failure."""
        self.failures += 1
        pause_s = min(MOST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 10))
        return pause_s * (0.5 + 0.5 * self._draw())


class Watchdog:
    """stale_bars: barriers in a row that the stream may miss while bars are had elsewhere, or nowhere.

    reconnects_minute: how often it is made anew within a minute, at most.
    """

    def __init__(self, stale_bars: int, reconnects_minute: int, draw: Callable[[], float]) -> None:
        self.served_ms = 0  # the newest interval that the stream brought something of
        self.down_since_ms: int | None = None  # neither stream nor REST brings bars
        self.bounded = False  # the bound of reconnects holds the stream back
        self.stale = 0  # barriers in a row
        self._stale_bars = stale_bars
        self._dark = 0
        self._times: deque[float] = deque(maxlen=reconnects_minute)
        self._pauses = Backoff(draw)
        self._not_before = 0.0

    def saw(self, barrier: Barrier) -> None:
        """A barrier has closed. One of which nobody had anything says nothing about the stream."""
        if barrier.streamed:
            self.served_ms = barrier.ts_ms
            self.stale = 0
            self.bounded = False
            self._pauses.worked()
        elif barrier.found or barrier.failed:
            self.stale += 1
        self._dark = self._dark + 1 if barrier.failed else 0
        if self._dark >= self._stale_bars:
            self.down_since_ms = self.down_since_ms or barrier.ts_ms
        elif not self._dark and (barrier.streamed or barrier.found):
            self.down_since_ms = None

    def remake(self, now_s: float) -> bool:
        """Whether the stream is to be made anew at this (monotonic) time; counts as done where it is."""
        if self.stale < self._stale_bars or now_s < self._not_before:
            return False
        if len(self._times) == self._times.maxlen and now_s - self._times[0] < WINDOW_S:
            self.bounded = True
            return False
        self.bounded = False
        self.stale = 0
        self._times.append(now_s)
        self._not_before = now_s + self._pauses.failed()
        return True
