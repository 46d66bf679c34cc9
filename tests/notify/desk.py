"""A real ledger with its writer, the notices actor, and a clock that may run fast."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from avwapd.actors.notices import Deliver, Notices
from avwapd.config import defaults
from avwapd.config.sections import Notify
from avwapd.ops.notify import channels
from avwapd.ports import SystemClock
from avwapd.store.database import open_database
from avwapd.store.sql import transact
from avwapd.store.writer import Writer
from tests.notify.server import Human
from tests.store import story

LIMIT_S = 20.0


class FastClock(SystemClock):
    """So many seconds in one; every wait is as much shorter."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._begun = time.monotonic()
        self._origin_ms = super().now_ms()

    def monotonic(self) -> float:
        return (time.monotonic() - self._begun) * self.speed

    def now_ms(self) -> int:
        return self._origin_ms + round(self.monotonic() * 1000)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / self.speed)


def wanted(**changes: Any) -> Notify:
    plain = {name: getattr(defaults().notify, name) for name in Notify.__slots__}
    return Notify(**{**plain, **changes})


@dataclass
class Desk:
    writer: Writer
    notices: Notices
    clock: SystemClock

    async def rows(self, question: str) -> list[tuple[Any, ...]]:
        return await self.writer.submit(lambda conn: conn.execute(question).fetchall())

    async def until(self, true: Callable[[], bool]) -> None:
        with anyio.fail_after(LIMIT_S):
            while not true():  # noqa: ASYNC110 - whatever it asks rings no bell
                await anyio.sleep(0.01)

    async def settled(self) -> None:
        """Nothing waits any more."""
        with anyio.fail_after(LIMIT_S):
            while True:
                left = await self.rows("SELECT 1 FROM notices WHERE state = 'waiting'")
                if not left and not self.notices.facts()["waiting"]:
                    return
                await anyio.sleep(0.01)


@asynccontextmanager
async def desk(
    folder: Path,
    *,
    human: Human | None = None,
    deliver: Deliver | None = None,
    speed: float = 1.0,
    limit_s: float = 5.0,
    **changes: Any,
) -> AsyncIterator[Desk]:
    """human: reached through Apprise itself; the ledger in `folder` is made, or gone on with."""
    clock = FastClock(speed)
    if human is not None:
        made = channels(SystemClock(), limit_s, environment={"AVWAPD_NOTIFY_URLS": human.address})
        assert made is not None
        deliver = made.deliver
    async with await open_database(folder / "avwapd.db") as db:
        epoch = await db.run(transact(story.begin))
        writer = Writer(db, epoch)
        notices = Notices(
            clock, wanted(limit_s=limit_s, **changes), deliver=deliver, sender="avwapd demo sim", draw=lambda: 0.5
        )
        notices.attach(writer)
        async with anyio.create_task_group() as group:
            await group.start(writer.run)
            await group.start(notices.run)
            yield Desk(writer, notices, clock)
            group.cancel_scope.cancel()
