"""The unmodified stream clients of alpaca-py against the simulator's websockets, and raw sockets for what they hide."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import msgpack
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from alpaca.data.live import StockDataStream
from alpaca.trading.stream import TradingStream

from avwapd.demo_venue.desk_shapes import NewOrder
from tests.venue.simulators import Running, running


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "venue") as there:
        yield there


@asynccontextmanager
async def streaming(stream: Any) -> AsyncIterator[None]:
    """The client's own loop, as a task; closed by `close`, which frees its place at the venue."""
    task = asyncio.create_task(stream._run_forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await stream.close()


async def until(true: Callable[[], Any]) -> None:
    with anyio.fail_after(10):
        while not true():  # noqa: ASYNC110 - what it waits for rings no bell
            await anyio.sleep(0.01)


def order(venue: Running, **wanted: Any) -> str:
    facts = {"symbol": "ALFA", "side": 1, "type": "market", "qty": 10, "tif": "day", **wanted}
    for name in ("qty", "limit", "stop"):
        if name in facts:
            facts[name] = Decimal(str(facts[name]))
    return venue.sim.desk.submit(NewOrder(**facts)).id


async def test_bars_days_and_corrections_reach_the_client(venue: Running) -> None:
    got: dict[str, list[Any]] = {"bars": [], "updated": [], "days": []}

    async def take(kind: str, bar: Any) -> None:
        got[kind].append(bar)

    stream = StockDataStream("key", "secret", url_override=f"ws://{venue.host}/v2/iex")
    stream.subscribe_bars(lambda_of(take, "bars"), "ALFA", "BRAVO")
    stream.subscribe_updated_bars(lambda_of(take, "updated"), "ALFA")
    stream.subscribe_daily_bars(lambda_of(take, "days"), "ALFA")
    async with streaming(stream):
        await until(lambda: venue.sim.desk and subscribed(venue))
        await venue.control("/faults", {"set": {"corrected_bar": {"symbol": "ALFA", "count": 1, "value": 0}}})
        venue.bar(2)
        await until(lambda: len(got["bars"]) == 4 and got["updated"] and len(got["days"]) == 2)
    rows = venue.sim.market.history(0, 0, 1 << 60)[-2:]
    alfa = [bar for bar in got["bars"] if bar.symbol == "ALFA"]
    assert [bar.timestamp.timestamp() * 1000 + 300_000 for bar in alfa] == rows["ts_ms"].tolist()  # t is the start
    assert alfa[1].close == rows["close"][1]
    assert alfa[0].trade_count
    assert alfa[0].vwap
    assert got["updated"][0].high == rows["high"][0] > alfa[0].high  # REST has the corrected one from now on
    assert got["days"][1].volume == alfa[0].volume + alfa[1].volume


def lambda_of(take: Callable[..., Any], kind: str) -> Callable[[Any], Any]:
    async def handler(bar: Any) -> None:
        await take(kind, bar)

    return handler


def subscribed(venue: Running) -> bool:
    listeners = venue.sim.published.on_bars
    return any(listen.__self__._subscribers for listen in listeners if hasattr(listen, "__self__"))


def listening(venue: Running) -> bool:
    return any(listen.__self__._listening for listen in venue.sim.desk.on_event)


async def test_trade_updates_tell_an_order_s_life(venue: Running) -> None:
    got: list[Any] = []

    async def take(update: Any) -> None:
        got.append(update)

    stream = TradingStream("key", "secret", url_override=f"ws://{venue.host}/stream")
    stream.subscribe_trade_updates(take)
    async with streaming(stream):
        await until(lambda: listening(venue))
        venue.bar()
        first = order(venue)
        venue.bar()
        stop = order(venue, side=-1, type="stop", stop="1.00", tif="gtc")
        venue.sim.desk.cancel(stop)
        await until(lambda: len(got) == 6)
    events = [(update.event, str(update.order.id)) for update in got]
    assert events == [
        *((event, first) for event in ("pending_new", "new", "fill")),
        *((event, stop) for event in ("pending_new", "new", "canceled")),
    ]
    fill = got[2]
    (execution,) = venue.sim.desk.executions()
    assert (str(fill.execution_id), fill.price, fill.qty) == (execution.id, float(execution.price), 10.0)
    assert (fill.position_qty, fill.order.filled_qty) == (10.0, "10")


@asynccontextmanager
async def raw(venue: Running, path: str, **options: Any) -> AsyncIterator[ClientWebSocketResponse]:
    async with ClientSession() as session, session.ws_connect(f"{venue.url}{path}", **options) as socket:
        with anyio.fail_after(10):
            yield socket


async def test_data_speaks_json_to_who_asks_for_it(venue: Running) -> None:
    async with raw(venue, "/v2/sip") as socket:
        assert await socket.receive_json() == [{"T": "success", "msg": "connected"}]
        await socket.send_json({"action": "auth", "key": "k", "secret": "s"})
        assert (await socket.receive_json())[0]["msg"] == "authenticated"
        await socket.send_json({"action": "subscribe", "bars": ["*"]})
        assert (await socket.receive_json())[0]["bars"] == ["*"]
        venue.bar()
        frame = await socket.receive()
        assert frame.type is WSMsgType.TEXT
        assert [(bar["T"], bar["S"], bar["t"]) for bar in json.loads(frame.data)] == [
            ("b", "ALFA", "2025-03-04T14:30:00Z"),
            ("b", "BRAVO", "2025-03-04T14:30:00Z"),
        ]


async def test_error_frames(tmp_path: Path) -> None:
    async with running(tmp_path / "v", key="right", secret="word") as venue:
        packed = {"headers": {"Content-Type": "application/msgpack"}}
        async with raw(venue, "/v2/iex", **packed) as socket, raw(venue, "/v2/iex", **packed) as second:

            async def said(message: Any, on: ClientWebSocketResponse = socket) -> int:
                await on.send_bytes(msgpack.packb(message))
                return int(msgpack.unpackb((await on.receive()).data)[0].get("code", 0))

            for one in (socket, second):
                await one.receive()
            assert await said({"action": "subscribe", "bars": ["ALFA"]}) == 401
            assert await said({"action": "auth", "key": "wrong", "secret": "word"}) == 402
            assert await said({"action": "auth", "key": "right", "secret": "word"}) == 0
            assert await said({"action": "auth", "key": "right", "secret": "word"}) == 403
            assert await said(["?"]) == 400
            assert await said({"action": "auth", "key": "right", "secret": "word"}, second) == 406


async def test_a_place_is_free_again_when_its_holder_has_gone(venue: Running) -> None:
    for _ in range(2):
        async with raw(venue, "/stream") as socket:
            await socket.send_json({"action": "authenticate", "data": {"key_id": "k", "secret_key": "s"}})
            assert json.loads((await socket.receive()).data)["data"]["status"] == "authorized"
            async with ClientSession() as session:
                answer = await session.get(
                    f"{venue.url}/stream", headers={"Connection": "Upgrade", "Upgrade": "websocket"}
                )
                assert answer.status == 429


async def test_a_mute_stream_answers_pings_and_a_dead_one_nothing(venue: Running) -> None:
    for fault, alive in (("mute_stream", True), ("dead_stream", False)):
        async with raw(venue, "/v2/iex", autoping=False) as socket:
            await socket.receive()
            await socket.send_json({"action": "auth", "key": "k", "secret": "s"})
            await socket.receive()
            await socket.send_json({"action": "subscribe", "bars": ["ALFA"]})
            await socket.receive()
            await venue.control("/faults", {"set": {fault: {"on": "data_stream", "count": 1}}})
            venue.bar(2)
            await until(lambda name=fault: venue.sim.faults.fired[name] == 1)
            await socket.ping(b"?")
            heard = None
            with anyio.move_on_after(0.3):
                heard = (await socket.receive()).type
            assert heard == (WSMsgType.PONG if alive else None)


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        ("drop_stream", (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)),
        ("bad_utf8", (WSMsgType.ERROR,)),
        ("giant_frame", (WSMsgType.ERROR,)),
        ("bad_frame", (WSMsgType.TEXT,)),
    ],
)
async def test_frames_that_are_none(venue: Running, fault: str, heard: tuple[WSMsgType, ...]) -> None:
    async with raw(venue, "/v2/iex") as socket:
        await socket.receive()
        await socket.send_json({"action": "auth", "key": "k", "secret": "s"})
        await socket.receive()
        await socket.send_json({"action": "subscribe", "bars": ["ALFA"]})
        await socket.receive()
        await venue.control("/faults", {"set": {fault: {"on": "data_stream", "count": 1}}})
        venue.bar()
        message = await socket.receive()
        assert message.type in heard
        if fault == "bad_frame":
            with pytest.raises(json.JSONDecodeError):
                json.loads(message.data)
    assert venue.sim.faults.fired == {fault: 1}


async def test_a_storm_and_a_refusal_that_has_no_reason(venue: Running) -> None:
    settings = {"on": "data_stream", "count": 1}
    await venue.control("/faults", {"set": {"stream_storm": settings, "second_stream_refused": settings}})
    said = []
    for _ in range(3):
        async with raw(venue, "/v2/iex") as socket:
            await socket.receive()
            await socket.send_json({"action": "auth", "key": "k", "secret": "s"})
            said.append((json.loads((await socket.receive()).data)[0]["msg"], (await socket_state(socket))))
    assert said == [("connection limit exceeded", True), ("authenticated", True), ("authenticated", False)]


async def socket_state(socket: ClientWebSocketResponse) -> bool:
    """Whether the other end closes at once."""
    with anyio.move_on_after(0.2):
        await socket.receive()
    return socket.closed


async def test_the_answer_to_a_submission_comes_after_its_fill(venue: Running) -> None:
    async with raw(venue, "/stream") as socket:
        await socket.send_json({"action": "authenticate", "data": {"key_id": "k", "secret_key": "s"}})
        await socket.receive()
        await socket.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
        await socket.receive()
        await venue.control("/faults", {"set": {"fill_before_ack": {"value": 300}}})
        venue.bar()
        venue.sim.market.half(1)  # a bar runs: a market order fills at once
        facts = {"symbol": "ALFA", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
        headers = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
        async with ClientSession(headers=headers) as session, anyio.create_task_group() as group:
            order: list[str] = []

            async def send() -> None:
                answer = await session.post(f"{venue.url}/v2/orders", json=facts)
                order.append((await answer.json())["status"])

            group.start_soon(send)
            while len(order) < 3:
                order.append(json.loads((await socket.receive()).data)["data"]["event"])
            assert order == ["pending_new", "new", "fill"]
        assert order[-1] == "pending_new"


async def test_doubled_dropped_and_reordered_messages(venue: Running) -> None:
    async with raw(venue, "/v2/iex") as socket:
        await socket.receive()
        await socket.send_json({"action": "auth", "key": "k", "secret": "s"})
        await socket.receive()
        await socket.send_json({"action": "subscribe", "bars": ["ALFA"]})
        await socket.receive()

        async def heard(fault: str, bars: int) -> list[int]:
            await venue.control("/faults", {"clear": "all", "set": {fault: {"on": "data_stream", "count": 1}}})
            venue.bar(bars)
            got: list[int] = []
            with anyio.move_on_after(0.3):
                while True:
                    start = json.loads((await socket.receive()).data)[0]["t"]
                    got.append(int(start[11:13]) * 60 + int(start[14:16]) - 14 * 60 - 30)
            return got

        assert await heard("doubled_events", 1) == [0, 0]
        assert await heard("dropped_events", 2) == [10]
        assert await heard("reordered_events", 2) == [20, 15]
