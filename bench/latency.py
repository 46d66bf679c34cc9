"""A bar in, its decision durable, SENDING durable, the order's bytes out: beside one bare FULL commit and one POST.

The real daemon over the real venue process; the peer commits one row under FULL and posts over a keep-alive connection
to the same process, in turn.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import numpy as np

from avwapd.actors.mail import BarsClosed, Mail
from avwapd.actors.symbols import Symbols
from avwapd.config import load
from avwapd.daemon import Daemon
from avwapd.doors import Doors
from avwapd.feeds.demo import generate
from avwapd.feeds.world import Setup, build, warm
from avwapd.ports import SystemClock
from avwapd.store.database import open_database
from avwapd.venues.client import HttpVenue
from bench.measure import Line

OPTIONS = {"size.method": "risk_per_trade", "gates.entries_per_symbol_day": 100, "run.speed": "max"}


class Stopwatch:
    """From the bar's arrival to the first order's bytes after it."""

    def __init__(self) -> None:
        self.begun: float | None = None
        self.took: list[float] = []

    def bar(self) -> None:
        self.begun = time.perf_counter()

    async def sent(self, session: Any, context: SimpleNamespace, params: Any) -> None:
        if params.url.path == "/orders" and self.begun is not None:
            self.took.append(time.perf_counter() - self.begun)
            self.begun = None


class TimedSymbols(Symbols):
    watch: Stopwatch

    async def put(self, mail: Mail) -> None:
        if isinstance(mail, BarsClosed):
            self.watch.bar()
        await super().put(mail)


async def live(setup: Setup, folder: Path, address: str, watch: Stopwatch) -> None:
    async def venue(_: Setup) -> HttpVenue:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(watch.sent)
        opened = HttpVenue(address)
        await opened.close()
        connector = aiohttp.TCPConnector()
        opened._session = aiohttp.ClientSession(connector=connector, trace_configs=[trace])
        return opened

    async def database() -> Any:
        return await open_database(folder / "avwapd.db")

    doors = Doors(
        clock=SystemClock(),
        open_database=database,
        open_venue=venue,
        publish_beat=lambda facts: None,
        killed=lambda: False,
        identity=(1, "bench", ""),
    )
    await Daemon(setup, doors, once=True).serve()


async def peer(folder: Path, address: str, count: int) -> list[float]:
    """One bare commit and one POST, `count` times."""
    conn = sqlite3.connect(folder / "bare.db", isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b TEXT)")
    body = json.dumps({"kind": "none"}).encode()
    took = []
    url = f"http://{address.removeprefix('tcp:')}/orders"
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            start = time.perf_counter()
            conn.execute("BEGIN IMMEDIATE")
            conn.execute("INSERT INTO t (b) VALUES ('x')")
            conn.execute("COMMIT")
            async with session.post(url, data=body) as response:
                await response.read()
            took.append(time.perf_counter() - start)
    conn.close()
    return took


def measure(sessions: int) -> tuple[float, float, int]:
    """(p50 seconds of ours, of the bare pair, orders timed)."""
    import avwapd.daemon as daemon

    market = generate([f"C{i}-USD" for i in range(4)], sessions, "5m", 9, kind="crypto")
    setup = build(load(None, options=OPTIONS), market)
    warm(setup)
    watch = Stopwatch()
    TimedSymbols.watch = watch
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "instruments.npy", setup.instruments)
        command = [sys.executable, "-m", "avwapd.venues.server", "--book", folder / "venue.db", "--symbols"]
        command += [",".join(market.symbols), "--instruments", folder / "instruments.npy", "--listen", "127.0.0.1:0"]
        server = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            address = ready["address"]
            bare = anyio.run(peer, folder, address, 200)
            original, daemon.Symbols = daemon.Symbols, TimedSymbols  # type: ignore[misc]
            try:
                anyio.run(live, setup, folder, address, watch)
            finally:
                daemon.Symbols = original  # type: ignore[misc]
            bare += anyio.run(peer, folder, address, 200)
        finally:
            server.terminate()
            server.wait(10)
    return statistics.median(watch.took), statistics.median(bare), len(watch.took)


def run(quick: bool) -> list[Line]:
    ours, bare, orders = measure(4 if quick else 12)
    return [
        Line(
            "bar in, durable decision, SENDING, order bytes out",
            f"p50 {ours * 1e3:.2f} ms, {orders} orders",
            f"one commit and one POST {bare * 1e3:.2f} ms",
            f"{ours / bare:.1f} ×",
            "≤ 3 ×",
        )
    ]
