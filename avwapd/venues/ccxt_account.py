"""One account at a ccxt exchange, asked and told in our shapes; raises what avwapd.remote raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from avwapd.ports import Clock
from avwapd.remote.calls import NoAnswer
from avwapd.remote.ccxt import QUESTION, SENDING, Exchange
from avwapd.remote.ccxt_errors import Refused
from avwapd.remote.terms import Terms
from avwapd.venues.ccxt_words import SIDES, Reader, Seen, Trade, Unreadable
from avwapd.venues.port import KILLED, Request

PAGE_ROUNDS = 40  # pages of trades that one reading may take
SIDE = {number: word for word, number in SIDES.items()}


class Account:
    """`settling_ms`: of market time, in which a request in doubt may still turn up."""

    def __init__(self, exchange: Exchange, terms: Mapping[str, Terms], clock: Clock, *, settling_ms: int) -> None:
        self.exchange = exchange
        self.row = exchange.row
        self.terms = terms
        self.reader = Reader(exchange.row, terms)
        self._clock = clock
        self._settling_ms = settling_ms
        self.stopped: Callable[[], bool] = lambda: False  # nothing that opens may leave

    # -------------------------------------------------------------------------------------------------- telling

    async def create(self, request: Request, *, kind: str = SENDING) -> tuple[str, list[Trade], Seen | None]:
        """(the venue's id, executions told at once, the order where the answer shows it whole)."""
        terms, row = self.terms[request.symbol], self.row
        if request.type == "stop" and not row.stop:
            raise refusal(f"no native stop orders at {row.name} through ccxt")
        if request.type == "market" and (not row.market_orders or (request.side > 0 and not row.market_buys)):
            raise refusal(f"no market orders of this kind at {row.name} through ccxt")
        there = row.to_venue(request.cid)
        params: dict[str, Any] = {**row.create_params, **row.fee_params, row.create_id: there}
        if request.type == "stop":
            params[row.stop] = terms.price_text(request.stop_ticks)
            if row.stop_id:
                params[row.stop_id] = there
        if row.fence == "nonce" and self._settling_ms >= 2000:
            until_ms = self._clock.now_ms() + min(self._settling_ms, 60_000)
            params["deadline"] = self.exchange.api.iso8601(until_ms)
        raw = await self.exchange.ask(
            kind,
            "create_order",
            terms.wire,
            "limit" if request.type == "limit" else "market",
            SIDE[request.side],
            terms.qty_text(request.qty),
            terms.price_text(request.limit_ticks) if request.type == "limit" else None,
            params,
            look=self._look if request.purpose == "entry" else None,
        )
        venue_id = str(raw.get("id") or "") if isinstance(raw, dict) else ""
        told = raw.get("clientOrderId") if venue_id and not row.true_cid else None
        if not venue_id or (told and row.from_venue(str(told)) != request.cid):
            raise Unreadable(f"the answer is about order {venue_id or 'nothing'}, {told or 'no id of ours'}")
        trades = []
        for trade in raw.get("trades") or ():
            try:
                trades.append(
                    self.reader.trade(
                        {**trade, "order": venue_id, "timestamp": trade.get("timestamp") or raw.get("timestamp")}
                    )
                )
            except Unreadable:
                break  # it was taken; the executions will be asked for
        try:
            seen = self.reader.order(raw)
        except Unreadable:
            seen = None
        return venue_id, trades, seen

    def _look(self) -> None:
        """Before the bytes leave, after every wait for a turn. Raises Refused."""
        if self.stopped():
            raise refusal(KILLED)

    async def cancel(self, kind: str, symbol: str, cid: str, venue_id: str, *, stop: bool) -> Seen | None:
        """Ask for a cancel; the order where the answer shows it whole. kind: of Exchange.ask.

        Raises Refused of kind not_found where the venue knows no such open order.
        """
        row, wire = self.row, self.terms[symbol].wire
        params = dict(row.apart or {}) if stop else {}
        if row.cancel_id and not (venue_id and row.name == "kraken"):
            params[row.cancel_id] = row.to_venue(cid)
            raw = await self.exchange.ask(kind, "cancel_order", None if not row.apart else "", wire, params)
        elif venue_id:
            raw = await self.exchange.ask(kind, "cancel_order", venue_id, wire, params)
        else:
            raise NoAnswer("the order's id at the venue is not known, and it cannot be canceled by ours")
        try:
            seen = self.reader.order(raw)
        except Unreadable:
            return None
        info = raw.get("info")
        named = isinstance(info, dict) and info.get("origClientOrderId") == row.to_venue(cid)
        return replace(seen, cid=cid) if named or (venue_id and seen.venue_id == venue_id) else seen

    async def cancel_foreign(self, venue_id: str, symbol: str) -> None:
        """symbol: ours, or the venue's where it is none of ours."""
        wire = self.terms[symbol].wire if symbol in self.terms else symbol
        await self.exchange.ask("exit", "cancel_order", venue_id, wire)

    # --------------------------------------------------------------------------------------------------- asking

    async def find(
        self, cid: str, symbol: str, *, stop: bool = False, venue_id: str = "", kind: str = QUESTION
    ) -> Seen | None:
        """The order with our id `cid`; None where the venue says that it knows none.

        venue_id: where it is known, for a venue that finds by its own id what it does not find by ours.
        """
        wire, row = self.terms[symbol].wire, self.row
        if row.look == "open_then_closed":
            if venue_id:
                return await self._fetch(cid, wire, venue_id, {}, kind)
            there = {row.look_id: row.to_venue(cid)}
            for method in ("fetch_open_orders", "fetch_closed_orders"):
                found = self._listed(await self.exchange.ask(kind, method, None, None, None, dict(there)))
                for order in found:
                    if order.cid == cid:
                        return order
            return None
        if row.look == "fetch_order" and not (stop and row.stop_look == "none"):
            params = {**row.look_params, row.look_id: row.to_venue(cid)}
            if stop and row.apart:
                params |= row.apart
            return await self._fetch(cid, wire, "", params, kind)
        if venue_id:
            return await self._fetch(cid, wire, venue_id, dict(row.apart or {}) if stop else {}, kind)
        raise NoAnswer(f"{row.name} cannot be asked for an order by our id")

    async def _fetch(self, cid: str, wire: str, venue_id: str, params: dict[str, Any], kind: str) -> Seen | None:
        try:
            raw = await self.exchange.ask(kind, "fetch_order", venue_id, wire, params)
        except Refused as refused:
            if refused.kind == "not_found":
                return None
            raise NoAnswer(f"a question was refused: {refused.message}") from refused
        order = self.reader.order(raw)
        if order.cid != cid or order.wire != wire:
            raise Unreadable(f"asked for {cid} of {wire}, told of {order.cid or order.venue_id} of {order.wire}")
        return order

    async def open_orders(self, *, everywhere: bool = True) -> list[Seen]:
        """What rests; everywhere: on markets that are none of ours too, where one call tells all."""
        found: list[Seen] = []
        wires: list[str | None] = [None] if self.row.open_all and everywhere else [t.wire for t in self.terms.values()]
        for wire in wires:
            found += self._listed(await self._ask("fetch_open_orders", wire))
            if self.row.apart:
                found += self._listed(await self._ask("fetch_open_orders", wire, None, None, dict(self.row.apart)))
        return found

    def _listed(self, raw: Any) -> list[Seen]:
        if not isinstance(raw, list):
            raise Unreadable("orders are no list")
        return [self.reader.order(item) for item in raw]

    async def trades(self, symbol: str, since_ms: int) -> list[Trade]:
        """Our executions from since_ms on, oldest first, all of them."""
        wire = self.terms[symbol].wire
        found: dict[str, Trade] = {}
        at_ms, offset = since_ms, 0
        for _ in range(PAGE_ROUNDS):
            if self.row.look == "open_then_closed":  # pages of 50, the newest first
                raw = await self._ask("fetch_my_trades", None, since_ms, None, {"ofs": offset} if offset else {})
            else:
                raw = await self._ask("fetch_my_trades", wire, at_ms)
            if not isinstance(raw, list):
                raise Unreadable("trades are no list")
            page = [self.reader.trade(item) for item in raw]
            fresh = [trade for trade in page if trade.exec_id not in found]
            found |= {trade.exec_id: trade for trade in fresh}
            if self.row.look == "open_then_closed":
                offset += 50
                if len(page) < 50:
                    break
            elif not fresh or len(page) < 50:
                break
            else:
                at_ms = max(at_ms, max(trade.ts_ms for trade in page))
        else:
            raise NoAnswer("the account's trades do not end")
        ours = [trade for trade in found.values() if trade.symbol == symbol]
        return sorted(ours, key=lambda trade: (trade.ts_ms, trade.exec_id))

    async def balances(self) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
        """(total, free) by coin."""
        return self.reader.balances(await self._ask("fetch_balance"))

    async def _ask(self, method: str, *args: Any) -> Any:
        """A question whose refusal is no answer."""
        try:
            return await self.exchange.ask(QUESTION, method, *args)
        except Refused as refused:
            raise NoAnswer(f"a question was refused: {refused.message}") from refused


def refusal(reason: str) -> Refused:
    """Of our own, before anything leaves."""
    return Refused("bad_order", 0, 0, reason, None)
