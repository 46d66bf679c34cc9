"""Each REST fault as a client sees it: what came back, and whether the venue took the order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientError, ClientPayloadError, ClientSession, ClientTimeout, ServerDisconnectedError

from avwapd.demo_venue.faults import FAULTS
from tests.venue.simulators import Running, running

KEYS = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
ORDER = {"symbol": "ALFA", "qty": "5", "side": "buy", "type": "market", "time_in_force": "day"}
REST = [fault for fault in FAULTS.values() if fault.layer == "rest"]


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "venue") as there:
        there.bar()
        yield there


async def call(venue: Running, method: str = "POST", path: str = "/v2/orders", body: Any = None) -> tuple[int, bytes]:
    """Status and body; raises what the client does. A third of a second is this client's whole patience."""
    timeout = ClientTimeout(total=0.35)
    async with (
        ClientSession(headers=KEYS, timeout=timeout) as session,
        session.request(method, venue.url + path, json=body) as answer,
    ):
        return answer.status, await answer.read()


async def post(venue: Running, fault: str, **setting: Any) -> tuple[int, bytes] | type[BaseException]:
    """One order under one fault: the answer, or the kind of error."""
    await venue.control("/faults", {"clear": "all", "set": {fault: {"on": "submit", "count": 1, **setting}}})
    body = ORDER | {"client_order_id": f"{fault}-{len(venue.sim.desk.all_orders())}"}
    try:
        return await call(venue, body=body)
    except (ClientError, TimeoutError, ConnectionError) as error:
        return type(error)


def taken(venue: Running) -> int:
    return len(venue.sim.desk.all_orders())


@pytest.mark.parametrize(
    ("fault", "errors", "orders"),
    [
        ("lose_request", (TimeoutError,), 0),
        ("refuse_connection", (ServerDisconnectedError, ConnectionError), 0),
        ("lose_answer", (TimeoutError,), 1),
        ("reset", (ServerDisconnectedError, ConnectionError), 1),
        ("cut_answer", (ClientPayloadError,), 1),
        ("wrong_length", (ClientPayloadError,), 1),
        ("slow_drip", (TimeoutError,), 1),
    ],
)
async def test_no_whole_answer(
    venue: Running, fault: str, errors: tuple[type[BaseException], ...], orders: int
) -> None:
    outcome = await post(venue, fault)
    assert isinstance(outcome, type)
    assert issubclass(outcome, errors)
    assert taken(venue) == orders
    assert venue.sim.faults.fired == {fault: 1}
    assert (await post(venue, fault, p=0.0))[0] == 200  # type: ignore[index]


@pytest.mark.parametrize(
    ("fault", "status", "orders", "part"),
    [
        ("gateway_504_taken", 504, 1, b"upstream"),
        ("limit_429", 429, 0, b"42910000"),
        ("limit_429_no_header", 429, 0, b"42910000"),
        ("down_500", (500, 502, 503), 0, b"<html>"),
        ("html_200", 200, 1, b"<html>"),
        ("empty_200", 200, 1, b""),
        ("bad_json", 200, 1, b'{"id"'),
        ("revoked_401", 401, 0, b"40110000"),
        ("blocked_403", 403, 0, b"blocked"),
    ],
)
async def test_another_answer(venue: Running, fault: str, status: Any, orders: int, part: bytes) -> None:
    got, body = await post(venue, fault)  # type: ignore[misc]
    assert got in (status if isinstance(status, tuple) else (status,))
    assert part in body
    assert taken(venue) == orders
    if fault in ("html_200", "empty_200", "bad_json"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("missing_field", lambda body: "id" not in json.loads(body)),
        ("unknown_enum", lambda body: json.loads(body)["status"] == "quantum"),
        ("nan_value", lambda body: b"NaN" in body),
        ("huge_number", lambda body: b"1e400" in body),
        ("duplicate_keys", lambda body: body.count(b'"filled_qty"') == 2),
    ],
)
async def test_a_spoiled_answer(venue: Running, fault: str, wrong: Any) -> None:
    status, body = await post(venue, fault)  # type: ignore[misc]
    assert status == 200
    assert wrong(body)
    assert taken(venue) == 1
    status, body = await post(venue, fault, count=0)  # type: ignore[misc]
    assert not wrong(body)


async def test_a_504_and_then_the_duplicate(venue: Running) -> None:
    body = ORDER | {"client_order_id": "one"}
    await venue.control("/faults", {"set": {"gateway_504_taken": {"on": "submit", "count": 1}}})
    assert [(await call(venue, body=body))[0] for _ in range(2)] == [504, 422]
    assert taken(venue) == 1


async def test_orders_and_positions_that_are_not_shown(venue: Running) -> None:
    await call(venue, body=ORDER | {"client_order_id": "one"})
    venue.bar()
    find = "/v2/orders:by_client_order_id?client_order_id=one"
    await venue.control(
        "/faults", {"set": {"not_found_lie": {"count": 2}, "stale_positions": {"count": 1, "value": 400_000}}}
    )
    assert [(await call(venue, "GET", find))[0] for _ in range(3)] == [404, 404, 200]
    assert [len(json.loads((await call(venue, "GET", "/v2/positions"))[1])) for _ in range(2)] == [0, 1]


async def test_the_venue_s_clock_is_off(venue: Running) -> None:
    await venue.control("/faults", {"set": {"clock_skew": {"value": 7000}}})
    clock = json.loads((await call(venue, "GET", "/v2/clock"))[1])
    shown = datetime.fromisoformat(clock["timestamp"]).timestamp() * 1000
    assert shown - venue.sim.market.now_ms() == 7000


async def test_dice_are_the_seed_s_and_each_fault_has_its_own(tmp_path: Path) -> None:
    async def fired(folder: str, seed: int, **more: Any) -> list[str]:
        async with running(tmp_path / folder, seed=seed, faults={"gateway_504_taken": 0.5, **more}) as venue:
            for _ in range(20):
                with suppress(ClientError):
                    await call(venue, body=ORDER)
            return [str(entry.get("order", at)) for at, entry in enumerate(venue.sim.faults.log)] + [
                str(venue.sim.faults.fired["gateway_504_taken"])
            ]

    assert await fired("a", 5) == await fired("b", 5)
    counts = {tuple(await fired(f"s{seed}", seed)) for seed in range(4)}
    assert len(counts) > 1


async def test_switching_and_looking_at_faults(venue: Running) -> None:
    facts = await venue.control("/faults", {"set": {"lose_answer": {"on": "submit", "p": 0.3, "count": 5}}})
    assert facts["set"]["lose_answer"]["on"] == ["submit"]
    assert (await venue.control("/faults", {"set": {"no_such": 1}}))["error"].startswith("no_such is none of")
    assert "error" in await venue.control("/faults", {"set": {"lose_answer": {"on": "nowhere"}}})
    assert (await venue.control("/faults", {"clear": "all"}))["set"] == {}


async def test_every_rest_fault_is_tested_here() -> None:
    with anyio.fail_after(1):
        source = await anyio.Path(__file__).read_text()
    assert [fault.name for fault in REST if f'"{fault.name}"' not in source] == []
