"""Binance spot's wire of the simulator: which call is where, what it weighs, and its way to an answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from avwapd.demo_venue import binance_streams
from avwapd.demo_venue.binance_account import Binance, Params
from avwapd.demo_venue.binance_limits import error_answer, fault_answers
from avwapd.demo_venue.binance_words import Refused
from avwapd.demo_venue.faults_rest import with_faults
from avwapd.demo_venue.sim import Sim

Answer = Callable[[Params], Any]

CALLS: dict[tuple[str, str], tuple[str, str, int, bool]] = {  # -> (method of Binance, class, weight, signed)
    ("GET", "exchangeInfo"): ("exchange_info", "", 20, False),
    ("GET", "time"): ("time", "clock", 1, False),
    ("GET", "ping"): ("ping", "", 1, False),
    ("GET", "klines"): ("klines", "bars", 2, False),
    ("GET", "ticker/price"): ("price", "bars", 2, False),
    ("GET", "ticker/24hr"): ("day", "bars", 2, False),
    ("GET", "depth"): ("depth", "bars", 5, False),
    ("GET", "account"): ("account", "account", 20, True),
    ("GET", "order"): ("order", "order", 4, True),
    ("POST", "order"): ("place", "submit", 1, True),
    ("DELETE", "order"): ("cancel", "cancel", 1, True),
    ("POST", "order/cancelReplace"): ("cancel_replace", "replace", 1, True),
    ("GET", "openOrders"): ("open_orders", "orders", 6, True),
    ("GET", "allOrders"): ("all_orders", "orders", 20, True),
    ("GET", "myTrades"): ("my_trades", "activities", 20, True),
}


def app(sim: Sim) -> web.Application:
    """REST below /api/v3, the market's websocket at /ws and /stream, the account's at /ws-api/v3."""
    made = web.Application(middlewares=[with_faults(sim, endpoint_class, fault_answers(sim))])
    binance = Binance(sim)
    made.add_routes(app_routes(binance))
    binance_streams.add(made, binance)
    return made


def endpoint_class(request: web.Request) -> str:
    """Which calls a fault is about."""
    path = request.path.removeprefix("/api/v3/")
    return CALLS.get((request.method, path), ("", "", 0, False))[1]


def app_routes(binance: Binance) -> list[web.RouteDef]:
    return [
        web.route(method, f"/api/v3/{path}", _handler(binance, getattr(binance, name), where, weight, signed))
        for (method, path), (name, where, weight, signed) in CALLS.items()
    ]


def _handler(
    binance: Binance, call: Answer, where: str, weight: int, signed: bool
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        query = request.raw_path.partition("?")[2]
        sent = query + (await request.read()).decode()
        params = dict(parse_qsl(sent, keep_blank_values=True))
        try:
            binance.weight.take(weight)
            if signed:
                unsigned = re.sub(r"&?signature=[^&]*", "", sent)
                binance.check(params, unsigned, request.headers.get("X-MBX-APIKEY", ""))
            body = orjson.dumps(call(params))
        except Refused as error:
            answer = error_answer(error)
        else:
            answer = web.Response(body=body, content_type="application/json")
            if where in ("submit", "replace"):
                await binance.sim.answer_late(where)
        answer.headers["X-MBX-USED-WEIGHT-1M"] = str(binance.weight.used)
        return answer

    return handle
