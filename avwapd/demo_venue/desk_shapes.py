"""What the simulator's desk speaks in: orders, executions, events, refusals; decimals for money, market ms for time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)
LIVE = ("new", "partially_filled", "held")  # held: accepted, kept from working by the venue
FINAL = ("filled", "canceled", "expired", "rejected", "replaced")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """What a customer asks for. symbol: as we call it (Terms.symbol); side: 1 buy, -1 sell; tif: day | gtc | ioc | fok.

    client_id "": the desk makes one. extra: whatever the exchange's wire wants to find again in the order.
    """

    symbol: str
    side: int
    type: str  # market | limit | stop | stop_limit
    qty: Decimal
    limit: Decimal | None = None
    stop: Decimal | None = None
    tif: str = "gtc"
    client_id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a replacement changes; None leaves it. qty: what the new order shall work for, whatever the old one had."""

    qty: Decimal | None = None
    limit: Decimal | None = None
    stop: Decimal | None = None
    tif: str | None = None
    client_id: str = ""


@dataclass(slots=True, kw_only=True)
class Order:
    """An order at the desk; the desk changes it, events carry copies. Stamps are market ms, 0 where there is none."""

    number: int  # from 1, in order of acceptance
    id: str  # uuid text
    client_id: str
    symbol: str
    side: int
    type: str
    qty: Decimal
    limit: Decimal | None
    stop: Decimal | None
    tif: str
    created_ms: int
    extra: Mapping[str, Any] = field(default_factory=dict)
    status: str = "new"  # one of LIVE or FINAL
    filled: Decimal = ZERO
    notional: Decimal = ZERO  # sum of price x quantity
    fee_quote: Decimal = ZERO
    fee_base: Decimal = ZERO
    updated_ms: int = 0
    filled_ms: int = 0
    canceled_ms: int = 0
    expired_ms: int = 0
    replaced_ms: int = 0
    failed_ms: int = 0
    expires_ms: int = 0  # of a day order
    shown_ms: int = 0  # until then questions do not find it (profile slow)
    replaces: str = ""  # ids
    replaced_by: str = ""
    reason: str = ""  # why it was rejected

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def rest(self) -> Decimal:
        """What is still to fill."""
        return self.qty - self.filled

    @property
    def average(self) -> Decimal | None:
        """Average price of its fills."""
        return self.notional / self.filled if self.filled else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A fill. fee_quote in quote currency, fee_base in units of the asset. busted: taken back later."""

    number: int  # from 1
    id: str  # uuid text
    order_id: str
    client_id: str
    symbol: str
    side: int
    qty: Decimal
    price: Decimal
    fee_quote: Decimal
    fee_base: Decimal
    ts_ms: int
    cum_qty: Decimal  # of the order, with this one
    type: str  # fill | partial_fill


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskEvent:
    """What happened, in the desk's order. order: a copy as of then; position: signed quantity held after it.

    kind: new | fill | partial_fill | canceled | expired | rejected | replaced | order_replace_rejected |
    order_cancel_rejected | held | trade_bust. For replaced, `order` is the old one (its replaced_by names the new,
    whose own `new` follows).
    """

    number: int
    kind: str
    ts_ms: int
    order: Order
    execution: Execution | None
    position: Decimal


class DeskRefused(Exception):
    """A definite refusal: nothing was accepted.

    code: bad_price | bad_qty | min_notional | unknown_symbol | buying_power | held_qty | not_shortable | duplicate |
    not_found | not_cancelable | bad_order. extra: figures that some wires put into the body (available, …).
    """

    def __init__(self, code: str, message: str, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.extra: dict[str, Any] = dict(extra or {})


@dataclass(frozen=True, slots=True)
class FeeRule:
    """bps: of the notional; in_base: what is bought pays in the coin itself (sells always in quote)."""

    bps: Decimal = ZERO
    in_base: bool = False

    def of(self, side: int, qty: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
        """(quote, base), to eight decimals as the crypto venues charge."""
        if self.in_base and side > 0:
            return ZERO, round(qty * self.bps / 10_000, 8)
        return round(qty * price * self.bps / 10_000, 8), ZERO


@dataclass(frozen=True, slots=True)
class Profile:
    """How a venue behaves. Pairs are (least, most); answer_ms is wall time, shown_ms and positions_lag_ms market time.

    margin: gross exposure it allows, as a multiple of the equity; shorts: equities may be sold short.
    """

    name: str = "strict"
    refuses_duplicates: bool = True
    answer_ms: tuple[int, int] = (0, 0)
    shown_ms: tuple[int, int] = (0, 0)
    positions_lag_ms: int = 0
    margin: Decimal = Decimal(4)
    shorts: bool = True


PROFILES = {
    "strict": Profile(),
    "lenient": Profile("lenient", refuses_duplicates=False),
    "slow": Profile("slow", answer_ms=(50, 300), shown_ms=(500, 3000), positions_lag_ms=5000),
}
