"""A database whose moments are events: a call takes effect at one virtual time, is heard of at a later one.

Between the two lies the hazard of every real daemon: committed, and nobody was told.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import aiosqlite

from tests.sim.loop import VirtualLoop

T = TypeVar("T")
Delay = Callable[[Random], float]

SIDE_FILES = ("-wal", "-journal")  # the -shm is only an index, built anew by whoever opens the copy


def usual_delay(rng: Random) -> float:
    """About a millisecond; one time in a hundred the disk has something better to do."""
    return rng.expovariate(1000.0) * (200.0 if rng.random() < 0.01 else 1.0)


class SimConnection(aiosqlite.Connection):
    """aiosqlite without its thread. Effects keep their order and so do answers, as with one worker."""

    def __init__(
        self,
        connector: Callable[[], sqlite3.Connection],
        loop: VirtualLoop,
        *,
        name: str,
        effect_delay: Delay = usual_delay,
        delivery_delay: Delay = usual_delay,
    ) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._loop = loop
        self._rng = loop.random(f"db/{name}")
        self._effect_delay = effect_delay
        self._delivery_delay = delivery_delay
        self._busy_until = self._heard_until = loop.time()
        self._effects: deque[tuple[Any, Callable[[], Any], float]] = deque()
        self._answers: deque[tuple[Any, Callable[[], None]]] = deque()

    async def run(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """All of `fn` is one effect: no other call on this connection falls into its transaction."""
        return await self._execute(fn, self._conn)

    def __await__(self) -> Generator[Any, None, SimConnection]:
        return self._connect().__await__()

    async def _connect(self) -> SimConnection:
        if self._connection is None:
            try:
                self._connection = await self._submit(self._open)
            except BaseException:
                self.stop()
                raise
        return self

    def _open(self) -> sqlite3.Connection:
        opened = self._connector()
        self._loop.at_release(opened.close)
        return opened

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._running or self._connection is None:
            raise ValueError("Connection closed")
        return await self._submit(partial(fn, *args, **kwargs))

    async def _submit(self, function: Callable[[], Any]) -> Any:
        heard = self._loop.create_future()
        self._busy_until = max(self._busy_until, self._loop.time()) + self._effect_delay(self._rng)
        # Both delays are drawn now, so that the draws follow the order of the calls and nothing else.
        self._effects.append((heard, function, self._delivery_delay(self._rng)))
        self._loop.call_at(self._busy_until, self._effect)
        return await heard

    def _effect(self) -> None:
        heard, function, delay = self._effects.popleft()
        try:
            answer = partial(heard.set_result, function())
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
            answer = partial(heard.set_exception, error)
        self._heard_until = max(self._heard_until, self._loop.time() + delay)
        self._answers.append((heard, answer))
        self._loop.call_at(self._heard_until, self._deliver)

    def _deliver(self) -> None:
        heard, answer = self._answers.popleft()
        if not heard.done():  # a cancelled caller left; the effect remains
            answer()

    def stop(self) -> None:
        self._running = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None


async def sim_connect(
    path: Path | str,
    loop: VirtualLoop,
    *,
    name: str | None = None,
    effect_delay: Delay = usual_delay,
    delivery_delay: Delay = usual_delay,
    **options: Any,
) -> SimConnection:
    """`name` picks the stream of delays: two connections to one file want two names."""
    return await SimConnection(
        partial(sqlite3.connect, path, **options),
        loop,
        name=name or Path(path).name,
        effect_delay=effect_delay,
        delivery_delay=delivery_delay,
    )


def crash_copy(path: Path, target: Path) -> Path:
    """The files as a killed process leaves them, free of the locks that the dead world still holds."""
    shutil.copyfile(path, target)
    for suffix in SIDE_FILES:
        side = path.with_name(path.name + suffix)
        if side.exists():
            shutil.copyfile(side, target.with_name(target.name + suffix))
    return target
