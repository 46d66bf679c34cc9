"""The venue as the simulated world has it: it outlives every daemon, and so does what is on its way to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, TypeVar

import anyio
import numpy as np
from anyio.abc import TaskGroup, TaskStatus

from avwapd.venues.book import Exchange
from avwapd.venues.embedded import EmbeddedVenue
from avwapd.venues.faults import FaultPlan, FaultyVenue
from avwapd.venues.port import Request, VenueOrder, VenueRefused
from tests.sim.loop import VirtualLoop

T = TypeVar("T")

LONG_POLL_S = 0.25


@dataclass(eq=False)
class Letter:
    """A request that its sender has given up, and that still travels."""

    at_s: float
    request: Request


class Lasting(EmbeddedVenue):
    """The exchange's own side; the daemon may close its end, the exchange stays. Notes who came when."""

    def __init__(self, exchange: Exchange, marks: Counter[str]) -> None:
        super().__init__(exchange)
        self.marks = marks
        self.arrived: list[tuple[float, int, Request]] = []  # virtual time, the market's newest closed bar, request
        self.now_s = lambda: 0.0
        self.happen: Callable[[str], None] = lambda event: None
        self.absent: set[str] = set()  # ids that a look-up did not find

    async def send(self, request: Request) -> None:
        self.arrived.append((self.now_s(), self.exchange.closed_ms, request))
        if request.cid in self.absent:
            self.marks["arrived after a look-up in vain"] += 1
        try:
            await super().send(request)
        except VenueRefused as refused:
            if refused.duplicate:
                self.marks["duplicate refused"] += 1
            raise
        finally:
            self.happen("taken")

    async def look_up(self, cid: str) -> VenueOrder | None:
        order = await super().look_up(cid)
        if order is None:
            self.absent.add(cid)
        return order

    async def close(self) -> None:
        """The daemon left."""


class Wire(FaultyVenue):
    """The bad line to a Lasting exchange, with the market beside it."""

    def __init__(self, inner: Lasting, plan: FaultPlan, market: FreeMarket | None) -> None:
        super().__init__(inner, plan)
        self._late.close()  # letters are kept where a crash does not reach them
        self._due.close()
        self.lasting = inner
        self.market = market
        self.flying: list[Letter] = []
        self.cut_s = (0.0, 0.0)  # from when to when the line is cut for everyone
        self.happen: Callable[[str], None] = lambda event: None
        self.loop: VirtualLoop | None = None
        self._group: TaskGroup | None = None
        if market is not None:
            market.wire = self

    def begin_life(self, loop: VirtualLoop, life: int) -> None:
        """A new daemon calls; what flies goes on flying."""
        self.loop = loop
        self._random = Random(f"{self.plan.seed}/venue/{life}")
        self.lasting.now_s = loop.time

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            for letter in list(self.flying):
                group.start_soon(self._travel, letter)
            if self.market is not None:
                group.start_soon(self.market.run)
            task_status.started()
            await anyio.sleep_forever()

    async def send(self, request: Request) -> None:
        self.happen("send")
        await self._cut()
        try:
            await super().send(request)
        finally:
            self.happen("answered")

    async def look_up(self, cid: str) -> VenueOrder | None:
        await self._cut()
        return await super().look_up(cid)

    async def words(self, after: int) -> list[Any]:
        await self._cut()
        return await super().words(after)

    async def open_bar(self, ts_ms: int, bars: Any) -> None:
        await self._cut()
        await super().open_bar(ts_ms, bars)

    async def close_bar(self, ts_ms: int) -> None:
        await self._cut()
        await super().close_bar(ts_ms)

    async def after(self, ts_ms: int) -> list[Any]:
        """The free market's closed barriers, over the same line; where there are none, it waits a little for one."""
        assert self.market is not None
        await self._cut()
        if not self.market.has_after(ts_ms):
            await self._wait(min(LONG_POLL_S, max(0.0, self.market.next_s - self._now())))
        return await self._through(partial(self.market.closed_after, ts_ms), self._fate())

    @property
    def over(self) -> bool:
        assert self.market is not None
        return self.market.over

    async def close(self) -> None:
        """The daemon left."""

    async def _cut(self) -> None:
        if self.cut_s[0] <= self._now() < self.cut_s[1]:
            await self._wait(self.plan.deadline_ms / 1000)
            raise self._doubt("cut")

    def _now(self) -> float:
        assert self.loop is not None
        return self.loop.time()

    def _hand_over(self, late_s: float, request: Request) -> None:
        assert self._group is not None
        letter = Letter(self._now() + late_s, request)
        self.flying.append(letter)
        self._group.start_soon(self._travel, letter)

    async def _travel(self, letter: Letter) -> None:
        await self._wait(letter.at_s - self._now())
        if letter in self.flying:
            self.flying.remove(letter)
            await self._arrive_late(0.0, letter.request)

    def idle_until(self, until_s: float) -> None:
        """What happens at the venue while no daemon lives."""
        while True:
            letter = min(self.flying, key=lambda item: item.at_s, default=None)
            market_s = self.market.next_s if self.market is not None else until_s + 1
            if letter is not None and letter.at_s <= min(until_s, market_s):
                self.flying.remove(letter)
                self.lasting.now_s = partial(float, letter.at_s)
                at_once(self._arrive_late(0.0, letter.request))
            elif self.market is not None and market_s <= until_s and market_s < math.inf:
                self.market.turn()
            else:
                return


class FreeMarket:
    """A market that waits for nobody: each bar is open for the first half of its time, then closed."""

    def __init__(self, exchange: Exchange, bars: Any, *, start_s: float, bar_s: float) -> None:
        self.exchange = exchange
        self.bars = bars
        self.wire: Wire | None = None
        self.singly = False  # one barrier an answer
        self.given_ms = 0
        self._times = np.unique(bars["ts_ms"]).tolist()
        self._start_s, self._bar_s = start_s, bar_s
        self._turns = 0

    @property
    def next_s(self) -> float:
        """When something happens next."""
        return self._start_s + self._turns * self._bar_s / 2 if self._turns < 2 * len(self._times) else math.inf

    @property
    def over(self) -> bool:
        return self._turns == 2 * len(self._times) and self.given_ms >= self._times[-1]

    def closes_at(self, number: int) -> float:
        """Virtual time of the close of the bar with this number, from 0."""
        return self._start_s + (2 * number + 1) * self._bar_s / 2

    def turn(self) -> None:
        ts_ms = self._times[self._turns // 2]
        if self._turns % 2:
            self.exchange.close_bar(ts_ms)
        else:
            assert self.wire is not None
            at_once(self.wire.run_bar(ts_ms, self._barrier(ts_ms)))
        self._turns += 1
        if self.next_s == math.inf and self.wire is not None:
            self.wire._held.clear()  # no bar will come that would let them be heard

    async def run(self) -> None:
        """Go on until canceled; the last bar's close is the end."""
        while self.next_s < math.inf:
            assert self.wire is not None
            await anyio.sleep(max(0.0, self.next_s - self.wire._now()))
            self.turn()

    def has_after(self, ts_ms: int) -> bool:
        return ts_ms < self.exchange.closed_ms

    async def closed_after(self, ts_ms: int) -> list[Any]:
        times = [at for at in self._times if ts_ms < at <= self.exchange.closed_ms]
        if self.singly:
            times = times[:1]
        self.given_ms = max([self.given_ms, ts_ms, *times])
        return [self._barrier(at) for at in times]

    def _barrier(self, ts_ms: int) -> Any:
        first, last = (int(np.searchsorted(self.bars["ts_ms"], ts_ms, side=side)) for side in ("left", "right"))
        return np.array(self.bars[first:last])


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")
