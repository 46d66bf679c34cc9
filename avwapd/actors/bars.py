"""Bar ingestion: one barrier after the other to the symbols actor.

In a replay the feed's clock stands still until the venue has answered everything, so that the next bar never races an
order; how long that took on the wall changes nothing. While nothing is held or wanted there is nothing to wait for.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import anyio
import numpy as np
from anyio.abc import TaskStatus

from avwapd.actors.clock import MarketClock
from avwapd.actors.drill import Drill
from avwapd.actors.mail import BarsClosed, CaughtUp, Restated
from avwapd.actors.router import Router
from avwapd.actors.standing import Standing
from avwapd.actors.symbols import Symbols
from avwapd.core.codes import BAR_LATE, BAR_MISSING, BAR_WARMUP
from avwapd.core.records import ACTION
from avwapd.feeds.check import check_bar
from avwapd.feeds.market import due
from avwapd.feeds.replay import ReplayFeed
from avwapd.venues.port import Market, VenueDoubt

log = logging.getLogger("avwapd.bars")
NO_ACTIONS = np.zeros(0, ACTION)


async def restate(actions: Any, first_ms: int, ts_ms: int, symbols: Symbols) -> bool:
    """Fold the corporate actions of sessions that opened before the bar closing at `ts_ms`; True where there were any.

    actions: ACTION rows by time; first_ms: the feed's first bar, whose prices no older action changes.
    """
    found = False
    done_ms = int(symbols.journal.world.portfolio[0]["restated_ms"])
    for rows in due(actions, max(first_ms - 1, done_ms), ts_ms):
        mail = Restated(rows)
        await symbols.put(mail)
        await mail.done.wait()
        found = True
    return found


class ReplayBars:
    """Feeds a finite replay. `market` is the simulated venue's side that must see each bar first.

    actions: ACTION rows by time, folded before the first bar of their session. drill: what fails on purpose.
    """

    def __init__(
        self,
        feed: ReplayFeed,
        market: Market,
        symbols: Symbols,
        router: Router,
        clock: MarketClock,
        finished: Callable[[], None],
        *,
        actions: Any = NO_ACTIONS,
        standing: Standing | None = None,
        drill: Drill | None = None,
    ) -> None:
        self.turns = 0
        self.waiting_for = "start"
        self._actions = actions
        self._drill = drill or Drill("")
        self._standing = standing or Standing(symbols)
        self._feed = feed
        self._market = market
        self._symbols = symbols
        self._router = router
        self._clock = clock
        self._finished = finished
        self._stopping = False

    def stop(self) -> None:
        """Take no further bar."""
        self._stopping = True

    def _over(self) -> bool:
        return self._stopping

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Feed until the end, then settle and say so."""
        task_status.started()
        await self._settle()
        while not self._over():
            barrier = self._feed.next()
            if barrier is None:
                break
            self.turns += 1
            ts_ms = int(barrier[0]["ts_ms"])
            self.waiting_for = "clock"
            if not barrier[0]["flags"] & BAR_WARMUP:  # nobody watches what decides nothing
                await self._clock.until(ts_ms)
            if self._over():
                break
            for bars, note in self._drill.play(barrier):
                await self._deliver(int(bars[0]["ts_ms"]), bars, note)
        await self._settle()
        self.waiting_for = "end"
        if not self._over():
            self._finished()

    async def _deliver(self, ts_ms: int, barrier: Any, note: str) -> None:
        """To the venue, then to the engine. An interval whose bars nobody has is not told to the venue either: it
        meets them when they come."""
        journal = self._symbols.journal
        absent = bool(barrier["flags"][0] & BAR_MISSING)
        await self._standing.before(ts_ms)
        if await restate(self._actions, self._feed.first_ms, ts_ms, self._symbols):
            await self._settle()
        if not absent and (not journal.quiet or self.turns == 1):  # a kill may have left the first one open there
            await self._insist("open", ts_ms, barrier)
            await self._settle()
            await self._insist("close", ts_ms, barrier)
        mail = BarsClosed(barrier, note)
        self.waiting_for = "symbols"
        await self._symbols.put(mail)
        await mail.folded.wait()
        self._clock.market_ms = max(self._clock.market_ms, ts_ms)
        if not journal.quiet:
            await self._settle()

    async def _insist(self, word: str, ts_ms: int, barrier: object) -> None:
        """Tell the market what it must know; both words may be said twice."""
        self.waiting_for = "venue"
        pause = 0.01
        while True:
            try:
                if word == "open":
                    await self._market.open_bar(ts_ms, barrier)
                else:
                    await self._market.close_bar(ts_ms)
                return
            except VenueDoubt:
                await self._clock.rest(pause)
                pause = min(pause * 2, 1.0)

    async def _settle(self) -> None:
        """First what the bar itself caused is durable and out, then the venue is listened to."""
        self.waiting_for = "settle"
        await self._symbols.settled()
        await self._router.settle()


class BarSource(Protocol):
    """A market that runs on its own: asked for the bars it has closed since."""

    async def after(self, ts_ms: int) -> list[Any]:
        """Barriers (BAR arrays of one ts_ms, in order) with ts_ms > the given; empty where none has closed."""
        ...

    @property
    def over(self) -> bool:
        """The market has closed its last bar, and `after` has given it."""
        ...


class FreeBars:
    """Feeds from a market that does not wait. What it closed while the daemon was down comes late.

    First the venue's words are heard, then every missed bar is folded, then what is still wanted may leave.
    """

    def __init__(
        self,
        source: BarSource,
        symbols: Symbols,
        router: Router,
        clock: MarketClock,
        finished: Callable[[], None],
        *,
        poll_s: float,
        actions: Any = NO_ACTIONS,
        first_ms: int = 0,
        standing: Standing | None = None,
    ) -> None:
        self.turns = 0
        self.waiting_for = "start"
        self._standing = standing or Standing(symbols)
        self._actions = actions
        self._first_ms = first_ms
        self._source = source
        self._symbols = symbols
        self._router = router
        self._clock = clock
        self._finished = finished
        self._poll_s = poll_s
        self._stopping = False
        first = symbols.journal.world.instruments[0]
        # A daily bar lies on its exchange's close, which no number of milliseconds divides.
        self._boundary_ms = 1 if first["daily"] else int(first["timeframe_ms"])
        self.refused: Counter[str] = Counter()

    def stop(self) -> None:
        """Take no further bar."""
        self._stopping = True

    def _over(self) -> bool:
        return self._stopping or self._source.over

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Catch up, then feed what closes."""
        self._router.hold()
        task_status.started()
        await self._router.settle()
        resumed = self._symbols.journal.last_ms > 0
        late = resumed and await self._missed()
        if late:
            mail = CaughtUp()
            await self._symbols.put(mail)
            await mail.done.wait()
        self._router.release()
        while not self._over():
            barriers = await self._ask()
            if barriers:
                self._router.ring()  # a bar may have filled something: hear it before long
            for barrier in barriers:
                await self._put(barrier)
            self.waiting_for = "feed"
            await self._clock.rest(self._poll_s)
        await self._router.settle()
        self.waiting_for = "end"
        if not self._stopping:
            self._finished()

    async def _missed(self) -> bool:
        """Fold what closed while nobody looked; True where there was any."""
        found = False
        while barriers := await self._ask():
            for barrier in barriers:
                barrier["flags"] |= BAR_LATE
                await self._put(barrier)
                found = True
        return found

    async def _ask(self) -> list[Any]:
        self.waiting_for = "feed"
        pause = 0.01
        while not self._stopping:
            try:
                return await self._source.after(self._symbols.journal.last_ms)
            except VenueDoubt:
                await self._clock.rest(pause)
                pause = min(pause * 2, 1.0)
        return []

    def _checked(self, barrier: Any) -> Any:
        """The rows that can be bars; each other one is counted by its reason and told."""
        good = np.ones(len(barrier), bool)
        for i, bar in enumerate(barrier):
            values = (bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"])
            reason = check_bar(int(bar["ts_ms"]), values, timeframe_ms=self._boundary_ms)
            if reason:
                good[i] = False
                self.refused[reason] += 1
                symbol = self._symbols.journal.symbol_name(int(bar["symbol"]))
                log.error("%s bar %d refused: %s %s", symbol, bar["ts_ms"], reason, values)
        return barrier[good]

    async def _put(self, barrier: Any) -> None:
        self.turns += 1
        barrier = self._checked(barrier)
        if not len(barrier):
            return
        await self._standing.before(int(barrier[0]["ts_ms"]))
        await restate(self._actions, self._first_ms, int(barrier[0]["ts_ms"]), self._symbols)
        mail = BarsClosed(barrier)
        self.waiting_for = "symbols"
        await self._symbols.put(mail)
        await mail.folded.wait()
        self._clock.market_ms = int(barrier[0]["ts_ms"])
