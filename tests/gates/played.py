"""The daemon of the simulated world with something done after a barrier."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from avwapd.daemon import Daemon
from tests.sim.world import World

Then = Callable[[Daemon], Awaitable[None]]


def after_each_bar(then: Then) -> Callable[[Daemon, World], None]:
    """For `on_daemon`: `then` runs after every barrier, before the next."""

    def attach(daemon: Daemon, world: World) -> None:
        begin = daemon._feeder

        def feeder(venue: Any) -> Any:
            bars: Any = begin(venue)
            deliver = bars._deliver

            async def delivered(*given: Any, **named: Any) -> None:
                await deliver(*given, **named)
                await then(daemon)

            bars._deliver = delivered
            return bars

        daemon._feeder = feeder  # type: ignore[method-assign]

    return attach


def ask(path: Path, query: str, *given: Any) -> list[tuple[Any, ...]]:
    """Of a ledger that nobody writes."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
        return conn.execute(query, given).fetchall()
