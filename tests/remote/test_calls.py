"""Blocking calls under one deadline, against peers that do not end."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import anyio
import pytest
import requests

from avwapd.ports import SystemClock
from avwapd.remote.calls import Calls, NoAnswer, Shut
from avwapd.remote.session import BoundedSession
from tests.remote.raw import http, raw

LIMIT_S = 0.3
SLACK_S = 0.5


@contextmanager
def calls(threads: int = 2) -> Iterator[tuple[Calls, BoundedSession]]:
    found, session = Calls("test", threads, SystemClock()), BoundedSession(threads)
    try:
        yield found, session
    finally:
        found.close()
        session.close()


async def freed(found: Calls) -> None:
    """The threads end at once, and not some day."""
    with anyio.fail_after(SLACK_S):
        while found.under_way:  # noqa: ASYNC110 - a thread ends, no task could ring
            await anyio.sleep(0.005)


async def test_an_answer_and_an_error_come_back() -> None:
    with calls() as (found, _):
        assert await found.run(lambda: 7, 1.0) == 7
        with pytest.raises(ZeroDivisionError):
            await found.run(lambda: 1 // 0, 1.0)
        assert found.under_way == 0


@pytest.mark.parametrize(
    ("answer", "every_s"),
    [
        pytest.param(None, 0.0, id="mute"),
        pytest.param(http(b'{"a": 1}'), 0.05, id="headers by the byte"),
        pytest.param(http(b" " * 1000, extra="X: 1\r\n"), 0.02, id="body by the byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 10_000, 0.001, id="headers without end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, 0.001, id="continue for ever"),
        pytest.param(http(b"", length=10), 0.0, id="a body that does not come"),
    ],
)
async def test_the_deadline_is_total(answer: bytes | None, every_s: float) -> None:
    async with raw(**({} if answer is None else {"x": answer})) as server:
        server.every_s, server.close = every_s, False
        with calls(1) as (found, session):
            begun = time.perf_counter()
            with pytest.raises(NoAnswer, match="no whole answer within"):
                await found.run(partial(session.get, f"{server.address}/x"), LIMIT_S)
            assert time.perf_counter() - begun < LIMIT_S + SLACK_S
            await freed(found)
            assert server.seen["/x"] == 1


async def test_a_server_that_never_accepts() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = []
        for _ in range(4):  # so that not even the system's handshake is done
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
            fillers.append(filler)
        with calls(1) as (found, session):
            begun = time.perf_counter()
            with pytest.raises((NoAnswer, requests.ConnectionError)):
                await found.run(partial(session.get, f"http://127.0.0.1:{deaf.getsockname()[1]}/"), LIMIT_S)
            assert time.perf_counter() - begun < LIMIT_S + SLACK_S
            await freed(found)
        for filler in fillers:
            filler.close()


async def test_a_canceled_wait_ends_the_call() -> None:
    async with raw() as server:
        with calls(1) as (found, session):
            with anyio.move_on_after(0.1):
                await found.run(partial(session.get, f"{server.address}/x"), 60.0)
            await freed(found)


async def test_a_kept_connection_is_cut_too() -> None:
    async with raw(a=http(b"{}")) as server:
        server.close = False
        with calls(1) as (found, session):
            await found.run(partial(session.get, f"{server.address}/a"), 1.0)
            with pytest.raises(NoAnswer):
                await found.run(partial(session.get, f"{server.address}/mute"), LIMIT_S)
            assert server.connections == 1
            await freed(found)
            assert (await found.run(partial(session.get, f"{server.address}/a"), 1.0)).json() == {}


async def test_threads_are_bounded_and_hung_calls_do_not_count_as_made() -> None:
    gate = threading.Event()
    made: list[int] = []

    def hang(number: int) -> None:
        made.append(number)
        gate.wait()

    with calls(2) as (found, _):
        async with anyio.create_task_group() as group:

            async def expect(number: int, error: type[Exception]) -> None:
                with pytest.raises(error):
                    await found.run(partial(hang, number), LIMIT_S)

            for number in range(2):
                group.start_soon(expect, number, NoAnswer)
            await anyio.sleep(0.05)
            group.start_soon(expect, 2, Shut)
        assert made == [0, 1]
        assert found.under_way == 2  # they hang still: nobody else gets their threads
        gate.set()
        await freed(found)
        assert await found.run(lambda: "on", 1.0) == "on"


async def test_calls_wait_their_turn() -> None:
    with calls(2) as (found, _):
        most, now, lock = 0, 0, threading.Lock()

        def work() -> None:
            nonlocal most, now
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.005)
            with lock:
                now -= 1

        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(found.run, work, 5.0)
        assert most == 2
        assert found.under_way == 0


async def test_forty_at_once_and_many_given_up() -> None:
    async with raw(a=http(b"{}")) as server:
        server.close = False
        with calls(4) as (found, session):
            outcomes: list[str] = []

            async def one(path: str, limit_s: float) -> None:
                try:
                    await found.run(partial(session.get, f"{server.address}/{path}"), limit_s)
                    outcomes.append("answer")
                except (NoAnswer, Shut) as error:
                    outcomes.append(type(error).__name__)

            async with anyio.create_task_group() as group:
                for number in range(40):
                    group.start_soon(one, "mute" if number % 4 == 0 else "a", 1.0 if number % 4 else 0.2)
            assert len(outcomes) == 40
            assert "answer" in outcomes
            await freed(found)
            await one("a", 1.0)
            assert outcomes[-1] == "answer"


@pytest.mark.parametrize("how", ["sleep", "lock"])
def test_the_process_ends_though_a_call_hangs(how: str) -> None:
    hang = "threading.Event().wait" if how == "lock" else "lambda: __import__('time').sleep(60)"
    program = textwrap.dedent(
        f"""
        import anyio, threading
        from avwapd.ports import SystemClock
        from avwapd.remote.calls import Calls
        async def main():
            calls = Calls("t", 2, SystemClock())
            with anyio.move_on_after(0.1):
                await calls.run({hang}, 60)
        anyio.run(main)
        """
    )
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
    assert time.perf_counter() - begun < 10
