"""The actor that owns every machine: takes bars, words and acts in order, folds them, hands rows to the writer.

It does not wait for a commit before the next input (the disk may be behind, memory never tells): what leaves the
process waits instead. The publisher lets effects, log lines and receipts out only after their rows are durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import anyio
from anyio.abc import TaskStatus

from avwapd.actors.mail import Acted, Adjusted, BarsClosed, CaughtUp, Heard, Listed, Mail, Probe, Refused, Restated
from avwapd.ports import Clock
from avwapd.store import ledger, notes
from avwapd.store.journal import Journal
from avwapd.store.limits import Limits
from avwapd.store.rows import StepRows
from avwapd.store.writer import Receipt, Work, Writer

Publish = Callable[[StepRows], None]
Claim = Callable[[StepRows], Awaitable[None]]  # may add to the commit that is being put together
Receipts = list[tuple[StepRows | None, Receipt]]


class Symbols:
    """`room` bounds the queue of inputs and the queue of commits under way alike."""

    def __init__(
        self, journal: Journal, writer: Writer, clock: Clock, publish: Publish, claim: Claim, *, room: int
    ) -> None:
        self.journal = journal
        self.room = room
        self.in_flight = 0  # mails taken in whose rows are not yet published
        self.turns = 0
        self._writer = writer
        self._clock = clock
        self._publish = publish
        self._claim = claim
        self._send, self._receive = anyio.create_memory_object_stream[Mail](room)
        self._out, self._published = anyio.create_memory_object_stream[tuple[Mail, Receipts]](room)
        self._idle = anyio.Event()
        self.limits: Limits | None = None  # what an order is held against where it is written
        self.on_denied: Callable[[list[str]], None] = lambda words: None
        self.on_folded: Publish = lambda rows: None  # before the next input, and before its rows are durable

    @property
    def waiting(self) -> int:
        return self._send.statistics().current_buffer_used

    async def put(self, mail: Mail) -> None:
        """Queue an input; waits while the queue is full."""
        self.in_flight += 1
        await self._send.send(mail)

    async def settled(self) -> None:
        """Return once every input put so far is committed and published."""
        while self.in_flight:
            if self._idle.is_set():  # else somebody waits on it already
                self._idle = anyio.Event()
            await self._idle.wait()

    def close(self) -> None:
        """After `run`: nobody puts or takes any more."""
        for stream in (self._send, self._receive, self._out, self._published):
            stream.close()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Fold until canceled. Raises EngineStopped or WriterFailed; then the process ends."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._publish_committed)
            task_status.started()
            async for mail in self._receive:
                self.turns += 1
                receipts: Receipts = []
                for rows in self._fold(mail):
                    self.on_folded(rows)
                    receipts.append((rows, await self._writer.post(self._record(rows))))
                    await self._claim(rows)
                if isinstance(mail, Probe):
                    beat = partial(notes.beat, ts_ms=self._clock.now_ms(), body=mail.body)
                    receipts.append((None, await self._writer.post(beat)))
                await self._out.send((mail, receipts))

    def _fold(self, mail: Mail) -> Iterator[StepRows]:
        if isinstance(mail, BarsClosed):
            yield self.journal.bars(mail.bars, mail.note)
            mail.folded.set()
        elif isinstance(mail, Heard):
            for word in mail.words:
                rows = self.journal.word(word)
                if rows is not None:
                    yield rows
        elif isinstance(mail, Refused):
            yield self.journal.refused(mail.cid, mail.kind, mail.state, mail.reason)
        elif isinstance(mail, Acted):
            yield self.journal.act(mail.act, self._clock.now_ms())
        elif isinstance(mail, Listed):
            yield self.journal.watchlist(mail.watchlist, self._clock.now_ms())
        elif isinstance(mail, Restated):
            yield self.journal.restate(mail.actions)
        elif isinstance(mail, Adjusted):
            yield self.journal.adjust(mail.adjustment, self._clock.now_ms())
        elif isinstance(mail, CaughtUp):
            yield self.journal.caught_up()

    def _record(self, rows: StepRows) -> Work:
        if self.limits is None:
            return partial(ledger.record_step, rows=rows)
        return partial(ledger.record_step, rows=rows, limits=self.limits)

    async def _publish_committed(self) -> None:
        """After each commit, in order: effects to the router, lines to the log, word to whoever waits."""
        async for mail, receipts in self._published:
            for rows, receipt in receipts:
                result = await receipt.wait()
                if rows is not None:
                    self._publish(rows)
                    if result:
                        self.on_denied(result)
            if isinstance(mail, Acted | Listed | Restated | Adjusted | CaughtUp | Probe):
                mail.done.set()
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()
