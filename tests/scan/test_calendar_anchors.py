"""Anchors of the calendar: right over holidays and on first sessions, and never simply the first bar loaded."""

from __future__ import annotations

import datetime
from bisect import bisect_left
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.scan import anchor_market as market
from tests.scan.anchor_market import at, calendar, locate, walk

P = market.params()
KINDS = ("YTD", "QTD", "MTD", "WTD")


def ending(date: int, count: int = 500) -> Any:
    """`count` bars without holes, the last on `date`."""
    return walk(1, at(date) - count + 1, count)


def anchored(kind: str, bars: Any, begins: bool = False) -> int | None:
    """The date an anchor lies on, None where it is unknown."""
    index = locate(kind, bars, P, begins)
    return dates()[bars.session[index]] if index >= 0 else None


@cache
def first_of(kind: str, date: int) -> int:
    """The first session of the period of a date, from the dates alone."""
    today = datetime.date(date // 10_000, date // 100 % 100, date % 100)
    start = {
        "YTD": today.replace(month=1, day=1),
        "QTD": today.replace(month=(today.month - 1) // 3 * 3 + 1, day=1),
        "MTD": today.replace(day=1),
        "WTD": today - datetime.timedelta(days=today.weekday()),
    }[kind]
    return dates()[bisect_left(dates(), start.year * 10_000 + start.month * 100 + start.day)]


@cache
def dates() -> list[int]:
    found: list[int] = calendar()["date"].tolist()
    return found


@pytest.mark.parametrize(
    ("date", "first"),
    [
        (20010102, 20010102),  # New Year on a Monday
        (20030102, 20030102),  # on a Wednesday
        (20040105, 20040102),  # on a Thursday
        (20050103, 20050103),  # on a Saturday: nothing is made up for
        (20060103, 20060103),  # on a Sunday: Monday is off
        (20070103, 20070103),  # 2 January 2007 closed for President Ford's funeral
        (20070104, 20070103),
        (20071231, 20070103),
        (20100104, 20100104),
        (20120103, 20120103),
        (20121231, 20120103),
        (20130102, 20130102),
        (20220103, 20220103),  # 31 December 2021 traded
        (20240102, 20240102),
    ],
)
def test_the_year_begins_with_its_first_session(date: int, first: int) -> None:
    assert anchored("YTD", ending(date)) == first


@pytest.mark.parametrize(
    ("date", "first"),
    [
        (20010904, 20010904),  # after Labor Day
        (20010910, 20010904),
        (20010917, 20010904),  # the first session after four closed days
        (20011001, 20011001),
        (20070103, 20070103),
        (20121029 - 3, 20121001),  # the Friday before two days closed for a storm
        (20121031, 20121001),
        (20121101, 20121101),
        (20090601, 20090601),
        (20130401, 20130401),  # after Good Friday and the quarter's end
        (20240603, 20240603),  # 1 June was a Saturday
        (20240628, 20240603),
    ],
)
def test_the_month_begins_with_its_first_session(date: int, first: int) -> None:
    assert anchored("MTD", ending(date)) == first


@pytest.mark.parametrize(
    ("kind", "date", "first"),
    [
        ("WTD", 20010917, 20010917),
        ("WTD", 20010910, 20010910),
        ("WTD", 20240903, 20240903),  # Monday was Labor Day
        ("WTD", 20240906, 20240903),
        ("WTD", 20250102, 20241230),  # a week over New Year
        ("QTD", 20010917, 20010702),
        ("QTD", 20130401, 20130401),
        ("QTD", 20130628, 20130401),
        ("QTD", 20070330, 20070103),
        ("QTD", 20241231, 20241001),
    ],
)
def test_week_and_quarter_begin_with_their_first_sessions(kind: str, date: int, first: int) -> None:
    assert anchored(kind, ending(date)) == first


@pytest.mark.parametrize("kind", KINDS)
def test_every_session_of_thirty_years_agrees_with_the_dates(kind: str) -> None:
    bars = ending(20201231, 7_560)
    firsts = set()
    for n in range(300, len(bars.session) + 1):
        index = locate(kind, bars, P, n=n)
        first = first_of(kind, dates()[bars.session[n - 1]])
        assert dates()[bars.session[index]] == first
        firsts.add(first)
    assert len(firsts) >= 28


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_first_session_of_a_period_the_anchor_is_the_newest_bar(kind: str) -> None:
    bars = ending(20201231, 2_000)
    firsts = 0
    for n in range(400, len(bars.session) + 1):
        now, before = (dates()[bars.session[i]] for i in (n - 1, n - 2))
        begins = first_of(kind, now) != first_of(kind, before)
        assert (locate(kind, bars, P, n=n) == n - 1) == begins
        firsts += begins
    assert firsts >= 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("begins", [False, True])
def test_with_more_or_fewer_bars_the_anchor_is_the_same_or_unknown(kind: str, begins: bool) -> None:
    whole = ending(20190712, 5_600)
    unknown = same = 0
    for last in range(5_000, 5_600, 7):
        long = whole.part(last - 5_000, last)
        expected = anchored(kind, long)
        assert expected is not None
        for count in (1, 2, 5, 20, 21, 22, 63, 100, 252, 500):
            bars = whole.part(last - count, last)
            found = anchored(kind, bars, begins)
            assert found in (None, expected)
            first = dates()[bars.session[0]]
            assert (found is None) == (first > expected)
            unknown += found is None
            same += found is not None
    assert same > 100
    assert unknown > (50 if kind != "WTD" else 10)


def test_a_symbol_listed_in_the_middle_of_a_year_has_no_anchor_before_it() -> None:
    listed = at(20120518)  # a Friday
    bars = walk(3, listed, 300)

    def on(date: int, kind: str) -> int | None:
        return anchored(kind, bars.part(0, at(date) - listed + 1), begins=True)

    assert [on(20120518, kind) for kind in KINDS] == [None] * 4
    assert on(20120521, "WTD") == 20120521
    assert on(20120531, "MTD") is None
    assert on(20120601, "MTD") == 20120601
    assert on(20120629, "QTD") is None
    assert on(20120702, "QTD") == 20120702
    assert on(20121231, "YTD") is None
    assert on(20130102, "YTD") == 20130102


@pytest.mark.parametrize("kind", ["YTD", "QTD", "MTD"])
def test_a_symbol_listed_on_the_first_session_is_anchored_there(kind: str) -> None:
    listed = walk(4, at(20120103), 15)
    assert locate(kind, listed, P) == 0
    late = walk(4, at(20120104), 15)
    assert locate(kind, late, P) == -1


@pytest.mark.parametrize("kind", ["YTD", "QTD", "MTD"])
def test_a_symbol_halted_on_the_first_session_is_anchored_on_its_next_bar(kind: str) -> None:
    whole = walk(5, at(20111220), 25)
    halted = [i for i, s in enumerate(whole.session) if not at(20120103) <= s <= at(20120105)]
    bars = type(whole)(*(column[halted] for column in whole))
    assert anchored(kind, bars) == 20120106
    first = int(np.flatnonzero(bars.session == at(20120106))[0])
    assert anchored(kind, bars.part(first - 1, len(halted))) == 20120106
    assert anchored(kind, bars.part(first, len(halted))) is None


def test_the_calendars_own_first_session_may_not_be_a_periods_first() -> None:
    bars = walk(6, 0, 10)
    assert [locate(kind, bars, P) for kind in ("YTD", "QTD", "MTD")] == [-1] * 3
    assert locate("WTD", bars, P) == bars.session.tolist().index(at(19700112))


@pytest.mark.parametrize("kind", ["Earnings", "User"])
def test_a_named_date_lies_on_the_first_bar_from_it_on(kind: str) -> None:
    bars = walk(7, at(20120103), 60)
    kept = [i for i in range(60) if i not in (20, 21)]
    holes = type(bars)(*(column[kept] for column in bars))
    day = int(bars.session[20])
    assert locate(kind, bars, P, given=day) == 20
    assert holes.session[locate(kind, holes, P, given=day)] == day + 2
    assert locate(kind, bars, P, given=int(bars.session[0])) == 0
    assert locate(kind, bars, P, given=int(bars.session[0]) - 1) == -1
    assert locate(kind, bars, P, given=int(bars.session[-1])) == 59
    assert locate(kind, bars, P, given=int(bars.session[-1]) + 1) == -1
    assert locate(kind, bars, P) == -1
