"""Every gate blocks once, and is asked; what blocks is said in the decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from avwapd.core import engine
from avwapd.core.codes import (
    ACT_GATE,
    BAR_CADENCE,
    BAR_LATE,
    EFFECTS,
    GATES,
    OUTER_GATES,
    OUTER_KILL_SWITCH,
    act_kind,
    act_word,
)
from avwapd.core.machine import EFFECTS as EFFECT_COUNT
from tests.core import market
from tests.core.desk import Desk, Row

MINUTE = market.MINUTE_MS


def nothing(desk: Desk) -> None:
    """No change."""


def held_up(changes: dict[str, float], prepare: Callable[[Desk], None], flags: int = 0, side: int = 1) -> Row:
    """The row of a close that would have ordered."""
    desk = Desk(**changes)
    desk.bar(100.0, 1_000.0)
    desk.bars(100.0 + side)
    prepare(desk)
    return desk.bar(100.0 + 2 * side, flags=flags)


def put(where: str, name: str, value: float) -> Callable[[Desk], None]:
    def change(desk: Desk) -> None:
        target = {"portfolio": desk.portfolio, "state": desk.state, "instrument": desk.world.instruments[0]}
        target[where][name] = value

    return change


def consumed(desk: Desk) -> None:
    desk.state["consumed_date"], desk.state["consumed_count"] = 20240102, 1


def falling(desk: Desk) -> None:
    """The line six bars ago was far higher."""
    desk.state["slope_ring"][:] = 104.0
    desk.state["slope_count"] = 8


def usual_volume(desk: Desk) -> None:
    """Twenty complete sessions traded 1,251 by now: 0.8 x 1,251 = 1,000.8 is more than the 1,000 of this session."""
    desk.world.profile_counts[0] = 20
    desk.world.profile[:, :20, 0] = 1_251.0


OBSTACLES: dict[str, tuple[dict[str, float], Callable[[Desk], None], int, int]] = {
    "kill_switch": ({}, put("portfolio", "outer_closed", 1 << OUTER_KILL_SWITCH), 0, 1),
    "live": ({}, put("portfolio", "drained", 1), 0, 1),
    "halted": ({}, put("state", "halted", 1), 0, 1),
    "late": ({}, nothing, BAR_LATE, 1),
    "cadence": ({}, nothing, BAR_CADENCE, 1),
    "open_delay": ({"open_delay_ms": 20 * MINUTE}, nothing, 0, 1),
    "settle": ({"settle_ms": 20 * MINUTE}, nothing, 0, 1),
    "last_entry": ({"last_entry_ms": 376 * MINUTE}, nothing, 0, 1),
    "entry_consumed": ({}, consumed, 0, 1),
    "cooldown": ({"cooldown_ms": 120 * MINUTE}, put("state", "last_exit_ms", 1_704_205_000_000), 0, 1),
    "volume": ({}, usual_volume, 0, 1),
    "distance": ({"max_distance_pct": 1.99}, nothing, 0, 1),
    "slope": ({}, falling, 0, 1),
    "entry_delay": ({"entry_delay_min_ms": 60_000, "entry_delay_max_ms": 60_000}, nothing, 0, 1),
    "not_shortable": ({"allow_short": 1}, put("instrument", "shortable", 0), 0, -1),
    "drawdown": ({}, put("portfolio", "drawdown_blocked", 1), 0, 1),
    "daily_loss": ({}, put("portfolio", "daily_blocked", 1), 0, 1),
    "no_conversion": ({}, put("instrument", "convert_symbol", -2), 0, 1),
    "risk_per_share": ({"max_risk_per_share": 2.29}, nothing, 0, 1),
    "cap_entries": ({"max_entries_day": 0}, nothing, 0, 1),
    "cap_positions": ({"max_positions": 0}, nothing, 0, 1),
    "cap_gross": ({"max_gross_fraction": 0.004}, nothing, 0, 1),
    "cap_symbol": ({"max_symbol_notional": 407.0}, nothing, 0, 1),
    "below_minimum": ({"min_position": 409.0}, nothing, 0, 1),
}


@pytest.mark.parametrize("gate", OBSTACLES)
def test_a_gate_blocks_alone_and_is_asked(gate: str) -> None:
    changes, prepare, flags, side = OBSTACLES[gate]
    row = held_up(changes, prepare, flags, side)
    assert row.blocked == {gate}
    assert gate in row.asked
    assert row.after == "FLAT"
    reasons = {"halted": "halted", "cadence": "cadence_failed", "entry_delay": "waiting"}
    assert row.skip == reasons.get(gate, "gate")


@pytest.mark.parametrize("gate", [g for g in OBSTACLES if g not in ("late", "cadence")])
def test_the_same_close_orders_without_the_obstacle(gate: str) -> None:
    side = OBSTACLES[gate][3]
    row = held_up({"allow_short": 1} if side < 0 else {}, nothing, 0, side)
    assert (row.skip, row.blocked, row.after) == ("", set(), "ENTERING")
    if gate not in ("cooldown", "not_shortable"):  # asked only where the setting or the side calls for it
        assert gate in row.asked


def test_features_and_stop_invalid() -> None:
    desk = Desk()
    row = desk.bar(100.0)  # no volume yet: no line
    assert (row.skip, row.blocked) == ("features_invalid", {"features"})
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    desk.bars(101.0)
    desk.params["percent_stop_factor"] = desk.params["avwap_stop_factor"] = 1.5
    row = desk.bar(102.0)
    assert row.blocked == {"stop_invalid"}
    assert row.after == "FLAT"


@pytest.mark.parametrize(("changed", "value"), [("max_distance_pct", 2.0), ("max_risk_per_share", 2.30)])
def test_limits_are_inclusive(changed: str, value: float) -> None:
    """102 is 2% beyond 100; the stop, 0.997 x 100, lies 2.30 below the price."""
    assert held_up({changed: value}, nothing).skip == ""


@pytest.mark.parametrize(("bars", "blocked"), [(3, True), (4, False)])
def test_the_delay_after_the_open_ends_with_the_close_at_twenty_minutes(bars: int, blocked: bool) -> None:
    desk = Desk(open_delay_ms=20 * MINUTE)
    desk.bar(100.0, 1_000.0)
    row = desk.bars(*[101.0] * (bars - 1))
    assert ("open_delay" in row.blocked) == blocked


@pytest.mark.parametrize("date", [20241129, 20241202])
def test_last_entry_thirty_minutes_before_the_close_of_half_days_too(date: int) -> None:
    table = market.bell_sessions(1_730_419_200_000, 40)
    session = int(np.flatnonzero(table["date"] == date)[0])
    desk = Desk(table=table, last_entry_ms=30 * MINUTE)
    minutes = int(table["close_ms"][session] - table["open_ms"][session]) // MINUTE
    assert minutes == (210 if date == 20241129 else 390)
    desk.skip_to(session, bar=minutes // 5 - 7)
    at_thirty, after = desk.bar(100.0, 1.0), desk.bar(100.0, 1.0)
    assert "last_entry" not in at_thirty.blocked
    assert "last_entry" in after.blocked


def test_the_volume_gate_compares_with_the_same_time_of_twenty_sessions() -> None:
    """Two bars of 600 a session for 20 sessions, then 500 and 450: by the third bar 950 of 1,200, below 0.8 x."""
    table = market.bell_sessions(days=40)
    for volumes, blocked in (((500.0, 450.0), True), ((500.0, 460.0), False)):
        desk = Desk(table=table)
        for session in range(1, 21):
            desk.skip_to(session)
            desk.bar(100.0, 600.0)
            desk.bar(100.0, 600.0)
        desk.skip_to(21)
        desk.bar(100.0, volumes[0])
        desk.bar(101.0, volumes[1], open=100.0, high=101.0, low=98.0)  # typical price 100: the line stays
        row = desk.bar(102.0)
        assert ("volume" in row.blocked) == blocked
        assert desk.world.profile_counts[0] == 20


def test_the_volume_gate_is_open_while_twenty_sessions_are_not_known() -> None:
    desk = Desk(table=market.bell_sessions(days=40))
    for session in range(1, 20):
        desk.skip_to(session)
        desk.bar(100.0, 60_000.0)
    desk.skip_to(20)
    desk.bar(100.0, 1.0)
    assert desk.bars(101.0, 102.0).skip == ""


def test_clock_gates_exist_only_before_a_bell() -> None:
    days: Any = market.utc_days()
    desk = Desk(market.crypto(0, len(days)), days, open_delay_ms=20 * MINUTE, last_entry_ms=1_430 * MINUTE)
    row = desk.ordered()
    assert not {"open_delay", "settle", "last_entry"} & row.asked
    assert row.signal == "entry"


def test_one_entry_a_symbol_and_day() -> None:
    desk = Desk()
    desk.entered()
    desk.bar(99.0, 1_000.0)  # the stop at 99.70 acts
    assert desk.phase == "FLAT"
    row = desk.bars(102.0, 103.0)
    assert (row.skip, row.blocked) == ("gate", {"entry_consumed"})
    desk.skip_to(1)
    desk.bar(100.0, 1_000.0)
    assert desk.bars(101.0, 102.0).signal == "entry"


SHOWN = {"kill_switch": "kill_switch", "watchlist": "watchlist_stale", "regime": "regime", "earnings": "earnings",
         "bad_ticker": "bad_ticker"}  # fmt: skip


@pytest.mark.parametrize("symbol", [-1, 0])
@pytest.mark.parametrize("gate", OUTER_GATES)
def test_an_outer_gate_blocks_alone_and_opens_again(gate: str, symbol: int) -> None:
    kind = act_kind(f"gate:{gate}")
    assert act_word(kind) == f"gate:{gate}"

    def turn(desk: Desk, closed: bool) -> None:
        engine.act(desk.world, desk.out, symbol, kind, closed)

    row = held_up({}, lambda desk: turn(desk, True))
    assert row.blocked == {SHOWN.get(gate, "live")}
    assert (row.skip, row.after) == ("gate", "FLAT")

    def shut_and_open(desk: Desk) -> None:
        turn(desk, True)
        turn(desk, False)

    assert held_up({}, shut_and_open).after == "ENTERING"


def test_a_symbols_gate_leaves_the_others_alone() -> None:
    def other(desk: Desk) -> None:
        desk.world.states[0]["outer_closed"] = 0
        engine.act(desk.world, desk.out, -1, ACT_GATE + OUTER_GATES.index("venue"), True)
        engine.act(desk.world, desk.out, 0, ACT_GATE + OUTER_GATES.index("earnings"), True)
        engine.act(desk.world, desk.out, -1, ACT_GATE + OUTER_GATES.index("venue"), False)

    assert held_up({}, other).blocked == {"earnings"}


def test_the_kill_switch_takes_a_waiting_entry_back() -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    desk.bars(101.0)
    assert desk.bar(102.0).after == "ENTERING"
    desk.out.n[:] = 0
    engine.act(desk.world, desk.out, -1, ACT_GATE + OUTER_KILL_SWITCH, True)
    assert desk.state["cancel_entry"] == 1
    effects = desk.out.effects[: desk.out.n[EFFECT_COUNT]]
    assert all(EFFECTS[effect["kind"]] == "cancel" for effect in effects)


def test_every_gate_word_of_the_engine_is_shown_once() -> None:
    assert len(set(GATES)) == len(GATES) == 32
    assert set(SHOWN.values()) <= set(GATES)
