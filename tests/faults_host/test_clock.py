"""Row 19 with a real process: the machine's clock is set an hour on and back, and back again by 5 ms many times."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from avwapd.verbs.client import ask
from tests.faults_disk import kit

pytestmark = pytest.mark.crash

HOUR_MS = 3_600_000
BETWEEN = 12  # decisions after each step


def library() -> str:
    """What the program `faketime` would load, the one for threads."""
    if shutil.which("faketime") is None:
        pytest.skip("no faketime here: row 19 is NOT tested with a real daemon (Debian: apt install faketime)")
    asking = ["faketime", "-m", "-f", "+0s", "sh", "-c", "echo $LD_PRELOAD"]
    return subprocess.run(asking, check=True, capture_output=True, text=True).stdout.strip()


class Clock:
    """The machine's clock as the next daemon sees it: seconds beside the real one."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(0.0)

    def set(self, seconds: float) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{seconds:+.3f}\n")
        beside.replace(self.file)

    def environ(self) -> dict[str, str]:
        """Waits stay the kernel's own: no clock that is set moves those."""
        return {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
            "TZ": "UTC",
            "AVWAPD_HEARTBEAT__INTERVAL_MS": "200",
        }


@contextmanager
def started(world: kit.FaultyWorld, module: str = "avwapd.cli") -> Iterator[subprocess.Popen[bytes]]:
    at = len(world.said())
    process = world.spawn(module=module)
    try:
        assert world.wait_ready(process, at), world.tail()
        yield process
    finally:
        kit.end(process)


def beat(world: kit.FaultyWorld) -> dict[str, Any]:
    try:
        return dict(json.loads((world.state / "heartbeat.json").read_text()))
    except (OSError, ValueError):
        return {"beat_ms": 0, "monotonic_s": 0.0}


def off_ms(world: kit.FaultyWorld) -> float:
    """The daemon's clock less ours, as of its last beat."""
    return float(beat(world)["beat_ms"]) - time.time() * 1000


def decided(world: kit.FaultyWorld) -> int:
    return int(kit.question(world, "SELECT count(*) FROM decisions")[0][0])


def negative(facts: Any, name: str = "") -> list[str]:
    """Durations and ages below zero; a skew is no duration."""
    if isinstance(facts, dict):
        return [line for key, value in facts.items() for line in negative(value, str(key))]
    if isinstance(facts, list):
        return [line for value in facts for line in negative(value, name)]
    is_time = name.endswith(("_s", "_ms")) and "skew" not in name
    return [f"{name} = {facts}"] if is_time and isinstance(facts, int | float) and facts < 0 else []


def goes_on(world: kit.FaultyWorld, process: subprocess.Popen[bytes], limit_s: float = kit.LIMIT_S) -> bool:
    until, before = time.monotonic() + limit_s, decided(world)
    while time.monotonic() < until and process.poll() is None:
        if decided(world) >= before + BETWEEN:
            return True
        time.sleep(0.02)
    return False


def test_a_clock_that_is_set_moves_stamps_and_nothing_else(tmp_path: Path) -> None:
    """An hour on, two hours back, an hour on, then twenty times 5 ms back: the run is that of a clock never touched."""
    clock = Clock(tmp_path / "clock")
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        world.settings = clock.environ()
        with started(world) as process:
            kit.until(lambda: decided(world) > BETWEEN, world.tail)
            for hours in (1, -1, 0):
                clock.set(hours * 3600)
                kit.until(lambda hours=hours: abs(off_ms(world) - hours * HOUR_MS) < 60_000, world.tail)  # type: ignore[misc]
                begun = beat(world)["monotonic_s"]
                assert goes_on(world, process), world.tail()
                kit.until(lambda begun=begun: beat(world)["monotonic_s"] > begun, world.tail)  # type: ignore[misc]
                facts = ask(world.short / "control.sock", "GET", "/v1/status", None, 10)
                assert negative(facts) == []
                assert beat(world)["stalled"] is False
            for step in range(1, 21):
                clock.set(-0.005 * step)
                time.sleep(0.03)
            assert goes_on(world, process), world.tail()
            process.terminate()
            assert process.wait(30) == 0, world.tail()
        told = [ms for (ms,) in kit.question(world, "SELECT ts_ms FROM beats ORDER BY rowid")]
        assert max(told) - min(told) > 1.9 * HOUR_MS, "the clock was really set"
        assert kit.sound(world, world.play) == []
        twice = "SELECT ts_ms, symbol_id FROM bars GROUP BY 1, 2 HAVING count(*) > 1"
        assert kit.question(world, twice) == []
        assert world.offline("verify") == []


@pytest.mark.campaign
def test_a_daemon_that_waits_by_the_wall_is_found(tmp_path: Path) -> None:
    """The control: set back an hour, it waits for one."""
    clock = Clock(tmp_path / "clock")
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        world.settings = clock.environ() | {"PYTHONPATH": str(kit.ROOT)}
        with started(world, "tests.faults_host.waiting_by_the_wall") as process:
            kit.until(lambda: decided(world) > BETWEEN, world.tail)
            clock.set(-3600)
            time.sleep(0.5)
            assert not goes_on(world, process, 2.5)
