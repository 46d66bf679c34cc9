"""YTD and MTD of a scan with few or many bars loaded: the true first session or nothing, never the first bar."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from avwapd.config import Config
from avwapd.core.daily import Days
from avwapd.feeds.daily import load_daily
from avwapd.scan.result import ScanInputs
from avwapd.scan.run import scan
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from tests.scan.market import Member, sessions
from tests.scan_history.looked import settings
from tests.store_daily.days import Columns, at, calendar

LAST = 20240105
MANY, FEW = 5_000, 100
LISTED = 20200715  # the second symbol's first day
SYMBOLS = ("NEW", "OLD")
SHORT = {"scan__atr_median_days": "60"}  # else 100 bars are too few for a candidate


def climbing(first: int, count: int) -> Columns:
    """Days that rise evenly, without a gap or a busy day: nothing covers the anchors of the calendar."""
    close = 20.0 * np.exp(np.arange(count) * 0.0007)
    stamps = calendar()[0][first : first + count]
    values = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close * 1.001}
    return {"ts_ms": stamps, **values, "volume": np.full(count, 1e6)}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Days:
    """5,000 bars of one symbol and what there is of the other, through the archive."""
    root, end = tmp_path_factory.mktemp("many"), at(LAST) + 1
    Archive(root).write("us", "1d", as_table("OLD", climbing(end - MANY, MANY)))
    Archive(root).write("us", "1d", as_table("NEW", climbing(at(LISTED), end - at(LISTED))))
    market = load_daily(root, "us")
    assert (market.symbols, market.days.offsets[2] - market.days.offsets[1]) == (SYMBOLS, MANY)
    return market.days


def loaded(days: Days, session: int, count: int) -> Days:
    """Only the last `count` bars of each symbol up to a session: all that the archive would then have."""
    kept = np.zeros(len(days.session), bool)
    for symbol in range(len(SYMBOLS)):
        begin, end = int(days.offsets[symbol]), int(days.offsets[symbol + 1])
        end = begin + int(np.searchsorted(days.session[begin:end], session, side="right"))
        kept[max(begin, end - count) : end] = True
    offsets = np.concatenate([[0], np.cumsum(kept)])[days.offsets].astype(np.int64)
    return Days(offsets, *(column[kept] for column in days[1:]))


def anchors(days: Days, session: int, config: Config) -> dict[tuple[str, str], int]:
    """(symbol, kind) -> date, of a whole scan."""
    members = {symbol: Member("Energy") for symbol in SYMBOLS}
    day = int(sessions()["date"][session])
    told = scan(
        ScanInputs(
            symbols=SYMBOLS, days=days, sessions=sessions(), as_of=day, members=members, earnings={}, bad={},
            stand_in=True,
        ),
        config,
    )  # fmt: skip
    assert (told.scan_date, {row.symbol for row in told.rows} >= {"OLD"}) == (day, True)
    return {(row.symbol, row.kind): row.anchor_date for row in told.anchors}


@cache
def first_of(day: int, digits: int) -> int:
    """The first session of a date's year (4 digits) or month (6), from the list of dates alone."""
    return next(int(date) for date in calendar()[1] if str(date)[:digits] == str(day)[:digits])


def turns() -> list[int]:
    """Sessions around every turn of a month from 2019 on, over all New Years and holidays."""
    found: list[int] = []
    for session in range(at(20190102), at(LAST)):
        if calendar()[1][session] // 100 != calendar()[1][session - 1] // 100:
            found += [session - 1, session, session + 1]
    return found


def test_few_or_many_bars_give_the_same_anchor_or_none(many: Days) -> None:
    config, known, unknown = settings(**SHORT), 0, 0
    for session in turns():
        day = int(sessions()["date"][session])
        year, month = first_of(day, 4), first_of(day, 6)
        right = {("OLD", "YTD"): year} | ({("OLD", "MTD"): month} if month != year else {})
        whole = anchors(many, session, config)
        few = anchors(loaded(many, session, FEW), session, config)
        for key, date in right.items():
            assert whole[key] == date, day
            reach = int(calendar()[1][session - FEW + 1])
            assert few.get(key) == (date if date >= reach else None), day
            known, unknown = known + (key in few), unknown + (key not in few)
    assert known > 100
    assert unknown > 50


def test_a_symbol_listed_in_the_year_has_no_ytd_until_the_next(many: Days) -> None:
    config, seen = settings(**SHORT), 0
    for count in (FEW, MANY):
        for session in [at(20201201), at(20201231), at(20210104), at(20210105), at(20210201), at(20211201)]:
            day = int(sessions()["date"][session])
            found = anchors(loaded(many, session, count), session, config)
            if day < 20210101:
                assert ("NEW", "YTD") not in found, day
            elif count == MANY or day < 20210501:
                assert found["NEW", "YTD"] == 20210104, day
            else:
                assert ("NEW", "YTD") not in found, day
            first = first_of(day, 6)
            assert found.get(("NEW", "MTD")) == (None if first == 20210104 else first), day
            seen += sum(symbol == "NEW" for symbol, _ in found)
    assert seen > 20


def test_the_month_of_a_listing_has_no_mtd(tmp_path: Path) -> None:
    """With as few bars as a setting allows, a symbol is scanned in the month in which it was listed."""
    Archive(tmp_path).write("us", "1d", as_table("NEW", climbing(at(LISTED), 40)))
    Archive(tmp_path).write("us", "1d", as_table("OLD", climbing(at(LISTED) - 200, 240)))
    days = load_daily(tmp_path, "us").days
    few = {
        "scan__avwap_slope_bars": "1",
        "scan__swing_days": "5",
        "scan__min_bars": "3",
        "scan__slow_days": "4",
        "scan__fast_days": "2",
    }
    few |= {"scan__trend_slope_days": "2"}
    config = settings(**few, scan__atr_days="2", scan__atr_median_days="2", scan__adx_days="2", scan__volume_days="2")
    found = [anchors(days, at(LISTED) + ahead, config) for ahead in (10, 12, 13)]  # 29 and 31 July, 3 August
    assert [("NEW", "MTD") in told for told in found] == [False, False, True]
    assert found[2]["NEW", "MTD"] == 20200803
    assert all(told["OLD", "YTD"] == 20200102 for told in found)
    assert any(symbol == "NEW" for symbol, _ in found[0])
