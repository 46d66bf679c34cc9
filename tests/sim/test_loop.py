"""The simulated world repeats itself, stops when pulled, and says when nothing can go on."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

import aiosqlite
import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio._backends import _asyncio as backend

from tests.sim.database import SimConnection, crash_copy, sim_connect
from tests.sim.loop import (
    Deadlock,
    Killed,
    Livelock,
    Mode,
    NotSimulated,
    Unhandled,
    VirtualLoop,
    first_difference,
    simulate,
)
from tests.sim.ordered import WALKERS, OrderedSet, ordered_sets

ROOT = Path(__file__).resolve().parents[2]
DAY_S = 86_400.0


def here() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


# -------------------------------------------------------------- the gate


def probe(junk: int, *, seed: int = 1, mode: Mode = "shuffled", sets: str = "ordered") -> list[str]:
    command = [sys.executable, "-W", "error", "-m", "tests.sim.determinism_probe"]
    done = subprocess.run(
        [*command, str(seed), mode, str(junk), sets],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(junk)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def side_by_side() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield pool


def parting(one: list[str], other: list[str]) -> tuple[str | None, str | None] | None:
    return next((pair for pair in zip_longest(one[1:], other[1:]) if pair[0] != pair[1]), None)


@pytest.mark.parametrize("mode", ["shuffled", "fifo"])
def test_a_seed_is_one_trace_in_every_process(mode: Mode, side_by_side: ThreadPoolExecutor) -> None:
    first, *others = side_by_side.map(lambda junk: probe(junk, mode=mode), range(1, 7))
    assert len(first) > 10_000
    assert [parting(first, other) for other in others] == [None] * 5
    assert {other[0] for other in others} == {first[0]}


def test_the_gate_has_something_to_hold_back(side_by_side: ThreadPoolExecutor) -> None:
    """Were the scenario too small, plain anyio would look repeatable too and the gate would prove nothing."""
    hashes: set[str] = set()
    for junk in range(1, 17, 2):
        pair = side_by_side.map(lambda number: probe(number, sets="plain")[0], (junk, junk + 1))
        hashes.update(pair)
        if len(hashes) > 1:
            return
    pytest.fail("sixteen processes with plain anyio agree: make the scenario larger")


async def lottery() -> list[int]:
    finished: list[int] = []

    async def runner(number: int) -> None:
        await anyio.sleep(1.0)
        finished.append(number)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(runner, number)
    return finished


def test_seeds_differ_and_fifo_ignores_them() -> None:
    shuffled = [simulate(lottery, seed=seed) for seed in range(5)]
    assert len({result.trace_hash for result in shuffled}) == 5
    assert simulate(lottery, seed=0) == shuffled[0]
    fifo = [simulate(lottery, seed=seed, mode="fifo") for seed in range(3)]
    assert [result.value for result in fifo] == [list(range(20))] * 3
    assert len({result.trace_hash for result in fifo}) == 1


def test_the_first_differing_step_is_named() -> None:
    logs = [simulate(lottery, seed=seed, keep_log=True).log for seed in (0, 0, 1)]
    assert logs[0] is not None
    assert logs[1] is not None
    assert logs[2] is not None
    assert first_difference(logs[0], logs[1]) is None
    parted = first_difference(logs[0], logs[2])
    assert parted is not None
    assert parted[0] is not None
    assert "runner" in parted[0].who


def test_a_draw_in_one_stream_leaves_the_others() -> None:
    async def draws(extra: int) -> float:
        for _ in range(extra):
            here().random("net").random()
        return here().random("fault").random()

    assert len({simulate(lambda extra=extra: draws(extra), seed=3).value for extra in range(3)}) == 1


# ------------------------------------------------------- order within a batch


def test_shuffling_moves_task_steps_and_nothing_else() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def step(name: str) -> None:
            seen.append(name)

        tasks = []
        for name in "abcd":
            tasks.append(here().create_task(step(name)))
            here().call_soon(seen.append, name.upper())
        await asyncio.wait(tasks)
        return seen

    orders = [simulate(main, seed=seed).value or [] for seed in range(20)]
    assert [order[1::2] for order in orders] == [list("ABCD")] * 20
    assert {"".join(sorted(order[0::2])) for order in orders} == {"abcd"}
    assert len({"".join(order) for order in orders}) > 5


def test_timers_of_one_instant_are_shuffled_and_of_two_are_not() -> None:
    async def main() -> str:
        seen: list[str] = []
        for name in "cde":
            here().call_at(2.0, seen.append, name)
        for name in "ab":
            here().call_at(1.0, seen.append, name)
        await anyio.sleep(3.0)
        return "".join(seen)

    assert simulate(main, seed=0, mode="fifo").value == "abcde"
    orders = {simulate(main, seed=seed).value or "" for seed in range(30)}
    assert len(orders) > 5
    assert {order[:2] for order in orders} == {"ab", "ba"}


# ----------------------------------------------------------------- time, ends


def test_a_day_of_sleep_is_a_moment() -> None:
    async def main() -> None:
        for _ in range(24 * 60):
            await anyio.sleep(60.0)

    began = time.perf_counter()
    result = simulate(main, seed=0)
    assert result.virtual_s == DAY_S
    assert result.virtual_s / (time.perf_counter() - began) > 1_000


def test_the_clock_starts_where_it_is_told() -> None:
    async def main() -> float:
        await anyio.sleep(1.5)
        return anyio.current_time()

    assert simulate(main, seed=0, start_s=100.0).value == 101.5


@pytest.mark.parametrize("wait", [lambda: anyio.Event().wait(), anyio.sleep_forever], ids=["event", "for ever"])
def test_a_deadlock_is_found_and_says_who_waits(wait: Callable[[], Awaitable[None]]) -> None:
    async def stuck_reader() -> None:
        await wait()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(stuck_reader, name="reader")
            await anyio.sleep(5)

    with pytest.raises(Deadlock, match=r"at 5\.0 s .* reader in ") as caught:
        simulate(main, seed=0)
    assert caught.value.__notes__ == ["simulated: seed 0, shuffled, step 4, 5.0 s"]


def test_a_livelock_is_found() -> None:
    async def main() -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    with pytest.raises(Livelock, match=r"1000 steps, now at 0\.0 s, next 1 main"):
        simulate(main, seed=0, max_steps=1_000)


def test_a_forgotten_failure_is_not_merely_logged() -> None:
    async def main() -> None:
        here().call_soon(int, "x")
        await anyio.sleep(1)

    with pytest.raises(Unhandled) as caught:
        simulate(main, seed=0)
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_main_leaves_behind_is_wound_down_in_order() -> None:
    ended: list[object] = []
    kept: list[AsyncIterator[int]] = []  # references that outlive main

    async def numbers(name: int) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ended.append(name)

    async def rest(name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(name)

    async def main() -> None:
        kept.extend(numbers(name) for name in range(20))
        for generator in reversed(kept):
            await anext(generator)
        for name in "ab":
            here().create_task(rest(name))
        await anyio.sleep(1)

    simulate(main, seed=0, mode="fifo")
    assert ended == ["a", "b", *reversed(range(20))]


# -------------------------------------------------------------------- anyio


def test_anyio_is_at_home() -> None:
    async def served(*, task_status: anyio.abc.TaskStatus[str]) -> None:
        task_status.started("up")
        await anyio.sleep_forever()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            assert await group.start(served, name="server") == "up"
            assert {task.name for task in anyio.get_running_tasks()} == {"main", "server"}
            assert anyio.get_current_task().name == "main"
            with pytest.raises(TimeoutError), anyio.fail_after(2):
                await anyio.Event().wait()
            with anyio.move_on_after(3) as scope:
                async with anyio.Lock(), anyio.Semaphore(1):
                    await anyio.sleep(10)
            assert scope.cancelled_caught
            assert anyio.current_time() == 5.0
            group.cancel_scope.cancel()

    assert simulate(main, seed=0).killed is None


def test_every_set_that_anyio_walks_is_ordered() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            scope = group.cancel_scope
            limiter = anyio.CapacityLimiter(1)
            send, receive = anyio.create_memory_object_stream[int]()
            sends = send.clone()
            group.start_soon(receive.receive)
            await anyio.wait_all_tasks_blocked()
            walked = [group._tasks, scope._tasks, scope._child_scopes, limiter._borrowers, receive._waiters]
            assert [type(held) for held in walked] == [OrderedSet] * len(walked)
            assert len(group._tasks) == 1
            await send.send(1)
            group.start_soon(sends.send, 2)
            await anyio.wait_all_tasks_blocked()
            assert type(sends._waiters) is OrderedSet
            assert await receive.receive() == 2
            for stream in (send, sends, receive):
                stream.close()

    simulate(main, seed=0)
    assert [vars(module).get("set") for module in WALKERS] == [None, None]
    assert type(backend.CancelScope()._tasks) is set


def test_an_ordered_set_is_a_set_with_a_memory() -> None:
    letters = OrderedSet("cab")
    letters.add("a")
    letters.update("zb", "y")
    assert list(letters) == list("cabzy")
    twin = letters.copy()
    letters.discard("q")
    letters.remove("c")
    with pytest.raises(KeyError):
        letters.remove("c")
    assert list(letters | {"c"}) == list("abzyc")
    assert "c" in twin
    assert {"a", "b", "z", "y"} == letters
    with ordered_sets(), ordered_sets():
        pass
    assert "set" not in vars(backend)


# -------------------------------------------------------- no way to the world


async def into_a_worker_thread() -> None:
    await anyio.to_thread.run_sync(time.sleep, 0)


async def into_the_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0)


async def to_a_host() -> None:
    await anyio.connect_tcp("localhost", 1)


async def to_a_name() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 1)


async def to_a_process() -> None:
    await anyio.run_process(["true"])


async def to_a_threaded_database() -> None:
    await aiosqlite.connect(":memory:")


@pytest.mark.parametrize(
    "escape",
    [into_a_worker_thread, into_the_executor, to_a_host, to_a_name, to_a_process, to_a_threaded_database],
    ids=lambda escape: escape.__name__,
)
def test_the_real_world_is_out_of_reach(escape: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(NotSimulated):
        simulate(escape, seed=0)


def test_no_other_thread_may_wake_the_loop() -> None:
    refused: list[str] = []
    began, over = threading.Event(), threading.Event()
    loops: list[VirtualLoop] = []

    def stranger() -> None:
        began.wait()
        try:
            loops[0].call_soon_threadsafe(print)
        except NotSimulated as error:
            refused.append(str(error))
        over.set()

    async def main() -> None:
        loops.append(here())
        began.set()
        over.wait()

    thread = threading.Thread(target=stranger)
    thread.start()
    simulate(main, seed=0)
    thread.join()
    assert refused == ["call_soon_threadsafe from another thread"]


# --------------------------------------------------------------------- kills


def test_a_kill_is_no_goodbye() -> None:
    """At every boundary: exactly that many callbacks ran, and no `finally`, not even after a collection."""
    goodbyes: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            goodbyes.append("generator")

    async def child() -> None:
        try:
            async for _ in numbers():
                await anyio.sleep(1)
        finally:
            goodbyes.append("child")

    async def main() -> None:
        try:
            send, _ = anyio.create_memory_object_stream[int]()
            with anyio.move_on_after(5):
                async with anyio.create_task_group() as group:
                    group.start_soon(child)
                    group.start_soon(child)
                    await send.send(1)
        finally:
            goodbyes.append("main")
            await anyio.sleep_forever()

    for step in range(45):
        goodbyes.clear()
        result = simulate(main, seed=1, kill_at_step=step)
        if goodbyes:
            break  # five seconds have passed: the scopes end by themselves
        assert (result.steps, result.value) == (step, None)
        assert isinstance(result.killed, Killed)
        assert result.killed.at_step == step
        gc.collect()
        assert goodbyes == []
    assert step > 20


LAST_WORDS = """
import os
import anyio
from tests.sim.loop import simulate

async def child(write=os.write):
    try:
        await anyio.sleep_forever()
    finally:
        write(1, b"goodbye")  # in hand even when the modules are gone

async def main():
    async with anyio.create_task_group() as group:
        group.start_soon(child)
        await anyio.sleep(1)

for step in range(4):
    assert simulate(main, seed=0, kill_at_step=step).killed
"""


def test_the_dead_keep_silent_when_python_ends() -> None:
    command = [sys.executable, "-W", "error", "-c", LAST_WORDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_kill_point_beyond_the_end_kills_nobody() -> None:
    whole = simulate(lottery, seed=0)
    assert simulate(lottery, seed=0, kill_at_step=whole.steps) == whole
    assert simulate(lottery, seed=0, kill_at_step=whole.steps - 1).killed is not None


# ------------------------------------------------------------------ database


def row_count(path: Path) -> int:
    base = sqlite3.connect(path)
    try:
        return int(base.execute("SELECT count(*) FROM rows").fetchone()[0])
    finally:
        base.close()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    made = sqlite3.connect(path)
    made.execute("PRAGMA journal_mode = WAL")
    made.execute("CREATE TABLE rows (x INTEGER)")
    made.close()
    return path


def insert(connection: sqlite3.Connection) -> int:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO rows VALUES (1)")
    connection.execute("COMMIT")
    return int(connection.execute("SELECT count(*) FROM rows").fetchone()[0])


async def opened(path: Path) -> SimConnection:
    return await sim_connect(path, here(), isolation_level=None)


def test_the_connection_speaks_aiosqlite(base: Path) -> None:
    async def main() -> list[int]:
        connection = await opened(base)
        assert await connection.run(insert) == 1
        await connection._execute(insert, connection._conn)
        async with connection.execute("SELECT x FROM rows") as cursor:
            rows = [int(row[0]) async for row in cursor]
        with pytest.raises(sqlite3.OperationalError):
            await connection.execute("SELECT nothing FROM nowhere")
        await connection.close()
        with pytest.raises(ValueError, match="no active connection"):
            await connection.run(insert)
        return rows

    result = simulate(main, seed=0)
    assert result.value == [1, 1]
    assert result.virtual_s > 0


def test_effects_keep_their_order_and_their_delays_repeat(base: Path) -> None:
    async def main() -> list[int]:
        connection = await opened(base)
        happened: list[int] = []
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(connection.run, lambda _, number=number: happened.append(number))
        await connection.close()
        return happened

    one = simulate(main, seed=5, mode="fifo")
    assert one.value == list(range(20))
    assert simulate(main, seed=5, mode="fifo") == one


def test_a_cancelled_caller_may_have_committed(base: Path) -> None:
    async def main() -> bool:
        connection = await sim_connect(
            base, here(), isolation_level=None, effect_delay=lambda _: 1.0, delivery_delay=lambda _: 1.0
        )
        with anyio.move_on_after(1.5) as scope:
            await connection.run(insert)
        await connection.close()
        return scope.cancelled_caught

    assert simulate(main, seed=0).value is True
    assert row_count(base) == 1


def test_a_killed_caller_may_have_committed_what_it_never_heard(base: Path, tmp_path: Path) -> None:
    """Over all kill points of a commit the pairs (rows, heard) go 00, 10, 11: never heard without a row."""
    heard: list[int] = []
    seen: list[tuple[int, int]] = []
    for step in range(100):
        heard.clear()
        fresh = crash_copy(base, tmp_path / f"{step}.db")

        async def life(path: Path = fresh) -> None:
            connection = await opened(path)
            heard.append(await connection.run(insert))
            await connection.close()

        killed = simulate(life, seed=0, kill_at_step=step).killed
        if killed is None:
            break
        seen.append((row_count(crash_copy(fresh, tmp_path / f"{step}-copy.db")), len(heard)))
        killed.release()
    assert list(dict.fromkeys(seen)) == [(0, 0), (1, 0), (1, 1)]


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_what_was_not_committed_dies_with_the_process(base: Path, tmp_path: Path, journal: str) -> None:
    async def main() -> None:
        connection = await opened(base)
        await connection.execute(f"PRAGMA journal_mode = {journal}")
        await connection.run(insert)
        await connection.execute("PRAGMA cache_size = 1")  # so that uncommitted pages reach the files
        await connection.execute("BEGIN IMMEDIATE")
        await connection.executemany("INSERT INTO rows VALUES (?)", [(number,) for number in range(20_000)])
        here().pull_the_plug()
        await anyio.sleep(60)

    killed = simulate(main, seed=1).killed
    assert killed is not None
    assert row_count(crash_copy(base, tmp_path / "copy.db")) == 1
    killed.release()
    assert row_count(base) == 1
