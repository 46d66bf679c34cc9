"""Alpaca's simulator on a loopback port, the real client before it, and a live feed that a test drinks from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import anyio
import numpy as np

from avwapd.core.codes import BAR_LATE, BAR_MISSING, BAR_SILENT
from avwapd.feeds.alpaca_bars import AlpacaBars
from avwapd.feeds.live import LiveFeed, Manners
from avwapd.feeds.live_barrier import Barrier
from avwapd.feeds.live_decided import Revision
from avwapd.feeds.live_schedule import Schedule
from avwapd.feeds.market import Market
from avwapd.ports import SystemClock
from avwapd.remote.addresses import Addresses
from avwapd.remote.credentials import Credentials, Secret
from tests.venue.simulators import Running, market, running

SYMBOLS = ("ALFA", "BRAVO", "COCO", "DELTA")
KEYS = Credentials(Secret("key"), Secret("secret"), simulated=True)
MINUTE_MS = 60_000


class VenueClock(SystemClock):
    """Stamps are the simulated market's own."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms()


def addresses(url: str, plan: str = "iex") -> Addresses:
    socket = url.replace("http", "ws", 1)
    return Addresses(url, f"{socket}/stream", url, f"{socket}/v2/{plan}", simulated=True)


def source_of(url: str, made: Market, clock: SystemClock, **options: Any) -> AlpacaBars:
    timeframe = options.pop("timeframe", made.timeframe)
    return AlpacaBars(addresses(url), KEYS, made.symbols, timeframe, clock, draw=Random("draw").random, **options)


@dataclass
class Table:
    """What a test holds: the venue, the feed, and what came of it."""

    venue: Running
    market: Market
    feed: LiveFeed
    source: AlpacaBars
    begun_ms: int
    speed: float
    got: list[tuple[int, Barrier]] = field(default_factory=list)  # (market ms at which it was given, barrier)
    revisions: list[Revision] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)

    def faults(self, **faults: Any) -> None:
        for name, setting in faults.items():
            self.venue.sim.faults.set(name, setting)

    async def drink(self, until: Callable[[Table], bool], limit_s: float = 20.0) -> None:
        """Take barriers until it holds."""
        with anyio.fail_after(limit_s):
            while not until(self):
                barrier = await self.feed.next()
                assert barrier is not None
                self.got.append((self.venue.sim.market.now_ms(), barrier))

    async def bars(self, count: int, limit_s: float = 20.0) -> None:
        """Barriers of so many more intervals."""
        last = (self.got[-1][1].ts_ms if self.got else self.begun_ms) + count * MINUTE_MS
        await self.drink(lambda table: bool(table.got) and table.got[-1][1].ts_ms >= last, limit_s)

    def rows(self) -> list[tuple[Any, ...]]:
        """Every bar that came, silent and late ones without their marks, by time and symbol."""
        found = [tuple(row) for _, barrier in self.got for row in barrier.bars.tolist() if not row[2] & BAR_MISSING]
        return sorted((row[0], row[1], row[2] & ~(BAR_SILENT | BAR_LATE), *row[3:]) for row in found)

    def flagged(self, flag: int) -> list[tuple[int, int]]:
        return [(int(r["ts_ms"]), int(r["symbol"])) for _, b in self.got for r in b.bars if r["flags"] & flag]

    def truth(self, *, without: Sequence[tuple[int, int]] = ()) -> list[tuple[Any, ...]]:
        """The market's bars of the same time."""
        last = max(barrier.ts_ms for _, barrier in self.got)
        bars = self.market.bars
        rows = bars[(bars["ts_ms"] > self.begun_ms) & (bars["ts_ms"] <= last)].tolist()
        return [tuple(row) for row in rows if (row[0], row[1]) not in without]

    def fired(self, name: str) -> int:
        return int(self.venue.sim.faults.fired[name])


@asynccontextmanager
async def table(
    folder: Path,
    *,
    speed: float = 600.0,
    symbols: tuple[str, ...] = SYMBOLS,
    clock: Any = None,
    manners: dict[str, Any] | None = None,
    faults: dict[str, Any] | None = None,
    kind: str = "stream",
    **options: Any,
) -> AsyncIterator[Table]:
    """The market runs as soon as the feed's stream is up."""
    made = options.pop("market", None) or market(2, "1m", symbols)
    async with running(folder, play=False, market=made, speed=speed, faults=faults or {}, **options) as venue:
        own = clock(venue.sim.market.now_ms()) if clock else VenueClock(venue.sim.market.now_ms)
        wanted = {
            "grace_ms": 2_000,
            "confirm": True,
            "stale_bars": 2,
            "ask_limit_ms": 2_000,
            "reconnects_minute": 10,
            "room": 10_000,
            "speed": speed,
            **(manners or {}),
        }
        source = source_of(venue.url, made, own, kind=kind, limit_s=wanted["ask_limit_ms"] / 1000)
        schedule = Schedule(made.calendars, made.timeframe_ms)
        feed = LiveFeed(
            source,
            made.symbols,
            schedule,
            own,
            Manners(**wanted, streamed=source.streamed),
            draw=Random("feed").random,
            on_ahead=getattr(own, "set", None),
        )
        found = Table(venue, made, feed, source, venue.sim.market.now_ms(), speed)
        feed.on_revision = found.revisions.append
        feed.on_alert = lambda level, what: found.alerts.append(what)
        feed.begin(found.begun_ms)
        async with anyio.create_task_group() as group:
            await group.start(feed.run)
            if source.streamed:
                with anyio.fail_after(10):
                    while not source.facts()["subscribed"]:  # noqa: ASYNC110 - the client has no word for it
                        await anyio.sleep(0.01)
            await source.over_ms(found.begun_ms)  # as a start does; its library is loaded while the market stands
            venue.sim.market.pause(False)
            try:
                yield found
            finally:
                feed.stop()
                source.close()


def noticed_within(table: Table, at_ms: int) -> float:
    """Market seconds from `at_ms` to the first barrier given after it that the stream had brought nothing of."""
    return next((at - at_ms) / 1000 for at, barrier in table.got if at > at_ms and not barrier.streamed)


def same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    """Equal, NaN included."""
    return len(one) == len(other) and bool(np.array_equal(np.array(one), np.array(other), equal_nan=True))
