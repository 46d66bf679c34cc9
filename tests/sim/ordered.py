"""Sets that remember the order of arrival, lent to anyio for the length of a simulation.

anyio keeps tasks, scopes and waiting events in plain sets and walks them when it cancels or closes. Such a
set lies in the order of addresses, so the walk differs from process to process and no seed can repeat it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

import anyio._backends._asyncio
import anyio.streams.memory

T = TypeVar("T")

# Every module of anyio that walks a set of objects while a daemon runs. They build it by calling `set`, which
# a name in the module hides; so a set that a later anyio adds is tamed as well.
WALKERS: tuple[ModuleType, ...] = (anyio._backends._asyncio, anyio.streams.memory)


class OrderedSet(MutableSet[T]):
    __slots__ = ("__weakref__", "_items")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items: dict[T, None] = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._items)!r})"

    def add(self, item: T) -> None:
        self._items[item] = None

    def discard(self, item: T) -> None:
        self._items.pop(item, None)

    def remove(self, item: T) -> None:
        del self._items[item]

    def clear(self) -> None:
        self._items.clear()

    def update(self, *others: Iterable[T]) -> None:
        for other in others:
            self._items.update(dict.fromkeys(other))

    def copy(self) -> OrderedSet[T]:
        return type(self)(self._items)


@contextmanager
def ordered_sets() -> Iterator[None]:
    """Whatever anyio makes inside is ordered; may be nested."""
    before = [vars(module).get("set", set) for module in WALKERS]
    for module in WALKERS:
        vars(module)["set"] = OrderedSet
    try:
        yield
    finally:
        for module, previous in zip(WALKERS, before, strict=True):
            if previous is set:
                del vars(module)["set"]
            else:
                vars(module)["set"] = previous
