"""The narrow doors to the world: time and the database.

Everything above takes its door as an argument, so that the whole daemon runs unchanged in a simulated world.
This is the one file that asks the machine what time it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import anyio

T = TypeVar("T")


class Clock(Protocol):
    """Wall time for stamps and freshness, monotonic time for waits; never mixed."""

    def now_ms(self) -> int:
        """UTC wall time in milliseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, from an arbitrary start."""

    async def sleep(self, seconds: float) -> None:
        """Wait; a simulated clock jumps instead."""


class Database(Protocol):
    """One connection to the ledger; work on it is a synchronous function: no await splits a transaction."""

    async def run(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` on the connection to its end, even if the caller is canceled meanwhile."""

    async def close(self) -> None:
        """Finish what is queued, then close; closing twice does nothing."""


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class ScaledClock(SystemClock):
    """Market time of a simulated venue: wall stamps run `speed` times as fast from where the venue says it is.

    Waits and monotonic time stay the machine's own.
    """

    def __init__(self, now_ms: int, speed: float) -> None:
        self._speed = speed
        self.set(now_ms)

    def set(self, now_ms: int) -> None:
        """The venue's clock says so."""
        self._origin_ms, self._begun = now_ms, time.monotonic()

    def now_ms(self) -> int:
        return self._origin_ms + int((time.monotonic() - self._begun) * 1000 * self._speed)
