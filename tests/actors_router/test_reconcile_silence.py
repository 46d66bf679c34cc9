"""What cannot be compared is not agreed; what cannot leave is said; what differs is not resumed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd.actors import books as compare
from avwapd.actors.books import Difference
from avwapd.actors.control import Control
from avwapd.core.codes import ACT_FLATTEN, ACT_RESUME, PHASES, SLOT_LIVE
from avwapd.core.machine import FROZEN
from avwapd.verbs.client import DaemonError, ask
from tests.actors_router.bench import Bench, bench
from tests.actors_router.test_reconcile import holding, name_of, readings, reads

FAR_S = 1e6


def noise(there: Bench, symbol: int) -> None:
    """The venue has just spoken about it, until `hush`."""
    there.router.heard_at[symbol] = there.clock.monotonic() + FAR_S


def hush(there: Bench, symbol: int) -> None:
    del there.router.heard_at[symbol]


async def sold_by_hand(there: Bench) -> tuple[int, str, int]:
    """A held symbol whose position is gone at the venue, quarantined: index, name, lots."""
    symbol = await holding(there)
    name, held = name_of(there, symbol), int(there.states[symbol]["qty"])
    there.sim.desk.restate(name, Decimal(-held), Decimal(0))
    await reads(there, lambda: there.states[symbol]["halted"] == FROZEN)
    await readings(there)
    return symbol, name, held


async def noted(there: Bench) -> list[tuple[Any, ...]]:
    return await there.rows("SELECT agreed, difference FROM venue_books ORDER BY id")


async def said(there: Bench, words: str) -> int:
    return sum(words in what for _, what in await there.alerts())


async def test_silence_about_a_noisy_symbol_is_no_agreement(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        symbol, name, held = await sold_by_hand(there)
        rows = await noted(there)
        there.reconciler._agreed_ms = None
        words = f"{name}: the ledger holds {held}, the venue 0"
        assert rows[-1] == (0, words)
        noise(there, symbol)
        await readings(there, 4)
        facts = there.reconciler.facts()
        assert facts["differences"] == {name: [f"the ledger holds {held}, the venue 0 (not yet comparable)"]}
        assert facts["quarantined"] == [name]
        there.sim.desk.restate(name, Decimal(held), Decimal(0))
        await readings(there, 4)  # right again, and nobody can tell yet
        assert there.reconciler.facts()["quarantined"] == [name]
        assert there.reconciler.facts()["agreed_age_s"] is None
        assert await noted(there) == rows
        assert await said(there, "agree again") == 0
        hush(there, symbol)
        await there.wait(lambda: not there.reconciler.differences)
        assert there.reconciler.facts()["quarantined"] == [name]  # the reading before could not say so
        await readings(there)
        assert await said(there, "agree again") == 1
        assert (await noted(there))[-1] == (1, "")
        assert there.reconciler.facts()["agreed_age_s"] is not None
        assert await said(there, words) == 1


async def test_an_order_that_is_listed_again_while_its_symbol_is_noisy_ends_no_quarantine(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        symbol = await holding(there)
        books, name = there.venue.books, name_of(there, symbol)

        async def without_orders() -> Any:
            read = await books()
            read.orders.clear()
            return read

        there.venue.books = without_orders  # type: ignore[method-assign]
        there.fault("not_found_lie")
        await reads(there, lambda: there.reconciler.facts()["quarantined"] == [name])
        await readings(there)
        noise(there, symbol)
        there.sim.faults.clear()
        there.venue.books = books  # type: ignore[method-assign]
        await readings(there, 4)
        assert there.reconciler.differences == []
        assert there.reconciler.facts()["quarantined"] == [name]
        assert await said(there, "agree again") == 0
        hush(there, symbol)
        await readings(there, 4)
        assert there.reconciler.facts()["quarantined"] == []
        assert await said(there, f"{name}: ledger and venue agree again") == 1


async def test_a_noisy_symbol_without_a_difference_delays_the_word_agreed(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        await there.wait(lambda: there.reconciler.compared)
        there.reconciler._agreed_ms = None
        noise(there, 1)
        await readings(there)
        assert there.reconciler.facts()["agreed_age_s"] is None
        hush(there, 1)
        await readings(there)
        assert there.reconciler.facts()["agreed_age_s"] is not None


async def test_a_cash_difference_stands_while_symbols_are_noisy_and_is_told_once(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        symbol = await holding(there)
        books = there.venue.books

        async def with_another() -> Any:
            read = await books()
            read.foreign["ROWAN"] = "5"  # the simulator's market has no other symbol than the run's
            return read

        there.venue.books = with_another  # type: ignore[method-assign]
        there.sim.desk.restate("S0", Decimal(0), Decimal("-219.90"))
        words = "the venue's cash is -219.90 USD beside the ledger's"
        also = "; it also holds ROWAN 5, which this run does not trade"
        await reads(there, lambda: there.reconciler._told)
        there.reconciler._agreed_ms = None
        for _ in range(3):
            noise(there, symbol)
            await readings(there)
            assert there.reconciler.facts()["differences"] == {"": [f"{words}{also} (not yet comparable)"]}
            hush(there, symbol)
            await readings(there)
            assert there.reconciler.facts()["differences"] == {"": [words + also]}
        assert there.reconciler.facts()["agreed_age_s"] is None  # not beside a difference that stands
        assert await there.alerts() == [("warning", f"{words}{also}; see the venue's statement")]
        assert await noted(there) == [(1, ""), (0, words + also)]


def test_what_an_account_holds_besides_is_named_and_is_no_difference_of_its_own() -> None:
    assert compare.elsewhere({}) == ""
    many = {f"S{number}": "1" for number in range(compare.NAMED + 2)}
    assert " and 2 more, which" in compare.elsewhere(many)
    one, two = (Difference(compare.CASH, -1, "", "x", also=also) for also in ("; BNB 1", "; BNB 1.1"))
    assert one == two
    assert one.words == "x; BNB 1"


async def test_an_exit_that_cannot_leave_is_said_once(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        symbol, name, held = await sold_by_hand(there)
        assert there.reconciler.facts()["waiting_exits"] == []
        sent = there.router.sent
        await there.act(ACT_FLATTEN, symbol)
        assert PHASES[there.states[symbol]["phase"]] == "EXITING"
        await readings(there, 4)
        assert there.reconciler.facts()["waiting_exits"] == [name]
        assert await said(there, f"{name}: its exit is decided, and nothing leaves") == 1
        assert there.router.sent == sent
        there.sim.desk.restate(name, Decimal(held), Decimal(0))
        await readings(there)
        await there.act(ACT_RESUME, symbol)
        await there.quiet()
        await readings(there)
        assert there.reconciler.facts()["waiting_exits"] == []
        assert there.router.sent > sent


@asynccontextmanager
async def controlled(there: Bench) -> AsyncIterator[Any]:
    """A function that posts an act to the daemon's own control socket."""
    folder = Path(tempfile.mkdtemp(prefix="avwapd"))  # pytest's own can be too long for a socket
    path = folder / "s"

    async def reload() -> dict[str, Any]:
        return {}

    async def post(name: str, **body: Any) -> Any:
        return await anyio.to_thread.run_sync(partial(ask, path, "POST", f"/v1/{name}", body, 5.0))

    told = there.reconciler.difference_of
    doors = {"writer": there.symbols._writer, "clock": there.symbols._clock}
    control = Control(path, there.path, there.symbols, dict, print, reload, **doors, difference_of=told)
    try:
        async with anyio.create_task_group() as group:
            await group.start(control.run)
            yield post
            group.cancel_scope.cancel()
    finally:
        shutil.rmtree(folder)


async def test_flatten_names_what_does_not_leave(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there, controlled(there) as post:
        _, name, held = await sold_by_hand(there)
        for body in ({}, {"symbol": name}):
            answer = await post("flatten", **body)
            assert answer["effect"] == f"NOTHING LEAVES for {name} until resumed"
            assert answer["waits"] == {name: f"{name}: the ledger holds {held}, the venue 0"}
            assert f"avwapd ctl resume {name}" in answer["next_step"]
        await there.until(lambda: bool((there.states["protect"]["status"] == SLOT_LIVE).all()))
        answer = await post("flatten")
        assert answer["effect"] == f"the other positions are sold at market; NOTHING LEAVES for {name} until resumed"
        assert list(answer["waits"]) == [name]


async def test_flatten_of_what_can_leave_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there, controlled(there) as post:
        await holding(there)
        answer = await post("flatten")
        assert answer == {"done": "flatten", "symbol": None, "effect": "positions are sold at market"}


async def test_what_differs_is_not_resumed_but_by_force(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there, controlled(there) as post:
        symbol, name, held = await sold_by_hand(there)
        other = name_of(there, 1 - symbol)
        for body in ({}, {"symbol": name}, {"symbol": name, "force": False}):
            with pytest.raises(DaemonError, match=f"{name}: the ledger holds {held}, the venue 0") as refused:
                await post("resume", **body)
            assert "repair it at the venue, or set reconcile.on_foreign" in refused.value.next_step
            assert there.states[symbol]["halted"] == FROZEN
        await post("resume", symbol=other)  # it agrees
        with pytest.raises(DaemonError, match="force is 'yes'"):
            await post("resume", symbol=name, force="yes")
        with pytest.raises(DaemonError, match="unknown 'force'"):
            await post("halt", symbol=name, force=True)
        await post("resume", symbol=name, force=True)
        assert there.states[symbol]["halted"] == 0
        await reads(there, lambda: there.states[symbol]["halted"] == FROZEN)  # it differs all the same
        there.sim.desk.restate(name, Decimal(held), Decimal(0))
        await readings(there)
        await post("resume", symbol=name)
        assert there.states[symbol]["halted"] == 0
