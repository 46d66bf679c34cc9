"""A real exchange process and how to talk to, kill and reopen it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from aiohttp import web
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from avwapd.venues.client import HttpVenue
from avwapd.venues.server import ExchangeServer
from tests.venues.kit import SHARE, SYMBOLS, instruments

READY_S = 60.0  # a cold cache compiles first


class Server:
    """`address` after `start`; `args` are added to every start."""

    def __init__(self, folder: Path, *args: str, listen: str = "") -> None:
        self.listen = listen or f"unix:{folder / 'venue.sock'}"
        np.save(folder / "instruments.npy", instruments())
        self.command = [sys.executable, "-m", "avwapd.venues.server", "--book", str(folder / "venue.db")]
        self.command += ["--instruments", str(folder / "instruments.npy"), "--symbols", ",".join(SYMBOLS)]
        self.command += ["--posts", str(folder / "posts.jsonl"), "--volume-share", str(SHARE), *args]
        self.address = ""
        self.process: Process

    async def start(self) -> None:
        self.process = await anyio.open_process([*self.command, "--listen", self.listen], stderr=None)
        assert self.process.stdout is not None
        with anyio.fail_after(READY_S):
            line = await TextReceiveStream(self.process.stdout).receive()
        self.address = json.loads(line)["address"]

    async def kill(self) -> None:
        self.process.kill()
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        with anyio.fail_after(10):
            code = await self.process.wait()
        await self.process.aclose()
        return code


@asynccontextmanager
async def customer(address: str, **how: Any) -> AsyncIterator[HttpVenue]:
    venue = await HttpVenue.open(address, **how)
    try:
        yield venue
    finally:
        await venue.close()


@asynccontextmanager
async def running(folder: Path, *args: str, listen: str = "") -> AsyncIterator[Server]:
    server = Server(folder, *args, listen=listen)
    await server.start()
    try:
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            if server.process.returncode is None:
                await server.kill()


@asynccontextmanager
async def served(server: ExchangeServer, folder: Path) -> AsyncIterator[str]:
    """The server inside this process; yields its socket file."""
    runner = web.AppRunner(server.app(), access_log=None)
    await runner.setup()
    path = str(folder / "served.sock")
    await web.UnixSite(runner, path).start()
    try:
        yield path
    finally:
        await runner.cleanup()
        await server.venue.close()
