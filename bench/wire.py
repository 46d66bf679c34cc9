"""From a bar's frame on the socket to the order's bytes: the daemon at a simulated Alpaca, through the real clients.

Beside it, in the same minutes at the same simulator: one bare FULL commit and one POST; and a bare alpaca-py loop that
answers each bar with an order and keeps nothing.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import numpy as np
from aiohttp import web

from avwapd.demo_venue.desk_shapes import PROFILES
from avwapd.demo_venue.server import Options, Simulator
from avwapd.feeds.demo import generate
from avwapd.feeds.market import Market
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from avwapd.store.instruments import Instrument, Instruments
from avwapd.venues.book import warm
from bench.measure import Line

SYMBOLS = tuple(f"C{i}" for i in range(6))
HISTORY = 2  # sessions
SETTINGS = """
[run]
mode = "paper"
account = "bench"
exchange = "demo"
timeframe = "1m"
[venue]
name = "alpaca"
address = "{address}"
speed = 60.0
calls_minute = 100_000
reserve_calls = 1_000
skew_limit_ms = 600_000
[gates]
volume_ratio = 0
entries_per_symbol_day = 100
open_delay_min = 1
[size]
method = "risk_per_trade"
[fills]
commission_usd = 0.0
"""
LOOP = """
import asyncio, sys
from alpaca.data.live.stock import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest
address = sys.argv[1]
client = TradingClient("k", "s", paper=True, url_override=address)
count = 0
async def on_bar(bar):
    global count
    count += 1
    wanted = LimitOrderRequest(symbol=bar.symbol, qty=1, side=OrderSide.BUY, limit_price=round(bar.close / 2, 2),
        time_in_force=TimeInForce.DAY, client_order_id=f"bare-{count}")
    client.submit_order(wanted)
    client.cancel_orders()
stream = StockDataStream("k", "s", url_override="ws" + address[4:] + "/v2/iex")
stream.subscribe_bars(on_bar, "C0")
asyncio.run(stream._run_forever())
"""


@dataclass
class Stopwatch:
    """From a bar's publication to the first order that arrives after it."""

    begun: float | None = None
    took: list[float] = field(default_factory=list)

    def frame(self, *_: Any) -> None:
        self.begun = time.perf_counter()

    def order(self) -> None:
        if self.begun is not None:
            self.took.append(time.perf_counter() - self.begun)
            self.begun = None


def watched(app: web.Application, watch: Stopwatch) -> web.Application:
    """Note each order as soon as its head is read."""

    @web.middleware
    async def noting(request: web.Request, handler: Any) -> Any:
        if request.method == "POST" and request.path == "/v2/orders":
            watch.order()
        return await handler(request)

    app.middlewares.insert(0, noting)
    return app


def into_archive(market: Market, root: Path) -> None:
    columns = {name: market.bars[name] for name in ("ts_ms", "open", "high", "low", "close", "volume")}
    Instruments(root).add({(row["exchange"], row["symbol"]): Instrument(**row) for row in market.instruments})
    names = [market.symbols[i] for i in market.bars["symbol"]]
    Archive(root).write(market.exchange, market.timeframe, as_table(names, columns))


@asynccontextmanager
async def venue(market: Market, folder: Path, watch: Stopwatch, first_ms: int) -> AsyncIterator[tuple[Simulator, str]]:
    """A simulator that stands still until it is told to go on."""
    profile = PROFILES["strict"]
    made = Simulator(
        Options(
            market=market, state=folder, speed=60.0, first_ms=first_ms, paused=True, profile=profile, streams_each=2
        )
    )
    runner = web.AppRunner(watched(made.app(), watch), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.sim.published.on_bars.append(watch.frame)
    try:
        yield made, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        made.close()


@asynccontextmanager
async def child(command: list[str], ready: str, log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    keys = {"APCA_API_KEY_ID": "bench", "APCA_API_SECRET_KEY": "bench"}
    with log.open("wb") as file:
        process = await anyio.to_thread.run_sync(
            lambda: subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **keys})
        )
    try:
        await anyio.to_thread.run_sync(wait_for, log, ready, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(process.wait, 30)


def wait_for(log: Path, words: str, process: subprocess.Popen[bytes]) -> None:
    """Until the process has said so; at most two minutes."""
    for _ in range(2_400):
        text = log.read_text(errors="replace")
        if words in text:
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"no {words!r}: {text[-2000:]}")


async def play(made: Simulator, bars: int, pause_s: float) -> None:
    """Open and close bars; who listens has `pause_s` before the next opens."""
    for _ in range(bars):
        if made.sim.market.over:
            return
        made.sim.market.half(1)
        await anyio.sleep(pause_s)
        made.sim.market.half(1)
        await anyio.sleep(pause_s)


async def bare(folder: Path, address: str, count: int) -> list[float]:
    """One bare commit and one POST to the same simulator, `count` times."""
    conn = sqlite3.connect(folder / "bare.db", isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b TEXT)")
    took = []
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            start = time.perf_counter()
            conn.execute("BEGIN IMMEDIATE")
            conn.execute("INSERT INTO t (b) VALUES ('x')")
            conn.execute("COMMIT")
            async with session.post(f"{address}/control", data=b"{}") as response:
                await response.read()
            took.append(time.perf_counter() - start)
    conn.close()
    return took


async def measured(folder: Path, bars: int) -> dict[str, list[float]]:
    market = generate(SYMBOLS, HISTORY + bars // 390 + 1, "1m", 9)
    days = np.unique(market.bars["ts_ms"] // 86_400_000)
    first_ms = int(days[HISTORY]) * 86_400_000
    into_archive(market, folder / "state" / "archive")
    found: dict[str, list[float]] = {}
    watch = Stopwatch()
    async with venue(market, folder / "venue", watch, first_ms) as (made, address):
        found["bare"] = await bare(folder, address, 100)
        config = folder / "bench.toml"
        config.write_text(SETTINGS.format(address=address))
        command = [sys.executable, "-m", "avwapd", "run", "--config", str(config), "--state-dir", str(folder / "state")]
        async with child(command, "books were compared", folder / "daemon.log"):
            await anyio.sleep(2.0)
            await play(made, bars, 0.03)
        found["ours"] = watch.took
        found["bare"] += await bare(folder, address, 100)
    watch = Stopwatch()
    async with venue(market, folder / "other-venue", watch, first_ms) as (made, address):
        async with child([sys.executable, "-W", "ignore", "-c", LOOP, address], "", folder / "loop.log"):
            await anyio.sleep(4.0)
            await play(made, min(bars, 300), 0.03)
        found["loop"] = watch.took
    return found


def run(quick: bool) -> list[Line]:
    warm()
    with tempfile.TemporaryDirectory() as name:
        found = anyio.run(measured, Path(name), 200 if quick else 1_500)
    p50 = {key: statistics.median(times) for key, times in found.items()}
    p99 = {key: float(np.percentile(times, 99)) for key, times in found.items()}
    shown = f"p50 {p50['ours'] * 1e3:.1f} ms, p99 {p99['ours'] * 1e3:.1f} ms, {len(found['ours'])} orders"
    lines = []
    for key, what in (("bare", "one commit and one POST"), ("loop", "a bare alpaca-py loop, nothing kept")):
        beside = f"{what}: {p50[key] * 1e3:.1f} ms, p99 {p99[key] * 1e3:.1f} ms"
        lines.append(
            Line("bar frame to order bytes, over Alpaca's wire", shown, beside, f"{p50['ours'] / p50[key]:.1f} ×")
        )
    return lines
