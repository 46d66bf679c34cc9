"""The daemon was down while the market ran on: what it missed is folded late, in order, and opens nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avwapd.core.codes import BAR_LATE, OPEN
from avwapd.venues.faults import FaultPlan
from tests.sim import ledgers
from tests.sim.free import BAR_S, books_differ, free, sound
from tests.sim.scenario import Plan
from tests.sim.world import Kill, Outcome, World, play, world_of

MISSED = 50
INTENT, BEFORE, AFTER, FLAGS = 2, 9, 10, 12  # columns of a decision


def plan_of(seed: int) -> Plan:
    plan = free(seed, faults=False, barriers=85)
    return replace(plan, options={**plan.options, "signal.allow_short": "false"})


def first_holding(plan: Plan) -> int:
    """The number of the first barrier after which a position has been held for two bars."""
    rows = ledgers.backtested(plan.setup)["decisions"]
    times = sorted({row[0] for row in rows})
    held = {(row[0], row[1]) for row in rows if row[BEFORE] == row[AFTER] == OPEN}
    both = [at for at, symbol in sorted(held) if (times[times.index(at) - 1], symbol) in held]
    return times.index(both[0]) if both else -1


def down(plan: Plan, folder: Path, *, singly: bool = False, again: tuple[Kill, ...] = ()) -> tuple[World, Outcome]:
    """Killed while it holds, away for MISSED bars, then `again`."""
    number = first_holding(plan)
    if number < 0 or number + MISSED + 5 > plan.barriers:
        pytest.skip("nothing is held in time")
    with world_of(plan, folder / "found", stepwise=True) as world:
        assert world.market is not None
        world.market.singly = singly
        # after the barrier is folded and what it caused has settled, well before the next one closes
        kill = Kill("folded", number + 1, plus=60, down_s=MISSED * BAR_S)
        found = play(world, kills=(kill, *again), mode="fifo")
        return world, found


def late_rows(found: Outcome) -> list[Any]:
    return [row for row in found.rows["decisions"] if row[FLAGS] & BAR_LATE]


SEEDS = (0, 1, 2, 6, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in (3, 4, 5, *range(7, 30))))


@pytest.mark.parametrize("seed", SEEDS)
def test_missed_bars_are_decided_late_in_order_and_open_nothing(seed: int, tmp_path: Path) -> None:
    plan = plan_of(seed)
    world, found = down(plan, tmp_path)
    assert sound(world, found) + books_differ(world, found) == []
    late = late_rows(found)
    assert len({row[0] for row in late}) in (MISSED - 1, MISSED, MISSED + 1)
    assert not [row for row in late if row[INTENT]]
    missed = {row[0] for row in late}
    assert not [row for row in found.rows["orders"] if row[3] == "entry" and row[10] in missed]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_order_leaves_before_the_last_missed_bar_and_one_exit_at_most(seed: int, tmp_path: Path) -> None:
    world, found = down(plan_of(seed), tmp_path)
    last_ms = max(row[0] for row in late_rows(found))
    back_s = world.restarted[0]
    after = [(at_s, closed_ms, request) for at_s, closed_ms, request in world.lasting.arrived if at_s >= back_s]
    assert all(closed_ms >= last_ms for _, closed_ms, _ in after)
    assert all(at_s >= world.caught_up[0] for at_s, _, _ in after)
    until = [request for _, closed_ms, request in after if closed_ms == last_ms and request.purpose in ("exit", "trim")]
    symbols = [request.symbol for request in until if request.kind == "submit"]
    assert len(symbols) == len(set(symbols))


@pytest.mark.parametrize("seed", SEEDS)
def test_one_lump_single_bars_and_kills_in_between_give_the_same_rows(seed: int, tmp_path: Path) -> None:
    plan = plan_of(seed)
    _, lump = down(plan, tmp_path / "lump")
    _, singly = down(plan, tmp_path / "singly", singly=True)
    killed = (Kill("folded", 12, 3), Kill("folded", 20, 1))
    _, broken = down(plan, tmp_path / "broken", again=killed)
    assert broken.lives == 4
    assert ledgers.differences(lump.rows, singly.rows) == []
    assert ledgers.differences(lump.rows, broken.rows) == []


def test_a_bad_line_during_the_catch_up_leaves_everything_sound(tmp_path: Path) -> None:
    line = FaultPlan(lose_request=0.2, lose_answer=0.2, late_request=0.2, seed=5)
    world, found = down(replace(plan_of(0), faults=line), tmp_path, again=(Kill("folded", 9, 2),))
    assert sound(world, found) + books_differ(world, found) == []
