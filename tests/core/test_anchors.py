"""Where lines begin, by example. Bars carry prices so plain that every level can be read off."""

from __future__ import annotations

import math

import numpy as np
import pytest

from avwapd.core.codes import BAR_LATE
from tests.core import market
from tests.core.desk import Desk

HOUR = 12  # five-minute bars
FRIDAY, MONDAY = 3, 4  # rows of a table that begins on Tuesday 2024-01-02


def whole_session(desk: Desk, session: int, price: float) -> None:
    """All of a session's bars at one price, one share each."""
    desk.skip_to(session)
    for _ in range(78):
        desk.bar(price, 1.0)


def test_a_session_line_begins_with_its_first_bar() -> None:
    desk = Desk()
    whole_session(desk, 1, 50.0)
    desk.bar(10.0, 2.0)
    desk.bar(13.0, 1.0)
    assert desk.level() == 11.0
    assert desk.state["avwap"][0]["anchor_ms"] == desk.table["open_ms"][2] + desk.timeframe_ms
    assert desk.state["avwap"][0]["known_ms"] == desk.state["avwap"][0]["anchor_ms"]


@pytest.mark.parametrize(
    ("kind", "first", "renewed"), [("week", MONDAY, {MONDAY}), ("session", 1, {1, 2, FRIDAY, MONDAY})]
)
def test_calendar_lines_begin_anew_with_their_period(kind: str, first: int, renewed: set[int]) -> None:
    desk = Desk(anchors=(kind,))
    begun = set()
    for session in range(1, MONDAY + 2):
        before = int(desk.state["avwap"][0]["anchor_ms"])
        desk.skip_to(session)
        desk.bar(10.0 + session, 1.0)
        if int(desk.state["avwap"][0]["anchor_ms"]) != before and session <= MONDAY:
            begun.add(session)
        known = session >= first
        assert math.isnan(desk.level()) != known
    assert begun == renewed


@pytest.mark.parametrize("kind", ["month", "year"])
def test_a_month_or_year_before_the_first_loaded_bar_is_unknown_until_the_next(kind: str) -> None:
    december = market.bell_sessions(market.JANUARY_MS - 12 * market.DAY_MS, 30)
    start = int(np.flatnonzero(december["date"] == 20240102)[0])
    desk = Desk(table=december, anchors=(kind,))
    desk.skip_to(1)
    row = desk.bar(10.0, 1.0)
    assert math.isnan(desk.level())
    assert row.skip == "features_invalid"
    for session in range(2, start):
        desk.skip_to(session)
        desk.bar(10.0, 1.0)
    assert math.isnan(desk.level())
    desk.skip_to(start)
    desk.bar(20.0, 1.0)
    assert desk.level() == 20.0


def test_the_first_loaded_bar_is_no_period_start_of_its_own() -> None:
    """Loaded from the second bar of a session on: the session's line stays unknown until the next session."""
    desk = Desk()
    desk.skip_to(1, bar=1)
    desk.bar(10.0, 1.0)
    desk.bar(10.0, 1.0)
    assert math.isnan(desk.level())
    desk.skip_to(2)
    desk.bar(30.0, 1.0)
    assert desk.level() == 30.0


@pytest.mark.parametrize(("lost", "known"), [(3, True), (4, False)])
def test_a_hole_at_the_start_of_a_period(lost: int, known: bool) -> None:
    """Three bars may be missing (a setting); with more the period's beginning was not seen."""
    desk = Desk(max_missing_bars=3)
    whole_session(desk, 1, 50.0)
    desk.skip_to(2, bar=lost)
    row = desk.bar(10.0, 1.0)
    assert math.isnan(desk.level()) != known
    assert (row.skip == "cadence_failed") != known
    desk.bar(10.0, 1.0)
    assert math.isnan(desk.level()) != known


def test_a_week_whose_first_session_was_lost_is_unknown() -> None:
    desk = Desk(anchors=("week",))
    whole_session(desk, MONDAY, 50.0)
    assert desk.level() == 50.0
    friday_after = MONDAY + 4
    desk.skip_to(friday_after + 2)  # Monday is a holiday: the table's next session begins the week; its second is next
    desk.bar(60.0, 1.0)
    assert math.isnan(desk.level())


def test_a_user_anchor_begins_with_the_first_bar_after_its_moment() -> None:
    table = market.bell_sessions()
    moment = int(table["open_ms"][1]) + 2 * 5 * market.MINUTE_MS
    desk = Desk(anchors=("session", "user"), from_ms=moment)
    desk.skip_to(1)
    desk.bar(10.0, 1.0)
    desk.bar(20.0, 1.0)
    assert math.isnan(desk.level(1))
    desk.bar(30.0, 1.0)
    desk.bar(40.0, 1.0)
    assert (desk.level(0), desk.level(1)) == (25.0, 35.0)
    desk.skip_to(2)
    desk.bar(50.0, 2.0)
    assert (desk.level(0), desk.level(1)) == (50.0, 42.5)


def test_a_user_anchor_before_the_first_bar_is_unknown() -> None:
    table = market.bell_sessions()
    desk = Desk(anchors=("session", "user"), from_ms=int(table["open_ms"][0]))
    desk.skip_to(1)
    desk.bars(10.0, 10.0, 10.0)
    assert math.isnan(desk.level(1))


def test_a_confirmed_swing_lies_k_bars_back_and_is_known_now() -> None:
    """Lows 10 9 8 9 10 with k = 2: at the fifth bar the third is a swing low; its line holds bars three to five."""
    desk = Desk(anchors=("session", "swing_low", "swing_high"), k=2)
    for price in (10.0, 9.0, 8.0, 9.0):
        desk.bar(price, 1.0)
        assert math.isnan(desk.level(1))
    desk.bar(13.0, 1.0)
    line = desk.state["avwap"][1]
    first = int(desk.table["open_ms"][0])
    assert desk.level(1) == 10.0
    assert line["anchor_ms"] == first + 3 * desk.timeframe_ms
    assert line["known_ms"] == first + 5 * desk.timeframe_ms
    desk.bar(14.0, 1.0)
    assert desk.level(1) == 11.0
    assert math.isnan(desk.level(2))
    desk.bar(12.0, 1.0)
    desk.bar(11.0, 1.0)
    assert desk.level(2) == pytest.approx((14 + 12 + 11) / 3, rel=1e-15)


def test_of_two_equal_lows_the_earlier_is_the_swing() -> None:
    desk = Desk(anchors=("session", "swing_low"), k=2)
    for price in (10.0, 9.0, 8.0, 8.0, 9.0, 10.0, 11.0):
        desk.bar(price, 1.0)
    assert desk.state["avwap"][1]["anchor_ms"] == int(desk.table["open_ms"][0]) + 3 * desk.timeframe_ms


def test_a_position_keeps_the_line_it_was_taken_on() -> None:
    desk = Desk()
    desk.entered()
    kept = desk.level(8)
    assert kept == desk.level(0)
    desk.skip_to(1)
    desk.bar(102.0, 500.0)
    assert desk.level(0) == 102.0
    assert 101.0 < desk.level(8) < 102.0
    assert desk.level(8) == pytest.approx((100 * 1000 + 102 * 1500) / 2500, rel=1e-12)


def test_late_bars_move_lines() -> None:
    desk = Desk()
    desk.bar(10.0, 1.0, flags=BAR_LATE)
    assert desk.level() == 10.0


def test_daily_bars_anchor_months_also_on_a_half_day() -> None:
    """A daily bar carries 16:00 on the half day after Thanksgiving, which closed at 13:00."""
    november = market.bell_sessions(1_730_419_200_000, 40)
    table = november[: int(np.flatnonzero(november["date"] == 20241204)[0]) + 1]
    instruments = market.equity(0, len(table), market.DAY_MS)
    desk = Desk(instruments, table, ("month",), market.DAY_MS)
    late = table["close_ms"] + np.where(table["date"] == 20241129, 3 * 60 * market.MINUTE_MS, 0)
    levels = {}
    for row, ts_ms in zip(table, late, strict=True):
        desk.bar(10.0 + row["month"] % 100, 1.0, ts_ms=int(ts_ms))
        levels[int(row["date"])] = desk.level()
    assert math.isnan(levels[20241129])
    assert (levels[20241202], levels[20241204]) == (22.0, 22.0)
    assert desk.state["bars_seen"] == len(table)
