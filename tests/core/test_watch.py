"""The scan's list in the engine: level, side, stop, targets, gates, rank, and what a position keeps of its row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from avwapd.core import codes, engine, watch
from avwapd.core.codes import SETUP_RECLAIM
from avwapd.core.records import ACTION, WATCH
from tests.core import market
from tests.core.desk import Desk

# The table begins with Tuesday 2024-01-02; the list of the 2nd allows the 3rd.
FIRST, SECOND, THIRD = 20240102, 20240103, 20240104
HELD = {"level": 100.0, "stop": 97.0, "r1": 104.0, "r2": 108.0}


def listed(symbol: int = 0, **changes: Any) -> Any:
    """A WATCH record: long above 100, stop 97, targets 104 and 108."""
    record = np.zeros(1, WATCH)
    terms = {
        "symbol": symbol,
        "scan_date": FIRST,
        "side": 1,
        "tier": 1,
        "execute": 1,
        "trend_score": 10.0,
        "dist_pct": 1.0,
        "slope": 0.01,
        "atr": 2.0,
        "swing_low": 96.0,
        "swing_high": 109.0,
        **HELD,
        **changes,
    }
    for name, value in terms.items():
        record[name] = value
    return record


def mirrored(**changes: Any) -> Any:
    """Short below 100."""
    return listed(side=-1, stop=103.0, r1=96.0, r2=92.0, slope=-0.01, dist_pct=-1.0, **changes)


def give(desk: Desk, *rows: Any) -> None:
    engine.watch(desk.world, np.concatenate([np.zeros(0, WATCH), *rows]))


def watching(*rows: Any, session: int = 1, **changes: float) -> Desk:
    """A desk about to see the first bar of the 3rd, with a list."""
    desk = Desk(**changes)
    desk.skip_to(0)
    desk.bar(90.0, 1_000.0)
    give(desk, *(rows or (listed(),)))
    desk.skip_to(session)
    return desk


# ------------------------------------------------------------------ level and entry


def test_a_break_of_the_rows_level_needs_no_cross_and_holds_one_close() -> None:
    """The live line is at 101 from the first bar on; no close ever lay below the row's 100."""
    desk = watching()
    first = desk.bar(101.0, 1_000.0)
    assert (first.signal, first.skip, first.level) == ("setup", "waiting", 100.0)
    row = desk.bar(101.5)
    assert (row.signal, row.skip, row.level, row.side) == ("entry", "", 100.0, 1)
    assert (row.stop, row.r1, row.r2) == (97.0, 104.0, 108.0)
    assert "watchlist_stale" in row.asked
    assert "not_on_watchlist" not in row.asked


def test_without_the_list_the_live_line_decides() -> None:
    for changes, rows in (({"watch_use": 0}, (listed(),)), ({}, (listed(symbol=0, execute=0),))):
        desk = watching(*rows, watch_execute_only=1, **changes)
        desk.bar(101.0, 1_000.0)
        row = desk.bar(101.5)
        assert (row.signal, row.level) == ("setup", 101.0)
        assert not {"watchlist_stale", "not_on_watchlist"} & row.asked


@pytest.mark.parametrize(
    ("closes", "last"),
    [((101, 100), "entry"), ((101, 99.99), "none"), ((101, 99.99, 101), "setup"), ((100, 101), "setup")],
)
def test_the_next_close_must_not_lie_back(closes: tuple[float, ...], last: str) -> None:
    desk = watching()
    assert desk.bars(*closes).signal == last


def test_a_row_permits_its_own_side_only() -> None:
    desk = watching(allow_short=1)
    assert desk.bars(99.0, 98.0).signal == "none"
    desk = watching(mirrored(), allow_short=1)
    assert desk.bars(101.0, 102.0).signal == "none"
    desk = watching(mirrored(), allow_short=1)
    row = desk.bars(99.0, 98.5)
    assert (row.signal, row.side, row.stop, row.r1, row.r2) == ("entry", -1, 103.0, 96.0, 92.0)
    desk = watching(mirrored())
    assert desk.bars(99.0, 98.5).signal == "none", "short is off by default"


def test_a_reclaim_of_the_rows_level_needs_the_wrong_side_first() -> None:
    changes = {"setup": SETUP_RECLAIM, "hold_closes": 2}
    assert watching(**changes).bars(101.0, 102.0).signal == "none"
    assert watching(**changes).bars(99.0, 101.0, 102.0).signal == "entry"


def test_a_new_anchor_of_the_live_line_leaves_the_count_alone() -> None:
    """A swing confirmed between break and hold begins the live line anew."""
    desk = Desk(anchors=("swing_low",), k=1)
    desk.skip_to(0)
    desk.bar(90.0, 1_000.0)
    give(desk, listed())
    desk.skip_to(1)
    desk.bar(101.0, 1_000.0, low=100.9)
    desk.bar(100.5, 1_000.0, low=100.1)
    assert desk.phase == "ENTERING"
    desk = Desk(anchors=("swing_low",), k=1)
    desk.skip_to(0)
    for price in (95.0, 94.0):
        desk.bar(price, 1_000.0)
    give(desk, listed())
    desk.skip_to(1)
    desk.bar(100.5, 1_000.0)  # confirms the swing at 94
    assert desk.state["avwap"][0]["known_ms"] == desk.last_ms
    assert desk.bar(100.6).signal == "entry"


# ------------------------------------------------------------------ which session


def test_a_row_trades_in_the_session_after_its_scan_and_in_no_other() -> None:
    desk = watching(listed(scan_date=FIRST), session=2)
    row = desk.bars(101.0, 102.0)
    assert "watchlist_stale" in row.blocked
    assert row.after == "FLAT"
    desk = watching(listed(scan_date=SECOND), session=1)
    assert "watchlist_stale" in desk.bar(101.0).blocked
    desk = watching(listed(scan_date=SECOND), session=2)
    assert desk.bars(101.0, 102.0).signal == "entry"


def test_a_scan_before_a_weekend_allows_monday() -> None:
    desk = watching(listed(scan_date=20240105), session=4)
    assert desk.table["date"][4] == 20240108
    assert desk.bars(101.0, 102.0).signal == "entry"


def test_a_stale_row_looks_at_the_live_line() -> None:
    desk = watching(session=2)
    desk.bar(100.0, 1_000.0)
    desk.bar(99.0)
    row = desk.bars(101.0, 102.0)
    assert (row.level, row.signal) == (100.0, "confirmed")
    assert row.blocked == {"watchlist_stale"}


def test_required_and_absent() -> None:
    desk = Desk(watch_required=1)
    row = desk.ordered()
    assert (row.skip, row.blocked) == ("gate", {"not_on_watchlist"})
    desk = watching(listed(execute=0), watch_required=1, watch_execute_only=1)
    desk.bar(101.0, 1_000.0)
    desk.bar(100.0)
    assert "not_on_watchlist" in desk.bars(102.0, 103.0).blocked
    desk = watching(watch_required=1)
    row = desk.bars(101.0, 102.0)
    assert (row.signal, row.blocked) == ("entry", set())
    assert {"not_on_watchlist", "watchlist_stale"} <= row.asked


def test_rows_not_marked_trade_where_the_setting_says_so() -> None:
    assert watching(listed(execute=0), watch_execute_only=0).bars(101.0, 102.0).signal == "entry"


def test_a_new_list_replaces_the_old_one_whole() -> None:
    desk = watching()
    desk.bar(101.0, 1_000.0)
    give(desk, listed())
    assert desk.bar(101.5).signal == "entry", "the same row again changes nothing"
    desk = watching()
    desk.bar(101.0, 1_000.0)
    give(desk, listed(level=100.5))
    assert desk.bar(101.5).signal == "setup", "another level is counted anew"
    desk = watching()
    desk.bar(101.0, 1_000.0)
    give(desk)
    row = desk.bar(101.5)
    assert (row.signal, row.level, int(desk.portfolio["watching"])) == ("none", 101.0, 0)


def test_a_pending_confirmation_ends_with_its_row() -> None:
    desk = watching(entry_delay_min_ms=60_000, entry_delay_max_ms=60_000)
    assert desk.bars(101.0, 102.0).signal == "confirmed"
    give(desk)
    assert desk.state["pending_side"] == 0
    assert desk.bar(102.0).signal == "none"


# ------------------------------------------------------------------ gates and size


def test_the_slope_gate_reads_the_row() -> None:
    assert watching(listed(slope=-0.0301)).bars(101.0, 102.0).blocked == {"slope"}
    assert watching(listed(slope=-0.03)).bars(101.0, 102.0).signal == "entry"
    desk = watching(mirrored(), allow_short=1)
    desk.world.watch["slope"] = 0.031
    assert desk.bars(99.0, 98.5).blocked == {"slope"}


def test_distance_is_that_of_the_close_and_size_that_of_the_row() -> None:
    """100,000 x 2% x (1 - max(1.5, 100 x 2 / 102) / 6), by ATR; with an ATR of 0.5, by the row's distance."""
    assert watching(max_distance_pct=1.99).bars(101.0, 102.0).blocked == {"distance"}
    row = watching(listed(dist_pct=1.5, atr=2.0)).bars(101.0, 102.0)
    assert row.qty == int(2_000 * (1 - 200 / 102 / 6) / 102)
    row = watching(listed(dist_pct=1.5, atr=0.5)).bars(101.0, 102.0)
    assert row.qty == int(2_000 * (1 - 1.5 / 6) / 102)
    row = watching(listed(dist_pct=1.5, atr=math.nan)).bars(101.0, 102.0)
    assert row.qty == int(2_000 * 0.25 / 102)


def test_a_stop_that_is_not_behind_the_close_refuses() -> None:
    row = watching(listed(stop=102.0)).bars(101.0, 102.0)
    assert (row.blocked, row.after) == ({"stop_invalid"}, "FLAT")


def crowd(*rows: Any, **changes: float) -> list[int]:
    """The symbols in the order of their entries, where four confirm at one barrier."""
    table = market.bell_sessions()
    instruments = np.concatenate([market.equity(0, len(table)) for _ in range(4)])
    desk = Desk(instruments, table, watch_execute_only=0, require_cross=0, **changes)
    desk.skip_to(0)
    desk.barrier([(n, 90.0, 1_000.0) for n in range(4)])
    give(desk, *rows)
    desk.skip_to(1)
    # The live lines are at 101, 102, …: the second bar's close lies beyond them all, nearest the last.
    for price in (101.0, 106.0, 106.5):
        desk.barrier([(n, price + (n if price == 101.0 else 0), 1_000.0 if price == 101.0 else 0.0) for n in range(4)])
    rows_of = desk.out.effects[: desk.out.n[1]]
    return [int(row["symbol"]) for row in rows_of if row["purpose"] == codes.PURPOSE_ENTRY]


def test_entries_rank_by_tier_then_score_then_symbol_and_the_unlisted_after_them() -> None:
    assert crowd() == [3, 2, 1, 0]
    high = {"level": 105.0, "r1": 110.0, "r2": 112.0}
    rows = [listed(2, tier=2, trend_score=99.0, **high), listed(1, tier=1, trend_score=5.0, **high)]
    rows.append(listed(0, tier=1, trend_score=5.0, **high))
    assert crowd(*rows) == [0, 1, 2, 3]
    rows[1]["trend_score"] = 5.5
    assert crowd(*rows) == [1, 0, 2, 3]
    assert crowd(*rows, max_positions=1) == [1]


# ------------------------------------------------------------------ the position


def opened(desk: Desk) -> Desk:
    desk.bars(101.0, 102.0)
    desk.bar(102.0, 100_000.0)
    assert desk.phase == "OPEN"
    return desk


def test_targets_not_beyond_the_fill_are_replaced() -> None:
    desk = opened(watching(listed(r1=102.0, r2=103.0)))
    assert (desk.state["r1"], desk.state["r2"]) == (10_700, 11_200)
    desk = opened(watching(listed(r1=101.0, r2=110.0)))
    assert (desk.state["r1"], desk.state["r2"]) == (10_700, 11_000)


def test_invalidation_is_judged_by_the_entry_level_on_later_days_too() -> None:
    """0.2% below 100; the live line of the next session begins at 95."""
    desk = opened(watching(invalidation_pct=0.2, stop_buffer_usd=0.0))
    desk.bar(99.81)
    assert desk.phase == "OPEN"
    desk.skip_to(2)
    give(desk, listed(scan_date=SECOND, level=90.0, stop=80.0))
    row = desk.bar(99.81, 1_000.0)
    assert (row.level, row.exit) == (100.0, "")
    row = desk.bar(99.8, 1_000.0)
    assert (row.level, row.exit, row.after) == (100.0, "invalidation", "EXITING")


def test_a_position_keeps_its_levels_when_a_list_comes() -> None:
    desk = watching()
    desk.bars(101.0, 102.0)
    give(desk, listed(level=99.0, stop=90.0, r1=120.0, r2=130.0))
    desk.bar(102.0, 100_000.0)
    give(desk)
    assert desk.phase == "OPEN"
    assert (desk.state["stop"], desk.state["r1"], desk.state["r2"]) == (9_700, 10_400, 10_800)
    assert desk.bar(102.0).level == 100.0


def test_a_symbol_that_leaves_the_list_while_open_only_exits() -> None:
    desk = opened(watching(watch_required=1, invalidation_pct=0.2, entries_per_symbol_day=9))
    give(desk)
    row = desk.bar(99.7, 100_000.0)
    assert (row.exit, row.after) == ("invalidation", "EXITING")
    desk.bar(99.7, 100_000.0)
    assert desk.phase == "FLAT"
    row = desk.bars(98.0, 103.0, 104.0)
    assert "not_on_watchlist" in row.blocked
    assert desk.phase == "FLAT"


def test_the_stop_follows_the_rows_swing_until_the_next_row() -> None:
    """Guards aside, the swing less ten cents; without a further row the position keeps its own."""
    changes = {"guard_pct": 0.0, "guard_ms": 0, "guard_bars": 0}
    desk = opened(watching(listed(swing_low=98.0), **changes))
    desk.state["swing_low"] = 99.5  # of aggregated days: not asked while the row's is there
    desk.bar(102.0)
    assert desk.state["stop"] == 9_790
    give(desk)
    desk.bar(102.0)
    assert desk.state["stop"] == 9_790
    give(desk, listed(scan_date=SECOND, swing_low=99.0))
    desk.bar(102.0)
    assert desk.state["stop"] == 9_890
    desk = opened(watching(listed(swing_low=math.nan), **changes))
    desk.state["swing_low"] = 99.5
    desk.bar(102.0)
    assert desk.state["stop"] == 9_700, "unknown stays unknown"


def test_the_next_trade_on_a_live_line_knows_nothing_of_the_row() -> None:
    desk = opened(watching(entries_per_symbol_day=5))
    desk.bar(90.0, 100_000.0)
    assert desk.phase == "FLAT"
    give(desk)
    desk.skip_to(2)
    desk.entered()
    assert desk.phase == "OPEN"
    assert math.isnan(desk.state["entry_level"])
    assert not desk.state["row_swings"]
    assert desk.bar(102.0).level == desk.level(engine.machine.POSITION_ANCHOR)


# ------------------------------------------------------------------ daily bars


def daily(**changes: float) -> Desk:
    """Daily bars of the shipped calendar; the bar of the 2nd has closed."""
    table = market.bell_sessions()
    desk = Desk(market.equity(0, len(table), market.DAY_MS), table, timeframe_ms=market.DAY_MS, **changes)
    desk.stamps = (table["open_ms"] + 390 * market.MINUTE_MS).tolist()
    desk.bar(98.0, 10_000.0)
    return desk


def test_a_daily_close_that_its_own_scan_listed_is_ordered_at_once() -> None:
    desk = daily()
    give(desk, listed(scan_date=SECOND))
    row = desk.bar(101.0, 10_000.0)
    assert (row.signal, row.skip, row.level) == ("entry", "", 100.0)
    assert codes.SETUPS[row.record["setup"]] == "scan"
    assert row.limit == 101.1  # 101 x 1.001 = 101.101
    assert (row.stop, row.r1, row.r2) == (97.0, 104.0, 108.0)
    desk.bar(102.0, 10_000.0, open=101.05)
    assert desk.fills[0] == ("entry", row.qty, 101.05)


def test_a_daily_row_is_good_for_one_close() -> None:
    desk = daily()
    give(desk, listed(scan_date=FIRST))
    row = desk.bar(101.0, 10_000.0)
    assert (row.signal, row.blocked) == ("none", {"watchlist_stale"})
    desk = daily(max_distance_pct=0.5)
    give(desk, listed(scan_date=SECOND))
    assert desk.bar(101.0, 10_000.0).blocked == {"distance"}
    desk.params["max_distance_pct"] = 6.0
    row = desk.bar(101.0, 10_000.0)
    assert (row.signal, desk.state["pending_side"]) == ("none", 0)


def test_daily_lists_day_after_day() -> None:
    desk = daily(max_distance_pct=0.5)
    give(desk, listed(scan_date=SECOND))
    assert desk.bar(101.0, 10_000.0).signal == "confirmed"
    desk.params["max_distance_pct"] = 6.0
    give(desk, listed(scan_date=THIRD, level=100.5))
    row = desk.bar(101.0, 10_000.0)
    assert (row.signal, row.level) == ("entry", 100.5)


def test_daily_short_is_off_by_default() -> None:
    for short, signal in ((0, "none"), (1, "entry")):
        desk = daily(allow_short=short)
        give(desk, mirrored(scan_date=SECOND))
        assert desk.bar(99.0, 10_000.0).signal == signal


@pytest.mark.parametrize("near", range(20))
def test_the_session_allowed_is_found_from_anywhere(near: int) -> None:
    table = market.bell_sessions()
    inst = market.equity(0, len(table))[0]
    assert watch.session_allowed(table, inst, near, FIRST) == 1
    assert watch.session_allowed(table, inst, near, 20240106) == 4
    assert watch.session_allowed(table, inst, near, 20231231) == 0
    assert watch.session_allowed(table, inst, near, int(table["date"][-1])) == -1
    inst["daily"] = 1
    assert watch.session_allowed(table, inst, near, FIRST) == 0
    assert watch.session_allowed(table, inst, near, 20240106) == -1


@pytest.mark.parametrize(("date", "ratio"), [(FIRST, 1.0), (SECOND, 0.5)])
def test_an_action_moves_only_rows_that_are_older(date: int, ratio: float) -> None:
    """A scan knows the splits of its own day and before: its rows are in those prices."""
    desk = watching()
    actions = np.zeros(1, ACTION)
    actions["ts_ms"], actions["date"] = desk.table["open_ms"][1], date
    actions["price_ratio"] = actions["split_ratio"] = 0.5
    engine.restate(desk.world, desk.out, int(actions["ts_ms"][0]), actions)
    row = desk.world.watch[0]
    assert [row[name] for name in HELD] == [value * ratio for value in HELD.values()]
    assert (row["atr"], row["swing_low"]) == (2.0 * ratio, 96.0 * ratio)
