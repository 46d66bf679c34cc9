"""The fill model by example, through the engine: entry 102.10 limit, stop 99.70 (short: 97.90, 100.30)."""

from __future__ import annotations

import pytest

from avwapd.core.codes import FLAT
from avwapd.core.price import scaled, to_lots, to_ticks
from tests.core import market
from tests.core.desk import Desk


@pytest.mark.parametrize(
    ("side", "open_", "high", "low", "price"),
    [
        (1, 102.00, 102.0, 102.0, 102.00),  # opens better than the limit
        (1, 102.10, 102.1, 102.1, 102.10),
        (1, 103.00, 103.0, 102.1, 102.10),  # comes back to it
        (1, 103.00, 103.0, 102.11, None),  # a cent away
        (-1, 98.00, 98.0, 98.0, 98.00),
        (-1, 97.00, 97.9, 97.0, 97.90),
        (-1, 97.00, 97.89, 97.0, None),
    ],
)
def test_a_limit_fills_where_touched_or_better(
    side: int, open_: float, high: float, low: float, price: float | None
) -> None:
    desk = Desk(allow_short=1)
    desk.ordered(side)
    desk.bar(open_, 1_000.0, open=open_, high=high, low=low)
    assert [fill[2] for fill in desk.fills] == ([] if price is None else [price])


@pytest.mark.parametrize(
    ("side", "open_", "reach", "price"),
    [
        (1, 101.0, 99.70, 99.70),
        (1, 101.0, 99.71, None),
        (1, 99.0, 98.0, 99.00),  # opens through the stop
        (1, 99.70, 99.70, 99.70),
        (-1, 99.0, 100.30, 100.30),
        (-1, 99.0, 100.29, None),
        (-1, 101.0, 102.0, 101.00),
    ],
)
def test_a_stop_fills_where_touched_or_at_an_open_beyond_it(
    side: int, open_: float, reach: float, price: float | None
) -> None:
    desk = Desk(allow_short=1)
    desk.entered(side)
    high, low = max(open_, reach), min(open_, reach)
    desk.bar(open_, 1_000.0, open=open_, high=high, low=low)
    assert [fill[2] for fill in desk.fills[1:]] == ([] if price is None else [price])
    assert (desk.state["phase"] == FLAT) == (price is not None)


def test_stop_and_target_in_one_bar_the_stop_acts() -> None:
    desk = Desk()
    desk.entered()
    row = desk.bar(105.0, 1_000.0, open=103.0, high=110.0, low=99.0)
    assert desk.fills[1:] == [("stop", 4, 99.7)]
    assert row.after == "FLAT"


def test_a_share_of_the_volume_and_a_triggered_stop_works_on_at_market() -> None:
    desk = Desk(sizing=1, volume_share=0.1)
    desk.ordered()
    desk.bar(102.0, 1_000.0)
    assert desk.fills == [("entry", 98, 102.0)]
    desk.bar(101.0, 555.0, low=99.0)  # 10% of 555: 55 shares
    assert desk.fills[1:] == [("stop", 55, 99.7)]
    assert (desk.phase, desk.state["qty"]) == ("OPEN", 43)
    desk.bar(101.0, 400.0, open=101.0)  # back above the stop: the rest is out at the open all the same
    assert desk.fills[2:] == [("stop", 40, 101.0)]
    desk.bar(101.0, 0.0)
    assert desk.state["qty"] == 3
    desk.bar(98.0, 30.0)
    assert desk.fills[3:] == [("stop", 3, 98.0)]
    assert desk.phase == "FLAT"


def test_an_entry_lives_one_bar_and_a_part_of_it_is_kept() -> None:
    desk = Desk(sizing=1, volume_share=0.1)
    desk.ordered()
    desk.bar(102.0, 300.0)
    assert desk.fills == [("entry", 30, 102.0)]
    desk.bar(102.0, 10_000.0)
    assert desk.fills == [("entry", 30, 102.0)]
    assert desk.effects == [
        ("submit", "entry", 98),
        ("submit", "stop", 30),
        ("cancel", "entry", 0),
    ]


def test_slippage_costs_market_and_stop_orders_only() -> None:
    """2.5 bps of 102.00 are 2.55 cents, half to even 3; of 99.70 2.49, so 2."""
    table = market.bell_sessions()
    for kind, price in ((2, 102.00), (1, 102.03)):
        desk = Desk(market.equity(0, len(table), slippage_ppm=250), table, entry_type=kind)
        desk.entered()
        desk.bar(99.0, 1_000.0, open=101.0, low=99.0)
        assert desk.fills == [("entry", 4, price), ("stop", 4, 99.68)]


def test_commission_once_a_trade_and_by_notional() -> None:
    table, days = market.bell_sessions(), market.utc_days()
    desk = Desk(market.equity(0, len(table), commission_units=100), table, sizing=1, volume_share=0.1)
    desk.ordered()
    desk.bar(102.0, 300.0)
    desk.bar(101.0, 100.0, open=99.0)
    desk.bar(99.0, 1_000.0)
    assert [int(row["fee"]) for row in desk.out.fills[:3]] == [100, 100, 0]
    assert desk.state["cash"] == -30 * 10_200 + 30 * 9_900 - 200

    desk = Desk(market.crypto(0, len(days), commission_ppm=1_000), days)
    desk.entered()
    assert desk.out.fills[0]["fee"] == 499_994  # 49,019 lots x 10,200 ticks = 499,993,800 units, of these 0.1%


def test_market_orders_fill_at_the_next_session_bar_only() -> None:
    desk = Desk(entry_type=1)
    desk.ordered()
    closed = int(desk.table["close_ms"][0]) + 5 * market.MINUTE_MS
    row = desk.bar(150.0, 1_000.0, ts_ms=closed)
    assert (row.skip, desk.fills) == ("market_closed", [])
    desk.skip_to(1)
    desk.bar(103.0, 1_000.0, open=101.5)
    assert desk.fills == [("entry", 4, 101.5)]


def test_the_days_entry_belongs_to_the_day_of_the_fill() -> None:
    desk = Desk(entry_type=1)
    desk.ordered()
    desk.skip_to(1)
    desk.bar(102.0, 1_000.0)
    assert desk.state["consumed_date"] == 20240103


def test_prices_round_to_the_tick_half_even() -> None:
    assert [to_ticks(price, 0.25) for price in (0.125, 0.375, 0.625, 0.1249, 0.3751)] == [0, 2, 2, 0, 2]
    assert to_ticks(0.00003, 1e-8) == 3_000
    assert [to_lots(qty, 0.1) for qty in (0.3, 0.29, 0.09)] == [3, 2, 0]
    assert [scaled(n, 500_000) for n in (1, 3, -1, -3, 5)] == [0, 2, 0, -2, 2]
    assert scaled(10**17 + 1_234_567, 1_000) == 10**14 + 1_235  # the plain product would leave int64
