"""Rows without orders, late bars, portfolio blocks and operators' acts, by example."""

from __future__ import annotations

import numpy as np
import pytest

from avwapd.core import engine, machine
from avwapd.core.codes import (
    ACT_FLATTEN,
    ACT_HALT,
    ACT_REARM,
    ACT_RESUME,
    BAR_CADENCE,
    BAR_LATE,
    BAR_MISSING,
    BAR_RETRY,
    BAR_SILENT,
    BAR_WARMUP,
    ERROR_ORDER,
    OUTER_KILL_SWITCH,
)
from avwapd.core.records import BAR
from tests.core import market
from tests.core.desk import Desk


def test_market_closed_moves_nothing() -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    before = desk.state.copy()
    row = desk.bar(500.0, 9_999.0, ts_ms=int(desk.table["close_ms"][0]) + 5 * market.MINUTE_MS)
    assert (row.skip, row.asked) == ("market_closed", set())
    after = desk.state.copy()
    before["decided_ms"] = after["decided_ms"]
    assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize(("minutes", "skip"), [(0, "market_closed"), (1, ""), (390, ""), (391, "market_closed")])
def test_a_bar_belongs_to_the_session_after_its_open_up_to_its_close(minutes: int, skip: str) -> None:
    desk = Desk(timeframe_ms=market.MINUTE_MS)
    row = desk.bar(100.0, 1.0, ts_ms=int(desk.table["open_ms"][1]) + minutes * market.MINUTE_MS)
    assert (row.skip == "market_closed") == (skip == "market_closed")


def test_fetch_failed_is_a_row_and_the_late_bar_moves_state_without_a_second() -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    row = desk.bar(0.0, flags=BAR_MISSING)
    assert (row.skip, desk.state["bars_seen"]) == ("fetch_failed", 1)
    assert desk.barrier([(0, 103.0, 1_000.0)], flags=BAR_SILENT, ts_ms=desk.last_ms) == []
    assert (desk.state["bars_seen"], desk.level()) == (2, 101.5)
    assert len({int(r["ts_ms"]) for r in desk.out.decisions[: desk.out.n[machine.DECISIONS]]}) == 2


def test_cadence_failed_blocks_entries_and_still_moves_stops_and_exits() -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    assert desk.bar(101.0, flags=BAR_CADENCE).skip == "cadence_failed"
    desk.skip_to(0, bar=20)
    assert desk.bar(102.0).skip == "cadence_failed"  # more than three bars are missing
    desk = Desk()
    desk.entered()
    desk.skip_to(0, bar=20)
    row = desk.bar(107.0, 1_000.0)
    assert (row.exit, row.after) == ("r2", "EXITING")


@pytest.mark.parametrize(("lost", "skip"), [(3, "waiting"), (4, "cadence_failed")])
def test_how_many_missing_bars_are_tolerated(lost: int, skip: str) -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    desk.skip_to(0, bar=1 + lost)
    assert desk.bar(101.0).skip == skip


def test_not_enough_bars() -> None:
    desk = Desk(min_bars=3)
    desk.bar(100.0, 1_000.0)
    assert desk.bar(101.0).skip == "not_enough_bars"
    assert desk.bar(102.0).signal == "entry"


def test_persist_failed_is_said_and_opens_nothing() -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    desk.bar(101.0)
    row = desk.bar(102.0, flags=BAR_RETRY)
    assert (row.skip, row.after) == ("persist_failed", "FLAT")


def test_warm_up_decides_nothing_and_still_learns() -> None:
    desk = Desk()
    assert desk.barrier([(0, 100.0, 1_000.0)], flags=BAR_WARMUP) == []
    assert desk.barrier([(0, 101.0)], flags=BAR_WARMUP) == []
    assert desk.barrier([(0, 102.0)], flags=BAR_WARMUP) == []
    assert desk.effects == []
    assert desk.bar(102.0).signal == "entry"


@pytest.mark.parametrize("back", [0, 1])
def test_bars_out_of_order_stop_the_engine(back: int) -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    bar = np.zeros(1, BAR)
    bar[0] = (desk.last_ms - back, 0, 0, 100.0, 100.0, 100.0, 100.0, 1.0)
    engine.step_many(desk.world, desk.out, bar)
    assert desk.out.n[machine.ERROR] == ERROR_ORDER


# --------------------------------------------------------------- late bars


def test_late_bars_open_nothing() -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0, flags=BAR_LATE)
    desk.bar(101.0, flags=BAR_LATE)
    row = desk.bar(102.0, flags=BAR_LATE)
    assert (row.skip, row.blocked) == ("gate", {"late"})
    assert desk.bar(102.0).signal == "entry"  # still pending, and now in time


def late_bars(desk: Desk, *bars: tuple[float, float]) -> None:
    """(close, high) of bars folded after downtime; the venue fills nothing meanwhile."""
    for close, high in bars:
        desk.last_ms = desk.next_ms()
        record = np.zeros(1, BAR)
        record[0] = (desk.last_ms, 0, BAR_LATE, close, high, close, close, 1_000.0)
        engine.step_many(desk.world, desk.out, record)


def test_late_bars_move_stops_and_ask_for_exits_once_they_are_all_in() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    sent = len(desk.effects)
    late_bars(desk, (104.0, 104.3), (107.0, 107.0), (108.0, 108.0))
    assert len(desk.effects) == sent
    assert (desk.phase, desk.state["stop"]) == ("EXITING", 10_200)
    engine.caught_up(desk.world, desk.out)
    assert desk.effects[sent:] == [("cancel", "stop", 0)]
    engine.caught_up(desk.world, desk.out)
    assert len(desk.effects) == sent + 1  # at most one exit a symbol


def test_after_downtime_a_first_target_becomes_one_smaller_stop() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    sent = len(desk.effects)
    late_bars(desk, (104.0, 104.3), (104.0, 104.5))
    engine.caught_up(desk.world, desk.out)
    assert desk.effects[sent:] == [("replace", "stop", 49)]


# ------------------------------------------------------- portfolio and people


def fallen(unattended: int, equity: float, **changes: float) -> Desk:
    """A desk whose equity was marked at `equity` of 100,000 in the first session."""
    desk = Desk(table=market.bell_sessions(days=60), unattended=unattended, **changes)
    desk.entered()
    desk.state["cash"] -= round((100_000.0 - equity) * 100)
    desk.bar(102.0)
    return desk


@pytest.mark.parametrize(("equity", "blocked"), [(97_000.0, 1), (97_001.0, 0)])
def test_a_daily_loss_of_three_percent_blocks(equity: float, blocked: int) -> None:
    desk = fallen(1, equity)
    assert desk.portfolio["daily_blocked"] == blocked
    assert ("block_daily_loss" in desk.causes) == bool(blocked)


@pytest.mark.parametrize("unattended", [0, 1])
def test_a_daily_loss_block_ends_with_the_session_only_unattended(unattended: int) -> None:
    desk = fallen(unattended, 96_000.0)
    desk.skip_to(1)
    desk.bar(102.0)
    assert desk.portfolio["daily_blocked"] == 1 - unattended
    assert ("unblock" in desk.causes) == bool(unattended)
    engine.act(desk.world, desk.out, -1, ACT_REARM, False)
    assert (desk.portfolio["daily_blocked"], desk.portfolio["day_start"]) == (0, desk.portfolio["equity"])


@pytest.mark.parametrize("unattended", [0, 1])
def test_a_drawdown_block_ends_after_twenty_sessions_with_a_new_peak(unattended: int) -> None:
    desk = fallen(unattended, 80_000.0)
    assert (desk.portfolio["drawdown_blocked"], desk.portfolio["peak"]) == (1, 100_000.0)
    for session in range(1, 21):
        desk.skip_to(session)
        desk.bar(102.0)
        assert desk.portfolio["drawdown_blocked"] == 1
    desk.skip_to(21)
    desk.bar(102.0)
    assert desk.portfolio["drawdown_blocked"] == 1 - unattended
    assert (desk.portfolio["peak"] == 100_000.0) == (not unattended)


def test_exits_are_never_blocked() -> None:
    desk = fallen(1, 70_000.0)
    desk.portfolio["outer_closed"] = 1 << OUTER_KILL_SWITCH
    row = desk.bar(107.0, 1_000.0)
    assert (row.exit, row.after) == ("r2", "EXITING")


def test_halted_opens_nothing_frozen_sends_nothing() -> None:
    desk = Desk()
    engine.act(desk.world, desk.out, 0, ACT_HALT, False)
    assert desk.ordered().skip == "halted"

    desk = Desk()
    desk.entered()
    sent = len(desk.effects)
    engine.act(desk.world, desk.out, 0, ACT_HALT, True)
    row = desk.bar(107.0, 1_000.0)
    assert (row.exit, len(desk.effects)) == ("r2", sent)
    engine.act(desk.world, desk.out, 0, ACT_RESUME, False)
    assert desk.effects[sent:] == [("cancel", "stop", 0)]


def test_an_operator_flattens() -> None:
    desk = Desk()
    desk.entered()
    engine.act(desk.world, desk.out, 0, ACT_FLATTEN, False)
    assert (desk.phase, desk.effects[-1]) == ("EXITING", ("cancel", "stop", 0))
