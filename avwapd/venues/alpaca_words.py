"""Alpaca's JSON in our terms: orders, executions, positions by shape; statuses and refusals by word. No I/O."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from avwapd.remote.calls import Rejected
from avwapd.remote.terms import Terms
from avwapd.venues.port import Request, VenueOrder

LIVE = (
    "new",
    "accepted",
    "pending_new",
    "accepted_for_bidding",
    "partially_filled",
    "pending_cancel",
    "pending_replace",
    "stopped",
    "calculated",
    "suspended",
    "held",
    "done_for_day",
    "pending_review",
)
WORKING = ("new", "accepted", "partially_filled", "held", "accepted_for_bidding")  # no further word is awaited
STATES = dict.fromkeys(LIVE, "live") | {
    "filled": "filled",
    "canceled": "canceled",
    "expired": "canceled",
    "rejected": "rejected",
    "replaced": "replaced",
}
FINAL = ("filled", "canceled", "expired", "rejected", "replaced")
SIDES = {"buy": 1, "sell": -1, "sell_short": -1, "buy_to_cover": 1}
DUPLICATE = 40010001
NOT_FOUND = 40410000
MESSAGE_CHARS = 200

# The first that matches names the refusal: the same code means many things.
REASONS = (
    ("wash_trade", r"wash trade"),
    ("held_quantity", r"insufficient qty|held_for_orders|qty available"),
    ("not_shortable", r"short"),
    ("buying_power", r"buying power|insufficient (balance|funds)|cost basis is greater"),
    ("price_increment", r"sub-?penny|increment|decimal"),
    ("min_notional", r"cost basis must be|notional|minimal amount|minimum"),
    (
        "not_tradable",
        r"not tradable|not active|inactive|could not find asset|asset .*not found|not fractionable|halted",
    ),
    ("account_blocked", r"account|trading is (blocked|suspended)|user .*protect"),
)
# Kinds of update that say nothing beyond the order they carry.
EVENTS = (
    *("accepted", "pending_new", "new", "held", "stopped", "suspended", "calculated", "restated", "done_for_day"),
    *("pending_cancel", "canceled", "pending_replace", "replaced", "rejected", "expired"),
    *("order_cancel_rejected", "fill", "partial_fill"),
)


class Misshapen(ValueError):
    """An answer without the fields it needs."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An order as one answer or event shows it. qty and filled in units of the asset; prices 0 where there are none.

    average: of its fills; updated_ms: when the venue last changed it.
    """

    id: str
    cid: str
    wire: str
    side: int
    type: str
    qty: Decimal
    filled: Decimal
    average: Decimal | None
    limit: Decimal
    stop: Decimal
    status: str
    submitted_ms: int
    updated_ms: int
    ended_ms: int
    replaces: str
    replaced_by: str


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution as a stream or an activity tells it."""

    order_id: str
    exec_id: str
    ts_ms: int
    qty: Decimal
    price: Decimal


def seen(value: Any) -> Seen:
    """Raises Misshapen where it is no order."""
    row = mapping(value, "an order")
    status = text(row, "status")
    return Seen(
        id=text(row, "id"),
        cid=text(row, "client_order_id", empty=True),
        wire=text(row, "symbol"),
        side=SIDES.get(text(row, "side"), 0) or _fail(f"side {row['side']!r}"),
        type=text(row, "type"),
        qty=number(row, "qty", missing=Decimal(0)),
        filled=number(row, "filled_qty"),
        average=number(row, "filled_avg_price", missing=Decimal(0)) or None,
        limit=number(row, "limit_price", missing=Decimal(0)),
        stop=number(row, "stop_price", missing=Decimal(0)),
        status=status,
        submitted_ms=moment(row, "submitted_at", "created_at"),
        updated_ms=moment(row, "updated_at", "submitted_at", "created_at"),
        ended_ms=moment(
            row,
            f"{'failed' if status == 'rejected' else status}_at",
            "updated_at",
            "submitted_at",
            "created_at",
        ),
        replaces=text(row, "replaces", empty=True),
        replaced_by=text(row, "replaced_by", empty=True),
    )


def venue_order(order: Seen, terms: Terms) -> VenueOrder:
    """Raises Misshapen for a status nobody knows, or a quantity or price between our lots and ticks."""
    if order.status not in STATES:
        raise Misshapen(f"an order's status is {order.status[:40]!r}")
    return VenueOrder(
        cid=order.cid,
        venue_id=order.id,
        symbol=terms.symbol,
        side=order.side,
        type=order.type,
        qty=_whole(order.qty, terms.lot, "quantity"),
        limit_ticks=_whole(order.limit, terms.tick, "limit price"),
        stop_ticks=_whole(order.stop, terms.tick, "stop price"),
        filled_qty=terms.lots(order.filled),
        state=STATES[order.status],
    )


def update_fill(data: dict[str, Any], order: Seen) -> Fill:
    """The execution inside a fill or partial_fill event."""
    return Fill(
        order.id,
        execution_id(order.id, order.filled),
        moment(data, "timestamp", "at"),
        positive(data, "qty"),
        positive(data, "price"),
    )


def activity_fill(value: Any) -> Fill:
    """A row of /account/activities/FILL."""
    row = mapping(value, "an activity")
    order_id = text(row, "order_id")
    return Fill(
        order_id,
        execution_id(order_id, positive(row, "cum_qty")),
        moment(row, "transaction_time"),
        positive(row, "qty"),
        positive(row, "price"),
    )


def execution_id(order_id: str, cum_qty: Decimal) -> str:
    """What stream and activities both tell: the order, and how much of it was filled with this execution.

    The ids that they carry are not documented to be the same.
    """
    return f"{order_id}:{cum_qty.normalize():f}"


def body_of(request: Request, terms: Terms) -> dict[str, str]:
    """The JSON of a submit. Every figure is decimal text: the client's request models would make floats of them."""
    return {
        "symbol": terms.wire,
        "side": "buy" if request.side > 0 else "sell",
        "type": request.type,
        **change_of(request, terms),
    }


def change_of(request: Request, terms: Terms) -> dict[str, str]:
    """The JSON of a replace: quantity, prices, time in force, the new id."""
    found = {
        "qty": terms.qty_text(request.qty),
        "time_in_force": time_in_force(request, terms),
        "client_order_id": request.cid,
    }
    if request.limit_ticks:
        found["limit_price"] = terms.price_text(request.limit_ticks)
    if request.stop_ticks:
        found["stop_price"] = terms.price_text(request.stop_ticks)
    return found


def time_in_force(request: Request, terms: Terms) -> str:
    """Stops of whole shares outlive the day; fractions may not, and coins know no day."""
    if terms.asset != "equity":
        return "gtc"
    whole = request.qty * terms.lot % 1 == 0
    return "gtc" if request.purpose == "stop" and whole else "day"


def reason_of(no: Rejected) -> str:
    """A short word, then the venue's message."""
    body = no.body if isinstance(no.body, dict) else {}
    words = no.message.lower() + (" held_for_orders" if "held_for_orders" in body else "")
    word = next((name for name, pattern in REASONS if re.search(pattern, words)), "bad_order")
    return f"{word}: {no.message[:MESSAGE_CHARS]}"


def is_duplicate(no: Rejected) -> bool:
    return no.code == DUPLICATE or "must be unique" in no.message


# -------------------------------------------------------------------------------------------------------- fields


def mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Misshapen(f"not {what}: {str(value)[:60]}")
    return value


def listing(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise Misshapen(f"no list of {what}: {str(value)[:60]}")
    return value


def text(row: dict[str, Any], name: str, *, empty: bool = False) -> str:
    value = row.get(name)
    if value is None and empty:
        return ""
    if not isinstance(value, str) or (not value and not empty) or len(value) > 500:
        raise Misshapen(f"{name} is {str(value)[:60]!r}")
    return value


def number(row: dict[str, Any], name: str, *, missing: Decimal | None = None) -> Decimal:
    """Exact, finite. `missing`: for null or an absent field."""
    value = row.get(name)
    if value is None and missing is not None:
        return missing
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Misshapen(f"{name} is {str(value)[:60]!r}")
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise Misshapen(f"{name} is {str(value)[:60]!r}") from None
    # Beyond these no money of anyone is: 1e400 and 1e-400 would only make long integers.
    if not found.is_finite() or (found and not -18 <= found.adjusted() <= 15):
        raise Misshapen(f"{name} is {str(value)[:60]!r}")
    return found


def positive(row: dict[str, Any], name: str) -> Decimal:
    found = number(row, name)
    if found <= 0:
        raise Misshapen(f"{name} is {found}")
    return found


def moment(row: dict[str, Any], *names: str) -> int:
    """UTC milliseconds of the first of these fields that is set."""
    for name in names:
        value = row.get(name)
        if value:
            return milliseconds(value, name)
    raise Misshapen(f"no {' nor '.join(names)}")


def milliseconds(value: Any, name: str) -> int:
    """Of an RFC 3339 stamp with up to nanoseconds."""
    try:
        # datetime knows microseconds at most; what is finer is cut off.
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
        if found.tzinfo is None:
            raise ValueError("no offset from UTC")
        return math.floor(found.astimezone(UTC).timestamp() * 1000 + 0.0005)
    except (TypeError, ValueError, OverflowError) as error:
        raise Misshapen(f"{name} is {str(value)[:60]!r}: {error}") from None


def stamp(ts_ms: int) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _whole(value: Decimal, step: Decimal, what: str) -> int:
    found = value / step
    if found % 1:
        raise Misshapen(f"a {what} of {value}, between steps of {step}")
    return int(found)


def _fail(what: str) -> Any:
    raise Misshapen(what)
