"""Market time: what the newest bar says, how fast the next may come, and what the wall shows beside it."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

from avwapd.ports import Clock


class MarketClock:
    """speed: seconds of market time in a second of wall time, math.inf for as fast as it goes.

    longest_ms: what a gap between two bars counts at most, so that a night passes like a bar.
    """

    def __init__(
        self, clock: Clock, *, speed: float, longest_ms: int, tick_s: float, killed: Callable[[], bool]
    ) -> None:
        self.market_ms = 0
        self.turns = 0
        self.kill_switch = killed()
        self.on_kill: Callable[[bool], None] | None = None
        self._clock = clock
        self._speed = speed
        self._tick_s = tick_s
        self._killed = killed
        self._longest_ms = longest_ms
        self._due: float | None = None
        self._last_ms = 0
        self._woken = anyio.Event()

    async def until(self, ts_ms: int) -> None:
        """Wait until a bar of this close is due at the chosen speed; at full speed only let the others turn."""
        if math.isinf(self._speed):
            await anyio.lowlevel.checkpoint()
            return
        now = self._clock.monotonic()
        gap_ms = min(ts_ms - self._last_ms, self._longest_ms) if self._due is not None else 0
        self._due = max((self._due or now) + gap_ms / 1000 / self._speed, now - 1.0)
        self._last_ms = ts_ms
        if self._due > now:
            with anyio.move_on_after(self._due - now):
                await self._woken.wait()

    @property
    def lag_ms(self) -> int:
        """How far the newest bar is behind its pace; 0 while the next is not due, and at full speed."""
        if self._due is None:
            return 0
        return max(0, round((self._clock.monotonic() - self._due) * 1000))

    def wake(self) -> None:
        """End a wait for the next bar: the daemon is stopping."""
        self._woken.set()

    async def rest(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch the kill switch on the wall's clock."""
        task_status.started()
        while True:
            self.turns += 1
            self.kill_switch = self._killed()
            if self.on_kill is not None:
                self.on_kill(self.kill_switch)  # every time: off and on again between two looks is a change too
            await self._clock.sleep(self._tick_s)
