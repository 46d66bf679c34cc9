"""Kraken spot's words for what the desk and the market know: names, rows, refusals. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from avwapd.demo_venue.candles import Candle, exact
from avwapd.demo_venue.desk_shapes import ZERO, DeskRefused, Execution, Order
from avwapd.remote.terms import Terms, plain

ALTNAMES = {"BTC": "XBT", "DOGE": "XDG"}
LONG = {"XBT": "XXBT", "XDG": "XXDG", "ETH": "XETH", "LTC": "XLTC", "XRP": "XXRP", "XLM": "XXLM", "XMR": "XXMR"}
LONG |= {"ETC": "XETC", "USD": "ZUSD", "EUR": "ZEUR", "GBP": "ZGBP", "CAD": "ZCAD", "JPY": "ZJPY", "AUD": "ZAUD"}
TYPES = {"market": "market", "limit": "limit", "stop": "stop-loss", "stop_limit": "stop-loss-limit"}
KINDS = {word: kind for kind, word in TYPES.items()}
STATUSES = {
    "pending": "pending",
    "new": "open",
    "held": "open",
    "partially_filled": "open",
    "filled": "closed",
    "canceled": "canceled",
    "replaced": "canceled",
    "expired": "expired",
    "rejected": "canceled",
}
TIFS = {"GTC": "gtc", "IOC": "ioc"}
# 8-4-4-4-12 or 32 hex digits, or a short free text.
CLIENT_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}|[a-z0-9-]{1,18}")
BAD_CLIENT_ID = "EGeneral:Invalid arguments:cl_ord_id"
REFUSALS = {
    "bad_price": "EOrder:Invalid price:Invalid price argument",
    "bad_qty": "EGeneral:Invalid arguments:volume",
    "min_notional": "EGeneral:Invalid arguments:volume minimum not met",
    "unknown_symbol": "EQuery:Unknown asset pair",
    "buying_power": "EOrder:Insufficient funds",
    "held_qty": "EOrder:Insufficient funds",
    "not_shortable": "EOrder:Insufficient funds",
    "duplicate": f"{BAD_CLIENT_ID} not unique",
    "not_found": "EOrder:Unknown order",
    "not_cancelable": "EOrder:Unknown order",
    "bad_order": "EOrder:Invalid order",
}


class Refused(Exception):
    """An error as kraken words it, with HTTP 200."""

    def __init__(self, error: str, status: int = 200) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


def refused(error: DeskRefused) -> Refused:
    return Refused(REFUSALS.get(error.code, "EGeneral:Invalid arguments"))


def coin(name: str) -> str:
    """BTC -> XBT: the alternative name."""
    return ALTNAMES.get(name, name)


def long_coin(name: str) -> str:
    """BTC -> XXBT: the name in balances."""
    return LONG.get(coin(name), coin(name))


def parts(symbol: str) -> tuple[str, str]:
    """Base and quote of our symbol, as we call them."""
    base, _, quote = symbol.replace("/", "-").partition("-")
    return base, quote or "USD"  # a share, where somebody plays with one


def altname(symbol: str) -> str:
    """BTC-USD -> XBTUSD: the pair in orders and trades."""
    return "".join(coin(name) for name in parts(symbol))


def pair_id(symbol: str) -> str:
    """BTC-USD -> XXBTZUSD: old pairs join the long names, younger ones are their altname."""
    names = [long_coin(name) for name in parts(symbol)]
    return "".join(names) if all(len(name) == 4 and name[0] in "XZ" for name in names) else altname(symbol)


def decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -int(exponent))


def asset_row(name: str) -> dict[str, Any]:
    fiat = long_coin(name).startswith("Z")
    return {
        "aclass": "currency",
        "altname": coin(name),
        "decimals": 4 if fiat else 10,
        "display_decimals": 2 if fiat else 5,
        "status": "enabled",
    }


def pair_row(terms: Terms, fee_pct: Decimal) -> dict[str, Any]:
    base, quote = parts(terms.symbol)
    return {
        "altname": altname(terms.symbol),
        "wsname": f"{coin(base)}/{coin(quote)}",
        "aclass_base": "currency",
        "base": long_coin(base),
        "aclass_quote": "currency",
        "quote": long_coin(quote),
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": decimals(terms.tick),
        "lot_decimals": decimals(terms.lot),
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, float(fee_pct)]],
        "fees_maker": [[0, float(fee_pct)]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": plain(max(terms.min_qty, terms.lot)),
        "costmin": plain(terms.min_notional),
        "tick_size": plain(terms.tick),
        "status": "online",
    }


def candle_row(candle: Candle) -> list[Any]:
    """[second, open, high, low, close, vwap, volume, count]."""
    prices = [exact(value, 1) for value in (candle.open, candle.high, candle.low, candle.close)]
    count = 0 if candle.volume == 0 else 1
    return [candle.start_ms // 1000, *prices, exact(candle.close, 1), exact(candle.volume), count]


def text(value: Decimal | None, places: int) -> str:
    """At least `places` decimals, more where the value has more."""
    value = value or ZERO
    short = f"{value:.{places}f}"
    return short if Decimal(short) == value else format(value.normalize(), "f")


def described(order: Order, terms: Terms) -> str:
    """The sentence that an order's answer and its `descr` carry."""
    places = decimals(terms.tick)
    limit, stop = text(order.limit, places), text(order.stop, places)
    how = {
        "market": "market",
        "limit": f"limit {limit}",
        "stop": f"stop loss {stop}",
        "stop_limit": f"stop loss {stop} -> limit {limit}",
    }[order.type]
    return f"{'buy' if order.side > 0 else 'sell'} {text(order.qty, 8)} {altname(order.symbol)} @ {how}"


def order_row(order: Order, terms: Terms, trades: Sequence[str] | None = None) -> dict[str, Any]:
    """An order as questions for it are answered; trades: ids of its trades where they were asked for."""
    places = decimals(terms.tick)
    price, price2 = order.limit, None
    if order.stop is not None:
        price, price2 = order.stop, order.limit
    closed = {} if order.live else {"closetm": order.updated_ms / 1000, "reason": _reason(order)}
    stops = (
        {"stopprice": text(order.stop, 5), "trigger": "last"} if order.stop is not None else {"stopprice": "0.00000"}
    )
    return {
        "refid": None,
        "userref": None,
        "cl_ord_id": order.extra.get("cl_ord_id"),
        "status": STATUSES[order.status],
        "opentm": order.created_ms / 1000,
        "starttm": 0,
        "expiretm": 0,
        "descr": {
            "pair": altname(order.symbol),
            "type": "buy" if order.side > 0 else "sell",
            "ordertype": TYPES[order.type],
            "price": text(price, places) if price is not None else "0",
            "price2": text(price2, places) if price2 is not None else "0",
            "leverage": "none",
            "order": described(order, terms),
            "close": "",
        },
        "vol": text(order.qty, 8),
        "vol_exec": text(order.filled, 8),
        "cost": text(order.notional, 5),
        "fee": text(order.fee_quote, 5),
        "price": text(order.average and round(order.average, places + 5), 5),
        "limitprice": "0.00000",
        "misc": "",
        "oflags": "fciq",
        **stops,
        **closed,
        **({} if trades is None else {"trades": list(trades)}),
    }


def _reason(order: Order) -> str | None:
    return {"canceled": "User requested", "expired": "Order expired", "rejected": "Insufficient funds"}.get(
        order.status
    )


def trade_row(execution: Execution, order: Order, order_id: str) -> dict[str, Any]:
    return {
        "ordertxid": order_id,
        "postxid": "TKH2SE-M7IF5-CFI7LT",
        "pair": pair_id(execution.symbol),
        "time": execution.ts_ms / 1000,
        "type": "buy" if execution.side > 0 else "sell",
        "ordertype": TYPES[order.type],
        "price": text(execution.price, 5),
        "cost": text(execution.qty * execution.price, 5),
        "fee": text(execution.fee_quote, 5),
        "vol": text(execution.qty, 8),
        "margin": "0.00000",
        "leverage": "0",
        "misc": "",
        "trade_id": execution.number,
        "maker": order.type == "limit",
    }


def tx_id(letter: str, uuid: str) -> str:
    """Kraken's kind of id from a uuid: OABCDE-FGHIJ-KLMNOP."""
    digits = uuid.replace("-", "").upper()
    return f"{letter}{digits[:5]}-{digits[5:10]}-{digits[10:16]}"
