"""The faults of the book: what a venue does to an order against its customer's expectation.

What is put off to a later bar is kept in memory only: a restart forgets it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np

from avwapd.demo_venue.desk import Desk
from avwapd.demo_venue.desk_hook import Hook
from avwapd.demo_venue.desk_shapes import ZERO, DeskRefused, NewOrder, Order
from avwapd.demo_venue.faults import Setting
from avwapd.demo_venue.sim import Sim

WHERE = "book"
SOMEBODY = "web"  # how the client ids of others' orders begin
BEYOND = 0.02  # how far a stop is jumped over when trading goes on after a halt


@dataclass(slots=True)
class Later:
    """What happens when `bars` more bars have opened."""

    bars: int
    act: Callable[[], None]


class FaultHook(Hook):
    """share: of a bar's volume that orders may take, as the exchange has it."""

    def __init__(self, sim: Sim, share: float) -> None:
        self._sim = sim
        self._share = share
        self._later: list[Later] = []
        self._dry: dict[str, int] = {}  # bars in which a symbol's orders find nobody
        self._halted: dict[str, int] = {}
        self._seen = len(sim.desk.executions())
        self._others = 0

    def _fires(self, name: str, symbol: str, **facts: Any) -> Setting | None:
        return self._sim.faults.fires(name, WHERE, symbol, **facts)

    # ----------------------------------------------------------------------------------------------------- bars

    def bars(self, desk: Desk, ts_ms: int, bars: Any) -> Any:
        """Fewer shares than there were, or no trading at all."""
        names = ("partial_then_nothing", "partial_then_cancel", "halt_reopen_gap")
        if not (self._dry or self._halted or any(map(self._sim.faults.is_set, names))):
            return bars
        rows = np.array(bars)
        keep = np.ones(len(rows), bool)
        for at, row in enumerate(rows):
            symbol = desk.exchange.symbols[int(row["symbol"])]
            if self._halts(desk, symbol, ts_ms, row):
                keep[at] = False
            elif self._dry.get(symbol):
                self._dry[symbol] -= 1
                row["volume"] = 0.0
            else:
                self._dry.pop(symbol, None)
                self._thin(desk, symbol, row)
        return rows[keep]

    def _thin(self, desk: Desk, symbol: str, row: Any) -> None:
        """Only half of what an order wants is to be had in this bar."""
        lot = desk.terms[symbol].lot
        for order in desk.live_orders():
            if order.symbol != symbol or order.rest < 2 * lot or not touched(order, row):
                continue
            for name in ("partial_then_nothing", "partial_then_cancel"):
                setting = self._fires(name, symbol, order=order.id)
                if setting is None:
                    continue
                half = order.rest // (2 * lot)
                row["volume"] = (float(half) + 0.5) * float(lot) / self._share
                if name == "partial_then_nothing":
                    self._dry[symbol] = int(setting.value)
                else:
                    self._put_off(0, partial(self._end, desk, order, "canceled"))
                return

    def _halts(self, desk: Desk, symbol: str, ts_ms: int, row: Any) -> bool:
        """No trading in this bar; the first one after it opens beyond the resting stop."""
        stop = next((o for o in desk.live_orders() if o.symbol == symbol and o.type == "stop" and o.stop), None)
        index = int(row["symbol"])
        if symbol not in self._halted:
            setting = self._fires("halt_reopen_gap", symbol) if stop is not None else None
            if setting is None:
                return False
            self._halted[symbol] = int(setting.value)
        if self._halted[symbol] > 0:
            self._halted[symbol] -= 1
            self._sim.market.withheld.add((ts_ms, index))
            return True
        del self._halted[symbol]
        if stop is not None and stop.stop is not None:
            gap = round(float(stop.stop) * (1 + stop.side * BEYOND), 2)
            row["open"] = gap
            row["high"], row["low"] = max(float(row["high"]), gap), min(float(row["low"]), gap)
            self._sim.market.revised[(ts_ms, index)] = row.copy()
        return False

    def opened(self, desk: Desk, ts_ms: int) -> None:
        due = [one for one in self._later if one.bars <= 0]
        self._later = [one for one in self._later if one.bars > 0]
        for one in self._later:
            one.bars -= 1
        for one in due:
            one.act()
        if self._sim.faults.is_set("trade_bust"):
            for execution in desk.executions(self._seen):
                setting = self._fires("trade_bust", execution.symbol, execution=execution.id)
                if setting is not None:
                    self._put_off(int(setting.value), partial(desk.bust, execution.id))
        self._seen = desk.last_execution

    def closed(self, desk: Desk, ts_ms: int) -> None:
        is_set = self._sim.faults.is_set
        if any(map(is_set, ("stop_vanishes", "stop_expires"))):
            for order in desk.live_orders():
                if order.type != "stop" or order.status == "held":
                    continue
                if self._fires("stop_vanishes", order.symbol, order=order.id):
                    desk.end(order, "gone")
                elif self._fires("stop_expires", order.symbol, order=order.id):
                    desk.end(order, "expired")
        if is_set("manual_close"):
            for symbol, qty in desk.true_positions().items():
                if self._fires("manual_close", symbol):
                    self._close(desk, symbol, qty)
        if is_set("foreign_order"):
            self._foreign(desk)
        if is_set("split") and self._sim.market.overnight():
            for symbol, qty in desk.true_positions().items():
                if setting := self._fires("split", symbol):
                    self._split(desk, symbol, qty, Decimal(str(setting.value)))
        if is_set("symbol_change") and self._sim.market.overnight():
            for symbol in desk.true_positions():
                if setting := self._fires("symbol_change", symbol):
                    self._sim.rename(symbol, str(setting.value))

    # --------------------------------------------------------------------------------------------------- orders

    def accepted(self, desk: Desk, order: Order) -> None:
        if not order.live or order.client_id.startswith(SOMEBODY):
            return
        if order.type == "stop":
            if self._fires("stop_held", order.symbol, order=order.id):
                desk.hold(order)
                return
            if self._fires("stop_rejected", order.symbol, order=order.id):
                desk.end(order, "rejected")
                return
        if self._fires("fill_after_reject", order.symbol, order=order.id):
            desk.end(order, "rejected")
            self._put_off(0, lambda: self._fill_all(desk, order))

    def canceling(self, desk: Desk, order: Order) -> bool:
        if order.client_id.startswith(SOMEBODY):
            return False  # these faults are about the customer's own orders
        if self._fires("cancel_races_fill", order.symbol, order=order.id):
            desk.end(order, "race")
            self._fill_all(desk, order)
            return True
        if self._fires("fill_after_cancel", order.symbol, order=order.id):
            desk.end(order, "canceled")
            self._put_off(0, lambda: self._fill_all(desk, order))
            return True
        return False

    def replacing(self, desk: Desk, order: Order) -> bool:
        if self._fires("replace_races_fill", order.symbol, order=order.id):
            desk.end(order, "race")
            self._fill_all(desk, order)
            return True
        return self._fires("replace_rejected", order.symbol, order=order.id) is not None

    def pieces(self, desk: Desk, order: Order, lots: int) -> int:
        if lots < 2 or not self._sim.faults.is_set("one_lot_fills"):
            return 1
        setting = self._fires("one_lot_fills", order.symbol, order=order.id)
        return min(int(setting.value), lots) if setting else 1

    # ------------------------------------------------------------------------------------------------ what it does

    def _put_off(self, bars: int, act: Callable[[], None]) -> None:
        self._later.append(Later(bars, act))

    def _end(self, desk: Desk, order: Order, kind: str) -> None:
        if order.live:
            desk.end(order, kind)

    def _fill_all(self, desk: Desk, order: Order) -> None:
        price = order.stop or order.limit or desk.marks.get(order.symbol)
        if price and order.rest > 0:
            desk.execute(order, order.rest, price)

    def _name(self) -> str:
        self._others += 1
        return f"{SOMEBODY}-{self._sim.seed}-{self._sim.market.closed_ms}-{self._others}"

    def _close(self, desk: Desk, symbol: str, qty: Decimal) -> None:
        """As a human does it on the venue's page: the orders first, then the rest at market."""
        for order in desk.live_orders():
            if order.symbol == symbol:
                desk.end(order, "canceled")
        side = -1 if qty > 0 else 1
        self._submit(desk, NewOrder(symbol=symbol, side=side, type="market", qty=abs(qty), client_id=self._name()))

    def _foreign(self, desk: Desk) -> None:
        """A buy far below the market that rests; value "market": one that fills."""
        for symbol in desk.terms:
            mark = desk.marks.get(symbol)
            setting = self._fires("foreign_order", symbol) if mark else None
            if setting is None or not mark:
                continue
            terms = desk.terms[symbol]
            least = max(terms.min_qty, terms.lot, terms.lots(2 * terms.min_notional / mark + terms.lot) * terms.lot)
            wanted = NewOrder(symbol=symbol, side=1, type="market", qty=least, client_id=self._name())
            if setting.value != "market":
                limit = terms.ticks(mark / 2) * terms.tick
                wanted = NewOrder(
                    symbol=symbol, side=1, type="limit", qty=least * 4, limit=limit, client_id=wanted.client_id
                )
            self._submit(desk, wanted)

    def _submit(self, desk: Desk, wanted: NewOrder) -> None:
        try:
            desk.submit(wanted)
        except DeskRefused as refused:
            self._sim.faults.log.append(
                {
                    "ts_ms": desk.now_ms(),
                    "fault": "refused",
                    "where": WHERE,
                    "symbol": wanted.symbol,
                    "why": str(refused),
                }
            )

    def _split(self, desk: Desk, symbol: str, qty: Decimal, shares: Decimal) -> None:
        """Overnight: `shares` new ones for each, prices accordingly; the broker cancels what rests; it is announced."""
        market = self._sim.market
        for order in desk.live_orders():
            if order.symbol == symbol:
                desk.end(order, "canceled")
        ratio = 1 / float(shares)
        mark = round(desk.marks.get(symbol, ZERO) / shares, 2)
        terms, there = desk.terms[symbol], qty * shares
        whole = terms.lots(there) * terms.lot  # a part of a lot is paid out
        desk.restate(symbol, whole - qty, (there - whole) * mark)
        desk.marks[symbol] = mark
        market.split(market.symbols.index(symbol), market.closed_ms + 1, ratio)
        new, old = (shares, Decimal(1)) if shares >= 1 else (Decimal(1), round(1 / shares, 6))
        day = datetime.fromtimestamp(market.next_ms // 1000 - 1, UTC)
        facts = {"symbol": self._sim.terms[symbol].wire, "ex_date": f"{day:%Y-%m-%d}"}
        self._sim.splits.append(facts | {"new": float(new), "old": float(old)})


def touched(order: Order, row: Any) -> bool:
    """A bar would fill some of the order."""
    if order.type == "market":
        return True
    price = float(order.stop or order.limit or 0)
    upwards = (order.side > 0) == (order.type == "stop")
    return bool(row["high"] >= price if upwards else row["low"] <= price)
