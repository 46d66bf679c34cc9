"""The window a scan sees: cut where a ticker changed hands, adjusted as known that day, blind to what comes later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from avwapd.core.daily import Days, work_space
from avwapd.core.daily_window import copy_window, end_of, start_of
from avwapd.scan.run import ScanResult, scan
from avwapd.settings import scan_params
from tests.scan.generated import LAST_DATE, last_session, walk
from tests.scan.market import Bars, defaults, inputs, joined, sessions

PRICES = ("open", "high", "low", "close")


def params(adjust: str = "splits_and_dividends", **changes: Any) -> Any:
    config = replace(defaults(), scan=replace(defaults().scan, adjust=adjust, **changes))
    return scan_params(config)[0]


def split(bars: Bars, at: int, factor: float) -> Bars:
    """The raw bars of a stock whose owners got `factor` shares for each with row `at`; the adjusted ones are `bars`."""
    raw = {name: getattr(bars, name).copy() for name in (*PRICES, "volume", "price_ratio", "split_ratio")}
    for name in PRICES:
        raw[name][:at] *= factor
    raw["volume"][:at] /= factor
    for name in ("price_ratio", "split_ratio"):
        raw[name][at] = 1.0 / factor
    return bars._replace(**raw)


def seen(result: ScanResult) -> tuple[Any, ...]:
    return result.rows, result.out, result.anchors


def rising(count: int) -> dict[str, Bars]:
    return {f"S{i:02}": walk(i, 400, drift=0.0015) for i in range(count)} | {"SPY": walk(1000, 400, drift=0.001)}


def test_a_split_leaves_every_figure_as_it_was() -> None:
    bars = rising(12)
    plain = scan(inputs(bars), defaults())
    assert len(plain.rows) >= 3
    raw = {symbol: split(bars[symbol], 300 + i * 7, 4.0) for i, symbol in enumerate(sorted(bars))}
    assert seen(scan(inputs(raw), defaults())) == seen(plain)
    assert seen(scan(inputs(raw), defaults(), rules_only=True)) != seen(scan(inputs(bars), defaults(), rules_only=True))


def test_dividends_count_only_where_the_setting_says_so() -> None:
    bars = walk(5, 30)
    ratios = np.ones(30)
    ratios[20] = 0.5
    days, work = joined([bars._replace(price_ratio=ratios)]), work_space(500)
    copy_window(days, 0, 30, params(), work)
    np.testing.assert_array_equal(work.close[:30], np.where(np.arange(30) < 20, 0.5, 1.0) * bars.close)
    np.testing.assert_array_equal(work.volume[:30], bars.volume)
    for adjust in ("splits", "none"):
        copy_window(days, 0, 30, params(adjust), work)
        np.testing.assert_array_equal(work.close[:30], bars.close)


@pytest.mark.parametrize("back", [1, 2, 17, 60])
def test_nothing_after_the_day_changes_a_bit(back: int) -> None:
    bars = rising(25)
    raw = {symbol: split(bars[symbol], 399 - i % 5, 4.0) for i, symbol in enumerate(sorted(bars))}
    cut = {symbol: Bars(*(column[: 400 - back] for column in part)) for symbol, part in raw.items()}
    date = int(sessions()[last_session() - back]["date"])
    whole = scan(inputs(raw, date), defaults())
    assert whole.scan_date == date
    assert whole.rows
    assert whole == scan(inputs(cut), defaults())


def test_a_weekend_shows_the_session_before_it() -> None:
    bars = rising(4)
    assert scan(inputs(bars, LAST_DATE + 100), defaults()).scan_date == LAST_DATE
    assert scan(inputs(bars, 20_190_609), defaults()).scan_date == 20_190_607


@pytest.mark.parametrize(("missing", "cut"), [(59, False), (60, False), (61, True), (2_000, True)])
def test_a_long_hole_means_another_company(missing: int, cut: bool) -> None:
    new, old = walk(1, 100), walk(2, 100, end=last_session() - 100 - missing)
    days = joined([walk(3, 20), Bars(*(np.concatenate(both) for both in zip(old, new, strict=True))), walk(4, 20)])
    p = params()
    end = end_of(days, 1, last_session())
    assert end == 220
    assert start_of(days, 1, end, p) == ((120, 1) if cut else (20, 0))
    if cut:  # also where the hole lies just before a full window
        assert start_of(days, 1, end, params(window_bars=100)) == (120, 1)
    assert end_of(days, 1, last_session() - 1) == 219
    assert end_of(days, 1, 0) == 20


def test_the_window_is_the_last_bars() -> None:
    long = walk(7, 900, drift=0.001)
    short = Bars(*(column[-500:] for column in long))
    config = replace(defaults(), scan=replace(defaults().scan, regime=False))
    first, second = (scan(inputs({"A": bars}), config) for bars in (long, short))
    assert seen(first) == seen(second)


def test_read_only_and_writable_bars_are_the_same() -> None:
    given = inputs(rising(3))
    columns = [column.copy() for column in given.days]
    for column in columns:
        column.flags.writeable = False
    assert scan(replace(given, days=Days(*columns)), defaults()) == scan(given, defaults())
    assert given.days.close.flags.writeable


def test_mean_volume_counts_the_shares_of_the_scans_day() -> None:
    bars = {"A": walk(1, 100), "SPY": walk(2, 100)}
    mean = float(np.mean(bars["A"].volume[-20:]))
    raw = bars | {"A": split(bars["A"], 90, 4.0)}
    config = replace(defaults(), scan=replace(defaults().scan, min_volume=mean * 1.000_001))
    fallen = {f.symbol: f for f in scan(inputs(raw), config).out}["A"]
    assert (fallen.reason, fallen.value) == ("volume", pytest.approx(mean, rel=1e-12))
