"""What is kept, and for how long. Bars, decisions, orders, fills and inputs stay for ever: they are the record.

Rows and files that only help the living go once a session. A file is removed only where its name and place say that
avwapd wrote it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
from anyio.abc import TaskStatus

from avwapd.ports import Clock
from avwapd.store import notes
from avwapd.store.mark import Mark
from avwapd.store.sql import Connection

log = logging.getLogger("avwapd.retention")

DAY_MS = 86_400_000
DAILY = re.compile(r"(?:\w+-)?(\d{4})-?(\d{2})-?(\d{2})\.jsonl")
T = TypeVar("T")


class Writes(Protocol):
    """The writer's door."""

    async def submit(self, fn: Callable[[Connection], T]) -> T: ...


def old_daily(folder: Path, *, now_ms: int, days: int) -> list[Path]:
    """Daily files of decisions whose day is more than `days` days ago."""
    if not folder.is_dir():
        return []
    limit = datetime.fromtimestamp((now_ms - days * DAY_MS) / 1000, UTC).strftime("%Y%m%d")
    found = [(match, path) for path in folder.iterdir() if (match := DAILY.fullmatch(path.name)) and path.is_file()]
    return sorted(path for match, path in found if "".join(match.groups()) < limit)


def forget_daily(folder: Path, *, now_ms: int, days: int) -> int:
    """Remove them; how many went."""
    found = old_daily(folder, now_ms=now_ms, days=days)
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


class Housekeeper:
    """Once a session, after its commit: the mark, then rows and files that are over. keep_mark, forget_files: doors.

    Rows carry our clock's time; daily files carry the market's, which in a replay is long ago.
    """

    def __init__(
        self,
        writer: Writes,
        clock: Clock,
        *,
        beats_days: int,
        notices_days: int,
        keep_mark: Callable[[Mark], Awaitable[None]],
        forget_files: Callable[[int], Awaitable[int]],
        market_ms: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._beats_ms = beats_days * DAY_MS
        self._notices_ms = notices_days * DAY_MS
        self._keep_mark = keep_mark
        self._forget_files = forget_files
        self._market_ms = market_ms
        self._at: tuple[int, int] | None = None
        self._bell = anyio.Event()

    def session_over(self, epoch: int, seq: int) -> None:
        """A session's first commit is on the disk. Returns at once."""
        self._at = epoch, seq
        self._bell.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep house until canceled. A disk that refuses a file costs a warning, not the day."""
        task_status.started()
        while True:
            await self._bell.wait()
            self._bell = anyio.Event()
            assert self._at is not None
            await self.mark(*self._at)
            await self.forget()

    async def mark(self, epoch: int, seq: int, *, clean: bool = False) -> None:
        """How far the ledger has come, outside it."""
        try:
            await self._keep_mark(Mark(epoch, seq, self._clock.now_ms(), clean))
        except OSError as error:
            log.warning("the mark cannot be written: %s", error)

    async def forget(self) -> None:
        """Rows and files whose time is over."""
        now_ms = self._clock.now_ms()
        await self._writer.submit(
            partial(notes.forget, beats_before_ms=now_ms - self._beats_ms, notices_before_ms=now_ms - self._notices_ms)
        )
        try:
            if gone := await self._forget_files(self._market_ms()):
                log.info("%d daily files are over and removed", gone)
        except OSError as error:
            log.warning("daily files cannot be removed: %s", error)
