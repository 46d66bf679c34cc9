"""Keeping up with Alpaca: the stream of order updates, and questions where it was away or has nothing to say."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from avwapd.ports import Clock
from avwapd.remote import alpaca as remote
from avwapd.remote.calls import joined
from avwapd.venues.alpaca_ear import Ear
from avwapd.venues.alpaca_reads import Reads
from avwapd.venues.alpaca_words import Misshapen, Seen
from avwapd.venues.port import VenueDoubt

log = logging.getLogger("avwapd.venues.alpaca")

LOOK_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # when an order about which the stream is silent is asked about
OVERLAP_MS = 600_000  # market time: a recheck asks for executions since so long before the last one
AT_START_MS = 3_600_000  # the same, of the first one
MUTE_AFTER = 2  # times in a row that REST had news of which a stream, up for so long, had said nothing:
MUTE_UP_S = 5.0  # it is made anew


@dataclass(slots=True)
class Look:
    """An order to be asked about. due: monotonic seconds."""

    due: float
    tries: int = 0


class Watch:
    """`make_stream(handler, up, down)`: a stream of order updates, not yet running."""

    def __init__(
        self,
        reads: Reads,
        pace: remote.Pace,
        clock: Clock,
        make_ear: Callable[[Callable[[str], None]], Ear],
        make_stream: Callable[..., Any],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.ear = make_ear(self.look)
        self.pace = pace
        self.is_up = False
        self.since_ms = clock.now_ms()  # of the stream's state
        self._reads = reads
        self._clock = clock
        self._make_stream = make_stream
        self._stream: Any = None
        self._up_at = 0.0
        self._checked_ms = 0  # market time at which the last whole recheck began
        self._missed = 0  # connects since the last recheck: what was said before each of them is asked for
        self._silent = 0  # times in a row that only REST had news
        self._renew = False  # the stream is mute
        self._looks: dict[str, Look] = {}
        self._recheck_at: float | None = None
        self._recheck_tries = 0
        self._checking = anyio.Lock()
        self._bell = anyio.Event()

    # ------------------------------------------------------------------------------------------------- asking

    def look(self, cid: str) -> None:
        """Ask about an order in a moment, unless the stream has told its end by then."""
        if cid not in self._looks:
            self._looks[cid] = Look(self._clock.monotonic() + LOOK_S[0])
            self._bell.set()

    async def look_at(self, cid: str) -> Seen | None:
        """The order by our id, its news taken in; None for a clear "not found". Raises VenueDoubt."""
        order = await self._reads.order_by_cid(cid)
        if order is not None:
            self.ear.observe(order)
            if order.status == "replaced" and order.replaced_by and self.ear.cid_of(order.replaced_by) is None:
                await self._chase(order)
        return order

    async def _chase(self, order: Seen) -> None:
        """Whether what took an order's place is ours, before it is called canceled."""
        successor = await self._reads.order_by_id(order.replaced_by)
        if successor is not None:
            self.ear.observe(successor)
            self.ear.observe(order)

    async def look_back(self, wires: Sequence[str]) -> None:
        """The newest orders of these (none: of all), their news taken in. Raises VenueDoubt."""
        for order in await self._reads.orders("all", wires):
            self.ear.observe(order)
        self.ear.ring()

    async def recheck(self) -> None:
        """Raises VenueDoubt where something of it could not be asked; what was heard by then counts."""
        async with self._checking:
            self.counts["rechecks"] += 1
            heard = self.ear.hearing.last
            try:
                await self._recheck()
            finally:
                self._compare(heard)
                self.ear.ring()

    async def _recheck(self) -> None:
        hearing = self.ear.hearing
        began_ms = self._clock.now_ms()
        first = self._checked_ms == 0
        missed = self._missed
        found = await self._reads.orders("all" if first else "open")
        for order in found:
            self.ear.observe(order)
        seen = {order.cid for order in found}
        for waiting in hearing.open():
            if waiting.cid not in seen and (waiting.taken or waiting.venue_id):
                await self.look_at(waiting.cid)
        since_ms = [order.submitted_ms - 1_000 for order in found if order.cid in hearing.behind]
        since_ms.append(began_ms - AT_START_MS if first else self._checked_ms - OVERLAP_MS)
        await self._executions(min(since_ms))
        if missed and not first:  # what was not told may be about orders that are over: a trade taken back
            await self.look_back(())
        self._checked_ms = began_ms
        self._missed -= missed
        for cid in list(hearing.behind):
            self.look(cid)

    async def _executions(self, since_ms: int) -> None:
        """Every execution since then; of orders that we do not know by the venue's id, whose they are is asked."""
        for fill in await self._reads.fills(since_ms):
            cid = self.ear.cid_of(fill.order_id)
            if cid is None:
                order = await self._reads.order_by_id(fill.order_id)
                if order is None:
                    continue
                self.ear.observe(order)
                cid = self.ear.cid_of(fill.order_id)
            if cid:
                self.ear.executed(cid, fill)

    def _compare(self, heard: int) -> None:
        """Whether REST had news about which a stream that has been up for a while was silent."""
        if self.ear.hearing.last == heard:
            return
        self.counts["words_by_rest"] += self.ear.hearing.last - heard
        if self.is_up and self._clock.monotonic() - self._up_at > MUTE_UP_S:
            self._silent += 1
            if self._silent >= MUTE_AFTER:
                self._silent = 0
                self.counts["streams_mute"] += 1
                self._renew = True
                self._bell.set()

    # ------------------------------------------------------------------------------------------------- stream

    async def hear(self, message: Any) -> None:
        """One message of the stream; what cannot be read is asked for by REST."""
        heard = self.ear.hearing.last
        try:
            self.ear.take_update(message)
        except Misshapen as error:
            self.counts["unreadable_events"] += 1
            log.warning("an order update that cannot be read: %s", error)
            self._want_recheck()
        if self.ear.hearing.last != heard:
            self._silent = 0
        self.ear.ring()

    def _stream_up(self) -> None:
        self.is_up = True
        self._up_at = self._clock.monotonic()
        self.since_ms = self._clock.now_ms()
        self._missed += 1
        self._want_recheck()

    def _stream_down(self) -> None:
        self.is_up = False
        self.since_ms = self._clock.now_ms()

    async def listen(self) -> None:
        """The stream reconnects by itself; where it gives up, another one takes its place."""
        tries = 0
        while True:
            self._stream = self._make_stream(self.hear, self._stream_up, self._stream_down)
            connects = self.pace.connects
            try:
                await remote.run_stream(self._stream)
            except Exception as error:  # noqa: BLE001 - of a foreign client: whatever it dies of, it is made anew
                log.warning("%s", joined("the stream of order updates died", joined(type(error).__name__, str(error))))
            self._stream_down()
            self.counts["streams_died"] += 1
            tries = 1 if self.pace.connects > connects else tries + 1
            await self._clock.sleep(self.pace.delay_s(tries))

    # -------------------------------------------------------------------------------------------------- duties

    async def attend(self) -> None:
        """Recheck after each connect, ask about orders that the stream leaves in the dark, renew a mute stream."""
        self._want_recheck()
        while True:
            await self._sleep()
            if self._renew:
                self._renew = False
                log.warning("the stream of order updates is mute: it is made anew")
                with anyio.move_on_after(2):
                    await self._stream.close()
            now = self._clock.monotonic()
            if self._recheck_at is not None and self._recheck_at <= now:
                await self._recheck_soon()
            for cid, look in list(self._looks.items()):
                if look.due <= now:
                    await self._look_due(cid, look)

    async def _sleep(self) -> None:
        """Until something is due or the bell rings."""
        self._bell = anyio.Event()
        due = [look.due for look in self._looks.values()]
        if self._recheck_at is not None:
            due.append(self._recheck_at)
        if not self._renew:
            with anyio.move_on_after(max(0.0, min(due) - self._clock.monotonic()) if due else None):
                await self._bell.wait()

    async def _recheck_soon(self) -> None:
        self._recheck_at = None
        try:
            await self.recheck()
            self._recheck_tries = 0
        except VenueDoubt as doubt:
            wait_s = LOOK_S[min(self._recheck_tries, len(LOOK_S) - 1)]
            self._recheck_tries += 1
            self._recheck_at = self._clock.monotonic() + wait_s
            log.warning("the recheck has to wait: %s", doubt)

    def _want_recheck(self) -> None:
        self._recheck_at = self._clock.monotonic()
        self._bell.set()

    async def _look_due(self, cid: str, look: Look) -> None:
        hearing = self.ear.hearing
        order = hearing.order(cid)
        if order is None or (order.over and not self.ear.unsure(cid)) or look.tries >= len(LOOK_S):
            self._looks.pop(cid, None)
            return
        look.tries += 1
        look.due = self._clock.monotonic() + LOOK_S[min(look.tries, len(LOOK_S) - 1)]
        heard = hearing.last
        try:
            found = await self.look_at(cid)
            if found is not None and cid in hearing.behind:
                await self._executions(found.submitted_ms - 1_000)
            self.counts["looks"] += 1
        except VenueDoubt:
            self.counts["looks_in_vain"] += 1
        self._compare(heard)
        self.ear.ring()
