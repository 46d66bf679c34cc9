"""The scan of a day and the walk over history say the same of every day, and neither learns from the other's future."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from avwapd.config import Config, load
from avwapd.paths import resolve
from avwapd.research import historical
from avwapd.scan.errors import ScanError
from avwapd.scan.files import cells
from avwapd.scan.result import Row, ScanResult
from avwapd.verbs.backtest_scan import known_of
from avwapd.verbs.scan_work import Asked, scanned
from tests.scan_history.conftest import Run
from tests.scan_history.market import ALONE, CHECKED, HOLED, SECOND, STOCKS, THIRD, back, iso, window

EVERY = 25  # of the compared days as many apart go through the command as well


@pytest.fixture(scope="module")
def config() -> Config:
    return load(folder=Path("/nonexistent"), environ={})


@pytest.fixture(scope="module")
def walked(whole_state: Path, config: Config) -> dict[int, ScanResult]:
    """The walk's result of each session."""
    from avwapd.feeds.daily import load_daily

    paths = resolve(str(whole_state))
    market = load_daily(paths.archive, "us")
    results = list(historical.walk(market, config, known_of(paths, market, Asked()), window()))
    assert [result.scan_date for result in results] == window()
    return {result.scan_date: result for result in results}


def said(state: Path, config: Config, day: int) -> ScanResult:
    """What `avwapd scan --as-of` makes of a day; an empty result with the reason where it fails."""
    try:
        return scanned(config, resolve(str(state)), Asked(day)).result
    except ScanError as error:
        return ScanResult(day, -1, f"the scan failed: {error.what}", (), (), (), {}, ())


def test_both_say_the_same_of_every_day(whole_state: Path, config: Config, walked: dict[int, ScanResult]) -> None:
    assert len(walked) == CHECKED == 250
    found = {day: said(whole_state, config, day) for day in walked}
    for day, told in walked.items():
        assert repr(found[day]) == repr(told), day  # NaN equals NaN in words
    assert [day for day, told in found.items() if told.session < 0] == [back(HOLED), back(ALONE)]


def test_the_days_show_what_they_are_made_for(walked: dict[int, ScanResult]) -> None:
    """Else the days that are compared would be alike because nothing happens on them."""
    fell = Counter(f"{fallen.step} {fallen.reason}" for told in walked.values() for fallen in told.out)
    wanted = {"1 bad_ticker", "1 no_bars", "1 volume", "2 regime", "3 earnings", "4 min_bars", "5 trend", "7 distance"}
    assert wanted <= fell.keys()
    assert sum(len(told.rows) for told in walked.values()) > 500
    assert sum(1 for told in walked.values() if not told.rows) > 5
    assert len({row.anchor for told in walked.values() for row in told.rows}) >= 5
    assert len({row.sector_rs for told in walked.values() for row in told.rows}) > 100


def test_each_day_has_the_universe_and_the_lists_of_its_day(walked: dict[int, ScanResult]) -> None:
    def looked_at(day: int) -> set[str]:
        told = walked[day]
        return {row.symbol for row in told.rows} | {fallen.symbol for fallen in told.out}

    for count, symbol, there in (
        (SECOND + 1, "S00", True),
        (SECOND, "S00", False),
        (SECOND + 1, "S37", False),
        (SECOND, "S37", True),
        (THIRD + 1, "S02", False),
        (THIRD, "S02", True),
        (CHECKED - 1, "S00", True),  # before the first universe that one stands in
    ):
        assert (symbol in looked_at(back(count))) == there, (count, symbol)
    bad = {
        symbol: [
            day for day, told in walked.items() for f in told.out if (f.symbol, f.reason) == (symbol, "bad_ticker")
        ]
        for symbol in ("S06", "S08", "S09")
    }
    assert (bad["S06"][0], bad["S06"][-1]) == (back(180), back(120))
    assert bad["S08"][-1] == back(200)
    assert (bad["S09"][0], bad["S09"][-1]) == (back(30), back(0))
    assert {count for count in range(SECOND) if "S00" in looked_at(back(count))} == set()


def test_the_commands_files_say_the_same(
    whole_state: Path, walked: dict[int, ScanResult], avwapd: Run, tmp_path: Path
) -> None:
    words = ("--state-dir", whole_state, "backtest", "--mode", "historical_scan", "--start", iso(window()[0]))
    code, out, err = avwapd(*words, "--end", iso(window()[-1]), "--out", tmp_path / "walk", "--json")
    assert code == 0, err
    rows = rows_in(tmp_path / "walk" / historical.FILE)
    assert {day: len(found) for day, found in rows.items()} == {d: len(t.rows) for d, t in walked.items() if t.rows}
    assert json.loads(out)["counts"]["candidates"] == sum(map(len, rows.values()))
    compared = 0
    for day in window()[::EVERY]:
        folder = tmp_path / str(day)
        code, _, err = avwapd("--state-dir", whole_state, "scan", "--as-of", iso(day), "--out", folder, "--json")
        assert code == 0, err
        lines = list(csv.reader(io.StringIO((folder / "daily_candidates.csv").read_text())))[1:]
        assert lines == [cells(row) for row in rows.get(day, [])], day
        compared += len(lines)
    assert compared > 20


def rows_in(path: Path) -> dict[int, list[Row]]:
    """Candidates by scan date, as they stand in the walk's file."""
    found: dict[int, list[Row]] = {}
    for row in pq.read_table(path).to_pylist():
        row |= {name: int(f"{row[name]:%Y%m%d}") for name in historical.DATES}
        found.setdefault(row["scan_date"], []).append(Row(**row))
    return found


def test_a_day_that_no_named_symbol_traded_is_not_the_day_before_again(
    whole_state: Path, avwapd: Run, tmp_path: Path
) -> None:
    """By rules alone and of named symbols the walk goes over the archive's sessions, also those that these lack."""
    words = ("--state-dir", whole_state, "backtest", "--mode", "historical_scan", "--rules-only", "--start")
    more = ("--symbols", ",".join(STOCKS), "--out", tmp_path / "walk", "--json")
    code, _, err = avwapd(*words, iso(window()[0]), *more)
    assert code == 0, err
    rows = rows_in(tmp_path / "walk" / historical.FILE)
    assert back(ALONE) not in rows
    assert rows[back(ALONE + 1)]  # which must not be there twice
    for day, found in rows.items():
        symbols = [row.symbol for row in found]
        assert len(symbols) == len(set(symbols)), day
    assert not [day for day, found in rows.items() if day > back(89) for row in found if row.symbol == "S13"]


def test_a_session_that_only_the_index_has_fails_the_scan(whole_state: Path, config: Config) -> None:
    """The universe's bars are not there yet: yesterday's list must not go out as today's."""
    with pytest.raises(ScanError, match=f"have no bar of {iso(back(ALONE))}"):
        scanned(config, resolve(str(whole_state)), Asked(back(ALONE)))
