"""Each fault is seen to happen, and the same seed makes the same trouble."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd.venues.embedded import EmbeddedVenue
from avwapd.venues.faults import FaultPlan, FaultyVenue
from avwapd.venues.port import VenueDoubt, VenueRefused
from tests.sim.loop import simulate
from tests.venues.kit import MINUTE, bar, cancel, exchange, kinds, submit, until, walk


def faulty(folder: Path, *, refuses_duplicates: bool = True, **plan: Any) -> FaultyVenue:
    inner = EmbeddedVenue(exchange(folder, refuses_duplicates=refuses_duplicates))
    return FaultyVenue(inner, FaultPlan(**({"deadline_ms": 5.0, "late_ms": 20.0} | plan)))


async def there(venue: FaultyVenue) -> bool:
    return await venue.inner.look_up("a") is not None


async def test_a_plan_without_faults_changes_nothing(tmp_path: Path) -> None:
    venue = faulty(tmp_path)
    await venue.send(submit("a"))
    await venue.open_bar(MINUTE, bar(1))
    await venue.close_bar(MINUTE)
    assert kinds(await venue.words(0)) == ["acked", "filled"]
    assert (await venue.look_up("a")) is not None
    assert not venue.counts
    await venue.close()


async def test_a_lost_request_never_arrives(tmp_path: Path) -> None:
    venue = faulty(tmp_path, lose_request=1.0)
    with pytest.raises(VenueDoubt):
        await venue.send(submit("a"))
    for call in (venue.look_up("a"), venue.words(0), venue.open_bar(MINUTE, bar(1)), venue.close_bar(MINUTE)):
        with pytest.raises(VenueDoubt):
            await call
    assert await venue.inner.look_up("a") is None
    assert venue.counts == {"lose_request": 5}
    await venue.close()


async def test_a_lost_answer_did_its_work(tmp_path: Path) -> None:
    venue = faulty(tmp_path, lose_answer=1.0)
    for cid in ("a", "a"):
        with pytest.raises(VenueDoubt):
            await venue.send(submit(cid))
    with pytest.raises(VenueDoubt):
        await venue.open_bar(MINUTE, bar(1))
    assert kinds(await venue.inner.words(0)) == ["acked", "filled"]
    assert venue.counts == {"lose_answer": 3, "lose_refusal": 1}
    await venue.close()


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_doubled_request_is_two_orders_only_where_nobody_checks(tmp_path: Path, refuses: bool) -> None:
    venue = faulty(tmp_path, double_request=1.0, refuses_duplicates=refuses)
    await venue.send(submit("a", type="limit", limit=9_000))
    assert kinds(await venue.words(0)) == ["acked"] * (1 if refuses else 2)
    await venue.send(cancel("k", "a"))
    assert kinds(await venue.words(2 - refuses)) == (["canceled", "cancel_refused"] if refuses else ["canceled"] * 2)
    with pytest.raises(VenueRefused):
        await venue.send(submit("b", "ZZZ"))
    assert venue.counts["double_request"] == 3
    await venue.close()


async def test_a_late_request_arrives_after_the_doubt(tmp_path: Path) -> None:
    venue = faulty(tmp_path, late_request=1.0)
    async with anyio.create_task_group() as group:
        await group.start(venue.run)
        with pytest.raises(VenueDoubt):
            await venue.send(submit("a"))
        assert await venue.look_up("a") is None
        await until(lambda: there(venue))
        group.cancel_scope.cancel()
    assert venue.counts == {"late_request": 1, "arrived_late": 1}
    await venue.close()


async def test_a_slow_line_is_a_doubt_and_the_order_arrives(tmp_path: Path) -> None:
    venue = faulty(tmp_path, delay_ms=15.0)
    async with anyio.create_task_group() as group:
        await group.start(venue.run)
        with pytest.raises(VenueDoubt):
            await venue.send(submit("a"))
        with pytest.raises(VenueDoubt):
            await venue.words(0)
        await until(lambda: there(venue))
        group.cancel_scope.cancel()
    assert venue.counts == {"slow_request": 2, "arrived_late": 1}
    await venue.close()


async def test_too_many_late_requests_are_lost(tmp_path: Path) -> None:
    venue = faulty(tmp_path, late_request=1.0, deadline_ms=0.0)
    for i in range(1030):
        with pytest.raises(VenueDoubt):
            await venue.send(submit(f"a{i}"))
    assert venue.counts["lost_on_the_way"] == 1030 - 1024
    await venue.close()


async def test_words_come_again_but_never_out_of_order(tmp_path: Path) -> None:
    venue = faulty(tmp_path, double_words=1.0)
    for i in range(6):
        await venue.send(submit(f"a{i}", type="limit", limit=1))
    numbers = [word.number for word in await venue.words(6)]
    assert numbers == list(range(numbers[0], 7))
    assert venue.counts == {"double_words": 1}
    await venue.close()


async def test_a_slow_fill_holds_back_what_is_said_after_it(tmp_path: Path) -> None:
    venue = faulty(tmp_path, slow_fill_bars=2)
    await venue.send(submit("a"))
    await venue.open_bar(MINUTE, bar(1))
    await venue.open_bar(MINUTE, bar(1))
    await venue.send(submit("b", type="limit", limit=1))
    heard = [len(await venue.words(0))]
    for minute in (2, 3):
        await venue.open_bar(minute * MINUTE, bar(minute))
        heard.append(len(await venue.words(0)))
    assert heard == [1, 1, 3]
    assert venue.counts == {"slow_fill": 1}
    await venue.close()


async def _story(folder: Path, seed: int) -> tuple[list[Any], dict[str, int]]:
    """Trading through every fault at once; what the customer and the exchange saw."""
    plan = {"delay_ms": 1.0, "delay_jitter_ms": 8.0, "lose_request": 0.1, "lose_answer": 0.1, "double_request": 0.1}
    venue = faulty(folder, seed=seed, late_request=0.1, double_words=0.2, **plan)
    seen: list[Any] = []

    async def told(call: Awaitable[Any]) -> None:
        try:
            seen.append(await call)
        except (VenueDoubt, VenueRefused) as error:
            seen.append(repr(error))

    async with anyio.create_task_group() as group:
        await group.start(venue.run)
        for i, bars in enumerate(walk(seed, 60), start=1):
            await told(venue.send(submit(f"c{i}", side=1 if i % 2 else -1)))
            await told(venue.open_bar(i * MINUTE, bars))
            await told(venue.words(3))
            await told(venue.look_up(f"c{i}"))
            await told(venue.close_bar(i * MINUTE))
        group.cancel_scope.cancel()
    seen += venue.inner.exchange.orders_rows()  # type: ignore[attr-defined]
    await venue.close()
    return seen, dict(venue.counts)


def test_the_same_seed_makes_the_same_trouble_in_virtual_time() -> None:
    def run(seed: int) -> tuple[list[Any], dict[str, int]]:
        with tempfile.TemporaryDirectory() as folder:
            value = simulate(lambda: _story(Path(folder), seed), seed=seed).value
        assert value is not None
        return value

    first, again, other = run(1), run(1), run(2)
    assert first == again
    assert first != other
    expected = {"lose_request", "lose_answer", "double_request", "late_request", "double_words", "slow_request"}
    assert expected <= first[1].keys()
