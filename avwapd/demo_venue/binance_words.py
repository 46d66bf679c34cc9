"""Binance spot's words for what the desk and the market know: rows, reports, refusals. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from avwapd.demo_venue.candles import Candle, exact
from avwapd.demo_venue.desk_shapes import ZERO, DeskEvent, DeskRefused, Execution, Order
from avwapd.remote.terms import Terms

TYPES = {"market": "MARKET", "limit": "LIMIT", "stop": "STOP_LOSS", "stop_limit": "STOP_LOSS_LIMIT"}
KINDS = {word: kind for kind, word in TYPES.items()}
TIFS = {"GTC": "gtc", "IOC": "ioc", "FOK": "fok"}
STATUSES = {
    "pending": "NEW",
    "new": "NEW",
    "held": "NEW",
    "partially_filled": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "canceled": "CANCELED",
    "replaced": "CANCELED",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
}
EXECUTIONS = {  # the desk's event -> the report's execution type; other events have no report
    "new": "NEW",
    "fill": "TRADE",
    "partial_fill": "TRADE",
    "canceled": "CANCELED",
    "replaced": "CANCELED",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
}
SPANS = {"1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14400, "6h": 21600}
SPANS |= {"8h": 28800, "12h": 43200, "1d": 86400}
SPANS_MS = {name: seconds * 1000 for name, seconds in SPANS.items()}

FUNDS = (-2010, "Account has insufficient balance for requested action.")
REFUSALS = {
    "bad_price": (-1013, "Filter failure: PRICE_FILTER"),
    "bad_qty": (-1013, "Filter failure: LOT_SIZE"),
    "min_notional": (-1013, "Filter failure: NOTIONAL"),
    "unknown_symbol": (-1121, "Invalid symbol."),
    "buying_power": FUNDS,
    "held_qty": FUNDS,
    "not_shortable": FUNDS,
    "duplicate": (-2010, "Duplicate order sent."),
    "not_found": (-2011, "Unknown order sent."),
    "not_cancelable": (-2011, "Unknown order sent."),
}


class Refused(Exception):
    """An error as binance words it: an HTTP status, a code, a message."""

    def __init__(self, code: int, message: str, status: int = 400, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        return {"code": self.code, "msg": self.message}


def refused(error: DeskRefused) -> Refused:
    return Refused(*REFUSALS.get(error.code, (-1013, "Invalid message.")))


def coins(symbol: str) -> tuple[str, str]:
    """Base and quote of our symbol."""
    base, _, quote = symbol.replace("/", "-").partition("-")
    return base, quote or "USD"  # a share, where somebody plays with one


def wire(symbol: str) -> str:
    """BTC-USD -> BTCUSD."""
    return "".join(coins(symbol))


def text(value: Decimal | None) -> str:
    """Eight decimals, more where the value has more."""
    value = value or ZERO
    short = f"{value:.8f}"
    return short if Decimal(short) == value else format(value.normalize(), "f")


def market_row(terms: Terms) -> dict[str, Any]:
    """A symbol of exchangeInfo."""
    base, quote = coins(terms.symbol)
    lot = {"minQty": text(max(terms.min_qty, terms.lot)), "maxQty": "9000.00000000", "stepSize": text(terms.lot)}
    notional = {
        "minNotional": text(terms.min_notional),
        "applyMinToMarket": True,
        "maxNotional": "9000000.00000000",
        "applyMaxToMarket": False,
        "avgPriceMins": 5,
    }
    return {
        "symbol": base + quote,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": False,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": text(terms.tick),
                "maxPrice": "1000000.00000000",
                "tickSize": text(terms.tick),
            },
            {"filterType": "LOT_SIZE"} | lot,
            {"filterType": "NOTIONAL"} | notional,
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_MAKER"],
    }


def kline_row(candle: Candle) -> list[Any]:
    head = [exact(value) for value in (candle.open, candle.high, candle.low, candle.close, candle.volume)]
    quote = f"{candle.close * candle.volume:.8f}"
    return [candle.start_ms, *head, candle.end_ms - 1, quote, 1, "0.00000000", "0.00000000", "0"]


def kline_event(symbol: str, span: str, candle: Candle, now_ms: int) -> dict[str, Any]:
    kline = {
        "t": candle.start_ms,
        "T": candle.end_ms - 1,
        "s": wire(symbol),
        "i": span,
        "f": 1,
        "L": 1,
        "o": exact(candle.open),
        "c": exact(candle.close),
        "h": exact(candle.high),
        "l": exact(candle.low),
        "v": exact(candle.volume),
        "n": 1,
        "x": candle.closed,
        "q": f"{candle.close * candle.volume:.8f}",
        "V": "0.00000000",
        "Q": "0.00000000",
        "B": "0",
    }
    return {"e": "kline", "E": now_ms, "s": wire(symbol), "k": kline}


def order_row(order: Order) -> dict[str, Any]:
    """An order as questions for it are answered."""
    return {
        "symbol": wire(order.symbol),
        "orderId": order.number,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": text(order.limit),
        "origQty": text(order.qty),
        "executedQty": text(order.filled),
        "cummulativeQuoteQty": text(order.notional),
        "status": STATUSES[order.status],
        "timeInForce": order.tif.upper(),
        "type": TYPES[order.type],
        "side": "BUY" if order.side > 0 else "SELL",
        "stopPrice": text(order.stop),
        "icebergQty": "0.00000000",
        "time": order.created_ms,
        "updateTime": order.updated_ms or order.created_ms,
        "isWorking": order.stop is None or order.filled > 0,
        "workingTime": order.created_ms if order.stop is None else -1,
        "origQuoteOrderQty": "0.00000000",
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def placed_row(order: Order, executions: Iterable[Execution], kind: str) -> dict[str, Any]:
    """The answer to a new order; kind: ACK | RESULT | FULL."""
    row = order_row(order)
    short = {name: row[name] for name in ("symbol", "orderId", "orderListId", "clientOrderId")}
    short["transactTime"] = order.created_ms
    if kind == "ACK":
        return short
    result = short | {name: row[name] for name in row if name not in {*short, "time", "updateTime", "isWorking"}}
    if kind == "FULL":
        result["fills"] = [fill_row(execution) for execution in executions]
    return result


def canceled_row(order: Order, client_id: str, now_ms: int) -> dict[str, Any]:
    """The answer to a cancel: its own client id, the order's own in origClientOrderId."""
    row = order_row(order)
    return row | {"origClientOrderId": order.client_id, "clientOrderId": client_id, "transactTime": now_ms}


def commission(execution: Execution) -> tuple[Decimal, str]:
    """What was paid, in which coin: bought coins pay in themselves, sales in quote."""
    base, quote = coins(execution.symbol)
    return (execution.fee_base, base) if execution.fee_base else (execution.fee_quote, quote)


def fill_row(execution: Execution) -> dict[str, Any]:
    paid, coin = commission(execution)
    row = {"price": text(execution.price), "qty": text(execution.qty), "commission": text(paid)}
    return row | {"commissionAsset": coin, "tradeId": execution.number}


def trade_row(execution: Execution, order: Order) -> dict[str, Any]:
    row = fill_row(execution)
    return {
        "symbol": wire(execution.symbol),
        "id": row.pop("tradeId"),
        "orderId": order.number,
        "orderListId": -1,
        **row,
        "quoteQty": text(execution.qty * execution.price),
        "time": execution.ts_ms,
        "isBuyer": execution.side > 0,
        "isMaker": order.type == "limit",
        "isBestMatch": True,
    }


def execution_report(event: DeskEvent, now_ms: int) -> dict[str, Any] | None:
    """The user data stream's report; None for what binance does not tell."""
    kind = EXECUTIONS.get(event.kind)
    if kind is None:
        return None
    order, execution = event.order, event.execution
    ended = kind == "CANCELED"
    paid, coin = commission(execution) if execution else (ZERO, None)
    return {
        "e": "executionReport",
        "E": now_ms,
        "s": wire(order.symbol),
        "c": cancel_id(order) if ended else order.client_id,
        "S": "BUY" if order.side > 0 else "SELL",
        "o": TYPES[order.type],
        "f": order.tif.upper(),
        "q": text(order.qty),
        "p": text(order.limit),
        "P": text(order.stop),
        "F": "0.00000000",
        "g": -1,
        "C": order.client_id if ended else "",
        "x": kind,
        "X": STATUSES[order.status],
        "r": "NONE",
        "i": order.number,
        "l": text(execution.qty if execution else None),
        "z": text(order.filled),
        "L": text(execution.price if execution else None),
        "n": text(paid) if execution else "0",
        "N": coin,
        "T": event.ts_ms,
        "t": execution.number if execution else -1,
        "I": event.number,
        "w": order.live and order.stop is None,
        "m": False,
        "M": False,
        "O": order.created_ms,
        "Z": text(order.notional),
        "Y": text(execution.qty * execution.price if execution else None),
        "Q": "0.00000000",
        "W": order.created_ms,
        "V": "EXPIRE_MAKER",
    }


def cancel_id(order: Order) -> str:
    """The client id that the venue gives a cancel which has none."""
    return "c" + order.id.replace("-", "")[:21]


def balance_rows(totals: Sequence[tuple[str, Decimal, Decimal]]) -> list[dict[str, str]]:
    """(coin, total, locked) as the account shows them."""
    return [{"asset": coin, "free": text(total - locked), "locked": text(locked)} for coin, total, locked in totals]


def position_event(totals: Sequence[tuple[str, Decimal, Decimal]], now_ms: int) -> dict[str, Any]:
    rows = [{"a": coin, "f": text(total - locked), "l": text(locked)} for coin, total, locked in totals]
    return {"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": rows}
