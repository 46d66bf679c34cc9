"""Ledger and venue side by side: what one reading says, what two agree about, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from avwapd.actors.reconcile import AccountTooSmall
from avwapd.core.codes import ACT_RESUME, FLAT, SLOT_LIVE
from avwapd.core.machine import FROZEN
from avwapd.demo_venue.desk_shapes import PROFILES, NewOrder
from avwapd.store import ledger
from avwapd.store.ids import client_id
from tests.actors_router.bench import PLAN, Bench, bench, life
from tests.venue.simulators import running


async def readings(there: Bench, count: int = 3) -> None:
    """So many more of them, and what follows from each."""
    for _ in range(count):
        before = there.reconciler.readings
        there.reconciler.ring()
        await there.wait(lambda before=before: there.reconciler.readings > before)
    await there.symbols.settled()


async def reads(there: Bench, seen: Callable[[], Any]) -> None:
    """Readings until it is seen."""

    def again() -> Any:
        there.reconciler.ring()
        return seen()

    await there.wait(again)


async def holding(there: Bench) -> int:
    """Bars until something is held under a stop; the index of its symbol."""
    await there.wait(lambda: there.reconciler.compared)
    await there.until(lambda: bool((there.states["protect"]["status"] == SLOT_LIVE).any()))
    return int((there.states["protect"]["status"] == SLOT_LIVE).argmax())


def name_of(there: Bench, symbol: int) -> str:
    return there.setup.market.symbols[symbol]


async def levels(there: Bench) -> list[str]:
    return [level for level, _ in await there.alerts()]


async def test_nothing_leaves_before_the_books_were_compared(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True, order__fresh_ms="86400000") as there:
        there.fault("down_500", on="positions")
        await there.until(lambda: there.router.waiting > 0, quiet=False)
        assert "not compared yet" in there.reconciler.entries_blocked()
        assert there.router.sent == 0
        assert not there.reconciler.compared
        there.sim.faults.clear()
        await there.wait(lambda: there.reconciler.compared)
        await there.quiet()
        assert there.router.sent > 0
        assert there.reconciler.entries_blocked() == ""
        await there.sound()


async def test_an_empty_or_partial_answer_is_no_flat_account(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        await holding(there)
        there.fault("empty_200", on="positions", p=0.5)
        there.fault("bad_json", on="orders", p=0.5)
        failed = there.reconciler.failed
        for _ in range(12):
            there.reconciler.ring()
            await there.wait(lambda before=there.reconciler.turns: there.reconciler.turns > before)
        assert there.reconciler.failed > failed
        assert not there.states["halted"].any()
        assert there.reconciler.differences == []
        assert await levels(there) == []


async def test_a_hand_in_the_account_quarantines_the_symbol(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True, reconcile__settle_s="30") as there:
        symbol = await holding(there)
        name, held = name_of(there, symbol), int(there.states[symbol]["qty"])
        there.sim.desk.restate(name, Decimal(-held), Decimal(1))
        await reads(there, lambda: there.reconciler.differences)
        seen = there.clock.monotonic()
        assert not there.states["halted"].any()  # one reading is no evidence
        await reads(there, lambda: there.states[symbol]["halted"] == FROZEN)
        assert there.clock.monotonic() - seen >= 0.3  # nor are two at nearly the same moment
        assert (there.states["halted"] > 0).sum() == 1
        [what] = [what for level, what in await there.alerts() if level == "critical"]
        assert f"the ledger holds {held}, the venue 0" in what
        assert what.startswith(f"{name}: ")
        assert "reconcile.on_foreign" in what
        assert there.reconciler.facts()["quarantined"] == [name]
        assert there.held()[name] == held
        await readings(there)
        assert (await levels(there)).count("critical") == 1  # said once

        await there.act(ACT_RESUME, symbol)  # too early: it begins anew
        await reads(there, lambda: there.states[symbol]["halted"] == FROZEN)
        assert (await levels(there)).count("critical") == 2

        there.sim.desk.restate(name, Decimal(held), Decimal(-1))
        await readings(there)
        assert there.states[symbol]["halted"] == FROZEN  # the rest is the operator's
        assert any("agree again" in what for _, what in await there.alerts())
        await there.act(ACT_RESUME, symbol)
        await readings(there)
        assert not there.states["halted"].any()
        await there.sound()


@pytest.mark.parametrize("share", [0, 2], ids=["all of it", "half of it"])
async def test_what_a_hand_did_is_adopted_where_that_is_wanted(share: int, tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True, reconcile__on_foreign="adopt") as there:
        symbol = await holding(there)
        name, held = name_of(there, symbol), int(there.states[symbol]["qty"])
        left = held // share if share else 0
        close = Decimal(str(there.states[symbol]["last_close"]))
        there.sim.desk.restate(name, Decimal(left - held), (held - left) * close)
        await reads(there, lambda: there.held().get(name, 0) == left)
        await there.quiet()
        await readings(there)
        assert there.reconciler.differences == []
        assert not there.states["halted"].any()
        resting = [order for order in there.sim.desk.live_orders() if order.symbol == name]
        assert [int(order.qty) for order in resting] == ([left] if left else [])  # its stop followed
        [(purpose, qty)] = await there.rows("SELECT purpose, qty FROM fills WHERE exec_id LIKE 'adopt-%'")
        assert (purpose, qty) == ("restate", held - left)
        await there.sound()


async def test_what_is_not_ours_is_sold_where_that_is_wanted(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True, reconcile__on_foreign="flatten") as there:
        await there.wait(lambda: there.reconciler.compared)
        await there.close()
        there.sim.desk.restate("S0", Decimal(50), Decimal(-1_900))
        await reads(there, lambda: any(order.type == "market" for order in there.sim.desk.all_orders()))
        await there.open()
        assert there.at_venue() == {}
        assert there.states[0]["phase"] == FLAT
        await there.sound()


async def test_somebody_elses_order(tmp_path: Path) -> None:
    wanted = NewOrder(symbol="S1", side=1, type="limit", qty=Decimal(5), limit=Decimal(1), client_id="by-hand")
    async with bench(tmp_path, reconciling=True) as there:
        await there.wait(lambda: there.reconciler.compared)
        there.sim.desk.submit(wanted)
        await reads(there, lambda: there.reconciler._told)
        await readings(there)
        assert there.states["halted"].tolist() == [0, 1]  # stops and exits go on
        assert await levels(there) == ["warning"]
        assert [order.client_id for order in there.sim.desk.live_orders()] == ["by-hand"]


async def test_somebody_elses_order_is_canceled_where_that_is_wanted(tmp_path: Path) -> None:
    wanted = NewOrder(symbol="S1", side=1, type="limit", qty=Decimal(5), limit=Decimal(1), client_id="by-hand")
    async with bench(tmp_path, reconciling=True, reconcile__on_foreign="flatten") as there:
        await there.wait(lambda: there.reconciler.compared)
        there.sim.desk.submit(wanted)
        await reads(there, lambda: there.sim.desk.live_orders() == [])
        await readings(there)
        assert await levels(there) == ["warning"]
        assert not there.states["halted"].any()


async def test_an_order_of_ours_that_this_ledger_never_made(tmp_path: Path) -> None:
    stranger = client_id("other", "ledger", "S1", 1, "entry", 1)
    wanted = NewOrder(symbol="S1", side=1, type="limit", qty=Decimal(5), limit=Decimal(1), client_id=stranger)
    async with bench(tmp_path, reconciling=True) as there:
        await there.wait(lambda: there.reconciler.compared)
        there.sim.desk.submit(wanted)
        await reads(there, lambda: there.states["halted"].tolist() == [0, FROZEN])
        [(level, what)] = await there.alerts()
        assert level == "critical"
        assert stranger in what


async def test_a_stop_that_is_gone_is_placed_anew(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        symbol = await holding(there)
        [order] = there.sim.desk.live_orders()
        there.fault("stop_vanishes", count=1)
        await there.until(lambda: there.sim.faults.fired["stop_vanishes"] > 0, quiet=False)
        await readings(there)
        await there.quiet()
        assert there.states[symbol]["protect"]["status"] == SLOT_LIVE
        [new] = there.sim.desk.live_orders()
        assert (new.symbol, new.qty) == (order.symbol, order.qty)
        assert new.id != order.id
        await there.sound()


async def test_the_lie_that_a_live_order_is_unknown_freezes_its_symbol(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        symbol = await holding(there)
        books = there.venue.books

        async def without_orders() -> Any:
            read = await books()
            read.orders.clear()
            return read

        there.venue.books = without_orders  # type: ignore[method-assign]
        await readings(there)
        assert not there.states["halted"].any()  # asked by its id, the venue knows it
        there.fault("not_found_lie")
        await readings(there)
        await reads(there, lambda: there.states[symbol]["halted"] == FROZEN)
        assert len(there.sim.desk.live_orders()) == 1  # no second stop
        assert (await levels(there)).count("critical") == 1


async def test_a_trade_that_the_venue_takes_back_is_booked_the_other_way_round(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        symbol = await holding(there)
        name = name_of(there, symbol)
        [execution] = there.sim.desk.executions()
        there.sim.desk.bust(execution.id)
        await reads(there, lambda: name not in there.held())
        await there.quiet()
        await readings(there)
        assert there.reconciler.differences == []
        assert there.reconciler.cash_difference == 0
        assert there.sim.desk.live_orders() == []
        fills = await there.rows("SELECT exec_id, side, qty, price_ticks FROM fills ORDER BY id")
        assert fills[1][0].startswith("bust:")
        assert (fills[1][1], fills[1][2:]) == ("sell", fills[0][2:])
        assert await levels(there) == ["critical"]
        await there.sound()


async def test_cash_that_moves_without_us_is_told_and_nothing_else(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        await holding(there)
        there.sim.desk.restate("S0", Decimal(0), Decimal("-12.34"))
        await reads(there, lambda: there.reconciler._told)
        await readings(there)
        assert there.reconciler.facts()["cash_difference"] == "-12.34"
        [(level, what)] = await there.alerts()
        assert level == "warning"
        assert "-12.34 USD" in what
        assert not there.states["halted"].any()
        noted = await there.rows("SELECT agreed, difference FROM venue_books ORDER BY id")
        assert [agreed for agreed, _ in noted] == [1, 0]


async def test_positions_that_lag_are_no_difference(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True, reconcile__settle_s="60") as there:
        await there.wait(lambda: there.reconciler.compared)
        there.fault("stale_positions", value=600_000)
        for _ in range(24):
            await there.open()
            there.reconciler.ring()
            await there.close()
            there.reconciler.ring()
        assert await there.rows("SELECT 1 FROM fills LIMIT 1")
        assert not there.states["halted"].any()
        assert await levels(there) == []


async def test_a_skewed_clock_blocks_entries(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True, venue__skew_limit_ms="2000") as there:
        await there.wait(lambda: there.reconciler.compared)
        there.fault("clock_skew", value=3_100)
        there.reconciler._skew_at = None
        await readings(there)
        assert there.reconciler.entries_blocked() == "clock skew 3.1 s"
        there.sim.faults.clear()
        await readings(there)
        assert there.reconciler.entries_blocked() == ""
        assert await levels(there) == ["warning", "info"]


async def test_what_happened_while_nobody_ran_is_seen_before_anything_leaves(tmp_path: Path) -> None:
    """Killed with an exit unsent; the human sells by hand; the exit of the next life would sell short."""
    source = PLAN.setup.market
    first_ms = int(source.bars["ts_ms"][0])
    options: dict[str, Any] = {"market": source, "first_ms": first_ms, "profile": PROFILES["strict"]}
    async with running(tmp_path / "venue", **options) as venue:
        async with life(venue, tmp_path, reconciling=True) as there:
            symbol = await holding(there)
            name, held = name_of(there, symbol), int(there.states[symbol]["qty"])
            there.router.hold("test")
            await there.until(lambda: there.router.waiting > 0, quiet=False)
        at_end = len(venue.sim.desk.all_orders())
        venue.sim.desk.restate(name, Decimal(-held), Decimal(1))
        async with life(venue, tmp_path, reconciling=True) as there:
            await reads(there, lambda: there.states[symbol]["halted"] == FROZEN)
            await there.wait(lambda: there.reconciler.compared)
            await readings(there)
            assert len(venue.sim.desk.all_orders()) == at_end
            assert there.held()[name] == held


async def test_an_account_smaller_than_what_orders_are_sized_by_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True, equity__start="{ USD = 1e9 }") as there:
        # The check belongs before the first reading: this ledger is taken back to where it was.
        await there.writer.submit(lambda conn: conn.execute("DELETE FROM venue_books"))
        assert await there.writer.submit(ledger.first_venue_books) is None
        with pytest.raises(AccountTooSmall, match=r"100000 USD.*1e\+09.*equity.start.USD"):
            await there.reconciler.assert_funded()


@pytest.mark.parametrize("trouble", ["down_500", "limit_429"])
async def test_a_venue_that_cannot_be_read_is_waited_for(trouble: str, tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        await there.wait(lambda: there.reconciler.compared)
        there.fault(trouble, on=["account", "positions"], **({"value": 1} if trouble == "limit_429" else {}))
        for _ in range(5):
            there.reconciler.ring()
            await there.wait(lambda before=there.reconciler.turns: there.reconciler.turns > before)
        assert there.reconciler.facts()["failed"] > 2
        assert there.reconciler.facts()["why"]
        there.sim.faults.clear()
        before = there.reconciler.readings
        await there.wait(lambda: there.reconciler.readings > before)
        assert there.reconciler.facts()["why"] == ""
