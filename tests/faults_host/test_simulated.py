"""Rows 19 to 22 and 61 in a simulated world: clocks that are set or run fast, dates, queues with room for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd.actors.mail import BarsClosed
from avwapd.actors.symbols import Symbols
from avwapd.config import load
from avwapd.feeds.calendar import sessions
from avwapd.feeds.demo import generate
from avwapd.feeds.world import Setup, build, warm
from avwapd.store.writer import Writer
from avwapd.venues.faults import FaultPlan
from avwapd.verbs.run import first_of
from tests.sim import ledgers
from tests.sim import world as worlds
from tests.sim.free import BAR_S, books_differ, free, sound
from tests.sim.scenario import LIVELY, NO_FOLDER, Plan
from tests.sim.world import Kill, live, play, world_of

PLAN = Plan(seed=3, kind="equity", symbols=2, barriers=80, options={"run.speed": "20"})
HOUR_MS = 3_600_000


def set_at(seconds: float) -> int:
    """An hour on, two hours back, an hour on; a quarter of the time each."""
    return (0, HOUR_MS, -HOUR_MS, 0)[int(seconds // 15) % 4]


def ever_back(seconds: float) -> int:
    """5 ms back, ten times a second."""
    return -5 * int(seconds * 10)


def fast(seconds: float) -> int:
    """500 parts in a million."""
    return int(seconds * 0.5)


OFFSETS: dict[str, Callable[[float], int]] = {"an hour": set_at, "5 ms back": ever_back, "500 ppm": fast}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], set[int]]:
    """Let the wall's clock be off in one of OFFSETS' ways; the set fills with the offsets that were read."""

    def use(how: str) -> set[int]:
        read: set[int] = set()

        class Set(worlds.SimClock):
            def now_ms(self) -> int:
                off = OFFSETS[how](self._loop.time())
                read.add(off)
                return super().now_ms() + off

        monkeypatch.setattr(worlds, "SimClock", Set)
        return read

    return use


@pytest.mark.parametrize("how", OFFSETS)
def test_a_clock_that_is_off_changes_no_row(how: str, shown: Callable[[str], set[int]], tmp_path: Path) -> None:
    read = shown(how)
    found = live(PLAN, tmp_path / "found", kills=[Kill("commit", 40)])
    assert len(read) > 2, "the clock was never off"
    assert found.violations == []
    assert ledgers.differences(ledgers.backtested(PLAN.setup), ledgers.comparable(found.rows)) == []


@pytest.mark.parametrize("how", OFFSETS)
def test_nor_does_it_where_the_market_waits_for_nobody(
    how: str, shown: Callable[[str], set[int]], tmp_path: Path
) -> None:
    read = shown(how)
    with world_of(free(2, barriers=60), tmp_path / "found", stepwise=True) as world:
        found = play(world, kills=[Kill("send", 5, 2)])
        assert len(read) > 2, "the clock was never off"
        assert sound(world, found) + books_differ(world, found) == []


def test_freshness_by_the_wall_would_be_seen(shown: Callable[[str], set[int]], tmp_path: Path) -> None:
    """The control: a router that tells an order's age by the wall's clock, not by the market's."""
    shown("an hour")

    def plant(daemon: Any, world: Any) -> None:
        clock = daemon._doors.clock
        daemon.listeners.append(lambda rows: setattr(daemon.router._gate, "_market_ms", clock.now_ms))

    found = live(PLAN, tmp_path / "found", on_daemon=plant)
    assert ledgers.differences(ledgers.backtested(PLAN.setup), ledgers.comparable(found.rows)) != []


# ------------------------------------------------------------------------------------------------------- dates


@dataclass(frozen=True)
class Dated(Plan):
    """A market that begins on a day."""

    start: str = "2024-01-02"

    @property
    def setup(self) -> Setup:
        settings = LIVELY | {"run.timeframe": self.timeframe} | dict(self.options)
        config = load(None, folder=NO_FOLDER, environ={}, options=settings)
        names = ("S0-USD", "S1-USD") if self.kind == "crypto" else ("S0", "S1")
        setup = build(config, generate(names, self.sessions, self.timeframe, self.seed, self.kind, self.start))
        warm(setup)
        return setup


DATES = {
    "the clocks go on": ("equity", "2026-03-05", "15m"),
    "the clocks go back": ("equity", "2026-10-29", "15m"),
    "half days": ("equity", "2026-11-25", "15m"),
    "a closure nobody planned": ("equity", "2025-01-08", "15m"),  # the day after is one
    "the year ends": ("equity", "2027-12-30", "15m"),
    "29 February": ("equity", "2028-02-28", "15m"),
    "a leap second": ("crypto", "2016-12-31", "1h"),
    "29 February, no bell": ("crypto", "2028-02-28", "1h"),
    "2038": ("crypto", "2038-01-18", "1h"),
}


@pytest.mark.parametrize("name", DATES)
def test_a_date_is_a_date(name: str, tmp_path: Path) -> None:
    """Live with a kill is the backtest; every bar is in a session, none at an hour that is not there."""
    kind, start, timeframe = DATES[name]
    plan = Dated(seed=5, kind=kind, symbols=2, timeframe=timeframe, sessions=4, start=start)
    setup = plan.setup
    times = np.unique(setup.market.bars["ts_ms"])
    table = sessions("XNYS" if kind == "equity" else "24/7", int(times[0]), int(times[-1]))
    at = np.searchsorted(table["open_ms"], times, side="left") - 1
    assert (times <= table["close_ms"][at]).all()
    minutes = {"15m": 15, "1h": 60}[timeframe]
    inside = table[(table["close_ms"] > times[0]) & (table["open_ms"] < times[-1])]
    expected = sum(int(each["close_ms"] - each["open_ms"]) // (minutes * 60_000) for each in inside)
    assert len(times) == expected, "one bar for each interval of each session"
    found = live(plan, tmp_path / "found", kills=[Kill("folded", 20)])
    assert found.violations == []
    assert ledgers.differences(ledgers.backtested(setup), ledgers.comparable(found.rows)) == []
    assert len(found.rows["decisions"]) == len(setup.market.bars)


# ------------------------------------------------------------------------------------------------------ queues

NARROW = {f"queues.{name}": "1" for name in ("bars", "symbols", "writer", "router", "control")}


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often somebody came to a queue that had no room."""
    found: Counter[str] = Counter()
    for owner, method in ((Symbols, "put"), (Writer, "post")):
        original = getattr(owner, method)

        async def counted(self: Any, *given: Any, original: Any = original, **options: Any) -> Any:
            told = self._send.statistics()
            found[type(self).__name__] += told.current_buffer_used >= told.max_buffer_size
            return await original(self, *given, **options)

        monkeypatch.setattr(owner, method, counted)
    return found


def test_queues_with_room_for_one_lose_nothing(full: Counter[str], tmp_path: Path) -> None:
    """Row 61: forty bars at once and bursts of fills push back; every bar is decided, every fill is booked."""
    words = {"fills.volume_share": "0.0005", "heartbeat.interval_ms": "1000", **NARROW}
    faults = FaultPlan(delay_ms=20.0, delay_jitter_ms=90.0, lose_answer=0.1, double_words=0.3, seed=4)
    plan = replace(PLAN, options=PLAN.options | words, faults=faults)
    found = live(plan, tmp_path / "waits", kills=[Kill("commit", 60)])
    assert found.violations == []
    assert ledgers.differences(ledgers.backtested(plan.setup), ledgers.comparable(found.rows)) == []
    assert found.marks["canceled in part"] + found.marks["filled in parts"] > 0, found.marks
    going = free(2, barriers=60)
    going = replace(going, options={**going.options, **words})
    with world_of(going, tmp_path / "free", stepwise=True) as world:
        ended = play(world, kills=[Kill("folded", 10, down_s=40 * BAR_S)])
        assert sound(world, ended) + books_differ(world, ended) == []
    assert full["Writer"] > 0, full
    assert full["Symbols"] == 0, "bars are asked for one by one: they never pile up before the engine"


def test_a_bar_that_finds_no_room_and_goes_would_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The control: a queue that drops what it has no room for."""
    put, calls = Symbols.put, count(1)

    async def dropping(self: Any, mail: Any) -> None:
        if isinstance(mail, BarsClosed) and next(calls) % 20 == 0:
            mail.folded.set()
            return
        await put(self, mail)

    monkeypatch.setattr(Symbols, "put", dropping)
    found = live(PLAN, tmp_path / "found")
    assert ledgers.differences(ledgers.backtested(PLAN.setup), ledgers.comparable(found.rows)) != []


# ------------------------------------------------------------------------------------------------------ memory


def no_room(*_: object, **__: object) -> Any:
    raise MemoryError("cannot allocate 64 MB")


ALLOCATES: dict[str, Callable[[Any], None]] = {
    "a step": lambda daemon: setattr(daemon.journal, "bars", no_room),
    "the feed": lambda daemon: setattr(daemon.feed, "next", no_room),
    "the pulse": lambda daemon: setattr(daemon.pulse, "tell", no_room),
    "the heartbeat": lambda daemon: setattr(daemon, "health", no_room),
}


@pytest.mark.parametrize("where", ALLOCATES)
def test_an_allocation_that_fails_ends_it_and_the_next_life_is_sound(where: str, tmp_path: Path) -> None:
    """Row 59: it is no actor's to go on without; the reason comes out, and a start takes the run up."""
    broken = [True]

    def plant(daemon: Any, world: Any) -> None:
        if broken:
            ALLOCATES[where](daemon)

    with world_of(PLAN, tmp_path / "found", on_daemon=plant) as world:
        with pytest.raises(BaseExceptionGroup) as caught:
            play(world)
        assert isinstance(first_of(caught.value), MemoryError)
        broken.clear()
        found = play(world)
        assert found.violations == []
        assert ledgers.differences(ledgers.backtested(PLAN.setup), ledgers.comparable(found.rows)) == []
