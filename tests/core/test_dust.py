"""What no order can sell never holds a machine: it is written off. Minimum 10 lots unless said; a stop at 99.70."""

from __future__ import annotations

import pytest

from avwapd.core import codes, machine
from tests.core import market
from tests.core.desk import Desk
from tests.core.test_adjust import adjusted, held, word


def desk_of(min_qty: int = 10, min_notional: float = 0.0, **changes: float) -> Desk:
    table = market.bell_sessions()
    return Desk(market.equity(0, len(table), min_qty=min_qty, min_notional=min_notional), table, sizing=1, **changes)


def last_fill(desk: Desk) -> tuple[str, str, int, int, int]:
    """(purpose, reason, quantity, price, held)"""
    row = desk.out.fills[desk.out.n[machine.FILLS] - 1]
    return (
        codes.PURPOSES[row["purpose"]],
        codes.EXITS[row["reason"]],
        int(row["qty"]),
        int(row["price"]),
        int(row["held"]),
    )


@pytest.mark.parametrize("terms", [{"min_qty": 10}, {"min_qty": 1, "min_notional": 1_000.0}])
def test_the_rest_of_a_stop_is_written_off(terms: dict[str, float]) -> None:
    desk = desk_of(**terms)
    desk.entered()
    stop = int(desk.state["protect"]["intent"])
    assert word(desk, stop, codes.FILLED, 89, 9_970) == []  # the order works on: its rest may still fill
    assert (desk.phase, held(desk)[0]) == ("OPEN", 9)
    assert word(desk, stop, codes.EXPIRED) == []
    assert (desk.phase, held(desk)) == ("FLAT", (0, -98 * 10_200 + 89 * 9_970, 1))
    assert last_fill(desk) == ("restate", "stop", 9, 0, 0)


def test_the_rest_of_an_exit_is_written_off() -> None:
    """What was bought shrank by a fee in the coin itself: an exit sells what can be sold."""
    desk = desk_of()
    desk.entered()
    desk.bar(107.0, 1_000.0, high=107.0)
    leave = int(desk.state["leave"]["intent"])
    word(desk, leave, codes.FILLED, 95, 10_700)
    assert desk.phase == "EXITING"
    word(desk, leave, codes.CANCELED)
    assert (desk.phase, desk.causes[-1], last_fill(desk)) == ("FLAT", "closed", ("restate", "r2", 3, 0, 0))


def test_a_rest_that_a_stop_still_works_on_is_left_to_it() -> None:
    desk = desk_of()
    desk.entered()
    desk.bar(104.0, 1_000.0, high=104.30)
    stop, trim = int(desk.state["protect"]["intent"]), int(desk.state["leave"]["intent"])
    word(desk, stop, codes.FILLED, 45, 10_200)
    assert word(desk, trim, codes.FILLED, 49, 10_400) == []
    assert held(desk)[0] == 4
    word(desk, stop, codes.FILLED, 49, 10_200)
    assert (desk.phase, last_fill(desk)[0]) == ("FLAT", "stop")


def test_what_can_be_sold_is_sold() -> None:
    desk = desk_of()
    desk.entered()
    desk.bar(107.0, 1_000.0, high=107.0)
    leave = int(desk.state["leave"]["intent"])
    word(desk, leave, codes.FILLED, 88, 10_700)
    assert word(desk, leave, codes.CANCELED) == [("submit", "exit", 10)]


@pytest.mark.parametrize(("risk", "after", "sold"), [(0.0004, "EXITING", "exit"), (0.0005, "OPEN", "trim")])
def test_r1_that_would_leave_too_little_sells_everything(risk: float, after: str, sold: str) -> None:
    """17 lots would leave 9, 21 leave 11."""
    desk = desk_of(risk_fraction=risk)
    desk.entered()
    assert desk.state["qty"] == {"exit": 17, "trim": 21}[sold]
    row = desk.bar(104.0, 1_000.0, high=104.30)
    assert (row.exit, row.after, desk.effects[-1][1]) == ("r1", after, sold)
    desk.bar(104.0, 1_000.0)
    assert desk.fills[-1][0] == sold


def test_a_part_too_small_for_an_order_is_not_sold_but_the_stop_moves() -> None:
    desk = desk_of(r1_fraction=0.05)
    desk.entered()
    row = desk.bar(104.0, 1_000.0, high=104.30)
    assert (row.exit, row.stop, row.after) == ("", 102.00, "OPEN")
    assert desk.effects[-1] == ("replace", "stop", 98)
    assert desk.bar(104.0, 1_000.0, high=104.30).exit == ""  # asked once


def test_while_an_entry_grows_a_part_too_small_waits_for_more() -> None:
    desk = desk_of()
    desk.ordered()
    word(desk, 1, codes.ACKED)
    assert word(desk, 1, codes.FILLED, 4, 10_200) == []
    assert word(desk, 1, codes.FILLED, 12, 10_200) == [("submit", "stop", 12)]


def test_a_part_of_an_entry_too_small_for_any_order_is_written_off_at_its_end() -> None:
    desk = desk_of()
    desk.ordered()
    word(desk, 1, codes.ACKED)
    word(desk, 1, codes.FILLED, 4, 10_200)
    assert desk.bar(102.0).after == "ENTERING"  # at the close the rest is canceled
    assert desk.effects[-1] == ("cancel", "entry", 0)
    word(desk, 1, codes.CANCELED)
    assert (desk.phase, last_fill(desk)) == ("FLAT", ("restate", "dust", 4, 0, 0))
    assert held(desk)[1] == -4 * 10_200
    assert desk.state["consumed_count"] == 1


def test_an_entry_that_fills_whole_is_a_position_however_small() -> None:
    desk = desk_of()
    desk.ordered()
    desk.world.instruments[0]["min_qty"] = 1_000  # as a fee in the coin would do
    assert word(desk, 1, codes.FILLED, 98, 10_200) == [("submit", "stop", 98)]


def test_other_hands_leave_too_little() -> None:
    desk = desk_of()
    desk.entered()
    assert adjusted(desk, -90, 10_300) == [("cancel", "stop", 0)]
    assert (held(desk)[0], last_fill(desk)) == (0, ("restate", "operator", 8, 0, 0))


def test_whole_shares_leave_no_dust() -> None:
    desk = desk_of(min_qty=1)
    desk.entered()
    stop = int(desk.state["protect"]["intent"])
    word(desk, stop, codes.FILLED, 97, 9_970)
    assert word(desk, stop, codes.EXPIRED) == [("submit", "stop", 1)]
