"""Seconds without a stop: what counts as one, when a spell begins and ends, when a human is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd.actors.naked import uncovered
from avwapd.core.codes import (
    PURPOSE_EXIT,
    PURPOSE_TRIM,
    SLOT_CANCELING,
    SLOT_EMPTY,
    SLOT_LIVE,
    SLOT_PENDING,
)
from avwapd.core.records import STATE
from tests.actors_router.bench import Bench, bench, life, market


def state(qty: int, *, trim: int = 0, **slots: tuple[int, int, int]) -> Any:
    """slots: (status, qty, purpose)."""
    row = np.zeros(1, STATE)[0]
    row["qty"], row["side"], row["trim_qty"] = qty, 1, trim
    for name, (status, lots, purpose) in slots.items():
        row[name]["status"], row[name]["qty"], row[name]["purpose"] = status, lots, purpose
    return row


@pytest.mark.parametrize(
    ("row", "lots"),
    [
        (state(0), 0),
        (state(10), 10),
        (state(10, protect=(SLOT_PENDING, 10, 2)), 10),
        (state(10, protect=(SLOT_LIVE, 10, 2)), 0),
        (state(10, protect=(SLOT_LIVE, 6, 2)), 4),  # a second part of the entry was filled
        (state(10, protect=(SLOT_CANCELING, 10, 2)), 0),  # until its word comes it works
        (state(10, protect=(SLOT_PENDING, 10, 2), replaced=(SLOT_LIVE, 10, 2)), 0),
        (state(10, protect=(SLOT_PENDING, 10, 2), replaced=(SLOT_LIVE, 4, 2)), 6),
        (state(10, protect=(SLOT_EMPTY, 10, 2)), 10),
        (state(10, protect=(SLOT_LIVE, 5, 2), trim=5), 0),
        (state(10, protect=(SLOT_LIVE, 5, 2), leave=(SLOT_PENDING, 5, PURPOSE_TRIM)), 0),
        (state(10, leave=(SLOT_PENDING, 10, PURPOSE_EXIT)), 10),
        (state(10, leave=(SLOT_LIVE, 10, PURPOSE_EXIT)), 0),
    ],
)
def test_the_lots_that_nothing_protects(row: Any, lots: int) -> None:
    assert uncovered(row) == lots


async def test_a_stop_that_cannot_leave_is_counted_and_told_once(tmp_path: Path) -> None:
    async with bench(tmp_path) as there:
        await there.until(lambda: bool(there.states["entry"]["status"].any()))
        there.fault("limit_429", on="submit", value=30)
        there.sim.market.half(1)  # the entry fills
        await there.wait(lambda: there.router.in_doubt)
        await there.naked.check()
        there.sim.market.half(1)  # two minutes and a half pass at once
        await there.naked.check()
        await there.naked.check()
        told = [what for level, what in await there.alerts() if level == "critical"]
        assert len(told) == 1
        assert "held without a stop at the venue for 150.0 s" in told[0]
        facts = there.naked.facts()
        assert facts["worst_s"] == 150
        assert list(facts["now_s"].values()) == [150]


async def unprotected(there: Bench) -> list[str]:
    return [what for level, what in await there.alerts() if level == "critical" and "without a stop" in what]


async def filled_and_shut(there: Bench) -> None:
    """An entry fills, and the venue takes no stop. The market stands but where a test moves it on, 2.5 minutes a half;
    the fill has the stamp of its bar's close, half a bar later."""
    await there.until(lambda: bool(there.states["entry"]["status"].any()))
    there.fault("limit_429", on="submit", value=1000)
    there.sim.market.half(1)
    await there.wait(lambda: there.router.in_doubt)


async def test_a_spell_outlives_the_process(tmp_path: Path) -> None:
    """Each of the lives is shorter than the limit."""
    limits = {"reconcile__naked_limit_s": "400"}
    async with market(tmp_path) as venue:
        async with life(venue, tmp_path, **limits) as first:
            await filled_and_shut(first)
            first.sim.market.half(2)
            await first.naked.check()
            assert await unprotected(first) == []
        async with life(venue, tmp_path, **limits) as second:
            assert set(second.naked.now_ms().values()) == {150_000}, "it began with the fill, not with this start"
            second.sim.market.half(2)
            await second.naked.check()
            [told] = await unprotected(second)
            assert "held without a stop at the venue for 450.0 s" in told


async def test_a_start_may_hear_first_that_the_stop_is_there(tmp_path: Path) -> None:
    """For half the limit; then it is told."""
    limits = {"reconcile__naked_limit_s": "400"}
    async with market(tmp_path) as venue:
        async with life(venue, tmp_path, **limits) as first:
            await filled_and_shut(first)
            first.sim.market.half(4)
        async with life(venue, tmp_path, **limits) as second:
            assert set(second.naked.now_ms().values()) == {450_000}
            for halves, count in ((0, 0), (1, 0), (1, 1)):
                second.sim.market.half(halves)
                await second.naked.check()
                assert len(await unprotected(second)) == count


async def test_a_spell_begins_anew_with_the_end_of_a_stop(tmp_path: Path) -> None:
    """Not with the fill: it was protected for some bars."""
    async with market(tmp_path) as venue:
        async with life(venue, tmp_path) as first:
            await first.until(lambda: bool((first.states["protect"]["status"] == SLOT_LIVE).any()))
            await first.bar(2)
            [stop] = [order for order in venue.sim.desk.live_orders() if order.type == "stop"]
            first.fault("limit_429", on="submit", value=1000)
            venue.sim.desk.end(stop, "expired")
            await first.wait(lambda: first.naked.now_ms())
            ended_ms = first.clock.now_ms()
            first.sim.market.half(1)
        async with life(venue, tmp_path) as second:
            now_ms = second.clock.now_ms()
            assert list(second.naked.now_ms().values()) == [now_ms - ended_ms] == [150_000]


async def test_a_fill_that_was_not_heard_is_told_though_its_stop_is_there_at_once(tmp_path: Path) -> None:
    """It filled while no process lived; the next one hears of it late, and places the stop within milliseconds."""
    limits = {"reconcile__naked_limit_s": "400"}
    async with market(tmp_path) as venue:
        async with life(venue, tmp_path, **limits) as first:
            await first.until_sent()
            await first.wait(lambda: bool((first.states["entry"]["status"] == SLOT_LIVE).any()))
        venue.sim.market.half(5)
        async with life(venue, tmp_path, **limits) as second:
            await second.wait(lambda: bool((second.states["protect"]["status"] == SLOT_LIVE).any()))
            await second.quiet()
            assert second.naked.now_ms() == {}
            await second.naked.check()
            [told] = await unprotected(second)
            assert "is held without a stop at the venue no longer: it was for 450.0 s, until its stop was there" in told
            assert second.naked.facts()["worst_s"] == 450
