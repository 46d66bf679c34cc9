"""Kraken spot's REST wire of the simulator: which call is where; every answer has HTTP 200, errors too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from avwapd.demo_venue.faults import Setting
from avwapd.demo_venue.faults_rest import with_faults
from avwapd.demo_venue.kraken_account import Kraken, Params
from avwapd.demo_venue.kraken_words import Refused
from avwapd.demo_venue.sim import Sim

FAULTS = {
    "limit_429": Refused("EAPI:Rate limit exceeded"),
    "limit_429_no_header": Refused("EOrder:Rate limit exceeded"),
    "revoked_401": Refused("EAPI:Invalid key"),
    "blocked_403": Refused("EGeneral:Permission denied"),
    "not_found_lie": Refused("EOrder:Unknown order"),
    "gateway_504_taken": Refused("EService:Timeout"),
}
CALLS: dict[str, tuple[str, str]] = {  # path -> (method of Kraken, class of endpoint)
    "public/Time": ("time", "clock"),
    "public/SystemStatus": ("status", ""),
    "public/Assets": ("assets", ""),
    "public/AssetPairs": ("asset_pairs", ""),
    "public/OHLC": ("ohlc", "bars"),
    "public/Ticker": ("ticker", "bars"),
    "private/Balance": ("balance", "account"),
    "private/BalanceEx": ("balance_ex", "account"),
    "private/QueryOrders": ("query_orders", "order"),
    "private/OpenOrders": ("open_orders", "orders"),
    "private/ClosedOrders": ("closed_orders", "orders"),
    "private/TradesHistory": ("trades_history", "activities"),
    "private/AddOrder": ("add_order", "submit"),
    "private/CancelOrder": ("cancel_order", "cancel"),
    "private/AmendOrder": ("amend_order", "replace"),
}


def app(sim: Sim) -> web.Application:
    """Everything below /0/."""
    made = web.Application(middlewares=[with_faults(sim, endpoint_class, fault_answer)])
    made.add_routes(app_routes(Kraken(sim)))
    return made


def endpoint_class(request: web.Request) -> str:
    """Which calls a fault is about."""
    return CALLS.get(request.path.removeprefix("/0/"), ("", ""))[1]


def fault_answer(name: str, setting: Setting) -> web.Response:
    """This wire's words for the REST faults that need them."""
    return error_answer(FAULTS[name])


def error_answer(error: Refused) -> web.Response:
    return web.Response(
        status=error.status, body=orjson.dumps({"error": [error.error]}), content_type="application/json"
    )


def app_routes(kraken: Kraken) -> list[web.RouteDef]:
    made = []
    for path, (name, where) in CALLS.items():
        method = "GET" if path.startswith("public/") else "POST"
        made.append(web.route(method, f"/0/{path}", _handler(kraken, getattr(kraken, name), where)))
    return made


def _handler(
    kraken: Kraken, call: Callable[[Params], Any], where: str
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        private = request.path.startswith("/0/private/")
        try:
            if private and request.content_type == "application/json":
                params = {name: str(value) for name, value in orjson.loads(body).items()}
            else:
                params = dict(parse_qsl(body.decode() if private else request.raw_path.partition("?")[2]))
            if private:
                kraken.check(request.path, body, params, request.headers)
            result = call(params)
        except Refused as error:
            return error_answer(error)
        except ValueError:
            return error_answer(Refused("EGeneral:Invalid arguments"))
        if where in ("submit", "replace"):
            await kraken.sim.answer_late(where)
        return web.Response(body=orjson.dumps({"error": [], "result": result}), content_type="application/json")

    return handle
