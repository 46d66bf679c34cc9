"""Bars through the real ccxt clients: closed candles only, page by page, by stream where there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from aiohttp import web

from avwapd.feeds import FeedError
from avwapd.feeds.ccxt_bars import CcxtBars
from avwapd.feeds.live import FeedDoubt
from avwapd.remote.ccxt_client import Access
from tests.venue import coins
from tests.venue.coins import FIRST_MS, MINUTE, until
from tests.venues.ccxt_kit import NOW_MS, SYMBOL, MarketClock, binance_answers, kraken_answers, recording, still

BOTH = pytest.mark.parametrize("name", ["binance", "kraken"])
CLOSES = [100.0 + number for number in range(30)]


@asynccontextmanager
async def bars(address: str, name: str, clock: Any, **words: Any) -> AsyncIterator[CcxtBars]:
    made = CcxtBars(Access(name, address), (SYMBOL,), words.pop("timeframe", "1m"), clock, limit_s=2.0, **words)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def at(folder: Path, name: str, **words: Any) -> AsyncIterator[tuple[CcxtBars, coins.Venue]]:
    async with (
        coins.running(folder, CLOSES, name, history=12) as there,
        bars(there.address, name, MarketClock(there.sim.market.now_ms), **words) as made,
    ):
        yield made, there


@BOTH
async def test_history_is_what_has_closed_and_nothing_else(tmp_path: Path, name: str) -> None:
    async with at(tmp_path, name, kind="rest") as (source, there):
        there.half()  # the thirteenth has begun
        everything = await source.history([SYMBOL], FIRST_MS, FIRST_MS + 100 * MINUTE)
        assert everything["ts_ms"].tolist() == [FIRST_MS + n * MINUTE for n in range(1, 13)]
        assert everything["close"].tolist() == CLOSES[:12]
        assert everything["open"].tolist() == [CLOSES[0], *CLOSES[:11]]
        assert set(everything["volume"].tolist()) == {10.5}
        there.bar()
        some = await source.history([SYMBOL], FIRST_MS + 12 * MINUTE, FIRST_MS + 13 * MINUTE)
        assert some["ts_ms"].tolist() == [FIRST_MS + 12 * MINUTE, FIRST_MS + 13 * MINUTE]
        assert len(await source.history([SYMBOL], FIRST_MS + 2 * MINUTE, FIRST_MS + MINUTE)) == 0
        assert len(await source.history(["ETH-USD"], FIRST_MS, FIRST_MS + 9 * MINUTE)) == 0


@BOTH
async def test_instruments_as_the_exchange_has_them(tmp_path: Path, name: str) -> None:
    async with at(tmp_path, name) as (source, there):
        said = await source.instruments([SYMBOL, "ETH-USD"])
        assert set(said) == {SYMBOL}
        [row] = there.sim.market.source.instruments
        for field in ("asset", "quote", "tick", "lot", "min_qty", "calendar"):
            assert said[SYMBOL][field] == row[field], field
        assert float(said[SYMBOL]["min_notional"]) > 0
        assert all(isinstance(value, str) for value in said[SYMBOL].values())


async def test_the_stream_brings_each_bar_once_it_has_closed(tmp_path: Path) -> None:
    got: list[tuple[Any, ...]] = []
    async with at(tmp_path, "binance") as (source, there):
        assert source.streamed
        async with anyio.create_task_group() as group:
            group.start_soon(source.run, lambda *bar: got.append(bar))
            await until(lambda: there.half() or source.facts()["stream"] == "up")
            closed = there.sim.market.closed_ms
            before = len(got)
            there.bar()
            there.bar()
            await until(lambda: len(got) >= before + 2)
            group.cancel_scope.cancel()
        stamps = [bar[0] for bar in got]
        assert stamps == sorted(set(stamps))
        assert stamps[-1] <= there.sim.market.closed_ms
        assert stamps[-1] > closed
        known = await source.history([SYMBOL], stamps[0], stamps[-2])
        assert [
            tuple(row) for row in known[["ts_ms", "symbol", "open", "high", "low", "close", "volume"]].tolist()
        ] == got[:-1]
        assert source.facts()["connects"] == 1
        assert source.facts()["stream"] == "down"


async def test_a_stream_that_is_lost_is_told_and_can_be_made_again(tmp_path: Path) -> None:
    async with at(tmp_path, "binance", reconnects_minute=600) as (source, there):
        got: list[int] = []
        async with anyio.create_task_group() as group:
            group.start_soon(source.run, lambda *bar: got.append(bar[0]))
            await until(lambda: there.half() or source.facts()["stream"] == "up")
            source.reconnect()
            await until(lambda: source.facts()["stream"] == "down")
            await until(lambda: there.half() or source.facts()["connects"] == 2)
            group.cancel_scope.cancel()


async def test_polled_exchanges_only_answer(tmp_path: Path) -> None:
    async with at(tmp_path, "kraken") as (source, _):
        assert not source.streamed
        assert source.facts()["stream"] == "none"
        with anyio.move_on_after(0.05) as scope:
            await source.run(lambda *bar: None)
        assert scope.cancelled_caught


def candle(start_ms: int, close: str = "1.5") -> list[Any]:
    return [start_ms, "1.0", "2.0", "0.5", close, "7.25", start_ms + MINUTE - 1, "0", 1, "0", "0", "0"]


async def test_page_by_page_over_holes() -> None:
    """2,500 minutes, a hole of 1,100 of them: three or four pages, nothing twice, nothing left out."""
    last = NOW_MS - NOW_MS % MINUTE - 3 * MINUTE
    starts = [last - n * MINUTE for n in range(2_500)][::-1]
    there = [start for n, start in enumerate(starts) if not 700 <= n < 1_800]

    def klines(_: web.Request, heard: Any) -> Any:
        since, limit = int(heard.query["startTime"]), int(heard.query["limit"])
        assert limit <= 1000
        return [candle(start) for start in there if start >= since][:limit]

    async with recording() as recorder:
        binance_answers(recorder)
        recorder.answers["GET /api/v3/klines"] = klines
        async with bars(recorder.address, "binance", still(), kind="rest") as source:
            found = await source.history([SYMBOL], starts[0] + MINUTE, last + MINUTE)
            assert (found["ts_ms"] - MINUTE).tolist() == there
            assert np.all(found["close"] == 1.5)
            assert len(recorder.of("GET", "/api/v3/klines")) <= 4


async def test_an_exchange_that_reaches_back_only_so_far_says_so() -> None:
    async with recording() as recorder:
        kraken_answers(recorder)
        async with bars(recorder.address, "kraken", still(), kind="rest") as source:
            assert source.reach_ms is not None
            assert (NOW_MS - source.reach_ms) // MINUTE == 718
            with pytest.raises(FeedDoubt, match="no older ones"):
                await source.history([SYMBOL], source.reach_ms - MINUTE, NOW_MS)
            assert not recorder.of("GET", "/0/public/OHLC")


SICK: dict[str, Any] = {
    "html": web.Response,
    "object": dict,
    "no start": lambda: [["x", "1", "1", "1", "1", "1"]],
    "too short": lambda: [[NOW_MS - 60_000 * 5, "1"]],
    "no number": lambda: [[NOW_MS - 60_000 * 5, "1", "1", "one", "1", "1"]],
    "null": lambda: [[NOW_MS - 60_000 * 5, "1", "1", None, "1", "1"]],
    "off the minute": lambda: [candle(NOW_MS - 60_000 * 5 + 1)],
    "429": lambda: web.json_response({"code": -1003, "msg": "slow"}, status=429, headers={"Retry-After": "9"}),
    "503": lambda: web.Response(status=503),
}


@pytest.mark.parametrize("fault", SICK)
async def test_what_cannot_be_read_is_no_silence(fault: str) -> None:
    async with recording() as recorder:
        binance_answers(recorder)
        recorder.answers["GET /api/v3/klines"] = lambda *_: SICK[fault]()
        async with bars(recorder.address, "binance", still(), kind="rest") as source:
            with pytest.raises(FeedDoubt) as caught:
                await source.history([SYMBOL], NOW_MS - 20 * MINUTE, NOW_MS - MINUTE)
            assert caught.value.retry_s == pytest.approx(9.0 if fault == "429" else 0.0)


async def test_a_candle_alone_counts_only_behind_the_exchanges_own_clock() -> None:
    """Our clock runs ahead: by the exchange's the newest candle still forms."""
    newest = NOW_MS - NOW_MS % MINUTE - MINUTE
    async with recording() as recorder:
        binance_answers(recorder)
        recorder.answers["GET /api/v3/klines"] = lambda *_: [candle(newest)]
        for behind_ms, count in ((0, None), (500, 0), (-5_000, 1)):
            recorder.answers["GET /api/v3/time"] = lambda *_, b=behind_ms: {"serverTime": newest + MINUTE - b}
            async with bars(recorder.address, "binance", still(), kind="rest") as source:
                if count is None:
                    with pytest.raises(FeedDoubt, match="nobody can tell yet"):
                        await source.history([SYMBOL], NOW_MS - 20 * MINUTE, NOW_MS)
                else:
                    assert len(await source.history([SYMBOL], NOW_MS - 20 * MINUTE, NOW_MS)) == count, behind_ms


async def test_a_timeframe_it_does_not_have() -> None:
    async with recording() as recorder:
        kraken_answers(recorder)
        async with bars(recorder.address, "kraken", still(), timeframe="3m") as source:
            with pytest.raises(FeedError, match="no 3m bars"):
                await source.history([SYMBOL], NOW_MS - 20 * MINUTE, NOW_MS)


async def test_a_shorter_limit_of_one_question_holds() -> None:
    async def mute(*_: Any) -> web.Response:
        await anyio.sleep(5)
        return web.Response()

    async with recording() as recorder:
        binance_answers(recorder)
        recorder.answers["GET /api/v3/klines"] = mute
        async with bars(recorder.address, "binance", still(), kind="rest") as source:
            await source.instruments([SYMBOL])
            with anyio.fail_after(1.0), pytest.raises(FeedDoubt):
                await source.history([SYMBOL], NOW_MS - 20 * MINUTE, NOW_MS - MINUTE, limit_s=0.2)


def event(start_ms: int, closed: bool, **changed: Any) -> dict[str, Any]:
    kline = {"t": start_ms, "T": start_ms + MINUTE - 1, "s": "BTCUSD", "i": "1m", "x": closed}
    kline |= {"o": "1.0", "h": "2.0", "l": "0.5", "c": "1.5", "v": "7.25"}
    return {"e": "kline", "E": start_ms, "s": "BTCUSD", "k": kline | changed}


async def test_only_what_the_stream_marks_as_closed_is_a_bar() -> None:
    first = NOW_MS - 5 * MINUTE
    said = [
        event(first, False, c="1.25"),
        event(first, False, c="1.75"),
        event(first, True),
        event(first + MINUTE, False),
        event(first + MINUTE, False, x="yes"),
        event(first + MINUTE, True, c="what"),
        event(first + MINUTE, True, i="5m"),
        event(first + MINUTE, True, s="ETHUSD"),
        event(first + 2 * MINUTE, True, c="1.0"),
    ]

    async def stream(request: web.Request, heard: Any) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        asked = await socket.receive_json()
        await socket.send_json({"result": None, "id": asked["id"]})
        for message in said:
            await socket.send_json(message)
        await anyio.sleep(5)
        return socket

    got: list[tuple[Any, ...]] = []
    async with recording() as recorder:
        binance_answers(recorder)
        recorder.answers["GET /ws/0"] = stream
        async with bars(recorder.address, "binance", still()) as source, anyio.create_task_group() as group:
            group.start_soon(source.run, lambda *bar: got.append(bar))
            await until(lambda: len(got) >= 2)
            group.cancel_scope.cancel()
    assert got == [
        (first + MINUTE, 0, 1.0, 2.0, 0.5, 1.5, 7.25),
        (first + 3 * MINUTE, 0, 1.0, 2.0, 0.5, 1.0, 7.25),
    ]
