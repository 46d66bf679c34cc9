"""When bars are due: sessions, half days, holidays, the hours around them, daylight saving, markets without a bell."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from avwapd.feeds.live_schedule import NEVER, Schedule

M = 60_000
NEW_YORK = ZoneInfo("America/New_York")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp() * 1000)


EQUITY = Schedule(("XNYS", "XNYS"), M)
MIXED = Schedule(("XNYS", "24/7", "XNYS"), M)


@pytest.mark.parametrize("day", ["2026-03-06", "2026-03-09", "2026-10-30", "2026-11-02"])  # around both changes
def test_a_usual_day(day: str) -> None:
    assert EQUITY.next(at(f"{day} 00:00")) == at(f"{day} 04:01")
    assert EQUITY.next(at(f"{day} 09:30")) == at(f"{day} 09:31")
    assert EQUITY.due_count(at(f"{day} 04:00")) == 0
    assert EQUITY.due_count(at(f"{day} 20:00")) == 2
    assert EQUITY.due_count(at(f"{day} 20:01")) == 0
    inside = {text: bool(EQUITY.inside(at(f"{day} {text}"))[0]) for text in ("09:30", "09:31", "16:00", "16:01")}
    assert inside == {"09:30": False, "09:31": True, "16:00": True, "16:01": False}


def test_holidays_weekends_and_half_days() -> None:
    assert EQUITY.next(at("2026-11-25 20:00")) == at("2026-11-27 04:01")  # Thanksgiving
    assert EQUITY.next(at("2026-11-27 20:00")) == at("2026-11-30 04:01")
    assert EQUITY.inside(at("2026-11-27 13:00"))[0]
    assert not EQUITY.inside(at("2026-11-27 13:01"))[0]
    assert EQUITY.due_count(at("2026-11-27 13:01")) == 2, "bars may come, but none is expected"


def test_without_a_bell_every_minute_is_due() -> None:
    sunday = at("2026-11-22 03:00")
    assert MIXED.next(sunday) == sunday + M
    assert MIXED.due(sunday + M).tolist() == [False, True, False]
    assert MIXED.inside(sunday + M).tolist() == [False, True, False]
    assert MIXED.due(at("2026-11-23 10:00")).tolist() == [True] * 3
    assert MIXED.due_count(sunday + M + 1) == 0


def test_longer_bars_and_daily_ones() -> None:
    hours = Schedule(("XNYS",), 60 * M)
    assert hours.next(at("2026-11-23 04:00")) == at("2026-11-23 05:00")
    assert hours.inside(at("2026-11-23 10:00"))[0]
    days = Schedule(("XNYS",), 24 * 60 * M, daily=True)
    assert days.next(at("2026-11-25 16:00")) == at("2026-11-27 16:00"), "also on the half day"
    assert days.inside(at("2026-11-27 16:00"))[0]
    assert days.is_stamp(at("2026-11-27 16:00"))
    assert not days.is_stamp(at("2026-11-27 13:00"))


def test_the_venues_word_about_a_day_wins() -> None:
    own = Schedule(("XNYS",), M)
    own.correct(20261123, at("2026-11-23 09:30"), at("2026-11-23 12:00"))
    assert own.inside(at("2026-11-23 12:00"))[0]
    assert not own.inside(at("2026-11-23 12:01"))[0]
    own.correct(20261124, 0, 0)
    assert not own.inside(at("2026-11-24 10:00"))[0]
    assert own.next(at("2026-11-23 20:00")) == at("2026-11-25 04:01")
    assert EQUITY.inside(at("2026-11-23 12:01"))[0], "another schedule is untouched"


def test_behind_the_calendars_end_nothing_is_due() -> None:
    assert EQUITY.next(int(datetime(2200, 1, 1, tzinfo=UTC).timestamp() * 1000)) == NEVER
