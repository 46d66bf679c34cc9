"""Each step of the rules: what it drops and why, with the value that missed the limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from avwapd.config import Config
from avwapd.core.codes import DAILY_ANCHORS
from avwapd.scan.run import ScanError, ScanResult, scan
from tests.scan.generated import LAST_DATE, last_session, walk
from tests.scan.market import Bars, Earning, Member, defaults, inputs, sessions

COUNT = 60


def changed(**changes: Any) -> Config:
    return replace(defaults(), scan=replace(defaults().scan, **changes))


@cache
def market(count: int = COUNT) -> dict[str, Bars]:
    """Stocks that rise, rest and fall under an index that rises."""
    found = {f"S{i:03}": walk(i, 420, drift=(i % 3) * 0.001, price=30.0 + i) for i in range(count)}
    return found | {"SPY": walk(5000, 420, drift=0.001)}


def scanned(config: Config, **changes: Any) -> ScanResult:
    return scan(inputs(market(), **changes), config)


def reasons(result: ScanResult) -> dict[str, str]:
    return {fallen.symbol: fallen.reason for fallen in result.out}


def test_every_symbol_is_a_candidate_or_fell_with_a_reason() -> None:
    result = scanned(defaults())
    assert {row.symbol for row in result.rows} | set(reasons(result)) == set(market())
    assert not {row.symbol for row in result.rows} & set(reasons(result))
    assert len(result.rows) >= 5
    assert {"trend", "weekly_alignment", "wrong_side", "atr_median"} & set(reasons(result).values())
    assert result.counts["universe"] == len(market())
    assert result.counts["candidates"] == len(result.rows)


@pytest.mark.parametrize(
    ("changes", "step", "reason"),
    [
        ({"min_price_usd": 1e6}, 1, "price"),
        ({"min_volume": 1e9}, 1, "volume"),
        ({"min_dollar_volume_usd": 1e12}, 1, "dollar_volume"),
        ({"min_bars": 421}, 4, "min_bars"),
        ({"min_atr_usd": 500.0}, 6, "atr"),
        ({"max_atr_pct": 0.01}, 6, "atr_pct"),
        ({"atr_median_days": 410}, 6, "atr_median_unknown"),
        ({"atr_median_factor": 0.01}, 6, "atr_median"),
        ({"anchors": {"Earnings": 100}}, 7, "no_anchor"),
        ({"avwap_slope_bars": 300}, 7, "no_anchor"),
        ({"min_slope_fraction": 0.9, "anchors": {"YTD": 1}}, 7, "avwap_slope"),
        ({"max_distance_pct": 0.0}, 7, "distance"),
    ],
)
def test_each_limit_drops_with_its_value(changes: Mapping[str, Any], step: int, reason: str) -> None:
    before = {row.symbol for row in scanned(defaults()).rows}
    result = scanned(changed(**changes))
    dropped = {fallen.symbol: fallen for fallen in result.out if fallen.reason == reason}
    assert dropped.keys() & before
    assert all(fallen.step == step for fallen in dropped.values())
    for fallen in dropped.values():
        if fallen.value is not None and fallen.limit is not None:
            least = reason in ("price", "volume", "dollar_volume", "min_bars", "atr", "atr_median_unknown")
            least = least or reason in ("no_anchor", "avwap_slope")
            assert (fallen.value < fallen.limit) if least else (fallen.value > fallen.limit)


def test_means_are_those_of_twenty_days_and_dollars_are_raw() -> None:
    bars = market()["S005"]
    for name, mean in (
        ("min_volume", np.mean(bars.volume[-20:])),
        ("min_dollar_volume_usd", np.mean(bars.volume[-20:] * bars.close[-20:])),
    ):
        assert "S005" not in {f.symbol for f in scanned(changed(**{name: mean * 0.999_999})).out if f.step == 1}
        fallen = {f.symbol: f for f in scanned(changed(**{name: mean * 1.000_001})).out if f.step == 1}
        assert fallen["S005"].value == pytest.approx(mean, rel=1e-12)


def test_weekly_alignment_needs_days_and_weeks() -> None:
    falling = {f"S{i:03}": walk(i, 420, drift=-0.002) for i in range(4)} | {"SPY": market()["SPY"]}
    assert "weekly_alignment" in reasons(scan(inputs(falling), defaults())).values()
    for changes in ({"weekly_min_days": 421}, {"weekly_slow_weeks": 100}):
        assert "weekly_alignment" not in reasons(scan(inputs(falling), changed(**changes))).values()


def test_bad_tickers_of_list_and_setting() -> None:
    names = [row.symbol for row in scanned(defaults()).rows][:2]
    result = scanned(changed(bad_tickers=(names[0],)), bad={names[1]: "halted"})
    fallen = reasons(result)
    assert [fallen[name] for name in names] == ["bad_ticker"] * 2
    assert all(f.step == 1 for f in result.out if f.reason == "bad_ticker")


def test_sectors_rank_by_mean_score_and_symbols_by_dollar_volume() -> None:
    plain = scan(inputs(market()), defaults(), rules_only=True)
    members = {symbol: Member("even" if int(symbol[1:]) % 2 == 0 else "odd") for symbol in market() if symbol != "SPY"}
    members["SPY"] = Member("")
    result = scanned(changed(top_sectors=1), members=members)
    fallen = {f.symbol: f for f in result.out if f.reason == "sector"}
    out = {members[symbol].sector for symbol in fallen}
    assert "" in out
    assert len(out) == 2
    assert {(f.value, f.limit) for f in fallen.values()} == {(2, 1)}
    assert not [f for f in scanned(changed(top_sectors=2), members=members).out if f.reason == "sector"]
    assert plain.rows

    dollars = {s: float(np.mean(b.volume[-20:] * b.close[-20:])) for s, b in market().items()}
    biggest = sorted(dollars, key=lambda s: -dollars[s])
    capped = {f.symbol: f for f in scanned(changed(max_symbols=7)).out if f.reason == "max_symbols"}
    assert set(capped) == set(biggest[7:])
    assert capped[biggest[7]].value == 8


def test_a_falling_index_empties_the_file_and_says_why() -> None:
    bars = market() | {"SPY": walk(1, 420, drift=-0.003)}
    result = scan(inputs(bars), defaults())
    assert result.rows == ()
    assert result.reason.startswith("regime: SPY at ")
    assert {f.step for f in result.out if f.reason == "regime"} == {2}
    assert scan(inputs(bars), changed(regime=False)).rows
    assert scan(inputs(bars), defaults(), rules_only=True).rows


@pytest.mark.parametrize("bars", [{}, {"SPY": walk(1, 199)}, {"SPY": walk(1, 420, end=last_session() - 1)}])
def test_without_index_data_the_regime_lets_through_and_warns(bars: dict[str, Bars]) -> None:
    rest = {symbol: part for symbol, part in market().items() if symbol != "SPY"}
    result = scan(inputs(rest | bars, members={symbol: Member() for symbol in rest}), defaults())
    assert result.rows
    assert result.reason == ""
    assert [warning for warning in result.warnings if warning.startswith("regime: SPY has ")]


def test_the_regime_mean_is_that_of_the_index_adjusted() -> None:
    spy = market()["SPY"]
    mean = float(np.mean(spy.close[-200:]))
    for last, empty in ((mean * 1.01, False), (mean * 0.97, True)):
        close = spy.close.copy()
        close[-1] = last
        bars = market() | {"SPY": spy._replace(close=close, low=np.minimum(spy.low, close), high=spy.high)}
        assert bool(scan(inputs(bars), defaults()).reason) == empty


@pytest.mark.parametrize(
    ("date", "known", "out"),
    [
        (20_190_612, 20_190_601, True),  # the scan's day
        (20_190_614, 20_190_612, True),
        (20_190_615, 20_190_601, False),  # three days ahead
        (20_190_611, 20_190_601, False),  # past
        (20_190_613, 20_190_613, False),  # not known yet
    ],
)
def test_earnings_ahead_that_were_known(date: int, known: int, out: bool) -> None:
    symbol = scanned(defaults()).rows[0].symbol
    result = scanned(defaults(), earnings={symbol: (Earning(date, known),)})
    assert (reasons(result).get(symbol) == "earnings") == out
    assert result.warnings == ()


def test_without_an_earnings_list_the_scan_warns() -> None:
    result = scanned(defaults(), earnings=None)
    assert [warning for warning in result.warnings if "earnings" in warning]
    assert result.rows == scanned(defaults()).rows
    assert scanned(changed(earnings=False), earnings=None).warnings == ()


def test_a_stale_universe_is_refused_with_counts() -> None:
    bars = dict(market())
    late = sorted(bars)[:3]
    for symbol in late:
        bars[symbol] = walk(1, 400, end=last_session() - 1)
    assert {reasons(scan(inputs(bars), defaults()))[symbol] for symbol in late} == {"stale"}
    members = dict.fromkeys([*bars, "GONE"], Member())
    with pytest.raises(ScanError, match=r"4 of 62 symbols have no bar of 2019-06-12: 3 end earlier, 1 have no daily"):
        scan(inputs(bars, members=members), defaults())
    bad = scan(inputs(bars, members=members, bad={"GONE": "delisted"}), defaults())
    assert reasons(bad)["GONE"] == "bad_ticker"
    assert reasons(scan(inputs(bars, members=members), defaults(), rules_only=True))["GONE"] == "no_bars"


def test_an_archive_of_few_symbols_cannot_serve_a_large_universe() -> None:
    members = dict.fromkeys([*market(), *(f"X{i}" for i in range(3_000))], Member())
    with pytest.raises(ScanError, match="3,000 have no daily bars"):
        scan(inputs(market(), members=members), defaults())


def test_no_bar_so_early_is_an_error() -> None:
    with pytest.raises(ScanError, match="none of the universe's 61 symbols has a daily bar at or before 1999-01-04"):
        scanned(defaults(), as_of=19_990_104)


def test_rows_are_sorted_cut_and_marked() -> None:
    every = scanned(changed(allow_short=True, regime=False))
    order = [(row.trend_tier, -row.trend_score, row.symbol) for row in every.rows]
    assert order == sorted(order)
    assert [row.rank for row in every.rows] == list(range(1, len(order) + 1))
    few = scanned(changed(allow_short=True, regime=False, max_rows=4, execute_rows=2))
    assert few.rows == tuple(replace(row, execute=row.rank <= 2) for row in every.rows[:4])
    assert {f.symbol for f in few.out if f.reason == "max_rows"} == {row.symbol for row in every.rows[4:]}
    assert {row.symbol for row in few.rows} == {anchor.symbol for anchor in few.anchors}


def test_the_order_of_symbols_in_the_archive_means_nothing() -> None:
    given = inputs(market())
    order = np.random.default_rng(4).permutation(len(given.symbols))
    bars = {given.symbols[i]: market()[given.symbols[i]] for i in order}
    shuffled = replace(
        given,
        symbols=tuple(bars),
        days=type(given.days)(
            np.cumsum([0, *(len(part.session) for part in bars.values())]),
            *(np.concatenate(columns) for columns in zip(*bars.values(), strict=True)),
        ),
    )
    assert scan(shuffled, defaults()) == scan(given, defaults())


# ---------------------------------------------------------------------- levels


def plain_line(bars: Bars, first: int, last: int) -> float:
    part = slice(first, last + 1)
    typical = (bars.high[part] + bars.low[part] + bars.close[part]) / 3.0
    return math.fsum(typical * bars.volume[part]) / math.fsum(bars.volume[part])


@pytest.mark.parametrize("side", [1, -1])
def test_levels_follow_from_the_line(side: int) -> None:
    config = changed(allow_long=side > 0, allow_short=side < 0, regime=False)
    bars = {f"S{i:03}": walk(i, 420, drift=side * 0.0015, price=60.0) for i in range(80)}
    rows = scan(inputs(bars), config).rows
    assert len(rows) >= 15
    dates = sessions()["date"]
    for row in rows:
        part = bars[row.symbol]
        assert row.direction == ("Long" if side > 0 else "Short")
        first = int(np.flatnonzero(dates[part.session] == row.anchor_date)[0])
        line = plain_line(part, first, 419)
        then = plain_line(part, first, 414)
        close, high, low = part.close[-1], part.high[-1], part.low[-1]
        distance = side * (close - line) / line * 100
        assert row.entry_level == pytest.approx(line, abs=0.0051)
        assert row.entry_dist_pct == pytest.approx(distance, abs=0.0051)
        assert 0 < distance <= 8
        slope = (line - then) / then
        assert row.avwap_slope == pytest.approx(slope, abs=0.000051)
        reclaim = side * (part.close[-2] - line) <= 0
        assert reclaim or (slope >= -0.05 if side > 0 else slope <= 0.03)
        pivot = (high + low + close) / 3
        targets = (2 * pivot - (low if side > 0 else high), pivot + side * (high - low))
        assert (row.target_r1, row.target_r2) == pytest.approx(targets, abs=0.0051)
        assert row.stop_loss == pytest.approx(plain_stop(part, line, row.atr, side), abs=0.0051)


def plain_stop(bars: Bars, line: float, atr: float, side: int) -> float:
    """Step 8 in plain words, prices turned over for the short side."""
    ends = [side * x for x in (bars.low if side > 0 else bars.high)[-20:]]
    entry = side * line
    swings = [x for before, x, after in zip(ends, ends[1:], ends[2:], strict=False) if x < before and x < after]
    known = [entry * (1 - side * 0.003)]
    if swings and swings[-1] * (1 - side * 0.005) < entry:
        known.append(swings[-1] * (1 - side * 0.005))
    return side * min(*known, entry - atr, entry * (1 - side * 0.015))


def test_both_sides_of_one_symbol_may_be_candidates() -> None:
    config = changed(
        allow_short=True, regime=False, weekly_min_days=421, anchors={"YTD": 1, "SwingLow": 1, "SwingHigh": 1}
    )
    result = scan(inputs({f"S{i:03}": walk(i, 420, drift=0.0) for i in range(200)}), config)
    assert {row.direction for row in result.rows} == {"Long", "Short"}
    for row in result.rows:
        assert row.setup_avwap_control != ("bearish" if row.direction == "Long" else "bullish")
        assert row.setup_avwap_dist_pct == (row.entry_dist_pct if row.direction == "Long" else -row.entry_dist_pct)


# --------------------------------------------------------------- across symbols


def test_sector_strength_is_the_fund_over_the_index() -> None:
    bars = market() | {"XLK": walk(77, 420)}
    members = {symbol: Member("Information Technology") for symbol in market()} | {"S002": Member("Utilities")}
    result = scan(inputs(bars, members=members), changed(anchors={"SwingLow": 50, "YTD": 3}))
    fund, index = (1 + (b.close[-1] / b.close[-21] - 1) for b in (bars["XLK"], bars["SPY"]))
    found = {row.sector: row.sector_rs for row in result.rows}
    assert found["Information Technology"] == round(fund / index, 4)
    assert found["Information Technology"] != 1.0
    assert found.get("Utilities", 1.0) == 1.0


def test_composite_rank_is_off_until_switched_on() -> None:
    assert {row.composite_rank for row in scanned(defaults()).rows} == {None}
    rows = scanned(changed(composite_rank=True)).rows
    for row in rows:
        partly = 0.4 * row.trend_score_zscore - 0.3 * row.dist_pct_zscore
        slopes = [other.avwap_slope for other in rows]
        steep = (row.avwap_slope - np.mean(slopes)) / np.std(slopes)
        assert row.composite_rank == pytest.approx(partly + 0.3 * steep, abs=0.01)
    assert sum(row.trend_score_zscore for row in rows) == pytest.approx(0.0, abs=1e-5)
    assert max(row.trend_score_pctile for row in rows) == 100.0


def test_a_named_day_and_an_earnings_day_are_anchors() -> None:
    day, reaction = 20_190_501, 20_190_503  # reported after the close of the 2nd
    reports = (Earning(20_190_502, 20_190_401, "amc"), Earning(20_190_516, 20_190_620, "amc"))
    result = scanned(
        changed(anchors={"User": 100_000, "Earnings": 50_000}, max_distance_pct=100.0),
        user=dict.fromkeys(market(), (20_200_101, 20_190_401, day)),
        earnings=dict.fromkeys(market(), reports),
    )
    assert len(result.rows) >= 5
    found = {(row.symbol, row.anchor): row.anchor_date for row in result.rows}
    assert {date for (_, kind), date in found.items() if kind == "User"} == {day}
    assert {anchor.anchor_date for anchor in result.anchors if anchor.kind == "Earnings"} == {reaction}
    before_the_open = {symbol: (reports[0]._replace(when="bmo"),) for symbol in market()}
    early = scanned(changed(anchors={"Earnings": 1}, max_distance_pct=100.0), earnings=before_the_open)
    assert {row.anchor_date for row in early.rows} == {20_190_502}


def test_every_kind_of_anchor_may_be_switched_on() -> None:
    config = changed(anchors=dict.fromkeys(DAILY_ANCHORS[1:], 10), allow_short=True, regime=False)
    result = scanned(
        config, listed=dict.fromkeys(market(), 20_171_010), user=dict.fromkeys(market(), (20_190_301,)), earnings=None
    )
    kinds = {anchor.kind for anchor in result.anchors}
    assert len(result.rows) > 10
    assert set(DAILY_ANCHORS[1:]) - kinds == {"Earnings", "PriorSessionLow"}  # that lies where PriorSessionHigh lies
    for anchor in result.anchors:
        assert anchor.anchor_date <= anchor.known_date <= LAST_DATE
        assert anchor.rule_version == 1
