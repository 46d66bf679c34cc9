"""What Alpaca's answers and order updates say about our orders, as words; nothing here asks or waits."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from avwapd.ports import Clock
from avwapd.remote.terms import Terms
from avwapd.venues import alpaca_words as words
from avwapd.venues.alpaca_busts import BOOKED, Bust, Busts
from avwapd.venues.alpaca_words import Fill, Misshapen, Seen
from avwapd.venues.hearing import Heard, Hearing
from avwapd.venues.port import KnownOrder

log = logging.getLogger("avwapd.venues.alpaca")

STRANGERS = 100_000  # ids of orders that are not ours, remembered so that they are asked about once


class Ear:
    """`look`: called with the id of an order that should be asked about soon; counts: of what was heard, by name."""

    def __init__(
        self,
        terms: Mapping[str, Terms],
        symbol_of: Callable[[str], str | None],
        ours: Callable[[str], bool],
        clock: Clock,
        look: Callable[[str], None],
    ) -> None:
        self.hearing = Hearing(0, terms)
        self.counts: Counter[str] = Counter()
        self.busts: deque[Bust] = deque(maxlen=1_000)
        self.on_bust: Callable[[Bust], None] = lambda bust: None
        self.last_word_ms = 0
        self._terms = terms
        self._symbol_of = symbol_of
        self._ours = ours
        self._clock = clock
        self._look = look
        self._heard: Callable[[], None] = lambda: None
        self._told = 0  # number of the newest word that was rung for
        self._ids: dict[str, str] = {}  # venue id by ours
        self._cids: dict[str, str] = {}  # ours by venue id, "" for a stranger's
        self._back = Busts(clock)

    def begin(
        self, cursor: int, known: Sequence[KnownOrder], booked: Collection[str], heard: Callable[[], None]
    ) -> None:
        self.hearing = Hearing(cursor, self._terms, known, booked)
        self._told = cursor
        self._ids = {order.cid: order.venue_id for order in known if order.venue_id}
        self._cids = {venue_id: cid for cid, venue_id in self._ids.items()}
        self._heard = heard
        self._back.begin(booked)

    def ring(self) -> None:
        """Tell that there are words, if there are new ones."""
        if self.hearing.last != self._told:
            self._told = self.hearing.last
            self.last_word_ms = self._clock.now_ms()
            self._heard()

    def id_of(self, cid: str) -> str | None:
        return self._ids.get(cid)

    def cid_of(self, venue_id: str) -> str | None:
        """Our id of an order; "" for a stranger's, None where nobody has asked yet."""
        return self._cids.get(venue_id)

    def unsure(self, cid: str) -> bool:
        """Whether the order has to be asked about again: executions are missing, or one may have been taken back."""
        return cid in self.hearing.behind or cid in self._back.unsure

    def unsure_about(self, symbol: str) -> bool:
        """Whether a trade in the symbol may have been taken back."""
        orders = map(self.hearing.order, self._back.unsure)
        return any(order is not None and order.symbol == symbol for order in orders)

    # ---------------------------------------------------------------------------------------------- an order

    def observe(self, order: Seen) -> None:
        """What one sight of an order says; nothing of it is news twice."""
        hearing = self.hearing
        known = hearing.order(order.cid)
        if known is None:
            if len(self._cids) < len(self._ids) + STRANGERS:
                self._cids[order.id] = ""
            return
        self._ids[order.cid], self._cids[order.id] = order.id, order.cid
        ref_cid = known.ref_cid or self._cids.get(order.replaces, "")
        if ref_cid:
            # Accepted is not replaced yet: the old order works until the venue says so.
            if order.status in words.WORKING or order.filled or order.status in ("filled", "canceled", "expired"):
                hearing.replaced(order.cid, ref_cid, order.id, order.submitted_ms)
        elif order.status in words.STATES and order.status != "rejected":
            hearing.acked(order.cid, order.id, order.submitted_ms)
        hearing.progress(order.cid, order.filled)
        if order.status in words.FINAL:
            self._observe_end(order)
        elif order.status not in words.STATES:
            self.counts["unknown_statuses"] += 1
        self._observe_busts(order, known)
        if self.unsure(order.cid):
            self._look(order.cid)

    def _observe_busts(self, order: Seen, known: Heard) -> None:
        bust = self._back.seen(order, known.filled, known.symbol, self._terms[known.symbol].lot)
        if bust is not None:
            self.counts["busts_by_rest"] += 1
            self._tell(bust)

    def _observe_end(self, order: Seen) -> None:
        kind = order.status
        if kind == "replaced":
            successor = self._cids.get(order.replaced_by)
            if successor is None and self.hearing.waiting(order.cid) is None:
                self._look(order.cid)  # by whom is asked for, not guessed
                return
            kind = "canceled" if successor == "" else "replaced"
        self.hearing.final(order.cid, kind, order.ended_ms, cum_qty=order.filled)

    def executed(self, cid: str, fill: Fill) -> None:
        order = self.hearing.order(cid)
        before = order.filled if order is not None else Decimal(0)
        self.hearing.executed(cid, fill.exec_id, fill.ts_ms, qty=fill.qty, price=fill.price)
        if order is not None and order.filled != before:
            self._back.counted(cid, fill, before)

    # ---------------------------------------------------------------------------------------------- an update

    def take_update(self, message: Any) -> None:
        """One message of the stream. Raises Misshapen."""
        data = words.mapping(words.mapping(message, "a message").get("data"), "an update")
        event = words.text(data, "event")
        cid = words.text(words.mapping(data.get("order"), "an order"), "client_order_id", empty=True)
        if not self._ours(cid):
            self.counts["foreign_events"] += 1
            return
        order = words.seen(data["order"])
        if self.hearing.order(order.cid) is None:
            self.counts["strangers"] += 1
            return
        if event in ("trade_bust", "trade_correct"):
            self._take_bust(data, order)
            return
        if event == "order_replace_rejected":
            self._replace_rejected(order, words.moment(data, "timestamp", "at"))
            return
        if event in ("fill", "partial_fill"):
            self.executed(order.cid, words.update_fill(data, order))
        elif event == "order_cancel_rejected":
            self.hearing.cancel_refused(order.cid, words.moment(data, "timestamp", "at"))
        elif event not in words.EVENTS:
            self.counts["unknown_events"] += 1
        self.observe(order)

    def _replace_rejected(self, order: Seen, ts_ms: int) -> None:
        """Told of the order that stays, or of the one that was to take its place."""
        refused = self.hearing.waiting(order.cid)
        known = self.hearing.order(order.cid)
        if refused is None and known is not None and known.ref_cid and not known.taken:
            refused = known
        if refused is not None:
            self.hearing.final(refused.cid, "rejected", ts_ms, cum_qty=Decimal(0))

    def _take_bust(self, data: dict[str, Any], order: Seen) -> None:
        symbol = self._symbol_of(order.wire)
        name = words.text(data, "previous_execution_id", empty=True) or words.text(data, "execution_id", empty=True)
        name = name or words.execution_id(order.id, order.filled)
        if symbol is None:
            raise Misshapen(f"a trade taken back of {order.wire}")
        qty, price = words.positive(data, "qty"), words.positive(data, "price")
        ts_ms = words.moment(data, "timestamp", "at")
        if self._back.named(name, order.cid, qty, price):
            self._tell(Bust(f"{BOOKED}{name}", order.cid, symbol, order.side, str(qty), str(price), ts_ms))
        known = self.hearing.order(order.cid)
        if known is not None:
            self._observe_busts(order, known)  # another one, whose message was lost

    def _tell(self, bust: Bust) -> None:
        self.counts["busts"] += 1
        log.error("%s: the venue took a trade back: %s at %s (%s)", bust.symbol, bust.qty, bust.price, bust.cid)
        self.busts.append(bust)
        self.on_bust(bust)
