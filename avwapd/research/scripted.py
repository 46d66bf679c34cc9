"""The engine driven word by word, as the daemon drives it, with what only a run's record knows put in its place.

With an empty script this gives the same bits as the engine's own loop: the books are the same compiled functions. Of a
run at a remote venue every word is taken from the record; no book is asked.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.core import codes, engine, match
from avwapd.core.codes import ACT_GATE, BAR_MISSING, BAR_SILENT, CANCEL, REJECTED
from avwapd.core.machine import DECISIONS, EFFECTS, ERROR, ERROR_SYMBOL, FILLS, TRANSITIONS
from avwapd.core.records import BAR, REPORT
from avwapd.core.session import inside, session_at
from avwapd.feeds.market import due
from avwapd.feeds.standing import Turn
from avwapd.feeds.world import Setup
from avwapd.research import ResearchError
from avwapd.settings import bind
from avwapd.store.journal import OF_ALL, order_terms

Rows = NDArray[np.void]
Key = tuple[int, int]
Values = tuple[float, float, float, float, float]  # open, high, low, close, volume
PRICES = ("open", "high", "low", "close", "volume")
CAUGHT_UP, LISTED, HEARD, REFUSED, ADJUSTED, RESTATED = -1, -2, -3, -4, -5, -6  # the kinds of an Event that is no act
OF_THE_VENUE = (HEARD, REFUSED, ADJUSTED, RESTATED)
ALL = -1


@dataclass(frozen=True, slots=True)
class Event:
    """An act, a list of the scan, the end of a catch-up; of a remote venue also its words, adjustments, restatements.

    It came after the barrier of `after_ms`, after so many older barriers since that one (a missing bar that came at
    last), and so many words of the venue since then. rows: WATCH records of a list, the REPORT record of a word (its
    purpose and side are known when it is heard), ACTION records; change: lots, ticks, units of an adjustment.
    """

    after_ms: int  # 0: before the first
    words: int
    kind: int  # codes.ACT_*, CAUGHT_UP, LISTED, …
    symbol: int = ALL
    freeze: bool = False
    rows: Rows | None = None
    turned_back: int = 0
    limits: Mapping[str, float] | None = None  # of an act that says which are in force
    ts_ms: int = 0
    change: tuple[int, int, int] = (0, 0, 0)

    @property
    def place(self) -> tuple[int, int, int]:
        return self.after_ms, self.turned_back, self.words


@dataclass(frozen=True)
class Script:
    """What a backtest cannot know. Keys are (ts_ms, symbol) for bars and (symbol, intent) for orders.

    flags: marks to set (late, cadence, retry); missing: intervals whose bar could not be had, with the marks of those
    rows; order: where the barriers were not simply the bars of one ts_ms, all of them in turn as (ts_ms, symbols), a
    missing bar that came at last a second time; refusals: orders that never reached the venue, and the word about them;
    unheard: requests the venue never said a word about, in doubt at the end of the record. remote: the venue's words
    are events, no book is asked; corrected: the values that were decided on, of bars the feed corrected later;
    too_late: bars that never went in; under_way: how many of the late marks are of a catch-up inside which the record
    says that it ended.
    """

    flags: dict[Key, int] = field(default_factory=dict)
    missing: dict[Key, int] = field(default_factory=dict)
    order: tuple[tuple[int, tuple[int, ...]], ...] = ()
    events: tuple[Event, ...] = ()
    refusals: dict[Key, int] = field(default_factory=dict)
    unheard: frozenset[Key] = frozenset()
    remote: bool = False
    corrected: dict[Key, Values] = field(default_factory=dict)
    too_late: frozenset[Key] = frozenset()
    under_way: int = 0

    @property
    def empty(self) -> bool:
        return not (self.remote or self.taken)

    @property
    def taken(self) -> dict[str, int]:
        """How many of each kind are in it, the absent left out."""
        kinds = Counter(event.kind for event in self.events)
        marked = [flags for flags in (*self.flags.values(), *self.missing.values()) if flags]
        late = sum(1 for flags in marked if flags & codes.BAR_LATE)
        counts = {
            "late marks": late - self.under_way,
            "late marks of a catch-up that has not ended": self.under_way,
            "other marks": len(marked) - late,
            "failed intervals": len(self.missing),
            "barriers": len(self.order),
            "acts": sum(count for kind, count in kinds.items() if kind >= 0),
            "ends of catch-up": kinds[CAUGHT_UP],
            "watchlist versions": kinds[LISTED],
            "orders refused before the venue": len(self.refusals) + kinds[REFUSED],
            "requests in doubt": len(self.unheard),
            "reports of the venue": kinds[HEARD],
            "adjustments": kinds[ADJUSTED],
            "restatements": kinds[RESTATED],
            "bars corrected later": len(self.corrected),
            "bars that came too late": len(self.too_late),
        }
        return {name: count for name, count in counts.items() if count}

    def at_the_fill_model(self) -> Script:
        """The same marks, acts and lists, but the simulated books answer, and every bar is as the archive has it."""
        events = tuple(replace(event, words=0) for event in self.events if event.kind not in OF_THE_VENUE)
        return replace(self, events=events, remote=False, corrected={}, too_late=frozenset())


class Stopped(ResearchError):
    """The engine met what cannot be.

    parts: (decisions, effects, transitions, fills) up to there; newest_ms: the last barrier that it took whole.
    """

    parts: tuple[Rows, Rows, Rows, Rows]
    newest_ms: int


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
        self._caps = setup.params
        self._events = deque(script.events)
        self._actions = setup.market.actions
        self._turns: deque[Turn] = deque(setup.market.turns)
        self._first_ms = 0
        self.newest_ms = 0
        self._turned_back = 0  # older barriers since the newest
        self._words = 0  # since the last barrier
        self._asked: deque[Any] = deque()
        self._terms: dict[tuple[int, int], tuple[int, int]] = {}  # of a remote venue's orders: purpose, side
        self.kept: tuple[list[Rows], ...] = ([], [], [], [])

    def run(self, barriers: Iterable[Rows]) -> None:
        self._happen()
        self._pump([])
        for bars in barriers:
            ts_ms = int(bars[0]["ts_ms"])
            if not self._script.remote:
                self._turn_gates(ts_ms)
                self._restate(ts_ms)
                self._pump(self._books.open(bars))
                self._books.close()
            self._out.n[:] = 0
            engine.step_many(self._world, self._out, bars)
            self._take()
            self._turned_back = 0 if ts_ms > self.newest_ms else self._turned_back + 1
            self.newest_ms = max(self.newest_ms, ts_ms)
            self._words = 0
            self._happen()
            self._pump([])

    def _turn_gates(self, ts_ms: int) -> None:
        """The gates that stand for the session, before its first bar."""
        while self._turns and self._turns[0].ts_ms < ts_ms:
            turn = self._turns.popleft()
            self._out.n[:] = 0
            engine.act(self._world, self._out, turn.symbol, ACT_GATE + turn.gate, turn.closed)
            self._take()

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
        while self._events and self._events[0].place <= (self.newest_ms, self._turned_back, self._words):
            event = self._events.popleft()
            self._out.n[:] = 0
            if event.kind == CAUGHT_UP:
                engine.caught_up(self._world, self._out)
            elif event.kind == LISTED:
                engine.watch(self._world, event.rows)
            elif event.kind in OF_THE_VENUE:
                self._follow(event)
            elif event.kind in OF_ALL or event.kind >= ACT_GATE or event.symbol != ALL:
                if event.limits is not None:
                    bind(self._world.params, self._caps, event.limits)
                engine.act(self._world, self._out, event.symbol, event.kind, event.freeze)
            else:
                for symbol in range(len(self._world.states)):
                    engine.act(self._world, self._out, symbol, event.kind, event.freeze)
            self._take()

    def _follow(self, event: Event) -> None:
        """What a remote venue said or made necessary, as the run folded it."""
        if event.kind == ADJUSTED:
            engine.adjust(self._world, self._out, event.symbol, event.ts_ms, *event.change)
            return
        assert event.rows is not None
        if event.kind == RESTATED:
            engine.restate(self._world, self._out, event.ts_ms, event.rows)
            return
        word = event.rows[0].copy()
        symbol, intent = int(word["symbol"]), int(word["intent"])
        word["purpose"], word["side"] = order_terms(self._world.states[symbol], intent, self._terms, symbol)
        engine.report(self._world, self._out, word)

    def _take(self) -> None:
        """Keep what the engine said; queue what it asks of the venue."""
        n, out = self._out.n, self._out
        if n[ERROR]:
            symbol = int(n[ERROR_SYMBOL])
            name = self._symbols[symbol] if 0 <= symbol < len(self._symbols) else "portfolio"
            what = f"the engine stopped: {codes.ERRORS[int(n[ERROR])]}"
            raise ResearchError(what, f"{name}, after ts_ms {self.newest_ms}", "avwapd bars check")
        counts = (n[DECISIONS], n[EFFECTS], n[TRANSITIONS], n[FILLS])
        for kept, rows, count in zip(self.kept, out[:4], counts, strict=True):
            if count:
                kept.append(rows[:count].copy())
        if n[EFFECTS] and not self._script.remote:
            self._asked.extend(self.kept[1][-1])
        elif n[EFFECTS]:
            self._terms |= {
                (int(effect["symbol"]), int(effect["intent"])): (int(effect["purpose"]), int(effect["side"]))
                for effect in self.kept[1][-1]
                if effect["kind"] != CANCEL
            }


def refusal(effect: Any, kind: int = REJECTED) -> Any:
    """The word about an order that was not sent."""
    row = np.zeros(1, REPORT)[0]
    for name in ("ts_ms", "symbol", "intent", "ref", "purpose", "side"):
        row[name] = effect[name]
    row["kind"] = kind
    return row


def drive(setup: Setup, world: engine.World, bars: Rows, script: Script) -> tuple[Rows, Rows, Rows, Rows]:
    """(decisions, effects, transitions, fills) of `bars` under `script`. Raises Stopped."""
    driver = Driver(setup, world, script)
    try:
        driver.run(barriers_of(bars, script))
    except ResearchError as error:
        stopped = Stopped(error.what, error.where, error.next_step)
        stopped.parts, stopped.newest_ms = collected(driver), driver.newest_ms
        raise stopped from error
    return collected(driver)


def collected(driver: Driver) -> tuple[Rows, Rows, Rows, Rows]:
    empty = engine.new_output(0, 0)
    decisions, effects, transitions, fills = (
        np.concatenate([none, *kept]) for none, kept in zip(empty[:4], driver.kept, strict=True)
    )
    return decisions, effects, transitions, fills


def as_fed(bars: Rows, values: Mapping[Key, Values], absent: Collection[Key] = ()) -> Rows:
    """A copy of `bars` with other open, high, low, close and volume for some, and without others."""
    rows = np.array(bars)
    index = {key: i for i, key in enumerate(zip(rows["ts_ms"].tolist(), rows["symbol"].tolist(), strict=True))}
    for key in values.keys() & index.keys():
        for name, value in zip(PRICES, values[key], strict=True):
            rows[name][index[key]] = value
    gone = sorted(index[key] for key in index.keys() & set(absent))
    return np.delete(rows, gone) if gone else rows


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
                found.append(missing_row(key, script.missing[key]))
            elif key in index:
                row = rows[index[key]].copy()
                if key in script.missing:
                    row["flags"] |= BAR_SILENT
                found.append(row)
        if found:
            yield np.array(found, BAR)


def missing_row(key: Key, marks: int) -> Any:
    """The interval passed and the feed had failed."""
    row = np.zeros(1, BAR)
    for name in PRICES:
        row[name] = np.nan
    row["ts_ms"], row["symbol"], row["flags"] = *key, BAR_MISSING | marks
    return row[0]
