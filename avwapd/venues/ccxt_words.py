"""What ccxt's structures say, in our shapes: exact decimals or nothing; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from avwapd.remote.calls import NoAnswer, Rejected, Shut, joined, shortened
from avwapd.remote.ccxt_errors import Refused
from avwapd.remote.ccxt_table import Row
from avwapd.remote.terms import Terms, plain
from avwapd.venues.port import Holding, VenueDoubt, VenueOrder, VenueRefused, VenueShut

ZERO = Decimal(0)
MOST = Decimal(10) ** 18
SIDES = {"buy": 1, "sell": -1}
STATES = {
    "open": "live",
    "pending": "live",
    "closed": "filled",
    "canceled": "canceled",
    "canceling": "live",
    "expired": "canceled",
    "rejected": "rejected",
}


class Unreadable(NoAnswer):
    """An answer that lacks what it must say, or says what cannot be."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An order as the exchange tells it. qty, filled: units of the asset; symbol: as we call it, "" for others."""

    cid: str
    venue_id: str
    symbol: str
    wire: str
    side: int
    type: str  # market | limit | stop
    qty: Decimal
    filled: Decimal
    limit: Decimal
    stop: Decimal
    state: str  # live | filled | canceled | rejected
    expired: bool
    ts_ms: int  # of its last change, else its making; 0 where it does not say
    made_ms: int

    def as_venue_order(self, terms: Terms) -> VenueOrder:
        return VenueOrder(
            self.cid,
            self.venue_id,
            self.symbol,
            self.side,
            self.type,
            terms.lots(self.qty),
            terms.ticks(self.limit),
            terms.ticks(self.stop),
            terms.lots(self.filled),
            self.state,
        )


@dataclass(frozen=True, slots=True)
class Trade:
    """One execution of an order of the account. fee_quote, fee_base: in the symbol's own coins; else: in another."""

    exec_id: str
    venue_id: str  # of the order
    symbol: str
    ts_ms: int
    qty: Decimal
    price: Decimal
    fee_quote: Decimal
    fee_base: Decimal
    elsewhere: bool  # a fee in a coin that is neither


class Reader:
    """Reads one exchange's structures. `terms`: by our symbol, with ccxt's name of it as `wire`."""

    def __init__(self, row: Row, terms: Mapping[str, Terms]) -> None:
        self.row = row
        self.terms = terms
        self._ours = {term.wire: symbol for symbol, term in terms.items()}
        self.bases: dict[str, str] = {}
        for symbol, term in terms.items():
            base = term.wire.split("/")[0]
            if base in self.bases:
                raise ValueError(f"{symbol} and {self.bases[base]} share the coin {base}: who holds it?")
            self.bases[base] = symbol

    def order(self, raw: Any) -> Seen:
        """Raises Unreadable."""
        if not isinstance(raw, dict):
            raise Unreadable("an order is no object")
        info = raw.get("info") if isinstance(raw.get("info"), dict) else {}
        assert isinstance(info, dict)
        told = info.get(self.row.true_cid) if self.row.true_cid else raw.get("clientOrderId")
        state = STATES.get(str(raw.get("status")))
        side = SIDES.get(str(raw.get("side")))
        wire, venue_id = raw.get("symbol"), raw.get("id")
        if state is None or side is None or not isinstance(wire, str) or not venue_id:
            raise Unreadable(
                f"an order of status {raw.get('status')}, side {raw.get('side')}, symbol {wire}, id {venue_id}"
            )
        stop = next((raw[key] for key in ("stopLossPrice", "triggerPrice", "stopPrice") if raw.get(key)), None)
        kind = "stop" if stop else "market" if raw.get("type") == "market" else "limit"
        made, changed = raw.get("timestamp"), raw.get("lastUpdateTimestamp") or raw.get("lastTradeTimestamp")
        qty, filled = number(raw.get("amount"), "amount"), number(raw.get("filled"), "filled")
        if qty <= 0 or filled < 0:
            raise Unreadable(f"an order of {qty}, of which {filled} are filled")
        if state == "filled" and filled < qty:
            state = "canceled"
        return Seen(
            cid=self.row.from_venue(told if isinstance(told, str) else None),
            venue_id=str(venue_id),
            symbol=self._ours.get(wire, ""),
            wire=wire,
            side=side,
            type=kind,
            qty=qty,
            filled=filled,
            limit=number(raw.get("price"), "price") if kind == "limit" else ZERO,
            stop=number(stop, "stop price") if stop else ZERO,
            state=state,
            expired=raw.get("status") == "expired",
            ts_ms=int(changed or made or 0),
            made_ms=int(made or 0),
        )

    def trade(self, raw: Any) -> Trade:
        """Raises Unreadable."""
        if not isinstance(raw, dict) or not raw.get("id") or not raw.get("order") or not raw.get("timestamp"):
            raise Unreadable("a trade without its id, order or time")
        wire = str(raw.get("symbol"))
        symbol = self._ours.get(wire, "")
        fees = raw.get("fees") or ([raw["fee"]] if raw.get("fee") else [])
        base, _, quote = wire.partition("/")
        return self._traded(str(raw["id"]), str(raw["order"]), symbol, base, quote, int(raw["timestamp"]), raw, fees)

    def execution(self, info: Any) -> tuple[str, Trade] | None:
        """Of a raw order event of binance's stream: (cid, trade), None where nothing was traded."""
        if (
            not isinstance(info, dict)
            or info.get("x") != "TRADE"
            or not isinstance(info.get("t"), int)
            or info["t"] < 0
        ):
            return None
        symbol = next((s for s, t in self.terms.items() if t.wire.replace("/", "") == info.get("s")), "")
        if not symbol or not info.get("i") or not info.get("T"):
            return None
        base, _, quote = self.terms[symbol].wire.partition("/")
        fees = [{"cost": info.get("n"), "currency": info.get("N")}] if info.get("N") else []
        values = {"amount": info.get("l"), "price": info.get("L")}
        made = self._traded(str(info["t"]), str(info["i"]), symbol, base, quote, int(info["T"]), values, fees)
        return self.row.from_venue(str(info.get("C") or info.get("c") or "")), made

    def _traded(
        self,
        trade_id: str,
        order_id: str,
        symbol: str,
        base: str,
        quote: str,
        ts_ms: int,
        values: Mapping[str, Any],
        fees: Any,
    ) -> Trade:
        qty, price = number(values.get("amount"), "amount"), number(values.get("price"), "price")
        if qty <= 0 or price <= 0:
            raise Unreadable(f"a trade of {qty} at {price}")
        in_quote, in_base, elsewhere = ZERO, ZERO, False
        for fee in fees:
            if not isinstance(fee, dict) or fee.get("cost") is None:
                continue
            cost = number(fee["cost"], "fee")
            if fee.get("currency") == quote:
                in_quote += cost
            elif fee.get("currency") == base:
                in_base += cost
            elif cost:
                elsewhere = True
        exec_id = f"{symbol}:{trade_id}" if self.row.ids_by_market else trade_id
        return Trade(exec_id, order_id, symbol, ts_ms, qty, price, in_quote, in_base, elsewhere)

    def balances(self, raw: Any) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
        """(total, free) by coin. Raises Unreadable for an answer that does not hold balances where they must be."""
        if not isinstance(raw, dict):
            raise Unreadable("balances are no object")
        info = raw.get("info")
        for key in self.row.paths.get("fetch_balance", self.row.path):
            info = info.get(key) if isinstance(info, dict) else None
        if not isinstance(info, (list, dict)):
            raise Unreadable("an answer without balances")
        totals, free = raw.get("total"), raw.get("free")
        if not isinstance(totals, dict) or not isinstance(free, dict) or len(totals) < _coins(info):
            raise Unreadable("balances that could not all be read")
        return (
            {coin: number(value, coin) for coin, value in totals.items()},
            {coin: number(value, coin) for coin, value in free.items() if value is not None},
        )

    def holdings(self, totals: Mapping[str, Decimal], cash: str) -> tuple[dict[str, Holding], dict[str, str]]:
        """(ours by symbol, what else is held by coin as decimal text); `cash`: the coin that is money."""
        held: dict[str, Holding] = {}
        foreign: dict[str, str] = {}
        for coin, total in totals.items():
            symbol = self.bases.get(coin)
            if symbol is not None and total:
                terms = self.terms[symbol]
                held[symbol] = Holding(symbol, terms.lots(total), plain(terms.rest(total)))
            elif total and coin != cash:
                foreign[coin] = plain(total)
        return held, foreign


def _coins(info: Any) -> int:
    """How many balances an answer holds at the least, as far as its shape tells: a list has one each."""
    return (
        len({str(item.get("asset")) for item in info if isinstance(item, dict) and item.get("asset")})
        if isinstance(info, list)
        else 0
    )


def number(value: Any, what: str) -> Decimal:
    """A finite decimal of a plausible size. Raises Unreadable."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            read = Decimal(value)
        except InvalidOperation:
            read = Decimal("NaN")
        if read.is_finite() and abs(read) < MOST:
            return read
    raise Unreadable(f"{what} is {str(value)[:40]!r}")


def border(error: NoAnswer | Shut | Rejected) -> VenueDoubt | VenueRefused:
    """The same in the port's words."""
    if isinstance(error, Shut):
        return VenueShut(error.reason, error.retry_s)
    if isinstance(error, Rejected):
        kind = error.kind if isinstance(error, Refused) else "bad_order"
        return VenueRefused(shortened(joined(kind, error.message)), duplicate=kind == "duplicate")
    return VenueDoubt(shortened(str(error)))
