"""The engine driven word by word, as the daemon drives it, with what only a run's record knows put in its place.

With an empty script this gives the same bits as the engine's own loop: the books are the same compiled functions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.core import codes, engine, match
from avwapd.core.codes import ACT_DRAIN, ACT_REARM, BAR_MISSING, BAR_SILENT, REJECTED
from avwapd.core.machine import DECISIONS, EFFECTS, ERROR, ERROR_SYMBOL, FILLS, TRANSITIONS
from avwapd.core.records import BAR, REPORT
from avwapd.core.session import inside, session_at
from avwapd.feeds.market import due
from avwapd.feeds.world import Setup
from avwapd.research import ResearchError

Rows = NDArray[np.void]
Key = tuple[int, int]
CAUGHT_UP, LISTED = -1, -2  # the kinds of an Event that is no act
ALL = -1


@dataclass(frozen=True, slots=True)
class Event:
    """An act, a list of the scan, or the end of a catch-up.

    It came after the barrier of `after_ms`, and so many words of the venue since then. rows: WATCH records of a list.
    """

    after_ms: int  # 0: before the first
    words: int
    kind: int  # codes.ACT_*, CAUGHT_UP or LISTED
    symbol: int = ALL
    freeze: bool = False
    rows: Rows | None = None


@dataclass(frozen=True)
class Script:
    """What a backtest cannot know. Keys are (ts_ms, symbol) for bars and (symbol, intent) for orders.

    flags: marks to set (late, cadence, retry); missing: intervals whose bar could not be had; order: where the barriers
    were not simply the bars of one ts_ms, all of them in turn as (ts_ms, symbols), a missing bar that came at last a
    second time; refusals: orders that never reached the venue, and the word about them; unheard: requests the venue
    never said a word about, in doubt at the end of the record.
    """

    flags: dict[Key, int] = field(default_factory=dict)
    missing: frozenset[Key] = frozenset()
    order: tuple[tuple[int, tuple[int, ...]], ...] = ()
    events: tuple[Event, ...] = ()
    refusals: dict[Key, int] = field(default_factory=dict)
    unheard: frozenset[Key] = frozenset()

    @property
    def empty(self) -> bool:
        return not self.taken

    @property
    def taken(self) -> dict[str, int]:
        """How many of each kind are in it, the absent left out."""
        ends, lists = (sum(event.kind == kind for event in self.events) for kind in (CAUGHT_UP, LISTED))
        late = sum(1 for flags in self.flags.values() if flags & codes.BAR_LATE)
        counts = {
            "late marks": late,
            "other marks": len(self.flags) - late,
            "failed intervals": len(self.missing),
            "barriers": len(self.order),
            "acts": len(self.events) - ends - lists,
            "ends of catch-up": ends,
            "watchlist versions": lists,
            "orders refused before the venue": len(self.refusals),
            "requests in doubt": len(self.unheard),
        }
        return {name: count for name, count in counts.items() if count}


class Books:
    """The simulated venue's books, one a symbol, with the barrier that runs."""

    def __init__(self, setup: Setup, world: engine.World) -> None:
        self._world = world
        self._share = float(setup.params["volume_share"][0])
        self._books = engine.new_books(len(world.states))
        self._room = engine.reports_room()
        self._nothing = np.zeros(0, BAR)
        self._no_bar = np.zeros(1, BAR)[0]
        self._bars: Rows = self._nothing
        self._met: set[int] = set()  # symbols whose running bar was matched

    def open(self, bars: Rows) -> list[Any]:
        """Match the resting orders with a barrier's bars, which then run; the venue's words."""
        self._bars = bars
        self._met = set()
        words: list[Any] = []
        for i in np.flatnonzero(self._books["count"][bars["symbol"]]).tolist():
            if not bars[i]["flags"] & BAR_MISSING and self._inside(bars[i]):
                words += self._meet(bars[i])
        return words

    def close(self) -> None:
        self._bars = self._nothing

    def place(self, effect: Any) -> list[Any]:
        """Take a request; the venue's words about it."""
        symbol = int(effect["symbol"])
        bar = self._running(symbol)
        if bar is not None and symbol not in self._met:
            self._meet(bar)  # its book was empty at the open: this only says how much may trade
        ts_ms = int(effect["ts_ms"] if bar is None else bar["ts_ms"])
        at = self._no_bar if bar is None else bar
        book, inst = self._books[symbol], self._world.instruments[symbol]
        return self._said(match.place(book, effect, bar is not None, at, inst, ts_ms, self._room, 0))

    def _running(self, symbol: int) -> Any:
        for bar in self._bars[self._bars["symbol"] == symbol]:
            if not bar["flags"] & BAR_MISSING and self._inside(bar):
                return bar
        return None

    def _meet(self, bar: Any) -> list[Any]:
        symbol = int(bar["symbol"])
        self._met.add(symbol)
        inst = self._world.instruments[symbol]
        return self._said(match.match_bar(self._books[symbol], bar, inst, self._share, self._room, 0))

    def _inside(self, bar: Any) -> bool:
        symbol = bar["symbol"]
        inst, sessions = self._world.instruments[symbol], self._world.sessions
        index = session_at(sessions, inst, self._world.states[symbol]["session"], bar["ts_ms"])
        return bool(inside(sessions, inst, index, bar["ts_ms"]))

    def _said(self, count: int) -> list[Any]:
        return list(self._room[:count].copy())


class Driver:
    """One run under a script."""

    def __init__(self, setup: Setup, world: engine.World, script: Script) -> None:
        self._world = world
        self._script = script
        self._symbols = setup.market.symbols
        self._out = engine.new_output(len(world.states), 64 * len(world.states))
        self._books = Books(setup, world)
        self._events = deque(script.events)
        self._actions = setup.market.actions
        self._first_ms = 0
        self._newest_ms = 0
        self._words = 0  # since the last barrier
        self._asked: deque[Any] = deque()
        self.kept: tuple[list[Rows], ...] = ([], [], [], [])

    def run(self, barriers: Iterable[Rows]) -> None:
        self._happen()
        self._pump([])
        for bars in barriers:
            self._restate(int(bars[0]["ts_ms"]))
            self._pump(self._books.open(bars))
            self._books.close()
            self._out.n[:] = 0
            engine.step_many(self._world, self._out, bars)
            self._take()
            self._newest_ms = max(self._newest_ms, int(bars[0]["ts_ms"]))
            self._words = 0
            self._happen()
            self._pump([])

    def _restate(self, ts_ms: int) -> None:
        """Corporate actions of sessions that opened since the first bar, before the bar that closes at `ts_ms`."""
        self._first_ms = self._first_ms or ts_ms
        done = int(self._world.portfolio[0]["restated_ms"])
        for rows in due(self._actions, max(self._first_ms - 1, done), ts_ms):
            self._out.n[:] = 0
            engine.restate(self._world, self._out, int(rows["ts_ms"][0]), rows)
            self._take()
            self._pump([])

    def _pump(self, heard: list[Any]) -> None:
        """Fold what the venue said, send what that calls for, until both are silent."""
        words = deque(heard)
        while words or self._asked:
            while words:
                self._out.n[:] = 0
                engine.report(self._world, self._out, words.popleft())
                self._take()
                self._words += 1
                self._happen()
            for _ in range(len(self._asked)):
                words.extend(self._answer(self._asked.popleft()))

    def _answer(self, effect: Any) -> list[Any]:
        key = (int(effect["symbol"]), int(effect["intent"]))
        if key in self._script.unheard:
            return []
        kind = self._script.refusals.get(key)
        return self._books.place(effect) if kind is None else [refusal(effect, kind)]

    def _happen(self) -> None:
        """The events whose place in the record is here."""
        while self._events and (self._events[0].after_ms, self._events[0].words) <= (self._newest_ms, self._words):
            event = self._events.popleft()
            self._out.n[:] = 0
            if event.kind == CAUGHT_UP:
                engine.caught_up(self._world, self._out)
            elif event.kind == LISTED:
                engine.watch(self._world, event.rows)
            elif event.kind in (ACT_REARM, ACT_DRAIN) or event.symbol != ALL:
                engine.act(self._world, self._out, event.symbol, event.kind, event.freeze)
            else:
                for symbol in range(len(self._world.states)):
                    engine.act(self._world, self._out, symbol, event.kind, event.freeze)
            self._take()

    def _take(self) -> None:
        """Keep what the engine said; queue what it asks of the venue."""
        n, out = self._out.n, self._out
        if n[ERROR]:
            symbol = int(n[ERROR_SYMBOL])
            name = self._symbols[symbol] if 0 <= symbol < len(self._symbols) else "portfolio"
            what = f"the engine stopped: {codes.ERRORS[int(n[ERROR])]}"
            raise ResearchError(what, f"{name}, after ts_ms {self._newest_ms}", "avwapd bars check")
        counts = (n[DECISIONS], n[EFFECTS], n[TRANSITIONS], n[FILLS])
        for kept, rows, count in zip(self.kept, out[:4], counts, strict=True):
            if count:
                kept.append(rows[:count].copy())
        if n[EFFECTS]:
            self._asked.extend(self.kept[1][-1])


def refusal(effect: Any, kind: int = REJECTED) -> Any:
    """The word about an order that was not sent."""
    row = np.zeros(1, REPORT)[0]
    for name in ("ts_ms", "symbol", "intent", "ref", "purpose", "side"):
        row[name] = effect[name]
    row["kind"] = kind
    return row


def drive(setup: Setup, world: engine.World, bars: Rows, script: Script) -> tuple[Rows, Rows, Rows, Rows]:
    """(decisions, effects, transitions, fills) of `bars` under `script`."""
    driver = Driver(setup, world, script)
    driver.run(barriers_of(bars, script))
    empty = engine.new_output(0, 0)
    decisions, effects, transitions, fills = (
        np.concatenate([none, *kept]) for none, kept in zip(empty[:4], driver.kept, strict=True)
    )
    return decisions, effects, transitions, fills


def barriers_of(bars: Rows, script: Script) -> Iterator[Rows]:
    """The bars as the script says they came: marked, some missing, some in another barrier."""
    rows = np.array(bars)
    index = {key: i for i, key in enumerate(zip(rows["ts_ms"].tolist(), rows["symbol"].tolist(), strict=True))}
    for key, flags in script.flags.items():
        if key in index:
            rows["flags"][index[key]] |= flags
    yield from gathered(rows, index, script)


def groups_of(index: dict[Key, int], script: Script) -> list[list[Key]]:
    """Which bars each barrier has: as recorded, what the record lacks at its own time."""
    groups = [[(ts_ms, symbol) for symbol in symbols] for ts_ms, symbols in script.order]
    known = {key for group in groups for key in group}
    at_time: dict[int, list[Key]] = {}
    for group in groups:
        at_time.setdefault(group[0][0], group)
    for key in sorted((index.keys() | script.missing) - known):
        if key[0] not in at_time:
            at_time[key[0]] = []
            place = next((i for i, group in enumerate(groups) if group and group[0][0] > key[0]), len(groups))
            groups.insert(place if script.order else len(groups), at_time[key[0]])
        at_time[key[0]].append(key)
    return groups


def gathered(rows: Rows, index: dict[Key, int], script: Script) -> Iterator[Rows]:
    """Each barrier's BAR rows in symbol order; a bar the archive does not have is left out."""
    failed: set[Key] = set()
    for group in groups_of(index, script):
        found = []
        for key in sorted(group):
            if key in script.missing and key not in failed:
                failed.add(key)
                found.append(missing_row(key))
            elif key in index:
                row = rows[index[key]].copy()
                if key in script.missing:
                    row["flags"] |= BAR_SILENT
                found.append(row)
        if found:
            yield np.array(found, BAR)


def missing_row(key: Key) -> Any:
    """The interval passed and the feed had failed."""
    row = np.full(1, np.nan, BAR)
    row["ts_ms"], row["symbol"], row["flags"] = *key, BAR_MISSING
    return row[0]
