"""The kill that needs no daemon: cancels what would open, or everything, and sells, with the account's own keys.

The file KILL_SWITCH is written before anything here runs. Everything below may be done twice: a cancel of what is over
is no error, a sale carries an id that the file remembers before the order leaves.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio

from avwapd.ops import ballast
from avwapd.ops.kill_plan import KILL_PREFIX, Desk, Outcome, Resting, Verdict, kill_id, quantity, verdict
from avwapd.ports import Clock
from avwapd.remote.calls import NoAnswer, Rejected, Shut
from avwapd.remote.terms import plain
from avwapd.store import kill_note
from avwapd.store.kill_facts import Facts
from avwapd.store.kill_note import KillNote, Sale

T = TypeVar("T")

AT_ONCE = 6
AGAIN_S, LONGEST_S = 0.1, 5.0
QUIET_S = 0.3  # between the two listings that must both show nothing left: one may be a moment old


@dataclass
class Report:
    """What was done and what could not be. entries, left: of our orders; stay: stops and exits that go on."""

    venue: str
    listed: int = 0
    ours: int = 0
    targets: int = 0
    canceled: int = 0
    stay: int = 0
    strangers: int = 0
    first_s: float | None = None  # from the start of the work to the first cancel that the venue took
    last_s: float | None = None  # to the last
    sold: list[Sale] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not self.undone


@dataclass(frozen=True)
class Wanted:
    """flatten: everything of ours goes, positions too; every: also where no ledger says what is ours."""

    flatten: bool
    every: bool
    symbols: tuple[str, ...]  # of the configuration
    limit_s: float


@dataclass
class Earlier:
    """Sales of earlier calls, by symbol. under_way: may still fill; unsent: the venue does not know it."""

    under_way: set[str] = field(default_factory=set)
    unsent: dict[str, Sale] = field(default_factory=dict)


class Killing:
    """facts_of: the ledger's answer about these order ids; note: as the file has it now."""

    def __init__(
        self,
        desk: Desk,
        clock: Clock,
        wanted: Wanted,
        path: Path,
        note: KillNote,
        facts_of: Callable[[Sequence[str]], Facts],
    ) -> None:
        self.report = Report(desk.name)
        self.note = note
        self._desk = desk
        self._clock = clock
        self._wanted = wanted
        self._path = path
        self._facts_of = facts_of
        self._begun = clock.monotonic()
        self._positions: dict[str, Decimal] | None = None
        self._taken: set[str] = set()  # venue ids whose cancel was taken

    async def run(self) -> Report:
        if self._wanted.flatten and (why := self._no_sale()):
            self.report.undone.append(f"nothing was sold, stops stay: {why}")
            self._wanted = replace(self._wanted, flatten=False)
            self._write(replace(self.note, flatten=False, whole=True))
        whole = await self._cancel_all()
        if self._wanted.flatten and whole:
            await self._flatten()
        elif self._wanted.flatten:
            self.report.undone.append("nothing was sold: orders of ours may still rest at the venue")
        if self._wanted.flatten:
            self._write(replace(self.note, whole=True))
        return self.report

    def _no_sale(self) -> str:
        """Why nothing may be sold, asked before a stop is canceled for it; "" where nothing speaks against it."""
        facts = self._facts_of([])
        if facts.why and not self._wanted.every:
            return f"{facts.why}; --all sells what the account holds of {', '.join(self._wanted.symbols[:8])}"
        if not self._write(self.note):
            return f"{self._path.name} cannot hold what is sold: make room on the disk, then again"
        return ""

    # --------------------------------------------------------------------------------------------- cancels

    async def _cancel_all(self) -> bool:
        """Until two listings in a row show nothing to cancel; False where the time was over before."""
        quiet, first = 0, True
        while quiet < 2:
            orders = await self._insist("the open orders", self._desk.open_orders)
            if orders is None:
                return False
            verdicts = await self._judged(orders)
            targets = [order for order, said in verdicts if said is Verdict.CANCEL]
            if first:
                first = False
                self._count(verdicts)
            quiet = 0 if targets else quiet + 1
            fresh = [order for order in targets if order.venue_id not in self._taken]
            await self._cancel(fresh)
            if quiet < 2:
                if self._left() <= 0:
                    self.report.undone.append(f"{len(targets)} orders still rest: {named(targets)}")
                    return False
                await self._clock.sleep(min(QUIET_S if quiet else AGAIN_S, max(self._left(), 0.01)))
        return True

    async def _judged(self, orders: list[Resting]) -> list[tuple[Resting, Verdict]]:
        facts = self._facts_of([order.cid for order in orders if order.cid])
        if self._positions is None and any(order.cid not in facts.purposes for order in orders):
            self._positions = await self._insist("the positions", self._desk.positions) or {}
        held = self._positions or {}
        flatten, every, marked = self._wanted.flatten, self._wanted.every, self._desk.marked
        sales = {sale.cid for sale in self.note.sales}
        return [
            (order, verdict(order, facts, held, sales, marked=marked, flatten=flatten, every=every)) for order in orders
        ]

    def _count(self, verdicts: list[tuple[Resting, Verdict]]) -> None:
        report = self.report
        report.listed = len(verdicts)
        report.targets = sum(said is Verdict.CANCEL for _, said in verdicts)
        report.stay = sum(said is Verdict.STAY for _, said in verdicts)
        report.strangers = sum(said is Verdict.STRANGER for _, said in verdicts)
        report.ours = report.targets + report.stay
        if report.strangers and not self._desk.marked:
            report.remarks.append(f"{self._desk.name} does not keep our mark on an order: --all cancels these too")

    async def _cancel(self, orders: list[Resting]) -> None:
        room = anyio.CapacityLimiter(AT_ONCE)

        async def one(order: Resting) -> None:
            async with room:
                if await self._insist(f"the cancel of {order.cid or order.venue_id}", lambda: self._gone(order)):
                    self._taken.add(order.venue_id)
                    self.report.canceled += 1
                    self.report.last_s = self._clock.monotonic() - self._begun
                    self.report.first_s = self.report.first_s or self.report.last_s

        async with anyio.create_task_group() as group:
            for order in orders:
                group.start_soon(one, order)

    async def _gone(self, order: Resting) -> bool:
        """A refusal most often says that it is over; the next listing tells."""
        try:
            await self._desk.cancel(order)
        except Rejected as no:
            if no.status not in (400, 404, 410, 422):
                self.report.remarks.append(f"{order.symbol} {order.cid}: cancel refused: {no.message[:100]}")
        return True

    # ----------------------------------------------------------------------------------------------- sales

    async def _flatten(self) -> None:
        facts = self._facts_of([sale.cid for sale in self.note.sales])
        if facts.why and not self._wanted.every:
            self.report.undone.append(f"nothing was sold: {facts.why}; --all sells what the account holds of "
                                      f"{', '.join(self._wanted.symbols[:8])}")  # fmt: skip
            return
        earlier = await self._finish_earlier()
        orders = await self._insist("the open orders", self._desk.open_orders)
        held = await self._insist("the positions", self._desk.positions)
        if orders is None or held is None:
            return
        self._look_for_others(orders, earlier)
        unheard = await self._unheard(facts)
        names = self._wanted.symbols if facts.why else tuple(facts.lines)
        for symbol in names:
            if symbol in earlier.under_way:
                continue  # the rest of a sale may fill at any moment: another one beside it could sell twice
            side, qty, remark = quantity(symbol, facts, held, self.note.sales, unheard.get(symbol, Decimal(0)))
            if remark:
                self.report.remarks.append(remark)
            if qty:
                await self._sell(symbol, side, qty, earlier.unsent.get(symbol))

    async def _unheard(self, facts: Facts) -> dict[str, Decimal]:
        """By symbol, signed: what orders of ours filled while the daemon did not listen."""
        found: dict[str, Decimal] = {}
        for order in facts.unsettled:
            sought = Sale(order.symbol, order.cid, order.side, "0")
            seen = await self._insist(f"the order {order.cid}", partial(self._desk.outcome, sought))
            if seen is not None:
                more = seen.filled - order.filled * Decimal(facts.lines[order.symbol].lot)
                found[order.symbol] = found.get(order.symbol, Decimal(0)) + order.side * more
        return found

    async def _finish_earlier(self) -> Earlier:
        """Sales of a run before this one that ended too early: where they stand, before anything else is sold."""
        earlier = Earlier()
        for sale in self.note.sales:
            if Decimal(sale.filled) >= Decimal(sale.qty):
                continue
            heard = await self._insist(f"the sale of {sale.symbol}", partial(self._heard, sale))
            if heard is None:  # nobody knows, and it is told as undone
                earlier.under_way.add(sale.symbol)
            elif heard[0] is None:
                earlier.unsent[sale.symbol] = sale
            elif not await self._follow(sale):
                earlier.under_way.add(sale.symbol)
                self._rests(sale)
        return earlier

    async def _heard(self, sale: Sale) -> tuple[Outcome | None]:
        return (await self._desk.outcome(sale),)

    def _look_for_others(self, orders: list[Resting], earlier: Earlier) -> None:
        """Sales that rest and that the file does not know any more: it was taken away meanwhile."""
        known = {sale.cid for sale in self.note.sales}
        for order in orders:
            if order.cid.startswith(KILL_PREFIX) and order.cid not in known:
                earlier.under_way.add(order.symbol)
                self.report.undone.append(f"{order.symbol}: an earlier sale of {order.qty} rests ({order.cid})")

    async def _sell(self, symbol: str, side: int, qty: Decimal, unsent: Sale | None) -> None:
        """unsent: a sale of the file that the venue does not know. Its id is used again, so that it leaves once at most
        should it be on its way after all; its quantity is what is there now.
        """
        if unsent is None:
            number = sum(sale.symbol == symbol for sale in self.note.sales)
            sale = Sale(symbol, kill_id(self._desk.prefix, self.note.ts_ms, symbol, number), side, plain(qty))
            noted = self._write(replace(self.note, sales=(*self.note.sales, sale)))
        else:
            sale = replace(unsent, side=side, qty=plain(qty))
            noted = self._keep(sale)
        if not noted:
            self.report.undone.append(f"{symbol}: not sold, and without a stop: make room on the disk, then again")
            return
        if await self._insist(f"the sale of {symbol}", lambda: self._ordered(sale)):
            await self._follow(sale)
            self._rests(sale)

    async def _follow(self, sale: Sale) -> bool:
        """Look at it until it is over, False where it is not yet; the file has what became of it."""
        seen, over = sale, False
        while True:
            state = await self._insist(f"the sale of {sale.symbol}", lambda: self._desk.outcome(sale))
            if state is not None:
                seen, over = replace(sale, filled=plain(state.filled), price=plain(state.price)), state.over
                self._keep(seen)
            if state is None or state.over or self._left() <= 0:
                break
            await self._clock.sleep(AGAIN_S)
        self.report.sold.append(seen)
        return over

    def _rests(self, sale: Sale) -> None:
        seen = next(one for one in self.note.sales if one.cid == sale.cid)
        if Decimal(seen.filled) < Decimal(seen.qty):
            rest = plain(Decimal(seen.qty) - Decimal(seen.filled))
            self.report.undone.append(f"{seen.symbol}: {rest} of {seen.qty} are not filled yet ({seen.cid})")

    def _keep(self, sale: Sale) -> bool:
        return self._write(
            replace(self.note, sales=tuple(sale if one.cid == sale.cid else one for one in self.note.sales))
        )

    async def _ordered(self, sale: Sale) -> bool:
        try:
            await self._desk.sell(sale)
        except NoAnswer:
            if await self._desk.outcome(sale) is None:
                raise
        return True

    # ----------------------------------------------------------------------------------------------- limits

    def _left(self) -> float:
        return self._begun + self._wanted.limit_s - self._clock.monotonic()

    async def _insist(self, what: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Again and again until it is answered; None, told as undone, where the time is over or the answer is no."""
        wait_s = AGAIN_S
        while True:
            try:
                return await ask()
            except Rejected as no:
                self.report.undone.append(f"{what}: refused: {no.message[:120]}")
                return None
            except (NoAnswer, Shut) as error:
                wait_s = error.retry_s if isinstance(error, Shut) else min(wait_s * 2, LONGEST_S)
                if self._left() <= wait_s:
                    self.report.undone.append(f"{what}: {error}")
                    return None
                await self._clock.sleep(wait_s)

    def _write(self, note: KillNote) -> bool:
        """False where the disk does not take it, told as a remark; a full one gets the ballast's room."""
        self.note = note
        for last in (False, True):
            try:
                kill_note.replace(self._path, note)
                return True
            except OSError as error:
                if last or error.errno != errno.ENOSPC:
                    self.report.remarks.append(f"KILL_SWITCH cannot be rewritten ({error.strerror})")
                    return False
                with contextlib.suppress(OSError):
                    self._path.with_name(ballast.NAME).unlink()
        raise AssertionError("not reached")


def named(orders: list[Resting]) -> str:
    """The first few, for people."""
    words = [f"{order.symbol} {order.cid or order.venue_id}" for order in orders[:4]]
    return ", ".join(words) + (f" and {len(orders) - 4} more" if len(orders) > 4 else "")
