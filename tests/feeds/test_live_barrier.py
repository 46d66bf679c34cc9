"""Barriers from bars in any order: each once, in order, none from the future, and REST's word about the missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.core.codes import BAR_CADENCE, BAR_LATE, BAR_MISSING, BAR_SILENT
from avwapd.core.records import BAR
from avwapd.feeds.live_barrier import DOUBTED, REPLACED, SILENT, TAKEN, Assembly, Barrier
from avwapd.feeds.live_decided import LATE, OLD, REVISED, SAME
from avwapd.feeds.live_schedule import NEVER, Schedule

M = 60_000
T0 = 1_700_000_040_000 - 1_700_000_040_000 % M
GRACE = 2_000
SYMBOLS = 3
SCHEDULE = Schedule(("24/7",) * SYMBOLS, M)


def values(ts_ms: int, symbol: int, more: float = 0.0) -> tuple[float, float, float, float, float]:
    price = 100.0 + symbol + (ts_ms - T0) / M + more
    return (price, price + 1, price - 1, price + 0.5, 10.0 + symbol)


@dataclass
class World:
    """A market whose true bars REST has, a stream that brings them as it likes, and the assembly between."""

    truth: set[tuple[int, int]]
    down: list[tuple[int, int]] = field(default_factory=list)  # when REST does not answer
    polled: bool = False
    confirm: bool = True
    late_after_ms: int = NEVER
    closed_ms: int = T0

    def __post_init__(self) -> None:
        self.schedule = SCHEDULE
        self.assembly = Assembly(
            self.schedule,
            closed_ms=self.closed_ms,
            grace_ms=GRACE,
            confirm=self.confirm,
            polled=self.polled,
            late_after_ms=self.late_after_ms,
        )
        self.said: list[tuple[int, Barrier]] = []
        self.questions = 0

    def bring(self, ts_ms: int, symbol: int, now_ms: int, more: float = 0.0, *, revised: bool = False) -> str:
        return self.assembly.arrived(ts_ms, symbol, values(ts_ms, symbol, more), now_ms, revised=revised)

    def history(self, symbols: tuple[int, ...], first_ms: int, last_ms: int) -> np.ndarray:
        keys = sorted((t, s) for t, s in self.truth if first_ms <= t <= last_ms and s in symbols)
        return np.array([(t, s, 0, *values(t, s)) for t, s in keys], BAR)

    def turn(self, now_ms: int) -> None:
        """Everything that can happen at this time, as the shell does it."""
        for _ in range(1000):
            question = self.assembly.question(now_ms)
            if question is None:
                closed = self.assembly.take(now_ms)
                if not closed:
                    return
                self.said += [(now_ms, barrier) for barrier in closed]
                continue
            self.questions += 1
            failed = any(begin <= now_ms < end for begin, end in self.down)
            self.assembly.answered(question, None if failed else self.history(*question), now_ms)
        raise AssertionError("the assembly never comes to rest")

    def rows(self) -> list[tuple[int, int, int]]:
        """(ts_ms, symbol, flags) in the order in which they were said."""
        return [(int(r["ts_ms"]), int(r["symbol"]), int(r["flags"])) for _, b in self.said for r in b.bars]


# ------------------------------------------------------------------------------------------------- properties

END = T0 + 8 * M  # what would arrive later never does
minutes = st.integers(1, 6)
keys = st.tuples(minutes.map(lambda i: T0 + i * M), st.integers(0, SYMBOLS - 1))


@st.composite
def markets(draw: st.DrawFn, *, rest: bool) -> tuple[World, list[tuple[int, int, int]]]:
    """A world and its arrivals (at, ts_ms, symbol): in any order, twice, late or not at all."""
    truth = draw(st.sets(keys, max_size=18))
    arrivals = []
    for ts_ms, symbol in sorted(truth):
        for delay in draw(st.lists(st.integers(-1_500, 4 * M), max_size=3)):
            arrivals.append((ts_ms + delay, ts_ms, symbol))
    down = []
    if not rest:
        for begin in draw(st.lists(st.integers(0, 7 * M), max_size=3)):
            down.append((T0 + begin, T0 + begin + draw(st.integers(1, 3 * M))))
    return World(truth, down), sorted(arrivals)


def play(world: World, arrivals: list[tuple[int, int, int]]) -> None:
    """Arrivals at their times, and a turn at every moment the assembly asks for."""
    now = T0
    end = END
    while now < end:
        wake = world.assembly.wake_ms()
        at = arrivals[0][0] if arrivals else end
        now = max(now, min(at, wake, end))
        while arrivals and arrivals[0][0] <= now:
            _, ts_ms, symbol = arrivals.pop(0)
            world.bring(ts_ms, symbol, now)
        world.turn(now)
        now += 1 if now == min(at, wake) else 0
    for i in range(6):
        world.turn(end + i * M)


def check_order(world: World) -> None:
    """The engine's own rule (core/step.py), and that nothing was said of what had not closed."""
    last = Counter[int]()
    decided = Counter[int]()
    newest = 0
    for at, barrier in world.said:
        assert barrier.ts_ms <= at
        assert list(barrier.bars["symbol"]) == sorted(set(barrier.bars["symbol"].tolist()))
        assert (barrier.bars["ts_ms"] == barrier.ts_ms).all()
        if not (barrier.bars["flags"] & BAR_SILENT).any():
            assert barrier.ts_ms > newest
            newest = barrier.ts_ms
        for row in barrier.bars:
            ts_ms, symbol, flags = int(row["ts_ms"]), int(row["symbol"]), int(row["flags"])
            assert ts_ms > last[symbol]
            assert ts_ms > decided[symbol] or flags & BAR_SILENT
            if not flags & BAR_SILENT:
                decided[symbol] = ts_ms
            if not flags & BAR_MISSING:
                last[symbol] = ts_ms
                assert (ts_ms, symbol) in world.truth
                assert row["close"] == values(ts_ms, symbol)[3]


@settings(max_examples=400, deadline=None)
@given(markets(rest=True))
def test_with_rest_up_the_truth_comes_out_whatever_the_stream_does(given: tuple[World, list]) -> None:
    world, arrivals = given
    shown = any(at < END for at, *_ in arrivals)
    play(world, arrivals)
    check_order(world)
    assert sorted(world.rows()) == [(t, s, 0) for t, s in sorted(world.truth)]
    if shown:
        assert world.assembly.closed_ms >= T0 + 6 * M, "it does not wait for ever"
    assert not world.assembly.decided.revisions


@settings(max_examples=600, deadline=None)
@given(markets(rest=False))
def test_with_rest_down_at_times_nothing_is_said_twice_or_out_of_order(given: tuple[World, list]) -> None:
    world, arrivals = given
    play(world, arrivals)
    check_order(world)
    rows = world.rows()
    assert len(set(rows)) == len(rows)
    missing = {(t, s) for t, s, f in rows if f & BAR_MISSING}
    real = {(t, s): f for t, s, f in rows if not f & BAR_MISSING}
    silent = {key for key, f in real.items() if f & BAR_SILENT}
    assert silent <= missing, "only the bar of a row that was written without one is silent"
    late = {(r.ts_ms, r.symbol) for r in world.assembly.decided.revisions if r.kind == LATE}
    assert not late & real.keys()
    for symbol in range(SYMBOLS):
        mine = sorted(t for t, s in real if s == symbol)
        for ts_ms in mine:
            before = max([t for t in mine if t < ts_ms], default=T0)
            lost = {t for t, s in world.truth - real.keys() if s == symbol and before < t < ts_ms}
            if lost & {t for t, s in missing if s == symbol} and not real[ts_ms, symbol] & BAR_SILENT:
                assert real[ts_ms, symbol] & BAR_CADENCE, "a bar before it was lost for good"


@settings(max_examples=200, deadline=None)
@given(markets(rest=True), st.integers(0, 2**16))
def test_the_order_of_arrival_changes_nothing(given: tuple[World, list], seed: int) -> None:
    world, arrivals = given
    other = World(world.truth)
    play(world, list(arrivals))
    shuffled = list(arrivals)
    np.random.default_rng(seed).shuffle(shuffled)
    play(other, sorted((max(a, t), t, s) for (a, _, _), (_, t, s) in zip(arrivals, shuffled, strict=True)))
    assert sorted(world.rows()) == sorted(other.rows())


# --------------------------------------------------------------------------------------------------- one by one


def test_the_last_bar_that_is_due_closes_it_without_grace_or_question() -> None:
    world = World(set())
    for symbol in (2, 0, 1):
        world.turn(T0 + M + 100)
        assert not world.said
        assert world.bring(T0 + M, symbol, T0 + M + 100) == TAKEN
    assert world.assembly.ready
    world.turn(T0 + M + 100)
    assert world.rows() == [(T0 + M, 0, 0), (T0 + M, 1, 0), (T0 + M, 2, 0)]
    assert world.questions == 0


def test_nothing_is_decided_from_a_bar_before_its_close() -> None:
    world = World(set())
    for symbol in range(SYMBOLS):
        assert world.bring(T0 + M, symbol, T0 + M - 1_999) == TAKEN
    world.turn(T0 + M - 1)
    assert not world.said
    assert world.assembly.wake_ms() == T0 + M
    world.turn(T0 + M)
    assert len(world.rows()) == 3
    assert world.bring(T0 + 3 * M, 0, T0 + 3 * M - 2_001) == "from_future"
    assert world.assembly.refused["from_future"] == 1


def test_no_trade_leaves_no_row_and_no_data_leaves_one() -> None:
    world = World({(T0 + M, 0)}, down=[(T0 + 2 * M, T0 + 3 * M)])
    world.turn(T0 + M + GRACE)
    assert world.rows() == [(T0 + M, 0, 0)], "REST had one, and knew of no trade in the others"
    world.turn(T0 + 2 * M + GRACE)
    assert world.rows()[1:] == [(T0 + 2 * M, s, BAR_MISSING) for s in range(3)]
    assert all(np.isnan(world.said[-1][1].bars["close"]))


def test_a_bar_that_was_missing_follows_silently_before_a_newer_one() -> None:
    world = World({(T0 + M, 0), (T0 + 2 * M, 0)}, down=[(T0, T0 + 2 * M)])
    world.turn(T0 + M + GRACE)
    assert world.bring(T0 + 2 * M, 0, T0 + 2 * M + 10) == TAKEN
    world.turn(T0 + 2 * M + 10)
    world.turn(T0 + 2 * M + 10 + GRACE)
    mine = [(t, f) for t, s, f in world.rows() if s == 0]
    assert mine == [(T0 + M, BAR_MISSING), (T0 + M, BAR_SILENT), (T0 + 2 * M, 0)]


def test_a_complete_barrier_asks_at_once_for_what_was_lost_before_it() -> None:
    world = World({(T0 + M, s) for s in range(3)} | {(T0 + 2 * M, s) for s in range(3)}, down=[(T0, T0 + 2 * M)])
    world.turn(T0 + M + GRACE)
    for symbol in range(3):
        world.bring(T0 + 2 * M, symbol, T0 + 2 * M + 5)
    world.turn(T0 + 2 * M + 5)
    assert [f for _, _, f in world.rows()] == [BAR_MISSING] * 3 + [BAR_SILENT] * 3 + [0] * 3


def test_a_bar_lost_for_good_marks_the_next_and_comes_too_late_afterwards() -> None:
    world = World({(T0 + M, 0)}, down=[(T0, T0 + 10 * M)])
    world.turn(T0 + M + GRACE)
    for symbol in range(3):
        world.bring(T0 + 2 * M, symbol, T0 + 2 * M)
    world.turn(T0 + 2 * M)
    assert world.rows()[3:] == [(T0 + 2 * M, s, BAR_CADENCE) for s in range(3)]
    assert world.bring(T0 + M, 0, T0 + 2 * M) == LATE
    for symbol in range(3):
        world.bring(T0 + 3 * M, symbol, T0 + 3 * M)
    world.turn(T0 + 3 * M)
    assert world.rows()[6:] == [(T0 + 3 * M, s, 0) for s in range(3)], "only the first one is marked"


def test_the_same_again_is_nothing_another_is_a_revision_once() -> None:
    world = World(set())
    for symbol in range(3):
        world.bring(T0 + M, symbol, T0 + M)
    world.turn(T0 + M)
    assert world.bring(T0 + M, 1, T0 + M) == SAME
    assert world.bring(T0 + M, 1, T0 + M, 0.25, revised=True) == REVISED
    assert world.bring(T0 + M, 1, T0 + M, 0.25, revised=True) == SAME
    assert world.bring(T0 + M, 1, T0 + M, 0.5) == REVISED, "it need not say that it corrects"
    found = [(r.symbol, r.kind, r.values[0]) for r in world.assembly.decided.revisions]
    assert found == [(1, REVISED, 102.25), (1, REVISED, 102.5)]
    assert len(world.rows()) == 3


def minute(world: World, i: int, *symbols: int, late_ms: int = 0) -> None:
    """The stream brings an interval's bars, so much after its close by our clock."""
    for symbol in symbols:
        world.bring(T0 + i * M, symbol, T0 + i * M + late_ms)
    world.turn(T0 + i * M + late_ms)


def test_a_bar_after_no_trade_was_confirmed_is_late_and_never_folded() -> None:
    world = World(set())
    minute(world, 1, 0, 1, 2)
    minute(world, 2, 0)
    world.turn(T0 + 2 * M + GRACE)
    assert world.assembly.closed_ms == T0 + 2 * M
    assert world.bring(T0 + 2 * M, 2, T0 + 2 * M + GRACE) == LATE
    world.turn(T0 + 5 * M)
    assert len(world.rows()) == 4


def test_a_bar_beside_it_proves_that_the_market_was_there() -> None:
    world = World({(T0 + M, 1)})
    world.turn(T0 + M + GRACE)
    assert (world.questions, world.assembly.closed_ms) == (1, T0 + M)


def test_an_interval_without_any_bar_waits_for_a_sign_of_the_next() -> None:
    """Our clock may be fast: the market may not be there yet. There is nothing to decide that could not wait."""
    world = World(set())
    minute(world, 1, 0, 1, 2)
    world.turn(T0 + 2 * M + GRACE)
    assert (world.questions, world.assembly.closed_ms) == (1, T0 + M)
    assert world.bring(T0 + 2 * M, 0, T0 + 2 * M + 5_000) == TAKEN
    minute(world, 3, 0, 1, 2)
    assert (world.questions, world.assembly.closed_ms) == (2, T0 + 3 * M)
    assert [t for t, s, _ in world.rows() if s == 0] == [T0 + i * M for i in (1, 2, 3)]


def test_a_quiet_market_is_believed_after_another_interval() -> None:
    world = World(set())
    minute(world, 1, 0, 1, 2)
    world.turn(T0 + 2 * M + GRACE)
    world.turn(T0 + 3 * M + GRACE)
    assert world.assembly.closed_ms >= T0 + 2 * M


def test_before_the_stream_brought_anything_our_clock_proves_nothing() -> None:
    """It may be five minutes fast; whenever the first bar comes, it is in time."""
    world = World(set())
    for i in range(1, 6):
        world.turn(T0 + i * M + GRACE)
    assert world.assembly.closed_ms == T0
    assert world.questions <= 6
    for i in (1, 2, 3):
        minute(world, i, 0, 1, 2, late_ms=5 * M)
    assert world.rows() == [(T0 + i * M, s, 0) for i in (1, 2, 3) for s in range(3)]
    world.turn(T0 + 4 * M + 5 * M + GRACE - 1)
    assert world.assembly.closed_ms == T0 + 3 * M, "and the grace counts from there"


def test_the_grace_counts_from_when_the_feed_usually_brings_bars() -> None:
    world = World(set())
    for i in range(1, 6):
        minute(world, i, 0, 1, late_ms=5_000)
        asked = world.questions
        world.turn(T0 + i * M + 5_000 + GRACE - 1)
        assert world.questions == asked
        world.turn(T0 + i * M + 5_000 + GRACE)
        assert world.questions == asked + 1
    assert world.bring(T0 + 6 * M, 0, T0 + 6 * M + 50_000) == TAKEN, "one that is slow is no habit"
    world.turn(T0 + 6 * M + 50_000)
    assert world.assembly.closed_ms == T0 + 6 * M


def test_a_correction_before_the_decision_is_what_is_decided() -> None:
    world = World(set())
    assert world.bring(T0 + M, 0, T0 + M, 0.5, revised=True) == TAKEN
    assert world.bring(T0 + M, 0, T0 + M) == SAME, "the old one after its correction"
    assert world.bring(T0 + M, 1, T0 + M) == TAKEN
    assert world.bring(T0 + M, 1, T0 + M, 0.5, revised=True) == REPLACED
    world.turn(T0 + M + GRACE)
    assert list(world.said[0][1].bars["open"]) == [101.5, 102.5]


def test_of_two_different_bars_rest_says_which() -> None:
    """Else it would hang on the speed of the others which one is decided."""
    world = World({(T0 + M, s) for s in range(3)})
    assert [world.bring(T0 + M, 0, T0 + M, more) for more in (0.5, 0.0, 0.5)] == [TAKEN, DOUBTED, SAME]
    for symbol in (1, 2):
        world.bring(T0 + M, symbol, T0 + M)
    world.turn(T0 + M)
    assert not world.said, "all are in, but one of them twice"
    world.turn(T0 + M + GRACE)
    assert world.questions == 1
    assert world.said[0][1].bars["open"][0] == 101.0
    assert [(r.kind, r.values[0]) for r in world.assembly.decided.revisions] == [(REVISED, 101.5)]


def test_of_two_different_bars_the_first_where_nobody_says() -> None:
    world = World(set(), down=[(T0, T0 + 2 * M)])
    for more in (0.5, 0.0):
        world.bring(T0 + M, 0, T0 + M, more)
    world.turn(T0 + M + GRACE)
    assert world.said[0][1].bars["open"][0] == 101.5
    assert [r.values[0] for r in world.assembly.decided.revisions] == [101.0]


def test_a_feed_that_repeats_the_last_price_opens_nothing() -> None:
    world = World(set())

    def minute(i: int, price: float, volume: float = 5.0) -> int:
        now = T0 + i * M
        for symbol in range(3):
            world.assembly.arrived(now, symbol, (price, price, price, price, volume), now)
        world.turn(now)
        return int(world.said[-1][1].bars["flags"][0])

    assert [minute(i, 100.0) for i in range(1, 8)] == [0] * 5 + [BAR_CADENCE] * 2, "five times the same close"
    assert [barrier.frozen for _, barrier in world.said] == [0, 1, 2, 3, 4, 5, 6]
    assert minute(8, 100.0, 0.0) == BAR_CADENCE, "without trades it neither moves nor stands"
    assert minute(9, 100.5) == 0


def test_what_is_long_past_and_unknown_is_only_counted() -> None:
    world = World(set())
    assert world.bring(T0 - 50 * M, 0, T0) == OLD
    assert world.bring(T0 - 50 * M, 0, T0, 1.0, revised=True) == REVISED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ts": 1}, "off_boundary"),
        ({"close": float("nan")}, "not_finite"),
        ({"high": 1.0, "low": 2.0}, "high_below_low"),
        ({"open": 0.0}, "not_positive"),
        ({"volume": -1.0}, "negative_volume"),
        ({"close": 1e13}, "too_large"),
        ({"high": 99.0}, "outside_range"),
    ],
)
def test_what_can_be_no_bar_is_refused_and_asked_for(change: dict[str, float], reason: str) -> None:
    world = World({(T0 + M, s) for s in range(3)})
    bar = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.5, "volume": 10.0}
    ts_ms = T0 + M + int(change.pop("ts", 0))
    if reason == "too_large":
        change["high"] = 2e13
    bar |= change
    if reason == "outside_range":
        bar["low"] = 98.0
    assert world.assembly.arrived(ts_ms, 0, tuple(bar.values()), T0 + M + 5) == reason  # type: ignore[arg-type]
    assert world.assembly.refused == {reason: 1}
    world.turn(T0 + M + GRACE)
    assert world.rows() == [(T0 + M, s, 0) for s in range(3)]


def test_a_long_gap_is_one_question_and_its_barriers_are_late() -> None:
    truth = {(T0 + i * M, s) for i in range(1, 31) for s in range(3)}
    world = World(truth, late_after_ms=2 * M)
    world.turn(T0 + 30 * M + GRACE)
    assert world.questions == 1
    assert len(world.rows()) == 90
    late = {barrier.ts_ms for _, barrier in world.said if barrier.late}
    assert late == {T0 + i * M for i in range(1, 29)}
    assert all((b.bars["flags"] == (BAR_LATE if b.late else 0)).all() for _, b in world.said)


def test_a_backlog_on_the_stream_is_late_however_long_it_is() -> None:
    """A machine that slept: the stream's buffer brings minute after minute at once. Their age is no lag of the feed."""
    world = World(set(), late_after_ms=2 * M)
    for i in range(1, 4):
        minute(world, i, 0, 1, 2)
    backlog = []
    for i in range(4, 16):
        now_ms = T0 + 16 * M + i * 20
        for symbol in range(3):
            world.bring(T0 + i * M, symbol, now_ms)
        backlog += world.assembly.take(now_ms)  # whole: nobody need be asked about it
    assert {(barrier.ts_ms - T0) // M: barrier.late for barrier in backlog} == {i: i < 15 for i in range(4, 16)}
    for i in range(17, 20):  # and the feed goes on at its own pace
        minute(world, i, 0, 1, 2)
    assert [barrier.late for _, barrier in world.said if barrier.ts_ms > T0 + 16 * M] == [False] * 3


def test_polled_twice_before_an_absence_is_believed() -> None:
    world = World(set(), polled=True)
    world.turn(T0 + M + GRACE)
    assert (world.questions, world.said) == (1, [])
    world.truth.add((T0 + M, 1))
    world.turn(T0 + M + GRACE + 1)
    assert world.questions == 1
    world.turn(T0 + M + 2 * GRACE)
    assert (world.questions, world.rows()) == (2, [(T0 + M, 1, 0)])


def test_what_comes_while_rest_is_asked_ends_the_question() -> None:
    world = World(set())
    now = T0 + M + GRACE
    question = world.assembly.question(now)
    assert question is not None
    assert question.symbols == (0, 1, 2)
    for symbol in range(3):
        world.bring(T0 + M, symbol, now)
    assert world.assembly.overtaken
    world.assembly.withdraw()
    world.turn(now)
    assert len(world.rows()) == 3
    world.assembly.answered(question, world.history(*question), now)  # an answer nobody waits for
    assert world.assembly.closed_ms == T0 + M


def test_without_confirmation_silence_is_silence_until_a_reconnect() -> None:
    world = World({(T0 + 2 * M, 0), (T0 + M, 0)}, confirm=False)
    world.turn(T0 + M + GRACE)
    assert (world.questions, world.rows()) == (0, [])
    world.assembly.be_sure(T0 + 2 * M)
    world.turn(T0 + 2 * M + GRACE)
    assert (world.questions, world.rows()) == (1, [(T0 + 2 * M, 0, 0)])


def test_more_than_there_is_room_for_is_found_again() -> None:
    world = World({(T0 + i * M, s) for i in (1, 2, 3) for s in range(3)})
    world.assembly = Assembly(world.schedule, closed_ms=T0, grace_ms=GRACE, room=3)
    now = T0 + 3 * M
    for ts_ms, symbol in sorted(world.truth, reverse=True):
        world.bring(ts_ms, symbol, now)
    assert world.assembly.counts["overflow"] == 3
    world.turn(now + GRACE)
    assert sorted(world.rows()) == [(t, s, 0) for t, s in sorted(world.truth)]


def test_an_interval_that_had_no_trade_after_all_marks_nothing() -> None:
    world = World(set(), down=[(T0, T0 + M + 2 * GRACE)])
    world.turn(T0 + M + GRACE)
    assert world.rows() == [(T0 + M, s, BAR_MISSING) for s in range(3)]
    for i in (2, 3):
        for symbol in range(3):
            world.bring(T0 + i * M, symbol, T0 + i * M)
        world.turn(T0 + i * M)
    assert world.rows()[3:] == [(T0 + i * M, s, 0) for i in (2, 3) for s in range(3)]
    assert world.questions == 2, "REST's word about it stands"


def test_a_bar_lost_before_one_that_came_silently_marks_the_next() -> None:
    world = World(set(), down=[(T0, T0 + 10 * M)])
    world.turn(T0 + M + GRACE)
    world.turn(T0 + 2 * M + GRACE)
    assert world.bring(T0 + 2 * M, 0, T0 + 2 * M + GRACE) == SILENT
    for symbol in range(3):
        world.bring(T0 + 3 * M, symbol, T0 + 3 * M)
    world.turn(T0 + 3 * M)
    assert [(t, f) for t, s, f in world.rows() if s == 0][2:] == [(T0 + 2 * M, BAR_SILENT), (T0 + 3 * M, BAR_CADENCE)]
    assert world.bring(T0 + M, 0, T0 + 3 * M) == LATE


def test_what_rest_has_of_an_interval_that_runs_is_not_taken() -> None:
    world = World(set())
    now = T0 + 2 * M - 1_000  # a bar that forms closes within the tolerance for clocks
    question = world.assembly.question(now)
    assert question is not None
    world.truth = {(T0 + M, 0), (T0 + 2 * M, 0)}
    world.assembly.answered(question, world.history((0, 1, 2), T0, T0 + 2 * M), now)
    world.turn(T0 + 2 * M)
    assert [t for t, _, _ in world.rows()] == [T0 + M]
    assert world.bring(T0 + 2 * M, 0, T0 + 2 * M) == TAKEN


NIGHT = Schedule(("XNYS",) * SYMBOLS, M)


def night(text: str, **options: object) -> World:
    """A market with a bell; the time is of New York, on a Monday in November."""
    closed_ms = int(datetime.fromisoformat(f"2026-11-23T{text}-05:00").timestamp() * 1000)
    world = World(set(), closed_ms=closed_ms, **options)  # type: ignore[arg-type]
    world.assembly = Assembly(NIGHT, closed_ms=closed_ms, grace_ms=GRACE)
    return world


def test_before_the_bell_a_failed_question_leaves_no_row() -> None:
    world = night("09:28:00")
    begin = world.closed_ms
    world.down = [(begin, begin + 10 * M)]
    world.turn(begin + 4 * M + GRACE)
    assert world.rows() == [(begin + i * M, s, BAR_MISSING) for i in (3, 4) for s in range(3)], "09:31 and 09:32"


def test_a_bar_that_nobody_expects_waits_for_its_fellows() -> None:
    world = night("20:30:00")
    at = world.closed_ms + M
    assert world.bring(at, 1, at) == TAKEN
    world.turn(at)
    assert not world.said
    assert world.bring(at, 0, at + 500) == TAKEN
    world.turn(at + GRACE)
    assert world.rows() == [(at, 0, 0), (at, 1, 0)]
    assert world.assembly.wake_ms() > at + 7 * 60 * M, "then nothing is due until the morning"


def test_a_row_without_its_bar_is_known_after_a_restart() -> None:
    world = World({(T0, 1), (T0 + M, 1)})
    world.assembly.lose(1, T0)
    world.turn(T0 + M + GRACE)
    assert world.rows() == [(T0, 1, BAR_SILENT), (T0 + M, 1, 0)]
    assert world.bring(T0, 1, T0 + M) in (SAME, OLD)


def test_a_silent_bar_is_told_from_its_correction() -> None:
    world = World(set(), down=[(T0, T0 + 2 * M)])
    world.turn(T0 + M + GRACE)
    assert world.bring(T0 + M, 0, T0 + M + GRACE) == SILENT
    assert world.bring(T0 + M, 0, T0 + M + GRACE) == SAME
    minute(world, 2, 0, 1, 2)
    assert world.bring(T0 + M, 0, T0 + 2 * M) == SAME
    assert world.bring(T0 + M, 0, T0 + 2 * M, 1.0) == REVISED
