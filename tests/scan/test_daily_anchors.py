"""Every kind of daily anchor: against a plain reference on seeded bars, by example, and on bars cut at their time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.core import daily_anchor
from avwapd.core.codes import DAILY_ANCHORS
from tests.scan import anchor_market as market
from tests.scan.anchor_market import Bars, at, locate, walk

ROOT = Path(__file__).parents[2]
P = market.params()
KINDS = tuple(kind for kind in DAILY_ANCHORS[1:] if kind != "Handoff")
FIRST = at(20100104)


def period(kind: str, session: int) -> Any:
    record = market.calendar()[session]
    date = int(record["date"])
    return {
        "YTD": date // 10_000,
        "QTD": (date // 10_000, (date // 100 % 100 + 2) // 3),
        "MTD": date // 100,
        "WTD": int(record["week"]),
    }[kind]


def expected(kind: str, bars: Bars, begins: bool, named: int) -> int:
    """The anchor's index by the words of the rules, from lists; slow and without regard to the core."""
    days, o, h, lo, c, v = (column.tolist() for column in bars)
    n = len(days)
    if kind in ("YTD", "QTD", "MTD", "WTD"):
        start = days[-1]
        while period(kind, start - 1) == period(kind, days[-1]):
            start -= 1
        named, kind = start, "User"
    if kind in ("User", "Earnings"):
        later = [i for i in range(n) if days[i] >= named >= 0]
        known = later and (days[later[0]] == named or days[0] < named)
        return later[0] if known else -1
    window = range(max(0, n - 60), n)
    if kind == "Gap":
        return max((i for i in window[1:] if abs(o[i] - c[i - 1]) / c[i - 1] >= 0.04), default=-1)
    if kind == "VolBreakout":
        strong = [
            i
            for i in window[19:]
            if v[i] > 1.8 * (sum(v[i - 19 : i + 1]) / 20)
            and h[i] > lo[i]
            and (c[i] - lo[i]) / (h[i] - lo[i]) > 0.7
            and c[i] > max(h[i - 5 : i])
        ]
        return max(strong, default=-1)
    if kind in ("ConfirmedLow", "ConfirmedHigh"):
        x = lo if kind == "ConfirmedLow" else [-y for y in h]
        swings = [i for i in range(3, n - 3) if x[i] < min(x[i - 3 : i]) and x[i] <= min(x[i + 1 : i + 4])]
        return max(swings, default=-1)
    if kind in ("PriorSessionHigh", "PriorSessionLow"):
        return n - 2 if n > 1 and days[-2] + 1 == days[-1] else -1
    if kind == "IPO":
        return 0 if begins else -1
    reach = [i for i in range(n) if days[i] > days[-1] - 252]
    start, whole, x = {
        "SwingLow": (n - 20, n >= 20, [-y for y in lo]),
        "SwingHigh": (n - 20, n >= 20, h),
        "High52w": (reach[0], begins or days[0] <= days[-1] - 251, h),
        "Low52w": (reach[0], begins or days[0] <= days[-1] - 251, [-y for y in lo]),
        "AllTimeHigh": (0, begins, h),
        "HighestVolume": (max(0, n - 500), begins or n >= 500, v),
    }[kind]
    return x.index(max(x[start:]), start) if whole else -1


MARKETS = st.tuples(
    st.integers(0, 2**32 - 1),
    st.one_of(st.integers(1, 80), st.integers(81, 700)),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.booleans(),
    st.integers(-1, 700),
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MARKETS)
def test_every_kind_equals_the_plain_reference(chosen: Any) -> None:
    seed, count, holes, begins, named = chosen
    bars = walk(seed, FIRST + seed % 250, count, holes)
    day = int(bars.session[0]) + named - 3 if named >= 0 else -1
    for kind in KINDS:
        assert locate(kind, bars, P, begins, day) == expected(kind, bars, begins, day), kind


def test_the_seeded_bars_show_every_kind_known_and_unknown() -> None:
    for kind in KINDS:
        found = [
            locate(kind, walk(seed, FIRST, count, 0.1), P, seed % 3 == 0, FIRST + 10)
            for seed in range(40)
            for count in (4, 90, 600)
        ]
        assert min(found) < 0 <= max(found), kind


@settings(max_examples=60, deadline=None, derandomize=True)
@given(MARKETS, st.integers(0, 699))
def test_nothing_after_the_last_bar_changes_an_anchor(chosen: Any, cut: int) -> None:
    seed, count, holes, begins, named = chosen
    bars = walk(seed, FIRST, count, holes)
    n = 1 + cut % len(bars.session)
    day = FIRST + named
    other = walk(seed + 1, FIRST, count, holes)
    mixed = Bars(
        bars.session,
        *(np.concatenate([a[:n], np.resize(b, len(a) - n)]) for a, b in zip(bars[1:], other[1:], strict=True)),
    )
    for kind in KINDS:
        alone = locate(kind, bars.part(0, n), P, begins, day)
        assert locate(kind, bars, P, begins, day, n=n) == alone
        assert locate(kind, mixed, P, begins, day, n=n) == alone


@settings(max_examples=60, deadline=None, derandomize=True)
@given(MARKETS, st.integers(1, 699))
def test_fewer_bars_loaded_give_the_same_anchor_or_none(chosen: Any, left: int) -> None:
    seed, count, holes, _, named = chosen
    bars = walk(seed, FIRST, count, holes)
    n = len(bars.session)
    left = left % n
    for kind in KINDS:
        whole = locate(kind, bars, P, False, FIRST + named)
        part = locate(kind, bars.part(left, n), P, False, FIRST + named)
        assert part in (-1, whole - left), kind


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MARKETS)
def test_an_anchor_is_known_from_its_own_bars_on_and_never_earlier(chosen: Any) -> None:
    seed, count, holes, begins, named = chosen
    bars = walk(seed, FIRST, count, holes)
    n = len(bars.session)
    for kind in KINDS:
        index = locate(kind, bars, P, begins, FIRST + named)
        known = int(daily_anchor.known_at(DAILY_ANCHORS.index(kind), index, n, P))
        if index < 0:
            assert known == -1
            continue
        assert index <= known < n
        for end in range(max(index, 1), known + 1):
            assert locate(kind, bars, P, begins, FIRST + named, n=end) != index
        if kind.startswith("Confirmed"):
            assert known == index + 3
            assert locate(kind, bars, P, n=known + 1) == index


def flat(count: int, **columns: dict[int, float]) -> Bars:
    """Bars at 100 with a range of 1 and a volume of 1000, with changes by column and index."""
    bars = Bars(
        np.arange(FIRST, FIRST + count, dtype=np.int32), *(np.full(count, x) for x in (100.0, 100.5, 99.5, 100.0, 1e3))
    )
    for name, changes in columns.items():
        for i, value in changes.items():
            getattr(bars, name)[i] = value
    return bars


@pytest.mark.parametrize(("price", "found"), [(104.0, 40), (103.99, -1), (96.0, 40), (96.01, -1)])
def test_a_gap_counts_from_four_percent_either_way(price: float, found: int) -> None:
    assert locate("Gap", flat(90, open={40: price}), P) == found


def test_the_newest_gap_wins_and_the_first_of_sixty_bars_has_none() -> None:
    assert locate("Gap", flat(90, open={40: 110.0, 60: 105.0}), P) == 60
    assert locate("Gap", flat(90, open={31: 110.0}), P) == 31
    assert locate("Gap", flat(90, open={30: 110.0}), P) == -1
    assert locate("Gap", flat(40, open={0: 110.0}), P) == -1
    assert locate("Gap", flat(40, open={1: 110.0}), P) == 1


def breakout(i: int, **changes: float) -> Bars:
    """90 flat bars; bar i rises to 102 on twice the volume and closes at its high."""
    day = {"high": 102.0, "low": 100.0, "close": 102.0, "volume": 2_000.0} | changes
    return flat(90, **{name: {i: value} for name, value in day.items()})


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, 70),
        ({"volume": 1_878.0}, -1),  # the mean includes the day: 1.8 x (19,000 + v) / 20 = v at 1,879.1
        ({"volume": 1_880.0}, 70),
        ({"close": 101.5}, 70),
        ({"close": 101.25}, -1),
        ({"high": 110.0, "low": 100.0, "close": 107.0}, -1),  # at 0.7 of the range, not above
        ({"high": 100.5, "low": 99.5, "close": 100.5}, -1),  # at the highs before, not above
        ({"high": 100.75, "low": 100.0, "close": 100.625}, 70),
        ({"high": 101.0, "low": 101.0, "close": 101.0}, -1),  # a day without a range
    ],
)
def test_what_makes_a_volume_breakout(changes: dict[str, float], found: int) -> None:
    assert locate("VolBreakout", breakout(70, **changes), P) == found


def test_a_volume_breakout_needs_nineteen_bars_before_it_in_the_window() -> None:
    assert locate("VolBreakout", breakout(49), P) == 49
    assert locate("VolBreakout", breakout(48), P) == -1
    assert locate("VolBreakout", breakout(70).part(0, 71), P) == 70
    assert locate("VolBreakout", breakout(70).part(51, 71), P) == 19
    assert locate("VolBreakout", breakout(70).part(52, 71), P) == -1


def test_equal_extremes_go_to_the_earlier_bar() -> None:
    bars = flat(40, low={15: 90.0, 22: 98.0, 30: 98.0}, high={15: 120.0, 25: 104.0, 26: 104.0})
    assert locate("SwingLow", bars, P) == 22
    assert locate("SwingHigh", bars, P) == 25
    assert locate("ConfirmedLow", bars, P) == 30
    assert locate("ConfirmedHigh", bars, P) == 25
    assert locate("SwingLow", flat(20), P) == 0
    assert locate("SwingLow", flat(19), P) == -1


def test_a_year_of_sessions_reaches_back_to_its_first() -> None:
    bars = flat(400, high={147: 150.0, 148: 140.0}, low={147: 50.0, 148: 60.0})
    assert [locate(kind, bars, P) for kind in ("High52w", "Low52w")] == [148, 148]
    assert locate("High52w", bars, P, n=399) == 147
    assert locate("High52w", bars.part(148, 400), P) == 0
    assert locate("High52w", bars.part(149, 400), P) == -1
    assert locate("High52w", bars.part(149, 400), P, begins=True) == 0


def test_settings_move_the_windows() -> None:
    bars = flat(400, open={101: 107.0}, low={200: 90.0})
    assert locate("Gap", bars, market.params(anchor_days=300)) == 101
    assert locate("Gap", bars, market.params(anchor_days=300, gap_pct=7.5)) == -1
    assert locate("SwingLow", bars, market.params(swing_days=200)) == 200
    assert locate("Low52w", bars, market.params(year_days=199)) == 201
    wide = flat(40, low={20: 90.0, 25: 89.0})
    assert locate("ConfirmedLow", wide, market.params(swing_k=4)) == 25
    assert locate("ConfirmedLow", wide.part(0, 27), market.params(swing_k=1)) == 25
    code = DAILY_ANCHORS.index("Handoff")
    assert daily_anchor.known_at(code, 10, 40, market.params(acceptance_closes=4)) == 13


def test_an_empty_window_and_a_kind_without_bars_are_unknown() -> None:
    bars = flat(30)
    for kind in DAILY_ANCHORS[1:]:
        assert locate(kind, bars, P, True, FIRST, n=0) == -1
    assert locate("Handoff", bars, P, True, FIRST) == -1
    assert locate("", bars, P, True, FIRST) == -1


def digest() -> str:
    """Of what `locate` and `known_at` say on 60 seeded markets."""
    words = []
    for seed in range(60):
        bars = walk(seed, FIRST + seed, 40 + 11 * seed, 0.05 * (seed % 3))
        for code, kind in enumerate(DAILY_ANCHORS):
            index = locate(kind, bars, P, seed % 2 == 0, FIRST + 2 * seed)
            words.append(f"{kind} {index} {daily_anchor.known_at(code, index, len(bars.session), P)}")
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def test_plain_python_gives_the_same_anchors() -> None:
    if numba.config.DISABLE_JIT:
        pytest.skip("the compiler is off: nothing to compare")
    code = "import sys; from tests.scan.test_daily_anchors import digest; sys.stdout.write(digest())"
    plain = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert plain.stdout == digest()
