"""Means, medians, ADX and weeks against plain references that share no code with the core."""

from __future__ import annotations

import datetime
import math
import statistics
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.core import daily_features as features
from avwapd.core.daily import SCAN, work_space
from avwapd.scan.rank import percentiles, sector_ranks, zscores
from avwapd.scan.rows import rounded
from avwapd.settings import scan_params
from tests.scan.generated import last_session, walk
from tests.scan.market import defaults, sessions

PRICES = st.lists(st.floats(0.01, 1e5, allow_nan=False), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(PRICES, st.integers(1, 60))
def test_means_are_those_of_fractions(values: list[float], size: int) -> None:
    found = features.mean_ending(np.array(values), len(values), size)
    if size > len(values):
        assert math.isnan(found)
    else:
        exact = sum(map(Fraction, values[-size:])) / size
        assert abs(Fraction(float(found)) - exact) <= exact * Fraction(1, 10**14)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([0.5, 1.0, 1.25, 2.0, 3.5, 7.0]) | st.floats(0.1, 9.0), min_size=1, max_size=121))
def test_the_median_is_the_sorted_middle(values: list[float]) -> None:
    assert features.middle_of(np.array(values), len(values)) == statistics.median(values)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 5).map(float), min_size=1, max_size=25), st.integers(1, 20), st.sampled_from([1.0, -1.0])
)
def test_swings_lie_beyond_both_neighbours(values: list[float], size: int, sign: float) -> None:
    window = values[-size:]
    known = [
        x
        for before, x, after in zip(window, window[1:], window[2:], strict=False)
        if (x < min(before, after) if sign > 0 else x > max(before, after))
    ]
    found = float(features.swing_ending(np.array(values), len(values), size, sign))
    assert found == known[-1] if known else math.isnan(found)


def textbook_adx(bars: Any, size: int) -> float:
    """Directional movement as in Wilder's book, with DI and smoothed true range, smoothed by 1/size."""
    smooth = {"+": 0.0, "-": 0.0, "tr": 0.0}
    adx: float | None = None
    for i in range(1, len(bars.high)):
        up, down = bars.high[i] - bars.high[i - 1], bars.low[i - 1] - bars.low[i]
        before = bars.close[i - 1]
        moved = {
            "+": max(up, 0.0) if up > down else 0.0,
            "-": max(down, 0.0) if down > up else 0.0,
            "tr": max(bars.high[i] - bars.low[i], abs(bars.high[i] - before), abs(bars.low[i] - before)),
        }
        smooth = {name: smooth[name] * (size - 1) / size + moved[name] / size for name in smooth}
        plus, minus = 100.0 * smooth["+"] / smooth["tr"], 100.0 * smooth["-"] / smooth["tr"]
        if plus + minus > 0.0:
            dx = 100.0 * abs(plus - minus) / (plus + minus)
            adx = dx if adx is None else (adx * (size - 1) + dx) / size
    return math.nan if adx is None else adx


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [2, 14])
def test_adx_is_the_textbook_one(seed: int, size: int) -> None:
    bars = walk(seed, 40 + 90 * seed)
    found = features.average_direction(len(bars.high), bars.high, bars.low, size)
    assert found == pytest.approx(textbook_adx(bars, size), rel=1e-11)


def test_adx_without_any_movement_is_unknown_and_counts_nothing() -> None:
    still = np.full(80, 10.0)
    assert math.isnan(features.average_direction(80, still, still, 14))
    p = scan_params(defaults())[0]
    assert features.trend_score(0.0, math.nan, math.nan, math.nan, 1.0, p) == -10.0


def plain_atr_pcts(bars: Any, size: int) -> list[float]:
    ranges = [float(bars.high[0] - bars.low[0])]
    for i in range(1, len(bars.close)):
        before = bars.close[i - 1]
        ranges.append(max(bars.high[i] - bars.low[i], abs(bars.high[i] - before), abs(bars.low[i] - before)))
    return [
        statistics.fmean(ranges[i - size + 1 : i + 1]) / bars.close[i] * 100 for i in range(size - 1, len(bars.close))
    ]


@pytest.mark.parametrize("n", [60, 132, 133, 134, 400])
def test_trend_features_are_the_plain_ones(n: int) -> None:
    bars = walk(n, n)
    p, row, work = scan_params(defaults())[0], np.zeros(1, SCAN)[0], work_space(500)
    for name in ("open", "high", "low", "close", "volume"):
        getattr(work, name)[:n] = getattr(bars, name)
    features.trend_features(n, work, p, row)
    closes, pcts = bars.close.tolist(), plain_atr_pcts(bars, 14)
    now, then = statistics.fmean(closes[-50:]), statistics.fmean(closes[-60:-10])
    slope = (now - then) / then * 100
    median = statistics.median(pcts[-120:]) if len(pcts) >= 120 else math.nan
    assert row["sma_fast"] == pytest.approx(statistics.fmean(closes[-20:]), rel=1e-13)
    assert row["sma_slow"] == pytest.approx(now, rel=1e-13)
    assert row["atr_pct"] == pytest.approx(pcts[-1], rel=1e-12)
    assert row["atr_median"] == pytest.approx(median, rel=1e-12, nan_ok=True)
    ratio = pcts[-1] / median if n >= 133 else 1.0
    adx = textbook_adx(bars, 14)
    score = 2 * slope + 0.7 * math.copysign(adx, slope) - 10 * ratio
    assert row["trend_score"] == pytest.approx(score, rel=1e-10)
    short = features.trend_score(row["slow_slope_pct"], row["adx"], row["atr_pct"], row["atr_median"], -1.0, p)
    assert short == pytest.approx(-2 * slope - 0.7 * math.copysign(adx, slope) - 10 * ratio, rel=1e-10)


@pytest.mark.parametrize("back", range(6))
def test_weeks_end_on_friday_and_the_running_week_counts(back: int) -> None:
    bars = walk(3, 260, end=last_session() - back)
    closes: dict[tuple[int, int], float] = {}
    for session, close in zip(bars.session, bars.close, strict=True):
        date = int(sessions()[session]["date"])
        iso = datetime.date(date // 10_000, date // 100 % 100, date % 100).isocalendar()
        closes[iso.year, iso.week] = float(close)
    weekly = list(closes.values())
    fast, slow = features.weekly_means(260, bars.session, bars.close, sessions(), 10, 40)
    assert fast == pytest.approx(statistics.fmean(weekly[-10:]), rel=1e-13)
    assert slow == pytest.approx(statistics.fmean(weekly[-40:]), rel=1e-13)
    unknown = features.weekly_means(260, bars.session, bars.close, sessions(), 10, len(weekly) + 1)
    assert all(map(math.isnan, unknown))


def test_rounding_is_half_to_even_on_the_exact_float() -> None:
    assert [rounded(x, 2) for x in (0.125, 0.375, 2.675, 1.005, -0.125)] == [0.12, 0.38, 2.67, 1.0, -0.12]
    assert math.copysign(1.0, rounded(-0.001, 2)) == 1.0


def test_ranks_among_candidates() -> None:
    assert zscores([1.0, 3.0]) == [-1.0, 1.0]
    assert zscores([2.0, 2.0]) == [0.0, 0.0]
    assert percentiles([5.0, 1.0, 3.0, 3.0]) == [100.0, 25.0, 62.5, 62.5]
    scores = np.array([1.0, 3.0, 2.0, math.nan, 9.0])
    assert sector_ranks(["b", "b", "a", "c", ""], scores) == {"a": 1, "b": 2, "c": 3}
