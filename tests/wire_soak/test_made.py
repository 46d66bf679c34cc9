"""Rows that a former session's bars made: the tick that follows from the bar is explained, every other is found."""

from __future__ import annotations

import math
import sqlite3
import tomllib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from avwapd.core.codes import SIGNAL_CONFIRMED, SIGNAL_ENTRY, SIGNAL_PENDING
from tests.wire_soak import remade
from tests.wire_soak.evidence import FIELDS as FIELDS_READ
from tests.wire_soak.evidence import read
from tests.wire_soak.explain import REMADE_LINE, REMADE_STOP, RESIZED, all_traces, explain
from tests.wire_soak.market import BARS
from tests.wire_soak.remade import Bar, Remade, folded
from tests.wire_soak.rows import FIELDS, LEVEL, MINUTE_MS, PHASE, R1, SIGNAL, STOP, Decision, Fill, Firing, Move, Run
from tests.wire_soak.twins import OWN

NIGHT = 1_440
OPENS = tuple((1_000 + day * NIGHT) * MINUTE_MS for day in range(5))
NAME = "FIR"
LOWS = (59.0, 58.9, 59.1, 59.2)  # of four days: the second is the newest swing


def at(day: int, minute: int) -> int:
    return OPENS[day] + minute * MINUTE_MS


def row(low: float, close: float = 60.0) -> tuple[Any, ...]:
    return ((0, close, close + 0.5, low, close, 1_000.0),)


def bars(**others: float) -> dict[tuple[int, str], tuple[Any, ...]]:
    """Four days and a half of twenty minutes; the third minute makes each day's low. others: day_minute -> its low."""
    lows = {(day, 3): low for day, low in enumerate(LOWS)}
    lows |= {tuple(int(part) for part in name[1:].split("_")): low for name, low in others.items()}  # type: ignore[misc]
    return {(at(day, n), NAME): row(lows.get((day, n), 59.9)) for day in range(5) for n in range(1, 21)}


def decided(signal: int = 0, qty: int = 20, **fields: Any) -> Decision:
    what: list[Any] = [0] * FIELDS
    what[SIGNAL] = signal
    for name, value in fields.items():
        what[{"level": LEVEL, "stop": STOP, "r1": R1, "r2": -1, "phase": PHASE}[name]] = value
    return Decision(tuple(what), qty)


def run(bars: dict[tuple[int, str], tuple[Any, ...]], decisions: dict[int, Decision], **rest: Any) -> Run:
    rows = {key: decided() for key in bars} | {(ts_ms, NAME): one for ts_ms, one in decisions.items()}
    return Run(rows, rest.get("moves", ()), rest.get("fills", ()), bars, rest.get("heard", {}), (), OPENS)


def found(clean: Run, faulted: Run, *firings: Firing) -> list[tuple[str, str]]:
    return [(each.fault, each.how) for each in explain(clean, faulted, firings)]


def entry(run_bars: dict[tuple[int, str], tuple[Any, ...]], ts_ms: int) -> Decision:
    made = Remade(folded(run_bars, NAME), OPENS)
    plan = made.plan(ts_ms)
    assert plan is not None
    stop, r1, r2 = plan[0]
    return decided(SIGNAL_ENTRY, level=made.line(made.opening(ts_ms), ts_ms), stop=stop, r1=r1, r2=r2)


SPIKE = Firing(at(1, 7), "halt_reopen_gap", "book", NAME)
OTHER = bars(_1_7=58.52)  # a minute of the second day fell to 58.52 in one run


def test_the_factors_are_those_of_the_market_that_is_played() -> None:
    stop = tomllib.loads(OWN)["stop"]
    assert stop["swing_low_factor"] == remade.SWING_FACTOR
    assert stop["avwap_stop_factor"] == remade.LINE_FACTOR
    assert stop["percent_stop_factor"] == remade.PERCENT_FACTOR
    assert stop["atr_stop_multiple"] == 0.0
    assert BARS > remade.MISSED


def test_a_line_and_a_plan_are_remade() -> None:
    made = Remade([Bar(at(0, n), 10.0, 12.0, 9.0, 9.0 + n, 100.0 * n) for n in (1, 2, 3)], (at(0, 0),))
    typical = [(12.0 + 9.0 + 9.0 + n) / 3 for n in (1, 2, 3)]
    line = made.line(at(0, 0), at(0, 3))
    assert line is not None
    assert math.isclose(line, sum(p * n for p, n in zip(typical, (1, 2, 3), strict=True)) / 6, rel_tol=1e-15)
    assert made.line(at(0, 0) - 20 * MINUTE_MS, at(0, 3)) is None, "its beginning is missing"
    one, other = (Remade(folded(each, NAME), OPENS).plan(at(4, 9)) for each in (bars(), OTHER))
    assert one is not None
    assert other is not None
    assert (one[0].stop, other[0].stop, other[1]) == (5884, 5846, True)
    assert (other[0].r1, other[0].r2) == (6154, 6308)


def test_a_stop_behind_a_former_days_low_names_the_fault_of_the_bar_that_made_it() -> None:
    clean = run(bars(), {at(4, 9): entry(bars(), at(4, 9))})
    faulted = run(OTHER, {at(4, 9): entry(OTHER, at(4, 9))})
    assert found(clean, faulted, SPIKE) == [("halt_reopen_gap", REMADE_STOP)]
    assert found(clean, faulted) == [("", "")], "a bar without a cause"
    assert found(clean, faulted, SPIKE._replace(symbol="ELM")) == [("", "")]
    assert found(clean, faulted, SPIKE._replace(ts_ms=at(2, 7))) == [("", "")], "another day's"
    elsewhere = replace(faulted, bars=bars(_1_9=58.95))
    assert found(clean, elsewhere, SPIKE) == [("", "")], "a bar that made no low"
    beside = replace(faulted, bars=bars(_1_7=58.52, _2_9=59.8))
    late = Firing(at(2, 9), "late_bar", "data_stream", NAME)
    assert found(clean, beside, SPIKE, late) == [("halt_reopen_gap", REMADE_STOP)], "not the newest that differs"


def test_every_other_tick_of_such_an_entry_is_found() -> None:
    clean = run(bars(), {at(4, 9): entry(bars(), at(4, 9))})
    right = entry(OTHER, at(4, 9))
    for field in (STOP, R1, -1, LEVEL, PHASE):
        what = list(right.what)
        what[field] += 1
        for wrong in (Decision(tuple(what), right.qty), right._replace(qty=right.qty + 1)):
            assert found(clean, run(OTHER, {at(4, 9): wrong}), SPIKE) == [("", "")], field
    wrong_there = replace(clean, decisions=dict(clean.decisions) | {(at(4, 9), NAME): decided(SIGNAL_ENTRY, stop=1)})
    assert found(wrong_there, run(OTHER, {at(4, 9): right}), SPIKE) == [("", "")], "the faultless row is not remade"


def test_a_plan_is_that_of_the_bar_which_confirmed_it() -> None:
    """An entry that waited for two bars has the stop of the close that confirmed it."""

    def waited(of: dict[tuple[int, str], tuple[Any, ...]], confirmed: int) -> Run:
        late = dict(of) | {(at(4, 9), NAME): row(59.9, close=60.3)}
        level = entry(late, at(4, 9)).what[LEVEL]
        stop, r1, r2 = entry(late, at(4, confirmed)).what[STOP:]
        told = decided(SIGNAL_ENTRY, level=level, stop=stop, r1=r1, r2=r2)
        return run(late, {at(4, 7): decided(SIGNAL_CONFIRMED), at(4, 8): decided(SIGNAL_PENDING), at(4, 9): told})

    assert found(waited(bars(), 7), waited(OTHER, 7), SPIKE) == [("halt_reopen_gap", REMADE_STOP)]
    assert found(waited(bars(), 9), waited(OTHER, 9), SPIKE) == [("", "")]


def held(of: dict[tuple[int, str], tuple[Any, ...]], heard_ms: int, off: float = 0.0, **fields: Any) -> Run:
    """Bought late on the fourth day, held over night: the fifth day's first bars are judged by the fourth's line."""
    made, rows = Remade(folded(of, NAME), OPENS), {}
    for n in (1, 2):
        line = made.line(made.opening(heard_ms), at(4, n))
        rows[at(4, n)] = decided(**{"stop": 5_900, "level": (line or 0.0) + off, **fields})
    fill = Fill(at(3, 20), NAME, "entry", "", "buy", 20, 6_000)
    moves = [
        Move(at(3, 19), NAME, "FLAT", "ENTERING", "ordered", 0),
        Move(at(3, 20), NAME, "ENTERING", "OPEN", "f", 20),
    ]
    return run(of, rows, moves=moves, fills=[fill], heard={fill: (heard_ms,)})


def test_what_is_held_goes_on_with_the_line_of_its_session() -> None:
    low = Firing(at(3, 5), "frozen_feed", "data_stream", NAME)
    other, heard_ms = bars(_3_5=59.6), at(3, 19)
    clean = held(bars(), heard_ms)
    assert found(clean, held(other, heard_ms), low) == [("frozen_feed", REMADE_LINE)] * 2
    bare = [("", "")] * 2
    assert found(clean, held(other, heard_ms)) == bare, "no cause"
    assert found(clean, held(other, heard_ms, off=1e-9), low) == bare, "another line than its bars make"
    assert found(clean, held(other, heard_ms, stop=5_901), low) == bare, "more than the line"
    assert found(clean, held(other, heard_ms, qty=19), low) == bare


def test_every_bar_in_the_line_needs_its_cause() -> None:
    low = Firing(at(3, 1), "frozen_feed", "data_stream", NAME)
    far = bars(_3_1=59.6, _3_18=59.5)
    clean = held(bars(), at(3, 19))
    assert found(clean, held(far, at(3, 19)), low) == [("", "")] * 2, "one of two bars has none"
    both = (low, low._replace(ts_ms=at(3, 18), fault="late_bar"))
    assert found(clean, held(far, at(3, 19)), *both) == [("late_bar", REMADE_LINE)] * 2


def test_a_line_that_differs_says_nothing_about_the_rows_after_it() -> None:
    low = Firing(at(3, 5), "frozen_feed", "data_stream", NAME)
    clean, faulted = held(bars(), at(3, 19)), held(bars(_3_5=59.6), at(3, 19))
    planted = dict(faulted.decisions) | {(at(4, 4), NAME): decided(stop=1)}
    verdicts = found(clean, replace(faulted, decisions=planted), low)
    assert verdicts == [("frozen_feed", REMADE_LINE)] * 2 + [("", "")]


def stopped(qty: int, heard_ms: int, phase: int, **rest: Any) -> Run:
    fill = Fill(at(2, 10), NAME, "stop", "stop", "sell", qty, 5_900)
    return run(bars(), {at(2, 10): decided(phase=phase, qty=0, **rest)}, fills=[fill], heard={fill: (heard_ms,)})


def test_a_fill_of_another_size_that_was_heard_a_bar_later() -> None:
    """The account differs and so the size: what one run did not know yet is explained, at that bar alone."""
    mute = Firing(at(2, 9) + 30_000, "mute_stream", "stream", "")
    clean, faulted = stopped(19, at(2, 9), 0), stopped(18, at(2, 10), 2)
    (trace,) = all_traces(clean, faulted)
    assert (trace.kind, trace.since_ms, trace.ts_ms) == (RESIZED, at(2, 10), at(2, 10))
    assert {fault for fault, _ in found(clean, faulted, mute)} == {"mute_stream"}
    assert "" in {fault for fault, _ in found(clean, stopped(18, at(2, 9), 2), mute)}, "not later"
    assert "" in {fault for fault, _ in found(clean, stopped(12, at(2, 10), 2), mute)}, "no account makes that size"
    assert found(clean, stopped(18, at(2, 10), 0, stop=1), mute)[0] == ("", ""), "it knew, and decided another thing"
    later = dict(faulted.decisions) | {(at(2, 12), NAME): decided(stop=1)}
    assert found(clean, replace(faulted, decisions=later), mute)[-1] == ("", "")
    parts = dict(faulted.heard) | {fill._replace(qty=17): (at(2, 11),) for fill in faulted.heard}
    assert all_traces(clean, replace(faulted, heard=parts)) == [], "two parts are not one fill later"


def test_a_ledger_is_read_as_far_as_the_market_went(tmp_path: Path) -> None:
    """What happened behind the end is no part of the day; bars are read from history's beginning."""
    columns = FIELDS_READ.replace("\n", " ")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as conn, conn:
        conn.execute("CREATE TABLE instruments (symbol_id, symbol)")
        conn.execute(f"CREATE TABLE decisions (ts_ms, symbol_id, qty, {columns})")
        conn.execute("CREATE TABLE transitions (seq, n, ts_ms, symbol_id, before, after, cause, qty)")
        conn.execute("CREATE TABLE fills (seq, ts_ms, symbol_id, purpose, reason, side, qty, price_ticks)")
        conn.execute("CREATE TABLE bars (ts_ms, symbol_id, seq, flags, open, high, low, close, volume)")
        conn.execute("CREATE TABLE inputs (seq, kind, ts_ms, symbol_id, body)")
        conn.execute("CREATE TABLE outbox (symbol_id, state, kind, attempts, note, sent_ms, settled_ms, created_seq)")
        conn.execute("INSERT INTO instruments VALUES (0, ?)", (NAME,))
        for ts_ms in (1, 2, 3, 4):
            conn.execute(
                f"INSERT INTO decisions VALUES ({', '.join('?' * (FIELDS + 3))})", (ts_ms, *[0] * (FIELDS + 2))
            )
            conn.execute("INSERT INTO transitions VALUES (?, 0, ?, 0, '', '', '', 0)", (ts_ms, ts_ms))
            conn.execute("INSERT INTO fills VALUES (?, ?, 0, '', '', '', 1, 1)", (ts_ms, ts_ms))
            conn.execute("INSERT INTO bars VALUES (?, 0, ?, 0, 1, 1, 1, 1, 1)", (ts_ms, ts_ms))
            conn.execute("INSERT INTO inputs VALUES (?, 'act', ?, 0, '{}')", (ts_ms, ts_ms))
            conn.execute("INSERT INTO outbox VALUES (0, 'EXPIRED', 'submit', 1, NULL, NULL, NULL, ?)", (ts_ms,))
    read_run = read(tmp_path / "ledger.db", OPENS, 1, 3)
    assert [ts_ms for ts_ms, _ in read_run.decisions] == [2, 3]
    assert [move.ts_ms for move in read_run.moves] == [2, 3]
    assert [fill.ts_ms for fill in read_run.fills] == [2, 3]
    assert sorted({trace.ts_ms for trace in read_run.traces}) == [2, 3]
    assert sorted(ts_ms for ts_ms, _ in read_run.bars) == [1, 2, 3]
    assert 4 in {ts_ms for ts_ms, _ in read(tmp_path / "ledger.db", OPENS, 1).decisions}
