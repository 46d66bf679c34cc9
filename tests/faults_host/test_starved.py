"""Rows 58 to 60: no descriptors, no memory, no processor; each with a real process."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avwapd.verbs.client import DaemonError, ask
from tests.faults_disk import kit

pytestmark = pytest.mark.crash

INTERVAL_S = 0.3
DECIDED = "SELECT count(*) FROM decisions"
STALE = "SELECT x.cid FROM outbox x JOIN orders USING (cid) WHERE purpose = 'entry' AND x.state = 'STALE'"


def decided(world: kit.FaultyWorld) -> int:
    return int(kit.question(world, DECIDED)[0][0])


def goes_on(world: kit.FaultyWorld, more: int = 20) -> None:
    before = decided(world)
    kit.until(lambda: decided(world) > before + more, world.tail)


# ------------------------------------------------------------------------------------------------- descriptors


@pytest.mark.parametrize("most", [12, *(pytest.param(few, marks=pytest.mark.campaign) for few in (6, 8, 10))])
def test_a_start_without_descriptors_is_refused_in_words_and_the_next_is_sound(most: int, tmp_path: Path) -> None:
    """Row 58. Besides the three it was born with there is hardly one to be had."""
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        with kit.running(world):
            goes_on(world)
        at = len(world.said())
        world.prefix = ("prlimit", f"--nofile={most}:{most}")
        process = world.spawn()
        try:
            assert process.wait(60) not in (0, None), world.said(at)
        finally:
            kit.end(process)
        told = world.said(at)
        assert "too many open files" in told.lower() or "unable to open database file" in told, told
        world.prefix = ()
        with kit.running(world):
            goes_on(world)
        assert kit.sound(world, world.play) == []


@pytest.mark.campaign
def test_a_daemon_without_a_descriptor_left_trades_on(tmp_path: Path) -> None:
    """Row 58. What the ledger and the venue need is open; the heartbeat file is not written, and that is told once."""
    with kit.opened(tmp_path / "w", kit.endless()) as world, kit.running(world) as process:
        goes_on(world, 10)
        held = max(int(fd.name) for fd in Path(f"/proc/{process.pid}/fd").iterdir())
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (held + 1, hard))
        at = len(world.said())
        ended = trades_or_ends(world, process)
        told = world.said(at)
        assert ended in (None, 1), told
        if ended is None:
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
            goes_on(world)
            process.terminate()
            assert process.wait(30) == 0, world.tail()
        else:
            assert "Too many open files" in told or "unable to open" in told, told
        assert kit.sound(world, world.play) == []


def trades_or_ends(world: kit.FaultyWorld, process: subprocess.Popen[bytes], limit_s: float = 30.0) -> int | None:
    """Twenty decisions more (None), or its exit code."""
    until, before = time.monotonic() + limit_s, decided(world)
    while process.poll() is None and decided(world) <= before + 20:
        assert time.monotonic() < until, "it neither trades nor ends: " + world.tail()
        time.sleep(0.05)
    return process.poll()


# ------------------------------------------------------------------------------------------------------ memory


def asked_much(world: kit.FaultyWorld, stop: threading.Event) -> None:
    """Questions whose answers take room."""
    while not stop.is_set():
        for path in ("/v1/status", "/v1/orders", "/v1/decisions", "/v1/metrics"):
            try:
                ask(world.short / "control.sock", "GET", path, None, 2)
            except (DaemonError, OSError, ValueError):
                stop.wait(0.05)


@pytest.mark.campaign
def test_without_memory_it_ends_and_the_next_start_is_sound(tmp_path: Path) -> None:
    """Row 59. From one moment on the kernel gives nothing: a clear end or an unharmed life, never half a step."""
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        with kit.running(world) as process:
            kit.until(lambda: kit.holds_something(world), world.tail)
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
            at, room = len(world.said()), pages * resource.getpagesize()
            resource.prlimit(process.pid, resource.RLIMIT_AS, (room // 2, room // 2))
            stop = threading.Event()
            asking = threading.Thread(target=asked_much, args=(world, stop))
            asking.start()
            try:
                ended = trades_or_ends_by_memory(process)
            finally:
                stop.set()
                asking.join(20)
            assert ended not in (0, None), f"the limit was never met: {world.tail()}"
            told = world.said(at)
            assert any(words in told for words in ("MemoryError", "out of memory", "start new thread", "allocate")), (
                told
            )
        held = kit.question(world, "SELECT symbol_id FROM positions WHERE phase = 'OPEN'")
        assert kit.stops(world) or not held, "what protects stays at the venue"
        with kit.running(world):
            goes_on(world)
        assert kit.sound(world, world.play) == []


def trades_or_ends_by_memory(process: subprocess.Popen[bytes], limit_s: float = 40.0) -> int | None:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None


# --------------------------------------------------------------------------------------------------- processor


def beat_age_s(world: kit.FaultyWorld) -> float:
    """Since the newest beat, by the machine's monotonic clock."""
    told = json.loads((world.state / "heartbeat.json").read_text())
    return time.monotonic() - float(told["monotonic_s"])


def health(world: kit.FaultyWorld) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "avwapd", "check", "--mode", "health", "--json", "--config",
             str(kit.ROOT / "etc" / "demo.toml"), "--state-dir", str(world.state)]  # fmt: skip
    env = world._environ() | world.settings | {"RUNTIME_DIRECTORY": str(world.short)}
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=60, cwd=kit.ROOT)


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def beating(world: kit.FaultyWorld) -> None:
    world.settings = {"AVWAPD_HEARTBEAT__INTERVAL_MS": str(int(INTERVAL_S * 1000)),
                      "AVWAPD_HEARTBEAT__STALL_AFTER_MS": "2000"}  # fmt: skip


def test_a_loop_that_stands_still_is_seen_within_two_intervals(tmp_path: Path) -> None:
    """Row 60. While it lives a beat is rarely older than two intervals; while it stands, none comes."""
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        beating(world)
        with kit.running(world) as process:
            goes_on(world)
            ages = []
            for _ in range(20):
                ages.append(beat_age_s(world))
                time.sleep(0.05)
            assert sorted(ages)[len(ages) // 2] < 2 * INTERVAL_S, ages
            with stopped(process):
                time.sleep(2 * INTERVAL_S)
                assert beat_age_s(world) > 2 * INTERVAL_S - 0.1, "nothing beats but what moves"
            goes_on(world)
            kit.until(lambda: beat_age_s(world) < 2 * INTERVAL_S, world.tail)
        assert kit.sound(world, world.play) == []


@pytest.mark.campaign
def test_health_calls_what_stands_still_a_failure(tmp_path: Path) -> None:
    """Row 60, as the timer of every ten minutes sees it; it takes the time after which an answer is given up."""
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        beating(world)
        with kit.running(world) as process:
            goes_on(world)
            with stopped(process):
                ill = health(world)
            assert ill.returncode != 0, ill.stdout
            assert "answer" in ill.stdout, ill.stdout


def test_with_a_tenth_of_the_processor_what_comes_too_late_is_dropped(tmp_path: Path) -> None:
    """Row 60. The market runs on: entries that wait too long never leave, and nothing is decided twice."""
    with kit.opened(tmp_path / "w", kit.bundled(), kit.GOING_ON) as world:
        with kit.running(world) as process:
            until = time.monotonic() + 45
            while time.monotonic() < until and not kit.question(world, STALE) and process.poll() is None:
                os.kill(process.pid, signal.SIGSTOP)
                time.sleep(0.5)
                os.kill(process.pid, signal.SIGCONT)
                time.sleep(0.05)
            assert process.poll() is None, world.tail()
            stale = {cid for (cid,) in kit.question(world, STALE)}
        assert stale, "no entry was ever too late"
        assert not stale & set(world.posted())
        assert kit.sound(world, world.play) == []
