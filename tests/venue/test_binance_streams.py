"""Binance's websockets, heard by ccxt.pro and by a bare websocket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from ccxt.base.errors import AuthenticationError, NetworkError

from tests.venue.coins import FIRST_MS, MINUTE, Venue, client, running, until

SYMBOL = "BTC/USD"
CLOSES = [100.0 + number for number in range(40)]


async def subscribed(venue: Venue, http: aiohttp.ClientSession, name: str) -> aiohttp.ClientWebSocketResponse:
    socket = await http.ws_connect(venue.address + "/ws/0")
    await socket.send_json({"method": "SUBSCRIBE", "params": [name], "id": 1})
    assert await socket.receive_json(timeout=2) == {"result": None, "id": 1}
    return socket


async def test_klines_say_whether_they_are_over(tmp_path: Path) -> None:
    async with running(tmp_path, CLOSES, "binance") as venue, aiohttp.ClientSession() as http:
        socket = await subscribed(venue, http, "btcusd@kline_1m")
        venue.bar()
        closed = await socket.receive_json(timeout=2)
        assert (closed["e"], closed["s"], closed["E"]) == ("kline", "BTCUSD", FIRST_MS + 6 * MINUTE)
        kline = closed["k"]
        assert (kline["t"], kline["T"], kline["x"]) == (FIRST_MS + 5 * MINUTE, FIRST_MS + 6 * MINUTE - 1, True)
        assert [kline[name] for name in "ohlcv"] == [f"{n:.8f}" for n in (104, 106, 103, 105, 10.5)]
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
        assert await socket.receive_json(timeout=2) == {"result": ["btcusd@kline_1m"], "id": 2}
        await socket.send_json({"method": "UNSUBSCRIBE", "params": ["btcusd@kline_1m"], "id": 3})
        assert await socket.receive_json(timeout=2) == {"result": None, "id": 3}
        venue.bar()
        with pytest.raises(TimeoutError):
            await socket.receive_json(timeout=0.2)
        await socket.send_json({"method": "DANCE", "id": 4})
        assert (await socket.receive_json(timeout=2))["error"]["code"] == 2


async def test_a_forming_kline_in_between_and_a_longer_one_made_of_many(tmp_path: Path) -> None:
    async with running(tmp_path, CLOSES, "binance", history=4, speed=200.0) as venue, aiohttp.ClientSession() as http:
        address = venue.address + "/stream?streams=btcusd@kline_1m/btcusd@kline_5m"
        socket = await http.ws_connect(address)
        venue.bar()
        seen: dict[tuple[str, bool], Any] = {}
        with anyio.fail_after(5):
            while len(seen) < 4:
                message = await socket.receive_json()
                assert message["stream"] == f"btcusd@kline_{message['data']['k']['i']}"
                seen.setdefault((message["data"]["k"]["i"], message["data"]["k"]["x"]), message["data"]["k"])
        assert seen["1m", True]["t"] == FIRST_MS + 4 * MINUTE
        assert seen["5m", True]["t"] == FIRST_MS
        assert seen["5m", True]["v"] == "52.50000000"
        for span in ("1m", "5m"):
            forming = seen[span, False]
            assert forming["t"] == FIRST_MS + 5 * MINUTE
            assert (forming["o"], forming["c"], forming["v"]) == ("104.00000000", "104.00000000", "0.00000000")


async def test_the_client_watches_candles(tmp_path: Path) -> None:
    async with running(tmp_path, CLOSES, "binance") as venue, client(venue, "binance", pro=True) as ccxt:
        await ccxt.load_markets()
        heard: list[Any] = []

        async def watch() -> None:
            while True:
                heard.append(await ccxt.watch_ohlcv(SYMBOL, "1m"))

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await until(lambda: any(stream for stream in ccxt.clients.values() if stream.connection))
            await anyio.sleep(0.1)
            venue.bar()
            rows = (await until(lambda: heard))[0]
            assert rows[-1] == [FIRST_MS + 5 * MINUTE, 104.0, 106.0, 103.0, 105.0, 10.5]
            group.cancel_scope.cancel()


async def test_the_client_watches_orders_from_the_ack_to_the_fill(tmp_path: Path) -> None:
    async with (
        running(tmp_path, CLOSES, "binance") as venue,
        client(venue, "binance", pro=True) as ccxt,
        client(venue, "binance") as rest,
    ):
        await ccxt.load_markets()
        heard: list[Any] = []

        async def watch() -> None:
            while True:
                heard.extend(await ccxt.watch_orders())

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await until(lambda: any(listen.__self__._listening for listen in account(venue)))
            made = await rest.create_order(SYMBOL, "market", "buy", 2, None, {"clientOrderId": "av-w"})
            await until(lambda: heard)
            assert (heard[0]["id"], heard[0]["clientOrderId"], heard[0]["status"]) == (made["id"], "av-w", "open")
            venue.half()
            await until(lambda: heard[-1]["status"] == "closed")
            done = heard[-1]
            assert (done["filled"], done["fee"]) == (2.0, {"cost": 0.002, "currency": "BTC"})
            assert (done["info"]["x"], done["info"]["t"], done["info"]["L"]) == ("TRADE", 1, "104.00000000")
            trade = (await rest.fetch_my_trades(SYMBOL))[0]
            assert trade["id"] == str(done["info"]["t"])  # one id on both wires
            low = await rest.create_order(SYMBOL, "limit", "buy", 1, 50, {"clientOrderId": "av-low"})
            await rest.cancel_order(low["id"], SYMBOL)
            await until(lambda: heard[-1]["status"] == "canceled")
            assert heard[-1]["clientOrderId"] == "av-low"  # of the order, though the report's own is the cancel's
            await until(lambda: ccxt.balance["spot"].get("BTC"))
            assert ccxt.balance["spot"]["BTC"]["free"] == 1.998
            group.cancel_scope.cancel()


def account(venue: Venue) -> list[Any]:
    found = [listen for listen in venue.sim.desk.on_event if hasattr(listen, "__self__")]
    return [listen for listen in found if hasattr(listen.__self__, "_listening")]


async def test_the_account_stream_asks_for_a_signature(tmp_path: Path) -> None:
    async with running(tmp_path, CLOSES, "binance") as venue:
        async with client(venue, "binance", pro=True, secret="another") as ccxt:
            await ccxt.load_markets()
            # The client stumbles over its own clean-up; the venue's word is the error's context.
            with anyio.fail_after(3), pytest.raises(KeyError) as caught:
                await ccxt.watch_orders()
            assert isinstance(caught.value.__context__, AuthenticationError)
            assert "-1022" in str(caught.value.__context__)
        async with aiohttp.ClientSession() as http, http.ws_connect(venue.address + "/ws-api/v3") as socket:
            await socket.send_json({"id": "a", "method": "time"})
            answer = await socket.receive_json(timeout=2)
            assert (answer["id"], answer["status"]) == ("a", 200)
            assert answer["result"] == {"serverTime": venue.sim.market.now_ms()}
            await socket.send_json({"id": "b", "method": "order.place"})
            assert (await socket.receive_json(timeout=2))["status"] == 400


async def test_a_cut_stream_is_a_network_error_and_the_next_watch_connects_anew(tmp_path: Path) -> None:
    async with running(tmp_path, CLOSES, "binance") as venue, client(venue, "binance", pro=True) as ccxt:
        await ccxt.load_markets()
        venue.sim.faults.set("drop_stream", {"count": 1, "on": "data_stream"})
        errors: list[Exception] = []
        heard: list[Any] = []

        async def watch() -> None:
            while not heard:
                try:
                    heard.append(await ccxt.watch_ohlcv(SYMBOL, "1m"))
                except NetworkError as error:
                    errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            for _ in range(20):
                await anyio.sleep(0.1)
                if heard:
                    break
                venue.bar()
        assert len(errors) == 1
        assert venue.sim.faults.fired["drop_stream"] == 1


@pytest.mark.parametrize("fault", ["mute_stream", "dead_stream"])
async def test_a_mute_stream_stays_open(tmp_path: Path, fault: str) -> None:
    async with running(tmp_path, CLOSES, "binance") as venue, aiohttp.ClientSession() as http:
        socket = await subscribed(venue, http, "btcusd@kline_1m")
        venue.sim.faults.set(fault, {"count": 1, "on": "data_stream"})
        venue.bar()
        venue.bar()
        with pytest.raises(TimeoutError):
            await socket.receive_json(timeout=0.2)
        assert not socket.closed
