"""The rules against what a trader's own tool gave on real bars: every row, and no row on the other days."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator

import pytest

from avwapd.scan.run import Row, scan
from tests.scan.market import DATA, defaults, inputs, real

SYMBOLS = ("AAPL", "IBM", "SPY")
FIRST_DAY, STEP = datetime.date(2003, 1, 2), 9  # every ninth business day


def days_to_test() -> Iterator[datetime.date]:
    day, count = FIRST_DAY, 0
    while day.year <= 2012:
        if day.weekday() < 5:
            if count % STEP == 0 and day.year >= 2010:
                yield day
            count += 1
        day += datetime.timedelta(days=1)


def number(day: datetime.date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day


def shown(date: int) -> str:
    return f"{date // 10_000:04}-{date // 100 % 100:02}-{date % 100:02}"


def as_example(row: Row) -> dict[str, str]:
    return {
        "ScanDate": shown(row.scan_date),
        "Symbol": row.symbol,
        "Direction": row.direction,
        "TrendTier": row.trend_tier,
        "Price": str(row.price),
        "Entry_Level": str(row.entry_level),
        "Entry_DistPct": str(row.entry_dist_pct),
        "Stop_Loss": str(row.stop_loss),
        "Target_R1": str(row.target_r1),
        "Target_R2": str(row.target_r2),
        "TrendScore": str(row.trend_score),
        "Anchor": row.anchor,
        "Anchor_Date": shown(row.anchor_date),
        "AVWAP_Slope": str(row.avwap_slope),
        "AVWAP_Confluence": str(row.avwap_confluence),
    }


def test_every_example_and_nothing_else() -> None:
    if not (DATA / "scan_examples.csv").exists():
        pytest.skip("no ../shared/data beside this checkout")
    with (DATA / "scan_examples.csv").open() as file:
        wanted = {(row["ScanDate"], row["Symbol"]): row for row in csv.DictReader(file)}
    bars = {symbol: real(symbol) for symbol in SYMBOLS}
    found, days = {}, 0
    for day in days_to_test():
        result = scan(inputs(bars, number(day)), defaults(), rules_only=True)
        if result.scan_date != number(day):
            continue  # a holiday
        days += 1
        found |= {(shown(row.scan_date), row.symbol): as_example(row) for row in result.rows}
    assert len(wanted) > 100
    assert days > 80
    assert found == wanted
