"""Mutated requests: no crash, no hang, bounded memory, and bars are decided all the while."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest

from tests.control import fuzz, timed
from tests.control.kit import Socket, daemon

pytestmark = pytest.mark.crash

MORE_KB = 64_000
ROUNDS = 5
WITHIN = 2.0  # p99 beside fuzzing to p99 without


def settled_memory(there: Socket) -> int:
    """After the first five hundred: whatever is loaded once is loaded."""
    fuzz.attack(there, 500, seed=99)
    return there.memory_kb()


def test_a_seed_repeats_itself() -> None:
    assert list(fuzz.stream(7, 200)) == list(fuzz.stream(7, 200)) != list(fuzz.stream(8, 200))


def test_ten_thousand_mutated_requests(tmp_path: Path) -> None:
    with daemon(tmp_path) as there:
        before_kb, decided = settled_memory(there), there.status()["decisions"]
        crowd = fuzz.attack(there, 10_000, seed=1)
        assert there.process.poll() is None, there.world.tail()
        assert crowd.hung == []
        assert crowd.answers["500"] == 0, crowd.answers
        assert {"200", "400"} <= crowd.answers.keys()
        assert there.status()["decisions"] > decided
        there.goes_on()
        assert there.memory_kb() - before_kb < MORE_KB
        assert "Traceback" not in there.world.log.read_text()


@pytest.mark.campaign
def test_a_hundred_thousand_mutated_requests_beside_trading(tmp_path: Path) -> None:
    """Decision latency (queue to publication, the commit inside) in turns with and without the crowd."""
    notes = tmp_path / "timed.txt"
    quiet: list[float] = []
    loud: list[float] = []
    with daemon(tmp_path, module=timed.__name__) as there:
        before_kb = settled_memory(there)
        for number in range(ROUNDS):
            begun = time.perf_counter()
            crowd = fuzz.attack(there, 100_000 // ROUNDS, seed=number)
            took_s = time.perf_counter() - begun
            assert (crowd.hung, crowd.answers["500"]) == ([], 0)
            assert there.process.poll() is None, there.world.tail()
            loud.append(p99(notes, begun, begun + took_s))
            begun = time.perf_counter()
            time.sleep(min(took_s, 20.0))
            quiet.append(p99(notes, begun, time.perf_counter()))
        there.goes_on()
        assert there.memory_kb() - before_kb < MORE_KB
    with_it, without = statistics.median(loud), statistics.median(quiet)
    print(f"decision latency p99: {without * 1e3:.1f} ms, while fuzzed {with_it * 1e3:.1f} ms")
    assert with_it <= WITHIN * without


def p99(notes: Path, begin: float, end: float) -> float:
    rows = [tuple(map(float, line.split())) for line in notes.read_text().splitlines() if line.count(" ") == 1]
    found = [took for at, took in rows if begin <= at <= end]
    assert len(found) > 20, "too few bars to say anything"
    return float(np.percentile(found, 99))
