"""Proof of progress: a probe goes the whole way through symbols, writer and publisher, and the router turns.

Life alone proves nothing: a ping leaves only when every actor has moved since the last one and the probe's row is on
the disk. A feed that is merely waiting for its next bar is no stall, and neither is a venue that does not answer.
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

IN_LEDGER = ("epoch", "last_ts_ms", "lag_ms", "waiting_for", "phases", "queues", "halted", "in_doubt", "commits")


class Heartbeat:
    """facts: what `status` shows; publish: takes each beat (the heartbeat file, the watchdog).

    clock_turns: how often the actor has turned that watches kill switch and pace. A published beat says `progress`
    where everything has moved since the last one that did: the service manager is pinged for those alone.
    """

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
        clock_turns: Callable[[], int] | None = None,
    ) -> None:
        self.beats = 0
        self.stalled = False
        self.beat_at: float | None = None  # by the monotonic clock
        self._symbols = symbols
        self._router = router
        self._clock = clock
        self._facts = facts
        self._publish = publish
        self._clock_turns = clock_turns
        self._seen: tuple[int, int] | None = None
        self._interval_s = interval_ms / 1000
        self._stall_s = stall_after_ms / 1000

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Beat until canceled."""
        task_status.started()
        while True:
            turns = self._router.turns
            self._router.ring()
            facts = self._facts()
            probe = Probe(json.dumps({name: facts[name] for name in IN_LEDGER if name in facts}, default=str))
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
                self._beat(facts, took_ms, router_turned=self._router.turns > turns)
            await self._clock.sleep(self._interval_s)

    def _beat(self, facts: dict[str, Any], took_ms: int, *, router_turned: bool) -> None:
        self.beats += 1
        self.beat_at = self._clock.monotonic()
        stamps = {"beat_ms": self._clock.now_ms(), "monotonic_s": round(self.beat_at, 3), "probe_ms": took_ms}
        moved = {"router_turned": router_turned, "progress": self._progress()}
        self._publish({**facts, "beat": self.beats, **stamps, **moved, "stalled": False, "beat_age_s": 0.0})

    def _progress(self) -> bool:
        """Whether router and clock have both turned since this was last true; the probe's commit is there already."""
        now = (self._router.turns, self._clock_turns() if self._clock_turns is not None else self.beats)
        if self._seen is not None and not (now[0] > self._seen[0] and now[1] > self._seen[1]):
            return False
        self._seen = now
        return True

    def facts(self) -> dict[str, Any]:
        """For health: beat_age_s is None before the first."""
        age = None if self.beat_at is None else round(self._clock.monotonic() - self.beat_at, 3)
        return {"beat": self.beats, "stalled": self.stalled, "beat_age_s": age}
