"""A venue behind a bad line: answers and requests that are lost, doubled or late, by a seed alone.

What happens to a call is drawn when it is made and never read off a clock, so that under a virtual loop the same seed
gives the same trouble.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Protocol, TypeVar

import anyio
from anyio.abc import TaskStatus

from avwapd.venues.port import Market, Request, Venue, VenueDoubt, VenueOrder, VenueRefused, Word

T = TypeVar("T")

LATE_ROOM = 1024  # requests on their way at one time; one more is lost


class SimulatedVenue(Venue, Market, Protocol):
    """A venue that is told what its market does."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """How often (0..1) and how badly. An order slower than `deadline_ms` leaves its sender in doubt and still arrives.

    lose_request, lose_answer: any call; double_request, late_request: orders; double_words: words already given come
    again before the new ones; late_ms: how much later than the doubt a late request arrives, at most;
    slow_fill_bars: a fill, and what the venue says after it, is heard so many bars later.
    """

    delay_ms: float = 0.0
    delay_jitter_ms: float = 0.0
    lose_request: float = 0.0
    lose_answer: float = 0.0
    double_request: float = 0.0
    late_request: float = 0.0
    late_ms: float = 1_000.0
    double_words: float = 0.0
    slow_fill_bars: int = 0
    deadline_ms: float = 100.0
    seed: int | str = 1


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one call."""

    delay_s: float
    request_lost: bool
    answer_lost: bool
    doubled: bool
    late_s: float | None


class FaultyVenue:
    """Venue and Market around another. `run` must be running where requests can be late; `counts`: what happened."""

    def __init__(self, inner: SimulatedVenue, plan: FaultPlan) -> None:
        self.inner = inner
        self.plan = plan
        self.refuses_duplicates = inner.refuses_duplicates
        self.counts: Counter[str] = Counter()
        self._random = Random(f"{plan.seed}/venue")
        self._late, self._due = anyio.create_memory_object_stream[tuple[float, Request]](LATE_ROOM)
        self._opened_ms = 0
        self._bars = 0
        self._noticed = 0  # words looked through for fills
        self._held: deque[tuple[int, int]] = deque()  # (number of a fill, count of bars from which it is heard)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Bring late requests to the venue, until canceled: what is still on its way then is lost."""
        async with anyio.create_task_group() as group:
            task_status.started()
            while True:
                group.start_soon(self._arrive_late, *await self._due.receive())

    # ------------------------------------------------------------------------------------------------- venue

    def admit(self, kind: str, purpose: str) -> float:
        return self.inner.admit(kind, purpose)

    async def send(self, request: Request) -> None:
        fate = self._fate()
        if fate.late_s is not None:
            await self._wait(self.plan.deadline_ms / 1000)
            self._hand_over(fate.late_s, request)
            raise self._doubt("late_request")
        deadline_s = self.plan.deadline_ms / 1000
        if fate.delay_s > deadline_s and not fate.request_lost:
            await self._wait(deadline_s)
            self._hand_over(fate.delay_s - deadline_s, request)
            raise self._doubt("slow_request")
        await self._through(partial(self._deliver, request, twice=fate.doubled), fate)

    async def look_up(self, cid: str) -> VenueOrder | None:
        return await self._through(partial(self.inner.look_up, cid), self._fate())

    async def words(self, after: int) -> list[Word]:
        fate = self._fate()
        again = self._random.random() < self.plan.double_words
        first = max(0, after - self._random.randint(1, 5)) if again else after
        words = await self._through(partial(self.inner.words, first), fate)
        if first < after and words:
            self.counts["double_words"] += 1
        return [word for word in words if not self._held or word.number < self._held[0][0]]

    async def close(self) -> None:
        self._late.close()
        self._due.close()
        await self.inner.close()

    # ------------------------------------------------------------------------------------------------ market

    async def open_bar(self, ts_ms: int, bars: Any) -> None:
        await self._through(partial(self.run_bar, ts_ms, bars), self._fate())

    async def close_bar(self, ts_ms: int) -> None:
        await self._through(partial(self.inner.close_bar, ts_ms), self._fate())

    async def run_bar(self, ts_ms: int, bars: Any) -> None:
        """The market's own doing, with no line in between."""
        await self.inner.open_bar(ts_ms, bars)
        if ts_ms > self._opened_ms:
            self._opened_ms = ts_ms
            self._bars += 1
        while self._held and self._held[0][1] <= self._bars:
            self._held.popleft()
        await self._notice()

    # ---------------------------------------------------------------------------------------------- the line

    def _fate(self) -> Fate:
        """Always the same number of draws, so that one fault more or less does not reshuffle all that follow."""
        plan, draw = self.plan, self._random.random
        delay_s = (plan.delay_ms + plan.delay_jitter_ms * draw()) / 1000
        request_lost, answer_lost = draw() < plan.lose_request, draw() < plan.lose_answer
        doubled, late, late_s = draw() < plan.double_request, draw() < plan.late_request, plan.late_ms * draw() / 1000
        return Fate(delay_s, request_lost, answer_lost, doubled, late_s if late else None)

    async def _through(self, call: Callable[[], Awaitable[T]], fate: Fate) -> T:
        """Make a call as its fate wants it."""
        deadline_s = self.plan.deadline_ms / 1000
        if fate.request_lost or fate.delay_s > deadline_s:
            await self._wait(deadline_s)
            raise self._doubt("lose_request" if fate.request_lost else "slow_request")
        await self._wait(fate.delay_s)
        if not fate.answer_lost:
            return await call()
        try:
            await call()
        except VenueRefused:
            self.counts["lose_refusal"] += 1
        await self._wait(deadline_s - fate.delay_s)
        raise self._doubt("lose_answer")

    async def _deliver(self, request: Request, *, twice: bool = False) -> None:
        refused = None
        try:
            await self.inner.send(request)
        except VenueRefused as error:
            refused = error
        if twice:
            self.counts["double_request"] += 1
            await self._deliver_unheard(request)
        await self._notice()
        if refused is not None:
            raise refused

    async def _deliver_unheard(self, request: Request) -> None:
        """A request whose answer nobody waits for."""
        try:
            await self.inner.send(request)
        except (VenueRefused, VenueDoubt):
            self.counts["refused_unheard"] += 1

    def _hand_over(self, late_s: float, request: Request) -> None:
        try:
            self._late.send_nowait((late_s, request))
        except anyio.WouldBlock:
            self.counts["lost_on_the_way"] += 1

    async def _arrive_late(self, late_s: float, request: Request) -> None:
        await self._wait(late_s)
        self.counts["arrived_late"] += 1
        await self._deliver_unheard(request)
        await self._notice()

    async def _notice(self) -> None:
        """Hold back what the venue says from a new fill on."""
        if not self.plan.slow_fill_bars:
            return
        while words := await self.inner.words(self._noticed):
            self._noticed = words[-1].number
            due = self._bars + self.plan.slow_fill_bars
            fills = [(word.number, due) for word in words if word.kind == "filled"]
            self._held.extend(fills)
            self.counts["slow_fill"] += len(fills)

    def _doubt(self, fault: str) -> VenueDoubt:
        self.counts[fault] += 1
        return VenueDoubt(f"no answer within {self.plan.deadline_ms:g} ms")

    async def _wait(self, seconds: float) -> None:
        if seconds > 0 and math.isfinite(seconds):
            await anyio.sleep(seconds)
