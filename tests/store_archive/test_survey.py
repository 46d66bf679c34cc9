"""Gaps, disorder, outliers and splits are seen; silence that is normal is not."""

from __future__ import annotations

import numpy as np
import pytest

from avwapd.feeds.calendar import sessions, stamps_of
from avwapd.store.survey import Finding, Grid, survey
from tests.store_archive.bars import columns

OPEN = 1_704_205_800_000  # 2024-01-02 14:30 UTC
MINUTE, DAY = 60_000, 86_400_000


def grid(calendar: str, step: int, tolerated: int = 0, *, daily: bool = False) -> Grid:
    table = sessions(calendar, OPEN, OPEN + 400 * DAY)
    stamps = stamps_of(calendar, table) if daily else None
    return Grid(step, table["open_ms"], table["close_ms"], stamps, tolerated, calendar == "XNYS")


def kinds(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.detail) for finding in found]


def two_days(step: int) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    bars = columns(4000, OPEN + step, step)
    through = (bars["ts_ms"] - OPEN) % DAY
    kept = (through > 0) & (through <= 390 * MINUTE) & (bars["ts_ms"] < OPEN + 2 * DAY)
    return {name: column[kept] for name, column in bars.items()}


@pytest.mark.parametrize("step", [MINUTE, 5 * MINUTE, 30 * MINUTE])
def test_whole_sessions_have_no_gap_and_the_night_is_none(step: int) -> None:
    assert survey(two_days(step), grid("XNYS", step)) == []


def test_hours_end_on_the_hour_and_the_first_begins_before_the_bell() -> None:
    bars = columns(60, OPEN + 30 * MINUTE, 60 * MINUTE)
    hour = bars["ts_ms"] // (60 * MINUTE) % 24
    kept = (hour >= 15) & (hour <= 21)
    assert survey({name: column[kept] for name, column in bars.items()}, grid("XNYS", 60 * MINUTE)) == []


def test_missing_bars_are_counted_inside_sessions_only() -> None:
    bars = two_days(MINUTE)
    kept = np.ones(len(bars["ts_ms"]), bool)
    kept[100:120] = False  # inside
    kept[385:395] = False  # five at either side of the night
    found = survey({name: column[kept] for name, column in bars.items()}, grid("XNYS", MINUTE))
    assert kinds(found) == [("gap", "20 missing"), ("gap", "10 missing")]
    assert (found[0].from_ms, found[0].to_ms) == (bars["ts_ms"][99], bars["ts_ms"][120])
    found = survey({name: column[kept] for name, column in bars.items()}, grid("XNYS", MINUTE, 15))
    assert kinds(found) == [("gap", "20 missing")]


def test_days_go_by_sessions_and_years_of_silence_are_a_new_listing() -> None:
    days = grid("XNYS", DAY, daily=True)
    assert days.stamps is not None
    bars = columns(200)
    bars["ts_ms"] = days.stamps[10:210]
    assert survey(bars, days) == []
    kept = np.ones(200, bool)
    kept[50] = False
    kept[100:161] = False
    found = survey({name: column[kept] for name, column in bars.items()}, days)
    assert kinds(found) == [("gap", "1 missing"), ("new_listing", "61 missing")]


def test_every_missing_bar_of_a_market_that_never_closes_counts() -> None:
    bars = columns(3000, OPEN, MINUTE)
    kept = np.ones(3000, bool)
    kept[[700, 1500]] = False
    found = survey({name: column[kept] for name, column in bars.items()}, grid("24/7", MINUTE))
    assert kinds(found) == [("gap", "1 missing")] * 2


@pytest.mark.parametrize(("ratio", "words"), [(2, "2 for 1"), (7, "7 for 1"), (1.5, "1.5 for 1"), (0.1, "1 for 10")])
def test_a_split_overnight_is_probable_and_by_day_or_in_coins_an_outlier(ratio: float, words: str) -> None:
    bars = two_days(5 * MINUTE)
    day = len(bars["ts_ms"]) // 2
    for at, calendar, kind in ((day, "XNYS", "split"), (day + 9, "XNYS", "outlier"), (day, "24/7", "outlier")):
        if kind == "outlier" and ratio == 1.5:
            continue  # a third is no outlier
        cut = {name: column.copy() for name, column in bars.items()}
        for name in ("open", "close"):
            cut[name][at:] /= ratio
        found = [finding for finding in survey(cut, grid(calendar, 5 * MINUTE)) if finding.kind != "gap"]
        assert [finding.kind for finding in found] == [kind]
        assert found[0].to_ms == bars["ts_ms"][at]
        assert kind == "outlier" or f"about {words}" in found[0].detail


def test_bars_that_are_doubled_or_out_of_order_are_broken() -> None:
    bars = two_days(5 * MINUTE)
    order = np.arange(len(bars["ts_ms"]))
    order[5], order[9] = 4, 8
    order[[20, 21]] = 21, 20
    found = survey({name: column[order] for name, column in bars.items()}, grid("XNYS", 5 * MINUTE))
    assert [finding.kind for finding in found if finding.kind != "gap"] == ["duplicate", "duplicate", "disorder"]
