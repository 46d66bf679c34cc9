"""The whole daemon at a simulated Alpaca in this process: real client, real sockets, real ledger, the market by hand.

Mode live refuses an address on this machine, so its venue is opened by a paper configuration of the same settings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from avwapd.config import Config, load
from avwapd.daemon import Daemon
from avwapd.doors import Doors
from avwapd.feeds.source import live_feed
from avwapd.feeds.world import Setup, build, warm
from avwapd.store import armings
from avwapd.store.database import open_database
from avwapd.store.ids import is_ours
from avwapd.store.watchlist import Watchlist
from avwapd.venues.choose import open_remote
from tests.actors_router.bench import SETTINGS, MarketTime
from tests.sim.scenario import LIVELY, Plan
from tests.venue.simulators import Running, running

PLAN = Plan(seed=3, kind="equity", symbols=2, sessions=3, barriers=170)
LIMIT_S = 20.0
PUBLISHED_MS = 2_000  # after its end a bar can be asked for
FEW = {
    "size.risk_fraction": "0.00002",  # orders that fit under the limits of a first day
    "live.allow": "S0,S1",
    "live.first_live": "false",
    "live.max_positions": "9",
    "live.max_entries_day": "99",
    "live.max_gross_notional": "1000000",
    "live.max_symbol_notional": "1000000",
    "live.min_position": "1",
    "reconcile.every_s": "60",
    "run.grace_ms": "0",
}


@dataclass
class Life:
    """One life of the daemon. keys: what is wrong with them now."""

    there: Running
    daemon: Daemon
    path: Path
    keys: list[str] = field(default_factory=list)
    closed: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def states(self) -> Any:
        return self.daemon.journal.world.states

    @property
    def now_ms(self) -> int:
        return self.there.sim.market.now_ms()

    async def bar(self, count: int = 1) -> None:
        """The next bars open and close at the venue, are decided, and their orders answered."""
        market = self.there.sim.market
        for _ in range(count):
            market.half(2)
            market.idle(PUBLISHED_MS)
            ts_ms = int(market.bar_rows(market._next - 1)[0]["ts_ms"])
            self.daemon.bars.feed._event.set()  # the clock has jumped
            await self.until(lambda ts_ms=ts_ms: self.daemon.journal.last_ms >= ts_ms)
            await self.daemon.symbols.settled()
            await self.daemon.router.settle()

    async def until(self, seen: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
        with anyio.fail_after(limit_s):
            while not seen():  # noqa: ASYNC110 - nobody rings for a test
                await anyio.sleep(0.01)

    async def bars_until(self, seen: Callable[[], Any], most: int = 80) -> None:
        for _ in range(most):
            if seen():
                return
            await self.bar()
        assert seen(), f"not within {most} bars"

    async def rows(self, query: str, *given: Any) -> list[tuple[Any, ...]]:
        return await self.daemon.writer.submit(lambda conn: conn.execute(query, given).fetchall())

    def is_closed(self, gate: str, symbols: int | None = None) -> str:
        """The reason; "" where it is open."""
        rows = self.daemon.gates.facts()["closed"]
        return next((row["reason"] for row in rows if row["gate"] == gate and row["symbols"] == symbols), "")


def config_of(url: str, mode: str, settings: dict[str, str]) -> tuple[Config, Config]:
    """As the daemon has it, and as the venue is opened."""
    words = LIVELY | SETTINGS | FEW | {"run.mode": "paper", "venue.address": url} | settings
    paper = load(None, folder=Path("/nonexistent"), environ={}, options=words)
    return replace(paper, run=replace(paper.run, mode=mode)), paper


@asynccontextmanager
async def venue(folder: Path) -> AsyncIterator[Running]:
    """Its market stands before the second session."""
    market = PLAN.setup.market
    days = np.unique(market.bars["ts_ms"] // 86_400_000)
    async with running(folder / "venue", market=market, first_ms=int(days[1]) * 86_400_000) as there:
        yield there


@asynccontextmanager
async def life(
    there: Running,
    folder: Path,
    *,
    mode: str = "live",
    watchlist: Watchlist | None = None,
    integrity: str = "",
    **settings: str,
) -> AsyncIterator[Life]:
    """One life on the ledger in `folder`, once it is ready; what ended it is raised."""
    config, paper = config_of(there.url, mode, {name.replace("__", "."): value for name, value in settings.items()})
    market = PLAN.setup.market
    setup: Setup = build(config, market)
    warm(setup)
    clock = MarketTime(there.sim)
    ready = anyio.Event()
    keys: list[str] = []

    async def opened(made: Setup) -> Any:
        return await open_remote(paper, made, clock, ours=is_ours, chance=lambda: 0.5)

    async def whole() -> str:
        return integrity or await anyio.to_thread.run_sync(armings.integrity, folder / "avwapd.db")

    doors = Doors(
        clock=clock,
        open_database=lambda: open_database(folder / "avwapd.db"),
        open_venue=opened,
        publish_beat=lambda facts: None,
        killed=lambda: False,
        identity=(1, "test", "boot"),
        on_ready=ready.set,
        read_watchlist=lambda: watchlist,
        open_feed=lambda made: live_feed(paper, made, clock, chance=lambda: 0.5),
        live_keys=lambda typed: keys + ([] if typed in (None, "word") else ["another token"]),
        integrity=whole,
    )
    daemon = Daemon(setup, doors, once=False)
    made = Life(there, daemon, folder / "avwapd.db", keys)
    async with anyio.create_task_group() as group:
        group.start_soon(daemon.serve)
        await made.until(ready.is_set)
        await made.until(lambda: daemon.at_venue is not None and daemon.at_venue.reconciler.compared)
        await made.until(lambda: not daemon.router._gate.held)
        yield made
        daemon.stop("the test is over")
