"""A simulated crypto exchange in this process, and the real ccxt clients pointed at it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from aiohttp import web

from avwapd.core.records import BAR
from avwapd.demo_venue.desk_shapes import PROFILES
from avwapd.demo_venue.server import Options, Simulator
from avwapd.demo_venue.sim import Sim
from avwapd.feeds.calendar import calendar_version
from avwapd.feeds.market import Market, hash_of

KEY = "k" * 16
SECRET = "c2VjcmV0c2VjcmV0"  # base64, as kraken's are
FIRST_MS = 1_704_067_200_000  # 2024-01-01T00:00Z
MINUTE = 60_000
LIMIT_S = 20


def market(
    closes: Sequence[float], exchange: str = "binance", symbols: Sequence[str] = ("BTC-USD",), gap: float = 0.0
) -> Market:
    """Minute bars: each opens `gap` above the close before it, and reaches one beyond either end."""
    rows = []
    for number, close in enumerate(closes):
        open_ = closes[number - 1] + gap if number else close
        ts_ms = FIRST_MS + (number + 1) * MINUTE
        high, low = max(open_, close) + 1, min(open_, close) - 1
        rows += [(ts_ms, index, 0, open_, high, low, close, 10.5) for index in range(len(symbols))]
    bars = np.array(rows, BAR)
    steps = {"tick": "0.1" if exchange == "kraken" else "0.01", "lot": "0.00001"}
    instruments = tuple(
        {"exchange": exchange, "symbol": symbol, "asset": "crypto", "quote": "USD", **steps}
        | {"min_qty": "0.0001", "min_notional": "5", "calendar": "24/7", "price_source": "hlc3"}
        for symbol in symbols
    )
    return Market(exchange, "1m", tuple(symbols), instruments, bars, hash_of(bars), calendar_version())


@dataclass
class Venue:
    """A running simulator; market time stands still but for `bars` and `half`."""

    simulator: Simulator
    address: str

    @property
    def sim(self) -> Sim:
        return self.simulator.sim

    def half(self, count: int = 1) -> None:
        """The next openings and closings of a bar."""
        self.sim.market.half(count)

    def bar(self) -> None:
        self.half(2)


@asynccontextmanager
async def running(
    folder: Path,
    closes: Sequence[float],
    exchange: str,
    *,
    history: int = 5,
    profile: str = "strict",
    faults: dict[str, Any] | None = None,
    cash: int = 100_000,
    symbols: Sequence[str] = ("BTC-USD",),
    gap: float = 0.0,
    paused: bool = True,
    speed: float = 1.0,
) -> AsyncIterator[Venue]:
    """`history` of the bars have closed before it begins."""
    simulator = Simulator(
        Options(
            market=market(closes, exchange, symbols, gap),
            state=folder / "venue",
            wire=exchange,
            speed=speed,
            first_ms=FIRST_MS + (history + 1) * MINUTE,
            cash=Decimal(cash),
            profile=PROFILES[profile],
            faults=faults or {},
            volume_share=1.0,
            paused=paused,
            key=KEY,
            secret=SECRET,
        )
    )
    runner = web.AppRunner(simulator.app(), access_log=None, shutdown_timeout=0.1)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with anyio.create_task_group() as group:
            group.start_soon(simulator.run)
            host, port = runner.addresses[0][:2]
            with anyio.fail_after(LIMIT_S):
                yield Venue(simulator, f"http://{host}:{port}")
            group.cancel_scope.cancel()
    finally:
        await runner.cleanup()
        simulator.close()


@asynccontextmanager
async def client(venue: Venue, name: str, *, pro: bool = False, **settings: Any) -> AsyncIterator[Any]:
    """The unmodified client, with its addresses rewritten and the market's clock."""
    import ccxt.async_support
    import ccxt.pro

    options = {"binance": {"defaultType": "spot", "fetchMarkets": ["spot"], "fetchMargins": False}}.get(name, {})
    words = {"apiKey": KEY, "secret": SECRET, "timeout": 5000, "enableRateLimit": False, "options": options}
    words |= {"verify": False, "timeout_on_exit": 0} | settings  # no certificates to load, no rest after close
    made = getattr(ccxt.pro if pro else ccxt.async_support, name)(words)
    made.urls["api"] = rewritten(made.urls["api"], venue.address)
    if name == "binance":
        made.has["fetchCurrencies"] = False
        made.milliseconds = venue.sim.market.now_ms
    try:
        yield made
    finally:
        await made.close()


def rewritten(urls: Any, address: str) -> Any:
    """Every address in there, at the simulator instead."""
    if isinstance(urls, dict):
        return {name: rewritten(value, address) for name, value in urls.items()}
    if isinstance(urls, str):
        return re.sub(r"^(http|ws)s?://[^/]+", rf"\1://{address.removeprefix('http://')}", urls)
    return urls


async def until(true: Callable[[], Any]) -> Any:
    """Wait for it, five seconds at most."""
    for _ in range(500):
        if found := true():
            return found
        await anyio.sleep(0.01)
    raise AssertionError("it never came true")
