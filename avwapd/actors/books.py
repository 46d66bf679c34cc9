"""The ledger's books beside one reading of the venue's: what differs, as values. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from avwapd.remote.terms import Terms
from avwapd.venues.port import Books

POSITION, MISSING, UNKNOWN, GHOST, FOREIGN, CASH = "position", "missing", "unknown", "ghost", "foreign", "cash"
COMPARED = (POSITION, MISSING, GHOST)  # kinds that news on its way may explain
NAMED = 8
ENDED = ("FILLED", "CANCELED", "REJECTED", "EXPIRED", "REPLACED", "STALE", "DENIED")


@dataclass(frozen=True, slots=True)
class Difference:
    """Two readings with the same figures give equal differences.

    kind: position (lots differ), missing (our live order is not there), unknown (an order with an id of ours that this
    ledger never made), ghost (an order of ours that rests there though the ledger has it ended), foreign (an order that
    is not ours), cash. symbol: index, -1 where there is none; key: order id, venue id for what has no id of ours;
    lots: signed, what the ledger lacks; what: with the symbol first; also: more words, which make no other difference.
    """

    kind: str
    symbol: int
    key: str
    what: str
    lots: int = 0
    also: str = field(default="", compare=False)

    @property
    def words(self) -> str:
        return self.what + self.also


@dataclass(frozen=True, slots=True)
class LedgerSide:
    """live: cid -> symbol of the orders that the venue must have; states: cid -> outbox state of orders seen there;
    sending: symbols with a request whose outcome is not known."""

    live: Mapping[str, int]
    states: Mapping[str, str]
    sending: Collection[int]


def differences(
    books: Books, machines: Any, terms: Sequence[Terms], ours: LedgerSide, *, quiet: Callable[[int], bool]
) -> list[Difference]:
    """Of the symbols that are quiet. machines: the engine's states; terms: by symbol, in the same order."""
    index = {term.symbol: i for i, term in enumerate(terms)}
    found = _positions(books, machines, terms, quiet)
    open_cids = {order.cid for order in books.orders}
    for cid, symbol in ours.live.items():
        if cid not in open_cids and quiet(symbol):
            what = f"{terms[symbol].symbol}: the ledger holds {cid} for live, the venue does not list it"
            found.append(Difference(MISSING, symbol, cid, what))
    for order in books.orders:
        symbol = index.get(order.symbol, -1)
        told = f"{'buy' if order.side > 0 else 'sell'} {order.qty} {order.type}"
        if not order.ours:
            if symbol >= 0:
                what = f"{order.symbol}: an order that is not ours rests at the venue: {told} ({order.venue_id})"
                found.append(Difference(FOREIGN, symbol, order.venue_id, what))
            continue
        state = ours.states.get(order.cid)
        if state is None:
            what = f"{order.symbol}: the venue has an order of ours that this ledger never made: {told} ({order.cid})"
            found.append(Difference(UNKNOWN, symbol, order.cid, what))
        elif state in ENDED and quiet(symbol):
            what = f"{order.symbol}: an order that the ledger has as {state} rests at the venue: {told} ({order.cid})"
            found.append(Difference(GHOST, symbol, order.venue_id, what))
    return found


def _positions(books: Books, machines: Any, terms: Sequence[Terms], quiet: Callable[[int], bool]) -> list[Difference]:
    found = []
    held = machines["qty"] * machines["side"]
    for i, term in enumerate(terms):
        at_venue = books.holdings[term.symbol].qty if term.symbol in books.holdings else 0
        lots = at_venue - int(held[i])
        if lots and not dust(term, lots, float(machines[i]["last_close"])) and quiet(i):
            has = f"the ledger holds {term.qty_text(int(held[i]))}, the venue {term.qty_text(at_venue)}"
            found.append(Difference(POSITION, i, "", f"{term.symbol}: {has}", lots))
    return found


def kept(before: Sequence[Difference], every: Collection[Difference], noisy: Collection[int]) -> list[Difference]:
    """What was found before of symbols that cannot be compared now: silence is no agreement.

    every: the reading compared as if nothing were on its way. An order is there or it is not; a position that seems to
    agree while a request is under way may be about to differ again.
    """
    return [
        each
        for each in before
        if each.symbol in noisy and (each.kind == POSITION or (each.kind in COMPARED and each in every))
    ]


def elsewhere(foreign: Mapping[str, str]) -> str:
    """What the account holds beside the symbols of the run, as the end of a sentence; "" where there is nothing."""
    if not foreign:
        return ""
    named = [f"{name} {qty}" for name, qty in sorted(foreign.items())]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"; it also holds {', '.join(named[:NAMED])}{more}, which this run does not trade"


def dust(term: Terms, lots: int, price: float) -> bool:
    """Too little for an order: nobody could trade it away."""
    qty = abs(lots) * term.lot
    known = price > 0  # false for NaN too
    return qty < term.min_qty or (known and qty * Decimal(str(price)) < term.min_notional)


def cash_moved(machines: Any, terms: Sequence[Terms]) -> Decimal:
    """What all fills brought less fees, in quote currency."""
    cash = machines["cash"].tolist()
    return sum((units * term.tick * term.lot for units, term in zip(cash, terms, strict=True)), Decimal(0))
