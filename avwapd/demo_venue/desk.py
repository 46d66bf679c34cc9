"""One account at a simulated venue: decimal orders and money over the matching book that the embedded venue has.

The book's file and the desk's own log are two; a restart replays the log beside the book's words, in the order in which
they came about. A line that no word followed (killed in between) never reached the book, and is dropped.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from avwapd.demo_venue.desk_books import Books
from avwapd.demo_venue.desk_check import Checks
from avwapd.demo_venue.desk_hook import Hook
from avwapd.demo_venue.desk_log import order_facts
from avwapd.demo_venue.desk_shapes import ZERO, Change, DeskRefused, NewOrder, Order


class Desk(Books):
    """The account as customer and venue use it (see Books for what it is made of). hook: where faults reach in."""

    hook = Hook()

    # ------------------------------------------------------------------------------------------------ questions

    def get(self, order_id: str) -> Order | None:
        """The order by its id, also one that questions do not find yet."""
        return self._by_id.get(order_id)

    def by_id(self, order_id: str) -> Order | None:
        """As the venue shows it: a slow one finds a new order only after a while."""
        return self._shown(self._by_id.get(order_id))

    def by_client_id(self, client_id: str) -> Order | None:
        """As the venue shows it; of several the live one, else the newest."""
        found = [order for order in self._by_client.get(client_id, ()) if self._shown(order)]
        return max(found, key=lambda order: (order.live, order.number), default=None)

    def orders(self, *, open_only: bool = False) -> list[Order]:
        """As the venue shows them, the oldest first."""
        source = self._live if open_only else self._orders
        return [order for order in source.values() if self._shown(order)]

    def positions(self, *, lag_ms: int | None = None) -> dict[str, Decimal]:
        """As the venue shows them: signed, flat ones left out. lag_ms: instead of the profile's."""
        now_ms = self.now_ms()
        lag = self.profile.positions_lag_ms if lag_ms is None else lag_ms
        shown = dict(self._positions)
        for at_ms, symbol, change in self._unseen:
            if at_ms + lag > now_ms:
                shown[symbol] = shown.get(symbol, ZERO) - change
        return {symbol: qty for symbol, qty in shown.items() if qty}

    def buying_power(self) -> Decimal:
        return self._checks.buying_power()

    def holds(self, symbol: str, side: int) -> Decimal:
        """What the live orders of one side still want."""
        return self._checks.resting(symbol, side)

    def average_entry(self, symbol: str) -> Decimal:
        """Average price at which the position was built; 0 where flat."""
        qty, cost = ZERO, ZERO
        for execution in self.executions():
            if execution.symbol != symbol:
                continue
            change = execution.side * execution.qty
            if qty * change >= 0:
                qty, cost = qty + change, cost + change * execution.price
            elif abs(change) <= abs(qty):
                cost, qty = cost * (qty + change) / qty, qty + change
            else:
                qty += change
                cost = qty * execution.price
        return cost / qty if qty else ZERO

    def _shown(self, order: Order | None) -> Order | None:
        return order if order is not None and order.shown_ms <= self.now_ms() else None

    @property
    def _checks(self) -> Checks:
        return Checks(self)

    def _pieces_of(self, order: Order, lots: int) -> int:
        return self.hook.pieces(self, order, lots)

    # --------------------------------------------------------------------------------------------------- orders

    def submit(self, wanted: NewOrder) -> Order:
        """Take an order; what a running bar fills of it at once is in the answer. Raises DeskRefused."""
        self._checks.order(wanted)
        known = self._by_client.get(wanted.client_id)
        if wanted.client_id and known and self.profile.refuses_duplicates:
            raise DeskRefused("duplicate", "client_order_id must be unique", {"order_id": known[-1].id})
        order = self._new_order(wanted)
        self._do({"do": "submit", "order": order_facts(order), "ts_ms": order.created_ms})
        return self._taken(order)

    def replace(self, order_id: str, change: Change) -> Order:
        """A new order in the old one's place; raises DeskRefused, and the old one works on."""
        old = self._by_id.get(order_id)
        if old is None:
            raise DeskRefused("not_found", f"order not found for {order_id}")
        if not old.live:
            raise DeskRefused("not_cancelable", f"cannot replace order in {old.status} status")
        wanted = NewOrder(
            symbol=old.symbol,
            side=old.side,
            type=old.type,
            qty=old.rest if change.qty is None else change.qty,
            limit=old.limit if change.limit is None else change.limit,
            stop=old.stop if change.stop is None else change.stop,
            tif=change.tif or old.tif,
            client_id=change.client_id,
            extra=old.extra,
        )
        self._checks.order(wanted, instead_of=old)
        if change.client_id and change.client_id in self._by_client and self.profile.refuses_duplicates:
            raise DeskRefused("duplicate", "client_order_id must be unique", {})
        if self.hook.replacing(self, old):
            raise DeskRefused("not_cancelable", f"cannot replace order in {old.status} status")
        order = self._new_order(wanted)
        order.replaces = old.id
        self._do({"do": "replace", "order": order_facts(order), "ts_ms": order.created_ms})
        return self._taken(order)

    def cancel(self, order_id: str) -> None:
        """Take an order out; raises DeskRefused where there is nothing to take out."""
        order = self._by_id.get(order_id)
        if order is None:
            raise DeskRefused("not_found", f"order not found for {order_id}")
        if not order.live:
            raise DeskRefused("not_cancelable", f"order is already in {order.status} state")
        if not self.hook.canceling(self, order):
            self.end(order, "canceled")

    def end(self, order: Order, kind: str) -> None:
        """The venue's own act: a live order is canceled | expired | rejected, or vanishes without a word ("gone").

        "race": out of the book only, for `execute` to fill it.
        """
        self._do({"do": "end", "number": order.number, "as": kind, "ts_ms": self.now_ms()})

    def hold(self, order: Order) -> None:
        """The venue keeps an accepted order from working."""
        self._do({"do": "hold", "number": order.number, "ts_ms": self.now_ms()})

    def execute(self, order: Order, qty: Decimal, price: Decimal) -> None:
        """Fill past the book, whatever the order's state; what is in the book of it must be ended first."""
        line = {"do": "execute", "number": order.number, "qty": str(qty), "price": str(price)}
        self._do(line | {"ts_ms": self.now_ms()})

    def bust(self, execution_id: str) -> None:
        """Take an execution back, as if it had never been."""
        self._do({"do": "bust", "execution": execution_id, "ts_ms": self.now_ms()})

    def restate(self, symbol: str, qty: Decimal, cash: Decimal = ZERO) -> None:
        """Add to a position and to cash without an order: splits, dividends, transfers."""
        self._do({"do": "restate", "symbol": symbol, "qty": str(qty), "cash": str(cash), "ts_ms": self.now_ms()})

    def _new_order(self, wanted: NewOrder) -> Order:
        self._numbers += 1
        now_ms = self.now_ms()
        new_id = self._uuid("order", self._numbers)
        return Order(
            number=self._numbers,
            id=new_id,
            client_id=wanted.client_id or self._uuid("client", self._numbers),
            symbol=wanted.symbol,
            side=wanted.side,
            type=wanted.type,
            qty=wanted.qty,
            limit=wanted.limit,
            stop=wanted.stop,
            tif=wanted.tif,
            created_ms=now_ms,
            extra=dict(wanted.extra),
            status="pending",
            expires_ms=self._session_close(wanted.symbol, now_ms) if wanted.tif == "day" else 0,
            shown_ms=now_ms + self._chance.randint(*self.profile.shown_ms) if self.profile.shown_ms[1] else 0,
        )

    def _taken(self, order: Order) -> Order:
        taken = self._orders.get(order.number)
        if taken is None:
            raise DeskRefused("bad_order", "the book does not take the order")
        self.hook.accepted(self, taken)
        return taken

    # --------------------------------------------------------------------------------------------------- market

    def open_bar(self, ts_ms: int, bars: Any) -> None:
        """The book meets the bars (BAR records of one ts_ms)."""
        bars = self.hook.bars(self, ts_ms, bars)
        self.exchange.open_bar(ts_ms, bars)
        self._pull()
        for bar in bars if self._parked else ():
            for number in sorted(self._parked):
                order = self._orders[number]
                if order.status != "held" and self._elects(order, bar):
                    self._do({"do": "elect", "number": number, "ts_ms": self.now_ms()})
        self.hook.opened(self, ts_ms)

    def close_bar(self, ts_ms: int, bars: Any) -> None:
        """The bars are over: newest prices, and day orders whose session ended."""
        self.exchange.close_bar(ts_ms)
        self.mark(bars)
        for order in self.live_orders():
            if order.expires_ms and ts_ms >= order.expires_ms:
                self.end(order, "expired")
        self.hook.closed(self, ts_ms)

    def mark(self, bars: Any) -> None:
        """Remember the closes of these bars."""
        names = self.exchange.symbols
        self.marks.update((names[row["symbol"]], Decimal(str(float(row["close"])))) for row in bars)

    def _elects(self, order: Order, bar: Any) -> bool:
        """A bar reaches the stop of a stop-limit: from the next bar on its limit works."""
        if order.type != "stop_limit" or order.stop is None or self.exchange.symbols[bar["symbol"]] != order.symbol:
            return False
        return bool(bar["high"] >= float(order.stop) if order.side > 0 else bar["low"] <= float(order.stop))
