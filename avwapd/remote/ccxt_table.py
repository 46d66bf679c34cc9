"""What each exchange can do through ccxt, row by row: read in its source, held by a request test a row.

ccxt's words are uniform, what it sends is not: `triggerPrice` is a stop at one exchange and silently a market order at
the next; a client id is dropped, renamed, or cannot be asked for. So nothing is sent that a row does not vouch for, and
an exchange without a row neither looks up nor refuses duplicates, and gets no stops.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

OURS = re.compile(r"av-([a-z2-7]{26})")
PLAIN, ALNUM, HEX, UUID = "plain", "alnum", "hex", "uuid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One exchange.

    ids: how our 29 characters are written there (plain | alnum | hex | uuid), reversibly.
    create_id, cancel_id: the parameter that carries the id; cancel_id "" = by the venue's own id only.
    look: fetch_order | open_then_closed | none; look_params beside the id, whose parameter is look_id.
    apart: parameters for looking up and canceling a stop where stops are kept apart from other orders; None: they are
    not, or cannot be looked up (then stop_look is none).
    refuses: duplicates always | open (those of orders still open) | never; fence: what makes a late arrival
    impossible: recv_window | nonce | "" (nothing).
    stop: the parameter that makes a market order a native stop; stop_params beside it; "" = no stops there.
    """

    name: str
    ids: str = PLAIN
    create_id: str = "clientOrderId"
    create_params: Mapping[str, Any] = field(default_factory=dict)
    cancel_id: str = ""
    look: str = "none"
    look_id: str = "clientOrderId"
    look_params: Mapping[str, Any] = field(default_factory=dict)
    stop_look: str = "same"  # same | none
    apart: Mapping[str, Any] | None = None
    true_cid: str = ""  # the key of `info` that holds the client id where ccxt's own field lies
    refuses: str = "never"
    fence: str = ""
    stop: str = ""
    stop_id: str = ""  # a further parameter that carries the id of a stop
    market_buys: bool = True  # of a quantity in the base coin
    market_orders: bool = True
    fee: str = "quote"  # of a buy: base | quote
    fee_params: Mapping[str, Any] = field(default_factory=dict)  # on create, so that it is so
    errors_in_200: bool = False
    one_at_a_time: bool = False  # private calls: each carries a rising nonce
    open_all: bool = False  # open orders of all symbols in one call
    ids_by_market: bool = False  # trade ids are unique within a market only
    shaped: bool = True  # the shapes of its answers are known; without a path they are lists
    path: tuple[str, ...] = ()  # where in an answer its list or object lies; ccxt takes a missing one for an empty one
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the same, by method
    clock_ms: int = 1  # granularity of its clock
    refusals: Mapping[str, str] = field(
        default_factory=dict
    )  # text in its answer -> short word, where ccxt has no class for it
    login: str = ""  # the method that opens the private stream, "" = no stream of orders
    candles_stream: bool = False
    candles: int = 500  # a call
    candles_deep: bool = True  # `since` reaches back to the listing
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_venue(self, cid: str) -> str:
        """Our order id as this exchange takes it; ids that are not ours pass unchanged where they fit."""
        found = OURS.fullmatch(cid)
        if self.ids == PLAIN:
            return cid
        if found is None:
            raise ValueError(f"{cid} cannot be written as an id at {self.name}")
        if self.ids == ALNUM:
            return "av" + found[1]
        number = uuid.UUID(bytes=base64.b32decode(found[1].upper() + "======"))
        return number.hex if self.ids == HEX else str(number)

    def from_venue(self, text: str | None) -> str:
        """The id that `to_venue` wrote; what it never wrote comes back as it is, "" for none."""
        if not text:
            return ""
        if self.ids == ALNUM and (found := re.fullmatch(r"av([a-z2-7]{26})", text)):
            return "av-" + found[1]
        if self.ids in (HEX, UUID):
            try:
                raw = uuid.UUID(text)
            except ValueError:
                return text
            return "av-" + base64.b32encode(raw.bytes).decode().rstrip("=").lower()
        return text

    @property
    def marked(self) -> bool:
        """Our prefix survives, so that a stranger can tell our orders at the venue."""
        return self.ids in (PLAIN, ALNUM)

    @property
    def can_look_up(self) -> bool:
        """Every order we may send there can be found by our id."""
        return self.look != "none" and (not self.stop or self.stop_look != "none")


_BINANCE = Row(
    name="binance",
    cancel_id="clientOrderId",
    look="fetch_order",
    refuses="open",
    fence="recv_window",
    stop="stopLossPrice",
    fee="base",
    open_all=True,
    ids_by_market=True,
    paths={"fetch_balance": ("balances",)},
    login="ensure_user_data_stream_ws_subscribe_signature",
    candles_stream=True,
    candles=1000,
    options={
        "defaultType": "spot",
        "fetchMarkets": ["spot"],
        "fetchCurrencies": False,
        "fetchMargins": False,
        "warnOnFetchOpenOrdersWithoutSymbol": False,
    },
)
_KRAKEN = Row(
    name="kraken",
    ids=HEX,  # free text there has 18 characters at most; a UUID without dashes has room for all our bits
    cancel_id="clientOrderId",
    look="open_then_closed",
    true_cid="cl_ord_id",
    refuses="open",
    fence="nonce",
    stop="stopLossPrice",  # `triggerPrice` is sent as an unknown field of a plain market order
    fee_params={"oflags": "fciq"},
    errors_in_200=True,
    one_at_a_time=True,
    open_all=True,
    path=("result",),
    paths={
        "fetch_open_orders": ("result", "open"),
        "fetch_closed_orders": ("result", "closed"),
        "fetch_my_trades": ("result", "trades"),
        "fetch_ohlcv": ("result", "last"),
    },
    clock_ms=1000,
    refusals={
        "cl_ord_id not unique": "duplicate",
        "EService:Market in cancel_only mode": "not_tradable",
        "EService:Market in post_only mode": "not_tradable",
        "EService:Market in limit_only mode": "not_tradable",
        "EOrder:Insufficient funds": "buying_power",
        "EOrder:Orders limit exceeded": "bad_order",
        "EOrder:Order minimum not met": "min_notional",
        "EOrder:Cost minimum not met": "min_notional",
        "EOrder:Tick size check failed": "price_increment",
        "EOrder:Trading agreement required": "account_blocked",
        "EOrder:Unknown order": "not_found",
        "EQuery:Unknown asset pair": "not_tradable",
        "EGeneral:Invalid arguments": "bad_order",
    },
    candles=720,
    candles_deep=False,
)
_OTHERS = (
    Row(
        name="okx",
        ids=ALNUM,
        cancel_id="clientOrderId",
        look="fetch_order",
        apart={"trigger": True},
        stop="triggerPrice",
        stop_id="algoClOrdId",
        fee="base",
        errors_in_200=True,
        path=("data",),
        candles=100,
    ),
    Row(
        name="kucoin",
        cancel_id="clientOrderId",
        look="fetch_order",
        apart={"trigger": True},
        stop="stopLossPrice",
        errors_in_200=True,
        path=("data",),
        candles=1500,
        options={"uta": False, "hf": False},
    ),
    Row(
        name="bitget",
        cancel_id="clientOrderId",
        look="fetch_order",
        stop_look="none",  # ccxt looks for a stop among the plain orders, where it is not
        apart={"trigger": True},
        stop="triggerPrice",
        market_buys=False,  # it takes what they may cost
        fee="base",
        errors_in_200=True,
        path=("data",),
        candles=200,
        options={"uta": False},
    ),
    Row(
        name="bybit",
        cancel_id="orderLinkId",
        look="fetch_order",
        look_id="orderLinkId",
        look_params={"acknowledged": True},
        stop_look="none",  # among the plain orders only
        apart={"trigger": True},
        stop="triggerPrice",
        fee="base",
        errors_in_200=True,
        path=("result",),
        candles=1000,
        options={"enableUnifiedMargin": False, "enableUnifiedAccount": True},
    ),
    # ccxt replaces the uniform parameter by a random id of its own; only the exchange's own field gets through.
    Row(
        name="coinbase",
        ids=UUID,
        create_id="client_order_id",
        market_buys=False,
        errors_in_200=True,
        path=("data",),
        candles=300,
    ),
    # Stops there would leave as plain market orders.
    Row(name="bitstamp", look="fetch_order", errors_in_200=True, ids_by_market=False, candles=1000),
    Row(name="gemini", market_orders=False, errors_in_200=True, candles=500, candles_deep=False),
    # A stop parameter on a market order is dropped: it would sell at once.
    Row(
        name="htx",
        cancel_id="clientOrderId",
        look="fetch_order",
        market_buys=False,
        fee="base",
        errors_in_200=True,
        path=("data",),
        candles=2000,
        candles_deep=False,
    ),
    # The same.
    Row(
        name="mexc",
        cancel_id="clientOrderId",
        look="fetch_order",
        paths={"fetch_balance": ("balances",)},
        candles=500,
    ),
    Row(
        name="cryptocom",
        create_id="client_oid",
        stop="stopLossPrice",
        fee="base",
        errors_in_200=True,
        path=("result",),
        candles=300,
    ),
    Row(
        name="bitvavo",
        ids=UUID,
        cancel_id="clientOrderId",
        look="fetch_order",
        stop="stopLossPrice",
        candles=1440,
        options={"operatorId": 1},
    ),
    # Fetches by its own id only; use the venue `alpaca` instead.
    Row(name="alpaca", fee="base", candles=1000),
)
ROWS: Mapping[str, Row] = MappingProxyType({row.name: row for row in (_BINANCE, _KRAKEN, *_OTHERS)})


def row_of(name: str) -> Row:
    """The row of an exchange; for one without, what can be relied upon anywhere: nothing."""
    return ROWS.get(name) or Row(name=name, shaped=False)
