"""Proof of progress: a probe goes the whole way through symbols, writer and publisher, and the router turns.

Life alone proves nothing: a ping leaves only when every actor has moved since the last one and the probe's row is on
the disk. A feed that is merely waiting for its next bar is no stall.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskStatus

from avwapd.actors.mail import Probe
from avwapd.actors.router import Router
from avwapd.actors.symbols import Symbols
from avwapd.ports import Clock

log = logging.getLogger("avwapd.heartbeat")


class Heartbeat:
    """facts: what `status` shows; publish: takes each beat (the heartbeat file, the watchdog)."""

    def __init__(
        self,
        symbols: Symbols,
        router: Router,
        clock: Clock,
        facts: Callable[[], dict[str, Any]],
        publish: Callable[[dict[str, Any]], None],
        *,
        interval_ms: int,
        stall_after_ms: int,
    ) -> None:
        self.beats = 0
        self.stalled = False
        self._symbols = symbols
        self._router = router
        self._clock = clock
        self._facts = facts
        self._publish = publish
        self._interval_s = interval_ms / 1000
        self._stall_s = stall_after_ms / 1000

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Beat until canceled."""
        task_status.started()
        while True:
            turns = self._router.turns
            self._router.ring()
            facts = self._facts()
            probe = Probe(json.dumps(facts, default=str))
            begun = self._clock.monotonic()
            with anyio.move_on_after(self._stall_s) as limit:
                await self._symbols.put(probe)
                await probe.done.wait()
            took_ms = round((self._clock.monotonic() - begun) * 1000)
            # The router may be inside a call to the venue that has a limit of its own: that is no stall of ours.
            stalled = limit.cancelled_caught
            if stalled and not self.stalled:
                log.error("no progress for %s ms: %s", took_ms, facts.get("queues"))
            self.stalled = stalled
            if not stalled:
                self.beats += 1
                moved = self._router.turns > turns
                self._publish({**facts, "beat": self.beats, "probe_ms": took_ms, "router_turned": moved})
            await self._clock.sleep(self._interval_s)
