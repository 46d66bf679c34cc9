"""Which line wins, and why the others fall, on lines set by hand."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

from avwapd.core.daily import FELL_WORDS, PICK, SCAN, TIERS, work_space
from avwapd.core.daily_pick import LINE, RUN, THEN, best_line, judge_line, write_levels
from avwapd.core.daily_scan import tier_of
from avwapd.settings import scan_params
from tests.scan.market import defaults


class Line(NamedTuple):
    """A line's value now and five bars ago; closes in a row beyond it."""

    now: float
    then: float
    run: float = 0.0


def judged(
    lines: list[Line], close: float = 100.0, before: float = 100.0, side: int = 1, score: float = 0.0, **changes: Any
) -> Any:
    """PICK of a window of 20 bars with these lines in the default order of kinds: YTD, Gap, VolBreakout, MTD, …"""
    p = scan_params(defaults())[0]
    for name, value in changes.items():
        p[name] = value
    work, row, pick = work_space(500), np.zeros(1, SCAN)[0], np.zeros(1, PICK)[0]
    work.close[18], work.close[19] = before, close
    row["anchor_count"] = len(lines)
    for a, line in enumerate(lines):
        row["anchor_kind"][a] = a
        work.starts[a] = 3
        work.lines[LINE, a], work.lines[THEN, a], work.lines[RUN, a] = line
    pick["trend_score"] = score
    best_line(20, side, p, work, row, pick)
    return pick


def why(pick: Any) -> str:
    return FELL_WORDS[pick["reason"]]


def test_priority_less_distance_plus_bonuses() -> None:
    flat = [Line(96.0, 96.0), Line(96.0, 96.0)]
    distance = 4.0 / 96.0 * 100.0
    pick = judged(flat, score=7.0)
    assert (pick["anchor"], pick["confluence"]) == (0, 2)
    assert pick["score"] == pytest.approx(100.0 + 1.5 * 7.0 - distance)
    near = judged([Line(96.0, 96.0), Line(99.0, 99.0)])  # a Gap 1% away beats a YTD 4% away
    assert near["anchor"] == 1
    assert near["score"] == pytest.approx(90.0 - 100.0 / 99.0 + 50.0)
    assert near["confluence"] == 1
    reclaimed = judged([Line(96.0, 96.0), Line(97.0, 97.0)], before=96.5)
    assert reclaimed["anchor"] == 1
    assert reclaimed["score"] == pytest.approx(90.0 - 300.0 / 97.0 + 40.0)
    assert (reclaimed["reclaim"], reclaimed["control"]) == (1, 1)


@pytest.mark.parametrize(("distance", "near"), [(0.0999, False), (0.1001, True), (1.4999, True), (1.5001, False)])
def test_near_reaches_from_a_tenth_to_one_and_a_half(distance: float, near: bool) -> None:
    line = 100.0 / (1.0 + distance / 100.0)
    assert judged([Line(line, line)])["score"] == pytest.approx(100.0 - distance + (50.0 if near else 0.0))


def test_a_tie_goes_to_the_higher_priority() -> None:
    equal = judged([Line(96.0, 96.0), Line(96.0, 96.0)], anchor_priorities=np.full(32, 10.0))
    assert equal["anchor"] == 0


@pytest.mark.parametrize(
    ("line", "then", "before", "side", "reason"),
    [
        (100.0, 100.0, 100.0, 1, "wrong_side"),  # on the line is not beyond it
        (100.1, 100.1, 100.0, 1, "wrong_side"),
        (99.9, 99.9, 100.0, 1, ""),
        (99.9, 99.9, 100.0, -1, "wrong_side"),
        (95.1, 100.0, 100.0, 1, ""),  # falls by 4.9%
        (94.9, 100.0, 100.0, 1, "avwap_slope"),  # 5.1%
        (94.9, 100.0, 94.9, 1, ""),  # but the close before was on it
        (102.9, 100.0, 100.0, -1, ""),
        (103.1, 100.0, 100.0, -1, "avwap_slope"),
        (103.1, 100.0, 103.1, -1, ""),
        (92.7, 92.7, 100.0, 1, ""),
        (92.5, 92.5, 100.0, 1, "distance"),
        (108.6, 108.6, 100.0, -1, ""),
        (108.8, 108.8, 100.0, -1, "distance"),
        (99.0, math.nan, 100.0, 1, "no_anchor"),
        (math.nan, math.nan, 100.0, 1, "no_anchor"),
    ],
)
def test_what_is_kept(line: float, then: float, before: float, side: int, reason: str) -> None:
    pick = judged([Line(line, then)], before=before, side=side)
    assert why(pick) == reason
    if not reason:
        assert pick["distance_pct"] == pytest.approx(side * (100.0 - line) / line * 100.0)
        assert pick["slope"] == pytest.approx((line - then) / then)


def test_the_line_that_came_furthest_tells_why() -> None:
    pick = judged([Line(100.5, 100.5), Line(90.0, 90.0), Line(101.0, 101.0)])
    assert why(pick) == "distance"
    assert (pick["value"], pick["limit"]) == (pytest.approx(1000.0 / 90.0), 8.0)
    young = judged([Line(99.0, math.nan)])
    assert (why(young), young["value"], young["limit"]) == ("no_anchor", 17.0, 6.0)
    assert judged([])["value"] == 0.0


def test_confluence_counts_kept_lines_within_one_percent_of_the_winner() -> None:
    lines = [
        Line(99.0, 99.0),
        Line(98.1, 98.1),
        Line(97.9, 97.9),
        Line(99.9, 99.9),
        Line(99.95, 110.0),
        Line(100.1, 100),
    ]
    pick = judged(lines)  # the fifth falls too fast, the sixth lies above the close
    assert (pick["anchor"], pick["confluence"]) == (0, 3)


def test_labels_of_the_winner() -> None:
    p = {"control": [], "acceptance": []}
    for run, line in ((3.0, 99.0), (2.0, 99.81), (1.0, 99.79)):
        pick = judged([Line(line, line, run)])
        p["control"].append(int(pick["control"]))
        p["acceptance"].append(int(pick["acceptance"]))
    assert p == {"control": [1, 0, 1], "acceptance": [1, 0, 0]}
    short = judged([Line(101.0, 101.0, -3.0)], before=101.0, side=-1)
    assert (short["control"], short["acceptance"], short["reclaim"]) == (-1, -1, -1)


def level(side: int, **features: float) -> float:
    p, row, pick = scan_params(defaults())[0], np.zeros(1, SCAN)[0], np.zeros(1, PICK)[0]
    for name in ("swing_low", "swing_high"):
        row[name] = math.nan
    row["atr"] = 0.1
    for name, value in features.items():
        row[name] = value
    pick["line"] = 100.0
    write_levels(side, p, row, pick)
    return float(pick["stop"])


def test_the_stop_is_the_widest() -> None:
    assert level(1) == pytest.approx(98.5)
    assert level(1, atr=2.0) == pytest.approx(98.0)
    assert level(1, swing_low=97.0) == pytest.approx(97.0 * 0.995)
    assert level(1, swing_low=120.0) == pytest.approx(98.5)  # a swing above the entry is none
    assert level(-1) == pytest.approx(101.5)
    assert level(-1, atr=2.0) == pytest.approx(102.0)
    assert level(-1, swing_high=103.0) == pytest.approx(103.0 * 1.005)
    assert level(-1, swing_high=80.0) == pytest.approx(101.5)


def test_a_line_of_no_value_is_never_kept() -> None:
    p = scan_params(defaults())[0]
    assert FELL_WORDS[judge_line(0.0, 1.0, 100.0, 100.0, 1, p)[0]] == "no_anchor"


@pytest.mark.parametrize(
    ("close", "fast", "slow", "slope", "tier"),
    [
        (101.0, 100.0, 100.0, -1.0, "A"),
        (101.0, 100.0, 100.5, 1.0, "B"),
        (101.0, 100.0, 100.5, 0.0, ""),
        (100.0, 100.0, 99.0, 1.0, "B"),
        (100.0, 100.0, 100.0, 1.0, ""),
    ],
)
def test_tiers_and_their_mirror(close: float, fast: float, slow: float, slope: float, tier: str) -> None:
    row = np.zeros(1, SCAN)[0]
    for side in (1, -1):
        for name, value in (("close", close), ("sma_fast", fast), ("sma_slow", slow)):
            row[name] = 100.0 + side * (value - 100.0)
        row["slow_slope_pct"] = side * slope
        assert TIERS[tier_of(side, row)] == tier
