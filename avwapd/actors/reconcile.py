"""The ledger beside the venue's books: at the start, after each reconnect of its stream, and every so often.

A reading that disagrees once may be late news. A difference counts when two readings, some time apart, say the same of
a symbol about which nothing is under way and nothing was heard: then the venue is right, and the configuration says
what follows (a human and a quarantine; or the ledger follows; or what is not ours is sold). At the first already the
symbol's orders are looked at: where they say that a trade was taken back, and that is all that differs, it is booked at
once, before a stop can sell what is not there. Nothing leaves before the books were compared for the first time.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskStatus

from avwapd.actors import books as compare
from avwapd.actors.books import Difference, LedgerSide
from avwapd.actors.reconcile_acts import Consequences
from avwapd.actors.router import Router
from avwapd.actors.symbols import Symbols
from avwapd.config import Config
from avwapd.core.codes import SLOT_CANCELING
from avwapd.errors import Told
from avwapd.ports import Clock
from avwapd.remote.terms import Terms
from avwapd.store import ledger, notes
from avwapd.store.kill_note import Sale
from avwapd.store.sql import Connection
from avwapd.store.writer import Writer
from avwapd.venues.port import Books, RemoteVenue, VenueDoubt, VenueShut

log = logging.getLogger("avwapd.reconcile")

SLICE_S = 0.25  # how soon news of the venue is noticed
LEAST_WAIT_S = 0.2  # between two readings that disagree, by the wall
LEAST_EVERY_S = 1.0
UNSURE_S = 5.0  # by the wall: so long a second sight of an order may keep a difference from counting
BUSY_SETTLES = 4  # times settle_s in which the books are read often after a trade was taken back
SKEW_EVERY_S = 30.0
STALE_READINGS = 4  # readings missed in a row after which nothing opens
STALE_LEAST_S = 10.0
CENT = Decimal("0.01")


class AccountTooSmall(Told):
    """The account cannot be what the configuration sizes orders by."""

    exit_code = 78


class Reconciler:
    """terms: by symbol, in the order of the engine's symbols. Holds the router back until the books were compared."""

    def __init__(
        self,
        venue: RemoteVenue,
        symbols: Symbols,
        writer: Writer,
        router: Router,
        clock: Clock,
        config: Config,
        terms: Mapping[str, Terms],
        *,
        resync: Callable[[int], int] = lambda skew_ms: skew_ms,
    ) -> None:
        self.turns = 0
        self.readings = 0
        self.failed = 0
        self.differences: list[Difference] = []  # of the newest reading, with what it could not compare
        self.cash_difference = Decimal(0)  # of the newest reading that could tell
        self.skew_ms: int | None = None
        self._venue = venue
        self._resync = resync
        self._symbols = symbols
        self._writer = writer
        self._router = router
        self._clock = clock
        self._settings = config.reconcile
        self._currency = config.equity.currency
        self._start_equity = config.equity.start[config.equity.currency]
        self._skew_limit_ms = config.venue.skew_limit_ms
        speed = config.venue.speed
        self._settle_s = config.reconcile.settle_s / speed
        self._settling_s = config.venue.settling_ms / 1000 / speed
        self._every_s = max(config.reconcile.every_s / speed, LEAST_EVERY_S)
        self._terms = [terms[name] for name in symbols.journal.names.symbols]
        policy = config.reconcile.on_foreign
        self._acts = Consequences(venue, symbols, writer, clock, terms=self._terms, on_foreign=policy)
        self._states = symbols.journal.world.states
        self._begun = clock.monotonic()
        self._read_at: float | None = None
        self._agreed_ms: int | None = None
        self._skew_at: float | None = None
        self._skewed = False
        self._silent = False
        self._why = ""  # the newest reading that failed
        self._outcome: str | None = None  # of the newest reading that was noted
        self._cash_base: Decimal | None = None
        self._since: dict[Difference, float] = {}  # found in every reading since then (monotonic)
        self._told: set[Difference] = set()
        self._kept: set[Difference] = set()  # of those that are not yet comparable
        self._unclear: set[int] = set()  # symbols of which the newest reading did not say that they agree
        self._waiting = True  # the router is held
        self._reconnects = 0
        self._busts_seen = 0
        self._unsure = False  # the newest reading had a position that differs, of a symbol with news on its way
        self._busy_until = 0.0  # a trade was taken back a moment ago: positions may show it late
        self._bell = anyio.Event()
        router.hold("reconcile")

    # ------------------------------------------------------------------------------------------------- outside

    def ring(self) -> None:
        """Read now: the stream is back, or something happened that only the books tell."""
        self._bell.set()

    def due_actions(self, ask: Callable[[], Awaitable[Any]]) -> None:
        """Where splits of the coming session are asked for, when a position differs."""
        self._acts.due_actions = ask

    def sold_beside(self, ask: Callable[[], tuple[Sale, ...]]) -> None:
        """Where the kill program's orders are asked for, when a position differs."""
        self._acts.sales = ask

    def on_unknown(self, tell: Callable[[str], Awaitable[None]]) -> None:
        """Who hears of orders with an id of ours that this ledger never made."""
        self._acts.tell_unknown = tell

    @property
    def compared(self) -> bool:
        """The books were compared since the start, and whatever differed has had its consequence."""
        return not self._waiting

    def entries_blocked(self) -> str:
        """Why nothing may open now; "" where it may."""
        if self._waiting:
            return "the venue's books were not compared yet"
        if why := self.unread() or self.skewed():
            return why
        facts = self._venue.facts()
        if facts.get("state") == "shut" or facts.get("breaker") == "open":
            return f"venue shut: {facts.get('why') or 'its breaker is open'}"
        return ""

    def unread(self) -> str:
        """That the venue's books were not read for long; "" where they were."""
        age_s = 0.0 if self._read_at is None else self._clock.monotonic() - self._read_at
        return f"the venue's books were last read {age_s:.0f} s ago" if age_s > self._stale_s else ""

    def skewed(self) -> str:
        """That two looks at the venue's clock found ours wrong; "" where it is right."""
        return f"clock skew {self.skew_ms / 1000:.1f} s" if self._skewed and self.skew_ms is not None else ""

    def difference_of(self, symbol: int) -> str:
        """How the newest reading differs about a symbol (-1: about none of ours), in words; "" where it does not.

        What the configuration lets stand beside ours is no difference here.
        """
        borne = (compare.CASH, compare.FOREIGN) if self._settings.on_foreign == "adopt" else (compare.CASH,)
        return "; ".join(each.what for each in self.differences if each.symbol == symbol and each.kind not in borne)

    def facts(self) -> dict[str, Any]:
        """For status and heartbeat; ages in market seconds."""
        names = self._symbols.journal.names.symbols
        told: dict[str, list[str]] = {}
        for found in self.differences:
            name = names[found.symbol] if found.symbol >= 0 else ""
            unsure = " (not yet comparable)" if found in self._kept else ""
            told.setdefault(name, []).append(found.words.removeprefix(f"{name}: ") + unsure)
        age_ms = None if self._agreed_ms is None else self._clock.now_ms() - self._agreed_ms
        return {
            "readings": self.readings,
            "failed": self.failed,
            "why": self._why,
            "agreed_age_s": None if age_ms is None else age_ms / 1000,
            "differences": told,
            "quarantined": sorted(names[symbol] for symbol in self._acts.quarantined),
            "waiting_exits": sorted(names[symbol] for symbol in self._acts.waiting_exits),
            "cash_difference": str(self.cash_difference),
            "skew_ms": self.skew_ms,
            "compared": self.compared,
        }

    async def assert_funded(self) -> None:
        """At the first start of a ledger: the account holds at least the equity that orders are sized by.

        Raises AccountTooSmall. Waits while the venue does not answer.
        """
        if await self._writer.submit(ledger.first_venue_books) is not None:
            return
        books = await self._insist()
        equity = Decimal(books.equity or books.cash or 0)
        if equity < Decimal(str(self._start_equity)):
            raise AccountTooSmall(
                f"the account is worth {equity:f} {self._currency}, the run begins with {self._start_equity:g}",
                f"equity.start.{self._currency}",
                "set it to what the account holds, or fund the account",
            )

    async def _insist(self) -> Books:
        while True:
            try:
                return await self._venue.books()
            except VenueDoubt as doubt:
                log.warning("the venue's books cannot be read yet: %s", doubt, extra={"fields": {"EVENT": "reconcile"}})
                await self._clock.sleep(LEAST_EVERY_S)

    # ------------------------------------------------------------------------------------------------- running

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Read and compare until canceled."""
        task_status.started()
        while True:
            self.turns += 1
            self._bell = anyio.Event()
            await self._acts.tell_waiting_exits(self._router.in_flight())
            await self.turn()
            await self._rest()

    async def turn(self) -> None:
        """One reading and its consequences; a venue that does not answer has none but a rest."""
        try:
            await self._measure_skew()
            await self._venue.recheck()
            await self._router.listened()
            read = await self._venue.books()
        except VenueDoubt as doubt:
            self.failed += 1
            self._why = str(doubt)
            await self._tell_silence()
            return
        self.readings += 1
        self._why = ""
        self._read_at = self._clock.monotonic()
        self._silent = False
        await self._router.answered()
        await self._judge(read)

    async def _rest(self) -> None:
        busy = self._unsure or self._clock.monotonic() < self._busy_until
        soon = self._waiting or bool(self.differences) or self._skew_at is None or busy
        until = self._clock.monotonic() + (max(self._settle_s, LEAST_WAIT_S) if soon else self._every_s)
        while (left := until - self._clock.monotonic()) > 0 and not self._bell.is_set() and not await self._news():
            with anyio.move_on_after(min(left, SLICE_S)):
                await self._bell.wait()

    async def _news(self) -> bool:
        """The venue's stream is back, or it took a trade back: reasons to read at once."""
        facts = self._venue.facts()
        if facts.get("state") == "shut":
            await self._router.closed(VenueShut(facts.get("why") or "its breaker is open", LEAST_EVERY_S))
        reconnects = int(facts.get("counts", {}).get("reconnects", 0))
        busts = len(self._acts.busts())
        if busts > self._busts_seen:
            self._busy_until = self._clock.monotonic() + BUSY_SETTLES * max(self._settle_s, LEAST_WAIT_S)
        news = reconnects != self._reconnects or busts > self._busts_seen
        self._reconnects, self._busts_seen = reconnects, busts
        return news

    @property
    def _stale_s(self) -> float:
        return max(STALE_READINGS * self._every_s, STALE_LEAST_S)

    async def _tell_silence(self) -> None:
        since = self._read_at if self._read_at is not None else self._begun
        away_s = self._clock.monotonic() - since
        if away_s > self._stale_s and not self._silent:
            self._silent = True
            await self._acts.alert(
                "warning", f"the venue's books cannot be read for {away_s:.0f} s: {self._why}; no entries"
            )

    async def _measure_skew(self) -> None:
        """Every so often; a clock that seems to be wrong is asked again with the next reading before it counts."""
        now = self._clock.monotonic()
        if self._skew_at is not None and now - self._skew_at < SKEW_EVERY_S:
            return
        before, self.skew_ms = self.skew_ms, await self._venue.skew_ms()
        wrong = abs(self.skew_ms) > self._skew_limit_ms
        self._skew_at = None if wrong else now
        skewed = wrong and before is not None and abs(before) > self._skew_limit_ms
        if skewed != self._skewed:
            self._skewed = skewed
            what = "no entries until it is corrected" if skewed else "entries are allowed again"
            await self._acts.alert("warning" if skewed else "info", f"clock skew {self.skew_ms / 1000:.1f} s: {what}")

    # ------------------------------------------------------------------------------------------------- judging

    async def _judge(self, read: Books) -> None:
        """Compare, note, and act on what two readings agree about."""
        ours = await self._writer.submit(partial(self._ledger_side, [order.cid for order in read.orders if order.ours]))
        noisy = self._noisy(ours)
        side_by_side = partial(compare.differences, read, self._states, self._terms, ours)
        found = side_by_side(quiet=lambda symbol: symbol not in noisy)
        every = side_by_side(quiet=lambda symbol: True)
        kept = [each for each in compare.kept(self.differences, every, noisy) if self._stays(each)]
        comparable = not noisy and not any(each.kind == compare.POSITION for each in found)
        cash = await self._cash(read, comparable=comparable)
        if comparable:
            found += cash
        else:  # what a fill on its way has moved would be counted
            kept += [each for each in self.differences if each.kind == compare.CASH]
        await self._act_on(found, kept, noisy, read)
        blocking = {each for each in self.differences if each.kind != compare.CASH}
        agreed = not noisy and not self.differences
        if agreed:
            self._agreed_ms = self._clock.now_ms()
        if agreed or self.differences:
            await self._note(read, self.differences)
        self._unsure = any(each.kind == compare.POSITION and each.symbol in noisy for each in every)
        if self._waiting and not self._unsure and blocking <= self._told:
            self._waiting = False
            self._router.release("reconcile")
            told = {"fields": {"EVENT": "reconcile"}}
            log.info("the books were compared with the venue's: %s", self._outcome or "nothing differs", extra=told)

    def _stays(self, each: Difference) -> bool:
        """Not what the ledger has followed already: that is over, or it is found anew."""
        return each not in self._told or each.symbol in self._acts.quarantined

    async def _act_on(self, found: list[Difference], kept: list[Difference], noisy: set[int], read: Books) -> None:
        """What two readings agree about has its consequence; what is kept stays as it was, and begins its time anew."""
        self.differences = sorted(found + kept, key=lambda each: (each.kind == compare.CASH, each.symbol, each.what))
        self._kept = set(kept)
        self._told &= set(self.differences)
        self._acts.forget(self.differences)
        now, before = self._clock.monotonic(), self._since
        self._since = {each: before.get(each, now) for each in found} | dict.fromkeys(kept, now)
        for each in found:
            age_s = now - before[each] if each in before else 0.0
            agreed = each in before and age_s >= self._settle_s and not (age_s < UNSURE_S and self._acts.unsure(each))
            agreed = agreed or bool(await self._acts.taken_back(each))
            if agreed and not (each in self._told and self._acts.stands(each)) and await self._acts.act(each, read):
                self._told.add(each)
        await self._acts.look_back(each for each in found if each not in self._told)
        unclear, self._unclear = self._unclear, noisy | {each.symbol for each in self.differences}
        await self._acts.leave_quarantine(unclear | self._unclear)

    def _ledger_side(self, cids: list[str], conn: Connection) -> LedgerSide:
        orders = self._symbols.journal.orders
        states = {}
        for cid in cids:
            row = ledger.request(conn, *orders[cid]) if cid in orders else None
            if row is not None:
                states[cid] = row.state
        live = {row.cid: row.symbol_id for row in ledger.live(conn)}
        sending = {row.symbol_id for row in ledger.pending(conn) if row.state != "NEW"}
        return LedgerSide(live, states, sending)

    def _noisy(self, ours: LedgerSide) -> set[int]:
        """Symbols about which a difference may be news on its way."""
        now = self._clock.monotonic()
        heard = {symbol for symbol, at in self._router.heard_at.items() if now - at < self._settle_s}
        if self._waiting and now - self._begun > self._settling_s:
            # Nothing leaves, and what had left is either known by now or not there.
            return heard
        canceling = {
            symbol
            for slot in ("entry", "protect", "leave")
            for symbol in (self._states[slot]["status"] == SLOT_CANCELING).nonzero()[0].tolist()
        }
        return heard | canceling | set(ours.sending) | self._router.in_flight()

    async def _cash(self, read: Books, *, comparable: bool) -> list[Difference]:
        """The change of cash since the first reading beside what our fills brought."""
        if not read.cash or any(term.quote != self._currency for term in self._terms):
            return []
        ours, theirs = compare.cash_moved(self._states, self._terms), Decimal(read.cash)
        if self._cash_base is None:
            first = await self._writer.submit(ledger.first_venue_books)
            self._cash_base = theirs - ours if first is None else Decimal(first.cash or 0)
        if not comparable:
            return []
        self.cash_difference = theirs - self._cash_base - ours
        if abs(self.cash_difference) <= Decimal(str(self._settings.cash_tolerance)):
            return []
        amount = self.cash_difference.quantize(CENT)
        what = f"the venue's cash is {amount:+f} {self._currency} beside the ledger's"
        return [Difference(compare.CASH, -1, "", what, also=compare.elsewhere(read.foreign))]

    async def _note(self, read: Books, found: Iterable[Difference]) -> None:
        """A row for each reading that says something else than the one before."""
        outcome = "; ".join(each.what for each in found)
        if outcome == self._outcome:
            return
        self._outcome = outcome
        by_symbol = {term.symbol: term for term in self._terms}
        holdings = {
            name: by_symbol[name].qty_text(held.qty) for name, held in read.holdings.items() if name in by_symbol
        }
        note = partial(notes.venue_books, ts_ms=read.read_ms, cash=read.cash, equity=read.equity, holdings=holdings)
        await self._writer.submit(partial(note, difference="; ".join(each.words for each in found)))
