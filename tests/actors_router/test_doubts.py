"""What may have arrived, and what certainly did not: shut venues, stale entries, lies, ids taken twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avwapd.actors.mail import Adjusted
from avwapd.actors.router_doubt import AGAIN, FREEZE, GIVE_UP, WAIT, Doubt, judge
from avwapd.core.codes import ACT_RESUME, FLAT, OPEN, SLOT_EMPTY, SLOT_LIVE
from avwapd.core.machine import FROZEN
from avwapd.store.journal import Adjustment
from avwapd.store.rows import Request
from tests.actors_router.bench import Bench, bench

FIELDS = (0, "x", "S0", 1, "submit", "av-a", "UNKNOWN", 1, 9, 1, 1, "entry", "buy", "limit", 1, 5, 0, "", 1, 0)
ROW = Request(*FIELDS, None, None, None, None)


def judged(**facts: Any) -> str:
    doubt = Doubt(ROW, 0.0, 0.0, absent=facts.pop("absent", False), taken=facts.pop("taken", False))
    given = {"settled": True, "lost": True, "refuses_duplicates": True, "can_look_up": True, "wanted": True}
    return judge(doubt, **{**given, **facts})


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({}, AGAIN),
        ({"settled": False}, WAIT),
        ({"wanted": False}, GIVE_UP),
        ({"wanted": False, "lost": False}, WAIT),
        ({"absent": True, "wanted": False, "lost": False}, GIVE_UP),
        ({"refuses_duplicates": False}, FREEZE),
        ({"can_look_up": False}, FREEZE),
        ({"taken": True}, WAIT),
        ({"taken": True, "wanted": False}, WAIT),
        ({"taken": True, "refuses_duplicates": False}, FREEZE),
        ({"absent": True, "settled": False}, AGAIN),
        ({"absent": True, "refuses_duplicates": False}, AGAIN),
        ({"absent": True, "wanted": False}, GIVE_UP),
    ],
)
def test_the_verdict_on_an_order_that_is_not_found(facts: dict[str, Any], verdict: str) -> None:
    assert judged(**facts) == verdict


async def entry_row(there: Bench) -> tuple[str, str, str]:
    """Id, state and note of the newest entry."""
    query = (
        "SELECT x.cid, x.state, ifnull(x.note, '') FROM outbox x JOIN orders o USING (cid) WHERE o.purpose = 'entry' "
        "ORDER BY x.id DESC LIMIT 1"
    )
    return (await there.rows(query))[0]


async def test_an_entry_that_never_arrived_and_is_too_old_is_given_up(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        there.fault("lose_request", on="submit")
        await there.until_sent()
        there.market_ms += 10 * there.config.order.fresh_ms
        await there.quiet()
        cid, state, note = await entry_row(there)
        assert (state, note) == ("EXPIRED", "never arrived; too old to be sent")
        assert cid not in [order.client_id for order in there.sim.desk.all_orders()]
        assert not there.states["entry"]["status"].any()
        await there.sound()


async def test_an_order_that_turns_up_after_it_was_given_up_is_canceled(tmp_path: Path) -> None:
    """The venue took it and hides it from every question; only its stream tells of it in the end."""
    async with bench(tmp_path) as there:
        there.fault("not_found_lie")
        there.fault("lose_answer", on="submit", count=1)
        there.fault("dropped_events", on="stream", count=2)
        await there.until_sent()
        there.market_ms += 10 * there.config.order.fresh_ms
        await there.wait(lambda: there.router.sent and not there.router.in_flight())
        cid, state, _ = await entry_row(there)
        assert state == "EXPIRED"
        [order] = there.sim.desk.all_orders()
        assert (order.client_id, order.status) == (cid, "new")
        there.sim.faults.clear()
        await there.venue.recheck()
        await there.wait(lambda: there.sim.desk.all_orders()[0].status == "canceled")
        await there.quiet()
        await there.sound()


async def test_a_duplicate_that_no_question_finds_is_never_posted_as_another(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        there.fault("gateway_504_taken", on="submit", count=1)
        there.fault("not_found_lie")
        there.fault("dropped_events", on="stream")
        await there.until_sent()
        await there.wait(lambda: there.sim.faults.fired["not_found_lie"] > 10)
        there.market_ms += 10 * there.config.order.fresh_ms
        await there.wait(lambda: there.sim.faults.fired["not_found_lie"] > 20)
        assert len(there.sim.desk.all_orders()) == 1
        assert there.router.in_flight()  # nothing else of the symbol leaves
        there.sim.faults.clear()
        await there.quiet()
        await there.bar(3)
        await there.sound()


async def test_where_duplicates_are_not_refused_a_human_is_called(tmp_path: Path) -> None:
    async with bench(tmp_path, profile="lenient") as there:
        there.fault("lose_request", on="submit", count=1)
        await there.until_sent()
        await there.wait(lambda: (there.states["halted"] == FROZEN).any())
        assert there.router.sent == 1
        [(level, what)] = await there.alerts()
        cid, state, _ = await entry_row(there)
        assert (level, state) == ("critical", "UNKNOWN")
        assert cid in what
        symbol = int((there.states["halted"] == FROZEN).argmax())
        await there.act(ACT_RESUME, symbol)  # a human looked: it is not there
        await there.wait(lambda: not there.router.in_doubt)
        assert (await entry_row(there))[1] == "EXPIRED"
        assert there.states[symbol]["halted"] != FROZEN
        assert there.sim.desk.all_orders() == []


async def test_a_shut_venue_refuses_entries_with_its_reason(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        there.fault("revoked_401", on="submit")
        await there.until(lambda: there.router.shut is not None)
        _, state, note = await entry_row(there)
        assert state == "REJECTED"
        assert note.startswith("venue shut: unauthorized")
        assert not there.router.in_doubt
        assert [level for level, _ in await there.alerts()] == ["warning"]
        assert there.sim.desk.all_orders() == []


async def test_a_stop_waits_for_a_shut_venue_and_is_tried_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        await there.until(lambda: bool(there.states["entry"]["status"].any()))
        there.fault("limit_429", on="submit", value=1)
        there.sim.market.half(1)
        await there.wait(lambda: there.router.in_doubt)
        assert there.router.shut is not None
        [row] = there.router.in_doubt
        assert row.purpose == "stop"
        [(state, note)] = await there.rows("SELECT state, note FROM outbox WHERE cid = ?", row.cid)
        assert (state, note.partition(":")[0]) == ("UNKNOWN", "not taken")
        there.sim.faults.clear()
        await there.quiet()
        assert there.states["protect"]["status"].max() == SLOT_LIVE
        alerts = await there.alerts()
        assert sum(what.startswith("venue shut") for _, what in alerts) == 1, alerts
        assert sum("open again" in what for _, what in alerts) == 1, alerts
        assert there.naked.facts()["worst_s"] == 0  # the market stood still
        await there.sound()


async def test_what_turns_the_position_round_does_not_leave(tmp_path: Path) -> None:
    """A stop waits at a shut venue while somebody sells what it is for."""
    async with bench(tmp_path) as there:
        await there.until(lambda: bool(there.states["entry"]["status"].any()))
        there.fault("limit_429", on="submit", value=1)
        there.sim.market.half(1)
        await there.wait(lambda: bool(there.router.in_doubt))
        [row] = there.router.in_doubt
        held = int(there.states[row.symbol_id]["qty"] * there.states[row.symbol_id]["side"])
        mail = Adjusted(Adjustment(row.symbol_id, -held, 1, 0, "by-hand", "sold by hand"))
        await there.symbols.put(mail)
        await mail.done.wait()
        there.sim.faults.clear()
        await there.quiet()
        [(state, note)] = await there.rows("SELECT state, note FROM outbox WHERE cid = ?", row.cid)
        assert state == "EXPIRED"
        assert "0 held" in note
        assert there.states[row.symbol_id]["phase"] == FLAT
        assert all(order.client_id != row.cid for order in there.sim.desk.all_orders())


async def test_a_refused_cancel_is_heard_and_the_fill_behind_it_too(tmp_path: Path) -> None:
    async with bench(tmp_path, order__limit_offset_bps="0") as there:
        there.fault("cancel_races_fill")
        there.fault("replace_races_fill", p=0.3)
        await there.bar(47)
        there.sim.faults.clear()
        await there.bar(2)
        assert sum(there.sim.faults.fired.values()) > 0
        await there.sound()


async def test_the_brake_stops_entries_and_lets_exits_go(tmp_path: Path) -> None:
    async with bench(tmp_path, orders_minute=2) as there:
        await there.until(lambda: bool(there.states["halted"].any()))
        assert (there.states["halted"] == 1).all()
        assert [level for level, _ in await there.alerts()] == ["critical"]
        entries = "SELECT count(*) FROM orders WHERE purpose = 'entry'"
        before = await there.rows(entries)
        await there.bar(20)
        assert await there.rows(entries) == before
        await there.sound()
        assert there.states["phase"].max() in (FLAT, OPEN)
        await there.act(ACT_RESUME)
        assert there.states[0]["halted"] == 0


async def test_blocked_entries_are_denied_with_the_reason_and_exits_are_not(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        there.blocked = "clock skew 3.1 s"
        await there.bar(20)
        assert there.router.sent == 0
        found = await there.rows("SELECT DISTINCT state, note FROM outbox")
        assert found == [("DENIED", "clock skew 3.1 s")]
        assert (there.states["entry"]["status"] == SLOT_EMPTY).all()
        there.blocked = ""
        await there.until(lambda: there.states["protect"]["status"].max() == SLOT_LIVE)
        there.blocked = "clock skew 3.1 s"
        await there.until(lambda: not there.held())
        await there.sound()


async def test_an_entry_that_waited_too_long_is_never_sent(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        there.router.hold("test")
        await there.until(lambda: there.router.waiting > 0)
        there.market_ms += 10 * there.config.order.fresh_ms
        there.router.release("test")
        await there.quiet()
        found = await there.rows("SELECT DISTINCT state, attempts, note FROM outbox")
        assert found == [("STALE", 0, "too old to be sent")]
        await there.sound()


async def test_what_waits_for_a_shut_venue_rests_no_longer_than_that(tmp_path: Path) -> None:
    """The keys are not taken for a moment: a reading of the books works, and the stop need not sit out its rest."""
    async with bench(tmp_path) as there:
        await there.until(lambda: bool(there.states["entry"]["status"].any()))
        there.fault("revoked_401", on="submit")
        there.sim.market.half(1)
        await there.wait(lambda: there.router.in_doubt)
        [doubt] = there.router._doubts.by_key.values()
        assert doubt.ask_at - there.clock.monotonic() > 1
        there.sim.faults.clear()
        await there.venue.books()
        await there.router.answered()
        await there.quiet()
        assert there.states["protect"]["status"].max() == SLOT_LIVE
        await there.sound()
