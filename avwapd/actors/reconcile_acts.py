"""What follows where ledger and venue differ: the ledger follows, a symbol is left to a human, an order is canceled."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np

from avwapd.actors import books as compare
from avwapd.actors.books import Difference
from avwapd.actors.mail import Acted, Adjusted, Restated
from avwapd.actors.symbols import Symbols
from avwapd.core.codes import ACT_FLATTEN, ACT_HALT, SLOT_EMPTY, SLOT_PENDING
from avwapd.core.machine import FROZEN
from avwapd.core.records import ACTION
from avwapd.feeds.market import due
from avwapd.ports import Clock
from avwapd.remote.terms import Terms
from avwapd.store import ledger, notes
from avwapd.store.journal import ALL, Act, Adjustment
from avwapd.store.kill_note import Sale
from avwapd.store.writer import Writer
from avwapd.venues.port import Books, RemoteVenue, VenueDoubt, VenueRefused

log = logging.getLogger("avwapd.reconcile")
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


NEVER_MS = 1 << 62
EXACT = 1.0 + 1e-12  # a quotient this close below a whole number is that number


async def nothing_due() -> Any:
    """No corporate action is known."""
    return np.zeros(0, ACTION)


async def nothing_told(what: str) -> None:
    """Nobody wants to hear of it."""


class Consequences:
    """on_foreign: alert | adopt | flatten. quarantined: symbols that were frozen here.

    waiting_exits: symbols whose exit is decided and cannot leave, as of the newest look; due_actions: ACTION rows that
    are known of the coming session and not folded.
    """

    def __init__(
        self,
        venue: RemoteVenue,
        symbols: Symbols,
        writer: Writer,
        clock: Clock,
        *,
        terms: list[Terms],
        on_foreign: str,
    ) -> None:
        self.due_actions: Callable[[], Awaitable[Any]] = nothing_due
        self.sales: Callable[[], tuple[Sale, ...]] = lambda: ()  # of the kill program
        self.tell_unknown: Callable[[str], Awaitable[None]] = nothing_told
        self.quarantined: set[int] = set()
        self.waiting_exits: set[int] = set()
        self._venue = venue
        self._symbols = symbols
        self._writer = writer
        self._clock = clock
        self._terms = terms
        self._on_foreign = on_foreign
        self._states = symbols.journal.world.states
        self._sold: dict[int, tuple[Sale, ...]] = {}  # of quarantined symbols: what the kill program had sold by then
        self._lost: set[str] = set()  # live orders that the venue said it does not know

    def busts(self) -> list[Any]:
        """Trades that the venue took back."""
        return list(getattr(self._venue, "busts", ()))

    def stands(self, each: Difference) -> bool:
        """What was done about a difference still holds: a quarantine that the operator ended begins anew, and so does
        one whose sales the kill program has heard more of since.
        """
        if each.symbol < 0 or each.symbol not in self.quarantined:
            return True
        return self._halted(each.symbol) and self._sold.get(each.symbol) == self._sales_of(each.symbol)

    def _sales_of(self, symbol: int) -> tuple[Sale, ...]:
        return tuple(sale for sale in self.sales() if sale.symbol == self._terms[symbol].symbol)

    def forget(self, found: list[Difference]) -> None:
        """What is not found any more begins anew when it is found again."""
        self._lost &= {each.key for each in found}

    def _halted(self, symbol: int) -> bool:
        return bool(self._states[symbol]["halted"] == FROZEN)

    async def act(self, each: Difference, read: Books) -> bool:
        """The consequence of a difference that two readings agree about; True where it is dealt with."""
        name = self._symbols.journal.symbol_name(each.symbol)
        if each.kind == compare.CASH:
            await self.alert("warning", f"{each.words}; see the venue's statement")
        elif each.kind == compare.POSITION:
            return await self._act_on_position(each, read)
        elif each.kind == compare.MISSING:
            return await self._act_on_missing(each)
        elif each.kind == compare.GHOST:
            return await self._cancel(each, "nobody wants it any more")
        elif each.kind == compare.UNKNOWN:
            await self.tell_unknown(each.what)
            await self._quarantine(each, "bring back the ledger that made it, or cancel it at the venue")
        elif self._on_foreign == "flatten":
            return await self._cancel(each, "reconcile.on_foreign = flatten")
        elif self._on_foreign == "adopt":
            await self.alert("info", each.what)
        else:
            await self.alert("warning", f"{each.what}; no entries: cancel it, then avwapd ctl resume {name}")
            await self._do(Act(ACT_HALT, each.symbol, False, "reconcile", each.what))
        return True

    async def _act_on_position(self, each: Difference, read: Books) -> bool:
        if await self._fold_split(each) or await self._undo_busts(each) or await self._book_sales(each):
            return True
        policy = self._on_foreign
        price = self._price(each, read)
        if policy == "alert" or price == 0:
            await self._quarantine(each, "correct it at the venue, or set reconcile.on_foreign = adopt and start anew")
            return True
        name = self._symbols.journal.symbol_name(each.symbol)
        await self.alert("critical", f"{each.what}: the ledger follows (reconcile.on_foreign = {policy})")
        now_ms = self._clock.now_ms()
        await self._adjust(Adjustment(each.symbol, each.lots, price, 0, f"adopt-{name}-{now_ms}", each.what))
        if policy == "flatten":
            await self._do(Act(ACT_FLATTEN, each.symbol, False, "reconcile", each.what))
        return True

    def _price(self, each: Difference, read: Books) -> int:
        """Ticks at which it is booked: what the venue says it paid for more, else the last close; 0: unknown."""
        term, state = self._terms[each.symbol], self._states[each.symbol]
        holding = read.holdings.get(term.symbol)
        close = float(state["last_close"])
        held = int(state["qty"]) * int(state["side"])
        grew = holding is not None and abs(held + each.lots) > abs(held) and holding.entry_price > 0
        price = holding.entry_price if holding is not None and grew else close
        return term.ticks(str(price)) if price > 0 else 0

    async def _fold_split(self, each: Difference) -> bool:
        """A split that the venue booked before its session opens, where it is the whole difference: now is its time.

        All that session's actions are folded with it, as before its first bar.
        """
        state, term = self._states[each.symbol], self._terms[each.symbol]
        held = int(state["qty"])
        if not held:
            return False
        actions = await self.due_actions()
        after_ms = int(self._symbols.journal.world.portfolio[0]["restated_ms"])
        for rows in due(actions, after_ms, NEVER_MS):
            ratios = rows["split_ratio"][rows["symbol"] == each.symbol]
            now_held = abs(held * int(state["side"]) + each.lots)
            if any(math.floor(held / ratio * EXACT) == now_held for ratio in ratios.tolist() if ratio != 1.0):
                await self.alert("warning", f"{each.what}: its split is folded now, and its stop placed anew")
                mail = Restated(rows)
                await self._symbols.put(mail)
                await mail.done.wait()
                log.info("%s is restated for the coming session", term.symbol)
                return True
        return False

    async def look_back(self, found: Iterable[Difference]) -> None:
        """Ask what became of the orders of symbols whose positions differ: a trade may have been taken back unheard."""
        look_back = getattr(self._venue, "look_back", None)
        symbols = sorted({self._terms[each.symbol].symbol for each in found if each.kind == compare.POSITION})
        if look_back is None or not symbols:
            return
        try:
            await look_back(symbols)
        except VenueDoubt as doubt:
            log.warning("the orders of %s cannot be looked at: %s", ", ".join(symbols), doubt)

    def unsure(self, each: Difference) -> bool:
        """An order of the symbol is to be seen once more before it is known whether a trade was taken back."""
        ask = getattr(self._venue, "unsure", None)
        return each.kind == compare.POSITION and ask is not None and bool(ask(self._terms[each.symbol].symbol))

    async def taken_back(self, each: Difference) -> list[Any]:
        """The trades that the venue took back, where those not booked yet are the whole difference: books and orders,
        asked apart, say the same.
        """
        if each.kind != compare.POSITION:
            return []
        term = self._terms[each.symbol]
        busts = [bust for bust in self.busts() if bust.symbol == term.symbol]
        if busts:
            booked = await self._writer.submit(ledger.exec_ids)
            busts = [bust for bust in busts if not {bust.exec_id, bust.booked_as} & booked]
        return busts if sum(-bust.side * term.lots(bust.qty) for bust in busts) == each.lots else []

    async def _undo_busts(self, each: Difference) -> bool:
        """Trades that the venue took back, where they are the whole difference: each is booked the other way round."""
        term = self._terms[each.symbol]
        busts = await self.taken_back(each)
        prices = [price for bust in busts if (price := await self._price_of(bust, term)) is not None]
        if not busts or len(prices) < len(busts):
            return False
        for bust, price in zip(busts, prices, strict=True):
            what = f"{term.symbol}: the venue took back {bust.qty} at {bust.price or 'its price'} ({bust.cid})"
            await self.alert("critical", f"{what}: the ledger follows")
            change, ticks = -bust.side * term.lots(bust.qty), term.ticks(price)
            between = term.units(price * change * term.lot) - ticks * change  # of an average: what no tick is
            await self._adjust(Adjustment(each.symbol, change, ticks, between, bust.booked_as, what))
        return True

    async def _price_of(self, bust: Any, term: Terms) -> Decimal | None:
        """None: unknown. Of an order of an earlier life the ledger knows what its executions came to."""
        if bust.price:
            return Decimal(bust.price)
        order = self._symbols.journal.orders.get(bust.cid)
        qty, ticks = await self._writer.submit(partial(ledger.filled_for, order=order)) if order else (0, 0)
        return Decimal(ticks) / qty * term.tick if qty else None

    async def _book_sales(self, each: Difference) -> bool:
        """What the kill program sold in our stead, where it is the whole difference: booked once, the symbol halted."""
        term, state = self._terms[each.symbol], self._states[each.symbol]
        booked = await self._writer.submit(ledger.exec_ids)
        sold = [sale for sale in self._sales_of(each.symbol) if sale.cid not in booked]
        if not sold or sum(sale.side * term.lots(sale.filled) for sale in sold) != each.lots:
            return False
        for sale in sold:
            close = float(state["last_close"])
            price = term.ticks(sale.price) or (term.ticks(str(close)) if close > 0 else 0)
            lots = sale.side * term.lots(sale.filled)
            if not (lots and price):
                continue
            what = f"{term.symbol}: the kill program {'bought' if lots > 0 else 'sold'} {sale.filled} at {sale.price}"
            await self.alert("critical", f"{what} ({sale.cid}): the ledger follows, the symbol is halted")
            await self._adjust(Adjustment(each.symbol, lots, price, 0, sale.cid, what))
        await self._do(Act(ACT_HALT, each.symbol, False, "kill", "left by the kill program"))
        return True

    async def _act_on_missing(self, each: Difference) -> bool:
        """Not listed, and twice the venue says that it does not know it: a human looks before anything leaves."""
        try:
            order = await self._venue.look_up(each.key)
        except VenueDoubt:
            return False
        if order is not None:
            return False  # listed late, or its last word comes with the next recheck
        if each.key not in self._lost:
            self._lost.add(each.key)
            return False
        await self._quarantine(each, "look at the venue, then avwapd ctl resume")
        return True

    async def _cancel(self, each: Difference, why: str) -> bool:
        name = self._symbols.journal.symbol_name(each.symbol)
        if self._venue.admit("cancel", "entry") > 0:
            return False
        try:
            await self._venue.cancel_order(each.key, name)
        except (VenueDoubt, VenueRefused) as error:
            log.warning("%s: %s cannot be canceled: %s", name, each.key, error)
            return False
        await self.alert("warning", f"{each.what}: canceled ({why})")
        return True

    async def _quarantine(self, each: Difference, next_step: str) -> None:
        """Nothing leaves for the symbol until the readings agree and the operator says so."""
        await self.alert("critical", f"{each.what}; halted: {next_step}")
        if each.symbol < 0:
            await self._do(Act(ACT_HALT, ALL, False, "reconcile", each.what))
            return
        self.quarantined.add(each.symbol)
        self._sold[each.symbol] = self._sales_of(each.symbol)
        await self._do(Act(ACT_HALT, each.symbol, True, "reconcile", each.what))

    async def leave_quarantine(self, unclear: set[int]) -> None:
        """Two readings agree about a symbol again: the rest is the operator's. unclear: those that did not say so."""
        for symbol in sorted(self.quarantined - unclear):
            self.quarantined.discard(symbol)
            if self._halted(symbol):
                name = self._symbols.journal.symbol_name(symbol)
                await self.alert("info", f"{name}: ledger and venue agree again; avwapd ctl resume {name}")

    async def tell_waiting_exits(self, under_way: set[int]) -> None:
        """Once a spell: what is to be left and cannot be. under_way: symbols with a request that may have left."""
        waiting = self._exits_waiting(under_way)
        new = sorted(waiting - self.waiting_exits)
        self.waiting_exits = waiting
        for symbol in new:
            name = self._symbols.journal.symbol_name(symbol)
            why = "its exit is decided, and nothing leaves while the symbol is halted"
            await self.alert("critical", f"{name}: {why}: look at the venue, put it right, avwapd ctl resume {name}")

    def _exits_waiting(self, under_way: set[int]) -> set[int]:
        states = self._states
        wanted = (states["halted"] == FROZEN) & (states["qty"] > 0) & (states["exit_wanted"] > 0)
        leaving = states["leave"]["status"]
        return {
            symbol
            for symbol in wanted.nonzero()[0].tolist()
            if leaving[symbol] == SLOT_EMPTY or (leaving[symbol] == SLOT_PENDING and symbol not in under_way)
        }

    async def _do(self, act: Act) -> None:
        mail = Acted(act)
        await self._symbols.put(mail)
        await mail.done.wait()

    async def _adjust(self, adjustment: Adjustment) -> None:
        mail = Adjusted(adjustment)
        await self._symbols.put(mail)
        await mail.done.wait()

    async def alert(self, level: str, what: str) -> None:
        """A row for a person, and a line in the log."""
        log.log(LEVELS[level], "%s", what, extra={"fields": {"EVENT": "reconcile"}})
        await self._writer.submit(partial(notes.alert, ts_ms=self._clock.now_ms(), level=level, what=what))
