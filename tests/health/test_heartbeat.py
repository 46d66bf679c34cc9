"""A beat proves progress, and the watchdog is pinged for that alone; a silent feed or venue does not stop it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd.actors.heartbeat import Heartbeat
from avwapd.actors.mail import Probe
from avwapd.ops.told import Told
from avwapd.ports import SystemClock
from tests.health.desk import configured, played

pytestmark = pytest.mark.anyio
LIMIT_S = 10.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Stub:
    """As much of symbols and router as a heartbeat asks; `commits` and `turning` are switched by the test."""

    def __init__(self) -> None:
        self.turns = 0
        self.clock_turns = 0
        self.commits = True
        self.turning = True
        self.ticking = True
        self.bodies: list[str] = []

    def ring(self) -> None:
        self.turns += self.turning
        self.clock_turns += self.ticking

    async def put(self, probe: Probe) -> None:
        self.bodies.append(probe.body)
        if self.commits:
            probe.done.set()


async def beating(
    stub: Stub, published: list[dict[str, Any]], steps: list[tuple[str, bool, Callable[[], bool]]]
) -> None:
    facts = {"last_ts_ms": 5, "queues": {}, "equity": 1.0}
    heart = Heartbeat(
        stub,  # type: ignore[arg-type]
        stub,  # type: ignore[arg-type]
        SystemClock(),
        lambda: facts,
        published.append,
        interval_ms=2,
        stall_after_ms=30,
        clock_turns=lambda: stub.clock_turns,
    )
    async with anyio.create_task_group() as group:
        await group.start(heart.run)
        for name, value, holds in steps:
            setattr(stub, name, value)
            with anyio.fail_after(LIMIT_S):
                while not holds():  # noqa: ASYNC110 - nobody rings for a test
                    await anyio.sleep(0.001)
        group.cancel_scope.cancel()
    assert heart.beats == len(published)


async def test_every_cycle_is_a_beat_with_its_proof() -> None:
    stub, published = Stub(), list[dict[str, Any]]()
    await beating(stub, published, [("turning", True, lambda: len(published) >= 5)])
    assert [beat["beat"] for beat in published] == list(range(1, len(published) + 1))
    assert all(beat["progress"] and not beat["stalled"] for beat in published)
    stamps = [beat["monotonic_s"] for beat in published]
    assert stamps == sorted(stamps)
    assert stub.bodies[0] == '{"last_ts_ms": 5, "queues": {}}', "the ledger keeps little of each second"


@pytest.mark.parametrize("name", ["turning", "ticking"])
async def test_an_actor_that_stands_still_is_no_progress_and_moving_again_is(name: str) -> None:
    stub, published = Stub(), list[dict[str, Any]]()

    def mark() -> int:
        return sum(not beat["progress"] for beat in published)

    await beating(
        stub,
        published,
        [
            (name, True, lambda: len(published) >= 3),
            (name, False, lambda: mark() >= 5),
            (name, True, lambda: published[-1]["progress"]),
        ],
    )
    begun = next(i for i, beat in enumerate(published) if not beat["progress"])
    assert not any(beat["progress"] for beat in published[begun : begun + 4])


async def test_a_probe_that_is_not_committed_is_no_beat() -> None:
    stub, published = Stub(), list[dict[str, Any]]()
    seen: list[int] = []

    def stalled() -> bool:
        seen.append(len(published))
        return len(stub.bodies) >= seen[0] + 3

    await beating(stub, published, [("commits", True, lambda: len(published) >= 2), ("commits", False, stalled)])
    assert len(published) <= seen[0] + 1


@contextmanager
def manager(folder: Path, patch: pytest.MonkeyPatch) -> Any:
    """The service manager's end of the socket."""
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.setblocking(False)
        patch.setenv("NOTIFY_SOCKET", str(path))
        yield sock


def heard(sock: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(sock.recv(4096).decode())
        except BlockingIOError:
            return found


async def test_only_progress_pings_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with manager(tmp_path, monkeypatch) as sock:
        told = Told(configured(), SystemClock())
        facts = {"mode": "sim", "symbols": 1, "phases": {}}
        told.beat({**facts, "progress": True})
        told.beat({**facts, "progress": False})
        told.beat({**facts, "progress": True})
        said = heard(sock)
        assert [("WATCHDOG=1" in words) for words in said] == [True, True]


async def test_it_goes_on_while_the_market_is_closed(tmp_path: Path) -> None:
    """Between two bars a replay at a slow pace waits as a live feed does at night: beats and pings go on."""
    beats: list[dict[str, Any]] = []

    def watch(daemon: Any) -> None:
        publish = daemon.heartbeat._publish
        daemon.heartbeat._publish = lambda facts: (publish(facts), beats.append(facts), enough(daemon))[0]

    def enough(daemon: Any) -> None:
        if len(beats) >= 4:
            daemon.stop("the test")

    config = configured(run__speed="1", heartbeat__interval_ms="300")
    await anyio.to_thread.run_sync(lambda: played(tmp_path / "state", {1: watch}, config=config))
    assert len({beat["last_ts_ms"] for beat in beats}) == 1, "no bar came meanwhile"
    assert all(beat["progress"] for beat in beats)
    assert [beat["beat"] for beat in beats] == list(range(beats[0]["beat"], beats[0]["beat"] + len(beats)))
