"""From what a venue is heard to say, in any order and more than once, to numbered words: each fact once, money exact.

Pure: no clock, no network. Streams and look-ups tell the same facts; what they have in common are execution ids and
cumulative quantities, and those alone decide what is new.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

from avwapd.remote.terms import Terms
from avwapd.venues.port import KnownOrder, Request, Word

ZERO = Decimal(0)
FINALS = ("canceled", "expired", "rejected", "filled", "replaced")
OVER = ("FILLED", "CANCELED", "REJECTED", "EXPIRED", "STALE", "DENIED")  # states of the ledger's rows
WORDS_AT_ONCE = 1_000
WORDS_KEPT = 10_000  # given long ago; nobody asks for older ones


@dataclass(slots=True)
class Final:
    """How an order ended at the venue, and how much of it was filled by then."""

    kind: str
    ts_ms: int
    cum_qty: Decimal


@dataclass(slots=True)
class Heard:
    """One order of ours, as far as it was heard. qty, base: lots; filled, cum_qty: units of the asset."""

    cid: str
    symbol: str
    side: int
    qty: int
    filled: Decimal
    ref_cid: str = ""
    venue_id: str = ""
    taken: bool = False  # an acked or replaced word was given
    over: bool = False  # a last word was given
    asked: bool = False  # its cancel was sent, and neither its end nor a refusal was heard since
    cancel_taken: bool = False  # the venue said of that cancel that it will see to it
    final: Final | None = None  # heard, and held back until every fill before it was heard
    cum_qty: Decimal = ZERO  # the most that the venue says is filled


@dataclass(slots=True)
class Purse:
    """What does not fit whole units and lots yet, of one symbol; it goes into a later word."""

    money: Decimal = ZERO  # quote currency paid beyond what the words say
    fee_base: Decimal = ZERO  # base-coin fees heard in all
    fee_lots: int = 0  # of these, in words


@dataclass(slots=True)
class Hearing:
    """Words from `cursor` + 1 on. `heard_ids`: execution ids that the ledger has booked: they are not counted again.

    behind: ids of orders of which the venue says that more is filled than executions were heard: ask for executions.
    counts: what was heard in vain, by name.
    """

    cursor: int
    terms: Mapping[str, Terms]
    known: Iterable[KnownOrder] = ()
    heard_ids: Container[str] = frozenset()
    behind: set[str] = field(init=False, default_factory=set)
    counts: Counter[str] = field(init=False, default_factory=Counter)
    _orders: dict[str, Heard] = field(init=False, default_factory=dict)
    _executions: set[str] = field(init=False, default_factory=set)
    _purses: dict[str, Purse] = field(init=False, default_factory=dict)
    _words: deque[Word] = field(init=False, default_factory=lambda: deque(maxlen=WORDS_KEPT))
    _last: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._last = self.cursor
        for order in self.known:
            filled = order.filled_qty * self.terms[order.symbol].lot
            self._orders[order.cid] = Heard(
                order.cid,
                order.symbol,
                order.side,
                order.qty,
                filled,
                venue_id=order.venue_id,
                # A row may be ACKED by a look-up without any word about it: only a booked fill proves one.
                taken=order.filled_qty > 0,
                over=order.state in OVER,
                cum_qty=filled,
            )

    # ----------------------------------------------------------------------------------------------- observing

    def sent(self, request: Request) -> None:
        """A request is about to leave. A cancel makes no order; the order's end answers it, or that it was refused."""
        if request.kind == "cancel":
            if request.ref_cid in self._orders:
                order = self._orders[request.ref_cid]
                order.asked, order.cancel_taken = True, False
        elif request.cid not in self._orders:
            self._orders[request.cid] = Heard(
                request.cid, request.symbol, request.side, request.qty, ZERO, ref_cid=request.ref_cid
            )

    def acked(self, cid: str, venue_id: str, ts_ms: int) -> None:
        """The venue has the order."""
        order = self._order(cid)
        if order is not None:
            order.venue_id = order.venue_id or venue_id
            self._take(order, ts_ms)

    def replaced(self, cid: str, ref_cid: str, venue_id: str, ts_ms: int) -> None:
        """Order `cid` has taken the place of `ref_cid`."""
        order = self._order(cid)
        if order is not None:
            order.venue_id = order.venue_id or venue_id
            order.ref_cid = ref_cid
            self._take(order, ts_ms)

    def executed(
        self,
        cid: str,
        exec_id: str,
        ts_ms: int,
        *,
        qty: Decimal,
        price: Decimal,
        fee_quote: Decimal = ZERO,
        fee_base: Decimal = ZERO,
    ) -> None:
        """One execution: `qty` in units of the asset at the exact `price`; fees in quote currency and in the asset."""
        order = self._order(cid)
        if order is None or self._counted(exec_id):
            return
        self._executions.add(exec_id)
        self._take(order, ts_ms)
        terms, purse = self.terms[order.symbol], self._purses.setdefault(order.symbol, Purse())
        before, order.filled = terms.lots(order.filled), order.filled + qty
        cum_lots = terms.lots(order.filled)
        lots = cum_lots - before
        purse.money += order.side * qty * price + fee_quote
        purse.fee_base += fee_base
        if lots > 0:
            ticks = terms.ticks(price)
            fee_lots = int((purse.fee_base / terms.lot).to_integral_value(ROUND_CEILING)) - purse.fee_lots
            purse.fee_lots += fee_lots
            unit = terms.tick * terms.lot
            units = int((purse.money / unit).to_integral_value(ROUND_HALF_EVEN))
            purse.money -= units * unit
            whole = cum_lots >= order.qty
            order.over = order.over or whole
            self._say(
                order,
                ts_ms,
                "filled",
                exec_id=exec_id,
                final=whole,
                last_qty=lots,
                price_ticks=ticks,
                fee_units=units - order.side * ticks * lots,
                fee_lots=fee_lots,
            )
            if whole and order.asked and not order.cancel_taken:
                self.cancel_refused(cid, ts_ms)  # the fill was faster, and no venue says so in words
            elif whole:
                order.asked = False  # a cancel that was taken has not been refused: the fill is its answer
        self._finish(order)

    def progress(self, cid: str, cum_qty: Decimal) -> None:
        """The venue says how much of an order is filled in all."""
        order = self._order(cid)
        if order is not None:
            order.cum_qty = max(order.cum_qty, cum_qty)
            self._finish(order)

    def final(self, cid: str, kind: str, ts_ms: int, *, cum_qty: Decimal) -> None:
        """The order is over at the venue: canceled | expired | rejected | filled | replaced (by another of ours).

        Its word waits until executions for `cum_qty` were heard.
        """
        if kind not in FINALS:
            raise ValueError(f"{kind} ends no order")
        order = self._order(cid)
        if order is None:
            return
        order.cum_qty = max(order.cum_qty, cum_qty)
        if order.final is None:
            order.final = Final(kind, ts_ms, cum_qty)
        self._finish(order)

    def cancel_taken(self, cid: str) -> None:
        """The venue has taken a cancel of `cid`; what comes of it the order's end tells."""
        order = self._order(cid)
        if order is not None:
            order.cancel_taken = order.asked

    def cancel_refused(self, cid: str, ts_ms: int) -> None:
        """A cancel of `cid` was refused. Of an order that is over that is news to the cancel alone."""
        order = self._order(cid)
        if order is not None and (order.asked or not order.over):
            order.asked = False
            self._say(order, ts_ms, "cancel_refused")

    # ------------------------------------------------------------------------------------------------- asking

    def after(self, number: int) -> list[Word]:
        """Words with a number above this one, oldest first, at most 1,000."""
        skip = max(0, len(self._words) - (self._last - number)) if number < self._last else len(self._words)
        return [self._words[i] for i in range(skip, min(len(self._words), skip + WORDS_AT_ONCE))]

    @property
    def last(self) -> int:
        """Number of the newest word."""
        return self._last

    def order(self, cid: str) -> Heard | None:
        return self._orders.get(cid)

    def open(self) -> list[Heard]:
        """Orders without a last word, oldest first."""
        return [order for order in self._orders.values() if not order.over]

    def waiting(self, ref_cid: str) -> Heard | None:
        """The newest replacement of `ref_cid` about which nothing was heard."""
        for order in reversed(self._orders.values()):
            if order.ref_cid == ref_cid and not order.taken and not order.over:
                return order
        return None

    # ------------------------------------------------------------------------------------------------ speaking

    def _order(self, cid: str) -> Heard | None:
        order = self._orders.get(cid)
        if order is None:
            self.counts["strangers"] += 1
        return order

    def _counted(self, exec_id: str) -> bool:
        if exec_id in self._executions or exec_id in self.heard_ids:
            self.counts["doubled_executions"] += 1
            return True
        return False

    def _take(self, order: Heard, ts_ms: int) -> None:
        """The first word about an order; a fill that overtook it brings it along."""
        if not order.taken:
            order.taken = True
            if not order.over:
                self._say(order, ts_ms, "replaced" if order.ref_cid else "acked")

    def _finish(self, order: Heard) -> None:
        """Note whether executions are missing; give the last word once none is."""
        if order.cum_qty > order.filled:
            self.behind.add(order.cid)
            return
        self.behind.discard(order.cid)
        final = order.final
        if final is None or order.over:
            return
        # Filled whole is said by the last fill; a venue that calls less than all of it filled has dropped the rest.
        kind = "canceled" if final.kind == "filled" else final.kind
        if kind in ("canceled", "expired"):
            self._take(order, final.ts_ms)
            order.asked = False
        order.over = True
        if kind != "replaced":  # that is said by the order that took its place
            self._say(order, final.ts_ms, kind)

    def _say(
        self,
        order: Heard,
        ts_ms: int,
        kind: str,
        *,
        exec_id: str = "",
        final: bool = False,
        last_qty: int = 0,
        price_ticks: int = 0,
        fee_units: int = 0,
        fee_lots: int = 0,
    ) -> None:
        self._last += 1
        self._words.append(
            Word(
                number=self._last,
                ts_ms=ts_ms,
                cid=order.cid,
                ref_cid=order.ref_cid if kind in ("replaced", "rejected") else "",
                venue_id=order.venue_id,
                kind=kind,
                exec_id=exec_id,
                final=final or kind in ("canceled", "expired", "rejected"),
                cum_qty=self.terms[order.symbol].lots(order.filled),
                last_qty=last_qty,
                price_ticks=price_ticks,
                fee_units=fee_units,
                fee_lots=fee_lots,
            )
        )
