"""Bars of a market that runs on its own, across a network: warm-up or catch-up first, then barrier after barrier.

The sibling of bars.FreeBars for a LiveFeed. Before each session it asks for splits and dividends and for the venue's
hours; what no ratio can tell (another name, a merger) halts its symbol. A feed that is down blocks entries by its rows
(BAR_MISSING) and calls for a human once, at its begin and at its end.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import anyio
import numpy as np
from anyio.abc import TaskStatus

from avwapd.actors.bars import NO_ACTIONS, restate
from avwapd.actors.clock import MarketClock
from avwapd.actors.drill import Drill
from avwapd.actors.mail import Acted, BarsClosed, CaughtUp
from avwapd.actors.standing import Standing
from avwapd.actors.symbols import Symbols
from avwapd.core.codes import ACT_HALT, BAR_LATE, BAR_OUTSIDE, BAR_RETRY, BAR_SILENT, BAR_WARMUP
from avwapd.feeds.calendar import BELL, all_sessions, in_session
from avwapd.feeds.live import FeedDoubt, LiveFeed
from avwapd.feeds.live_decided import Revision
from avwapd.feeds.live_session import SessionFacts, news_of
from avwapd.feeds.staleness import Backoff
from avwapd.ports import Clock
from avwapd.store import notes
from avwapd.store.journal import Act
from avwapd.store.writer import Writer

log = logging.getLogger("avwapd.bars")

SETTLE_S = 30.0  # for the venue's words before missed bars are folded
PATIENCE_S = 60.0  # for REST at a restart; then the gap is the feed's, with rows that say so
MOST_TOLD = 10_000  # revisions that wait for the ledger
HALTED_BY = "feed"


class Gate(Protocol):
    """What is needed of the router."""

    def hold(self) -> None: ...

    def release(self) -> None: ...

    async def settle(self) -> None: ...


class LiveBars:
    """archive: BAR rows by (ts_ms, symbol), for the warm-up; actions: ACTION rows by time, as the archive has them.

    min_volume_share: of the consolidated volume, below which a symbol opens nothing; 0 is off.
    """

    def __init__(
        self,
        feed: LiveFeed,
        symbols: Symbols,
        router: Gate,
        writer: Writer,
        clock: Clock,
        market: MarketClock,
        *,
        archive: Any,
        warmup_sessions: int,
        actions: Any = NO_ACTIONS,
        min_volume_share: float = 0.0,
        draw: Callable[[], float] = lambda: 0.5,
        standing: Standing | None = None,
        lost_ms: int = 0,
        drill: Drill | None = None,
    ) -> None:
        self.turns = 0
        self._drill = drill or Drill("")
        self._lost_ms = lost_ms
        self._standing = standing or Standing(symbols)
        self.waiting_for = "start"
        self.catching_up = False  # late bars went in, and not yet that they were the last ones
        self.feed = feed
        self.patience_s = PATIENCE_S
        self.share: dict[str, float] = {}  # of the consolidated volume, where it is known
        self.revisions = 0
        self.session: SessionFacts = SessionFacts(feed.source, feed.symbols, actions)
        self._symbols = symbols
        self._router = router
        self._writer = writer
        self._clock = clock
        self._market = market
        self._archive = archive
        instruments = symbols.journal.world.instruments
        self._bell = instruments["bell"].astype(bool)
        self._daily = bool(instruments["daily"].any())
        self._bells = all_sessions(BELL)
        self._warmup_sessions = warmup_sessions
        self._min_share = min_volume_share
        self._draw = draw
        self._first_ms = 0
        self._down = False
        self._told: deque[Revision | tuple[str, str]] = deque(maxlen=MOST_TOLD)
        self._telling = anyio.Event()
        feed.on_revision = self._on_revision
        feed.on_alert = self.alert

    def stop(self) -> None:
        """Take no further bar."""
        self.feed.stop()

    # ------------------------------------------------------------------------------------------------- running

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Warm up or catch up, then fold what closes, until stopped."""
        self._router.hold()
        task_status.started()
        async with anyio.create_task_group() as group:
            await group.start(self.feed.run)
            group.start_soon(self._tell)
            self.waiting_for = "venue"
            with anyio.move_on_after(SETTLE_S):
                await self._router.settle()
            await self._begin()
            await self._judge_share()
            self._router.release()
            while (barrier := await self._next()) is not None:
                if self.catching_up and not barrier.late:
                    await self._caught_up()
                self.catching_up = barrier.late  # a process that stood still: without a start before them
                await self._session(barrier.ts_ms)
                self._mark_outside(barrier.ts_ms, barrier.bars)
                for bars, note in self._drill.play(barrier.bars):
                    await self._fold(bars, note)
                if self.catching_up and not self.feed.behind:
                    await self._caught_up()
                self._judge_feed()
            self.waiting_for = "end"
            group.cancel_scope.cancel()

    async def _next(self) -> Any:
        self.waiting_for = "feed"
        return await self.feed.next()

    async def _fold(self, bars: Any, note: str = "") -> None:
        """One barrier into the engine, after the corporate actions that come before it; returns once it is folded."""
        mail = await self._put(bars, note)
        await mail.folded.wait()
        self._market.market_ms = max(self._market.market_ms, int(bars[0]["ts_ms"]))

    async def _put(self, bars: Any, note: str = "") -> BarsClosed:
        self.turns += 1
        ts_ms = int(bars[0]["ts_ms"])
        self._mark_outside(ts_ms, bars)
        if not bars[0]["flags"] & BAR_WARMUP:
            if ts_ms <= self._lost_ms:
                bars["flags"] |= BAR_RETRY
            await self._standing.before(ts_ms)
        await restate(self.session.actions, self._first_ms, ts_ms, self._symbols)
        mail = BarsClosed(bars, note)
        self.waiting_for = "symbols"
        await self._symbols.put(mail)
        return mail

    def _mark_outside(self, ts_ms: int, bars: Any) -> None:
        """Bars of extended hours say so, as the archive's do."""
        if self._bell.any() and not in_session(np.array([ts_ms]), self._bells, daily=self._daily)[0]:
            bars["flags"][self._bell[bars["symbol"]]] |= BAR_OUTSIDE

    async def _caught_up(self) -> None:
        mail = CaughtUp()
        await self._symbols.put(mail)
        await mail.done.wait()
        self.catching_up = False

    # ---------------------------------------------------------------------------------------------------- start

    async def _begin(self) -> None:
        """What closed before this start: warm-up at the first, late bars at any other; then the feed goes on."""
        states = self._symbols.journal.world.states
        caught_ms = self._decided_ms()
        if caught_ms:
            self._first_ms = caught_ms
            await self._session(self._clock.now_ms(), caught_ms)
            lost = self._lost()
            found, answered = await self._missed(BAR_LATE, self.patience_s, lost)
            if answered:
                caught_ms = max(caught_ms, self.feed.caught_ms)
            # Another process may have ended between its last late bar and the end of its catch-up.
            left_open = await self._writer.submit(notes.open_catch_up)
            if found or left_open:
                await self._caught_up()
        else:
            since_ms = self.feed.schedule.sessions_back(self._clock.now_ms(), self._warmup_sessions)
            await self._session(self._clock.now_ms(), since_ms)
            await self._warm(since_ms)
            await self._missed(BAR_WARMUP, None, [], since_ms)
            caught_ms = self.feed.caught_ms
            lost = []
        if not self.feed.stopping:
            folded = states["last_ms"].tolist()
            self.feed.begin(max(caught_ms, self._decided_ms()), folded, [(i, t) for i, t in lost if t > folded[i]])

    async def _warm(self, since_ms: int) -> None:
        """The archive's bars of the warm-up: they move state and decide nothing."""
        rows = self._archive[int(np.searchsorted(self._archive["ts_ms"], since_ms, side="right")) :]
        rows = rows[: int(np.searchsorted(rows["ts_ms"], self._clock.now_ms(), side="right"))]
        self._first_ms = int(rows["ts_ms"][0]) if len(rows) else since_ms
        told = {"fields": {"EVENT": "feed"}}
        log.info("warm-up with %d bars of the archive, then with the venue's", len(rows), extra=told)
        edges = np.flatnonzero(np.diff(rows["ts_ms"])) + 1
        last: BarsClosed | None = None
        for barrier in np.split(rows, edges) if len(rows) else []:
            if self.feed.stopping:
                return
            marked = np.array(barrier)
            marked["flags"] |= BAR_WARMUP
            last = await self._put(marked)  # what decides nothing need not be waited for one by one
        if last is not None:
            await last.folded.wait()
            self._market.market_ms = int(last.bars[0]["ts_ms"])

    def _decided_ms(self) -> int:
        """The newest interval that any row is about; a bar that follows its row sets the journal's own time back."""
        journal = self._symbols.journal
        states = journal.world.states
        return max(journal.last_ms, int(states["decided_ms"].max()), int(states["last_ms"].max()))

    async def _missed(
        self, flag: int, patience_s: float | None, lost: Sequence[tuple[int, int]], since_ms: int = 0
    ) -> tuple[bool, bool]:
        """Fold what closed while nobody looked: whether there was any, and whether REST has told all of it in time."""
        found = False
        silent = set(lost)
        decided_ms = self._decided_ms()
        after_ms = min([max(decided_ms, since_ms), *(ts_ms - 1 for _, ts_ms in lost)])
        while not self.feed.stopping:
            barriers = await self._ask(after_ms, patience_s)
            if barriers is None:
                return found, False
            if not barriers:
                break
            for rows in barriers:
                after_ms = int(rows[0]["ts_ms"])
                await self._session(after_ms)
                marked = rows if after_ms > decided_ms else self._of_lost(rows, silent)
                marked["flags"] |= flag
                if len(marked):
                    found = True
                    self.catching_up = bool(flag & BAR_LATE)
                    await self._fold(marked)
        return found, True

    def _of_lost(self, rows: Any, silent: set[tuple[int, int]]) -> Any:
        """The bars of rows that were written without one."""
        last = self._symbols.journal.world.states["last_ms"]
        ts_ms = int(rows[0]["ts_ms"])
        keep = [(int(s), ts_ms) in silent and ts_ms > last[s] for s in rows["symbol"]]
        rows = rows[np.array(keep, bool)]
        rows["flags"] |= BAR_SILENT
        return rows

    async def _ask(self, after_ms: int, patience_s: float | None) -> list[Any] | None:
        """What closed after it; None where REST does not say within the patience, or we are stopped."""
        self.waiting_for = "feed"
        pauses = Backoff(self._draw)
        begun = self._clock.monotonic()
        while not self.feed.stopping:
            try:
                return await self.feed.missed(after_ms)
            except FeedDoubt as doubt:
                if not pauses.failures:
                    self.alert("warning", f"missed bars cannot be had yet: {doubt.reason}")
                pause_s = max(pauses.failed(), doubt.retry_s)
            if patience_s is not None and self._clock.monotonic() + pause_s - begun > patience_s:
                self.alert("critical", f"missed bars could not be had within {patience_s:g} s: going on without")
                return None
            await self.feed.rest(pause_s)
        return None

    def _lost(self) -> list[tuple[int, int]]:
        """(symbol, ts_ms) inside sessions between each symbol's newest bar and its newest row: rows without a bar."""
        states = self._symbols.journal.world.states
        schedule = self.feed.schedule
        found = []
        for symbol in np.flatnonzero((states["decided_ms"] > states["last_ms"]) & (states["last_ms"] > 0)).tolist():
            ts_ms = schedule.next(int(states[symbol]["last_ms"]))
            while ts_ms <= states[symbol]["decided_ms"]:
                if schedule.inside(ts_ms)[symbol]:
                    found.append((symbol, ts_ms))
                ts_ms = schedule.next(ts_ms)
        return found

    # -------------------------------------------------------------------------------------------------- session

    async def _session(self, ts_ms: int, since_ms: int = 0) -> None:
        """Before the first bar of a day: splits, dividends, changes of name, the venue's hours."""
        if not self.session.due(ts_ms):
            return
        self.waiting_for = "session"
        found = await self.session.refresh(ts_ms, since_ms)
        world = self._symbols.journal.world
        last = world.states["last_ms"].tolist()
        for news in news_of(found, last, int(world.portfolio[0]["restated_ms"])):
            if news.halt is None:
                self.alert(news.level, news.what)
            else:
                await self.halt(news.halt, news.what)
        for difference in self.session.differences:
            self.feed.schedule.correct(difference.date, difference.open_ms, difference.close_ms)

    async def due_actions(self) -> Any:
        """ACTION rows up to the coming session's, asked for now; that session's first bar asks again."""
        coming_ms = self.feed.schedule.next_open(self._clock.now_ms())
        self.session.ask_again()
        await self._session(coming_ms)
        self.session.ask_again()
        return self.session.actions[self.session.actions["ts_ms"] <= coming_ms]

    async def _judge_share(self) -> None:
        """At the start: a symbol of which the plan sees too little opens nothing."""
        ask = getattr(self.feed.source, "volume_share", None)
        if ask is None or self.feed.stopping:
            return
        try:
            self.share = await ask(self.feed.symbols, self._clock.now_ms())
        except FeedDoubt as doubt:
            self.alert("warning", f"the share of the consolidated volume is unknown: {doubt.reason}")
        if not self._min_share:
            return
        for i, symbol in enumerate(self.feed.symbols):
            share = self.share.get(symbol)
            if share is None or share < self._min_share:
                seen = "nobody knows which share" if share is None else f"only {share:.1%}"
                await self.halt(
                    i,
                    f"{symbol}: the data plan sees {seen} of the consolidated volume, wanted is {self._min_share:.1%} "
                    "(feed.min_volume_share)",
                )

    async def halt(self, symbol: int, reason: str) -> None:
        """Stop a symbol's entries and call for a human; its stops and exits go on."""
        self.alert("critical", reason)
        if self._symbols.journal.world.states[symbol]["halted"]:
            return
        mail = Acted(Act(ACT_HALT, symbol, False, HALTED_BY, reason))
        await self._symbols.put(mail)
        await mail.done.wait()

    # -------------------------------------------------------------------------------------------------- telling

    def _judge_feed(self) -> None:
        """One alert for an outage, one for its end."""
        down = self.feed.down_since_ms is not None
        if down != self._down:
            self._down = down
            if down:
                self.alert("critical", "the feed is down: neither stream nor REST has bars; no entry is made")
            else:
                self.alert("info", "the feed is back")

    def alert(self, level: str, what: str) -> None:
        """Call for a human, by the ledger."""
        log.log(logging.INFO if level == "info" else logging.ERROR, "%s", what, extra={"fields": {"EVENT": "alert"}})
        self._told.append((level, what))
        self._telling.set()

    def _on_revision(self, revision: Revision) -> None:
        self.revisions += 1
        self._told.append(revision)
        self._telling.set()

    async def _tell(self) -> None:
        """Revisions and alerts to the ledger, in their order; nobody waits for them."""
        while True:
            while self._told:
                told = self._told.popleft()
                if isinstance(told, Revision):
                    job = partial(
                        notes.revision,
                        ts_ms=told.ts_ms,
                        symbol_id=told.symbol,
                        known_ms=self._clock.now_ms(),
                        kind=told.kind,
                        values=told.values,
                    )
                    await self._writer.submit(job)
                else:
                    level, what = told
                    await self._writer.submit(partial(notes.alert, ts_ms=self._clock.now_ms(), level=level, what=what))
            await self._telling.wait()
            self._telling = anyio.Event()

    def facts(self) -> dict[str, Any]:
        """For status; volume_share: the smallest of a symbol."""
        least = min(self.share.items(), key=lambda pair: pair[1], default=None)
        return {
            **self.feed.facts(),
            "revisions": self.revisions,
            "volume_share": None if least is None else {"least": round(least[1], 4), "symbol": least[0]},
            "session_differences": [difference._asdict() for difference in self.session.differences],
            "actions_known": self.session.known,
        }
