"""When markets are open, from a packaged table: sessions as records, and which bars lie inside them.

Two calendars: `XNYS` (New York equities; weekdays, holidays and half days, right over daylight saving) and
`24/7` (crypto; a session is a UTC day). The table is made by `calendar_build` and equals exchange_calendars
in every session.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from avwapd.core.records import SESSION
from avwapd.feeds import FeedError

BELL, ALWAYS = "XNYS", "24/7"
CALENDARS = (BELL, ALWAYS)
SESSIONS_BEFORE, SESSIONS_AFTER = 10, 30
DAY_MS = 86_400_000
MINUTE_MS = 60_000
DAILY_CLOSE = 16 * 60 * MINUTE_MS  # of a daily bar, local time, on half days as well
DAILY_LOOKBACK_MS = 12_600_000  # the core looks a daily bar up this much before its stamp

Ints = NDArray[np.int64]
Sessions = NDArray[np.void]


@dataclass(frozen=True)
class _Table:
    """One exchange: the days of its sessions with local opening times, all shape (n,) int64, sorted."""

    zone: ZoneInfo
    days: Ints  # days since 1970
    open_ms: Ints  # since local midnight
    close_ms: Ints


@cache
def _packaged() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(__file__).with_name("calendars.json").read_text())
    return content


def calendar_version() -> str:
    """The version of exchange_calendars that the packaged table was taken from."""
    return str(_packaged()["version"])


def sessions(calendar: str, first_ms: int, last_ms: int) -> Sessions:
    """SESSION records from `SESSIONS_BEFORE` before first_ms to `SESSIONS_AFTER` behind last_ms.

    At the two ends of the packaged table the margin is cut; times outside the table are refused.
    """
    if last_ms < first_ms:
        raise ValueError(f"sessions from {first_ms} to {last_ms}: the range ends before it begins")
    if calendar == ALWAYS:
        first, last = first_ms // DAY_MS - SESSIONS_BEFORE - 1, last_ms // DAY_MS + SESSIONS_AFTER + 1
        days = np.arange(max(first, 0), last, dtype=np.int64)
        return _records(days, days * DAY_MS, (days + 1) * DAY_MS)
    table = _table(calendar)
    begin, end = np.searchsorted(table.days, (first_ms // DAY_MS, last_ms // DAY_MS + 1))
    if first_ms < table.days[0] * DAY_MS or last_ms > (table.days[-1] + 1) * DAY_MS:
        raise FeedError(
            f"no {calendar} sessions are known for {_shown(first_ms)} to {_shown(last_ms)}",
            f"the packaged calendar ends {_shown(int(table.days[-1]) * DAY_MS)}",
            "update avwapd, or ask for a shorter time",
        )
    chosen = slice(max(begin - SESSIONS_BEFORE - 1, 0), end + SESSIONS_AFTER + 1)
    days = table.days[chosen]
    midnight = days * DAY_MS - _offsets(table.zone, days)
    return _records(days, midnight + table.open_ms[chosen], midnight + table.close_ms[chosen])


def all_sessions(calendar: str) -> Sessions:
    """Every session of an exchange's packaged table."""
    days = _table(calendar).days
    return sessions(calendar, int(days[0]) * DAY_MS, int(days[-1]) * DAY_MS)


def whole_calendar() -> tuple[int, int]:
    """The first and the last moment of the packaged table, ms."""
    days = _table(BELL).days
    return int(days[0]) * DAY_MS, int(days[-1]) * DAY_MS


def daily_stamps(calendar: str, first_ms: int, last_ms: int) -> Ints:
    """The `ts_ms` of every daily bar around the range: 16:00 of session dates, or the end of UTC days."""
    return stamps_of(calendar, sessions(calendar, first_ms, last_ms))


def stamps_of(calendar: str, table: Sessions) -> Ints:
    """The daily bar's `ts_ms` of each session of `table`; shape (n,)."""
    closes: Ints = table["close_ms"].astype(np.int64)
    if calendar == ALWAYS:
        return closes
    usual = _table(calendar)
    days = days_of_dates(table["date"])
    local = usual.close_ms[np.searchsorted(usual.days, days)]
    return closes - local + DAILY_CLOSE


def session_index(ts_ms: NDArray[Any], table: Sessions, *, daily: bool = False) -> Ints:
    """Index of the session with open < ts <= close, -1 where there is none; a daily bar goes by its date."""
    key = ts_ms - DAILY_LOOKBACK_MS if daily else ts_ms
    index = np.searchsorted(table["close_ms"], key, side="left")
    inside = index < len(table)
    found = np.minimum(index, len(table) - 1)
    inside &= table["open_ms"][found] < key
    return np.where(inside, found, -1).astype(np.int64)


def in_session(ts_ms: NDArray[Any], table: Sessions, *, daily: bool = False) -> NDArray[np.bool_]:
    """True for each bar that belongs to a session: open < ts_ms <= close."""
    return session_index(ts_ms, table, daily=daily) >= 0


def days_of_dates(dates: NDArray[Any]) -> Ints:
    """yyyymmdd numbers as days since 1970."""
    months = (dates // 10_000 - 1970) * 12 + dates // 100 % 100 - 1
    starts = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return np.asarray(starts + dates % 100 - 1, dtype=np.int64)


@cache
def _table(calendar: str) -> _Table:
    if calendar == ALWAYS or calendar not in CALENDARS:
        raise FeedError(f"there is no calendar {calendar!r}", "calendars", f"use one of {', '.join(CALENDARS)}")
    content = _packaged()[calendar]
    every = np.arange(content["first"], np.datetime64(content["last"]) + 1, dtype="datetime64[D]")
    weekdays = every[np.is_busday(every)].astype(np.int64)
    days = np.setdiff1d(weekdays, days_of_dates(np.array(content["holidays"], dtype=np.int64)))
    times = [np.full(len(days), _clock_ms(content[word]), dtype=np.int64) for word in ("open", "close")]
    for column, word in zip(times, ("special_opens", "special_closes"), strict=True):
        for at, dates in content[word].items():
            column[np.searchsorted(days, days_of_dates(np.array(dates, dtype=np.int64)))] = _clock_ms(at)
    return _Table(ZoneInfo(content["timezone"]), days, *times)


def _clock_ms(word: str) -> int:
    hours, minutes = word.split(":")
    return (int(hours) * 60 + int(minutes)) * MINUTE_MS


def _offsets(zone: ZoneInfo, days: Ints) -> Ints:
    """Local time less UTC at noon of each day, ms. Clocks change on Sundays, so all sessions of a week have one."""
    noon = datetime(1970, 1, 1, 12, tzinfo=UTC)
    _, first, week = np.unique((days + 3) // 7, return_index=True, return_inverse=True)
    shifts = ((noon + timedelta(days=day)).astimezone(zone).utcoffset() for day in days[first].tolist())
    found = np.array([int((shift or timedelta()).total_seconds() * 1000) for shift in shifts], np.int64)
    return found[week]


def _records(days: Ints, open_ms: Ints, close_ms: Ints) -> Sessions:
    table = np.zeros(len(days), SESSION)
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    number = months.astype(np.int64)
    year, month = 1970 + number // 12, number % 12 + 1
    day = days - months.astype("datetime64[D]").astype(np.int64) + 1
    table["open_ms"], table["close_ms"] = open_ms, close_ms
    table["date"] = year * 10_000 + month * 100 + day
    table["week"] = (days + 3) // 7  # 1970 began on a Thursday
    table["month"] = year * 100 + month
    table["year"] = year
    return table


def _shown(ts_ms: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ts_ms)).strftime("%Y-%m-%d")
