"""A trade that the venue takes back and nobody tells: found beside the books, booked once, its stop cut at once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from avwapd.core.codes import SLOT_LIVE
from avwapd.demo_venue.desk_shapes import Execution
from avwapd.store import ledger
from tests.actors_router.bench import Bench, bench, life, market
from tests.actors_router.test_reconcile import holding, levels, name_of, readings

# Two readings do not agree within a test: what is booked is booked for another reason.
PATIENT = {"reconciling": True, "reconcile__every_s": "3600", "reconcile__settle_s": "3600"}
BUSTS = "SELECT side, qty, price_ticks FROM fills WHERE exec_id LIKE 'bust:%'"


async def in_parts(there: Bench, count: int) -> tuple[int, list[Execution]]:
    """Something held that was bought in so many executions, and its stop; the symbol's index."""
    there.fault("one_lot_fills", value=count, count=1)
    symbol = await holding(there)
    await there.quiet()
    there.sim.faults.clear()
    found = there.sim.desk.executions()
    assert len(found) == count
    await there.open()  # time goes on: the order's stamp will tell
    await there.close()
    there.router.heard_at.clear()  # nothing is news any more
    return symbol, found


def resting(there: Bench, symbol: int) -> list[int]:
    name = name_of(there, symbol)
    return [int(order.qty) for order in there.sim.desk.live_orders() if order.symbol == name]


async def one_reading(there: Bench) -> None:
    before = there.reconciler.readings
    there.reconciler.ring()
    await there.wait(lambda: there.reconciler.readings > before)


@pytest.mark.parametrize("parts", [1, 3])
async def test_a_bust_whose_message_is_lost_is_booked_within_a_reading(parts: int, tmp_path: Path) -> None:
    async with bench(tmp_path, **PATIENT) as there:  # type: ignore[arg-type]
        symbol, executions = await in_parts(there, parts)
        name, gone = name_of(there, symbol), executions[-1]
        held = there.held()[name]
        there.fault("dropped_events", on="stream")
        there.sim.desk.bust(gone.id)
        left = held - int(gone.qty)
        await one_reading(there)
        await there.wait(lambda: there.held().get(name, 0) == left)
        await there.wait(lambda: resting(there, symbol) == ([left] if left else []))
        there.sim.faults.clear()
        ticks = there.sim.terms[name].ticks(gone.price)
        assert await there.rows(BUSTS) == [("sell", int(gone.qty), ticks)]
        assert there.reconciler.cash_difference == 0
        assert not there.states["halted"].any()
        assert await levels(there) == ["critical"]
        await readings(there)
        await there.quiet()
        await there.sound()


async def test_the_stop_cannot_sell_what_was_taken_back_while_the_stream_was_away(tmp_path: Path) -> None:
    async with bench(tmp_path, **PATIENT) as there:  # type: ignore[arg-type]
        symbol, [execution] = await in_parts(there, 1)
        name = name_of(there, symbol)
        [order] = [order for order in there.sim.desk.live_orders() if order.symbol == name]
        assert order.stop is not None
        there.fault("drop_stream", on="stream", count=1)
        there.sim.desk.bust(execution.id)  # the stream is cut instead; nobody rings
        await there.wait(lambda: resting(there, symbol) == [])
        await there.wait(lambda: name not in there.held())
        for _ in range(8):
            await there.bar()
        assert min(sums(there.sim.desk.executions(), name)) >= 0
        assert len(await there.rows(BUSTS)) == 1
        await there.sound()


def sums(executions: list[Execution], name: str) -> list[Decimal]:
    held, found = Decimal(0), [Decimal(0)]
    for one in executions:
        if one.symbol == name:
            held += one.side * one.qty
            found.append(held)
    return found


async def test_told_by_the_stream_and_read_off_the_order_it_is_booked_once(tmp_path: Path) -> None:
    async with bench(tmp_path, **PATIENT) as there:  # type: ignore[arg-type]
        symbol, executions = await in_parts(there, 3)
        there.sim.desk.bust(executions[0].id)
        there.fault("dropped_events", on="stream")
        there.sim.desk.bust(executions[1].id)
        await one_reading(there)
        gone = int(executions[0].qty + executions[1].qty)
        await there.wait(lambda: there.held()[name_of(there, symbol)] == int(executions[2].qty))
        there.sim.faults.clear()
        await there.venue.look_back([name_of(there, symbol)])
        await readings(there)
        assert sum(qty for _, qty, _ in await there.rows(BUSTS)) == gone
        assert resting(there, symbol) == [int(executions[2].qty)]
        await there.quiet()
        await there.sound()


async def test_over_a_restart(tmp_path: Path) -> None:
    """Booked by one life it is not booked by the next; taken back between two lives it is booked by the second."""
    async with market(tmp_path) as venue:
        async with life(venue, tmp_path, **PATIENT) as there:  # type: ignore[arg-type]
            symbol, executions = await in_parts(there, 3)
            name = name_of(there, symbol)
            venue.sim.desk.bust(executions[0].id)
            await there.wait(lambda: there.held()[name] == int(executions[1].qty + executions[2].qty))
            await there.quiet()
        venue.sim.desk.bust(executions[1].id)
        async with life(venue, tmp_path, reconciling=True) as there:
            await there.wait(lambda: there.held()[name] == int(executions[2].qty))
            await there.quiet()
            await readings(there)
            booked = await there.rows(BUSTS)
            assert [qty for _, qty, _ in booked] == [int(one.qty) for one in executions[:2]]
            assert resting(there, symbol) == [int(executions[2].qty)]
            assert there.reconciler.cash_difference == 0
            await there.sound()
        async with life(venue, tmp_path, reconciling=True) as there:
            await there.wait(lambda: there.reconciler.compared)
            await readings(there)
            assert there.reconciler.differences == []
            assert list(there.venue.busts) == []
            assert await there.rows(BUSTS) == booked
            await there.sound()


async def test_the_whole_of_an_order_taken_back_while_nobody_ran(tmp_path: Path) -> None:
    """No execution and no average tells its price any more but the ledger's own."""
    async with market(tmp_path) as venue:
        async with life(venue, tmp_path, reconciling=True) as there:
            symbol = await holding(there)
            name = name_of(there, symbol)
            await there.quiet()
            [execution] = venue.sim.desk.executions()
        venue.sim.desk.bust(execution.id)
        async with life(venue, tmp_path, reconciling=True) as there:
            await there.wait(lambda: name not in there.held())
            await there.quiet()
            await readings(there)
            [(side, qty, _)] = await there.rows(BUSTS)
            assert (side, qty) == ("sell", int(execution.qty))
            assert there.reconciler.cash_difference == 0
            assert resting(there, symbol) == []
            assert await there.writer.submit(ledger.exec_ids) >= {bust.booked_as for bust in there.venue.busts}
            await there.sound()


async def test_a_sight_that_lags_behind_books_nothing(tmp_path: Path) -> None:
    """An order and a position as they were before the fill, though both agree with each other."""
    async with bench(tmp_path, reconciling=True) as there:
        symbol = await holding(there)
        await there.quiet()
        name, held = name_of(there, symbol), dict(there.held())
        before = there.venue._reads.orders

        async def lagging(status: str, wires: Any = ()) -> Any:
            found = await before(status, wires)
            return [replace(one, filled=Decimal(0), updated_ms=one.submitted_ms) for one in found]

        there.venue._reads.orders = lagging  # type: ignore[method-assign]
        there.fault("stale_positions", value=86_400_000, count=1)
        await one_reading(there)
        assert name in there.held()
        await readings(there)
        assert (there.held(), list(there.venue.busts)) == (held, [])
        assert there.states["protect"]["status"][symbol] == SLOT_LIVE
