"""The simulator as a process: killed, started again, asked for its account; and its market's clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession

from tests.venue.simulators import Child, running

KEYS = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}


async def ask(url: str, path: str, body: Any = None) -> Any:
    with anyio.fail_after(10):
        async with ClientSession(headers=KEYS) as session:
            call = session.get(url + path) if body is None else session.post(url + path, json=body)
            async with call as answer:
                return await answer.json()


@pytest.mark.crash
async def test_killed_and_started_again_it_goes_on(tmp_path: Path) -> None:
    order = {"symbol": "BIRCH", "side": "buy", "type": "market", "time_in_force": "gtc"}
    first = Child(tmp_path, "--paused")
    try:
        await ask(first.url, "/control", {"half": 2})
        for number, qty in enumerate(("3", "4")):
            await ask(first.url, "/v2/orders", order | {"qty": qty, "client_order_id": f"n{number}"})
        await ask(first.url, "/control", {"half": 3})
        resting = {"type": "limit", "limit_price": "1", "qty": "1", "client_order_id": "rests"}
        await ask(first.url, "/v2/orders", order | resting)
        before = await ask(first.url, "/control/book")
    finally:
        first.kill()
    again = Child(tmp_path, "--paused")
    try:
        after = await ask(again.url, "/control/book")
        for name in ("orders", "executions", "positions", "cash", "equity", "closed_ms"):
            assert after[name] == before[name], name
        assert before["positions"] == {"BIRCH": "7"}
        answer = await ask(again.url, "/v2/orders", order | {"qty": "1", "client_order_id": "rests"})
        assert answer["code"] == 40010001
        done = await ask(again.url, "/control", {"half": 1})  # the bar that was open is closed once
        assert done["bars_left"] == before["bars_left"] - 1
    finally:
        assert again.stop() == 0


@pytest.mark.crash
def test_another_market_is_refused_and_fresh_begins_anew(tmp_path: Path) -> None:
    Child(tmp_path, "--paused").stop()
    command = [sys.executable, "-m", "avwapd.demo_venue", "--state-dir", str(tmp_path), "--seed", "2"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 2
    assert "--fresh" in refused.stderr
    Child(tmp_path, "--paused", "--seed", "2", "--fresh").stop()


async def test_the_clock_never_passes_a_close_before_it_is_closed(tmp_path: Path) -> None:
    async with running(tmp_path / "v", play=True, speed=40_000.0) as venue:
        market = venue.sim.market
        seen: list[tuple[int, int]] = []
        market.on_bars.append(lambda ts_ms, rows: seen.append((ts_ms, market.now_ms())))
        with anyio.fail_after(20):
            while len(seen) < 60:
                await anyio.sleep(0.005)
                assert market.now_ms() <= market.next_ms
    assert all(ts_ms <= now_ms <= ts_ms + 20_000 for ts_ms, now_ms in seen)


async def test_closed_hours_are_left_out(tmp_path: Path) -> None:
    jumps: list[int] = []
    async with running(tmp_path / "v", speed=30_000.0) as venue:
        market = venue.sim.market
        venue.bar(77)
        market.on_jump.append(jumps.append)
        await venue.control("", {"go": 2})
        with anyio.fail_after(10):
            while not market.paused:  # noqa: ASYNC110 - the market rings no bell
                await anyio.sleep(0.005)
        assert market.bars_left == 77
        assert market.now_ms() < market.next_ms
    assert len(jumps) == 1


async def test_pause_holds_the_clock(tmp_path: Path) -> None:
    async with running(tmp_path / "v", play=True, speed=60.0) as venue:
        first = (await venue.control("", {"pause": True}))["now_ms"]
        await anyio.sleep(0.05)
        assert (await venue.control("/clock"))["now_ms"] == first
        await venue.control("", {"pause": False})
        await anyio.sleep(0.1)
        assert (await venue.control("/clock"))["now_ms"] > first + 3000
        assert "error" in await venue.control("", {"jump": 1})
