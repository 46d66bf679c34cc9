"""Requests that may have arrived, until evidence tells: adopted, sent again, taken back, or left to a human."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from avwapd.actors import router_doubt
from avwapd.actors.router_desk import Desk, said
from avwapd.actors.router_doubt import Doubt, Waiting, cancel_of, differs
from avwapd.actors.router_gate import Gate
from avwapd.ports import Clock
from avwapd.store import rows
from avwapd.store.rows import StepRows
from avwapd.venues.port import Venue, VenueDoubt, VenueOrder, VenueRefused, Word

log = logging.getLogger("avwapd.router")

AGAIN_WAIT_S = 0.2  # before asking about a request that left for the second time
FROZEN_WAIT_S = 1.0
LONG_DOUBT_S = 30.0  # market time after which a person hears of a doubt
REMEMBERED = 1_000
Key = tuple[int, int]  # symbol, intent


class Doubts:
    """call: says a request to the venue, call_again: one that may be there already.

    expect_words: asks the venue within so many seconds what came of ours; settling_s: after it an
    order would be known; lost_s: after it, what nobody wants any more is given up.
    """

    def __init__(
        self,
        venue: Venue,
        desk: Desk,
        gate: Gate,
        clock: Clock,
        *,
        settling_s: float,
        lost_s: float,
        long_s: float,
        call: Callable[[rows.Request], Awaitable[None]],
        call_again: Callable[[rows.Request], Awaitable[None]],
        expect_words: Callable[[float], None],
    ) -> None:
        self.by_key: dict[Key, Doubt] = {}
        self._venue = venue
        self._desk = desk
        self._gate = gate
        self._clock = clock
        self._settling_s = settling_s
        self._lost_s = lost_s
        self._long_s = long_s
        self._call = call
        self._call_again = call_again
        self._expect_words = expect_words
        self._can_look_up: bool = getattr(venue, "can_look_up", True)
        self._given_up: dict[str, rows.Request] = {}  # never arrived, as far as we know
        self._ghosts: list[rows.Request] = []  # of these, what arrived all the same

    # ------------------------------------------------------------------------------------------- which there are

    def recall(self, row: rows.Request) -> None:
        """At start: in doubt since the last process."""
        now = self._clock.monotonic()
        self.by_key[row.symbol_id, row.intent] = Doubt(row, now, now)

    async def add(self, row: rows.Request, why: str, *, taken: bool = False, refused: str = "") -> None:
        """It may have arrived; taken: the venue says that it did, earlier; refused: why not this time."""
        state = await self._desk.mark(row, "UNKNOWN", why)
        if state != "UNKNOWN" and not taken:
            return  # the venue's word was faster
        now = self._clock.monotonic()
        self.by_key[row.symbol_id, row.intent] = Doubt(row, now, now, taken=taken, refused=refused)
        log.warning("%s %s %s is in doubt: %s", row.symbol, row.kind, row.cid, why, extra=said(row, "doubt"))

    async def keep(self, row: rows.Request, why: str, rest_s: float) -> None:
        """It did not arrive, and is tried again after a rest. After a crash it is a doubt like any other."""
        await self._desk.mark(row, "UNKNOWN", f"not taken: {why}")
        now = self._clock.monotonic()
        self.by_key[row.symbol_id, row.intent] = Doubt(row, now, now + rest_s, absent=True)

    def settled_by(self, step: StepRows) -> bool:
        """What a committed word of the venue says about ours is no longer in doubt; True where there was any."""
        found = False
        for move in step.outbox_moves:
            doubt = self.by_key.get((move.symbol_id, move.intent))
            if doubt is not None and not doubt.taken and move.state not in ("SENDING", "UNKNOWN"):
                del self.by_key[move.symbol_id, move.intent]
                found = True
        return found

    def symbols(self) -> set[int]:
        """Whose requests wait behind a doubt."""
        return {symbol for symbol, _ in self.by_key}

    @property
    def kept(self) -> bool:
        """Something waits for the venue to open again."""
        return any(doubt.absent for doubt in self.by_key.values())

    def reopened(self) -> None:
        """The venue may take orders again: what was kept for that (a stop, maybe) rests no longer."""
        now = self._clock.monotonic()
        for doubt in self.by_key.values():
            if doubt.absent:
                doubt.ask_at = min(doubt.ask_at, now)

    def open(self) -> bool:
        """Some doubt is left that no human was asked about."""
        return any(not self._desk.frozen(symbol) for symbol, _ in self.by_key)

    def due(self, busy: set[int]) -> list[tuple[Key, Doubt]]:
        """Whose time to be asked has come; busy: symbols with a call under way."""
        now = self._clock.monotonic()
        return [(key, doubt) for key, doubt in self.by_key.items() if doubt.ask_at <= now and key[0] not in busy]

    def next_at(self, busy: set[int]) -> list[float]:
        """When each is due."""
        return [doubt.ask_at for (symbol, _), doubt in self.by_key.items() if symbol not in busy]

    # ------------------------------------------------------------------------------------------------ resolving

    async def ask(self, key: Key, doubt: Doubt) -> bool:
        """Look the order up and act on what is found; True where the doubt is over or the request went out again."""
        if self.by_key.get(key) is not doubt:
            return False
        row, now = doubt.row, self._clock.monotonic()
        doubt.wait(now, max(self._settling_s / 4, AGAIN_WAIT_S if row.kind == "cancel" else 0.0))
        if not doubt.told and now - doubt.since >= self._long_s:
            doubt.told = True
            what = f"{row.symbol} {row.kind} {row.cid} in doubt for {now - doubt.since:.0f} s"
            await self._desk.alert("warning", what, symbol=row.symbol)
        if row.kind == "cancel":
            # Asking twice to cancel is harmless anywhere.
            return False if self._gate.held else await self._again(key, doubt)
        if not doubt.absent and self._can_look_up:
            try:
                order = await self._venue.look_up(row.cid)
            except VenueDoubt:
                return False
            if self.by_key.get(key) is not doubt:
                return True  # the venue's word was faster
            if order is not None:
                return await self._adopt(key, row, order)
        return False if self._gate.held else await self._decide(key, doubt)

    async def _decide(self, key: Key, doubt: Doubt) -> bool:
        """The venue does not know it, or cannot be asked."""
        row = doubt.row
        refusal = self._gate.why_not(Waiting.of_row(row))
        age_s = self._clock.monotonic() - doubt.since
        verdict = router_doubt.judge(
            doubt,
            settled=age_s >= self._settling_s,
            lost=age_s >= self._lost_s,
            refuses_duplicates=self._venue.refuses_duplicates,
            can_look_up=self._can_look_up,
            wanted=refusal is None,
        )
        if verdict == router_doubt.AGAIN:
            return await self._again(key, doubt)
        if verdict == router_doubt.GIVE_UP:
            return await self._give_up(key, doubt, refusal.why if refusal else "")
        if verdict == router_doubt.REFUSED:
            self.by_key.pop(key, None)
            self._remember(row)
            await self._desk.refuse(row.cid, "rejected", "REJECTED", doubt.refused)
            return True
        if verdict == router_doubt.FREEZE and doubt.frozen and not self._desk.frozen(row.symbol_id):
            self.by_key.pop(key, None)
            self._remember(row)
            log.warning("%s: resumed, so %s counts as not at the venue", row.symbol, row.cid, extra=said(row))
            await self._desk.refuse(row.cid, "expired", "EXPIRED", "a human looked and resumed: it is not at the venue")
            return True
        if verdict == router_doubt.FREEZE:
            doubt.frozen = True
            await self._desk.freeze(row, "an order is in doubt and this venue cannot tell a second one from the first")
            doubt.told = True
            doubt.ask_at = self._clock.monotonic() + max(self._settling_s, FROZEN_WAIT_S)
        return False

    def _admitted(self, doubt: Doubt, kind: str) -> bool:
        wait_s = self._venue.admit(kind, doubt.row.purpose)
        if wait_s > 0:
            doubt.ask_at = self._clock.monotonic() + wait_s
        return wait_s <= 0

    async def _again(self, key: Key, doubt: Doubt) -> bool:
        """The same request once more, as soon as the budget has a call for it."""
        row = doubt.row
        if not self._admitted(doubt, row.kind):
            return False
        self.by_key.pop(key, None)
        fresh = await self._desk.sending_again(row)
        if fresh is not None:
            await (self._call if doubt.absent else self._call_again)(fresh)
            new = self.by_key.get(key)
            if new is not None and not new.absent:
                new.wait_s = AGAIN_WAIT_S if row.kind != "cancel" else max(AGAIN_WAIT_S, doubt.wait_s)
                new.ask_at = self._clock.monotonic() + new.wait_s
        return True

    async def _give_up(self, key: Key, doubt: Doubt, why: str) -> bool:
        """Nobody wants it any more: a cancel by its id, should it arrive; then its machine hears that it is over."""
        row = doubt.row
        if not doubt.absent:
            if not self._admitted(doubt, "cancel"):
                return False
            if await self._desk.sending_again(row) is None:
                self.by_key.pop(key, None)
                return True
            found, answered = await self._take_back(row)
            state = await self._desk.mark(row, "UNKNOWN", f"canceled by id: {why}")
            if state == "UNKNOWN" and not answered:
                return False
            if found is not None:
                return await self._adopt(key, row, found)
            if state != "UNKNOWN":  # the venue's word was faster
                self.by_key.pop(key, None)
                return True
        if self.by_key.pop(key, None) is not None:
            log.warning("%s %s %s given up: %s", row.symbol, row.kind, row.cid, why, extra=said(row))
            self._remember(row)
            await self._desk.refuse(row.cid, "expired", "EXPIRED", f"never arrived; {why}")
        return True

    async def _take_back(self, row: rows.Request) -> tuple[VenueOrder | None, bool]:
        """Cancel an order by our id, where that says anything to the venue: what it then has, and whether it told."""
        try:
            await self._venue.send(cancel_of(row))
        except (VenueRefused, VenueDoubt) as error:
            log.info("%s cancel by id %s: %s", row.symbol, row.cid, error, extra=said(row))
        try:
            return await self._venue.look_up(row.cid), True
        except VenueDoubt:
            return None, False

    def _remember(self, row: rows.Request) -> None:
        """Should it arrive all the same, it is to be canceled."""
        self._given_up[row.cid] = row
        while len(self._given_up) > REMEMBERED:
            del self._given_up[next(iter(self._given_up))]

    async def _adopt(self, key: Key, row: rows.Request, order: VenueOrder) -> bool:
        """The venue has it: it must be what we meant, field by field."""
        wrong = differs(row, order)
        if wrong:
            await self._desk.freeze(row, wrong)
            return False
        self.by_key.pop(key, None)
        await self._desk.mark(row, "ACKED", "found at the venue")
        log.info("%s %s found at the venue (%s)", row.symbol, row.cid, order.state, extra=said(row))
        self._expect_words(0.0)
        return True

    # ------------------------------------------------------------------------------------------------ ghosts

    def heard(self, words: Iterable[Word]) -> None:
        """A request that was given up has arrived after all: nobody wants it."""
        for word in words:
            if word.kind == "acked" and word.cid in self._given_up:
                self._ghosts.append(self._given_up.pop(word.cid))

    async def lay_ghosts(self) -> None:
        """Cancel what arrived too late; a doubt keeps it for the next turn."""
        while self._ghosts and self._venue.admit("cancel", self._ghosts[-1].purpose) <= 0:
            row = self._ghosts[-1]
            try:
                await self._venue.send(cancel_of(row))
            except VenueRefused as refused:
                words = row.symbol, row.cid, refused.reason
                log.info("%s %s came late and cannot be canceled: %s", *words, extra=said(row))
            except VenueDoubt:
                return
            self._ghosts.pop()
            log.warning("%s %s came late and is canceled", row.symbol, row.cid, extra=said(row))
