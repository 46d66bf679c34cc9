"""One daemon a state folder, and how it ends when it is asked to."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash import ledgers, market
from tests.crash.campaign import LOSSY
from tests.crash.market import Play
from tests.crash.world import World, opened

pytestmark = pytest.mark.crash

PLAIN = replace(LOSSY, faults={})
# Every answer takes a while, so that a signal finds an order on its way.
SLOW = replace(LOSSY, faults={"delay_ms": 60, "deadline_ms": 1_000})


def endless() -> Play:
    """Five market minutes in a fifth of a second: it goes on for as long as a test looks."""
    play = market.bundled()
    words = [word if word != "max" else "1500" for word in play.words]
    return replace(play, words=tuple(word for word in words if word != "--once"))


@contextmanager
def running(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that is ready; killed if the test leaves it."""
    process = world.spawn()
    try:
        assert world.wait_ready(process, 0), world.tail()
        yield process
    finally:
        process.kill()
        process.wait(10)


def await_order_on_its_way(world: World) -> None:
    until = time.monotonic() + 60
    while "sending" not in ledgers.moments(world.ledger, world.book):
        assert time.monotonic() < until, world.tail()
        time.sleep(0.005)


def test_a_second_daemon_is_refused_within_a_second(tmp_path: Path) -> None:
    with opened(tmp_path / "w", endless(), PLAIN, seed=1) as world, running(world) as first:
        at = world.log.stat().st_size
        begun = time.monotonic()
        second = world.spawn(module="avwapd.cli")
        assert second.wait(10) == 1
        took_s = time.monotonic() - begun
        assert f"pid {first.pid}" in world.log.read_text()[at:]
        assert took_s <= 1.0
        assert first.poll() is None


def test_a_first_signal_drains_even_in_the_middle_of_an_order(tmp_path: Path) -> None:
    play = market.bundled()
    with opened(tmp_path / "w", play, SLOW, seed=1) as world:
        with running(world) as process:
            await_order_on_its_way(world)
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0, world.tail()
        assert "stopping: SIGTERM" in world.log.read_text()
        account = play.config({}).run.account
        assert ledgers.broken(world.ledger, world.book, account=account) == []
        assert not ledgers.moments(world.ledger, world.book) & {"new", "sending", "asking"}


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    mute = replace(LOSSY, faults={"lose_answer": 1.0, "deadline_ms": 5_000})
    with opened(tmp_path / "w", market.bundled(), mute, seed=1) as world, running(world) as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None, "a mute venue is waited for"
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 128 + signal.SIGTERM
        assert time.monotonic() - begun < 1.0
