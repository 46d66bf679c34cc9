"""A daemon in this process on the bundled market, as `avwapd run` builds it, with a hand on it at chosen bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus

from avwapd.config import Config, load
from avwapd.daemon import Daemon
from avwapd.feeds.source import market_of
from avwapd.feeds.world import build, warm
from avwapd.paths import Paths, resolve
from avwapd.store.lock import hold
from avwapd.store.reader import open_reader
from avwapd.store.rows import StepRows
from avwapd.verbs.run import doors

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "etc" / "demo.toml"
LIMIT_S = 60.0
OPTIONS = {"run.speed": "max"}


class Hand:
    """`moves`: what to do with the daemon once so many barriers of bars are committed."""

    def __init__(self, daemon: Daemon, moves: Mapping[int, Callable[[Daemon], None]]) -> None:
        self.daemon = daemon
        self.moves = dict(moves)
        self.bars = 0

    def tell(self, rows: StepRows) -> None:
        if rows.kind == "bars":
            self.bars += 1
            move = self.moves.pop(self.bars, None)
            if move is not None:
                move(self.daemon)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        self.daemon.listeners.append(self.tell)
        task_status.started()
        await anyio.sleep_forever()


def configured(**options: str) -> Config:
    return load(DEMO, options={**OPTIONS, **{key.replace("__", "."): value for key, value in options.items()}})


def played(
    state: Path,
    moves: Mapping[int, Callable[[Daemon], None]],
    *,
    config: Config | None = None,
    more: Callable[[Daemon, Paths], list[Any]] = lambda daemon, paths: [],
) -> Daemon:
    """One life of the daemon, to the feed's end or until a move stops it."""
    config = config or configured()
    paths = resolve(state)
    state.mkdir(exist_ok=True)
    setup = build(config, market_of(config, paths.archive))
    warm(setup)
    world = replace(doors(config, paths), servers=lambda daemon: [Hand(daemon, moves), *more(daemon, paths)])
    daemon = Daemon(setup, world, once=True)

    async def live() -> None:
        with anyio.fail_after(LIMIT_S):
            await daemon.serve()

    with hold(state):
        anyio.run(live)
    return daemon


def asked(state: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(open_reader(state / "avwapd.db")) as conn:
        return conn.execute(sql).fetchall()
