"""Alpaca's two websockets of the simulator: market data (MessagePack or JSON) and trade updates (JSON).

What there is to say goes into a bounded queue a connection; one that does not read is closed, as slow clients are.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import anyio
import msgpack  # type: ignore[import-untyped]  # it brings no types
import orjson
from aiohttp import WSMessage, WSMsgType, web

from avwapd.demo_venue.alpaca_data import figures
from avwapd.demo_venue.alpaca_shapes import order_body, short_stamp, stamp
from avwapd.demo_venue.desk_shapes import DeskEvent
from avwapd.demo_venue.faults_stream import Speaker
from avwapd.demo_venue.sim import Sim
from avwapd.remote.terms import plain

QUEUED = 50_000
CHANNELS = {"bar": ("bars", "b"), "revision": ("updatedBars", "u"), "forming": ("bars", "b")}
SUBSCRIBED = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    410: "invalid subscribe action for this feed",
}
AUTH_LIMIT_S = 10.0
LOCKABLE = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def known(sim: Sim, key: Any, secret: Any) -> bool:
    """Whether the caller's keys open this account; with none configured anything but nothing does."""
    if not key or not secret:
        return False
    return not sim.key or (key, secret) == (sim.key, sim.secret)


def add(app: web.Application, sim: Sim) -> None:
    data, trades = DataStream(sim), TradeStream(sim)
    for feed in ("iex", "sip"):
        app.router.add_get(f"/v2/{feed}", data.connect)
    app.router.add_get("/stream", trades.connect)


class Lines:
    """The connections of one stream: who is there, what is queued for each."""

    def __init__(self, sim: Sim, where: str) -> None:
        self.sim = sim
        self.where = where
        self.count = 0

    def full(self) -> bool:
        """The connection limit is reached, or the fault says so."""
        if self.sim.faults.fires("second_stream_refused", self.where):
            return True
        return self.count >= self.sim.streams_each

    async def serve(
        self,
        request: web.Request,
        speaker: Speaker,
        socket: web.WebSocketResponse,
        line: Line,
        hear: Callable[..., Any],
    ) -> None:
        """Read and write until either end is over."""
        line.cut = speaker.cut
        async with anyio.create_task_group() as group:

            async def write() -> None:
                try:
                    while not socket.closed:
                        await speaker.say(await line.next())
                except (ConnectionError, RuntimeError):
                    pass  # closed under the pen
                group.cancel_scope.cancel()

            group.start_soon(write)
            async for message in socket:
                if message.type is WSMsgType.PING:
                    if not speaker.dead:
                        await socket.pong(message.data)
                elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await hear(message)
            group.cancel_scope.cancel()


class Line:
    """What waits to be said to one connection, a bounded queue; full: cut off as a slow client."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUED)
        self.cut: Callable[[], None] = lambda: None

    def put(self, message: bytes) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.cut()

    async def next(self) -> bytes:
        return await self._queue.get()


class DataStream(Lines):
    """Server first: connected; then auth, subscribe; then bars b, corrected bars u, the day so far d."""

    def __init__(self, sim: Sim) -> None:
        super().__init__(sim, "data_stream")
        self._subscribers: dict[Line, tuple[dict[str, set[str]], bool]] = {}
        self._days: dict[int, tuple[int, dict[str, float]]] = {}
        sim.published.on_bars.append(self.publish)

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        packed = "msgpack" in request.headers.get("Content-Type", "")
        socket = web.WebSocketResponse(autoping=False, heartbeat=None, max_msg_size=1 << 20)
        await socket.prepare(request)
        speaker = Speaker(socket, request, self.sim.faults, self.where, text=not packed)
        encode = msgpack.packb if packed else orjson.dumps

        async def tell(*messages: dict[str, Any]) -> None:
            await speaker.plain(encode(list(messages)))

        async def refuse(code: int) -> None:
            await tell({"T": "error", "code": code, "msg": ERRORS[code]})

        await tell({"T": "success", "msg": "connected"})
        line, wanted = Line(), {channel: set[str]() for channel in SUBSCRIBED}
        authed = False

        async def hear(message: WSMessage) -> None:
            nonlocal authed
            facts = decoded(message)
            action = facts.get("action") if isinstance(facts, dict) else None
            if action == "auth":
                if authed:
                    await refuse(403)
                elif not known(self.sim, facts.get("key"), facts.get("secret")):
                    await refuse(402)
                elif self.full():
                    await refuse(406)
                    await socket.close()
                else:
                    authed = True
                    self.count += 1
                    await tell({"T": "success", "msg": "authenticated"})
                    if self.sim.faults.fires("stream_storm", self.where):
                        await socket.close(code=1011)
            elif action in ("subscribe", "unsubscribe"):
                if not authed:
                    await refuse(401)
                    return
                for channel in SUBSCRIBED:
                    names = {str(name) for name in facts.get(channel) or ()}
                    if action == "subscribe":
                        wanted[channel] |= names
                    else:
                        wanted[channel] -= names
                self._subscribers[line] = (wanted, packed)
                await tell({"T": "subscription", **{name: sorted(held) for name, held in wanted.items()}})
            else:
                await refuse(400)

        try:
            await self.serve(request, speaker, socket, line, hear)
        finally:
            self._subscribers.pop(line, None)
            self.count -= authed
        return socket

    def publish(self, ts_ms: int, rows: Any, kind: str) -> None:
        """One frame a connection, of all that it subscribed to."""
        channel, letter = CHANNELS[kind]
        length = self.sim.market.timeframe_ms
        made = [(self._wire(int(row["symbol"])), figures(row)) for row in rows]
        days = self._day(rows, made) if kind == "bar" else []
        shapes: dict[tuple[bool, tuple[str, ...]], bytes] = {}
        for line, (wanted, packed) in self._subscribers.items():
            names, daily = wanted[channel], wanted["dailyBars"]
            chosen = tuple(wire for wire, _ in made if wire in names or "*" in names)
            key = (packed, (*chosen, "|", *sorted(daily)))
            if key not in shapes:
                at = timestamp(ts_ms - length, packed)
                body = [
                    {"T": letter, "S": wire, **facts, "t": at} for wire, facts in made if wire in names or "*" in names
                ]
                body += [
                    {"T": "d", "S": wire, **facts, "t": timestamp(day_ms, packed)}
                    for wire, day_ms, facts in days
                    if wire in daily or "*" in daily
                ]
                shapes[key] = (msgpack.packb(body) if packed else orjson.dumps(body)) if body else b""
            if shapes[key]:
                line.put(shapes[key])

    def _wire(self, symbol: int) -> str:
        return self.sim.terms[self.sim.market.symbols[symbol]].wire

    def _day(self, rows: Any, made: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, int, dict[str, Any]]]:
        """The running day of each symbol, this bar included."""
        session = self.sim.market.session_at(int(rows["ts_ms"][0]) - 1)
        if session is None:
            return []
        found, opened = [], int(session["open_ms"])
        for row, (wire, fresh) in zip(rows, made, strict=True):
            symbol = int(row["symbol"])
            if not math.isfinite(fresh["c"]):
                continue
            before, facts = self._days.get(symbol, (0, {}))
            fresh = dict(fresh)
            if before == opened:
                fresh |= {"o": facts["o"], "h": max(facts["h"], fresh["h"]), "l": min(facts["l"], fresh["l"])}
                fresh |= {"v": facts["v"] + fresh["v"], "n": facts["n"] + fresh["n"]}
            self._days[symbol] = (opened, fresh)
            midnight = opened - 34_200_000 if opened % 86_400_000 else opened
            found.append((wire, midnight, fresh))
        return found


class TradeStream(Lines):
    """authenticate, listen, then one trade_updates message an event of the desk."""

    def __init__(self, sim: Sim) -> None:
        super().__init__(sim, "stream")
        self._listening: set[Line] = set()
        sim.desk.on_event.append(self.publish)

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False, heartbeat=None, max_msg_size=1 << 20)
        if self.full():
            # Alpaca's gateway refuses before the handshake.
            return web.Response(status=429, text="too many connections")  # type: ignore[return-value]
        await socket.prepare(request)
        speaker = Speaker(socket, request, self.sim.faults, self.where, text=False)
        line = Line()
        self.count += 1
        authed = False

        async def tell(stream: str, data: dict[str, Any]) -> None:
            await speaker.plain(orjson.dumps({"stream": stream, "data": data}))

        async def hear(message: WSMessage) -> None:
            nonlocal authed
            facts = decoded(message)
            facts = facts if isinstance(facts, dict) else {}
            data = facts.get("data") or {}
            if facts.get("action") in ("authenticate", "auth"):
                key = data.get("key_id", facts.get("key"))
                authed = known(self.sim, key, data.get("secret_key", facts.get("secret")))
                status = "authorized" if authed else "unauthorized"
                await tell("authorization", {"status": status, "action": "authenticate"})
                if authed and self.sim.faults.fires("stream_storm", self.where):
                    await socket.close(code=1011)
            elif facts.get("action") == "listen" and authed:
                streams = [name for name in data.get("streams", []) if name == "trade_updates"]
                if streams:
                    self._listening.add(line)
                await tell("listening", {"streams": streams})
            elif facts.get("action") == "listen":
                await tell("authorization", {"status": "unauthorized", "action": "listen"})

        try:
            await self.serve(request, speaker, socket, line, hear)
        finally:
            self._listening.discard(line)
            self.count -= 1
        return socket

    def publish(self, event: DeskEvent) -> None:
        kinds = ("pending_new", "new") if event.kind == "new" else (event.kind,)
        for place, kind in enumerate(kinds):
            body = event_body(self.sim, event, kind, place)
            for line in self._listening:
                line.put(body)


def event_body(sim: Sim, event: DeskEvent, kind: str, place: int) -> bytes:
    order = order_body(sim, event.order)
    if kind == "pending_new":
        order["status"] = "pending_new"
    data: dict[str, Any] = {
        "at": stamp(event.ts_ms),
        "event_id": ulid(event.ts_ms, event.number * 2 + place),
        "event": kind,
        "timestamp": stamp(event.ts_ms),
        "order": order,
    }
    execution = event.execution
    if execution is not None:
        data |= {
            "price": plain(execution.price),
            "qty": plain(execution.qty),
            "position_qty": plain(event.position),
            "execution_id": execution.id,
        }
    return orjson.dumps({"stream": "trade_updates", "data": data})


def ulid(ts_ms: int, number: int) -> str:
    """26 characters that sort by time, then by number."""
    value = (ts_ms << 80) | number
    letters = []
    for _ in range(26):
        value, digit = divmod(value, 32)
        letters.append(LOCKABLE[digit])
    return "".join(reversed(letters))


def timestamp(ts_ms: int, packed: bool) -> Any:
    """MessagePack's timestamp extension, or text."""
    return msgpack.Timestamp(ts_ms // 1000, ts_ms % 1000 * 1_000_000) if packed else short_stamp(ts_ms)


def decoded(message: WSMessage) -> Any:
    """JSON from text, MessagePack or JSON from bytes; None where it is neither."""
    try:
        if message.type is WSMsgType.TEXT:
            return orjson.loads(message.data)
        try:
            return msgpack.unpackb(message.data)
        except (ValueError, msgpack.UnpackException):
            return orjson.loads(message.data)
    except ValueError:
        return None
