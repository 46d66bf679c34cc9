"""The only hand that writes: takes what is waiting, commits it as one, and answers after the disk has it.

A failed transaction or commit ends the process. It is never tried again in place: after a failed fsync the
kernel may call pages clean that never reached the disk, and the engine's memory is already ahead of the file.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import anyio
from anyio.abc import TaskStatus

from avwapd.ports import Database
from avwapd.store import WriterFailed
from avwapd.store.ledger import assert_epoch
from avwapd.store.sql import transact

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], Any]

BUSY_TOLD = 3  # checkpoints in a row that a reader held up
PAGE_BYTES = 4096


@dataclass(slots=True)
class Receipt:
    """A function to run in the next commit, and what its sender may wait for."""

    fn: Work
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    failure: WriterFailed | None = None

    async def wait(self) -> Any:
        """The function's result, once its commit is on the disk; raises WriterFailed where it never will be."""
        await self.done.wait()
        if self.failure is not None:
            raise self.failure
        return self.result


class Writer:
    """Group commit over one Database. `room` bounds the queue, `batch` one commit.

    alarm: the work that leaves a call for a human, in these words.
    """

    def __init__(
        self,
        database: Database,
        epoch: int,
        *,
        room: int = 256,
        batch: int = 64,
        idle_s: float = 1.0,
        checkpoint_rows: int = 30_000,
        alarm: Callable[[str], Work] | None = None,
    ) -> None:
        self._database = database
        self._epoch = epoch
        self._batch = batch
        self._idle_s = idle_s
        self._checkpoint_rows = checkpoint_rows
        self._send, self._receive = anyio.create_memory_object_stream[Receipt](room)
        self._cause: BaseException | None = None  # what the first failure was
        self._rows = 0  # written since the last checkpoint
        self._alarm = alarm
        self.commits = 0
        self._told = False  # of the reader that holds it up now
        self.wal_pages = 0  # left in the WAL by the last checkpoint
        self.busy = 0  # checkpoints in a row that a reader held up

    @property
    def failed(self) -> bool:
        """A commit failed: memory is ahead of the disk."""
        return self._cause is not None

    @property
    def waiting(self) -> int:
        """How full the queue is."""
        return self._send.statistics().current_buffer_used

    async def submit(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` inside the next commit; returns its result once that commit is on the disk.

        A caller canceled here has either not queued it, or it runs all the same.
        """
        receipt = await self.post(fn)
        return cast(T, await receipt.wait())

    async def post(self, fn: Work) -> Receipt:
        """Queue `fn` for the next commit and return at once, so that what follows may share it; waits only for room."""
        item = Receipt(fn)
        try:
            await self._send.send(item)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise self._failed() from self._cause or error
        return item

    def close(self) -> None:
        """Take nothing more; `run` writes what is queued and returns."""
        self._send.close()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Write until closed; raises WriterFailed, and then the process is to end."""
        try:
            task_status.started()
            while (items := await self._take()) is not None:
                await self._commit(items)
            await self._checkpoint()
        finally:
            self._send.close()
            while items := self._queued(self._batch):
                self._fail(items)
            self._receive.close()

    async def _take(self) -> list[Receipt] | None:
        """What is waiting, at most one batch; None after the end. An idle spell is used to checkpoint."""
        try:
            if self._rows:
                with anyio.move_on_after(self._idle_s):
                    return [await self._receive.receive(), *self._queued(self._batch - 1)]
                await self._checkpoint()
            return [await self._receive.receive(), *self._queued(self._batch - 1)]
        except anyio.EndOfStream:
            return None

    def _queued(self, most: int) -> list[Receipt]:
        """What waits already, without waiting for more."""
        items: list[Receipt] = []
        with contextlib.suppress(anyio.WouldBlock, anyio.EndOfStream):
            while len(items) < most:
                items.append(self._receive.receive_nowait())
        return items

    async def _commit(self, items: list[Receipt]) -> None:
        """One transaction for all of them; receipts only after it is durable, and before the next await."""

        def work(conn: sqlite3.Connection) -> list[Any]:
            assert_epoch(conn, self._epoch)
            return [item.fn(conn) for item in items]

        def counted(conn: sqlite3.Connection) -> tuple[list[Any], int]:
            before = conn.total_changes
            return transact(work)(conn), conn.total_changes - before

        try:
            with anyio.CancelScope(shield=True):
                results, rows = await self._database.run(counted)
        except BaseException as error:
            self._cause = error
            self._fail(items)
            if not isinstance(error, Exception):
                raise
            raise self._failed() from error
        self.commits += 1
        self._rows += rows
        for item, result in zip(items, results, strict=True):
            item.result = result
            item.done.set()
        if self._rows >= self._checkpoint_rows:
            await self._checkpoint()

    async def _checkpoint(self) -> None:
        """Copy what no reader needs from the WAL into the file; it waits for nobody."""
        self._rows = 0
        busy, total, done = await self._run(_passive)
        self.wal_pages = total - done
        self.busy = self.busy + 1 if busy or done < total else 0
        await self._tell_stuck()

    async def _tell_stuck(self) -> None:
        """A reader that holds the checkpoint back makes the WAL grow: a human hears of it, once each time."""
        if not self.busy:
            self._told = False
        mb = self.wal_pages * PAGE_BYTES // 1_000_000
        if self._alarm is None or self._told or self.busy < BUSY_TOLD or not self.wal_pages:
            return
        self._told = True
        what = f"a reader holds back the checkpoint: {mb} MB of WAL wait; end it (a long query, an open sqlite3 shell)"
        await self._run(transact(self._alarm(what)))

    async def _run(self, work: Work) -> Any:
        """Work of the writer's own; its failure ends the process like any other."""
        try:
            with anyio.CancelScope(shield=True):
                return await self._database.run(work)
        except Exception as error:
            self._cause = error
            raise self._failed() from error

    def _fail(self, items: list[Receipt]) -> None:
        for item in items:
            item.failure = self._failed()
            item.failure.__cause__ = self._cause
            item.done.set()

    def _failed(self) -> WriterFailed:
        """One for each who is told: an exception raised in two tasks tangles its tracebacks."""
        where = f"ledger, epoch {self._epoch}"
        if self._cause is None:
            return WriterFailed("the writer has stopped", where, "nothing: the process is ending")
        what = f"a transaction failed ({type(self._cause).__name__}: {self._cause})"
        return WriterFailed(what, where, "the process ends and starts from the disk; if it repeats, check the disk")


def _passive(conn: sqlite3.Connection) -> tuple[int, int, int]:
    busy, total, done = conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(busy), int(total), int(done)
