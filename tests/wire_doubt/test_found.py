"""What the campaigns here have found, each in its smallest form."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from avwapd.actors.mail import Refused
from avwapd.actors.router_doubt import REFUSED, WAIT, Doubt, judge
from avwapd.core.codes import ACT_FLATTEN, SLOT_LIVE
from avwapd.core.machine import FROZEN
from avwapd.remote.terms import Terms
from avwapd.store.rows import Request as Row
from avwapd.venues.hearing import Hearing
from avwapd.venues.port import Request, Word
from tests.actors_router.bench import Bench, bench

STOCK = Terms("AAA", "AAA", Decimal("0.01"), Decimal(1), Decimal(1), Decimal(0), "equity", "USD")
CANCELS = "SELECT state, attempts FROM outbox WHERE kind = 'cancel'"
FILL, REFUSAL = "filled", "cancel_refused"


def row(**changes: Any) -> Row:
    values = dict.fromkeys(Row._fields, 0) | {"kind": "submit", "purpose": "entry", "side": "buy"} | changes
    return Row(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "why", "lost", "verdict"),
    [
        ({}, "buying_power: too little", False, WAIT),
        ({}, "buying_power: too little", True, REFUSED),
        ({"purpose": "stop", "side": "sell"}, "price_increment: half a cent", False, REFUSED),
        ({"purpose": "stop", "side": "sell"}, "held_quantity: 0 available", False, WAIT),
        ({"purpose": "stop", "side": "sell"}, "held_quantity: 0 available", True, REFUSED),
        ({"kind": "replace", "purpose": "stop", "side": "sell"}, "bad_order: replaced", False, WAIT),
    ],
)
def test_a_refused_second_attempt_says_nothing_about_the_first(
    changes: dict[str, Any], why: str, lost: bool, verdict: str
) -> None:
    doubt = Doubt(row(**changes), 0.0, 0.0, refused=why)
    given = {"settled": True, "refuses_duplicates": True, "can_look_up": True, "wanted": True}
    assert judge(doubt, lost=lost, **given) == verdict


async def first_entry(there: Bench) -> Any:
    """The venue's order of the first entry, resting."""
    await there.until(lambda: bool((there.states["entry"]["status"] == SLOT_LIVE).any()))
    return there.sim.desk.all_orders()[-1]


async def test_an_order_that_ends_before_its_cancel_leaves(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        order = await first_entry(there)
        there.router.hold("the test")
        await there.act(ACT_FLATTEN)
        assert await there.rows(CANCELS) == [("NEW", 0)]
        there.sim.desk.end(order, "canceled")
        await there.venue.recheck()
        await there.wait(lambda: not there.states["entry"]["status"].any())
        there.router.release("the test")
        await there.quiet()
        assert await there.rows(CANCELS) == [("STALE", 0)]
        await there.sound()


async def test_a_cancel_that_was_taken_and_came_too_late_is_answered_by_the_fill(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        await first_entry(there)
        there.fault("cancel_races_fill", count=1)
        there.fault("dropped_events", on="stream")  # so that the fill is heard after the cancel's answer
        await there.act(ACT_FLATTEN)
        await there.quiet()
        assert there.sim.faults.fired["cancel_races_fill"] == 1
        assert await there.rows(f"{CANCELS} ORDER BY id LIMIT 1") == [("REJECTED", 1)]
        assert await there.rows("SELECT 1 FROM inputs WHERE kind = 'report' AND body LIKE '%cancel_refused%'") == []
        await there.sound()


async def test_a_fill_of_an_order_that_nobody_remembers(tmp_path: Path) -> None:
    """Rejected, followed by another order, and filled all the same: booked as what it was, and a human is called."""
    async with bench(tmp_path) as there:
        order = await first_entry(there)
        symbol, intent = there.journal.orders[order.client_id]
        await there.symbols.put(Refused(order.client_id, "rejected", "REJECTED", "the test"))
        await there.symbols.settled()
        there.states[symbol]["entry"]["intent"] = 0  # its slot is another's by now
        held = int(there.states[symbol]["qty"])
        await there.open()
        [(side, purpose, qty)] = await there.rows(
            "SELECT side, purpose, qty FROM fills WHERE symbol_id = ? AND intent = ?", symbol, intent
        )
        assert (side, purpose) == ("buy" if order.side > 0 else "sell", "entry")
        assert abs(int(there.states[symbol]["qty"]) - held) == qty
        assert there.states[symbol]["halted"] == FROZEN
        assert [what for level, what in await there.alerts() if level == "critical" and order.client_id in what]


def hearing(*, asked: bool) -> Hearing:
    found = Hearing(0, {"AAA": STOCK})
    found.sent(Request("submit", "a", "", "AAA", "stop", -1, "stop", 10, 0, 90))
    found.acked("a", "v", 1)
    if asked:
        found.sent(Request("cancel", "c", "a", "AAA", "stop", -1, "", 0, 0, 0))
    found.executed("a", "x", 2, qty=Decimal(10), price=Decimal(1))
    return found


def kinds(words: list[Word]) -> list[str]:
    return [word.kind for word in words]


def test_a_cancel_that_a_fill_was_faster_than_is_answered() -> None:
    found = hearing(asked=True)
    assert kinds(found.after(0)) == ["acked", FILL, REFUSAL]
    found.cancel_refused("a", 3)
    assert len(found.after(0)) == 3


def test_a_cancel_sent_after_the_end_is_answered_once() -> None:
    found = hearing(asked=False)
    found.cancel_refused("a", 3)
    assert kinds(found.after(0)) == ["acked", FILL]
    found.sent(Request("cancel", "c", "a", "AAA", "stop", -1, "", 0, 0, 0))
    found.cancel_refused("a", 4)
    found.cancel_refused("a", 5)
    assert kinds(found.after(0)) == ["acked", FILL, REFUSAL]
