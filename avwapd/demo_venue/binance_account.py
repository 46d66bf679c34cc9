"""What binance's two wires share: the account's words, keys, weights, the market's clock.

As at the venue: a client id is unique among resting orders only (profile strict; the others take it twice); a stop that
would trigger at once is refused; timestamps are held against the market's clock, signatures against the key where the
simulator has one. Where the market runs faster, a clock may be a second of wall time ahead: no network is faster there.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, NoReturn

from avwapd.demo_venue.binance_limits import WEIGHT_LIMIT, Weight
from avwapd.demo_venue.binance_words import (
    KINDS,
    SPANS_MS,
    TIFS,
    Refused,
    balance_rows,
    cancel_id,
    canceled_row,
    coins,
    kline_row,
    market_row,
    order_row,
    placed_row,
    refused,
    text,
    trade_row,
    wire,
)
from avwapd.demo_venue.candles import candles, last_price, newest
from avwapd.demo_venue.desk_shapes import ZERO, DeskEvent, DeskRefused, NewOrder, Order
from avwapd.demo_venue.sim import Sim, skewed_ms

IDS = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
DAY_MS = 86_400_000
LEAST_WINDOW_MS = 500  # of wall time: a fast market would leave a request no time to arrive
Params = Mapping[str, str]


class Binance:
    """Every public method of `params` answers one call, or raises Refused."""

    def __init__(self, sim: Sim) -> None:
        self.sim = sim
        self.unique = sim.desk.profile.refuses_duplicates
        # The desk knows an id for ever; here only resting orders keep theirs.
        sim.desk.profile = replace(sim.desk.profile, refuses_duplicates=False)
        self.symbols = {wire(symbol): symbol for symbol in sim.terms}
        self.weight = Weight(sim)
        self._ids = {order.number: order.id for order in sim.desk.all_orders()}
        sim.desk.on_event.append(self._remember)

    def _remember(self, event: DeskEvent) -> None:
        self._ids.setdefault(event.order.number, event.order.id)

    # ------------------------------------------------------------------------------------------------ who asks

    def check(self, params: Params, signed: str, key: str) -> None:
        """Key, signature (over the text `signed`) and timestamp of a signed request; raises Refused."""
        if self.sim.key:
            if key != self.sim.key:
                raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
            mac = hmac.new(self.sim.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
            if not hmac.compare_digest(mac, params.get("signature", "")):
                raise Refused(-1022, "Signature for this request is not valid.")
        sent_ms, window_ms = self.whole(params, "timestamp"), int(params.get("recvWindow", 5000))
        if window_ms > 60_000:
            raise Refused(-1131, "The value of 'recvWindow' must be less than 60000.")
        scale = max(1.0, self.sim.market.speed)
        now_ms = skewed_ms(self.sim)
        if sent_ms > now_ms + 1000 * scale:
            raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if now_ms - sent_ms > max(window_ms, LEAST_WINDOW_MS * scale):
            raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")

    def whole(self, params: Params, name: str, default: int | None = None) -> int:
        given = params.get(name, "")
        if given == "" and default is not None:
            return default
        if not re.fullmatch(r"-?\d{1,18}", given):
            raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return int(given)

    def symbol(self, params: Params) -> str:
        name = params.get("symbol", "")
        if not name:
            raise Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if name not in self.symbols:
            raise Refused(-1121, "Invalid symbol.")
        return self.symbols[name]

    def span(self, params: Params) -> int:
        span_ms = SPANS_MS.get(params.get("interval", ""), 0)
        if not span_ms or span_ms % self.sim.market.timeframe_ms:
            raise Refused(-1120, "Invalid interval.")
        return span_ms

    # ------------------------------------------------------------------------------------------------- public

    def exchange_info(self, params: Params) -> Any:
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_LIMIT}
        return {
            "timezone": "UTC",
            "serverTime": self.sim.market.now_ms(),
            "rateLimits": [limit],
            "exchangeFilters": [],
            "symbols": [market_row(terms) for terms in self.sim.terms.values()],
        }

    def time(self, params: Params) -> Any:
        return {"serverTime": skewed_ms(self.sim, counted=True)}

    def ping(self, params: Params) -> Any:
        return {}

    def klines(self, params: Params) -> Any:
        symbol, span_ms = self.symbol(params), self.span(params)
        limit = min(max(self.whole(params, "limit", 500), 1), 1000)
        end_ms = self.whole(params, "endTime", 1 << 61)
        if "startTime" in params:
            start_ms = self.whole(params, "startTime")
            last_ms = min(end_ms, start_ms + limit * span_ms * 4)
            found = candles(self.sim, symbol, span_ms, start_ms, last_ms)
            if len(found) < limit and last_ms < end_ms:
                found = candles(self.sim, symbol, span_ms, start_ms, end_ms)
            return [kline_row(candle) for candle in found[:limit]]
        end_ms = min(end_ms, self.sim.market.now_ms())
        return [kline_row(candle) for candle in newest(self.sim, symbol, span_ms, end_ms, limit)]

    def price(self, params: Params) -> Any:
        rows = [{"symbol": wire(symbol), "price": text(last_price(self.sim, symbol))} for symbol in self.sim.terms]
        return rows[list(self.sim.terms).index(self.symbol(params))] if "symbol" in params else rows

    def depth(self, params: Params) -> Any:
        price = last_price(self.sim, self.symbol(params))
        side = [[text(price), "1.00000000"]]
        return {"lastUpdateId": self.sim.market.now_ms(), "bids": side, "asks": side}

    def day(self, params: Params) -> Any:
        symbol, now_ms = self.symbol(params), self.sim.market.now_ms()
        found = candles(self.sim, symbol, self.sim.market.timeframe_ms, now_ms - DAY_MS, now_ms)
        last, volume = last_price(self.sim, symbol), sum(candle.volume for candle in found)
        return {
            "symbol": wire(symbol),
            "lastPrice": text(last),
            "bidPrice": text(last),
            "askPrice": text(last),
            "openPrice": str(found[0].open) if found else text(last),
            "highPrice": str(max((candle.high for candle in found), default=last)),
            "lowPrice": str(min((candle.low for candle in found), default=last)),
            "volume": f"{volume:.8f}",
            "quoteVolume": f"{volume * float(last):.8f}",
            "openTime": now_ms - DAY_MS,
            "closeTime": now_ms,
            "count": len(found),
        }

    # ------------------------------------------------------------------------------------------------ account

    def totals(self, stale: bool = True) -> list[tuple[str, Decimal, Decimal]]:
        """(coin, total, locked); as slow as the profile and the fault stale_positions have it."""
        desk = self.sim.desk
        fault = self.sim.faults.fires("stale_positions", "positions") if stale else None
        held = desk.positions(lag_ms=int(fault.value) if fault else None if stale else 0)
        locked = dict.fromkeys({coin for symbol in self.sim.terms for coin in coins(symbol)}, ZERO)
        for order in desk.live_orders():
            base, quote = coins(order.symbol)
            price = order.limit or order.stop
            if order.side < 0:
                locked[base] += order.rest
            elif price is not None:
                locked[quote] += order.rest * price
        totals = {coins(symbol)[0]: held.get(symbol, ZERO) for symbol in self.sim.terms} | {
            self.sim.currency: desk.cash
        }
        return [(coin, total, min(locked.get(coin, ZERO), total)) for coin, total in sorted(totals.items())]

    def account(self, params: Params) -> Any:
        bps = int(self.sim.desk.fees.bps)
        rate = f"{self.sim.desk.fees.bps / 10_000:.8f}"
        rows = balance_rows(self.totals())
        if params.get("omitZeroBalances") == "true":
            rows = [row for row in rows if Decimal(row["free"]) or Decimal(row["locked"])]
        return {
            "makerCommission": bps,
            "takerCommission": bps,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {"maker": rate, "taker": rate, "buyer": "0.00000000", "seller": "0.00000000"},
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "updateTime": self.sim.market.now_ms(),
            "accountType": "SPOT",
            "balances": rows,
            "permissions": ["SPOT"],
            "uid": 1,
        }

    def find(self, params: Params, missing: Refused) -> Order:
        """The order that orderId or origClientOrderId names, as the venue shows it."""
        symbol = self.symbol(params)
        if "orderId" in params:
            order = self.sim.desk.by_id(self._ids.get(self.whole(params, "orderId"), ""))
        elif "origClientOrderId" in params:
            order = self.sim.desk.by_client_id(params["origClientOrderId"])
        else:
            raise Refused(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        if order is None or order.symbol != symbol:
            raise missing
        return order

    def order(self, params: Params) -> Any:
        return order_row(self.find(params, Refused(-2013, "Order does not exist.")))

    def open_orders(self, params: Params) -> Any:
        symbol = self.symbol(params) if "symbol" in params else ""
        found = self.sim.desk.orders(open_only=True)
        return [order_row(order) for order in found if symbol in ("", order.symbol)]

    def all_orders(self, params: Params) -> Any:
        symbol, limit = self.symbol(params), min(self.whole(params, "limit", 500), 1000)
        first = self.whole(params, "orderId", 0)
        start_ms, end_ms = self.window(params)
        found = [
            order_row(order)
            for order in self.sim.desk.orders()
            if order.symbol == symbol and order.number >= first and start_ms <= order.created_ms <= end_ms
        ]
        return found[:limit] if first or start_ms else found[-limit:]

    def my_trades(self, params: Params) -> Any:
        symbol, limit = self.symbol(params), min(self.whole(params, "limit", 500), 1000)
        first, of_order = self.whole(params, "fromId", 0), self.whole(params, "orderId", 0)
        start_ms, end_ms = self.window(params)
        found = []
        for execution in self.sim.desk.executions(max(first - 1, 0)):
            order = self.sim.desk.by_id(execution.order_id)
            if order is None or execution.symbol != symbol or of_order not in (0, order.number):
                continue
            if start_ms <= execution.ts_ms <= end_ms:
                found.append(trade_row(execution, order))
        return found[:limit] if first or start_ms else found[-limit:]

    def window(self, params: Params) -> tuple[int, int]:
        start_ms, end_ms = self.whole(params, "startTime", 0), self.whole(params, "endTime", 1 << 61)
        if "startTime" in params and "endTime" in params and end_ms - start_ms > DAY_MS:
            raise Refused(-1127, "More than 24 hours between startTime and endTime.")
        return start_ms, end_ms

    # ------------------------------------------------------------------------------------------------- orders

    def wanted(self, params: Params) -> NewOrder:
        """The order that a request asks for; raises Refused as the venue's own checks do."""
        symbol = self.symbol(params)
        for name, known in (("side", {"BUY", "SELL"}), ("type", {*KINDS})):
            if name not in params:
                raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
            if params[name] not in known:
                raise Refused(*((-1117, "Invalid side.") if name == "side" else (-1116, "Invalid orderType.")))
        kind = KINDS[params["type"]]
        if kind in ("limit", "stop_limit") and "timeInForce" not in params:
            raise Refused(-1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed.")
        tif = TIFS.get(params.get("timeInForce", "GTC"))
        if tif is None:
            raise Refused(-1115, "Invalid timeInForce.")
        client_id = params.get("newClientOrderId", "")
        if client_id and not IDS.fullmatch(client_id):
            legal = "^[\\.A-Z\\:/a-z0-9_-]{1,36}$"
            raise Refused(-1100, f"Illegal characters found in parameter 'newClientOrderId'; legal range is '{legal}'.")
        return NewOrder(
            symbol=symbol,
            side=1 if params["side"] == "BUY" else -1,
            type=kind,
            qty=self.decimal(params, "quantity"),
            limit=self.decimal(params, "price") if kind in ("limit", "stop_limit") else None,
            stop=self.decimal(params, "stopPrice") if kind in ("stop", "stop_limit") else None,
            tif=tif,
            client_id=client_id,
        )

    def decimal(self, params: Params, name: str) -> Decimal:
        given = params.get(name, "")
        if not re.fullmatch(r"\d{1,20}(\.\d{1,20})?", given):
            reason = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
            raise Refused(-1102 if not given else -1100, reason if not given else f"Illegal characters in '{name}'.")
        return Decimal(given)

    def place(self, params: Params) -> Any:
        wanted = self.wanted(params)
        desk = self.sim.desk
        if self.unique and any(order.client_id == wanted.client_id for order in desk.live_orders()):
            raise Refused(-2010, "Duplicate order sent.")
        if wanted.stop is not None:
            last = last_price(self.sim, wanted.symbol)
            if last and wanted.side * (wanted.stop - last) <= 0:
                raise Refused(-2010, "Stop price would trigger immediately.")
        try:
            order = desk.submit(wanted)
        except DeskRefused as error:
            raise refused(error) from error
        fills = [one for one in desk.executions() if one.order_id == order.id] if order.filled else []
        return placed_row(order, fills, params.get("newOrderRespType", "FULL"))

    def cancel(self, params: Params) -> Any:
        order = self.find(params, Refused(-2011, "Unknown order sent."))
        try:
            self.sim.desk.cancel(order.id)
        except DeskRefused as error:
            raise refused(error) from error
        return canceled_row(order, params.get("newClientOrderId") or cancel_id(order), self.sim.market.now_ms())

    def cancel_replace(self, params: Params) -> Any:
        """Two acts in one request, and either may fail: the old order's cancel, then the new order."""
        self.wanted(params)
        named = {"symbol": params["symbol"]}
        named |= {"orderId": params["cancelOrderId"]} if "cancelOrderId" in params else {}
        named |= {"origClientOrderId": params["cancelOrigClientOrderId"]} if len(named) == 1 else {}
        canceled: Any = None
        try:
            canceled = self.cancel(named)
        except Refused as error:
            if params.get("cancelReplaceMode", "STOP_ON_FAILURE") == "STOP_ON_FAILURE":
                _both_failed(error, None)
            canceled = error
        try:
            placed = self.place(params)
        except Refused as error:
            if isinstance(canceled, Refused):
                _both_failed(canceled, error)
            raise HalfDone("SUCCESS", canceled, "FAILURE", error.body) from error
        if isinstance(canceled, Refused):
            raise HalfDone("FAILURE", canceled.body, "SUCCESS", placed)
        return {
            "cancelResult": "SUCCESS",
            "newOrderResult": "SUCCESS",
            "cancelResponse": canceled,
            "newOrderResponse": placed,
        }


class HalfDone(Refused):
    """A cancelReplace of which one half was done."""

    def __init__(self, cancel: str, canceled: Any, new: str, placed: Any) -> None:
        super().__init__(-2021, "Order cancel-replace partially failed.", 409)
        self.data = {"cancelResult": cancel, "newOrderResult": new}
        self.data |= {"cancelResponse": canceled, "newOrderResponse": placed}

    @property
    def body(self) -> dict[str, Any]:
        return {"code": self.code, "msg": self.message, "data": self.data}


def _both_failed(cancel: Refused, new: Refused | None) -> NoReturn:
    failed = HalfDone("FAILURE", cancel.body, "FAILURE" if new else "NOT_ATTEMPTED", new.body if new else None)
    failed.code, failed.message, failed.status = -2022, "Order cancel-replace failed.", 400
    raise failed from cancel
