"""Confluence, pinch and handoff: by example, and handoff against a plain reference on seeded bars."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from avwapd.core import lines
from avwapd.core.avwap import HLC3
from tests.scan.anchor_market import Bars, at, walk

ROOT = Path(__file__).parents[2]
NAN = math.nan


def row(*values: float) -> Any:
    return np.array(values, np.float64)


@pytest.mark.parametrize(
    ("values", "winner", "pct", "count"),
    [
        ((100.0, 100.5, 101.0, 101.5, 99.0, 98.5), 0, 1.0, 4),
        ((100.0, 101.0, 102.0), 1, 1.0, 3),  # measured from the winner: 102 lies within 1% of 101, not of 100
        ((100.0, 101.0, 102.0), 0, 1.0, 2),
        ((100.0, NAN, 100.1), 2, 1.0, 2),
        ((100.0, NAN, 100.1), 1, 1.0, 0),
        ((100.0, 100.0), 0, 0.0, 2),
        ((100.0, 100.0), -1, 1.0, 0),
    ],
)
def test_confluence_counts_the_lines_near_the_winner(values: Any, winner: int, pct: float, count: int) -> None:
    assert lines.confluence(row(*values), len(values), winner, pct) == count


def test_the_two_nearest_lines_are_the_pinch() -> None:
    assert lines.pinched(row(100.0, 102.0, 102.5, NAN), 4, 1.0) == (1, 2)
    assert lines.pinched(row(100.0, 101.0), 2, 1.0) == (0, 1)
    assert lines.pinched(row(101.0, 100.0), 2, 1.0) == (0, 1)
    assert lines.pinched(row(100.0, 101.01), 2, 1.0) == (-1, -1)
    assert lines.pinched(row(100.0, 100.5, 100.0, 100.5), 4, 1.0) == (0, 2)
    assert lines.pinched(row(100.0, 100.5, 100.0), 1, 1.0) == (-1, -1)
    assert lines.pinched(row(0.0, 0.0, -1.0), 3, 1.0) == (-1, -1)


def runs(values: Any, closes: tuple[float, ...], cross: bool = True) -> list[int]:
    """The runs after each close; values: lines at each close, or the same at all."""
    first, second, run, before, found = -1, -1, 0, NAN, []
    for i, close in enumerate(closes):
        now = values[i] if isinstance(values[0], tuple) else values
        first, second, run = lines.pinch_step(row(*now), len(now), before, close, 1.0, cross, first, second, run)
        found.append(run)
        before = close
    return found


def test_closes_outside_both_lines_are_counted_since_the_break() -> None:
    held = (100.0, 100.6)
    assert runs(held, (100.3, 100.7, 100.8, 101.0)) == [0, 1, 2, 3]
    assert runs(held, (100.3, 100.6, 100.0, 99.9, 99.8)) == [0, 0, 0, -1, -2]
    assert runs(held, (100.3, 100.7, 100.6, 100.7)) == [0, 1, 0, 1]
    assert runs(held, (100.3, 100.7, 99.0, 98.0)) == [0, 1, -1, -2]


def test_a_close_that_was_beyond_before_the_pinch_begins_no_run_where_a_cross_is_asked() -> None:
    assert runs((100.0, 100.6), (103.0, 104.0, 105.0)) == [0, 0, 0]
    assert runs((100.0, 100.6), (103.0, 104.0, 105.0), cross=False) == [1, 2, 3]
    converging = ((100.0, 103.0), (100.0, 102.0), (100.0, 100.9), (100.0, 100.9))
    assert runs(converging, (101.5, 102.5, 103.0, 103.0)) == [0, 0, 0, 0]


def test_a_run_outlives_the_pinch_and_ends_with_an_unknown_line() -> None:
    parting = ((100.0, 100.6), (100.0, 100.7), (100.0, 103.0), (NAN, 103.0))
    assert runs(parting, (100.3, 101.0, 104.0, 105.0)) == [0, 1, 2, 0]


def test_the_supporter_is_the_nearest_line_behind_the_price() -> None:
    anchors = np.array([5, 9, 2, 7], np.int64)
    assert lines.supporter(row(90.0, 95.0, 80.0, 101.0), anchors, 4, 100.0, 1) == 1
    assert lines.supporter(row(90.0, 95.0, 80.0, 101.0), anchors, 4, 70.0, 1) == -1
    assert lines.supporter(row(90.0, 95.0, 80.0, 101.0), anchors, 4, 92.0, -1) == 1
    assert lines.supporter(row(90.0, 95.0, 80.0, NAN), anchors, 4, 95.0, 1) == 0  # a close on the line is not above it
    assert lines.supporter(row(95.0, 95.0, 95.0, 95.0), anchors, 4, 100.0, 1) == 2  # the older anchor
    assert lines.supporter(row(95.0, 95.0), np.array([3, 3], np.int64), 2, 100.0, 1) == 0


def steps(values: list[tuple[float, ...]], closes: list[float], side: int = 1, hold: int = 2) -> list[tuple[int, bool]]:
    """(holder, passed) after each close; the lines' anchors rise with their slots."""
    holder, rival, run, found = -1, -1, 0, []
    anchors = np.arange(len(values[0]), dtype=np.int64)
    for now, close in zip(values, closes, strict=True):
        holder, rival, run, passed = lines.handoff_step(
            row(*now), anchors, len(now), close, side, hold, holder, rival, run
        )
        found.append((holder, passed))
    return found


@pytest.mark.parametrize("side", [1, -1])
def test_support_passes_to_a_younger_line_that_comes_between_price_and_the_old_one(side: int) -> None:
    values = [(90.0, NAN), (91.0, 96.0), (91.0, 97.0), (91.0, 98.0)]
    closes = [95.0, 99.0, 99.0, 99.0]
    if side < 0:
        values, closes = [tuple(200.0 - x for x in v) for v in values], [200.0 - x for x in closes]
    assert steps(values, closes, side) == [(0, False), (0, False), (1, True), (1, False)]
    assert steps(values, closes, side, hold=1) == [(0, False), (1, True), (1, False), (1, False)]
    assert steps(values, closes, side, hold=3) == [(0, False), (0, False), (0, False), (1, True)]


def test_what_is_no_handoff() -> None:
    broken = steps([(90.0, 80.0)] * 4, [95.0, 95.0, 85.0, 85.0])
    assert broken == [(0, False), (0, False), (1, False), (1, False)]
    won_back = steps([(90.0, 80.0)] * 4, [85.0, 85.0, 95.0, 95.0])
    assert won_back == [(1, False), (1, False), (0, False), (0, False)]
    interrupted = steps([(90.0, 96.0)] * 5, [95.0, 97.0, 95.0, 97.0, 95.0])
    assert interrupted == [(0, False)] * 5
    lost = steps([(90.0, 96.0)] * 3, [95.0, 85.0, 97.0])
    assert lost == [(0, False), (-1, False), (1, False)]


def folded(bars: Bars, start: int, known: int) -> list[float]:
    """The line of an anchor at every close, by plain sums."""
    value, weight, found = 0.0, 0.0, []
    for t in range(len(bars.close)):
        if t >= start >= 0:
            value += (bars.high[t] + bars.low[t] + bars.close[t]) / 3 * bars.volume[t]
            weight += bars.volume[t]
        found.append(value / weight if weight > 0 and t >= known else NAN)
    return found


def newest(bars: Bars, starts: Any, knowns: Any, side: int, hold: int) -> tuple[int, int, int]:
    """`locate_handoff` by another way: who was nearest at each close, then the newest change that held."""
    count, n = len(starts), len(bars.close)
    table = [folded(bars, int(s), int(k)) for s, k in zip(starts, knowns, strict=True)]
    behind = [[a for a in range(count) if side * (bars.close[t] - table[a][t]) > 0] for t in range(n)]
    nearest = [max(b, key=lambda a: side * table[a][t], default=-1) for t, b in enumerate(behind)]
    found, holder, since = (-1, -1, -1), -1, 0
    for t in range(n):
        if nearest[t] == holder:
            since = t + 1
            continue
        if holder < 0 or holder not in behind[t] or nearest[t] < 0 or starts[nearest[t]] <= starts[holder]:
            holder, since = nearest[t], t + 1
            continue
        if t + 1 - since >= hold and len(set(nearest[t + 1 - hold : t + 1])) == 1:
            found, holder, since = (t + 1 - hold, holder, nearest[t]), nearest[t], t + 1
    return found


def handoff(bars: Bars, starts: Any, knowns: Any, side: int, hold: int, n: int) -> tuple[int, int, int]:
    count = len(starts)
    scratch = np.full(lines.HANDOFF_SCRATCH * count, 7.0)
    found = lines.locate_handoff(count, starts, knowns, n, HLC3, *bars[1:], side, hold, scratch)
    return tuple(int(x) for x in found)  # type: ignore[return-value]


def drawn(seed: int) -> tuple[Bars, Any, Any]:
    rng = np.random.default_rng(seed)
    bars = walk(seed, at(20100104), int(rng.integers(5, 400)))
    bars.high[:] += rng.uniform(0.0, 0.1, len(bars.high))  # off the quarters: no close lies on a line to the last bit
    starts = rng.integers(-1, len(bars.close), int(rng.integers(1, 7)))
    empty = rng.random(len(bars.volume)) < 0.1
    empty[starts[starts >= 0]] = False  # else two anchors have one line, and rounding says which is nearer
    bars.volume[empty] = 0.0
    return bars, starts, np.where(starts < 0, -1, starts + rng.integers(0, 4, len(starts)))


@pytest.mark.parametrize("side", [1, -1])
def test_the_newest_handoff_equals_the_plain_reference_and_needs_nothing_after_it(side: int) -> None:
    seen = 0
    for seed in range(300):
        bars, starts, knowns = drawn(seed)
        hold = 1 + seed % 3
        n = len(bars.close)
        found = handoff(bars, starts, knowns, side, hold, n)
        assert found == newest(bars, starts, knowns, side, hold), seed
        seen += found[0] >= 0
        if found[0] >= 0:
            known = found[0] + hold - 1
            assert handoff(bars, starts, knowns, side, hold, known + 1) == found
            assert handoff(bars, starts, knowns, side, hold, known) != found
            assert starts[found[1]] < starts[found[2]] <= found[0]
    assert 50 < seen < 290


def words() -> str:
    """What the functions say on seeded bars, bit by bit."""
    found = []
    for seed in range(60):
        bars, starts, knowns = drawn(seed)
        found.append(str(handoff(bars, starts, knowns, 1 - 2 * (seed % 2), 2, len(bars.close))))
        rng = np.random.default_rng(seed)
        state, before = (-1, -1, 0), NAN
        for _ in range(30):
            now = np.where(rng.random(5) < 0.1, NAN, 100.0 + rng.normal(0.0, 0.8, 5))
            close = 100.0 + rng.normal(0.0, 1.0)
            state = tuple(int(x) for x in lines.pinch_step(now, 5, before, close, 1.0, seed % 2 == 0, *state))
            before = close
            found.append(f"{state} {lines.confluence(now, 5, 2, 0.7)}")
    return "\n".join(found)


def test_plain_python_gives_the_same_answers() -> None:
    if numba.config.DISABLE_JIT:
        pytest.skip("the compiler is off: nothing to compare")
    code = "import sys; from tests.scan.test_lines import words; sys.stdout.write(words())"
    plain = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert plain.stdout == words()
