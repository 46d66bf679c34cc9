"""What kraken's wire answers for an account and a market.

As at the venue: `cl_ord_id` is a UUID, 32 hex digits or at most 18 characters of lower case, and unique among resting
orders only (profile strict; the others take it twice); nonces grow; history is 720 candles, and cannot go back further.
Cancels and amendments name an order by txid or by cl_ord_id; questions for closed orders come in pages of 50.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar

from avwapd.demo_venue.candles import candles, last_price, newest
from avwapd.demo_venue.desk_shapes import ZERO, Change, DeskEvent, DeskRefused, NewOrder, Order
from avwapd.demo_venue.kraken_words import (
    BAD_CLIENT_ID,
    CLIENT_ID,
    KINDS,
    REFUSALS,
    TIFS,
    Refused,
    altname,
    asset_row,
    candle_row,
    described,
    long_coin,
    order_row,
    pair_id,
    pair_row,
    parts,
    refused,
    text,
    trade_row,
    tx_id,
)
from avwapd.demo_venue.sim import Sim, skewed_ms

PAGE, CANDLES = 50, 720
SPANS_MIN = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
Params = Mapping[str, str]
T = TypeVar("T")


class Kraken:
    """Every public method of `params` answers one call, or raises Refused."""

    def __init__(self, sim: Sim) -> None:
        self.sim = sim
        self.unique = sim.desk.profile.refuses_duplicates
        # The desk knows an id for ever; here only resting orders keep theirs.
        sim.desk.profile = replace(sim.desk.profile, refuses_duplicates=False)
        self.pairs = {name(symbol): symbol for symbol in sim.terms for name in (pair_id, altname)}
        self._nonce = 0
        self._ids: dict[str, str] = {}  # txid -> the desk's id of the order; an amended one keeps its txid
        self._txids: dict[str, str] = {}
        for order in sim.desk.all_orders():
            self._know(order)
        sim.desk.on_event.append(self._remember)

    def _remember(self, event: DeskEvent) -> None:
        if event.kind == "new":
            self._know(event.order)

    def _know(self, order: Order) -> None:
        if order.id not in self._txids:
            txid = self._txids.get(order.replaces) or tx_id("O", order.id)
            self._txids[order.id] = txid
            self._ids[txid] = order.id

    # ------------------------------------------------------------------------------------------------- public

    def time(self, params: Params) -> Any:
        now_ms = skewed_ms(self.sim, counted=True)
        return {"unixtime": now_ms // 1000, "rfc1123": ""}

    def status(self, params: Params) -> Any:
        return {"status": "online", "timestamp": ""}

    def assets(self, params: Params) -> Any:
        names = sorted({name for symbol in self.sim.terms for name in parts(symbol)})
        return {long_coin(name): asset_row(name) for name in names}

    def asset_pairs(self, params: Params) -> Any:
        fee_pct = self.sim.desk.fees.bps / 100
        return {pair_id(symbol): pair_row(terms, fee_pct) for symbol, terms in self.sim.terms.items()}

    def ohlc(self, params: Params) -> Any:
        symbol, span_min = self.pair(params), int(params.get("interval", "1"))
        span_ms = span_min * 60_000
        if span_min not in SPANS_MIN or span_ms % self.sim.market.timeframe_ms:
            raise Refused("EGeneral:Invalid arguments")
        found = newest(self.sim, symbol, span_ms, self.sim.market.now_ms(), CANDLES)
        since_ms = int(float(params.get("since", "0")) * 1000)
        rows = [candle_row(candle) for candle in found if candle.start_ms > since_ms]
        closed = [candle.start_ms // 1000 for candle in found if candle.closed]
        return {pair_id(symbol): rows, "last": closed[-1] if closed else 0}

    def ticker(self, params: Params) -> Any:
        symbol = self.pair(params)
        price, now_ms = text(last_price(self.sim, symbol), 1), self.sim.market.now_ms()
        found = candles(self.sim, symbol, self.sim.market.timeframe_ms, now_ms - 86_400_000, now_ms)
        volume = f"{sum(candle.volume for candle in found):.8f}"
        high = str(max((candle.high for candle in found), default=price))
        low = str(min((candle.low for candle in found), default=price))
        row: dict[str, Any] = {name: [price, "1", "1.000"] for name in "ab"}
        row |= {"c": [price, "0.00010000"], "v": [volume] * 2, "p": [price] * 2, "t": [len(found)] * 2}
        row |= {"l": [low] * 2, "h": [high] * 2, "o": str(found[0].open) if found else price}
        return {pair_id(symbol): row}

    def pair(self, params: Params) -> str:
        symbol = self.pairs.get(params.get("pair", ""))
        if symbol is None:
            raise Refused(REFUSALS["unknown_symbol"])
        return symbol

    # ------------------------------------------------------------------------------------------------ account

    def check(self, path: str, body: bytes, params: Params, headers: Mapping[str, str]) -> None:
        """Key, signature and nonce of a private call; raises Refused."""
        nonce = params.get("nonce", "")
        if not re.fullmatch(r"\d{1,20}", nonce):
            raise Refused("EAPI:Invalid nonce")
        if self.sim.key:
            if headers.get("API-Key") != self.sim.key:
                raise Refused("EAPI:Invalid key")
            try:
                secret = base64.b64decode(self.sim.secret, validate=True)
            except binascii.Error:
                secret = self.sim.secret.encode()
            digest = hashlib.sha256(nonce.encode() + body).digest()
            mac = base64.b64encode(hmac.new(secret, path.encode() + digest, hashlib.sha512).digest()).decode()
            if not hmac.compare_digest(mac, headers.get("API-Sign", "")):
                raise Refused("EAPI:Invalid signature")
        if int(nonce) <= self._nonce:
            raise Refused("EAPI:Invalid nonce")
        self._nonce = int(nonce)

    def totals(self) -> dict[str, tuple[Decimal, Decimal]]:
        """(balance, held for orders) by long name, as slow as the profile and the fault stale_positions have it."""
        desk = self.sim.desk
        fault = self.sim.faults.fires("stale_positions", "positions")
        held = desk.positions(lag_ms=int(fault.value)) if fault else desk.positions()
        locked: dict[str, Decimal] = {}
        for order in desk.live_orders():
            base, quote = parts(order.symbol)
            price = order.limit or order.stop
            if order.side < 0:
                locked[base] = locked.get(base, ZERO) + order.rest
            elif price is not None:
                locked[quote] = locked.get(quote, ZERO) + order.rest * price
        totals = {parts(symbol)[0]: held.get(symbol, ZERO) for symbol in self.sim.terms}
        totals[self.sim.currency] = desk.cash
        return {long_coin(name): (total, min(locked.get(name, ZERO), total)) for name, total in sorted(totals.items())}

    def balance(self, params: Params) -> Any:
        return {name: text(total, 10) for name, (total, _) in self.totals().items()}

    def balance_ex(self, params: Params) -> Any:
        return {
            name: {"balance": text(total, 10), "hold_trade": text(hold, 10)}
            for name, (total, hold) in self.totals().items()
        }

    # ------------------------------------------------------------------------------------------------- orders

    def row(self, order: Order, with_trades: bool) -> dict[str, Any]:
        chain = self.chain(order)
        whole = order
        for before in chain[1:]:
            whole = replace(
                whole,
                qty=whole.qty + before.filled,
                filled=whole.filled + before.filled,
                notional=whole.notional + before.notional,
                fee_quote=whole.fee_quote + before.fee_quote,
                created_ms=before.created_ms,
            )
        trades: list[str] | None = None
        if with_trades:
            ids = {one.id for one in chain}
            done = self.sim.desk.executions() if whole.filled else ()
            trades = [tx_id("T", one.id) for one in done if one.order_id in ids]
        return order_row(whole, self.sim.terms[order.symbol], trades)

    def chain(self, order: Order) -> list[Order]:
        """An amended order and what it was before, the newest first: one order to the customer."""
        found = [order]
        while before := self.sim.desk.get(found[-1].replaces):
            found.append(before)
        return found

    def rows(self, orders: Sequence[Order], params: Params) -> dict[str, Any]:
        with_trades = params.get("trades", "").lower() == "true"
        return {self._txids[order.id]: self.row(order, with_trades) for order in orders}

    def named(self, orders: Sequence[Order], params: Params) -> list[Order]:
        wanted = params.get("cl_ord_id")
        return [o for o in orders if wanted is None or o.extra.get("cl_ord_id") == wanted]

    def query_orders(self, params: Params) -> Any:
        asked = [self._ids.get(txid, "") for txid in params.get("txid", "").split(",")][:PAGE]
        found = [order for name in asked if (order := self.sim.desk.by_id(name)) is not None]
        return self.rows(found, params)

    def open_orders(self, params: Params) -> Any:
        return {"open": self.rows(self.named(self.sim.desk.orders(open_only=True), params), params)}

    def closed_orders(self, params: Params) -> Any:
        found = [o for o in self.sim.desk.orders() if not o.live and o.status != "replaced"]
        found = self.between(self.named(found, params), params, lambda order: order.updated_ms)
        page = self.page(found, params)
        return {"closed": self.rows(page, params), "count": len(found)}

    def trades_history(self, params: Params) -> Any:
        found = self.between(self.sim.desk.executions(), params, lambda execution: execution.ts_ms)
        rows = {}
        for execution in self.page(found, params):
            order = self.sim.desk.get(execution.order_id)
            if order is not None:
                rows[tx_id("T", execution.id)] = trade_row(execution, order, self._txids[order.id])
        return {"trades": rows, "count": len(found)}

    def between(self, found: Sequence[T], params: Params, at_ms: Callable[[T], int]) -> list[T]:
        """start is exclusive, end inclusive, both in seconds or the txid of an order; the newest first."""
        start_ms, end_ms = self.moment(params.get("start", "0")), self.moment(params.get("end", "1e15"))
        return [one for one in reversed(found) if start_ms < at_ms(one) <= end_ms]

    def moment(self, value: str) -> float:
        order = self.sim.desk.get(self._ids.get(value, ""))
        try:
            return order.created_ms if order else float(value) * 1000
        except ValueError:
            raise Refused("EGeneral:Invalid arguments") from None

    def page(self, found: Sequence[T], params: Params) -> Sequence[T]:
        first = int(params.get("ofs", "0"))
        return found[first : first + PAGE]

    def add_order(self, params: Params) -> Any:
        symbol, kind = self.pair(params), KINDS.get(params.get("ordertype", ""))
        tif = TIFS.get(params.get("timeinforce", "GTC"))
        if kind is None or tif is None or params.get("type") not in ("buy", "sell"):
            raise Refused(f"EGeneral:Invalid arguments:{'ordertype' if kind is None else 'type'}")
        client_id = params.get("cl_ord_id", "")
        if client_id and not CLIENT_ID.fullmatch(client_id):
            raise Refused(BAD_CLIENT_ID)
        if client_id and self.unique and self.resting(client_id) is not None:
            raise Refused(REFUSALS["duplicate"])
        stopped = kind in ("stop", "stop_limit")
        limit = "price2" if kind == "stop_limit" else "price"
        wanted = NewOrder(
            symbol=symbol,
            side=1 if params["type"] == "buy" else -1,
            type=kind,
            qty=self.decimal(params, "volume"),
            limit=self.decimal(params, limit) if kind in ("limit", "stop_limit") else None,
            stop=self.decimal(params, "price") if stopped else None,
            tif=tif,
            client_id=client_id,
            extra={"cl_ord_id": client_id or None},
        )
        if params.get("validate", "").lower() == "true":
            return {"descr": {"order": f"{params['type']} {params['volume']} {altname(symbol)}"}}
        try:
            order = self.sim.desk.submit(wanted)
        except DeskRefused as error:
            raise refused(error) from error
        return {"descr": {"order": described(order, self.sim.terms[symbol])}, "txid": [self._txids[order.id]]}

    def decimal(self, params: Params, name: str) -> Decimal:
        given = params.get(name, "")
        if not re.fullmatch(r"\d{1,20}(\.\d{1,20})?", given):
            raise Refused("EOrder:Invalid price:Invalid price argument" if name != "volume" else REFUSALS["bad_qty"])
        return Decimal(given)

    def resting(self, client_id: str) -> Order | None:
        return next((o for o in self.sim.desk.live_orders() if o.extra.get("cl_ord_id") == client_id), None)

    def targets(self, params: Params) -> list[Order]:
        """The live orders that a cancel or an amendment names, as the venue shows them."""
        shown = self.sim.desk.orders(open_only=True)
        if "cl_ord_id" in params:
            found = [o for o in shown if o.extra.get("cl_ord_id") == params["cl_ord_id"]]
        else:
            found = [o for o in shown if self._txids[o.id] == params.get("txid")]
        if not found:
            raise Refused(REFUSALS["not_found"])
        return found

    def cancel_order(self, params: Params) -> Any:
        found = self.targets(params)
        try:
            for order in found:
                self.sim.desk.cancel(order.id)
        except DeskRefused as error:
            raise refused(error) from error
        return {"count": len(found)}

    def amend_order(self, params: Params) -> Any:
        """Quantity and prices of a resting order; it keeps its txid and its cl_ord_id."""
        order = self.targets(params)[0]
        words = ("order_qty", "limit_price", "trigger_price")
        qty, limit, stop = (self.decimal(params, word) if word in params else None for word in words)
        if qty is not None:
            # It counts what has filled, the desk's replacement does not.
            qty -= sum((one.filled for one in self.chain(order)), start=ZERO)
            if qty <= 0:
                raise Refused(REFUSALS["bad_qty"])
        try:
            amended = self.sim.desk.replace(
                order.id, Change(qty=qty, limit=limit, stop=stop, client_id=order.client_id)
            )
        except DeskRefused as error:
            raise refused(error) from error
        return {"amend_id": tx_id("T", amended.id)}
