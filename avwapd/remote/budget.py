"""How much may be asked of a service: calls a minute with a reserve for what lowers risk, bans obeyed, a breaker.

Nothing here waits or reads a clock of its own.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from avwapd.config.sections import VenueSettings

WINDOW_S = 60.0
KINDS = ("entry", "exit", "question")


class Monotonic(Protocol):
    def monotonic(self) -> float: ...


class Budget:
    """At most `calls_minute` calls in any `window_s`; the last `reserve` of them are for the kind exit only."""

    def __init__(self, calls_minute: int, reserve: int, clock: Monotonic, window_s: float = WINDOW_S) -> None:
        if not 0 <= reserve < calls_minute:
            raise ValueError(f"a reserve of {reserve} leaves nothing of {calls_minute} calls a minute")
        self.room = calls_minute
        self.reserve = reserve
        self.banned_until = 0.0  # monotonic seconds
        self._clock = clock
        self._window_s = window_s
        self._calls: deque[float] = deque()

    def take(self, kind: str) -> float:
        """0.0 and one call is taken; else the seconds until a call of this kind may be asked for again."""
        wait_s = self.wait(kind)
        if wait_s == 0.0:
            self._calls.append(self._clock.monotonic())
        return wait_s

    def wait(self, kind: str) -> float:
        """What `take` would say, without taking."""
        if kind not in KINDS:
            raise ValueError(f"{kind} is no kind of call")
        now = self._now()
        if now < self.banned_until:
            return self.banned_until - now
        limit = self.room if kind == "exit" else self.room - self.reserve
        over = len(self._calls) - limit
        return max(self._calls[over] + self._window_s - now, 1e-3) if over >= 0 else 0.0

    def ban(self, seconds: float) -> None:
        """The service said: nothing for so long."""
        self.banned_until = max(self.banned_until, self._clock.monotonic() + seconds)

    @property
    def left(self) -> int:
        """Calls left in this minute, the reserve included."""
        self._now()
        return self.room - len(self._calls)

    def facts(self) -> dict[str, int]:
        return {"left": self.left, "room": self.room, "reserve": self.reserve}

    def _now(self) -> float:
        """The time, after calls older than the window were forgotten."""
        now = self._clock.monotonic()
        while self._calls and self._calls[0] + self._window_s <= now:
            self._calls.popleft()
        return now


def budget_of(venue: VenueSettings, clock: Monotonic, *, simulated: bool) -> Budget:
    """As configured; a simulated venue counts in minutes of its market, which pass `speed` times as fast."""
    return Budget(venue.calls_minute, venue.reserve_calls, clock, WINDOW_S / (venue.speed if simulated else 1.0))


class Breaker:
    """Opens after `failures` failed calls in a row: then only questions pass, and one other call every `rest_s`.

    A success closes it.
    """

    def __init__(self, failures: int, rest_s: float, clock: Monotonic) -> None:
        self._limit = failures
        self._rest_s = rest_s
        self._clock = clock
        self._row = 0
        self._again_at = 0.0

    @property
    def open(self) -> bool:
        return self._row >= self._limit

    def wait(self, kind: str) -> float:
        """Seconds until a call of this kind may be tried; at 0.0 of an open breaker, this is the try."""
        if not self.open or kind == "question":
            return 0.0
        now = self._clock.monotonic()
        if now < self._again_at:
            return self._again_at - now
        self._again_at = now + self._rest_s
        return 0.0

    def failed(self) -> None:
        """No answer, or one that says that the service is down."""
        self._row += 1
        if self._row == self._limit:
            self._again_at = self._clock.monotonic() + self._rest_s

    def worked(self) -> None:
        """The service answered, whatever it said."""
        self._row = 0
