"""Whether an interval is over is for the venue's clock to say: ours may run ahead, and goes on while answers travel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from avwapd.core.codes import BAR_MISSING
from avwapd.feeds.live import LiveFeed, Manners
from avwapd.feeds.live_barrier import Barrier
from avwapd.feeds.live_schedule import Schedule
from tests.feeds.live_kit import MINUTE_MS, VenueClock, source_of
from tests.feeds.test_ccxt_bars import BOTH, CLOSES, at, bars, candle
from tests.venue import coins
from tests.venue.coins import FIRST_MS, MINUTE, until
from tests.venue.simulators import market, running
from tests.venues.ccxt_kit import NOW_MS, SYMBOL, MarketClock, binance_answers, recording

pytestmark = pytest.mark.anyio

CLOSED_MS = FIRST_MS + 12 * MINUTE  # of the history that `at` begins with
MANNERS = Manners(
    grace_ms=2_000,
    confirm=True,
    stale_bars=2,
    ask_limit_ms=20_000,
    reconnects_minute=10,
    room=100,
    streamed=False,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# ------------------------------------------------------------------------------------------------ one question


@BOTH
async def test_a_clock_that_ran_ahead_since_it_was_compared_closes_no_candle(tmp_path: Path, name: str) -> None:
    async with at(tmp_path, name, kind="rest") as (source, there):
        ahead_ms = 0
        source._clock = MarketClock(lambda: there.sim.market.now_ms() + ahead_ms)
        there.half()  # the thirteenth has begun
        assert len(await source.history([SYMBOL], CLOSED_MS, CLOSED_MS)) == 1
        ahead_ms = 90_000
        found = await source.history([SYMBOL], CLOSED_MS, CLOSED_MS + MINUTE)
        assert found["ts_ms"].tolist() == [CLOSED_MS]
        assert await source.over_ms(CLOSED_MS + MINUTE) < CLOSED_MS + MINUTE
        there.bar()
        found = await source.history([SYMBOL], CLOSED_MS, CLOSED_MS + MINUTE)
        assert found["ts_ms"].tolist() == [CLOSED_MS, CLOSED_MS + MINUTE]
        assert found["volume"].tolist() == [10.5, 10.5]


async def test_the_time_that_an_answer_takes_closes_no_candle() -> None:
    """The exchange's clock was past the end when the answer came, and not when it was made."""
    start_ms = NOW_MS - MINUTE
    now_ms = NOW_MS - 1_000

    def slow(_: web.Request, heard: Any) -> Any:
        nonlocal now_ms
        now_ms += 10_000
        return [candle(start_ms)]

    async with recording() as recorder:
        binance_answers(recorder)
        recorder.answers["GET /api/v3/klines"] = slow
        recorder.answers["GET /api/v3/time"] = lambda *_: {"serverTime": now_ms}
        async with bars(recorder.address, "binance", MarketClock(lambda: now_ms), kind="rest") as source:
            assert len(await source.history([SYMBOL], NOW_MS, NOW_MS)) == 0
            assert len(await source.history([SYMBOL], NOW_MS, NOW_MS)) == 1


async def test_one_look_at_the_clock_does_for_what_it_is_past() -> None:
    starts = [NOW_MS - number * MINUTE for number in (3, 2, 1)]

    def klines(_: web.Request, heard: Any) -> Any:
        return [candle(start) for start in starts if start >= int(heard.query["startTime"])]

    async with recording() as recorder:
        binance_answers(recorder)
        recorder.answers["GET /api/v3/klines"] = klines
        recorder.answers["GET /api/v3/time"] = lambda *_: {"serverTime": NOW_MS}
        async with bars(recorder.address, "binance", MarketClock(lambda: NOW_MS), kind="rest") as source:
            await source.over_ms(NOW_MS - MINUTE)
            looks = len(recorder.of("GET", "/api/v3/time"))
            for _ in range(3):
                assert len(await source.history([SYMBOL], NOW_MS - 9 * MINUTE, NOW_MS - MINUTE)) == 2
            assert len(recorder.of("GET", "/api/v3/time")) == looks
            await source.over_ms(NOW_MS)
            assert len(recorder.of("GET", "/api/v3/time")) == looks + 1


# ------------------------------------------------------------------------------------------------------ a feed


@dataclass
class Polled:
    """A feed that polls an exchange whose market stands still but for the test; our clock runs ahead of it."""

    there: coins.Venue
    feed: LiveFeed
    ahead_ms: int
    got: list[Barrier] = field(default_factory=list)

    def rows(self) -> list[tuple[int, float, float]]:
        return [(int(row["ts_ms"]), float(row["close"]), float(row["volume"])) for b in self.got for row in b.bars]


async def drink(feed: LiveFeed, got: list[Barrier]) -> None:
    while (barrier := await feed.next()) is not None:
        got.append(barrier)


@asynccontextmanager
async def polled(folder: Path, name: str, *, ahead_ms: int) -> AsyncIterator[Polled]:
    async with at(folder, name, kind="rest") as (source, there):
        clock = source._clock = MarketClock(lambda: there.sim.market.now_ms() + found.ahead_ms)
        schedule = Schedule(("24/7",), MINUTE)
        feed = LiveFeed(source, (SYMBOL,), schedule, clock, MANNERS, draw=lambda: 0.0)
        found = Polled(there, feed, ahead_ms)
        feed.begin(CLOSED_MS)
        async with anyio.create_task_group() as group:
            await group.start(feed.run)
            group.start_soon(drink, feed, found.got)
            try:
                yield found
            finally:
                feed.stop()


@BOTH
@pytest.mark.parametrize("ahead_ms", [5_000, 40_000, 100_000])
async def test_a_forming_bar_waits_for_the_venues_clock(tmp_path: Path, name: str, ahead_ms: int) -> None:
    """Also where our clock is more than an interval ahead: what is over is decided, and no later one is in the way."""
    async with polled(tmp_path, name, ahead_ms=31_000 + ahead_ms) as found:
        found.there.half()  # the thirteenth has begun: by our clock it is over
        await until(lambda: found.feed.counts["asked_early"] > 0)
        await anyio.sleep(0.3)
        assert found.got == []
        for count in (1, 2, 3):
            found.there.bar()
            await until(lambda count=count: len(found.got) == count)  # type: ignore[misc]
        assert found.rows() == [(CLOSED_MS + n * MINUTE, CLOSES[11 + n], 10.5) for n in (1, 2, 3)]
        assert not found.feed.counts["failed_questions"]
        assert not any(barrier.failed for barrier in found.got)


@BOTH
async def test_no_trade_is_told_only_when_the_interval_is_over(tmp_path: Path, name: str) -> None:
    async with polled(tmp_path, name, ahead_ms=40_000) as found:
        silent_ms = CLOSED_MS + MINUTE
        found.there.sim.market.withheld.add((silent_ms, 0))
        found.there.half()
        await until(lambda: found.feed.counts["asked_early"] > 0)
        await anyio.sleep(0.3)
        assert found.feed.facts()["decided_ms"] == CLOSED_MS
        found.there.bar()
        await until(lambda: found.feed.facts()["decided_ms"] == silent_ms)
        assert (found.feed.counts["no_trade"], found.feed.counts["no_data"], found.got) == (1, 0, [])
        found.there.bar()
        await until(lambda: len(found.got) == 1)
        assert found.rows() == [(silent_ms + MINUTE, CLOSES[13], 10.5)]


@BOTH
async def test_a_clock_that_nobody_tells_is_no_silence(tmp_path: Path, name: str) -> None:
    async with polled(tmp_path, name, ahead_ms=40_000) as found:
        found.there.sim.faults.set("down_500", {"on": "clock"})
        found.there.half()
        await until(lambda: len(found.got) == 1)
        assert found.got[0].bars["flags"].tolist() == [BAR_MISSING]
        assert found.feed.counts["no_trade"] == 0


@BOTH
async def test_what_was_missed_ends_where_the_venue_is(tmp_path: Path, name: str) -> None:
    async with polled(tmp_path, name, ahead_ms=40_000) as found:
        found.there.half()
        barriers = await found.feed.missed(CLOSED_MS - MINUTE)
        assert [int(rows[0]["ts_ms"]) for rows in barriers] == [CLOSED_MS]
        assert await found.feed.missed(CLOSED_MS) == []
        assert found.feed.caught_ms < CLOSED_MS + MINUTE


# ------------------------------------------------------------------------------------------------------ Alpaca


@pytest.mark.parametrize("timeframe", ["1m", "5m"])
async def test_polled_bars_of_alpaca_wait_for_its_clock(tmp_path: Path, timeframe: str) -> None:
    """By our clock each is over while it forms: then its minute is not there yet, and of a longer bar some are."""
    minutes, made = int(timeframe[:-1]), market(2, "1m", ("ALFA",))
    async with running(tmp_path, market=made) as venue:
        venue.bar(12)
        now_ms = venue.sim.market.now_ms
        length_ms = minutes * MINUTE_MS
        begun_ms = now_ms() // length_ms * length_ms
        clock = VenueClock(lambda: now_ms() + length_ms + 5_000)
        source = source_of(venue.url, made, clock, kind="rest", timeframe=timeframe, limit_s=20.0)
        schedule = Schedule(("24/7",), length_ms)
        feed = LiveFeed(source, made.symbols, schedule, clock, MANNERS, draw=lambda: 0.0)
        await source.over_ms(begun_ms)  # its library is loaded
        feed.begin(begun_ms)
        got: list[Barrier] = []
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(drink, feed, got)
                for count in (1, 2, 3):
                    await until(lambda before=feed.counts["asked_early"]: feed.counts["asked_early"] > before)
                    assert len(got) == count - 1
                    while now_ms() < begun_ms + count * length_ms:
                        assert len(got) == count - 1
                        venue.bar()
                    venue.sim.market.half(1)  # what follows has begun: the clock goes past the end
                    await until(lambda count=count: len(got) == count)
                feed.stop()
        source.close()
        bars = made.bars
        for count, barrier in enumerate(got):
            first_ms = begun_ms + count * length_ms
            whole = bars[(bars["ts_ms"] > first_ms) & (bars["ts_ms"] <= first_ms + length_ms)]
            assert barrier.bars[["ts_ms", "volume"]].tolist() == [(first_ms + length_ms, whole["volume"].sum())]
