"""Tells humans: takes what was said, keeps it in the ledger until a channel has taken it, never in trading's way.

The queue is in the ledger, so delivery is at least once: a message may come twice after a crash, none is lost. Calls
for a human (alerts) are queued in the commit of their own row; the rest is queued right after the commit it tells of.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskStatus

from avwapd.config.sections import Notify
from avwapd.ports import Clock
from avwapd.store import notices
from avwapd.store.notices import Notice
from avwapd.store.sql import Connection
from avwapd.store.writer import Writer

log = logging.getLogger("avwapd.notices")

Body = str | Callable[[Connection], str]  # a function reads the ledger in the transaction that queues it
Deliver = Callable[[str, str, str], Awaitable[None]]  # level, title, body; raises what says why not

ROOM = 1000  # said, not yet in the ledger
LOOK_S = 1.0
LONGEST_WAIT_S = 60.0  # between two tries of a channel that fails
JANITOR_S = 60.0
SINGLY = 3  # more than these at a time are told as one
MOST_LINES = 40  # of one message
DEAF_MS = 300_000
HOUR_MS = 3_600_000
SEVERITY = {"info": 0, "warning": 1, "critical": 2}


class Notices:
    """deliver: None where no channel is configured; then nothing is queued but alerts, and those are given up."""

    def __init__(
        self,
        clock: Clock,
        wanted: Notify,
        *,
        deliver: Deliver | None,
        sender: str,
        draw: Callable[[], float] = lambda: 0.5,
        clean: Callable[[str], str] = str,
    ) -> None:
        self.delivered = 0
        self.dropped = 0
        self.failures = 0  # tries in a row
        self.error = ""
        self._clock = clock
        self._wanted = wanted
        self._deliver = deliver
        self._sender = sender
        self._draw = draw
        self._clean = clean
        self._said: deque[tuple[int, str, str, str, Body]] = deque()
        self._keeping = 0  # said, on their way into the ledger
        self._waiting = notices.Waiting(0, None)
        self._untold = 0
        self._sent_at: float | None = None
        self._swept_at: float | None = None
        self._bell = anyio.Event()
        self._writer: Writer

    # ------------------------------------------------------------------------------------------------- saying

    @property
    def configured(self) -> bool:
        return self._deliver is not None

    @property
    def deaf(self) -> bool:
        """Nobody may be hearing: the channel fails, or something critical has waited for minutes."""
        since_ms = self._waiting.critical_ms
        late = since_ms is not None and self._clock.now_ms() - since_ms > DEAF_MS
        return self.configured and (self.failures > 0 or late)

    def say(self, event: str, level: str, title: str, body: Body = "") -> None:
        """Queue a notice; returns at once. event: of [notify] events; level: info | warning | critical."""
        if self._deliver is None or event not in self._wanted.events:
            return
        if len(self._said) >= ROOM:
            self._said.popleft()
            self.dropped += 1
        self._said.append((self._clock.now_ms(), event, level, title, body))
        self._bell.set()

    def hand_in(self, event: str, level: str, title: str) -> dict[str, Any]:
        """From outside the daemon: a unit that failed, a verdict of the health timer."""
        queued = self.configured and event in self._wanted.events
        self.say(event, level, title)
        return {"queued": queued}

    def facts(self) -> dict[str, Any]:
        """For status and the heartbeat. untold_alerts: above info, of which nobody was told."""
        since_ms = self._waiting.critical_ms
        channel = "failing" if self.failures else "working"
        return {
            "channel": channel if self.configured else "none",
            "deaf": self.deaf,
            "waiting": self._waiting.number + len(self._said) + self._keeping,
            "critical_waiting_s": None if since_ms is None else max(0, self._clock.now_ms() - since_ms) / 1000,
            "delivered": self.delivered,
            "dropped": self.dropped,
            "failures": self.failures,
            "error": self.error,
            "untold_alerts": self._untold,
        }

    # ------------------------------------------------------------------------------------------------ working

    def attach(self, writer: Writer) -> None:
        """Before `run`, once there is a writer."""
        self._writer = writer

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep and deliver until canceled."""
        if self._deliver is None:
            await self._writer.submit(self._sweep)
            task_status.started()
            return
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep)
            task_status.started()
            while True:
                await self._clock.sleep(await self._round(self._deliver))

    async def finish(self, limit_s: float) -> None:
        """At the daemon's end: so long at most for what was said last; a channel that fails is not waited for."""
        if self._deliver is None:
            return
        with anyio.move_on_after(limit_s):
            while (self._said or self._keeping or self._waiting.number) and not self.failures:
                await self._clock.sleep(LOOK_S / 10)

    async def _keep(self) -> None:
        while True:
            await self._keep_all()
            await self._bell.wait()
            self._bell = anyio.Event()

    async def _keep_all(self) -> None:
        while self._said:
            batch = list(self._said)
            self._said.clear()
            self._keeping = len(batch)
            self._waiting = await self._writer.submit(partial(self._put, batch))
            self._keeping = 0

    def _put(self, batch: Sequence[tuple[int, str, str, str, Body]], conn: Connection) -> notices.Waiting:
        for ts_ms, event, level, title, body in batch:
            words = body if isinstance(body, str) else body(conn)
            notices.put(conn, ts_ms, event, level, self._clean(title), self._clean(words))
        return notices.waiting(conn)

    # ----------------------------------------------------------------------------------------------- delivery

    async def _round(self, deliver: Deliver) -> float:
        """At most one message; seconds until the next look."""
        due, sent = await self._writer.submit(self._look)
        batch = self._batch(due, sent)
        if not batch:
            return LOOK_S
        level, title, body = self._message(batch)
        try:
            with anyio.fail_after(self._wanted.limit_s):
                await deliver(level, title, body)
        except Exception as error:  # noqa: BLE001 - whatever a channel throws, the message stays queued
            return await self._failed(batch, error)
        self._sent_at = self._clock.monotonic()
        await self._writer.submit(partial(self._done, batch))
        self.delivered += len(batch)
        if self.failures:
            log.warning("the notification channel works again: %d tries had failed", self.failures)
        self.failures, self.error = 0, ""
        return 0.0 if len(due) > len(batch) else LOOK_S

    def _look(self, conn: Connection) -> tuple[list[Notice], int]:
        now_ms = self._clock.now_ms()
        if self._swept_at is None or self._clock.monotonic() - self._swept_at >= JANITOR_S:
            self._sweep(conn)
        due = notices.due(conn)
        unwanted = [each.id for each in due if each.event not in self._wanted.events]
        if unwanted:
            notices.settle(conn, unwanted, "given_up", now_ms, "not in notify.events")
        self._waiting, self._untold = notices.waiting(conn), notices.untold(conn)
        return [each for each in due if each.id not in set(unwanted)], notices.sent(conn, now_ms - HOUR_MS, now_ms)

    def _sweep(self, conn: Connection) -> None:
        """What nobody will be told any more."""
        self._swept_at = self._clock.monotonic()
        now_ms = self._clock.now_ms()
        age_ms = round(self._wanted.give_up_hours * HOUR_MS)
        if self._deliver is None:
            notices.give_up(conn, now_ms + 1, now_ms, "no AVWAPD_NOTIFY_URLS")
        elif count := notices.give_up(conn, now_ms - age_ms, now_ms, self.error or "notify.give_up_hours"):
            log.error("%d notices could not be delivered within %g h", count, self._wanted.give_up_hours)
        self._waiting, self._untold = notices.waiting(conn), notices.untold(conn)

    def _batch(self, due: list[Notice], sent: int) -> list[Notice]:
        """The notices of the next message, critical ones first; none where the hour's limit is reached.

        Critical ones have an hour's limit of their own; past it, one message a minute carries all there are.
        """
        critical = [each for each in due if each.level == "critical"]
        others = due[len(critical) :]
        if critical:
            resting = self._sent_at is not None and self._clock.monotonic() - self._sent_at < LONGEST_WAIT_S
            if sent < 2 * self._wanted.per_hour:
                return critical if len(critical) > SINGLY else critical[:1]
            return [] if resting else critical
        if sent >= self._wanted.per_hour:
            return []
        return others if len(others) > SINGLY else others[:1]

    def _message(self, batch: list[Notice]) -> tuple[str, str, str]:
        level = max((each.level for each in batch), key=SEVERITY.__getitem__)
        if len(batch) == 1:
            (one,) = batch
            return level, f"{self._sender}: {one.title}", one.body + (f"\nsaid {one.times} times" * (one.times > 1))
        lines = [f"{each.event}: {each.title}" + f" ({each.times} times)" * (each.times > 1) for each in batch]
        if len(lines) > MOST_LINES:
            lines = [*lines[:MOST_LINES], f"… and {len(lines) - MOST_LINES} more, in the ledger's table notices"]
        return level, f"{self._sender}: {len(batch)} notices", "\n".join(lines)

    def _done(self, batch: list[Notice], conn: Connection) -> None:
        state = "delivered" if len(batch) == 1 else "summed"
        notices.settle(conn, [each.id for each in batch], state, self._clock.now_ms())
        self._waiting, self._untold = notices.waiting(conn), notices.untold(conn)

    async def _failed(self, batch: list[Notice], error: Exception) -> float:
        """Note it; seconds until the next try, doubled each time and spread."""
        late = f"no answer within {self._wanted.limit_s:g} s"
        self.error = self._clean(" ".join(str(error).split())[:200] or type(error).__name__)
        self.error = late if isinstance(error, TimeoutError) else self.error
        self.failures += 1
        if self.failures == 1:
            log.warning("the notification channel fails: %s; what is to be told waits in the ledger", self.error)
        await self._writer.submit(partial(notices.failed, ids=[each.id for each in batch], why=self.error))
        wait_s = min(LONGEST_WAIT_S, 2.0 ** min(self.failures - 1, 10))
        return wait_s * (0.5 + self._draw() / 2)
