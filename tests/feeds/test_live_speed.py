"""3,000 symbols' minute bars within one second, over a real websocket through alpaca-py's stream: the barrier stands at
once, and the minute costs little."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import msgpack
import pytest
from aiohttp import WSMsgType, web
from alpaca.data.historical.stock import StockHistoricalDataClient

from avwapd.feeds.alpaca_bars import AlpacaBars
from avwapd.feeds.live import LiveFeed, Manners
from avwapd.feeds.live_schedule import Schedule
from avwapd.ports import SystemClock
from tests.feeds.live_kit import KEYS, VenueClock, addresses

pytestmark = [pytest.mark.anyio, pytest.mark.campaign]

SYMBOLS = tuple(f"S{i:04}" for i in range(3000))
AFTER_LAST_MS = 250.0
CPU_OF_MINUTE = 0.25


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Wire:
    """The least of a data stream: log-in, subscription, frames when told."""

    def __init__(self) -> None:
        self.socket: web.WebSocketResponse | None = None
        self.subscribed = anyio.Event()

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 22)
        await socket.prepare(request)
        await socket.send_bytes(msgpack.packb([{"T": "success", "msg": "connected"}]))
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                continue
            facts = msgpack.unpackb(message.data)
            if facts["action"] == "auth":
                await socket.send_bytes(msgpack.packb([{"T": "success", "msg": "authenticated"}]))
            else:
                await socket.send_bytes(msgpack.packb([{"T": "subscription", "bars": facts["bars"]}]))
                self.socket = socket
                self.subscribed.set()
        return socket

    async def bars(self, symbols: tuple[str, ...], start_ms: int) -> None:
        assert self.socket is not None
        stamp = msgpack.Timestamp(start_ms // 1000, 0)
        row = {"T": "b", "o": 10.0, "h": 10.5, "l": 9.5, "c": 10.1, "v": 1200, "n": 12, "vw": 10.02, "t": stamp}
        await self.socket.send_bytes(msgpack.packb([{**row, "S": symbol} for symbol in symbols]))


async def test_three_thousand_bars_within_a_second(tmp_path: Path, house_report: list[str]) -> None:
    assert StockHistoricalDataClient is not None  # its import is not what is measured
    wire = Wire()
    app = web.Application()
    app.add_routes([web.get("/v2/iex", wire.connect)])
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    at_ms = [SystemClock().now_ms() // 60_000 * 60_000]
    clock = VenueClock(lambda: at_ms[0])
    source = AlpacaBars(addresses(f"http://127.0.0.1:{runner.addresses[0][1]}"), KEYS, SYMBOLS, "1m", clock)
    schedule = Schedule(("24/7",) * len(SYMBOLS), 60_000)
    manners = Manners(grace_ms=30_000, confirm=True, stale_bars=2, ask_limit_ms=1000, reconnects_minute=10, room=10_000)
    feed = LiveFeed(source, SYMBOLS, schedule, clock, manners, draw=lambda: 0.5)
    close_ms = at_ms[0]
    waits: list[float] = []
    spent: list[float] = []
    try:
        async with anyio.create_task_group() as group:
            await group.start(feed.run)
            with anyio.fail_after(15):
                await wire.subscribed.wait()
            feed.begin(close_ms)
            for i in range(5):
                at_ms[0] = ts_ms = close_ms + (i + 1) * 60_000
                told: list[float] = []

                async def last_one(told: list[float] = told) -> None:
                    barrier = await feed.next()
                    told.append(time.perf_counter())
                    assert barrier is not None
                    assert len(barrier.bars) == 3000

                begun = time.process_time()
                async with anyio.create_task_group() as minute:
                    minute.start_soon(last_one)
                    for at in range(0, 3000, 100):
                        sent = time.perf_counter()
                        await wire.bars(SYMBOLS[at : at + 100], ts_ms - 60_000)
                        await anyio.sleep(1 / 32)
                waits.append((told[0] - sent) * 1000)
                spent.append(time.process_time() - begun)
            feed.stop()
    finally:
        await runner.cleanup()
        source.close()
    share = max(spent) / 60
    house_report.append(
        f"3,000 bars in a second: barrier {max(waits):.0f} ms after the last frame, {share:.1%} of a core a minute"
    )
    assert max(waits) < AFTER_LAST_MS
    assert share < CPU_OF_MINUTE
