"""The one way out: committed outbox rows go to the venue, the venue's words come back.

A row is SENDING on the disk before the first byte leaves. What may or may not have arrived is UNKNOWN, and left by
evidence alone: the order is found by its id and compared field by field; or it is absent after the settling time, and
then a venue that refuses duplicates gets the same id again, while at any other the symbol is frozen and a human called.
One doubt holds back its own symbol, nobody else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio
from anyio.abc import TaskStatus

from avwapd.actors.mail import Acted, Heard, Refused
from avwapd.actors.symbols import Symbols
from avwapd.core.codes import ACT_HALT
from avwapd.core.machine import FROZEN
from avwapd.ports import Clock
from avwapd.store import ledger, notes, rows
from avwapd.store.journal import Act
from avwapd.store.rows import StepRows
from avwapd.store.sql import Connection
from avwapd.store.writer import Receipt, Writer
from avwapd.venues import port
from avwapd.venues.port import Venue, VenueDoubt, VenueOrder, VenueRefused

log = logging.getLogger("avwapd.router")

SIDE = {"buy": 1, "sell": -1}


@dataclass(slots=True)
class Doubt:
    """A request that may have arrived. Times are monotonic seconds."""

    row: rows.Request
    since: float
    ask_at: float
    wait_s: float


class Router:
    """`settling_ms`: how long after a doubt an order may still turn up at the venue."""

    def __init__(
        self,
        venue: Venue,
        writer: Writer,
        symbols: Symbols,
        clock: Clock,
        *,
        settling_ms: int,
        reconcile_s: float,
        killed: Callable[[], bool],
        market_ms: Callable[[], int],
    ) -> None:
        self.venue = venue
        self.turns = 0
        self.sent = 0
        self._writer = writer
        self._symbols = symbols
        self._clock = clock
        self._settling_s = settling_ms / 1000
        self._reconcile_s = reconcile_s
        self._killed = killed
        self._market_ms = market_ms
        self._queue: deque[tuple[int, int]] = deque()
        self._claimed: dict[tuple[int, int], Receipt] = {}
        self._idle = False
        self._doubts: dict[tuple[int, int], Doubt] = {}
        self._settlers: list[anyio.Event] = []
        self._bell = anyio.Event()
        self._pulled = symbols.journal.cursor
        self._pull_again_at = 0.0
        self._room = 16 * len(symbols.journal.world.states)
        self._holding = False
        self._expected: list[rows.Request] = []

    # ------------------------------------------------------------------------------------------- from inside

    async def claim(self, step: StepRows) -> None:
        """An idle router marks its next request SENDING in the decision's own commit, which costs nothing there.

        Only where the venue refuses duplicates: elsewhere a row that is SENDING without having been sent costs a
        symbol its halt, so there it stays NEW until the call is due.
        """
        if not (step.effects and self._idle and self.venue.refuses_duplicates):
            return
        symbol, intent = step.effects[0].symbol_id, step.effects[0].intent
        if self._holding or self._queue or self._claimed or self._doubts or self._frozen(symbol) or self._killed():
            return
        self._claimed[symbol, intent] = await self._writer.post(partial(self._mark_sending, symbol, intent))

    def take(self, step: StepRows) -> None:
        """Committed effects. A machine has at most a few requests open, so the queue is bounded by their number."""
        if step.effects:
            self._queue.extend((effect.symbol_id, effect.intent) for effect in step.effects)
            if len(self._queue) > self._room:
                raise RuntimeError(f"{len(self._queue)} requests wait for the venue: more than the machines can have")
            self._bell.set()

    def resume(self, pending: list[rows.Request], live: list[rows.Request]) -> None:
        """At start: what the last process left unsaid or in doubt, and what the venue must still have."""
        self._expected = list(live)
        now = self._clock.monotonic()
        for row in pending:
            if row.state == "NEW":
                self._queue.append((row.symbol_id, row.intent))
            else:
                self._doubts[row.symbol_id, row.intent] = Doubt(row, now, now, 0.05)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def room(self) -> int:
        return self._room

    @property
    def in_doubt(self) -> list[rows.Request]:
        return [doubt.row for doubt in self._doubts.values()]

    def hold(self) -> None:
        """Listen and look up, but send nothing: missed bars are still to be folded."""
        self._holding = True

    def release(self) -> None:
        """The last missed bar is folded: what is still wanted may leave."""
        self._holding = False
        self._bell.set()

    def ring(self) -> None:
        self._bell.set()

    async def settle(self) -> None:
        """Return once the venue has answered everything and every answer is on the disk.

        What waits for a human (a frozen symbol) is left aside.
        """
        done = anyio.Event()
        self._settlers.append(done)
        self._bell.set()
        await done.wait()

    # ------------------------------------------------------------------------------------------------ running

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Send, listen, resolve doubts until canceled."""
        task_status.started()
        while True:
            self.turns += 1
            self._bell = anyio.Event()
            await self._reconcile()
            moved = await self._send_waiting()
            moved = await self._listen() or moved
            moved = await self._resolve() or moved
            if moved:
                continue
            if self._settlers:
                await self._symbols.settled()
                if self._settle_now():
                    continue
            self._idle = True
            with anyio.move_on_after(self._patience()):
                await self._bell.wait()
            self._idle = False

    def _settle_now(self) -> bool:
        """Let those go who wait for quiet; True where there is more to do first."""
        open_rows = [symbol for symbol, _ in self._queue if not self._frozen(symbol)]
        if open_rows and not self._holding:
            in_doubt = {symbol for symbol, _ in self._doubts}
            return any(symbol not in in_doubt for symbol in open_rows)
        if self._pulled != self._symbols.journal.cursor or self._pull_again_at:
            return False
        if not self._holding and any(not self._frozen(symbol) for symbol, _ in self._doubts):
            return False
        for done in self._settlers:
            done.set()
        self._settlers.clear()
        return False

    def _patience(self) -> float:
        """Seconds until something is due without a bell."""
        now = self._clock.monotonic()
        due = [doubt.ask_at for doubt in self._doubts.values()]
        if self._pull_again_at:
            due.append(self._pull_again_at)
        return max(0.0, min([at - now for at in due] + [self._reconcile_s]))

    def _frozen(self, symbol: int) -> bool:
        return bool(self._symbols.journal.world.states[symbol]["halted"] == FROZEN)

    # ---------------------------------------------------------------------------------------------- reconcile

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
            if order is None and not self._frozen(row.symbol_id):
                await self._freeze(row, "the venue does not know an order that the ledger holds for live")

    # ------------------------------------------------------------------------------------------------ sending

    async def _send_waiting(self) -> bool:
        """Send what is queued; a symbol with a doubt keeps its turn."""
        if self._holding:
            return False
        held: deque[tuple[int, int]] = deque()
        blocked = {symbol for symbol, _ in self._doubts}
        moved = False
        while self._queue:
            symbol, intent = self._queue.popleft()
            if symbol in blocked or self._frozen(symbol):
                held.append((symbol, intent))
                continue
            moved = True
            await self._send(symbol, intent)
            if (symbol, intent) in self._doubts:
                blocked.add(symbol)
        self._queue.extendleft(reversed(held))
        return moved

    async def _send(self, symbol: int, intent: int) -> None:
        """One request: SENDING is durable before the call, the outcome is known or in doubt after it."""
        claim = self._claimed.pop((symbol, intent), None)
        if claim is None and self._opens_risk(symbol, intent) and self._killed():
            await self._refuse_row(symbol, intent, "DENIED", "the kill switch is on")
            return
        row = await (claim or await self._writer.post(partial(self._mark_sending, symbol, intent))).wait()
        if row is None:
            return
        if self._market_ms() > row.due_ts_ms and row.purpose == "entry" and row.kind == "submit":
            await self._symbols.put(Refused(row.cid, "expired", "EXPIRED", "too old to be sent"))
            return
        await self._call(row)

    def _mark_sending(self, symbol: int, intent: int, conn: Connection) -> rows.Request | None:
        ledger.mark_sending(conn, symbol, intent, self._clock.now_ms())
        return ledger.request(conn, symbol, intent)

    def _mark_sending_again(self, symbol: int, intent: int, conn: Connection) -> rows.Request | None:
        """None where the venue's word has ended the doubt meanwhile."""
        row = ledger.request(conn, symbol, intent)
        return self._mark_sending(symbol, intent, conn) if row is not None and row.state == "UNKNOWN" else None

    def _opens_risk(self, symbol: int, intent: int) -> bool:
        slot = self._symbols.journal.world.states[symbol]["entry"]
        return bool(slot["intent"] == intent)

    async def _refuse_row(self, symbol: int, intent: int, state: str, reason: str) -> None:
        cid = self._symbols.journal.cids[symbol, intent]
        await self._symbols.put(Refused(cid, "rejected", state, reason))

    async def _call(self, row: rows.Request) -> None:
        if row.purpose == "entry" and row.kind == "submit" and self._killed():
            await self._symbols.put(Refused(row.cid, "rejected", "REJECTED", "the kill switch is on"))
            return
        try:
            self.sent += 1
            await self.venue.send(as_request(row))
        except VenueDoubt as doubt:
            await self._doubt(row, str(doubt))
        except VenueRefused as refused:
            if refused.duplicate:
                # It is there already: an earlier attempt arrived after all.
                await self._doubt(row, "duplicate: the venue has it")
            elif row.kind == "cancel":
                await self._writer.submit(partial(self._mark, row, "REJECTED", refused.reason))
            else:
                await self._symbols.put(Refused(row.cid, "rejected", "REJECTED", refused.reason))

    def _mark(self, row: rows.Request, state: str, note: str, conn: Connection) -> None:
        ledger.mark(conn, row.symbol_id, row.intent, state, self._clock.now_ms(), note=note)

    # -------------------------------------------------------------------------------------------- in doubt

    async def _doubt(self, row: rows.Request, why: str) -> None:
        await self._writer.submit(partial(self._mark, row, "UNKNOWN", why))
        now = self._clock.monotonic()
        key = (row.symbol_id, row.intent)
        known = self._doubts.get(key)
        since = known.since if known else now
        self._doubts[key] = Doubt(row, since, now, 0.05)
        log.warning("%s %s %s is in doubt: %s", row.symbol, row.kind, row.cid, why)

    async def _resolve(self) -> bool:
        moved = False
        for key, doubt in list(self._doubts.items()):
            if doubt.ask_at <= self._clock.monotonic():
                moved = await self._ask(key, doubt) or moved
        return moved

    async def _ask(self, key: tuple[int, int], doubt: Doubt) -> bool:
        """Look the order up; True where the doubt is over or the request went out again."""
        row = doubt.row
        doubt.wait_s = min(doubt.wait_s * 2, max(self._settling_s / 4, 0.05))
        doubt.ask_at = self._clock.monotonic() + doubt.wait_s
        if row.kind == "cancel":
            if self._holding:
                return False
            return await self._again(key, row)  # asking twice to cancel is harmless anywhere
        try:
            order = await self.venue.look_up(row.cid)
        except VenueDoubt:
            return False
        if order is not None:
            return await self._adopt(key, row, order)
        if self._holding or self._clock.monotonic() - doubt.since < self._settling_s:
            return False
        if self.venue.refuses_duplicates:
            return await self._again(key, row)
        if not self._frozen(row.symbol_id):
            await self._freeze(row, "an order is in doubt and this venue cannot tell a second one from the first")
        doubt.ask_at = self._clock.monotonic() + max(self._settling_s, 1.0)
        return False

    async def _again(self, key: tuple[int, int], row: rows.Request) -> bool:
        del self._doubts[key]
        fresh = await self._writer.submit(partial(self._mark_sending_again, row.symbol_id, row.intent))
        if fresh is not None:
            await self._call(fresh)
            if key in self._doubts:
                self._doubts[key].wait_s = 0.2
                self._doubts[key].ask_at = self._clock.monotonic() + 0.2
        return True

    async def _adopt(self, key: tuple[int, int], row: rows.Request, order: VenueOrder) -> bool:
        """The venue has it: it must be what we meant, field by field."""
        wanted = (row.symbol, SIDE[row.side], row.type, row.qty, row.limit_ticks, row.stop_ticks)
        found = (order.symbol, order.side, order.type, order.qty, order.limit_ticks, order.stop_ticks)
        if wanted != found:
            await self._freeze(row, f"the venue's order differs: {found}, ours {wanted}")
            return False
        del self._doubts[key]
        await self._writer.submit(partial(self._mark, row, "ACKED", "found at the venue"))
        log.info("%s %s found at the venue (%s)", row.symbol, row.cid, order.state)
        return True

    async def _freeze(self, row: rows.Request, reason: str) -> None:
        log.error("%s halted: %s (%s)", row.symbol, reason, row.cid)
        what = f"{row.symbol} halted: {reason} ({row.cid})"
        await self._writer.submit(partial(notes.alert, ts_ms=self._clock.now_ms(), level="critical", what=what))
        await self._symbols.put(Acted(Act(ACT_HALT, row.symbol_id, True, "router", reason)))
        await self._symbols.settled()

    # --------------------------------------------------------------------------------------------- listening

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
            return False
        self._pulled = words[-1].number
        await self._symbols.put(Heard(words))
        await self._symbols.settled()
        return True


def as_request(row: rows.Request) -> port.Request:
    """An outbox row as the venue's port takes it."""
    return port.Request(
        kind=row.kind,
        cid=row.cid,
        ref_cid=row.ref_cid or "",
        symbol=row.symbol,
        purpose=row.purpose,
        side=SIDE[row.side],
        type=row.type,
        qty=row.qty,
        limit_ticks=row.limit_ticks,
        stop_ticks=row.stop_ticks,
    )
