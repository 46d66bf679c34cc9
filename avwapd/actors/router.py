"""The one way out: committed outbox rows go to the venue, the venue's words come back.

A row is SENDING on the disk before the first byte leaves. What may or may not have arrived is UNKNOWN, and left by
evidence alone: the order is found by its id and compared field by field; or it is absent after the settling time, and
then a venue that refuses duplicates gets the same id again while the order is still wanted, else a cancel by that id;
at any other venue the symbol is frozen and a human called. One doubt holds back its own symbol, nobody else.

Cancels, stops and exits leave before entries, and what may not leave yet (rate budget, shut venue) waits without
holding back another symbol. An entry that cannot leave in its time is refused with a reason.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from avwapd.actors.mail import Heard
from avwapd.actors.router_desk import Desk
from avwapd.actors.router_doubt import Waiting, as_request
from avwapd.actors.router_doubts import AGAIN_WAIT_S, LONG_DOUBT_S, Doubts
from avwapd.actors.router_gate import Gate, Pace
from avwapd.actors.symbols import Symbols
from avwapd.ports import Clock
from avwapd.store import VenueUnknown, rows
from avwapd.store.ids import is_ours
from avwapd.store.rows import StepRows
from avwapd.store.writer import Receipt, Writer
from avwapd.venues.port import Venue, VenueDoubt, VenueRefused, VenueShut

log = logging.getLogger("avwapd.router")

SHUT_LONGEST_S = 60.0
WORDS_S = 1.0  # the soonest that we ask what became of what was sent
ASKING = -1  # stands for no symbol among those with a call under way


async def unexplained(cid: str) -> None:
    """Where nobody compares ledger and venue, the two do not belong together."""
    raise VenueUnknown(
        "the venue speaks of an order of ours that this ledger never made",
        cid,
        "bring back the ledger that belongs to this venue, or start both anew in another state folder",
    )


class Router:
    """settling_ms: market time after a doubt in which an order may still turn up at the venue; lost_ms: the same, of an
    order that nobody wants any more, so that no second post can prove it (0: as settling_ms).

    speed: market seconds in a second of the wall; at_once: calls to the venue under way at one time (1: each waits for
    the one before); blocked: why no entry may leave now, "" where it may; orders_minute: more in a minute of market
    time means that something has run away, 0: no such limit; leaves: the kill program sells what is held of a symbol.
    """

    def __init__(
        self,
        venue: Venue,
        writer: Writer,
        symbols: Symbols,
        clock: Clock,
        *,
        settling_ms: int,
        lost_ms: int = 0,
        reconcile_s: float,
        killed: Callable[[], bool],
        market_ms: Callable[[], int],
        speed: float = 1.0,
        at_once: int = 1,
        blocked: Callable[[], str] = lambda: "",
        orders_minute: int = 0,
        leaves: Callable[[int], bool] = lambda symbol: False,
    ) -> None:
        self.venue = venue
        self.turns = 0
        self.sent = 0
        self.stranger: Callable[[str], Awaitable[None]] = unexplained  # hears of orders of ours that no row explains
        self.heard_at: dict[int, float] = {}  # symbol -> monotonic time of the venue's last word about it
        self.shut: VenueShut | None = None
        self._symbols = symbols
        self._clock = clock
        self._settling_s = settling_ms / 1000 / speed
        self._reconcile_s = reconcile_s
        self._at_once = at_once
        self._desk = Desk(writer, symbols, clock)
        pace = Pace(orders_minute, 60.0 / speed)
        states = symbols.journal.world.states
        self._gate = Gate(states, clock, killed=killed, market_ms=market_ms, blocked=blocked, pace=pace, leaves=leaves)
        self._doubts = Doubts(
            venue,
            self._desk,
            self._gate,
            clock,
            settling_s=self._settling_s,
            lost_s=max(self._settling_s, lost_ms / 1000 / speed),
            long_s=LONG_DOUBT_S / speed,
            call=lambda row: self._call(row),
            call_again=lambda row: self._call(row, doubted=True),
            expect_words=self._expect_words,
        )
        self._braked = False
        self._recheck: Callable[[], Awaitable[None]] | None = getattr(venue, "recheck", None)
        self._recheck_at: float | None = None
        self._urgent: deque[Waiting] = deque()
        self._entries: deque[Waiting] = deque()
        self._claimed: dict[tuple[int, int], Receipt] = {}
        self._idle = False
        self._flying: set[int] = set()  # symbols with a call under way
        self._admit_at: float | None = None
        self._shut_since = 0.0
        self._settlers: list[anyio.Event] = []
        self._listeners: list[anyio.Event] = []
        self._bell = anyio.Event()
        self._pulled = symbols.journal.cursor
        self._pull_again_at = 0.0
        self._room = 16 * len(states)
        self._expected: list[rows.Request] = []
        self._group: TaskGroup

    # ------------------------------------------------------------------------------------------- from inside

    async def claim(self, step: StepRows) -> None:
        """An idle router marks its next request SENDING in the decision's own commit, which costs nothing there.

        Only where the venue refuses duplicates: elsewhere a row that is SENDING without having been sent costs a
        symbol its halt, so there it stays NEW until the call is due.
        """
        if not (step.effects and self._idle and self.venue.refuses_duplicates):
            return
        item = Waiting.of_effect(step.effects[0])
        busy = self._gate.held or self.waiting or self._claimed or self._doubts.by_key or self._flying
        if busy or self._desk.frozen(item.symbol) or self._gate.too_late(item) is not None:
            return
        if self.venue.admit(item.kind, item.purpose) <= 0:
            self._claimed[item.symbol, item.intent] = await self._desk.sending(item.symbol, item.intent)

    def take(self, step: StepRows) -> None:
        """Committed effects, and what the venue's words settled.

        A machine has at most a few requests open, so the queue is bounded by their number.
        """
        for effect in step.effects:
            self._enqueue(Waiting.of_effect(effect))
        if self.waiting > self._room:
            raise RuntimeError(f"{self.waiting} requests wait for the venue: more than the machines can have")
        if self._doubts.settled_by(step) or step.effects:
            self._bell.set()

    def _enqueue(self, item: Waiting) -> None:
        (self._entries if item.opens else self._urgent).append(item)

    def resume(self, pending: list[rows.Request], live: list[rows.Request]) -> None:
        """At start: what the last process left unsaid or in doubt, and what the venue must still have.

        The live orders of a venue across a network are the reconciler's.
        """
        self._expected = [] if self._recheck else list(live)
        for row in pending:
            if row.state in ("NEW", "DENIED"):
                self._enqueue(Waiting.of_row(row))
            else:
                self._doubts.recall(row)

    @property
    def waiting(self) -> int:
        return len(self._urgent) + len(self._entries)

    @property
    def room(self) -> int:
        return self._room

    @property
    def in_doubt(self) -> list[rows.Request]:
        return [doubt.row for doubt in self._doubts.by_key.values()]

    def in_flight(self) -> set[int]:
        """Symbols with a request that is under way or in doubt."""
        return self._flying | self._doubts.symbols() | {symbol for symbol, _ in self._claimed}

    def facts(self) -> dict[str, Any]:
        """For status and heartbeat."""
        return {
            "sent": self.sent,
            "in_doubt": len(self._doubts.by_key),
            "held_by": sorted(self._gate.held),
            "shut": self.shut.reason if self.shut else "",
            "entries_blocked": self._gate.blocked(),
            "orders_minute_spent": self._gate.spent(),
        }

    def hold(self, by: str = "bars") -> None:
        """Listen and look up, but send nothing: missed bars are still to be folded, books still to be compared."""
        self._gate.held.add(by)

    def release(self, by: str = "bars") -> None:
        """What is still wanted may leave, once everybody who held it back has said so."""
        self._gate.held.discard(by)
        self._bell.set()

    def ring(self) -> None:
        self._bell.set()

    async def alert(self, level: str, what: str) -> None:
        """Call a human: info | warning | critical."""
        await self._desk.alert(level, what)

    async def settle(self) -> None:
        """Return once the venue has answered everything and every answer is on the disk.

        What waits for a human (a frozen symbol) is left aside.
        """
        await self._until_set(self._settlers)

    async def listened(self) -> None:
        """Return once every word that the venue has now is folded and on the disk."""
        await self._until_set(self._listeners)

    async def _until_set(self, waiters: list[anyio.Event]) -> None:
        done = anyio.Event()
        waiters.append(done)
        self._bell.set()
        await done.wait()

    # ------------------------------------------------------------------------------------------------ running

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Send, listen, resolve doubts until canceled."""
        async with anyio.create_task_group() as self._group:
            task_status.started()
            while True:
                await self._turn()

    async def _turn(self) -> None:
        self.turns += 1
        self._bell = anyio.Event()
        await self._reconcile()
        moved = await self._send_waiting()
        moved = await self._listen() or moved
        moved = await self._resolve() or moved
        if moved:
            return
        if self._settlers:
            await self._symbols.settled()
            if self._settle_now():
                return
        self._idle = True
        with anyio.move_on_after(self._patience()):
            await self._bell.wait()
        self._idle = False

    def _settle_now(self) -> bool:
        """Let those go who wait for quiet; True where there is more to do first."""
        if self._flying:
            return False
        if not self._gate.held:
            waiting = [
                item.symbol
                for item in (*self._urgent, *self._entries)
                if not self._desk.frozen(item.symbol) and not self._gate.withheld(item)
            ]
            if waiting:
                return self._admit_at is None and not self._doubts.symbols().issuperset(waiting)
            if self._doubts.open():
                return False
        if self._pulled != self._symbols.journal.cursor or self._pull_again_at:
            return False
        for done in self._settlers:
            done.set()
        self._settlers.clear()
        return False

    def _patience(self) -> float:
        """Seconds until something is due without a bell."""
        now = self._clock.monotonic()
        due = self._doubts.next_at(self._flying)
        due += [at for at in (self._admit_at, self._recheck_at) if at is not None]
        if self._pull_again_at:
            due.append(self._pull_again_at)
        return max(0.0, min([at - now for at in due] + [self._reconcile_s]))

    async def _out(self, symbol: int, call: Callable[[], Awaitable[Any]]) -> None:
        """Make a call about a symbol: at once, or beside others."""
        if self._at_once == 1:
            await call()
            return
        self._flying.add(symbol)
        self._group.start_soon(self._fly, symbol, call)

    async def _fly(self, symbol: int, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            await call()
        finally:
            self._flying.discard(symbol)
            self._bell.set()

    def _full(self) -> bool:
        return self._at_once > 1 and len(self._flying) >= self._at_once

    async def _reconcile(self) -> None:
        """Once after the start: an order that we hold for live and the venue does not know is a human's matter."""
        while self._expected:
            row = self._expected[-1]
            try:
                order = await self.venue.look_up(row.cid)
            except VenueDoubt:
                await self._clock.sleep(0.05)
                continue
            self._expected.pop()
            if order is None:
                await self._desk.freeze(row, "the venue does not know an order that the ledger holds for live")

    # ------------------------------------------------------------------------------------------------ sending

    async def _send_waiting(self) -> bool:
        """Send what is queued, entries last; a symbol with a doubt keeps its turn."""
        self._admit_at = None
        if self._gate.held:
            return False
        held: list[Waiting] = []
        blocked: set[int] = set()
        moved = False
        while (self._urgent or self._entries) and not self._full():
            item = (self._urgent or self._entries).popleft()
            busy = blocked | self._flying | self._doubts.symbols()
            if item.symbol in busy or self._desk.frozen(item.symbol) or self._gate.withheld(item):
                held.append(item)
                blocked.add(item.symbol)
            elif (item.symbol, item.intent) not in self._claimed and await self._refused(item):
                moved = True
            elif self._admitted(item):
                moved = True
                await self._out(item.symbol, partial(self._send, item.symbol, item.intent))
            else:
                held.append(item)
                blocked.add(item.symbol)
                if item.opens:
                    break  # no other entry may leave either
        for item in reversed(held):
            (self._entries if item.opens else self._urgent).appendleft(item)
        return moved

    async def _refused(self, item: Waiting) -> bool:
        """Whether a request is not to leave any more; then its machine hears so."""
        refusal = self._gate.why_not(item)
        if refusal is None:
            return False
        if item.opens and self._gate.spent():
            await self._brake()
        cid = self._symbols.journal.cids[item.symbol, item.intent]
        await self._desk.refuse(cid, refusal.word, refusal.state, refusal.why)
        return True

    def _admitted(self, item: Waiting) -> bool:
        """The rate budget has a call for it; what was claimed took its own."""
        if (item.symbol, item.intent) in self._claimed:
            return True
        wait_s = self.venue.admit(item.kind, item.purpose)
        if wait_s > 0:
            at = self._clock.monotonic() + wait_s
            self._admit_at = at if self._admit_at is None else min(at, self._admit_at)
        return wait_s <= 0

    async def _send(self, symbol: int, intent: int) -> None:
        """One request: SENDING is durable before the call, the outcome is known or in doubt after it."""
        claim = self._claimed.pop((symbol, intent), None)
        row = await (claim or await self._desk.sending(symbol, intent)).wait()
        if row is not None and row.state == "DENIED":
            await self._desk.denied(row)
        elif row is not None:
            await self._call(row)

    async def _call(self, row: rows.Request, *, doubted: bool = False) -> None:
        """The call itself. What forbids an order is looked at once more: the commit took its time.

        doubted: an earlier attempt may have arrived. Then nothing that this one meets says that there is no order.
        """
        refusal = self._gate.too_late(Waiting.of_row(row))
        if refusal is not None and doubted:
            await self._doubts.add(row, f"not sent again: {refusal.why}")
            return
        if refusal is not None:
            state = "EXPIRED" if refusal.word == "expired" else "REJECTED"
            await self._desk.refuse(row.cid, refusal.word, state, refusal.why)
            return
        await self._pace(row)
        try:
            await self.venue.send(as_request(row))
        except VenueShut as shut:
            if doubted:
                await self.closed(shut)
                await self._doubts.add(row, shut.reason)
            else:
                await self._not_taken(row, shut)
        except VenueDoubt as doubt:
            await self._doubts.add(row, str(doubt))
        except VenueRefused as refused:
            await self._opened()
            if refused.duplicate:
                # It is there already: an earlier attempt arrived after all.
                await self._doubts.add(row, "duplicate: the venue has it", taken=True)
            elif doubted and row.kind != "cancel":
                await self._doubts.add(row, f"refused when sent again: {refused.reason}", refused=refused.reason)
            else:
                await self._venue_refused(row, refused.reason)
        else:
            await self._opened()
            self._expect_words(max(self._settling_s, WORDS_S))

    async def _venue_refused(self, row: rows.Request, reason: str) -> None:
        """A definite no. Most often something else happened to the order that was to be canceled or replaced: ask."""
        if row.kind != "cancel":
            await self._desk.refuse(row.cid, "rejected", "REJECTED", reason)
        elif row.ref_cid is not None:
            await self._desk.refuse(row.ref_cid, "cancel_refused", "REJECTED", reason)
            await self._desk.mark(row, "REJECTED", reason)
        if row.kind != "submit":
            self._expect_words(0.0)

    async def _pace(self, row: rows.Request) -> None:
        """Count what leaves. More in a minute than was ever meant: entries stop, exits go on."""
        self.sent += 1
        if self._gate.spent():
            await self._brake()
        else:
            self._braked = False
        if row.kind != "cancel":
            self._gate.pace.count(self._clock.monotonic())

    async def _brake(self) -> None:
        if not self._braked:
            self._braked = True
            await self._desk.halt_entries(f"{self._gate.pace.most} orders left within a minute")

    # ------------------------------------------------------------------------------------------ a shut venue

    async def closed(self, shut: VenueShut) -> None:
        """The venue takes nothing: said once, until it is open again."""
        first, self.shut = self.shut is None, shut
        if first:
            self._shut_since = self._clock.monotonic()
            await self._desk.alert("warning", f"venue shut: {shut.reason}; no entries, stops and exits wait for it")

    async def _not_taken(self, row: rows.Request, shut: VenueShut) -> None:
        """Nothing was taken: an entry is over, everything else is kept until the venue is open again."""
        await self.closed(shut)
        if Waiting.of_row(row).opens:
            await self._desk.refuse(row.cid, "rejected", "REJECTED", f"venue shut: {shut.reason}")
        else:
            await self._doubts.keep(row, shut.reason, min(max(shut.retry_s, AGAIN_WAIT_S), SHUT_LONGEST_S))

    async def answered(self) -> None:
        """The venue answered a question: what waits for it to open is tried; where nothing does, the shut time ends."""
        if self.shut is None:
            return
        if self._doubts.kept:
            self._doubts.reopened()
            self._bell.set()
        elif self._clock.monotonic() - self._shut_since >= self.shut.retry_s:
            await self._opened()

    async def _opened(self) -> None:
        """The venue took or refused something: it is open."""
        if self.shut is not None:
            self.shut = None
            self._doubts.reopened()
            self._bell.set()
            away_s = self._clock.monotonic() - self._shut_since
            await self._desk.alert("info", f"the venue is open again after {away_s:.1f} s")

    # ------------------------------------------------------------------------------------ doubts and listening

    async def _resolve(self) -> bool:
        """Ask about what is in doubt; True where something came of it."""
        moved = False
        for key, doubt in self._doubts.due(self._flying):
            if self._full():
                break
            if self._at_once == 1:
                moved = await self._doubts.ask(key, doubt) or moved
            elif key[0] not in self._flying:
                await self._out(key[0], partial(self._doubts.ask, key, doubt))
        await self._doubts.lay_ghosts()
        recheck = self._recheck_at is not None and self._recheck_at <= self._clock.monotonic()
        if recheck and ASKING not in self._flying and not self._full():
            self._recheck_at = None
            await self._out(ASKING, self._ask_for_words)
        return moved

    async def _ask_for_words(self) -> None:
        """Where the venue has no log of its own: what came of ours, should no word have come."""
        if self._recheck is None:
            return
        try:
            await self._recheck()
        except VenueDoubt:
            self._expect_words(max(self._settling_s, WORDS_S))
        self._bell.set()

    def _expect_words(self, within_s: float) -> None:
        """Soon after we spoke we ask what came of it, unless the venue keeps a log."""
        if self._recheck is not None:
            at = self._clock.monotonic() + within_s
            self._recheck_at = at if self._recheck_at is None else min(at, self._recheck_at)

    async def _listen(self) -> bool:
        """Pull the venue's words after the last one; True where there were any."""
        if self._pull_again_at > self._clock.monotonic():
            return False
        try:
            words = await self.venue.words(self._pulled)
        except VenueDoubt:
            self._pull_again_at = self._clock.monotonic() + 0.05
            return False
        self._pull_again_at = 0.0
        if not words:
            for done in self._listeners:
                done.set()
            self._listeners.clear()
            return False
        self._pulled = words[-1].number
        now, orders = self._clock.monotonic(), self._symbols.journal.orders
        self.heard_at.update({orders[word.cid][0]: now for word in words if word.cid in orders})
        self._doubts.heard(words)
        for cid in dict.fromkeys(word.cid for word in words if word.cid not in orders and is_ours(word.cid)):
            await self.stranger(cid)
        await self._symbols.put(Heard(words))
        await self._symbols.settled()
        return True
