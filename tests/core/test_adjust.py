"""A position follows the venue: other hands bought or sold there, or an execution was busted. Plan: stop 99.70."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.core import codes, engine, machine
from avwapd.core.codes import ACT_HALT, ACT_RESUME
from avwapd.core.records import BAR, REPORT
from tests.core.desk import Desk
from tests.core.race import Race
from tests.core.test_machine_properties import DRAWN, play


def adjusted(desk: Desk, qty: int, price: int = 10_000, fee: int = 0) -> list[tuple[str, str, int]]:
    """The effects that an adjustment of `qty` lots at `price` cents calls for."""
    first = len(desk.effects)
    engine.adjust(desk.world, desk.out, 0, desk.last_ms, qty, price, fee)
    assert desk.out.n[machine.ERROR] == 0
    return desk.effects[first:]


def word(desk: Desk, intent: int, kind: int, cum_qty: int = 0, price: int = 0) -> list[tuple[str, str, int]]:
    """The effects that a word of the venue about an order calls for."""
    first = len(desk.effects)
    row = np.zeros(1, REPORT)[0]
    for name in ("entry", "protect", "leave", "replaced"):
        slot = desk.state[name]
        if slot["intent"] == intent:
            row["purpose"], row["side"] = slot["purpose"], slot["side"]
    row["ts_ms"], row["intent"], row["kind"] = desk.last_ms, intent, kind
    row["cum_qty"] = row["last_qty"] = cum_qty
    row["price"] = price
    engine.report(desk.world, desk.out, row)
    assert desk.out.n[machine.ERROR] == 0
    return desk.effects[first:]


def held(desk: Desk) -> tuple[int, int, int]:
    """Signed lots, cash, trade."""
    state = desk.state
    return int(state["side"] * state["qty"]), int(state["cash"]), int(state["trade"])


def test_a_position_that_appears_gets_a_stop_and_targets_of_its_own() -> None:
    desk = Desk(percent_stop_factor=0.97, r1_multiple=1.0, r2_multiple=2.0)
    desk.bars(100.0, 100.0)
    assert adjusted(desk, 30, 9_950, 12) == [("submit", "stop", 30)]
    assert (desk.phase, held(desk)) == ("OPEN", (30, -30 * 9_950 - 12, 1))
    assert [int(desk.state[name]) for name in ("stop", "r1", "r2")] == [9_700, 10_300, 10_600]
    assert (int(desk.state["entry_cost"]), int(desk.state["entry_qty"])) == (30 * 9_950, 30)
    assert desk.causes == ["adjusted"]
    fill = desk.out.fills[0]
    assert (codes.PURPOSES[fill["purpose"]], int(fill["held"]), int(fill["fee"])) == ("restate", 30, 12)
    assert desk.state["consumed_count"] == 0  # no entry of ours
    row = desk.bar(103.5, 1_000.0, high=103.5)  # the bar of the fill
    row = desk.bar(103.5, 1_000.0, high=103.5)
    assert (row.before, row.exit) == ("OPEN", "r1")


def test_a_short_position_that_appears() -> None:
    desk = Desk(percent_stop_factor=0.97)
    desk.bars(100.0)
    assert adjusted(desk, -30, 10_000) == [("submit", "stop", 30)]
    assert (held(desk)[0], int(desk.state["stop"]), int(desk.out.effects[0]["side"])) == (-30, 10_300, 1)
    assert desk.state["r1"] < 10_000


def test_before_the_first_bar_the_price_is_that_of_the_adjustment() -> None:
    desk = Desk(percent_stop_factor=0.95)
    assert adjusted(desk, 10, 20_000) == [("submit", "stop", 10)]
    assert desk.state["stop"] == 19_000


def test_more_is_held_the_stop_grows() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    assert adjusted(desk, 10, 10_300) == [("replace", "stop", 108)]
    assert (int(desk.state["entry_cost"]), int(desk.state["entry_qty"])) == (98 * 10_200 + 103_000, 108)
    assert held(desk) == (108, -98 * 10_200 - 103_000, 1)


def test_less_is_held_the_stop_shrinks() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    assert adjusted(desk, -40, 10_300, 5) == [("replace", "stop", 58)]
    assert held(desk) == (58, -98 * 10_200 + 40 * 10_300 - 5, 1)
    assert int(desk.state["entry_qty"]) == 98


def test_nothing_is_held_the_stop_goes() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    assert adjusted(desk, -98, 10_300) == [("cancel", "stop", 0)]
    assert (desk.phase, held(desk)[0], desk.causes[-1]) == ("EXITING", 0, "adjusted")
    word(desk, int(desk.state["protect"]["intent"]), codes.CANCELED)
    assert desk.phase == "FLAT"
    assert desk.state["last_exit_ms"] == desk.last_ms


def test_through_zero_one_trade_ends_and_another_begins() -> None:
    desk = Desk(sizing=1, percent_stop_factor=0.97)
    desk.entered()
    assert adjusted(desk, -100, 10_300, 7) == [("cancel", "stop", 0)]  # the old stop first
    assert held(desk) == (-2, -98 * 10_200 + 100 * 10_300 - 7, 2)
    rows = desk.out.fills[1 : desk.out.n[machine.FILLS]]
    assert [(int(r["trade"]), int(r["qty"]), int(r["held"]), int(r["fee"])) for r in rows] == [
        (1, 98, 0, 7),
        (2, 2, 2, 0),
    ]
    assert word(desk, int(desk.state["protect"]["intent"]), codes.CANCELED) == [("submit", "stop", 2)]
    stop = desk.out.effects[desk.out.n[machine.EFFECTS] - 1]
    assert (int(stop["side"]), int(stop["stop"])) == (1, 10_506)
    assert desk.phase == "OPEN"


def test_other_hands_close_while_the_exit_is_under_way() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    desk.bar(107.0, 1_000.0, high=107.0)
    assert desk.phase == "EXITING"
    assert adjusted(desk, -98, 10_700) == [("cancel", "exit", 0)]
    assert desk.phase == "EXITING"
    word(desk, int(desk.state["leave"]["intent"]), codes.CANCELED)
    assert desk.phase == "FLAT"


def test_an_exit_for_more_than_is_left_is_canceled_and_sent_anew() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    desk.bar(107.0, 1_000.0, high=107.0)
    assert adjusted(desk, -40, 10_700) == [("cancel", "exit", 0)]
    assert word(desk, int(desk.state["leave"]["intent"]), codes.CANCELED) == [("submit", "exit", 58)]


def test_a_trim_for_more_than_is_left_is_canceled() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    desk.bar(104.0, 1_000.0, high=104.30)
    assert desk.effects[-1] == ("submit", "trim", 49)
    assert adjusted(desk, -60, 10_400) == [("cancel", "trim", 0)]  # 38 are left
    assert word(desk, int(desk.state["leave"]["intent"]), codes.CANCELED) == [("replace", "stop", 38)]


def test_a_trim_under_way_that_sells_all_that_is_left_needs_no_stop() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    desk.bar(104.0, 1_000.0, high=104.30)
    assert adjusted(desk, -49, 10_400) == [("cancel", "stop", 0)]


def test_an_entry_under_way_is_canceled_and_what_came_of_it_is_kept() -> None:
    desk = Desk(sizing=1)
    desk.ordered()
    assert desk.phase == "ENTERING"
    assert adjusted(desk, 20, 10_200) == [("cancel", "entry", 0), ("submit", "stop", 20)]
    assert (desk.phase, int(desk.state["stop"])) == ("ENTERING", 9_970)  # by the entry's own plan
    stop = int(desk.state["protect"]["intent"])
    assert word(desk, stop, codes.ACKED) == []
    assert word(desk, 1, codes.FILLED, 5, 10_200) == [("replace", "stop", 25)]
    word(desk, 1, codes.CANCELED)
    assert (desk.phase, held(desk)) == ("OPEN", (25, -25 * 10_200, 1))


def test_a_part_filled_entry_that_other_hands_sold() -> None:
    desk = Desk(sizing=1)
    desk.ordered()
    word(desk, 1, codes.FILLED, 5, 10_200)
    assert adjusted(desk, -5, 10_200) == [("cancel", "entry", 0)]  # the stop was not acked yet
    assert (desk.phase, held(desk)[0]) == ("ENTERING", 0)
    word(desk, 1, codes.CANCELED)
    assert desk.phase == "EXITING"
    stop = int(desk.state["protect"]["intent"])
    assert word(desk, stop, codes.ACKED) == [("cancel", "stop", 0)]
    word(desk, stop, codes.CANCELED)
    assert desk.phase == "FLAT"


def test_a_frozen_symbol_stays_frozen_and_follows_all_the_same() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    engine.act(desk.world, desk.out, 0, ACT_HALT, True)
    assert adjusted(desk, -40, 10_300) == []
    assert (desk.state["halted"], held(desk)[0]) == (machine.FROZEN, 58)
    engine.act(desk.world, desk.out, 0, ACT_RESUME, False)
    assert desk.effects[-1] == ("replace", "stop", 58)


def test_a_halted_symbol_is_protected() -> None:
    desk = Desk()
    desk.bars(100.0)
    engine.act(desk.world, desk.out, 0, ACT_HALT, False)
    assert adjusted(desk, 5) == [("submit", "stop", 5)]


def test_a_busted_exit_is_a_trade_that_begins_where_it_was_sold() -> None:
    desk = Desk(sizing=1)
    desk.entered()
    desk.bar(102.0, 1_000.0, low=99.0)
    assert desk.phase == "FLAT"
    before = held(desk)[1]
    assert adjusted(desk, 98, 9_970) == [("submit", "stop", 98)]
    assert held(desk) == (98, before - 98 * 9_970, 2)


def test_the_portfolio_is_marked() -> None:
    desk = Desk()
    desk.bars(100.0)
    adjusted(desk, 10, 9_000)
    desk.bars(100.0)
    assert desk.portfolio["equity"] == 100_000.0 + 10 * 10.0


hands = st.tuples(st.just("hands"), st.integers(-120, 120).filter(bool), st.integers(9_800, 10_400))
bars = st.tuples(st.just("bar"), st.sampled_from((98.0, 99.8, 101.0, 102.0, 103.0, 105.0, 108.0)),
                 st.sampled_from((0.0, 0.5, 3.0)), st.sampled_from((0.0, 300.0, 5_000.0)))  # fmt: skip
travel = st.tuples(st.sampled_from(("effect", "effect", "word", "word", "settle")))


@settings(DRAWN, max_examples=120)
@given(st.lists(st.one_of(bars, bars, bars, travel, travel, hands), min_size=20, max_size=120))
def test_whatever_other_hands_do_the_books_are_those_of_the_venue(events: list[tuple[Any, ...]]) -> None:
    """Where the machine's orders race the hands, the venue may sell too much: then it freezes, and still follows."""
    race = Race()
    for event in events:
        if event[0] == "hands":
            race.hands(*event[1:])
        else:
            play(race, event)
        race.check_books()
    race.settle()
    race.check_books()
    if race.st["halted"]:
        assert race.out.n[machine.ALERTS]
        return
    if not race.book[0]["orders"]["triggered"].any():  # a stop at work cannot be replaced
        race.check_rest()


@pytest.mark.parametrize("kind", [codes.CANCELED, codes.EXPIRED])
@pytest.mark.parametrize("halted", [0, 1, machine.FROZEN])
def test_a_stop_that_the_venue_ends_is_placed_anew_at_once(kind: int, halted: int) -> None:
    desk = Desk(sizing=1)
    desk.entered()
    if halted:
        engine.act(desk.world, desk.out, 0, ACT_HALT, halted == machine.FROZEN)
    found = word(desk, int(desk.state["protect"]["intent"]), kind)
    assert found == ([] if halted == machine.FROZEN else [("submit", "stop", 98)])
    assert (desk.phase, int(desk.state["qty"])) == ("OPEN", 98)


def test_a_stop_that_fills_while_part_is_to_be_sold_leaves_less_than_that_part() -> None:
    """The stop is being reduced for R1's half when it fills most: what is left is sold whole."""
    desk = Desk(sizing=1)
    desk.entered()
    stop = int(desk.state["protect"]["intent"])
    bar = np.zeros(1, BAR)
    bar[0] = (desk.next_ms(), 0, 0, 104.0, 104.3, 104.0, 104.0, 1_000.0)
    engine.step_many(desk.world, desk.out, bar)
    assert (desk.effects[-1], int(desk.state["trim_qty"])) == (("replace", "stop", 49), 49)
    assert word(desk, stop, codes.FILLED, 60, 9_970) == []
    assert (desk.phase, int(desk.state["trim_qty"]), int(desk.state["qty"])) == ("EXITING", 0, 38)
    assert word(desk, int(desk.state["protect"]["intent"]), codes.REJECTED) == []
    assert word(desk, stop, codes.FILLED, 98, 9_970) == []
    assert desk.phase == "FLAT"


def test_a_stop_refused_while_the_entry_works_ends_both() -> None:
    desk = Desk(sizing=1)
    desk.ordered()
    word(desk, 1, codes.ACKED)
    assert word(desk, 1, codes.FILLED, 30, 10_200) == [("submit", "stop", 30)]
    assert word(desk, 2, codes.REJECTED) == [("cancel", "entry", 0), ("submit", "exit", 30)]
    assert word(desk, 1, codes.FILLED, 40, 10_200) == []  # a fill that raced the cancel
    word(desk, 1, codes.CANCELED)
    assert desk.phase == "EXITING"
    assert word(desk, int(desk.state["leave"]["intent"]), codes.FILLED, 30, 10_100) == [("submit", "exit", 10)]
    word(desk, int(desk.state["leave"]["intent"]), codes.FILLED, 10, 10_100)
    assert (desk.phase, int(desk.state["halted"])) == ("FLAT", 0)


@pytest.mark.parametrize("kind", [codes.CANCELED, codes.EXPIRED])
def test_a_part_of_an_entry_is_a_position_with_its_stop(kind: int) -> None:
    desk = Desk(sizing=1)
    desk.ordered()
    word(desk, 1, codes.FILLED, 30, 10_200)
    assert word(desk, 1, kind) == []
    assert (desk.phase, desk.causes[-1], int(desk.state["qty"])) == ("OPEN", "part_filled", 30)
    assert desk.effects[-1] == ("submit", "stop", 30)
