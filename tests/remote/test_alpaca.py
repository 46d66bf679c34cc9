"""alpaca-py's own clients, made to behave: what they send, what their errors mean, how their streams come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import orjson
import pytest
from aiohttp import WSMsgType, web

from avwapd.ports import SystemClock
from avwapd.remote import alpaca as remote
from avwapd.remote.addresses import Addresses
from avwapd.remote.alpaca import Pace, sort_answer, sorted_error
from avwapd.remote.calls import Calls, NoAnswer, Rejected, Shut
from avwapd.remote.credentials import Credentials, Secret
from tests.remote.raw import http, raw

KEYS = Credentials(Secret("key"), Secret("hush"))


def at(port: int) -> Addresses:
    base = f"127.0.0.1:{port}"
    return Addresses(f"http://{base}", f"ws://{base}/stream", f"http://{base}", f"ws://{base}/v2/iex", True)


async def asked(call: Callable[[], Any], limit_s: float = 1.0) -> Any:
    """As Line does it: the answer, or what the error means."""
    calls = Calls("test", 1, SystemClock())
    try:
        return await calls.run(call, limit_s)
    except (NoAnswer, Shut) as error:
        return error
    except Exception as error:  # noqa: BLE001 - sorting whatever comes is what is tested
        return sorted_error(error)
    finally:
        calls.close()


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (http(b'{"code":40310000,"message":"insufficient buying power"}', status="403 F"), Rejected, "403/40310000"),
        (http(b'{"code":40010001,"message":"client_order_id must be unique"}', status="422 U"), Rejected, "unique"),
        (http(b'{"code":40410000,"message":"order not found"}', status="404 N"), Rejected, "404/40410000"),
        (http(b"<html>", status="404 N", kind="text/html"), NoAnswer, "status 404"),
        (http(b'{"message":"not found"}', status="404 N"), NoAnswer, "status 404"),
        (http(b"<html>bad gateway</html>", status="502 B", kind="text/html"), NoAnswer, "status 502"),
        (http(b'{"code":50010000,"message":"internal"}', status="500 I"), NoAnswer, "status 500"),
        (http(b'{"message":"upstream"}', status="504 G"), NoAnswer, "status 504"),
        (
            http(b'{"code":42910000,"message":"slow down"}', status="429 T", extra="Retry-After: 7\r\n"),
            Shut,
            "rate limit",
        ),
        (http(b"<html>", status="429 T"), Shut, "rate limit"),
        (http(b"", status="418 T"), Shut, "rate limit"),
        (http(b'{"message":"unauthorized"}', status="401 U"), Shut, "unauthorized"),
        (http(b'{"code":40110000,"message":"request is not authorized"}', status="401 U"), Shut, "unauthorized"),
        (http(b"<html>", status="401 U"), Shut, "unauthorized"),
        (http(b'{"message":"forbidden."}', status="403 F"), Shut, "forbidden"),
        (http(b'{"code":40310000,"message":"account is blocked"}', status="403 F"), Shut, "account_blocked"),
        (http(b'{"code":"40310000","message":"x"}', status="422 F"), NoAnswer, "without a code"),
        (http(b'{"code":40310000,"code":1,"message":"x"}', status="422 F"), NoAnswer, "without a code"),
        (http(b"{}", status="302 Found"), NoAnswer, "302"),
        (http(b"<html>", kind="text/html"), NoAnswer, "Unreadable"),
        (b"", NoAnswer, "ConnectionError"),
        (None, NoAnswer, "no whole answer"),
    ],
)
async def test_what_an_answer_to_a_post_means(answer: bytes | None, kind: type, says: str) -> None:
    async with raw(**({} if answer is None else {"any": answer})) as server:
        client = remote.trading_client(at(server.port), KEYS, paper=True, threads=1)
        found = await asked(partial(client.post, "/orders", {"client_order_id": "a"}), 0.5)
        assert type(found) is kind, found
        assert says in str(found)
        assert sum(server.seen.values()) == 1  # whatever it was, it was asked once
        client._session.close()


def test_how_long_a_rate_limit_lasts() -> None:
    found = sort_answer(429, {"Retry-After": "7"}, b"")
    assert isinstance(found, Shut)
    assert found.retry_s == 7.0
    found = sort_answer(429, {}, b"")
    assert isinstance(found, Shut)
    assert found.retry_s == 3.0


async def test_what_the_clients_send() -> None:
    async with raw(any=http(b'{"bars":{},"next_page_token":null,"corporate_actions":{}}')) as server:
        where = at(server.port)
        trading = remote.trading_client(where, KEYS, paper=True, threads=2)
        history = remote.history_client(where, KEYS, threads=2)
        actions = remote.actions_client(where, KEYS, threads=2)
        for client, path in ((trading, "/account"), (history, "/stocks/bars"), (actions, "/corporate-actions")):
            await asked(partial(client.get, path))
            client._session.close()
        assert list(server.seen) == ["/v2/account", "/v2/stocks/bars", "/v1/corporate-actions"]
        for request in server.requests:
            assert b"APCA-API-KEY-ID: key" in request
            assert b"APCA-API-SECRET-KEY: hush" in request


# ------------------------------------------------------------------------------------------------------- streams


class Hand(SystemClock):
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_the_pace_grows_and_has_a_bound() -> None:
    clock = Hand()
    pace = Pace(clock, lambda: 1.0, per_minute=3)
    assert [pace.delay_s(retries) for retries in (1, 2, 3, 9, 999)] == [0.25, 0.5, 1.0, 30.0, 30.0]
    for _ in range(3):
        pace.connecting()
        clock.now += 1.0
    assert pace.delay_s(1) == 57.0
    assert pace.bounded == 1
    clock.now = 60.0
    assert pace.delay_s(1) == 0.25
    assert Pace(clock, lambda: 0.0, per_minute=3).delay_s(1) == 0.125


class Peer:
    """A websocket server that does as the test says after the log-in."""

    def __init__(self) -> None:
        self.logins = 0
        self.open = 0
        self.keys: list[Any] = []
        self.act: Callable[[web.WebSocketResponse], Any] = self.stay
        self.mute = False
        self.refuse = False

    async def stay(self, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        await socket.prepare(request)
        self.open += 1
        try:
            if self.mute:
                await self.stay(socket)
                return socket
            self.keys.append((await socket.receive_json())["data"])
            status = "unauthorized" if self.refuse else "authorized"
            await socket.send_json({"stream": "authorization", "data": {"status": status}})
            await socket.receive_json()
            await socket.send_json({"stream": "listening", "data": {"streams": ["trade_updates"]}})
            self.logins += 1
            await self.act(socket)
        except TypeError:
            pass  # the other side hung up instead of sending JSON
        finally:
            self.open -= 1
        return socket


@asynccontextmanager
async def peer() -> AsyncIterator[tuple[Peer, int]]:
    found = Peer()
    app = web.Application()
    app.router.add_get("/stream", found.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield found, runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def streaming(port: int, per_minute: int = 100) -> AsyncIterator[tuple[list[Any], list[str], Pace]]:
    heard: list[Any] = []
    states: list[str] = []
    pace = Pace(SystemClock(), lambda: 0.1, per_minute)

    async def hear(message: Any) -> None:
        heard.append(message["data"])

    stream = remote.trading_stream(
        at(port), KEYS, hear, paper=True, pace=pace, up=lambda: states.append("up"), down=lambda: states.append("down")
    )
    async with anyio.create_task_group() as group:
        group.start_soon(remote.run_stream, stream)
        yield heard, states, pace
        group.cancel_scope.cancel()


async def until(ready: Callable[[], Any], limit_s: float = 5.0) -> None:
    with anyio.fail_after(limit_s):
        while True:
            if ready():
                return
            await anyio.sleep(0.005)


async def test_a_stream_is_heard_and_its_socket_closed_behind_it() -> None:
    async with peer() as (server, port):

        async def talk(socket: web.WebSocketResponse) -> None:
            await socket.send_bytes(orjson.dumps({"stream": "trade_updates", "data": {"n": 1}}))
            await socket.send_str('{"stream": "trade_updates", "data": {"n": 2}}')
            await server.stay(socket)

        server.act = talk
        async with streaming(port) as (heard, states, _):
            await until(lambda: len(heard) == 2)
            assert states == ["up"]
            assert server.keys == [{"key_id": "key", "secret_key": "hush"}]
        assert states == ["up", "down"]
        await until(lambda: server.open == 0)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda socket: socket.send_str("x" * 2_000_000), id="giant"),
        pytest.param(lambda socket: socket._writer.send_frame(b"\xff\xfe", WSMsgType.TEXT), id="no utf-8"),
        pytest.param(lambda socket: socket.close(code=1011), id="closed"),
        pytest.param(lambda socket: _cut(socket), id="cut"),
    ],
)
async def test_a_stream_comes_back(bad: Callable[[web.WebSocketResponse], Any]) -> None:
    async with peer() as (server, port):

        async def first_bad(socket: web.WebSocketResponse) -> None:
            if server.logins == 1:
                await bad(socket)
            else:
                await socket.send_json({"stream": "trade_updates", "data": {"n": 2}})
            await server.stay(socket)

        server.act = first_bad
        async with streaming(port) as (heard, states, _):
            await until(lambda: heard == [{"n": 2}])
            assert states == ["up", "down", "up"]
            assert server.open == 1


async def _cut(socket: web.WebSocketResponse) -> None:
    assert socket._req is not None
    assert socket._req.transport is not None
    socket._req.transport.abort()


async def test_rubbish_in_one_frame_costs_that_frame_only() -> None:
    async with peer() as (server, port):

        async def talk(socket: web.WebSocketResponse) -> None:
            await socket.send_str("{]")
            await socket.send_json({"stream": "trade_updates", "data": {"n": 2}})
            await server.stay(socket)

        server.act = talk
        async with streaming(port) as (heard, states, _):
            await until(lambda: heard == [{"n": 2}])
            assert states == ["up"]


async def test_a_storm_is_bounded() -> None:
    async with peer() as (server, port):

        async def storm(socket: web.WebSocketResponse) -> None:
            await socket.close()

        server.act = storm
        async with streaming(port, per_minute=4) as (_, _, pace):
            await until(lambda: pace.bounded)
            logins = server.logins
            await anyio.sleep(0.3)
            assert server.logins == logins == 4


@pytest.mark.parametrize("how", ["mute", "refuse"])
async def test_a_log_in_that_hangs_or_fails_is_tried_again(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "STREAM_LIMIT_S", 0.2)
    async with peer() as (server, port):
        setattr(server, how, True)
        async with streaming(port) as (_, states, pace):
            await until(lambda: pace.connects >= 2)
            assert states == []
            setattr(server, how, False)
            await until(lambda: states == ["up"])
            assert server.open == 1


async def test_nobody_there_does_not_spin() -> None:
    async with peer() as (_, port):
        pass
    async with streaming(port) as (_, states, pace):
        busy = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - busy < 0.3
        assert pace.connects <= 4
        assert states == []
