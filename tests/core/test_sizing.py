"""Sizes, caps, rank and ceilings by example: equity 100,000, price 102, level 100, stop 99.70."""

from __future__ import annotations

import numpy as np
import pytest

from avwapd.core import risk
from tests.core import market
from tests.core.desk import Desk, Row


def several(count: int, **changes: float) -> Desk:
    table = market.bell_sessions()
    return Desk(np.concatenate([market.equity(0, len(table))] * count), table, **changes)


def ordered(desk: Desk, *closes: float) -> list[Row]:
    """One symbol a close, all confirming in one barrier; level 100."""
    desk.barrier([(n, 100.0, 1_000.0) for n in range(len(closes))])
    desk.barrier([(n, 100.5) for n in range(len(closes))])
    return desk.barrier([(n, close) for n, close in enumerate(closes)])


def test_volatility_proxy_with_an_unknown_atr_sizes_smallest() -> None:
    """2% of 100,000 x the floor 0.25 = 500; 500 / 102 = 4.9 shares."""
    assert Desk().ordered().qty == 4


@pytest.mark.parametrize(
    ("atr", "lots"),
    [
        (0.0, 13),  # the distance, 2%, is more: 1 - 2/6 -> 1333.33 / 102 = 13.07
        (3.06, 9),  # 3% of 102: 1 - 3/6 -> 1,000 / 102 = 9.8
        (5.0, 4),  # 4.9%: below the floor of 0.25 -> 500
        (50.0, 4),
    ],
)
def test_volatility_proxy_by_distance_or_atr(atr: float, lots: int) -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    desk.bars(101.0)
    desk.state["atr"] = atr
    desk.params["atr_stop_multiple"] = 0.0
    assert desk.bar(102.0).qty == lots


def test_risk_per_trade_and_its_cap() -> None:
    """1% of equity over 2.30 of risk are 434 shares; 10% of equity buys only 98."""
    assert Desk(sizing=1).ordered().qty == 98
    assert Desk(sizing=1, max_position_fraction=1.0).ordered().qty == 434
    assert Desk(sizing=1, risk_fraction=0.001).ordered().qty == 43


def test_sizes_floor_to_the_lot() -> None:
    days = market.utc_days()
    row = Desk(market.crypto(0, len(days)), days).ordered()
    assert row.qty == 49_019  # 500 / 102 = 4.90196 coins in lots of 1/10,000


def test_entries_rank_by_distance_then_symbol_and_each_uses_up_the_caps() -> None:
    desk = several(5, max_positions=3)
    rows = ordered(desk, 102.0, 101.0, 103.0, 101.0, 101.5)
    assert [row.after for row in rows] == ["FLAT", "ENTERING", "FLAT", "ENTERING", "ENTERING"]
    assert [row.skip for row in rows] == ["outranked", "", "outranked", "", ""]
    assert rows[0].blocked == {"cap_positions"}
    entries = desk.out.effects[: desk.out.n[1]]["symbol"].tolist()
    assert entries == [1, 3, 4]


def test_gross_exposure_counts_what_was_ordered_before() -> None:
    """Each takes 4 shares, 408.00, or 404.00 at 101; 0.8% of equity are 800."""
    rows = ordered(several(3, max_gross_fraction=0.0082), 102.0, 101.0, 102.0)
    assert [row.skip for row in rows] == ["", "", "outranked"]
    assert rows[2].blocked == {"cap_gross"}
    rows = ordered(several(2, max_gross_notional=811.0), 102.0, 101.0)
    assert [row.blocked for row in rows] == [{"cap_gross"}, set()]


def test_entries_a_day_count_until_the_next_session() -> None:
    desk = several(2, max_entries_day=1)
    rows = ordered(desk, 102.0, 101.0)
    assert [row.blocked for row in rows] == [{"cap_entries"}, set()]
    assert desk.portfolio["entries_today"] == 1
    desk.skip_to(1)
    assert ordered(desk, 102.0, 105.0)[0].skip == ""


@pytest.mark.parametrize(
    ("ceiling", "value", "gate"),
    [
        ("ceiling_notional", 407.0, "cap_symbol"),
        ("ceiling_gross_fraction", 0.004, "cap_gross"),
        ("ceiling_entries_day", 0, "cap_entries"),
    ],
)
def test_ceilings_stand_above_the_settings(ceiling: str, value: float, gate: str) -> None:
    desk = Desk(max_entries_day=10_000, max_gross_fraction=9.0)
    desk.params[ceiling] = value
    row = desk.ordered()
    assert (row.skip, row.blocked) == ("gate", {gate})


def test_ceilings_come_from_constants() -> None:
    shipped = market.params()[0]
    assert (shipped["ceiling_gross_fraction"], shipped["ceiling_entries_day"]) == (2.0, 10_000)
    assert shipped["ceiling_notional"] > 0.0


def test_an_exit_counts_until_it_is_filled() -> None:
    desk = several(2, max_positions=1, invalidation_pct=0.2, percent_stop_factor=0.9)
    for closes in ((100.0, 1_000.0), (101.0,), (102.0,), (102.0, 1_000.0)):
        desk.barrier([(0, *closes), (1, 100.0, 1_000.0)])
    desk.barrier([(0, 102.0), (1, 100.5)])
    rows = desk.barrier([(0, 99.0), (1, 101.0)])
    assert (rows[0].exit, rows[0].after, rows[1].blocked) == ("invalidation", "EXITING", {"cap_positions"})
    rows = desk.barrier([(0, 99.0, 1_000.0), (1, 101.0)])
    assert (rows[0].after, rows[1].after) == ("FLAT", "ENTERING")


@pytest.mark.parametrize(
    ("side", "known", "stop"),
    [
        (1, {}, 99.70),  # the line x 0.997; 102 x 0.985 = 100.47 is nearer
        (1, {"swing_low": 100.0}, 99.50),  # x 0.995
        (1, {"swing_low": 103.0}, 99.70),  # not behind the price
        (1, {"atr": 3.0}, 99.00),  # 102 - 3
        (1, {"atr": 1.0}, 99.70),
        (-1, {}, 100.30),
        (-1, {"swing_high": 100.0}, 100.50),
        (-1, {"swing_high": 97.0}, 100.30),
        (-1, {"atr": 3.0}, 101.00),
    ],
)
def test_the_first_stop_is_the_widest_known(side: int, known: dict[str, float], stop: float) -> None:
    desk = Desk(allow_short=1)
    desk.bar(100.0, 1_000.0)
    desk.bars(100.0 + side)
    for name, value in known.items():
        desk.state[name] = value
    row = desk.bar(100.0 + 2 * side)
    assert row.stop == stop


def test_without_swing_and_line_behind_the_price_the_five_day_floor_counts() -> None:
    desk = Desk()
    desk.state["floor_low"] = 90.0
    stop = risk.initial_stop(desk.state, desk.params[0], 1, 99.0, 100.0)
    assert stop == 90.0 * 0.997
    desk.state["ceiling_high"] = 110.0
    assert risk.initial_stop(desk.state, desk.params[0], -1, 101.0, 100.0) == pytest.approx(110.33, abs=1e-9)


def test_targets_are_one_and_two_r_from_the_confirming_close() -> None:
    row = Desk().ordered()
    assert (row.stop, row.r1, row.r2) == (99.70, 104.30, 106.60)
    row = Desk(allow_short=1).ordered(side=-1)
    assert (row.stop, row.r1, row.r2) == (100.30, 95.70, 93.40)


@pytest.mark.parametrize(("side", "limit"), [(1, 102.10), (-1, 97.90)])
def test_the_limit_is_ten_basis_points_beyond_the_close(side: int, limit: float) -> None:
    assert Desk(allow_short=1).ordered(side).limit == limit


def test_conversion_by_the_pair_last_closed() -> None:
    """An asset quoted in coins of 50,000: 500 in equity currency are 0.01 coins, at 102 nothing but a fraction."""
    days = market.utc_days()
    pair = market.crypto(0, len(days), tradable=0)
    quoted = market.crypto(0, len(days), convert_symbol=0, lot=1e-8, unit_value=1e-10)
    desk = Desk(np.concatenate([pair, quoted]), days)
    desk.barrier([(1, 100.0, 1_000.0)])
    desk.barrier([(1, 101.0)])
    rows = desk.barrier([(1, 102.0)])
    assert rows[0].blocked == {"no_conversion"}
    rows = desk.barrier([(0, 50_000.0, 1.0), (1, 102.0)])
    assert len(rows) == 1  # the pair is only read
    assert (rows[0].skip, rows[0].qty) == ("", 9_803)  # 500 / (102 x 50,000) = 0.0000980392


def test_the_inverse_pair_converts_too() -> None:
    days = market.utc_days()
    pair = market.crypto(0, len(days), tradable=0)
    quoted = market.crypto(0, len(days), convert_symbol=0, convert_inverse=1)
    desk = Desk(np.concatenate([pair, quoted]), days)
    desk.barrier([(0, 0.5, 1.0), (1, 100.0, 1_000.0)])
    desk.barrier([(1, 101.0)])
    assert desk.barrier([(1, 102.0)])[0].qty == 24_509  # 500 / (102 x 2) = 2.45098
