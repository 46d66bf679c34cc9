"""The source of a download: the one the daemon's feed uses, with limits fit for long answers and the rate budget."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avwapd.config import Config, ConfigError, is_loopback
from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.ports import Clock, ScaledClock, SystemClock
from avwapd.remote.budget import budget_of

if TYPE_CHECKING:
    from avwapd.feeds.alpaca_bars import AlpacaBars
    from avwapd.feeds.ccxt_bars import CcxtBars

PAGE_BARS = 10_000  # of Alpaca
ALPACA_BARS, CCXT_PAGES = 50_000, 10  # what one piece holds: a few seconds of asking, the most that a kill loses
LIMIT_S = 60.0  # wall seconds for one question, at Alpaca with all its pages
SLOWEST_S = 5.0  # a wait for the budget is cut, so that nothing sleeps long without looking


class Source(Protocol):
    """Where bars are asked. Every call ends within its limit, and raises FeedDoubt where there is no answer.

    chunk_bars: about how many one piece should hold; reach_ms: the earliest close there is, None for the listing's.
    """

    chunk_bars: int

    @property
    def reach_ms(self) -> int | None: ...

    async def history(self, symbols: Sequence[str], first_ms: int, last_ms: int) -> NDArray[np.void]: ...

    async def instruments(self, symbols: Sequence[str]) -> dict[str, Mapping[str, str]]: ...


class ActionSource(Source, Protocol):
    """Gives (rows, changes): rows have ex_date, symbol, price_ratio, split_ratio; changes have date, symbol, what."""

    async def corporate_actions(
        self, symbols: Sequence[str], first: date, last: date
    ) -> tuple[Sequence[Any], Sequence[Any]]: ...


def refuse_far(config: Config, address: str) -> None:
    """Nothing beyond this machine is asked while the configuration says so; "" = the venue's own address."""
    if not config.network.allowed and not is_loopback(address):
        where = address or f"{config.venue.name}'s own address"
        what = f"network.allowed is false: nothing is asked at {where}"
        next_step = "set AVWAPD_NETWORK__ALLOWED=true, or name a simulated venue on this machine: venue.address"
        raise ConfigError(what, config.origins.get("network.allowed", "[network]"), next_step)


@asynccontextmanager
async def opened(config: Config, timeframe: str, symbols: Sequence[str]) -> AsyncIterator[tuple[Source, Clock]]:
    """The venue's bars of these symbols, and market time. Raises ConfigError, FeedDoubt, and for ccxt Unusable."""
    if config.venue.name == "alpaca":
        alpaca, clock = alpaca_source(config, timeframe, symbols)
        try:
            if isinstance(clock, ScaledClock):
                clock.set(await alpaca.now_ms())
            yield alpaca, clock
        finally:
            alpaca.close()
        return
    clock = await ccxt_clock(config, timeframe)
    ccxt = ccxt_source(config, timeframe, symbols, clock)
    try:
        yield ccxt, clock
    finally:
        await ccxt.close()


class Paced:
    """A rate budget that waits. No question takes what is kept for cancels and exits."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._budget = budget_of(config.venue, clock, simulated=isinstance(clock, ScaledClock))
        self._clock = clock

    async def admitted(self, calls: int) -> None:
        for _ in range(calls):
            while wait_s := self._budget.take("question"):
                await self._clock.sleep(min(wait_s, SLOWEST_S))


# -------------------------------------------------------------------- alpaca


class AlpacaSource:
    """`AlpacaBars` with every page counted in the budget."""

    chunk_bars = ALPACA_BARS
    reach_ms: int | None = None

    def __init__(self, bars: AlpacaBars, pace: Paced) -> None:
        self._bars = bars
        self._pace = pace

    async def now_ms(self) -> int:
        """The venue's clock."""
        await self._pace.admitted(1)
        return await self._bars.clock_ms()

    async def history(self, symbols: Sequence[str], first_ms: int, last_ms: int) -> NDArray[np.void]:
        await self._pace.admitted(1)
        rows = await self._bars.history(symbols, first_ms, last_ms, limit_s=LIMIT_S)
        await self._pace.admitted(len(rows) // PAGE_BARS)  # its further pages are paid for behind
        return rows

    async def instruments(self, symbols: Sequence[str]) -> dict[str, Mapping[str, str]]:
        from avwapd.feeds.alpaca_facts import FEW

        await self._pace.admitted(len(symbols) if len(symbols) <= FEW else 1)
        return dict(await self._bars.instruments(symbols))

    async def corporate_actions(
        self, symbols: Sequence[str], first: date, last: date
    ) -> tuple[Sequence[Any], Sequence[Any]]:
        from avwapd.feeds.alpaca_facts import AT_ONCE

        await self._pace.admitted(1 + len(symbols) // AT_ONCE)
        rows, changes = await self._bars.corporate_actions(symbols, first, last)
        # The closes before each day with dividends were asked as well: paid for behind.
        await self._pace.admitted(len({row.ex_date for row in rows if row.price_ratio != row.split_ratio}))
        return rows, changes

    def close(self) -> None:
        self._bars.close()


def alpaca_source(config: Config, timeframe: str, symbols: Sequence[str]) -> tuple[AlpacaSource, Clock]:
    """A simulated venue has a time of its own, still to be set."""
    from avwapd.feeds.alpaca_bars import AlpacaBars
    from avwapd.remote.addresses import LIVE, PAPER, alpaca_addresses
    from avwapd.remote.credentials import load

    keys = load(config)
    mode = LIVE if config.run.mode == LIVE else PAPER
    where = alpaca_addresses(mode, config.venue, config.feed.plan, keys.address)
    for address in (where.trading, where.data):
        refuse_far(config, address)
    now_ms = SystemClock().now_ms()
    clock = ScaledClock(now_ms, config.venue.speed) if where.simulated else SystemClock()
    bars = AlpacaBars(
        where,
        keys,
        symbols,
        timeframe,
        clock,
        plan=config.feed.plan,
        kind="rest",
        threads=config.venue.threads,
        limit_s=config.feed.ask_limit_ms / 1000,
        paper=mode == PAPER,
    )
    return AlpacaSource(bars, Paced(config, clock)), clock


# ---------------------------------------------------------------------- ccxt


class CcxtSource:
    """`CcxtBars` with every page counted in the budget."""

    def __init__(self, bars: CcxtBars, pace: Paced) -> None:
        self.chunk_bars = CCXT_PAGES * bars.row.candles
        self._bars = bars
        self._pace = pace
        self._step_ms = TIMEFRAME_MS[bars.timeframe]

    @property
    def reach_ms(self) -> int | None:
        return self._bars.reach_ms

    async def history(self, symbols: Sequence[str], first_ms: int, last_ms: int) -> NDArray[np.void]:
        pages = 1 + (last_ms - first_ms) // (self._step_ms * self._bars.row.candles)
        await self._pace.admitted(len(symbols) * pages)
        return await self._bars.history(symbols, first_ms, last_ms, limit_s=LIMIT_S)

    async def instruments(self, symbols: Sequence[str]) -> dict[str, Mapping[str, str]]:
        await self._pace.admitted(1)
        return await self._bars.instruments(symbols)

    async def skew_ms(self) -> int:
        """The exchange's clock less ours, as found when it was first asked."""
        await self.instruments(())
        return int(self._bars.facts()["skew_ms"])

    async def close(self) -> None:
        await self._bars.close()


async def ccxt_clock(config: Config, timeframe: str) -> Clock:
    """Market time: of a simulated exchange its own."""
    from avwapd.remote.ccxt import data_access_of

    address = data_access_of(config).address
    refuse_far(config, address)
    if not is_loopback(address):
        return SystemClock()
    clock = ScaledClock(SystemClock().now_ms(), config.venue.speed)
    source = ccxt_source(config, timeframe, (), clock)
    try:
        skew_ms = await source.skew_ms()
        clock.set(clock.now_ms() + skew_ms)
    finally:
        await source.close()
    return clock


def ccxt_source(config: Config, timeframe: str, symbols: Sequence[str], clock: Clock) -> CcxtSource:
    from avwapd.feeds.ccxt_bars import CcxtBars
    from avwapd.remote.ccxt import data_access_of

    limit_s, speed = config.feed.ask_limit_ms / 1000, config.venue.speed
    access = data_access_of(config)
    bars = CcxtBars(access, symbols, timeframe, clock, kind="rest", limit_s=limit_s, speed=speed)
    return CcxtSource(bars, Paced(config, clock))
