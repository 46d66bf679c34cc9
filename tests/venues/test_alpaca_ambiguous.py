"""Sends whose outcome nobody knows, by the hundred: where duplicates are refused, each ends as exactly one order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import anyio
import pytest

from avwapd.venues.port import VenueDoubt, VenueRefused, VenueShut, Word
from tests.venues.alpaca_kit import Desk, desk, entry

FAULTS = {
    "lose_request": 0.05,
    "refuse_connection": 0.1,
    "down_500": 0.1,
    "lose_answer": 0.05,
    "reset": 0.1,
    "cut_answer": 0.1,
    "gateway_504_taken": 0.1,
    "html_200": 0.1,
    "bad_json": 0.1,
}
OPTIONS = {
    "order.answer_limit_ms": "150",
    "venue.calls_minute": "100000",
    "venue.reserve_calls": "100",
    "venue.breaker_failures": "1000",
}


async def settle(at: Desk, cid: str, symbol: str, seen: Counter[str]) -> None:
    """As the router does: a doubt is left by evidence only."""
    request = entry(cid, 1, type="limit", limit_ticks=100, symbol=symbol)
    while True:
        try:
            await at.venue.send(request)
            seen["taken"] += 1
            return
        except VenueShut:
            raise
        except VenueDoubt:
            seen["doubt"] += 1
        except VenueRefused as refused:
            if not refused.duplicate:
                raise
            seen["duplicate"] += 1
        found = None
        while True:
            try:
                found = await at.venue.look_up(cid)
                break
            except VenueDoubt:
                seen["look_up in vain"] += 1
        if found is not None:
            assert (found.cid, found.qty, found.limit_ticks, found.state) == (cid, 1, 100, "live")
            seen["found"] += 1
            return
        seen["absent"] += 1


async def ambiguous(tmp_path: Path, count: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    async with desk(tmp_path, options=OPTIONS) as at:
        for name, chance in FAULTS.items():
            at.faults.set(name, {"on": "submit", "p": chance})
        at.faults.set("down_500", {"on": ["submit", "order"], "p": 0.1})
        limiter = anyio.CapacityLimiter(4)  # a simulated book has few places

        async def one(number: int) -> None:
            async with limiter:
                symbols = list(at.terms)
                await settle(at, f"av-{number}", symbols[number % len(symbols)], seen)
                at.truth.cancel(at.truth.by_client_id(f"av-{number}").id)  # so that the book has room

        words: list[Word] = []

        async def pull() -> None:
            """As the router does, all along."""
            with anyio.fail_after(600):
                while len(words) < 2 * count:
                    words.extend(await at.venue.words(words[-1].number if words else 0))
                    await anyio.sleep(0.01)

        async with anyio.create_task_group() as group:
            group.start_soon(pull)
            for number in range(count):
                group.start_soon(one, number)
        orders = Counter(order.client_id for order in at.truth.all_orders())
        assert set(orders) == {f"av-{number}" for number in range(count)}
        assert set(orders.values()) == {1}
        assert [word.number for word in words] == list(range(1, 2 * count + 1))
        assert Counter((word.cid, word.kind) for word in words) == {
            (cid, kind): 1 for cid in orders for kind in ("acked", "canceled")
        }
        assert all(at.faults.fired[name] for name in FAULTS)
    return seen


async def test_each_is_one_order(tmp_path: Path) -> None:
    seen = await ambiguous(tmp_path, 150)
    assert min(seen[name] for name in ("taken", "doubt", "found", "absent")) > 5


@pytest.mark.campaign
async def test_each_of_ten_thousand_is_one_order(tmp_path: Path, house_report: list[str]) -> None:
    seen = await ambiguous(tmp_path, 10_000)
    house_report.append(f"alpaca: 10,000 ambiguous sends, one order each: {dict(seen)}")
