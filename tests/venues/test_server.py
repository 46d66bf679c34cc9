"""The exchange as a real process on a real socket."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import numpy as np
import pytest

from avwapd.venues import server as server_module
from avwapd.venues.faults import FaultPlan
from avwapd.venues.port import Request, VenueDoubt, VenueRefused
from tests.venues.kit import MINUTE, bar, cancel, exchange, insisted, kinds, replace, submit, until, walk
from tests.venues.process import customer, running, served


async def get(address: str, path: str, **how: Any) -> Any:
    """A call past the client, for what only tests ask."""
    connector = aiohttp.UnixConnector(address.removeprefix("unix:"))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request("POST" if how else "GET", f"http://venue{path}", **how) as response,
    ):
        return await response.json()


async def test_an_order_over_tcp_from_ack_to_fill(tmp_path: Path) -> None:
    async with running(tmp_path, listen="127.0.0.1:0") as server, customer(server.address) as venue:
        assert server.address.startswith("tcp:127.0.0.1:")
        await venue.send(submit("a", qty=150))
        await venue.open_bar(MINUTE, bar(1))
        await venue.send(submit("s", side=-1, type="stop", stop=9_000))
        await venue.close_bar(MINUTE)
        words = await venue.words(0)
        assert [(w.kind, w.last_qty, w.final) for w in words] == [
            ("acked", 0, False),
            ("filled", 100, False),
            ("acked", 0, False),
        ]
        assert await venue.words(2) == words[2:]
        order = await venue.look_up("a")
        assert order is not None
        assert (order.filled_qty, order.state, order.venue_id) == (100, "live", "v1")
        assert await venue.look_up("nobody") is None
        with pytest.raises(VenueRefused) as refusal:
            await venue.send(submit("a"))
        assert refusal.value.duplicate
        with pytest.raises(VenueRefused, match="unknown symbol") as refusal:
            await venue.send(submit("z", "ZZZ"))
        assert not refusal.value.duplicate
        with pytest.raises(VenueRefused, match="not all of"):
            await venue.open_bar(2 * MINUTE, bar(3))
        assert await server.stop() == 0
    posts = [json.loads(line)["cid"] for line in (tmp_path / "posts.jsonl").read_text().splitlines()]
    assert posts == ["a", "s", "a", "z"]


def plan(seed: int, barriers: int) -> list[list[Request]]:
    """What a customer asks in each bar; the first order rests for ever, so that every bar meets one."""
    rng = random.Random(seed)
    asked: list[list[Request]] = [[submit("far", "CCC", type="limit", limit=1)]]
    serial = 0
    for _ in range(barriers):
        requests = []
        for _ in range(rng.randint(0, 3)):
            serial += 1
            symbol, side = rng.choice(("AAA", "BBB")), rng.choice((-1, 1))
            kind = rng.choice(("submit", "submit", "replace", "cancel"))
            ref = f"c{rng.randint(max(1, serial - 4), max(1, serial - 1))}"
            if kind == "submit":
                requests.append(submit(f"c{serial}", symbol, side=side, qty=rng.randint(1, 40)))
            elif kind == "replace":
                requests.append(replace(f"c{serial}", ref, symbol, side=side, stop=rng.randint(9_900, 10_100)))
            else:
                requests.append(cancel(f"c{serial}", ref, symbol))
        asked.append(requests)
    return asked


@pytest.mark.crash
async def test_killed_at_random_moments_it_ends_as_if_it_never_was(tmp_path: Path) -> None:
    barriers, asked = walk(7, 300), plan(7, 299)
    (tmp_path / "reference").mkdir()
    reference = exchange(tmp_path / "reference")
    kills_left = 3
    rng = random.Random(7)

    async def kill() -> None:
        nonlocal kills_left
        while kills_left:
            await anyio.sleep(rng.uniform(0.05, 0.25))
            await server.kill()
            await server.start()
            kills_left -= 1

    async def send(request: Request) -> None:
        """One order in effect: a duplicate is an order that arrived; a cancel is asked again only if unheard."""
        while True:
            try:
                await venue.send(request)
                return
            except VenueRefused as refused:
                if refused.duplicate:
                    return
                raise
            except VenueDoubt:
                await anyio.sleep(0.02)
                if request.kind == "cancel" and await insisted(venue.words, reference.last_word):
                    return

    async with running(tmp_path) as server, customer(server.address, limit_s=1.0) as venue:
        async with anyio.create_task_group() as group:
            group.start_soon(kill)
            with anyio.fail_after(60):
                for bars, requests in zip(barriers, asked, strict=True):
                    ts_ms = int(bars["ts_ms"][0])
                    await insisted(venue.open_bar, ts_ms, bars)
                    reference.open_bar(ts_ms, bars)
                    for request in requests:
                        await send(request)
                        reference.take(request)
                    await insisted(venue.close_bar, ts_ms)
                    reference.close_bar(ts_ms)
        said = []
        while words := await insisted(venue.words, len(said)):
            said += words
        book = await get(server.address, "/book")
    assert said == [word for after in range(0, reference.last_word, 1000) for word in reference.words(after)]
    assert [tuple(row) for row in book["orders"]] == reference.orders_rows()
    assert book["positions"] == reference.positions()
    assert {"filled", "canceled", "replaced", "rejected", "cancel_refused"} <= set(kinds(said))
    reference.close()


async def test_faults_cut_the_line_and_are_counted(tmp_path: Path) -> None:
    faults = ["lose_request=0.15", "lose_answer=0.15", "double_request=0.2", "late_request=0.15", "late_ms=20"]
    faults += ["double_words=0.3", "deadline_ms=5", "seed=3"]
    args = [part for fault in faults for part in ("--fault", fault)]
    async with running(tmp_path, *args, "--no-duplicate-check") as server, customer(server.address) as venue:
        doubts = 0
        for i in range(120):
            try:
                await venue.send(submit(f"a{i}", type="limit", limit=1))
            except VenueDoubt:
                doubts += 1
        words = await insisted(venue.words, 0)
        assert [word.number for word in words] == list(range(1, len(words) + 1))
        after = await insisted(venue.words, 5)
        assert after[0].number == 6
        counts = (await get(server.address, "/health"))["faults"]
        assert (
            doubts == 120 - (120 - counts["late_request"] - counts["lose_request"] - counts["lose_answer"])
            or doubts > 20
        )
        assert counts.keys() >= {"lose_request", "lose_answer", "double_request", "late_request", "arrived_late"}
        orders = (await get(server.address, "/book"))["orders"]
        cids = [row[0] for row in orders]
        assert len(set(cids)) < len(cids), "nobody checked: some orders exist twice"


async def test_a_market_that_runs_by_itself(tmp_path: Path) -> None:
    bars = np.concatenate(walk(1, 60))
    np.save(tmp_path / "bars.npy", bars)
    run = ("--free-run", "100", "--bars", str(tmp_path / "bars.npy"), "--fault", "slow_fill_bars=3")
    async with running(tmp_path, *run) as server, customer(server.address) as venue:
        with pytest.raises(VenueRefused, match="by itself"):
            await venue.open_bar(MINUTE, bars[:3])
        await venue.send(submit("a", qty=1))
        await anyio.sleep(0.15)
        await get(server.address, "/control", json={"pause": True})
        await anyio.sleep(0.03)
        held = await venue.after(0)
        await anyio.sleep(0.05)
        assert len(await venue.after(0)) == len(held) > 0
        assert not venue.over

        await server.kill()
        survivor = exchange(tmp_path)
        assert survivor.closed_ms == held[-1]["ts_ms"][0], "time does not run backwards over a kill"
        survivor.close()
        await server.start()
        seen = await insisted(venue.after, 0)
        assert len(seen) >= len(held)

        async def goes_on() -> bool:
            seen.extend(await venue.after(int(seen[-1]["ts_ms"][0])))
            return venue.over

        await until(goes_on)
        assert [len(barrier) for barrier in seen] == [3] * 60
        assert np.array_equal(np.concatenate(seen), bars)
        assert kinds(await venue.words(0)) == ["acked", "filled"]
        assert await server.stop() == 0


async def test_a_long_past_comes_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "BARS_AT_ONCE", 7)
    past = exchange(tmp_path)
    past.open_bar(5 * MINUTE, walk(1, 5)[-1])
    past.close_bar(5 * MINUTE)
    server = server_module.ExchangeServer(past, FaultPlan(), np.concatenate(walk(1, 5)), 1.0)
    async with served(server, tmp_path) as path, customer(f"unix:{path}") as venue:
        parts = []
        while not venue.over:
            parts.append(await venue.after(int(parts[-1][-1]["ts_ms"][0]) if parts else 0))
    assert [len(part) for part in parts] == [2, 2, 1]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/orders", b"{"),
        ("POST", "/orders", b"[]"),
        ("POST", "/orders", b'{"kind": "submit"}'),
        ("POST", "/orders", json.dumps(dict.fromkeys(Request.__slots__, "x")).encode()),
        ("GET", "/words?after=x", b""),
        ("POST", "/market/open?ts_ms=60000", b"123"),
        ("POST", "/market/close", b""),
        ("POST", "/control", b'{"pause": 1}'),
    ],
)
async def test_nonsense_is_refused_in_words(aimed: aiohttp.ClientSession, method: str, path: str, body: bytes) -> None:
    async with aimed.request(method, f"http://venue{path}", data=body or None) as response:
        assert 400 <= response.status < 500
        assert isinstance((await response.json())["refused"], str)
