"""What is remembered of days, by hand: ATR, swings, the five-day floor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from avwapd.core import indicator
from avwapd.core.records import STATE
from tests.core import market
from tests.core.desk import Desk


def days(*rows: tuple[float, float, float]) -> Any:
    """A state after complete days of (high, low, close)."""
    states = np.zeros(1, STATE)
    for high, low, close in rows:
        indicator.push_day(states[0], high, low, close)
    return states[0]


def test_atr_is_the_mean_of_fourteen_true_ranges() -> None:
    """The first true range is high - low; a gap counts from the close before."""
    flat = [(11.0, 10.0, 10.0)] * 13
    assert math.isnan(days(*flat)["atr"])
    assert days(*flat, (25.0, 24.0, 24.0))["atr"] == pytest.approx((13 * 1.0 + 15.0) / 14, rel=1e-15)
    assert days(*flat, (25.0, 24.0, 24.0), (24.5, 24.0, 24.0))["atr"] == pytest.approx((12 + 15 + 0.5) / 14, rel=1e-15)


def test_the_swing_is_the_newest_low_below_both_neighbours_of_twenty_days() -> None:
    lows = (5.0, 4.0, 5.0, 4.5, 5.0, 4.0)
    st = days(*((low + 2, low, low + 1) for low in lows))
    assert (st["swing_low"], st["swing_high"]) == (4.5, 7.0)
    st = days((7, 5, 6), (6, 4, 5), *[(7, 5, 6)] * 17)
    assert st["swing_low"] == 4.0
    st = days((7, 5, 6), (6, 4, 5), *[(7, 5, 6)] * 20)
    assert math.isnan(st["swing_low"])


def test_five_day_floor_and_ceiling() -> None:
    rows = [(10.0 + n, 8.0 + n, 9.0 + n) for n in range(5)]
    assert math.isnan(days(*rows[:4])["floor_low"])
    st = days(*rows)
    assert (st["floor_low"], st["ceiling_high"]) == (8.0, 14.0)


def test_days_are_aggregated_of_complete_sessions_only() -> None:
    desk = Desk()
    for session, missing in ((1, 0), (2, 10), (3, 0), (4, 0)):
        desk.skip_to(session, bar=missing)
        desk.bar(100.0 + session, 1.0, high=103.0 + session, low=99.0)
        desk.bar(101.0 + session, 1.0)
    st = desk.state
    assert st["day_count"] == 2  # the second lost its first bars, the fourth still runs
    assert st["day_highs"][:2].tolist() == [104.0, 106.0]
    assert st["day_closes"][:2].tolist() == [102.0, 104.0]


def test_daily_bars_are_days() -> None:
    table = market.bell_sessions()
    desk = Desk(market.equity(0, len(table), market.DAY_MS), table, timeframe_ms=market.DAY_MS)
    for n in range(3):
        desk.bar(10.0 + n, 1.0, ts_ms=int(table["close_ms"][n]))
    assert desk.state["day_count"] == 3
