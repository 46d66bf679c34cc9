"""Every rule of the door, for a file's columns and for a live bar alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.core.records import BAR
from avwapd.feeds import check
from avwapd.feeds.calendar import daily_stamps

START, STEP = 1_600_000_200_000, 300_000
GOOD = (10.0, 11.0, 9.0, 10.5, 100.0)
NAMES = ("open", "high", "low", "close", "volume")


def columns(rows: list[tuple[int, tuple[float, ...]]]) -> dict[str, np.ndarray[Any, Any]]:
    values = np.array([row[1] for row in rows], dtype=np.float64).reshape(-1, 5)
    return {"ts_ms": np.array([row[0] for row in rows], dtype=np.int64)} | dict(zip(NAMES, values.T, strict=True))


def changed(**values: float) -> tuple[float, ...]:
    return tuple(values.get(name, good) for name, good in zip(NAMES, GOOD, strict=True))


BROKEN = [
    (START, changed(close=math.nan), check.NOT_FINITE),
    (START, changed(volume=math.nan), check.NOT_FINITE),
    (START, changed(high=math.inf), check.NOT_FINITE),
    (START, changed(low=-math.inf), check.NOT_FINITE),
    (START, changed(volume=math.inf), check.NOT_FINITE),
    (START, changed(low=0.0), check.NOT_POSITIVE),
    (START, changed(open=-1.0), check.NOT_POSITIVE),
    (START, changed(high=8.0, low=9.0), check.HIGH_BELOW_LOW),
    (START, changed(close=11.5), check.OUTSIDE_RANGE),
    (START, changed(open=8.5), check.OUTSIDE_RANGE),
    (START, changed(volume=-1.0), check.NEGATIVE_VOLUME),
    (START // 1000, changed(), check.IMPLAUSIBLE_TIME),
    (-START, changed(), check.IMPLAUSIBLE_TIME),
    (START + 1, changed(), check.OFF_BOUNDARY),
    (START + 60_000, changed(), check.OFF_BOUNDARY),
    (START + 9 * STEP, changed(), check.FROM_FUTURE),
]


@pytest.mark.parametrize(("ts_ms", "values", "reason"), BROKEN)
def test_a_broken_bar_is_refused_by_name_among_good_ones(ts_ms: int, values: tuple[float, ...], reason: str) -> None:
    rows = [(START - STEP, GOOD), (ts_ms, values), (START + STEP, GOOD)]
    checked = check.check_bars(columns(rows), timeframe_ms=STEP, now_ms=START + STEP)
    assert checked.kept.tolist() == [0, 2]
    assert checked.refused == [check.Refusal(1, ts_ms, reason)]
    assert checked.counts == {reason: 1}
    live: Any = values
    assert check.check_bar(ts_ms, live, timeframe_ms=STEP, now_ms=START + STEP) == reason
    assert reason in check.REASONS


def test_the_place_among_other_bars() -> None:
    other = changed(volume=7.0)
    rows = [
        (START, GOOD),
        (START + STEP, GOOD),
        (START + STEP, GOOD),
        (START + STEP, other),
        (START, other),
        (START - STEP, GOOD),
        (START + 2 * STEP, GOOD),
    ]
    checked = check.check_bars(columns(rows), timeframe_ms=STEP)
    assert checked.kept.tolist() == [0, 1, 6]
    assert [refusal.reason for refusal in checked.refused] == [
        check.DUPLICATE_SAME,
        check.DUPLICATE_DIFFERENT,
        check.DUPLICATE_DIFFERENT,
        check.OUT_OF_ORDER,
    ]
    last = (START + STEP, GOOD)
    expected = {1: check.DUPLICATE_SAME, 3: check.DUPLICATE_DIFFERENT, 5: check.OUT_OF_ORDER, 6: ""}
    for row, reason in expected.items():
        live: Any = rows[row][1]
        assert check.check_bar(rows[row][0], live, timeframe_ms=STEP, last=last) == reason  # type: ignore[arg-type]


def test_a_refused_bar_is_no_bar_before() -> None:
    rows = [(START + 9 * STEP, GOOD), (START, changed(low=0.0)), (START, GOOD)]
    checked = check.check_bars(columns(rows), timeframe_ms=STEP, now_ms=START)
    assert checked.kept.tolist() == [2]


def test_records_are_checked_like_columns_and_nothing_is_nothing() -> None:
    bars = np.zeros(2, BAR)
    bars["ts_ms"] = START, START + STEP
    for name, value in zip(NAMES, GOOD, strict=True):
        bars[name] = value
    assert check.check_bars(bars, timeframe_ms=STEP).kept.tolist() == [0, 1]
    assert len(check.check_bars(bars[:0], timeframe_ms=STEP).kept) == 0


def test_daily_bars_carry_four_in_new_york_or_midnight() -> None:
    half_day, holiday, monday = (
        1_448_658_000_000,
        1_448_571_600_000,
        1_448_917_200_000,
    )  # 2015-11-27, -26, -30
    stamps = daily_stamps("XNYS", half_day, monday)
    rows = [(ts, GOOD) for ts in (holiday, half_day, half_day + 86_400_000, monday, monday + 3_600_000)]
    checked = check.check_bars(columns(rows), timeframe_ms=86_400_000, stamps=stamps)
    assert checked.kept.tolist() == [1, 3]
    assert checked.counts == {check.OFF_BOUNDARY: 3}
    values: Any = GOOD
    assert check.check_bar(half_day, values, timeframe_ms=86_400_000, stamps=stamps) == ""
    assert check.check_bar(holiday, values, timeframe_ms=86_400_000, stamps=stamps) == check.OFF_BOUNDARY
    assert check.check_bar(86_400_000 * 9000, values, timeframe_ms=86_400_000) == ""


odd_floats = st.sampled_from([math.nan, math.inf, -1.0, 0.0, 1.0, 2.0, 2.0, 3.0, 3.0])
some_rows = st.lists(
    st.tuples(st.integers(-1, 6).map(lambda n: START + n * STEP // 2), st.tuples(*[odd_floats] * 5)),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(some_rows)
def test_one_by_one_gives_what_all_at_once_gives(rows: list[tuple[int, Any]]) -> None:
    checked = check.check_bars(columns(rows), timeframe_ms=STEP, now_ms=START + 2 * STEP)
    seen: dict[int, Any] = {}
    verdicts = []
    for ts_ms, values in rows:
        last = (max(seen), seen[max(seen)]) if seen else None
        reason = check.check_bar(ts_ms, values, timeframe_ms=STEP, now_ms=START + 2 * STEP, last=last)
        if reason == check.OUT_OF_ORDER and ts_ms in seen:  # a file remembers all its bars, a feed the newest
            reason = check.DUPLICATE_SAME if seen[ts_ms] == values else check.DUPLICATE_DIFFERENT
        if not reason:
            seen[ts_ms] = values
        verdicts.append(reason)
    assert [r.reason for r in checked.refused] == [reason for reason in verdicts if reason]
    assert checked.kept.tolist() == [row for row, reason in enumerate(verdicts) if not reason]
