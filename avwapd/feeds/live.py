"""A live feed: the shell around the assembly of barriers. A stream brings bars, REST fills what it did not.

Waits are in market time over `speed`; limits of questions are wall time. The stream is judged by the bars that are due,
never by its pings: where it brings none though REST has some, it is made anew, within bounds.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio
import numpy as np
from anyio.abc import TaskStatus

from avwapd.feeds.bar_source import BarSource, FeedDoubt, Manners, Put, Rows, rows_of
from avwapd.feeds.check import FROM_FUTURE, check_bars
from avwapd.feeds.live_barrier import (
    FROZEN,
    FUTURE_MS,
    MOST_ASKED,
    MOST_LAG,
    OVERFLOW,
    TAKEN,
    Assembly,
    Barrier,
    Question,
)
from avwapd.feeds.live_decided import Revision
from avwapd.feeds.live_schedule import NEVER, Schedule
from avwapd.feeds.staleness import Backoff, Watchdog
from avwapd.ports import Clock

log = logging.getLogger("avwapd.feed")
FEED = {"fields": {"EVENT": "feed"}}  # what a journal is asked for

LEAD_S = 1.0  # wall time by which a clock that can be set may be behind the market's
LONGEST_WAIT_S = 1.0  # a clock may be set while we wait
SOONEST_S = 0.01  # between two looks at a clock that is not there yet
TRIES = 3  # of one question, within its limit
T = TypeVar("T")


class LiveFeed:
    """draw: a number in [0, 1) for jitter; on_ahead: told of a close that lies ahead of a clock that can be set.

    Whoever takes the barriers may set on_revision, and on_alert (level, what), which calls for a human.
    """

    def __init__(
        self,
        source: BarSource,
        symbols: Sequence[str],
        schedule: Schedule,
        clock: Clock,
        manners: Manners,
        *,
        draw: Callable[[], float],
        on_ahead: Callable[[int], None] | None = None,
    ) -> None:
        self.source = source
        self.symbols = tuple(symbols)
        self.schedule = schedule
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # by reason
        self.on_revision: Callable[[Revision], None] = lambda revision: None
        self.on_alert: Callable[[str, str], None] = lambda level, what: None
        self.caught_ms = 0  # everything up to here was given by `missed`
        self._clock = clock
        self._manners = manners
        self._draw = draw
        self._on_ahead = on_ahead
        self._assembly: Assembly | None = None
        self._early: deque[tuple[Any, ...]] = deque(maxlen=manners.room)
        self._closed: deque[Barrier] = deque()
        self._event = anyio.Event()
        self._asking: anyio.CancelScope | None = None
        self._stopping = anyio.Event()
        self._data_ms = 0  # market time of the newest arrival
        self._ask_at = 0.0
        self._shut_until = 0.0  # REST said so
        self._questions = Backoff(draw)
        self._watchdog = Watchdog(manners.stale_bars, manners.reconnects_minute, draw)
        self._connects = 0
        self._refill = anyio.Event()
        self._refill_ms = 0

    # ------------------------------------------------------------------------------------------------- running

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the source streaming until `stop`; its network's failures end nothing."""
        async with anyio.create_task_group() as group:
            if self._manners.streamed:
                group.start_soon(self._stream)
                group.start_soon(self._refilling)
            task_status.started()
            await self._stopping.wait()
            group.cancel_scope.cancel()

    async def _stream(self) -> None:
        pauses = Backoff(self._draw)
        while True:
            served_ms = self._watchdog.served_ms
            try:
                await self.source.run(self.put)
                why = "it ended"
            except FeedDoubt as doubt:
                why = doubt.reason
            if self._watchdog.served_ms != served_ms:
                pauses.worked()
            self.counts["streams_lost"] += 1
            log.warning("the stream of bars is lost: %s", why, extra=FEED)
            await self._clock.sleep(pauses.failed())

    def stop(self) -> None:
        """Bring no further barrier; `next` returns None."""
        self._stopping.set()
        self._event.set()
        if self._asking is not None:
            self._asking.cancel()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    async def rest(self, seconds: float) -> None:
        """Wait, or until stopped."""
        with anyio.move_on_after(seconds):
            await self._stopping.wait()

    def begin(self, closed_ms: int, folded_ms: Sequence[int] = (), lost: Sequence[tuple[int, int]] = ()) -> None:
        """Everything up to `closed_ms` is decided. folded_ms: each symbol's newest bar; lost: (symbol, ts_ms) of rows
        that were written without their bar."""
        manners = self._manners
        limit_ms = int(manners.ask_limit_ms * manners.speed)
        self._assembly = assembly = Assembly(
            self.schedule,
            closed_ms=closed_ms,
            grace_ms=manners.grace_ms,
            confirm=manners.confirm or not manners.streamed,
            polled=not manners.streamed,
            late_after_ms=max(2 * self.schedule.timeframe_ms, 2 * limit_ms),
            room=manners.room,
            folded_ms=folded_ms,
        )
        assembly.refused, assembly.counts = self.refused, self.counts
        self._watchdog.served_ms = closed_ms
        for symbol, ts_ms in lost:
            assembly.lose(symbol, ts_ms)
        while self._early:
            self.put(*self._early.popleft())
        self._event.set()

    # ------------------------------------------------------------------------------------------------ arrivals

    def put(
        self,
        ts_ms: int,
        symbol: int,
        opened: float,
        high: float,
        low: float,
        close: float,
        volume: float,
        revised: bool = False,
        /,
    ) -> None:
        """A bar of the stream."""
        assembly = self._assembly
        now_ms = self._clock.now_ms()
        if ts_ms > now_ms and self._on_ahead is not None and self._is_evidence(ts_ms, now_ms):
            self._on_ahead(ts_ms)
            now_ms = self._clock.now_ms()
            self._event.set()
        self._data_ms = now_ms
        if assembly is None:
            self._early.append((ts_ms, symbol, opened, high, low, close, volume, revised))
            return
        values = (opened, high, low, close, volume)
        found = assembly.arrived(ts_ms, symbol, values, now_ms, revised=revised)
        if found == TAKEN:
            if assembly.ready or assembly.stirred:
                self._event.set()
            if self._asking is not None and assembly.overtaken:
                self._asking.cancel()
            return
        if found in assembly.refused:
            self._say_refused(found, ts_ms, symbol, values)
        elif found == OVERFLOW and self.counts[OVERFLOW] == 1:
            log.error("more bars wait than queues.bars allows: what is beyond is asked for again", extra=FEED)
        self._tell_revisions(assembly)

    def _is_evidence(self, ts_ms: int, now_ms: int) -> bool:
        """Whether a bar ahead of our clock shows that the market's runs before it: by little, or over closed hours.

        One that skips open hours is just wrong.
        """
        if not self.schedule.is_stamp(ts_ms):
            return False
        most = 2 + int(LEAD_S * 1000 * self._manners.speed) // self.schedule.timeframe_ms
        return self.schedule.open_between(now_ms, ts_ms, most + 1) <= most

    def _say_refused(self, reason: str, ts_ms: int, symbol: int, values: tuple[float, ...]) -> None:
        """The first few of a kind one by one, then every thousandth: a sick feed must not fill the disk."""
        count = self.refused[reason]
        if count <= 10 or count % 1000 == 0:
            level = logging.WARNING if reason == FROM_FUTURE else logging.ERROR
            log.log(level, "%s bar %d refused: %s %s (%d so far)", self.symbols[symbol], ts_ms, reason, values, count)

    def _tell_revisions(self, assembly: Assembly) -> None:
        if assembly.decided.revisions:
            told, assembly.decided.revisions = assembly.decided.revisions, []
            for revision in told:
                self.on_revision(revision)

    # ------------------------------------------------------------------------------------------------ barriers

    @property
    def behind(self) -> bool:
        """Another barrier is there, or its time is over: the last one was not the newest."""
        assembly = self._assembly
        return bool(self._closed) or (assembly is not None and assembly.wake_ms() <= self._clock.now_ms())

    async def next(self) -> Barrier | None:
        """The next closed barrier that has rows; None once stopped. `begin` comes first."""
        assembly = self._assembly
        if self.stopping:  # maybe before it began: a stop that came while the start caught up
            return None
        if assembly is None:
            raise RuntimeError("a live feed was asked before it began")
        while not self._stopping.is_set():
            if self._closed:
                return self._closed.popleft()
            self._event = anyio.Event()
            now_ms = self._clock.now_ms()
            question = assembly.question(now_ms)
            if question is not None:
                await self._ask(assembly, question)
                continue
            closed = assembly.take(now_ms)
            if closed:
                for barrier in closed:
                    self._watch(barrier)
                self._closed.extend(barrier for barrier in closed if len(barrier.bars))
                continue
            wait_s = (assembly.wake_ms() - now_ms) / 1000 / self._manners.speed
            with anyio.move_on_after(min(max(wait_s, 0.001), LONGEST_WAIT_S)):
                await self._event.wait()
        return None

    async def _ask(self, assembly: Assembly, question: Question) -> None:
        """Put a question to REST within its limit; it ends early where the stream brings what it asks for."""
        rows: Rows | None = None
        over: Question | None = None
        now = self._clock.monotonic()
        # A bar that was lost before can be had now or never: for that a failure just now is no reason not to ask.
        if now >= self._shut_until and (now >= self._ask_at or question.last_ms <= assembly.closed_ms):
            with anyio.CancelScope() as self._asking:
                over = await self._over(assembly, question)
            if over is not None:
                question = over
                with anyio.move_on_after(self._manners.ask_limit_ms / 1000) as self._asking:
                    rows = await self._answer(question)
            self._asking = None
            if rows is None and assembly.overtaken:
                assembly.withdraw()
                return
            if rows is None:
                interval_s = self.schedule.timeframe_ms / 1000 / self._manners.speed
                self._ask_at = self._clock.monotonic() + min(self._questions.failed(), interval_s / 2)
            else:
                self._questions.worked()
        assembly.answered(question, rows, self._clock.now_ms())
        self._tell_revisions(assembly)
        self.counts["questions"] += 1

    async def _over(self, assembly: Assembly, question: Question) -> Question | None:
        """What of a question is over by the source's clock, which is waited for; None where it does not tell.

        Our clock may run ahead. Asked too early, the source would have the bar as far as it has come, or none.
        """
        if question.last_ms <= assembly.closed_ms:
            return question
        while True:
            over_ms: int | None = None
            with anyio.move_on_after(self._manners.ask_limit_ms / 1000):
                over_ms = await self._told(partial(self.source.over_ms, question.last_ms))
            if over_ms is None:
                return None
            narrowed = assembly.narrowed(over_ms)
            if narrowed is not None:
                return narrowed
            if self._clock.now_ms() - assembly.head_ms > MOST_LAG * self.schedule.timeframe_ms:
                return None  # a clock that stands still
            self.counts["asked_early"] += 1
            wait_s = (assembly.head_ms - over_ms) / 1000 / self._manners.speed
            await self._clock.sleep(min(max(wait_s, SOONEST_S), LONGEST_WAIT_S))

    async def _answer(self, question: Question) -> Rows | None:
        names = [self.symbols[symbol] for symbol in question.symbols]
        return await self._told(partial(self.source.history, names, question.first_ms, question.last_ms))

    async def _told(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What the source says; None where it does not."""
        for attempt in range(TRIES):
            try:
                return await ask()
            except FeedDoubt as doubt:
                log.warning("REST has no answer about bars: %s", doubt.reason, extra=FEED)
                if doubt.retry_s:
                    self._shut_until = self._clock.monotonic() + doubt.retry_s
                    return None
            await self._clock.sleep(0.1 * 3.0**attempt * (0.5 + 0.5 * self._draw()))
        return None

    # ------------------------------------------------------------------------------------------------ watching

    def _watch(self, barrier: Barrier) -> None:
        """Judge the stream and the feed as a whole by a barrier that has closed."""
        dog = self._watchdog
        bounded, missed, served_ms = dog.bounded, dog.stale + 1, dog.served_ms
        dog.saw(barrier)
        if barrier.frozen == FROZEN:
            self.on_alert("critical", f"the feed repeats the last prices since {FROZEN} bars: no entry until they move")
        if not self._manners.streamed:
            return
        self.counts["lost_by_stream"] += barrier.found
        self._notice_connects(barrier, served_ms)
        if dog.remake(self._clock.monotonic()):
            log.warning("the stream brought nothing of the last %d barriers: it is made anew", missed)
            self.counts["remade"] += 1
            self.source.reconnect()
        elif dog.bounded and not bounded:
            most = self._manners.reconnects_minute
            what = f"the stream of bars was made anew {most} times in a minute and stays mute: bars come by REST"
            self.on_alert("critical", what)

    @property
    def down_since_ms(self) -> int | None:
        """Since when neither stream nor REST has bars; None while one of them has."""
        return self._watchdog.down_since_ms

    def _notice_connects(self, barrier: Barrier, served_ms: int) -> None:
        """After a reconnect REST is asked about everything since the interval that was served last before it."""
        connects = int(self.source.facts().get("connects", 0))
        if connects != self._connects:
            if self._connects and self._assembly is not None:
                self.counts["reconnects"] += connects - self._connects
                self._assembly.be_sure(barrier.ts_ms + 2 * self.schedule.timeframe_ms)
                self._refill_ms = served_ms
                self._refill.set()
            self._connects = connects

    async def _refilling(self) -> None:
        """After each reconnect: what was decided while the stream was away is held against REST, for corrections."""
        while True:
            await self._refill.wait()
            self._refill = anyio.Event()
            assembly = self._assembly
            if assembly is None:
                continue
            first_ms, last_ms = self._refill_ms, assembly.closed_ms
            most_ms = MOST_ASKED // max(1, len(self.symbols)) * self.schedule.timeframe_ms
            question = Question(tuple(range(len(self.symbols))), max(first_ms, last_ms - most_ms, 0), last_ms)
            rows = None
            with anyio.move_on_after(self._manners.ask_limit_ms / 1000):
                rows = await self._answer(question)
            if rows is None:
                continue
            now_ms = self._clock.now_ms()
            for ts_ms, symbol, _, *values in rows.tolist():
                assembly.arrived(ts_ms, symbol, tuple(values), now_ms, streamed=False)
                self.counts["backfilled"] += 1
            self._tell_revisions(assembly)

    # ----------------------------------------------------------------------------------------------- catching up

    async def missed(self, after_ms: int) -> list[Rows]:
        """Barriers (BAR rows of one ts_ms) of what closed after `after_ms` and whose grace is over. Raises FeedDoubt.

        At most so many at a time: ask again until none is left.
        """
        last_ms = self._clock.now_ms() - self._manners.grace_ms
        last_ms = min(last_ms, await self.source.over_ms(last_ms))
        step_ms = max(1, MOST_ASKED // max(1, len(self.symbols))) * self.schedule.timeframe_ms
        first_ms = after_ms + 1
        while first_ms <= last_ms:
            coming = self.schedule.next(first_ms - 1)
            if coming > last_ms:
                break
            until_ms = min(last_ms, coming + step_ms)
            rows = self._good(await self.source.history(self.symbols, coming, until_ms), last_ms)
            if len(rows):
                self.counts["caught_up"] += len(rows)
                edges = np.flatnonzero(np.diff(rows["ts_ms"])) + 1
                return list(np.split(rows, edges))
            first_ms = until_ms + 1
        self.caught_ms = max(self.caught_ms, last_ms)
        return []

    def _good(self, rows: Rows, last_ms: int) -> Rows:
        """Those that can be bars; the others are counted by their reason."""
        keep = np.zeros(len(rows), bool)
        for symbol in np.unique(rows["symbol"]).tolist():
            at = np.flatnonzero(rows["symbol"] == symbol)
            done = check_bars(rows[at], timeframe_ms=1, now_ms=last_ms)
            keep[at[done.kept]] = True
            for refusal in done.refused:
                self.refused[refusal.reason] += 1
        keep &= np.array([self.schedule.is_stamp(ts_ms) for ts_ms in rows["ts_ms"].tolist()], bool)
        return rows[keep]

    # --------------------------------------------------------------------------------------------------- facts

    def facts(self) -> dict[str, Any]:
        """For status. last_data_age_ms: market time since a bar came by the stream, None before the first."""
        now_ms = self._clock.now_ms()
        assembly = self._assembly
        next_ms = assembly.wake_ms() if assembly is not None else NEVER
        return {
            "kind": "stream" if self._manners.streamed else "rest",
            **self.source.facts(),
            "last_data_ms": self._data_ms or None,
            "last_data_age_ms": now_ms - self._data_ms if self._data_ms else None,
            "decided_ms": assembly.closed_ms if assembly is not None else None,
            "next_ms": next_ms if next_ms != NEVER else None,
            "down_since_ms": self.down_since_ms,
            "counts": {**self.counts, "refused": dict(self.refused)},
        }


__all__ = [
    "FUTURE_MS",
    "BarSource",
    "FeedDoubt",
    "LiveFeed",
    "Manners",
    "Put",
    "Rows",
    "rows_of",
]
