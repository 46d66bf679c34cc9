"""Figures of an equity curve: worked by hand, and against a second way in plain fractions."""

from __future__ import annotations

import math
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwapd.research import ResearchError
from avwapd.research.portfolio import Calendar, Curve, Missing, by_session, measures, plain, quantiles
from avwapd.research.rolling import rolling, windows

YEAR = 252
DATES = [int((date(2020, 1, 1) + timedelta(days)).strftime("%Y%m%d")) for days in range(0, 4000, 2)]

values = st.floats(1.0, 1e6)
curves = st.lists(values, min_size=1, max_size=60)


def curve(*equity: float, base: float = 100.0) -> Curve:
    return Curve(np.array(DATES[: len(equity)], np.int64), np.array(equity, np.float64), base)


def close(got: Any, expected: Any) -> bool:
    return isinstance(got, float) and math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-12)


# ----------------------------------------------------------- worked by hand


def test_a_curve_worked_by_hand() -> None:
    """100, then 110, 99, 108.9, 130.68: returns +10%, -10%, +10%, +20% over six days."""
    got = measures(curve(110.0, 99.0, 108.9, 130.68), YEAR)
    spread = math.sqrt(((0.1 - 0.075) ** 2 * 2 + (-0.1 - 0.075) ** 2 + (0.2 - 0.075) ** 2) / 3)
    grown = 1.3068 ** (365.25 / 6) - 1
    assert close(got["total_return"], 0.3068)
    assert close(got["years"], 6 / 365.25)
    assert close(got["cagr"], grown)
    assert close(got["volatility"], spread * math.sqrt(252))
    assert close(got["sharpe"], 0.075 / spread * math.sqrt(252))
    assert close(got["sortino"], 0.075 / math.sqrt(0.01 / 4) * math.sqrt(252))
    assert close(got["max_drawdown"], 0.1)
    assert close(got["calmar"], grown / 0.1)
    assert close(got["best_session"], 0.2)
    assert close(got["worst_session"], -0.1)
    assert (got["first_date"], got["last_date"], got["sessions"]) == (20200101, 20200107, 4)


def test_a_drawdown_has_dates_and_a_length() -> None:
    got = measures(curve(120.0, 90.0, 96.0, 120.0, 119.0), YEAR)
    assert (got["max_drawdown"], got["drawdown_sessions"]) == (0.25, 3)
    found = got["drawdown_from"], got["drawdown_to"], got["drawdown_recovered"]
    assert found == (20200101, 20200103, 20200107)
    assert (got["longest_under_water"], got["under_water"]) == (2, 3 / 5)


def test_a_drawdown_from_the_start_that_never_ends() -> None:
    got = measures(curve(80.0, 50.0, 60.0), YEAR)
    assert (got["max_drawdown"], got["drawdown_from"], got["drawdown_to"]) == (0.5, None, 20200103)
    assert got["drawdown_recovered"] == Missing("not recovered")
    assert (got["drawdown_sessions"], got["longest_under_water"], got["under_water"]) == (3, 3, 1.0)


def test_the_last_of_equal_peaks_begins_a_drawdown() -> None:
    assert measures(curve(120.0, 110.0, 120.0, 60.0), YEAR)["drawdown_from"] == 20200105


def test_a_riskless_return_is_taken_off() -> None:
    free = 1.01**252 - 1.0  # 1% a session
    plainly, after = (measures(curve(110.0, 99.0, 108.9), YEAR, rate) for rate in (0.0, free))
    spread = after["volatility"] / math.sqrt(252)  # type: ignore[operator]
    assert close(after["sharpe"], (0.1 / 3 - 0.01) / spread * math.sqrt(252))
    assert close(after["sortino"], (0.1 / 3 - 0.01) / math.sqrt(0.11**2 / 3) * math.sqrt(252))
    assert after["volatility"] == plainly["volatility"]


def test_a_year_of_crypto_is_longer() -> None:
    bell, always = (measures(curve(110.0, 99.0, 108.9), year) for year in (252, 365))
    assert close(always["sharpe"], bell["sharpe"] * math.sqrt(365 / 252))  # type: ignore[operator]
    assert always["cagr"] == bell["cagr"]


# ------------------------------------------------------------ what is missing


@pytest.mark.parametrize(
    ("equity", "missing"),
    [
        ((), {"total_return": "no session", "cagr": "no session", "max_drawdown": "no session"}),
        ((110.0,), {"cagr": "fewer than 2 sessions", "sharpe": "fewer than 2 sessions", "calmar": "fewer than 2"}),
        ((100.0, 100.0), {"sharpe": "all sessions return the same", "sortino": "no session fell short"}),
        ((110.0, 121.0, 133.1, 146.41), {"sharpe": "all sessions return the same", "calmar": "no drawdown"}),
        ((90.0, 81.0, 72.9), {"sharpe": "all sessions return the same", "drawdown_recovered": "not recovered"}),
        ((100.00000000000001, 100.0), {"sharpe": "all sessions", "sortino": "no session fell short"}),
        ((110.0, 130.0), {"sortino": "no session fell short", "drawdown_from": "no drawdown"}),
        ((110.0, 0.0), {"cagr": "equity fell to zero", "sharpe": "equity fell to zero", "calmar": "equity fell"}),
        ((110.0, -20.0, 130.0), {"volatility": "equity fell to zero or below"}),
        ((200.0, 1e5), {"cagr": "too short for a year's rate", "calmar": "too short"}),
    ],
)
def test_what_is_not_defined_says_why(equity: tuple[float, ...], missing: dict[str, str]) -> None:
    said = plain(measures(curve(*equity), YEAR))
    for name, why in missing.items():
        assert said[name] is None, name
        assert said["undefined"][name].startswith(why), name
    for name, value in said.items():
        assert not isinstance(value, float) or math.isfinite(value), name


def test_a_steady_fall_has_a_sortino() -> None:
    assert close(measures(curve(90.0, 81.0), YEAR)["sortino"], -math.sqrt(252))


def test_every_curve_has_the_same_figures() -> None:
    whole = set(plain(measures(curve(110.0, 99.0, 108.9), YEAR)))
    for equity in ((), (110.0,), (100.0, 100.0), (110.0, -1.0)):
        assert set(plain(measures(curve(*equity), YEAR))) | {"start_equity"} == whole, equity


@pytest.mark.parametrize(
    ("dates", "equity", "base"),
    [
        ([20200101], [1.0, 2.0], 1.0),
        ([20200101], [math.nan], 1.0),
        ([20200101], [1.0], 0.0),
        ([20200101], [1.0], math.inf),
        ([20200102, 20200102], [1.0, 1.0], 1.0),
    ],
)
def test_what_is_no_curve_is_refused(dates: list[int], equity: list[float], base: float) -> None:
    with pytest.raises(ResearchError, match="equity curve"):
        Curve(np.array(dates), np.array(equity), base)


# --------------------------------------------------------- a second way, exact


def second_way(equity: list[float], base: float, year: int) -> dict[str, float]:
    """The same definitions in rational numbers, one session after the other."""
    money = [Fraction(base), *map(Fraction, equity)]
    returns = [after / before - 1 for before, after in pairwise(money)]
    mean = sum(returns, Fraction(0)) / len(returns)
    deepest = Fraction(0)
    wet = longest = run = 0
    for i, value in enumerate(money):
        peak = max(money[: i + 1])
        deepest = max(deepest, 1 - value / peak)
        run = run + 1 if value < peak else 0
        wet, longest = wet + (value < peak), max(longest, run)
    variance = sum(((r - mean) ** 2 for r in returns), Fraction(0)) / max(len(returns) - 1, 1)
    short = sum((r * r for r in returns if r < 0), Fraction(0)) / len(returns)
    return {
        "total_return": float(money[-1] / money[0] - 1),
        "max_drawdown": float(deepest),
        "under_water": wet / len(equity),
        "longest_under_water": longest,
        "volatility": math.sqrt(variance * year),
        "sharpe": float(mean) / math.sqrt(variance) * math.sqrt(year) if variance else math.nan,
        "sortino": float(mean) / math.sqrt(short) * math.sqrt(year) if short else math.nan,
    }


@given(equity=curves, base=values)
def test_the_figures_equal_a_second_way(equity: list[float], base: float) -> None:
    got, expected = measures(curve(*equity, base=base), YEAR), second_way(equity, base, YEAR)
    for name, value in expected.items():
        found = got[name]
        if isinstance(found, Missing):
            assert math.isnan(value) or len(equity) < 2 or expected["volatility"] < 1e-12 or name == "sortino", name
        else:
            assert math.isclose(found, value, rel_tol=1e-6, abs_tol=1e-9), name  # type: ignore[arg-type]


@given(equity=curves, base=values, power=st.integers(-20, 20))
def test_scaled_money_leaves_every_ratio(equity: list[float], base: float, power: int) -> None:
    factor = 2.0**power
    one, other = (
        measures(curve(*equity, base=base), YEAR),
        measures(curve(*(value * factor for value in equity), base=base * factor), YEAR),
    )
    for name in set(one) - {"start_equity", "end_equity"}:
        assert one[name] == other[name], name


@given(equity=curves, base=values)
def test_a_drawdown_lies_between_0_and_1(equity: list[float], base: float) -> None:
    got = measures(curve(*equity, base=base), YEAR)
    assert 0.0 <= got["max_drawdown"] < 1.0  # type: ignore[operator]
    assert 0.0 <= got["under_water"] <= 1.0  # type: ignore[operator]
    assert got["longest_under_water"] <= got["sessions"]  # type: ignore[operator]


@given(equity=st.lists(values, min_size=2, max_size=40), base=values)
def test_a_flat_session_changes_no_end_and_no_drawdown(equity: list[float], base: float) -> None:
    before, after = (measures(curve(*part, base=base), YEAR) for part in (equity, [*equity, equity[-1]]))
    for name in ("total_return", "max_drawdown", "drawdown_from", "drawdown_to", "end_equity"):
        assert before[name] == after[name], name
    assert after["years"] > before["years"]  # type: ignore[operator]


# ------------------------------------------------------------ sessions, windows


def calendar(*ends: int) -> Calendar:
    opens = np.array([0, *ends[:-1]], np.int64)
    return Calendar(np.array(DATES[: len(ends)], np.int64), opens, np.array(ends, np.int64), False)


def test_a_session_has_the_last_value_at_or_before_its_end() -> None:
    changes = np.array([15, 20, 21, 45, 60], np.int64), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    got = by_session(*changes, 9.0, calendar(10, 20, 30, 40, 50))
    assert got.equity.tolist() == [9.0, 2.0, 3.0, 3.0, 5.0]  # what came behind the last bell counts with it
    assert by_session(changes[0][:0], changes[1][:0], 9.0, calendar(10, 20)).equity.tolist() == [9.0, 9.0]


def test_a_moment_belongs_to_the_session_that_ends_at_or_after_it() -> None:
    assert calendar(10, 20, 30).index([1, 10, 11, 30, 31]).tolist() == [0, 0, 1, 2, 2]


def test_windows_end_with_the_newest_session() -> None:
    assert windows(10, 4, 3) == [(0, 4), (3, 7), (6, 10)]
    assert windows(9, 4, 3) == [(2, 6), (5, 9)]
    assert windows(3, 4, 3) == []
    with pytest.raises(ResearchError):
        windows(3, 2, 0)


def test_a_window_is_a_curve_of_its_own() -> None:
    whole = curve(110.0, 99.0, 108.9, 130.68, 120.0)
    found = rolling(whole, 2, 1, YEAR)
    assert [w["first_date"] for w in found] == [20200101, 20200103, 20200105, 20200107]
    assert found[2] == measures(Curve(whole.dates[2:4], whole.equity[2:4], 99.0), YEAR)
    assert rolling(whole, 5, 1, YEAR) == [measures(whole, YEAR)]
    assert rolling(whole, 6, 1, YEAR) == []


def test_a_window_on_lost_money_is_left_out() -> None:
    found = rolling(curve(50.0, -1.0, 20.0, 30.0), 2, 1, YEAR)
    assert [w["last_date"] for w in found] == [20200103, 20200105]


@given(numbers=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), q=st.floats(0, 1))
def test_quantiles_are_numpys(numbers: list[float], q: float) -> None:
    assert quantiles(numbers, [q])[0] == pytest.approx(float(np.quantile(numbers, q)), rel=1e-9, abs=1e-9)
