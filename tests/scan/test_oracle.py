"""The oracle against the recorded examples, and the product against the oracle: recorded and generated markets."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pandas as pd
import pytest

from tests.scan import oracle
from tests.scan.oracle_cases import bars_of, quiet, walk
from tests.scan.oracle_misread import CASES, Case, misread
from tests.tidy.rules import ROOT

DATA = ROOT.parent / "shared" / "data"
EXAMPLES = DATA / "scan_examples.csv"
recorded = pytest.mark.skipif(not EXAMPLES.is_file(), reason="no scan examples and bars in ../shared/data")

Row = dict[str, Any] | None
Candidates = Callable[..., Row]

EXAMPLE_DAYS = 258  # three symbols, 86 of them with a bar
SLICE = [("AAPL", 2014), ("AIG", 2010), ("BNO", 2011), ("FB", 2013), ("QQQ", 2012), ("IBM", 2008)]
GENERATED = (1001, 1002, 1007, 1009, 1010, 1012, 1017, 1019)  # seeds of walks, others than the cases'


@lru_cache(maxsize=2)
def frame(symbol: str) -> pd.DataFrame:
    bars = pd.read_parquet(DATA / "bars" / "us" / f"{symbol}_1d.parquet")
    closes = pd.to_datetime(bars.pop("ts_ms"), unit="ms", utc=True).dt.tz_convert("America/New_York")
    bars.insert(0, "date", closes.dt.tz_localize(None).dt.normalize())
    return bars.astype(dict.fromkeys(("open", "high", "low", "close", "volume"), float))


def every_9th(bars: pd.DataFrame, first: str, last: str) -> list[pd.Timestamp]:
    """Every 9th business day since 2003-01-02 of a span, where there is a bar."""
    days = pd.bdate_range("2003-01-02", last, freq="9B")
    return [day for day in days[days >= first] if (bars.date == day).any()]


def split(row: Row) -> tuple[Row, Row]:
    """The columns of steps 4 to 8, and the labels."""
    if row is None:
        return None, None
    words = {name: value for name, value in row.items() if name.startswith("Setup_")}
    return {name: value for name, value in row.items() if name not in words}, words


@pytest.fixture(scope="module")
def candidates() -> Candidates:
    product = pytest.importorskip("tests.scan.product", reason="the product's scan of one frame is not wired yet")
    found: Candidates = product.candidates
    return found


def compared(candidates: Candidates, symbol: str, bars: pd.DataFrame, days: list[Any], short: bool) -> int:
    """How many rows there are; the product's are the oracle's, to the last digit."""
    rows = 0
    for day in days:
        want, words = split(oracle.candidate(symbol, bars, day, short))
        got, got_words = split(candidates(symbol, bars, day, short=short))
        assert got == want, f"{symbol} {day} short={short}"
        assert got_words == words, f"{symbol} {day} short={short}"
        rows += want is not None
    return rows


# ------------------------------------------------------------- the oracle


@recorded
def test_every_example_and_no_row_beside() -> None:
    wanted = pd.read_csv(EXAMPLES)
    seen = []
    days = 0
    for symbol in sorted(set(wanted.Symbol)):
        bars = frame(symbol)
        for day in every_9th(bars, "2010-01-01", "2012-12-31"):
            days += 1
            row, _ = split(oracle.candidate(symbol, bars, day))
            seen += [row] if row else []
    rows = wanted.sort_values(["Symbol", "ScanDate"]).to_dict("records")
    assert seen == rows
    assert (days, len(rows)) == (EXAMPLE_DAYS, 114)


def test_a_row_worked_by_hand() -> None:
    """Calm days at 40, with a close of 39.5 ten days ago and of 40.5 today; 0.3125 to both sides of each close."""
    row, words = split(oracle.candidate("X", quiet("equal means"), "2012-03-15"))
    assert row is not None
    assert words is not None
    since = [day for day in oracle.sessions() if "2012-01-03" <= str(day) <= "2012-03-15"]
    assert len(since) == 51  # equal volumes, typical price = close: their mean is 40, five days ago it was a bit less
    assert row["Entry_Level"] == (51 * 40 - 0.5 + 0.5) / 51
    assert (row["Anchor"], row["Anchor_Date"], row["TrendTier"]) == ("YTD", "2012-01-03", "A")
    assert row["Entry_DistPct"] == 1.25
    assert row["Stop_Loss"] == round((39.5 - 0.3125) * 0.995, 2)  # the swing low
    assert row["Target_R1"] == round(2 * 40.5 - (40.5 - 0.3125), 2)
    assert row["Target_R2"] == 41.12  # 41.125 exactly, half to even
    assert row["AVWAP_Slope"] == round((40 - (46 * 40 - 0.5) / 46) / 40, 4)
    assert words["Setup_AVWAP_Reclaim"]
    assert words["Setup_VWAP_DistPct"] == 1.25


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.what}{', short' * case.short}")
def test_generated_bars_show_the_misread_rule(case: Case) -> None:
    bars = bars_of(case.source)
    right = oracle.candidate("X", bars, case.date, case.short)
    wrong = misread(case).candidate("X", bars, case.date, case.short)
    assert right != wrong


def test_nothing_after_the_day_counts() -> None:
    bars = walk(1001)
    rows = 0
    for day in bars.date.iloc[140::20]:
        for short in (False, True):
            row = oracle.candidate("X", bars, day, short)
            assert row == oracle.candidate("X", bars[bars.date <= day], day, short)
            rows += row is not None
    assert rows >= 5


# ------------------------------------------------- the product against it


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.what}{', short' * case.short}")
def test_the_product_reads_each_rule_alike(candidates: Candidates, case: Case) -> None:
    compared(candidates, "X", bars_of(case.source), [case.date], case.short)


@pytest.mark.parametrize("seed", GENERATED)
def test_the_product_on_generated_markets(candidates: Candidates, seed: int) -> None:
    bars = walk(seed)
    assert sum(compared(candidates, "X", bars, list(bars.date.iloc[70::7]), short) for short in (False, True)) >= 1


@recorded
@pytest.mark.parametrize(("symbol", "year"), SLICE)
def test_the_product_on_recorded_bars(candidates: Candidates, symbol: str, year: int) -> None:
    bars = frame(symbol)
    days: list[Any] = list(every_9th(bars, f"{year}-01-01", f"{year}-12-31"))
    assert len(days) >= 20
    assert sum(compared(candidates, symbol, bars, days, short) for short in (False, True)) >= 1


@recorded
@pytest.mark.campaign
@pytest.mark.parametrize("symbol", sorted(path.stem[:-3] for path in (DATA / "bars" / "us").glob("*_1d.parquet")))
def test_the_product_on_all_recorded_days(candidates: Candidates, symbol: str) -> None:
    bars = frame(symbol)
    days: list[Any] = list(every_9th(bars, "2003-01-01", "2021-12-31"))
    assert sum(compared(candidates, symbol, bars, days, short) for short in (False, True)) >= 20
