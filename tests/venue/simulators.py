"""A simulator inside the test's process, on a real loopback port; and one as a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from aiohttp import ClientSession, web

from avwapd.demo_venue.server import Options, Simulator
from avwapd.demo_venue.sim import Sim
from avwapd.feeds.demo import generate
from avwapd.feeds.market import Market

SYMBOLS = ("ALFA", "BRAVO")


def market(sessions: int = 3, timeframe: str = "5m", symbols: tuple[str, ...] = SYMBOLS) -> Market:
    """The same bars every time; a whole cent, a whole share."""
    return generate(symbols, sessions, timeframe, seed=3, start="2025-03-03")


@dataclass
class Running:
    """A simulator that listens. Its market stands still until it is told otherwise."""

    simulator: Simulator
    host: str

    @property
    def sim(self) -> Sim:
        return self.simulator.sim

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def bar(self, count: int = 1) -> None:
        """Open and close so many bars at once."""
        self.sim.market.half(2 * count)

    async def control(self, path: str = "", body: Any = None) -> Any:
        async with ClientSession() as session:
            call = session.post if body is not None else session.get
            async with call(f"{self.url}/control{path}", json=body) as answer:
                return await answer.json()


@asynccontextmanager
async def running(folder: Path, *, play: bool = False, **options: Any) -> AsyncIterator[Running]:
    """first_ms defaults to the second session, so that there is history."""
    given = {"market": market(), "state": folder, "paused": not play, "speed": 60.0, **options}
    if "first_ms" not in given:
        days = sorted({int(ts_ms) // 86_400_000 for ts_ms in given["market"].bars["ts_ms"]})
        given["first_ms"] = days[min(1, len(days) - 1)] * 86_400_000
    simulator = Simulator(Options(**given))
    runner = web.AppRunner(simulator.app(), access_log=None, shutdown_timeout=0.2)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        # A task of its own: a fixture may be torn down by another task than it was set up by.
        playing = asyncio.create_task(simulator.run())
        try:
            yield Running(simulator, f"127.0.0.1:{runner.addresses[0][1]}")
        finally:
            playing.cancel()
            with suppress(asyncio.CancelledError):
                await playing
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()
        simulator.close()


class Child:
    """`python -m avwapd.demo_venue` with these words; its address is read from its first line."""

    def __init__(self, state: Path, *words: str) -> None:
        command = [sys.executable, "-m", "avwapd.demo_venue", "--state-dir", str(state), "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(10)
            raise RuntimeError(self.process.stderr.read() if self.process.stderr else "no word")
        self.facts = json.loads(line)
        self.url = self.facts["address"]

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def stop(self) -> int:
        self.process.terminate()
        return self._end()

    def _end(self) -> int:
        code = self.process.wait(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        return code
