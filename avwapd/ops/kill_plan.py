"""What the kill program decides, without any I/O: which order goes, which stays, how much is sold, under which id."""

from __future__ import annotations

import base64
import enum
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Protocol

from avwapd.store.ids import PREFIX, is_ours
from avwapd.store.kill_facts import Facts, Line
from avwapd.store.kill_note import Sale

KILL_PREFIX = PREFIX + "kill-"  # ours to a human's eye, and none of the daemon's orders
ZERO = Decimal(0)


class Verdict(enum.Enum):
    """About an order that rests."""

    CANCEL = "cancel"
    STAY = "stay"  # ours, and it lowers risk
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Resting:
    """An open order. symbol: as we call it, else as the venue does; stop: it waits for a price against us."""

    cid: str
    venue_id: str
    symbol: str
    side: int
    qty: Decimal
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sale; price: the average, 0 where nothing is filled."""

    filled: Decimal
    price: Decimal
    over: bool


class Desk(Protocol):
    """An account. Calls raise NoAnswer, Shut or Rejected, nothing else.

    marked: our order ids are recognised there by their form, also without a ledger; prefix: of the ids of sales.
    """

    name: str
    marked: bool
    prefix: str

    async def open_orders(self) -> list[Resting]: ...

    async def cancel(self, order: Resting) -> None:
        """Returns once the venue has taken the cancel."""
        ...

    async def positions(self) -> dict[str, Decimal]:
        """Signed, by our symbol."""
        ...

    async def sell(self, sale: Sale) -> None:
        """At market; the same id a second time is no second order."""
        ...

    async def outcome(self, sale: Sale) -> Outcome | None:
        """None where the venue knows no such order."""
        ...

    async def close(self) -> None: ...


def verdict(
    order: Resting,
    facts: Facts,
    held: Mapping[str, Decimal],
    sales: Collection[str],
    *,
    marked: bool,
    flatten: bool,
    every: bool,
) -> Verdict:
    """sales: ids of what was sold here.

    The ledger says what an order is for; without it the position does: what lowers it is a stop or an exit.
    """
    purpose = facts.purposes.get(order.cid, "")
    killed = order.cid in sales or order.cid.startswith(KILL_PREFIX)
    if not (purpose or killed or (marked and is_ours(order.cid)) or every):
        return Verdict.STRANGER
    if killed:
        return Verdict.STAY  # a sale of an earlier call, on its way
    if flatten or purpose == "entry":
        return Verdict.CANCEL
    if purpose:
        return Verdict.STAY
    return Verdict.STAY if order.side * held.get(order.symbol, ZERO) < 0 else Verdict.CANCEL


def quantity(
    symbol: str, facts: Facts, held: Mapping[str, Decimal], sold: Sequence[Sale], unheard: Decimal = ZERO
) -> tuple[int, Decimal, str]:
    """(side, quantity, remark) of what is still to be sold: what the ledger says is ours, never more than is there.

    unheard: signed, what orders of ours filled that the ledger has not heard of.
    """
    there = held.get(symbol, ZERO)
    line = facts.lines.get(symbol)
    if facts.why or line is None:
        return (-1 if there > 0 else 1), abs(there), ""
    lot = Decimal(line.lot)
    unbooked = [sale for sale in sold if sale.symbol == symbol and sale.cid not in facts.booked]
    ours = line.held * lot + unheard + sum((sale.side * Decimal(sale.filled) for sale in unbooked), ZERO)
    if not ours:
        return 0, ZERO, f"{symbol}: {there} at the venue are not of this ledger: left alone" if there else ""
    if ours * there <= 0:
        return 0, ZERO, f"{symbol}: the ledger holds {ours}, the venue {there}: nothing sold"
    qty = (min(abs(ours), abs(there)) / lot).to_integral_value(ROUND_FLOOR) * lot
    remark = f"{symbol}: the ledger holds {ours}, the venue {there}" if abs(there) != abs(ours) else ""
    return (-1 if ours > 0 else 1), qty, remark


def kill_id(prefix: str, ts_ms: int, symbol: str, number: int) -> str:
    """`prefix` and 26 characters that follow from the kill: asked twice, it is the same order."""
    digest = hashlib.sha256(json.dumps(["kill", ts_ms, symbol, number]).encode()).digest()[:16]
    return prefix + base64.b32encode(digest).decode().rstrip("=").lower()


def lines_without_ledger(symbols: Sequence[str]) -> dict[str, Line]:
    """Terms fine enough for any figure, where nobody knows the venue's."""
    fine = "0.000000001"
    lines = {}
    for name in symbols:
        base, dash, quote = name.replace("/", "-").partition("-")
        asset = "crypto" if dash and base else "equity"
        lines[name] = Line(name, asset, quote or "USD", fine, fine, "0", "0", 0, 0)
    return lines
