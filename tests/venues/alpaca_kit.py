"""The simulator in this process on a loopback port, its market in the test's hand, and a real AlpacaVenue before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from aiohttp import web

from avwapd.config import Config, load
from avwapd.demo_venue.desk_shapes import PROFILES
from avwapd.demo_venue.server import Options, Simulator
from avwapd.feeds.demo import bundled_market
from avwapd.feeds.market import Market
from avwapd.ports import SystemClock
from avwapd.remote.terms import Terms, terms_of
from avwapd.venues.alpaca import AlpacaVenue, alpaca_venue
from avwapd.venues.book import warm
from avwapd.venues.port import KnownOrder, Request, Word

SYMBOL = "BIRCH"
LIMIT_S = 5.0


@cache
def market() -> Market:
    """Two sessions of history, then one to play."""
    found = bundled_market()
    days = np.unique(found.bars["ts_ms"] // 86_400_000)
    return replace(found, bars=found.bars[found.bars["ts_ms"] // 86_400_000 <= days[2]])


class MarketClock(SystemClock):
    """Stamps are the simulated market's."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms()


@dataclass
class Desk:
    """What a test holds: the venue under test and the truth behind the wire."""

    venue: AlpacaVenue
    simulator: Simulator
    config: Config
    terms: Mapping[str, Terms]
    port: int
    rings: list[int]

    @property
    def truth(self) -> Any:
        return self.simulator.sim.desk

    @property
    def faults(self) -> Any:
        return self.simulator.sim.faults

    def bar(self, halves: int = 2) -> None:
        self.simulator.sim.market.half(halves)

    def begin(self, cursor: int = 0, known: tuple[KnownOrder, ...] = (), booked: frozenset[str] = frozenset()) -> None:
        self.venue.begin(cursor, known, booked, lambda: self.rings.append(1))

    async def words(self, count: int, after: int = 0, limit_s: float = LIMIT_S) -> list[Word]:
        """Wait until there are so many."""
        with anyio.fail_after(limit_s):
            while True:
                found = await self.venue.words(after)
                if len(found) >= count:
                    return found
                await anyio.sleep(0.005)

    async def until(self, ready: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
        with anyio.fail_after(limit_s):
            while True:
                if ready():
                    return
                await anyio.sleep(0.005)


@asynccontextmanager
async def desk(
    state: Path,
    *,
    listening: bool = True,
    profile: str = "strict",
    faults: Mapping[str, Any] | None = None,
    options: Mapping[str, str] | None = None,
    begin: bool = True,
) -> AsyncIterator[Desk]:
    source = market()
    warm()  # so that the first order's time is the wire's
    days = np.unique(source.bars["ts_ms"] // 86_400_000)
    simulator = Simulator(
        Options(
            market=source,
            state=state / "sim",
            first_ms=int(days[2]) * 86_400_000,
            cash=Decimal(1_000_000),
            profile=PROFILES[profile],
            faults=dict(faults or {}),
            volume_share=1.0,
            paused=True,
        )
    )
    runner = web.AppRunner(simulator.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    simulator.sim.market.half(2)  # one bar of the session, so that there are prices
    config = settings(port, options)
    terms = terms_of(source.symbols, source.instruments, "/")
    venue = alpaca_venue(
        config,
        terms,
        MarketClock(simulator.sim.market.now_ms),
        ours=lambda cid: cid.startswith("av-"),
        chance=lambda: 0.5,
        environment={},
    )
    found = Desk(venue, simulator, config, terms, port, [])
    try:
        if begin:
            found.begin()
        async with anyio.create_task_group() as group:
            if listening:
                await group.start(venue.run)
                await found.until(lambda: venue.facts()["stream"] == "up" and venue.watch.counts["rechecks"])
            yield found
            group.cancel_scope.cancel()
    finally:
        await venue.close()
        await runner.cleanup()
        simulator.close()


def settings(port: int, options: Mapping[str, str] | None = None) -> Config:
    return load(
        environ={},
        folder=Path("nowhere"),
        options={
            "run.mode": "paper",
            "venue.name": "alpaca",
            "venue.address": f"http://127.0.0.1:{port}",
            "order.answer_limit_ms": "3000",
            **(options or {}),
        },
    )


def entry(cid: str = "av-entry", qty: int = 10, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "kind": "submit",
        "cid": cid,
        "ref_cid": "",
        "symbol": SYMBOL,
        "purpose": "entry",
        "side": 1,
        "type": "market",
        "qty": qty,
        "limit_ticks": 0,
        "stop_ticks": 0,
    }
    return Request(**fields | changes)


def stop(cid: str = "av-stop", qty: int = 10, ticks: int = 100, **changes: Any) -> Request:
    return entry(cid, qty, **{"purpose": "stop", "side": -1, "type": "stop", "stop_ticks": ticks} | changes)


def cancel(ref_cid: str, cid: str = "av-cancel", **changes: Any) -> Request:
    return entry(cid, 0, **{"kind": "cancel", "ref_cid": ref_cid, "type": "", "side": -1, "purpose": "stop"} | changes)
