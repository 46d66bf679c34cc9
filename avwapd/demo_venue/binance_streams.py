"""Binance's two websockets: market streams (klines, forming and closed) and the account's events over the ws-api."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import anyio
import orjson
from aiohttp import WSMessage, web

from avwapd.demo_venue.alpaca_streams import Line, Lines, decoded
from avwapd.demo_venue.binance_account import Binance
from avwapd.demo_venue.binance_words import SPANS_MS, Refused, execution_report, kline_event, position_event
from avwapd.demo_venue.candles import Candle, candles, forming_candle, newest
from avwapd.demo_venue.desk_shapes import DeskEvent
from avwapd.demo_venue.faults_stream import Speaker

FORMING_MS = 2000  # of market time, between two words on a forming candle
LEAST_S = 0.05
FIGURES = ("open", "high", "low", "close", "volume")
Wanted = dict[str, tuple[str, str]]  # stream name -> (symbol, interval)


def add(app: web.Application, binance: Binance) -> None:
    market, account = MarketStream(binance), AccountStream(binance)
    # ccxt takes a market stream for one of spot where the address says /stream, as the venue's host name does.
    for path in ("/ws", "/ws/{names:.+}", "/stream/ws/{names:.+}"):
        app.router.add_get(path, market.connect)
    app.router.add_get("/stream", market.connect_combined)
    app.router.add_get("/ws-api/v3", account.connect)


class MarketStream(Lines):
    """SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS; names in the address are subscribed to at once."""

    def __init__(self, binance: Binance) -> None:
        super().__init__(binance.sim, "data_stream")
        self._binance = binance
        self._wanted: dict[Line, tuple[Wanted, bool]] = {}
        binance.sim.published.on_bars.append(self.publish)

    async def connect(self, request: web.Request) -> web.StreamResponse:
        names = [name for name in request.match_info.get("names", "").split("/") if "@" in name]
        return await self._connect(request, names, False)

    async def connect_combined(self, request: web.Request) -> web.StreamResponse:
        return await self._connect(request, request.query.get("streams", "").split("/"), True)

    async def _connect(self, request: web.Request, names: Iterable[str], combined: bool) -> web.StreamResponse:
        if self.sim.faults.fires("second_stream_refused", self.where):
            return web.Response(status=429, text="too many connections")
        socket = web.WebSocketResponse(autoping=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        speaker, line = Speaker(socket, request, self.sim.faults, self.where, text=True), Line()
        wanted = {name: found for name in names if (found := self._stream(name))}
        self._wanted[line] = (wanted, combined)

        async def hear(message: WSMessage) -> None:
            facts = decoded(message)
            facts = facts if isinstance(facts, dict) else {}
            await speaker.plain(orjson.dumps(self._obey(facts, wanted)))
            if facts.get("method") == "SUBSCRIBE" and self.sim.faults.fires("stream_storm", self.where):
                await socket.close(code=1011)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._forming, line)
                await self.serve(request, speaker, socket, line, hear)
                group.cancel_scope.cancel()
        finally:
            self._wanted.pop(line, None)
        return socket

    def _obey(self, facts: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
        method, asked = facts.get("method"), facts.get("id")
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(wanted), "id": asked}
        names = facts.get("params")
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE") or not isinstance(names, list):
            return {"error": {"code": 2, "msg": "Invalid request: unknown method or parameters"}, "id": asked}
        for name in map(str, names):
            if method == "UNSUBSCRIBE":
                wanted.pop(name, None)
            elif (found := self._stream(name)) is not None:
                wanted[name] = found
        return {"result": None, "id": asked}  # the venue takes names that it does not know, and is silent on them

    def _stream(self, name: str) -> tuple[str, str] | None:
        """btcusd@kline_1m -> (BTC-USD, 1m)."""
        wire, _, kind = name.partition("@")
        symbol, span = self._binance.symbols.get(wire.upper()), kind.removeprefix("kline_")
        own = span in SPANS_MS and SPANS_MS[span] % self.sim.market.timeframe_ms == 0
        return (symbol, span) if symbol and own and kind.startswith("kline_") else None

    def publish(self, ts_ms: int, rows: Any, kind: str) -> None:
        """Bars that closed, were corrected, or (a fault) are half over."""
        own_ms = self.sim.market.timeframe_ms
        for row in rows:
            symbol = self.sim.market.symbols[int(row["symbol"])]
            open_, high, low, close, volume = (float(row[name]) for name in FIGURES)
            own = Candle(ts_ms - own_ms, ts_ms, open_, high, low, close, volume, kind != "forming")
            for line, (wanted, combined) in self._wanted.items():
                for name, (of, span) in wanted.items():
                    if of == symbol:
                        candle = own if SPANS_MS[span] == own_ms else self._around(symbol, span, ts_ms)
                        if candle is not None:
                            line.put(self._event(name, symbol, span, candle, combined))

    def _event(self, name: str, symbol: str, span: str, candle: Candle, combined: bool) -> bytes:
        event = kline_event(symbol, span, candle, self.sim.market.now_ms())
        return orjson.dumps({"stream": name, "data": event} if combined else event)

    def _around(self, symbol: str, span: str, ts_ms: int) -> Candle | None:
        """The candle of a longer interval to which a bar's close belongs."""
        begin_ms = (ts_ms - 1) // SPANS_MS[span] * SPANS_MS[span]
        found = candles(self.sim, symbol, SPANS_MS[span], begin_ms, begin_ms)
        return found[-1] if found else None

    def _running(self, symbol: str, span: str) -> Candle | None:
        """The newest candle of an interval, as a rule a forming one."""
        if SPANS_MS[span] == self.sim.market.timeframe_ms:
            return forming_candle(self.sim, symbol)
        found = newest(self.sim, symbol, SPANS_MS[span], self.sim.market.now_ms(), 1)
        return found[-1] if found else None

    async def _forming(self, line: Line) -> None:
        """What is new of the forming candles, every two seconds of the market."""
        told: dict[str, Candle] = {}
        while True:
            await anyio.sleep(max(LEAST_S, FORMING_MS / 1000 / self.sim.market.speed))
            wanted, combined = self._wanted.get(line, ({}, False))
            for name, (symbol, span) in list(wanted.items()):
                candle = self._running(symbol, span)
                if candle is not None and not candle.closed and told.get(name) != candle:
                    told[name] = candle
                    line.put(self._event(name, symbol, span, candle, combined))


class AccountStream(Lines):
    """Requests {id, method, params}; after userDataStream.subscribe.signature every event of the account."""

    def __init__(self, binance: Binance) -> None:
        super().__init__(binance.sim, "stream")
        self._binance = binance
        self._listening: dict[Line, int] = {}
        self._subscriptions = 0
        binance.sim.desk.on_event.append(self.publish)

    async def connect(self, request: web.Request) -> web.StreamResponse:
        if self.sim.faults.fires("second_stream_refused", self.where):
            return web.Response(status=429, text="too many connections")
        socket = web.WebSocketResponse(autoping=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        speaker, line = Speaker(socket, request, self.sim.faults, self.where, text=True), Line()

        async def hear(message: WSMessage) -> None:
            facts = decoded(message)
            facts = facts if isinstance(facts, dict) else {}
            head = {"id": facts.get("id")}
            try:
                result = self._obey(facts, line)
            except Refused as error:
                await speaker.plain(orjson.dumps(head | {"status": error.status, "error": error.body}))
                return
            await speaker.plain(orjson.dumps(head | {"status": 200, "result": result, "rateLimits": []}))
            if line in self._listening and self.sim.faults.fires("stream_storm", self.where):
                await socket.close(code=1011)

        try:
            await self.serve(request, speaker, socket, line, hear)
        finally:
            self._listening.pop(line, None)
        return socket

    def _obey(self, facts: dict[str, Any], line: Line) -> dict[str, Any]:
        params = facts.get("params")
        given = {str(name): str(value) for name, value in params.items()} if isinstance(params, dict) else {}
        answers: dict[str, Callable[[], dict[str, Any]]] = {
            "ping": dict,
            "time": lambda: dict(self._binance.time({})),
            "userDataStream.subscribe.signature": lambda: self._subscribe(given, line),
            "userDataStream.unsubscribe": lambda: self._unsubscribe(line),
        }
        answer = answers.get(str(facts.get("method")))
        if answer is None:
            raise Refused(-1000, "Unknown method.")
        return answer()

    def _subscribe(self, params: dict[str, str], line: Line) -> dict[str, Any]:
        signed = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
        self._binance.check(params, signed, params.get("apiKey", ""))
        if line in self._listening:
            raise Refused(-2035, "User Data Stream subscription already active.")
        self._listening[line] = self._subscriptions
        self._subscriptions += 1
        return {"subscriptionId": self._listening[line]}

    def _unsubscribe(self, line: Line) -> dict[str, Any]:
        self._listening.pop(line, None)
        return {}

    def publish(self, event: DeskEvent) -> None:
        if not self._listening:
            return
        now_ms = self.sim.market.now_ms()
        report = execution_report(event, now_ms)
        told = [] if report is None else [report]
        if event.kind != "held":
            told.append(position_event(self._binance.totals(stale=False), now_ms))
        for line, number in self._listening.items():
            for one in told:
                line.put(orjson.dumps({"subscriptionId": number, "event": one}))
