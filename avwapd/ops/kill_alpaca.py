"""Alpaca for the kill program: five requests over a session of its own, each with one deadline."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import requests

from avwapd.ops.kill_plan import KILL_PREFIX, Outcome, Resting
from avwapd.ports import Clock
from avwapd.remote.addresses import HOSTS, Addresses
from avwapd.remote.alpaca import sort_answer
from avwapd.remote.calls import Calls, NoAnswer, Rejected, joined
from avwapd.remote.credentials import Credentials
from avwapd.remote.session import BoundedSession
from avwapd.remote.terms import Terms
from avwapd.store.kill_note import Sale

THREADS = 8
CALL_S = 3.0
AT_ONCE = 500
SIDES = {"buy": 1, "sell": -1, "sell_short": -1}
OVER = ("filled", "canceled", "expired", "rejected", "replaced")
NOT_FOUND, DUPLICATE = 404, 40010001


class AlpacaDesk:
    """terms: by our symbol; mode: whose host, where the configuration names none."""

    name = "alpaca"
    marked = True
    prefix = KILL_PREFIX

    def __init__(
        self, where: Addresses, keys: Credentials, mode: str, terms: Mapping[str, Terms], clock: Clock
    ) -> None:
        self._base = (where.trading or f"https://{HOSTS['alpaca'][mode][0]}") + "/v2"
        self._headers = {"APCA-API-KEY-ID": keys.key.reveal(), "APCA-API-SECRET-KEY": keys.secret.reveal()}
        self._terms = terms
        self._session = BoundedSession(THREADS)
        self._calls = Calls("kill", THREADS, clock)
        self._names = {wire: symbol for symbol, one in terms.items() for wire in (one.wire, one.wire.replace("/", ""))}

    async def close(self) -> None:
        self._calls.close()
        self._session.close()

    # --------------------------------------------------------------------------------------------------- asking

    async def open_orders(self) -> list[Resting]:
        query = {"status": "open", "limit": str(AT_ONCE), "direction": "desc", "nested": "false"}
        rows = listing(await self._ask("GET", "/orders", query=query))
        return [self._resting(row) for row in rows]  # beyond 500: what is canceled makes room for the others

    def _resting(self, row: dict[str, Any]) -> Resting:
        wire = str(row.get("symbol") or "")
        kind = str(row.get("type") or row.get("order_type") or "")
        return Resting(
            cid=str(row.get("client_order_id") or ""),
            venue_id=str(row.get("id") or ""),
            symbol=self._names.get(wire, wire),
            side=SIDES.get(str(row.get("side")), 0),
            qty=figure(row, "qty"),
            stop="stop" in kind,
        )

    async def positions(self) -> dict[str, Decimal]:
        held = {}
        for row in listing(await self._ask("GET", "/positions")):
            wire, qty = str(row.get("symbol") or ""), figure(row, "qty")
            held[self._names.get(wire, wire)] = -abs(qty) if row.get("side") == "short" else qty
        return held

    async def outcome(self, sale: Sale) -> Outcome | None:
        try:
            row = await self._ask("GET", "/orders:by_client_order_id", query={"client_order_id": sale.cid})
        except Rejected as no:
            if no.status == NOT_FOUND:
                return None
            raise
        if not isinstance(row, dict) or row.get("client_order_id") != sale.cid:
            raise NoAnswer("the answer is about another order")
        return Outcome(figure(row, "filled_qty"), figure(row, "filled_avg_price"), row.get("status") in OVER)

    # -------------------------------------------------------------------------------------------------- telling

    async def cancel(self, order: Resting) -> None:
        await self._ask("DELETE", f"/orders/{order.venue_id}")

    async def sell(self, sale: Sale) -> None:
        terms = self._terms.get(sale.symbol)
        body = {
            "symbol": terms.wire if terms else sale.symbol,
            "side": "sell" if sale.side < 0 else "buy",
            "type": "market",
            "qty": sale.qty,
            "time_in_force": "gtc" if terms is not None and terms.asset != "equity" else "day",
            "client_order_id": sale.cid,
        }
        try:
            await self._ask("POST", "/orders", body=body)
        except Rejected as no:
            if no.code != DUPLICATE and "unique" not in no.message:
                raise

    async def _ask(
        self, method: str, path: str, *, query: dict[str, str] | None = None, body: dict[str, str] | None = None
    ) -> Any:
        """Raises NoAnswer, Shut or Rejected."""
        answer = await self._calls.run(lambda: self._call(method, path, query, body), CALL_S)
        if not 200 <= answer.status_code < 300:
            raise sort_answer(answer.status_code, answer.headers, answer.content)
        if answer.status_code == 204 or not answer.content:
            return None
        try:
            return answer.json()
        except requests.RequestException as error:
            raise NoAnswer(str(error)) from error

    def _call(self, method: str, path: str, query: Any, body: Any) -> requests.Response:
        try:
            return self._session.request(method, self._base + path, params=query, json=body, headers=self._headers)
        except (requests.RequestException, OSError, ValueError) as error:
            raise NoAnswer(joined(type(error).__name__, str(error))) from error


def listing(value: Any) -> list[dict[str, Any]]:
    """Raises NoAnswer for anything but a list of objects."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise NoAnswer("the answer is no list")
    return value


def figure(row: Mapping[str, Any], name: str) -> Decimal:
    """0 where there is none. Raises NoAnswer for what is no number."""
    value = row.get(name)
    if value in (None, ""):
        return Decimal(0)
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise NoAnswer(f"{name} is no number") from None
    if not found.is_finite():
        raise NoAnswer(f"{name} is no number")
    return found
