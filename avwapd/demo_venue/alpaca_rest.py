"""Alpaca's REST wire of the simulator: trading, account, calendar; the data endpoints are in alpaca_data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import formatdate
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from avwapd.demo_venue import alpaca_data, alpaca_streams
from avwapd.demo_venue.alpaca_shapes import (
    account_body,
    activity_body,
    asset_body,
    asset_id,
    local_stamp,
    order_body,
    position_body,
    refusal,
)
from avwapd.demo_venue.desk_shapes import Change, DeskRefused, NewOrder, Order
from avwapd.demo_venue.faults import Setting
from avwapd.demo_venue.faults_rest import with_faults
from avwapd.demo_venue.sim import Sim, skewed_ms
from avwapd.feeds.calendar import BELL, sessions, whole_calendar

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ORDERS_AT_ONCE, ACTIVITIES_AT_ONCE = 500, 100
DAY_MS = 86_400_000


def app(sim: Sim) -> web.Application:
    """REST below /v2, /v1beta1 and /v1, the streams at /stream and /v2/iex, /v2/sip."""
    made = web.Application(middlewares=[with_faults(sim, classify, fault_answer), refusals(sim)])
    made.on_response_prepare.append(dated(sim))
    rest = AlpacaRest(sim)
    routes = [
        web.get("/v2/account", rest.account),
        web.get("/v2/clock", rest.clock),
        web.get("/v2/calendar", rest.calendar),
        web.get("/v2/positions", rest.positions),
        web.delete("/v2/positions", rest.close_positions),
        web.get("/v2/positions/{symbol}", rest.position),
        web.delete("/v2/positions/{symbol}", rest.close_position),
        web.post("/v2/orders", rest.submit),
        web.get("/v2/orders", rest.orders),
        web.delete("/v2/orders", rest.cancel_all),
        web.get("/v2/orders:by_client_order_id", rest.by_client_id),
        web.get("/v2/orders/{id}", rest.order),
        web.patch("/v2/orders/{id}", rest.replace),
        web.delete("/v2/orders/{id}", rest.cancel),
        web.get("/v2/assets", rest.assets),
        web.get("/v2/assets/{symbol}", rest.asset),
        web.get("/v2/account/activities", rest.activities),
        web.get("/v2/account/activities/FILL", rest.activities),
    ]
    made.add_routes(routes)
    alpaca_data.add(made, sim)
    alpaca_streams.add(made, sim)
    return made


def classify(request: web.Request) -> str:
    """The endpoint class of the fault registry."""
    path, method = request.path, request.method
    if path.startswith(("/v2/orders", "/v2/positions")) and method != "GET":
        return {"POST": "submit", "PATCH": "replace"}.get(method, "cancel")
    if path == "/v2/orders":
        return "orders"
    for start, where in (
        ("/v2/orders", "order"),
        ("/v2/positions", "positions"),
        ("/v2/account/activities", "activities"),
        ("/v2/account", "account"),
        ("/v2/stocks", "bars"),
        ("/v1/corporate-actions", "bars"),
        ("/v2/clock", "clock"),
        ("/v2/calendar", "clock"),
        ("/v2/assets", "account"),
    ):
        if path.startswith(start):
            return where
    return ""


def fault_answer(name: str, setting: Setting) -> web.Response:
    status, body, headers = {
        "limit_429": (429, {"code": 42910000, "message": "rate limit exceeded"}, {"Retry-After": str(setting.value)}),
        "limit_429_no_header": (429, {"code": 42910000, "message": "rate limit exceeded"}, {}),
        "revoked_401": (401, {"code": 40110000, "message": "request is not authorized"}, {}),
        "blocked_403": (403, {"code": 40310000, "message": "account is blocked"}, {}),
        "not_found_lie": (404, {"code": 40410000, "message": "order not found"}, {}),
        "gateway_504_taken": (504, {"message": "upstream request timeout"}, {}),
    }[name]
    return answer(body, status=status, headers=headers)


def answer(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json")


def dated(sim: Sim) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """The Date header is the market's clock."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(skewed_ms(sim) / 1000, usegmt=True)

    return prepare


def refusals(sim: Sim) -> Middleware:
    """The keys are looked at; what the desk refuses becomes a body."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        key, secret = (request.headers.get(f"APCA-API-{name}") for name in ("KEY-ID", "SECRET-KEY"))
        open_to_all = request.path.startswith(("/control", "/stream")) or "Upgrade" in request.headers
        if not open_to_all and not alpaca_streams.known(sim, key, secret):
            return answer({"code": 40110000, "message": "request is not authorized"}, status=401)
        try:
            return await handler(request)
        except DeskRefused as refused:
            status, body = refusal(refused)
            return answer(body, status=status)
        except web.HTTPNotFound:
            return answer({"code": 40410000, "message": "endpoint not found"}, status=404)

    return middleware


class AlpacaRest:
    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._desk = sim.desk
        self._assets = {asset_id(symbol): symbol for symbol in sim.terms}

    async def account(self, request: web.Request) -> web.Response:
        return answer(account_body(self._sim))

    async def clock(self, request: web.Request) -> web.Response:
        now_ms = skewed_ms(self._sim, counted=True)
        market = self._sim.market
        facts = {"timestamp": local_stamp(now_ms), "is_open": market.session_at(now_ms) is not None}
        opens, closes = market.next_open(now_ms), market.session_close("", now_ms)
        return answer(facts | {"next_open": local_stamp(opens), "next_close": local_stamp(closes)})

    async def calendar(self, request: web.Request) -> web.Response:
        begin, end = whole_calendar()
        first = max(day_of(request.query.get("start", "1970-01-02")), begin)
        last = min(day_of(request.query.get("end", "2029-12-31")), end)
        rows: list[dict[str, Any]] = []
        for row in sessions(BELL, first, max(first, last)):
            date = datetime.fromtimestamp(int(row["open_ms"]) // 1000, UTC)
            if not first <= int(row["open_ms"]) < last + DAY_MS:
                continue
            opens, closes = (local_stamp(int(row[name]))[11:16] for name in ("open_ms", "close_ms"))
            word = f"{date:%Y-%m-%d}"
            rows.append({"date": word, "open": opens, "close": closes, "session_open": "0400"})
            rows[-1] |= {"session_close": "2000", "settlement_date": word}
        return answer(rows)

    # ----------------------------------------------------------------------------------------------- positions

    def _positions(self) -> dict[str, Decimal]:
        stale = self._sim.faults.fires("stale_positions", "positions")
        return self._desk.positions(lag_ms=int(stale.value)) if stale else self._desk.positions()

    async def positions(self, request: web.Request) -> web.Response:
        return answer([position_body(self._sim, symbol, qty) for symbol, qty in sorted(self._positions().items())])

    async def position(self, request: web.Request) -> web.Response:
        symbol = self._symbol(request.match_info["symbol"])
        qty = self._positions().get(symbol)
        if not qty:
            raise DeskRefused("not_found", "position does not exist")
        return answer(position_body(self._sim, symbol, qty))

    async def close_position(self, request: web.Request) -> web.Response:
        symbol = self._symbol(request.match_info["symbol"])
        held = self._desk.held(symbol)
        if not held:
            raise DeskRefused("not_found", "position does not exist")
        qty = decimal(request.query, "qty") or abs(held)
        if (part := decimal(request.query, "percentage")) is not None:
            qty = abs(held) * part / 100
        return answer(order_body(self._sim, self._close(symbol, qty), fresh=True))

    async def close_positions(self, request: web.Request) -> web.Response:
        if request.query.get("cancel_orders") == "true":
            self._cancel_all()
        rows = []
        for symbol, qty in sorted(self._desk.true_positions().items()):
            try:
                body = order_body(self._sim, self._close(symbol, abs(qty)), fresh=True)
                rows.append({"symbol": self._sim.terms[symbol].wire, "status": 200, "body": body})
            except DeskRefused as refused:
                status, body = refusal(refused)
                rows.append({"symbol": self._sim.terms[symbol].wire, "status": status, "body": body})
        return answer(rows, status=207)

    def _close(self, symbol: str, qty: Decimal) -> Order:
        side = -1 if self._desk.held(symbol) > 0 else 1
        return self._desk.submit(NewOrder(symbol=symbol, side=side, type="market", qty=qty, tif="day"))

    def _symbol(self, name: str) -> str:
        """Ours, of a wire name or an asset id."""
        found = self._sim.by_wire.get(name) or self._assets.get(name)
        if found is None:
            raise DeskRefused("not_found", f"asset not found for {name}")
        return found

    # -------------------------------------------------------------------------------------------------- orders

    async def submit(self, request: web.Request) -> web.Response:
        facts = await content(request)
        wanted = str(facts.get("symbol", ""))
        kind = str(facts.get("type", facts.get("order_type", "")))
        side = {"buy": 1, "sell": -1}.get(str(facts.get("side")), 0)
        if facts.get("order_class") not in (None, "", "simple"):
            raise DeskRefused("bad_order", f"order class {facts['order_class']} is not offered by this simulator")
        qty = decimal(facts, "qty")
        if qty is None and (notional := decimal(facts, "notional")) is not None:
            qty = self._of_notional(self._sim.by_wire.get(wanted, wanted), notional)
        if qty is None:
            raise DeskRefused("bad_order", "qty or notional is required")
        order = self._desk.submit(
            NewOrder(
                symbol=self._sim.by_wire.get(wanted, wanted),
                side=side,
                type=kind,
                qty=qty,
                limit=decimal(facts, "limit_price"),
                stop=decimal(facts, "stop_price"),
                tif=str(facts.get("time_in_force", "day")),
                client_id=str(facts.get("client_order_id") or ""),
                extra={"extended_hours": bool(facts.get("extended_hours"))},
            )
        )
        await self._sim.answer_late("submit")
        return answer(order_body(self._sim, order, fresh=True))

    def _of_notional(self, symbol: str, notional: Decimal) -> Decimal:
        terms, mark = self._sim.terms.get(symbol), self._desk.marks.get(symbol)
        if terms is None or not mark:
            raise DeskRefused("unknown_symbol", f"asset {symbol!r} not found")
        return terms.lots(notional / mark) * terms.lot

    async def orders(self, request: web.Request) -> web.Response:
        query = request.query
        status = query.get("status", "open")
        found = self._desk.orders(open_only=status == "open")
        if status == "closed":
            found = [order for order in found if not order.live]
        if query.get("symbols"):
            wanted = query["symbols"].split(",")
            found = [order for order in found if self._sim.terms[order.symbol].wire in wanted]
        if query.get("side"):
            found = [order for order in found if (order.side > 0) == (query["side"] == "buy")]
        after, until = moment(query.get("after")), moment(query.get("until"))
        found = [one for one in found if (after is None or one.created_ms > after)]
        found = [one for one in found if (until is None or one.created_ms <= until)]
        found.sort(key=lambda order: (order.created_ms, order.number), reverse=query.get("direction", "desc") != "asc")
        limit = min(int(query.get("limit", "50")), ORDERS_AT_ONCE)
        return answer([order_body(self._sim, order) for order in found[:limit]])

    async def order(self, request: web.Request) -> web.Response:
        order = self._desk.by_id(request.match_info["id"])
        if order is None:
            raise DeskRefused("not_found", f"order not found for {request.match_info['id']}")
        return answer(order_body(self._sim, order))

    async def by_client_id(self, request: web.Request) -> web.Response:
        order = self._desk.by_client_id(request.query.get("client_order_id", ""))
        if order is None:
            raise DeskRefused("not_found", f"order not found for {request.query.get('client_order_id', '')}")
        return answer(order_body(self._sim, order))

    async def replace(self, request: web.Request) -> web.Response:
        facts = await content(request)
        change = Change(
            qty=decimal(facts, "qty"),
            limit=decimal(facts, "limit_price"),
            stop=decimal(facts, "stop_price"),
            tif=facts.get("time_in_force"),
            client_id=str(facts.get("client_order_id") or ""),
        )
        order = self._desk.replace(request.match_info["id"], change)
        await self._sim.answer_late("replace")
        return answer(order_body(self._sim, order, fresh=True) | {"status": "pending_replace"})

    async def cancel(self, request: web.Request) -> web.Response:
        self._desk.cancel(request.match_info["id"])
        return web.Response(status=204)

    async def cancel_all(self, request: web.Request) -> web.Response:
        return answer([{"id": order_id, "status": 200} for order_id in self._cancel_all()], status=207)

    def _cancel_all(self) -> list[str]:
        found = [order.id for order in self._desk.live_orders()]
        for order_id in found:
            self._desk.cancel(order_id)
        return found

    # -------------------------------------------------------------------------------------------- everything else

    async def assets(self, request: web.Request) -> web.Response:
        wanted = request.query.get("asset_class")
        rows = [asset_body(self._sim, symbol) for symbol in sorted(self._sim.terms)]
        return answer([row for row in rows if wanted in (None, "", row["class"])])

    async def asset(self, request: web.Request) -> web.Response:
        return answer(asset_body(self._sim, self._symbol(request.match_info["symbol"])))

    async def activities(self, request: web.Request) -> web.Response:
        query = request.query
        if query.get("activity_types", "FILL") != "FILL":
            return answer([])
        after, until = moment(query.get("after")), moment(query.get("until"))
        found = [
            (execution, activity_body(self._sim, execution))
            for execution in self._desk.executions()
            if (after is None or execution.ts_ms > after) and (until is None or execution.ts_ms < until)
        ]
        rows = [body for _, body in sorted(found, key=lambda pair: (pair[0].ts_ms, pair[0].number))]
        if query.get("direction", "desc") == "desc":
            rows.reverse()
        if query.get("page_token"):
            places = [at for at, row in enumerate(rows) if row["id"] == query["page_token"]]
            rows = rows[places[0] + 1 :] if places else []
        size = min(int(query.get("page_size", ACTIVITIES_AT_ONCE)), ACTIVITIES_AT_ONCE)
        return answer(rows[:size])


async def content(request: web.Request) -> dict[str, Any]:
    """The body, an object."""
    try:
        facts = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise DeskRefused("bad_order", f"request body format is invalid: {error}") from None
    if not isinstance(facts, dict):
        raise DeskRefused("bad_order", "request body format is invalid")
    return facts


def decimal(facts: Any, name: str) -> Decimal | None:
    value = facts.get(name)
    if value in (None, ""):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise DeskRefused("bad_order", f"invalid {name} {value}") from None


def moment(text: str | None) -> int | None:
    """A query's time as market ms; without a zone it is UTC."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise DeskRefused("bad_order", f"invalid time {text}") from None
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def day_of(text: str) -> int:
    """The UTC midnight of a date, ms."""
    return (moment(text[:10]) or 0) // DAY_MS * DAY_MS
