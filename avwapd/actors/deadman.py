"""The dead man's ping: leaves only when the heartbeat has proved progress since the last one."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import TaskStatus

from avwapd.ports import Clock

log = logging.getLogger("avwapd.ping")


class DeadMan:
    """beats: proofs of progress so far; ping raises what says why it did not arrive."""

    def __init__(
        self, clock: Clock, beats: Callable[[], int], ping: Callable[[], Awaitable[None]], *, every_s: float
    ) -> None:
        self.sent = 0
        self.failures = 0  # in a row
        self.withheld = 0  # for want of progress
        self._clock = clock
        self._beats = beats
        self._ping = ping
        self._every_s = every_s
        self._last = 0

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Ping until canceled."""
        task_status.started()
        while True:
            await self.turn()
            await self._clock.sleep(self._every_s)

    async def turn(self) -> None:
        beats = self._beats()
        if beats <= self._last:
            self.withheld += 1
            return
        try:
            await self._ping()
        except Exception as error:  # noqa: BLE001 - whatever a client throws: the next ping is another try
            self.failures += 1
            if self.failures == 1:
                log.warning("the dead man's ping fails: %s", error)
            return
        if self.failures:
            log.info("the dead man's ping arrives again")
        self._last = beats
        self.failures = 0
        self.sent += 1

    def facts(self) -> dict[str, Any]:
        return {"sent": self.sent, "failures": self.failures, "withheld": self.withheld}
