"""It never hangs without a word: what stands still is found, what fails ends the process, what was away comes back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd.actors.symbols import Symbols
from avwapd.daemon import Daemon
from avwapd.verbs.run import first_of
from tests.sim import ledgers
from tests.sim.campaign import reference
from tests.sim.free import free
from tests.sim.loop import Livelock
from tests.sim.scenario import Plan
from tests.sim.world import World, live, play, world_of

PLAN = Plan(seed=3, kind="equity", symbols=2, barriers=50, options={"run.speed": "20"})
BROKEN = "this actor is broken"


def boom(*_: object, **__: object) -> Any:
    raise ValueError(BROKEN)


async def async_boom(*_: object, **__: object) -> Any:
    raise ValueError(BROKEN)


class BrokenServer:
    async def run(self, *, task_status: Any) -> None:
        task_status.started()
        await anyio.sleep(5)
        boom()


def break_clock(daemon: Daemon, world: World) -> None:
    daemon.clock._killed = boom


def break_bars(daemon: Daemon, world: World) -> None:
    daemon.feed.next = boom  # type: ignore[method-assign]


def break_symbols(daemon: Daemon, world: World) -> None:
    daemon.journal.bars = boom  # type: ignore[method-assign]


def break_writer(daemon: Daemon, world: World) -> None:
    def committed(conn: sqlite3.Connection) -> None:
        if world.ready:
            raise sqlite3.OperationalError(BROKEN)

    world.watch.committed = committed  # type: ignore[method-assign]


def break_router(daemon: Daemon, world: World) -> None:
    world.wire.words = async_boom  # type: ignore[method-assign]


def break_publisher(daemon: Daemon, world: World) -> None:
    daemon.story.tell = boom  # type: ignore[method-assign]


def break_heartbeat(daemon: Daemon, world: World) -> None:
    daemon._doors.publish_beat = boom


def break_server(daemon: Daemon, world: World) -> None:
    daemon._doors.servers = lambda daemon: [BrokenServer()]


BREAKS = (
    break_clock,
    break_bars,
    break_symbols,
    break_writer,
    break_router,
    break_publisher,
    break_heartbeat,
    break_server,
)


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__name__)
def test_an_error_in_any_actor_ends_the_daemon_with_its_reason(
    broken: Callable[[Daemon, World], None], tmp_path: Path
) -> None:
    with world_of(PLAN, tmp_path, on_daemon=broken) as world:
        with pytest.raises(BaseExceptionGroup) as caught:
            play(world)
        assert BROKEN in str(first_of(caught.value))
        assert world.connection is not None
        assert world.connection._connection is None  # closed on the way out
        assert world.daemon is not None
        assert world.daemon.reason == ""


def test_a_source_that_fails_ends_a_daemon_on_a_free_market(tmp_path: Path) -> None:
    def broken(daemon: Daemon, world: World) -> None:
        world.wire.after = async_boom  # type: ignore[method-assign]

    with world_of(free(0, faults=False), tmp_path, on_daemon=broken) as world:
        with pytest.raises(BaseExceptionGroup) as caught:
            play(world)
        assert BROKEN in str(first_of(caught.value))


def test_who_waits_for_ever_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Symbols) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(Symbols, "settled", never)
    with world_of(PLAN, tmp_path) as world, pytest.raises(Livelock):
        world.one_life(seed=1, mode="shuffled", kill=None, max_steps=5_000)


@pytest.mark.parametrize("mode", ["fifo", "shuffled"])
def test_a_venue_that_was_away_for_long_changes_nothing(mode: Any, tmp_path: Path) -> None:
    expected = reference(PLAN, tmp_path / "expected")
    with world_of(PLAN, tmp_path / "found") as world:
        world.wire.cut_s = (100.0, 900.0)
        found = play(world, mode=mode)
    assert found.faults["cut"] > 100
    assert ledgers.differences(expected.rows, found.rows) == []
    assert found.violations == []


def test_an_order_of_the_daemon_stops_it_in_order(tmp_path: Path) -> None:
    def stop_soon(daemon: Daemon, world: World) -> None:
        fold = daemon.journal.bars

        def folded(barrier: Any, note: str = "") -> Any:
            if world.happened["folded"] == 20:
                daemon.stop("the test says so")
            return fold(barrier, note)

        daemon.journal.bars = folded  # type: ignore[method-assign]

    expected = reference(PLAN, tmp_path / "expected")
    with world_of(PLAN, tmp_path / "found", on_daemon=stop_soon) as world:
        assert world.one_life(seed=1, mode="shuffled", kill=None)
        world.on_daemon = lambda daemon, world: None
        found = play(world)
    assert found.violations == []
    assert ledgers.differences(expected.rows, found.rows) == []


@pytest.mark.parametrize("mode", ["fifo", "shuffled"])
def test_a_life_without_faults_equals_the_backtest(mode: Any, tmp_path: Path) -> None:
    found = live(PLAN, tmp_path, mode=mode)
    assert ledgers.differences(ledgers.backtested(PLAN.setup), ledgers.comparable(found.rows)) == []
    assert len(found.rows["fills"]) > 5
