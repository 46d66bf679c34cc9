"""The packaged calendar says what exchange_calendars says, and bars fall into the sessions they belong to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import exchange_calendars
import numpy as np
import pytest

from avwapd.feeds import FeedError, calendar, calendar_build


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def library() -> Any:
    return calendar_build.library_calendar("XNYS")


def test_every_session_equals_the_library(library: Any) -> None:
    table = calendar.sessions("XNYS", ms("1970-01-02"), ms("2035-12-31"))
    assert len(table) == len(library.sessions) > 16_000
    np.testing.assert_array_equal(table["open_ms"], library.opens.astype("datetime64[ms, UTC]").astype("int64"))
    np.testing.assert_array_equal(table["close_ms"], library.closes.astype("datetime64[ms, UTC]").astype("int64"))
    assert table["date"].tolist() == [int(day.strftime("%Y%m%d")) for day in library.sessions]


def test_the_packaged_file_is_what_the_library_gives() -> None:
    assert calendar_build.TARGET.read_bytes() == calendar_build.build()
    assert calendar.calendar_version() == exchange_calendars.__version__
    assert json.loads(calendar_build.TARGET.read_text())["XNYS"]["special_closes"]["13:00"]


@pytest.mark.parametrize("name", calendar.CALENDARS)
def test_numbers_of_week_month_and_year(name: str) -> None:
    table = calendar.sessions(name, ms("2019-12-20"), ms("2021-01-10"))
    for row in table:
        day = datetime.strptime(str(row["date"]), "%Y%m%d").replace(tzinfo=UTC)
        assert row["week"] == ((day - datetime(1969, 12, 29, tzinfo=UTC)).days) // 7
        assert row["month"] == day.year * 100 + day.month
        assert row["year"] == day.year
    monday = table[np.flatnonzero(table["date"] == 20200106)[0]]
    friday = table[np.flatnonzero(table["date"] == 20200103)[0]]
    assert monday["week"] == friday["week"] + 1


@pytest.mark.parametrize("name", calendar.CALENDARS)
@pytest.mark.parametrize(("first", "last"), [("2015-12-23", "2015-12-29"), ("2020-02-29", "2020-02-29")])
def test_margins(name: str, first: str, last: str) -> None:
    table = calendar.sessions(name, ms(first), ms(last))
    assert (table["close_ms"] < ms(first)).sum() >= calendar.SESSIONS_BEFORE
    assert (table["open_ms"] > ms(last)).sum() >= calendar.SESSIONS_AFTER
    assert (np.diff(table["open_ms"]) > 0).all()
    assert (table["open_ms"] < table["close_ms"]).all()
    assert len(table) < 60


def test_a_bar_belongs_to_the_session_with_open_before_and_close_at_or_after() -> None:
    table = calendar.sessions("XNYS", ms("2015-12-23"), ms("2015-12-29"))
    times = [
        "2015-12-24T14:30",
        "2015-12-24T14:31",
        "2015-12-24T18:00",
        "2015-12-24T18:01",
        "2015-12-25T16:00",
    ]
    inside = calendar.in_session(np.array([ms(text) for text in times]), table)
    assert inside.tolist() == [False, True, True, False, False]


def test_a_crypto_bar_closing_at_midnight_belongs_to_the_day_that_ends() -> None:
    table = calendar.sessions("24/7", ms("2020-03-01"), ms("2020-03-02"))
    index = calendar.session_index(np.array([ms("2020-03-02"), ms("2020-03-02T00:01")]), table)
    assert table["date"][index].tolist() == [20200301, 20200302]


def test_daily_stamps_are_four_in_new_york_also_on_half_days_and_over_daylight_saving() -> None:
    stamps = calendar.daily_stamps("XNYS", ms("2015-10-30"), ms("2015-12-24"))
    for text, expected in (
        ("2015-10-30T20:00", True),
        ("2015-11-02T21:00", True),
        ("2015-11-27T21:00", True),
        ("2015-11-26T21:00", False),
    ):
        assert (ms(text) in stamps) is expected
    table = calendar.sessions("XNYS", ms("2015-10-30"), ms("2015-12-24"))
    index = calendar.session_index(calendar.stamps_of("XNYS", table), table, daily=True)
    np.testing.assert_array_equal(index, np.arange(len(table)))


def test_every_daily_bar_is_inside_its_session_date() -> None:
    table = calendar.sessions("XNYS", ms("1970-01-02"), ms("2035-12-31"))
    index = calendar.session_index(calendar.stamps_of("XNYS", table), table, daily=True)
    np.testing.assert_array_equal(index, np.arange(len(table)))


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(FeedError, match="no calendar 'XLON'"):
        calendar.sessions("XLON", 0, 1)
    with pytest.raises(FeedError, match="update avwapd"):
        calendar.sessions("XNYS", ms("2036-06-01"), ms("2036-06-02"))
    with pytest.raises(ValueError, match="ends before"):
        calendar.sessions("XNYS", 2, 1)
