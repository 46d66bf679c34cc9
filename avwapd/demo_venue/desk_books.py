"""A desk's state, and the two things that move it: lines of its own log, and words of the book.

Live and after a restart they pass through the same functions in the same order.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from avwapd.demo_venue.desk_log import DeskLog, order_of
from avwapd.demo_venue.desk_shapes import (
    LIVE,
    ZERO,
    DeskEvent,
    DeskRefused,
    Execution,
    FeeRule,
    Order,
    Profile,
)
from avwapd.remote.terms import Terms
from avwapd.venues.book import Exchange
from avwapd.venues.port import Request, VenueRefused, Word


class Books:
    """terms: by our symbol, each of the exchange's; state: the log file, beside the exchange's own.

    session_close: (symbol, market ms) -> when a day order accepted then expires, 0: never. Events are told inside the
    call that causes them; a listener must not call back.
    """

    def __init__(
        self,
        exchange: Exchange,
        terms: Mapping[str, Terms],
        *,
        cash: Decimal,
        fees: FeeRule,
        profile: Profile,
        now_ms: Callable[[], int],
        state: Path,
        seed: int = 1,
        session_close: Callable[[str, int], int] = lambda symbol, ts_ms: 0,
    ) -> None:
        self.exchange = exchange
        self.terms = terms
        self.fees = fees
        self.profile = profile
        self.now_ms = now_ms
        self.start_cash = cash
        self.cash = cash
        self.on_event: list[Callable[[DeskEvent], None]] = []
        self.marks: dict[str, Decimal] = {}  # the newest closes
        self._seed = seed
        self._session_close = session_close
        self._chance = random.Random(f"{seed}/desk")
        self._orders: dict[int, Order] = {}
        self._by_id: dict[str, Order] = {}
        self._by_client: dict[str, list[Order]] = {}
        self._live: dict[int, Order] = {}
        self._parked: set[int] = set()  # stop-limits that wait for their stop, and orders held: not in the book
        self._ends_as: dict[int, str] = {}  # what the book's "canceled" means for an order
        self._pieces: dict[int, int] = {}  # by word: into how many executions a fill is told
        self._executions: list[Execution] = []
        self._busted: set[str] = set()
        self._positions: dict[str, Decimal] = {}
        self._unseen: list[tuple[int, str, Decimal]] = []  # (from when shown, symbol, change)
        self._at_ms = 0
        self._word = 0
        self._events = 0
        self._numbers = 0
        self._log = DeskLog(state)
        self._restore()

    def close(self) -> None:
        self._log.close()

    def _uuid(self, *parts: object) -> str:
        digest = hashlib.sha256("/".join(map(str, (self._seed, *parts))).encode()).digest()[:16]
        return str(uuid.UUID(bytes=digest, version=4))

    def _pieces_of(self, order: Order, lots: int) -> int:
        """Into how many executions a fill is told."""
        return 1

    def all_orders(self) -> list[Order]:
        return list(self._orders.values())

    def live_orders(self) -> list[Order]:
        return list(self._live.values())

    def executions(self, after: int = 0) -> list[Execution]:
        """With number > after, the oldest first; busted ones are left out."""
        return [execution for execution in self._executions[after:] if execution.id not in self._busted]

    @property
    def last_execution(self) -> int:
        """The number of the newest one, 0 where there is none."""
        return len(self._executions)

    def held(self, symbol: str) -> Decimal:
        """The true position."""
        return self._positions.get(symbol, ZERO)

    def true_positions(self) -> dict[str, Decimal]:
        return {symbol: qty for symbol, qty in self._positions.items() if qty}

    def equity(self) -> Decimal:
        """Cash and positions at the newest closes."""
        return self.cash + sum(
            (qty * self.marks.get(symbol, ZERO) for symbol, qty in self._positions.items()), start=ZERO
        )

    # ------------------------------------------------------------------------------------------ what was decided

    def _do(self, line: dict[str, Any]) -> None:
        """Keep the line, bring it to the book, hear what the book says."""
        line["word"] = self._word
        self._log.add(line)
        request = self._apply(line)
        if request is not None:
            try:
                self.exchange.take(request)
            except VenueRefused as refused:
                raise DeskRefused("bad_order", str(refused)) from refused
        self._pull()

    def _restore(self) -> None:
        words = self._saved_words()
        for line in self._log.saved():
            while words and words[0].number <= line["word"]:
                self._hear(words.pop(0))
            self._apply(line)
        for word in words:
            self._hear(word)
        self._unseen = []
        self._settle()

    def _settle(self) -> None:
        """Undo what the last line meant to do, where a kill came before the book heard of it."""
        for number in [number for number, order in self._orders.items() if order.status == "pending"]:
            del self._orders[number]
        self._ends_as.clear()
        for number, order in self._live.items():
            there = self.exchange.look_up(f"o{number}")
            in_book = there is not None and there.state == "live"
            if in_book and number in self._parked:
                self._parked.discard(number)
                order.status = "partially_filled" if order.filled else "new"
            elif not in_book:
                self._parked.add(number)

    def _saved_words(self) -> list[Word]:
        found: list[Word] = []
        while chunk := self.exchange.words(found[-1].number if found else 0):
            found += chunk
        return found

    def _apply(self, line: dict[str, Any]) -> Request | None:
        """A line's own effect; returns what the book is to be asked for."""
        self._at_ms = int(line["ts_ms"])
        act = line["do"]
        if act in ("submit", "replace"):
            return self._apply_order(line)
        if act == "pieces":
            self._pieces[line["fill"]] = line["count"]
        elif act == "bust":
            self._apply_bust(line["execution"])
        elif act == "restate":
            self.cash += Decimal(line["cash"])
            self._move(line["symbol"], Decimal(line["qty"]))
        else:
            order = self._orders[line["number"]]
            if act == "execute":
                self._fill(order, Decimal(line["qty"]), Decimal(line["price"]), self._at_ms, f"log/{self._log.count}")
            elif act == "elect":
                self._parked.discard(order.number)
                return self._request("submit", order, type="limit")
            elif act == "hold":
                order.status, in_book = "held", order.number not in self._parked
                self._parked.add(order.number)
                self._tell("held", order)
                if in_book:
                    self._ends_as[order.number] = "hold"
                    return self._request("cancel", order)
            elif order.number in self._parked:
                self._end(order, line["as"])
            else:
                self._ends_as[order.number] = line["as"]
                return self._request("cancel", order)
        return None

    def _apply_order(self, line: dict[str, Any]) -> Request | None:
        order = order_of(line["order"])
        self._numbers = order.number
        old = self._by_id.get(order.replaces) if order.replaces else None
        self._orders[order.number] = order
        if old is not None and old.number in self._parked:
            held = old.status == "held"
            self._parked.discard(old.number)
            self._replaced(old, order)
            self._parked.add(order.number)
            if held:  # what replaces an order that is kept from working is kept from it too
                order.status = "held"
                self._tell("held", order)
            return None
        if order.type == "stop_limit":
            self._parked.add(order.number)
            self._accept(order)
            return None
        return self._request("replace" if old else "submit", order, old)

    def _request(self, kind: str, order: Order, old: Order | None = None, *, type: str = "") -> Request:
        terms = self.terms[order.symbol]
        kind_of_order = type or order.type
        name = f"o{order.number}"
        return Request(
            kind=kind,
            cid=f"c{self._log.count}" if kind == "cancel" else name,
            ref_cid=name if kind == "cancel" else f"o{old.number}" if old else "",
            symbol=order.symbol,
            purpose="entry",
            side=order.side,
            type=kind_of_order,
            qty=terms.lots(order.rest),
            limit_ticks=terms.ticks(order.limit or ZERO) if kind_of_order == "limit" else 0,
            stop_ticks=terms.ticks(order.stop or ZERO) if kind_of_order == "stop" else 0,
        )

    # ---------------------------------------------------------------------------------------- what the book says

    def _pull(self) -> None:
        while words := self.exchange.words(self._word):
            for word in words:
                if word.kind == "filled":
                    count = self._pieces_of(self._orders[int(word.cid[1:])], word.last_qty)
                    if count > 1:
                        line = {"do": "pieces", "fill": word.number, "count": count, "word": self._word}
                        self._log.add(line | {"ts_ms": self._at_ms})
                        self._pieces[word.number] = count
                self._hear(word)

    def _hear(self, word: Word) -> None:
        self._word = word.number
        order = self._orders.get(int(word.cid[1:])) if word.cid else None
        if order is None:
            return
        if word.kind == "filled":
            terms = self.terms[order.symbol]
            count = self._pieces.pop(word.number, 1)
            left = word.last_qty
            for piece in range(count):
                lots = left if piece == count - 1 else min(left - (count - 1 - piece), max(1, word.last_qty // count))
                left -= lots
                name = f"word/{word.number}/{piece}"
                self._fill(order, lots * terms.lot, word.price_ticks * terms.tick, word.ts_ms, name)
        elif word.kind == "acked":
            if order.status == "pending":
                self._accept(order)
        elif word.kind == "replaced":
            old = self._orders[int(word.ref_cid[1:])]
            self._replaced(old, order)
        elif word.kind == "rejected":
            self._orders.pop(order.number, None)
        elif word.kind == "canceled":
            self._end(order, self._ends_as.pop(order.number, "canceled"))

    def _accept(self, order: Order) -> None:
        order.status = "new"
        self._live[order.number] = order
        self._by_id[order.id] = order
        self._by_client.setdefault(order.client_id, []).append(order)
        self._tell("new", order)

    def _replaced(self, old: Order, order: Order) -> None:
        old.status, old.replaced_by, old.replaced_ms = "replaced", order.id, self._at_ms
        self._live.pop(old.number, None)
        order.status = "new"
        self._live[order.number] = order
        self._by_id[order.id] = order
        self._by_client.setdefault(order.client_id, []).append(order)
        self._tell("replaced", old)
        self._tell("new", order)

    def _end(self, order: Order, kind: str) -> None:
        if kind in ("hold", "race") or order.status not in LIVE:
            return
        self._live.pop(order.number, None)
        self._parked.discard(order.number)
        order.status = "canceled" if kind == "gone" else kind
        stamp = {"expired": "expired_ms", "rejected": "failed_ms"}.get(kind, "canceled_ms")
        setattr(order, stamp, self._at_ms)
        order.reason = "rejected by the venue" if kind == "rejected" else ""
        if kind == "gone":
            order.updated_ms = self._at_ms
        else:
            self._tell(order.status, order)

    def _fill(self, order: Order, qty: Decimal, price: Decimal, ts_ms: int, name: str) -> None:
        fee_quote, fee_base = self.fees.of(order.side, qty, price)
        order.filled += qty
        order.notional += qty * price
        order.fee_quote += fee_quote
        order.fee_base += fee_base
        done = order.filled >= order.qty
        if order.status in LIVE:
            order.status = "filled" if done else "partially_filled"
        elif done and order.status != "replaced":
            order.status = "filled"  # late: after its cancel, expiry or rejection
        if order.status == "filled":
            order.filled_ms = ts_ms
            self._live.pop(order.number, None)
            self._parked.discard(order.number)
        self.cash -= order.side * qty * price + fee_quote
        self._move(order.symbol, order.side * qty - fee_base)
        kind = "fill" if done else "partial_fill"
        execution = Execution(
            number=len(self._executions) + 1,
            id=self._uuid("execution", name),
            order_id=order.id,
            client_id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            qty=qty,
            price=price,
            fee_quote=fee_quote,
            fee_base=fee_base,
            ts_ms=ts_ms,
            cum_qty=order.filled,
            type=kind,
        )
        self._executions.append(execution)
        self._tell(kind, order, execution, ts_ms)

    def _apply_bust(self, execution_id: str) -> None:
        execution = next(one for one in self._executions if one.id == execution_id)
        order = self._by_id[execution.order_id]
        self._busted.add(execution_id)
        self.cash += execution.side * execution.qty * execution.price + execution.fee_quote
        self._move(execution.symbol, execution.fee_base - execution.side * execution.qty)
        order.filled -= execution.qty
        order.notional -= execution.qty * execution.price
        self._tell("trade_bust", order, execution)

    def _move(self, symbol: str, change: Decimal) -> None:
        self._positions[symbol] = self._positions.get(symbol, ZERO) + change
        now_ms = self._at_ms
        self._unseen = [one for one in self._unseen if one[0] + 600_000 > now_ms]
        self._unseen.append((max(now_ms, self.now_ms() if self.on_event else now_ms), symbol, change))

    def _tell(self, kind: str, order: Order, execution: Execution | None = None, ts_ms: int = 0) -> None:
        self._events += 1
        at_ms = ts_ms or self._at_ms
        order.updated_ms = max(order.updated_ms, at_ms)
        if self.on_event:
            event = DeskEvent(
                number=self._events,
                kind=kind,
                ts_ms=at_ms,
                order=replace(order),
                execution=execution,
                position=self.held(order.symbol),
            )
            for listen in self.on_event:
                listen(event)
