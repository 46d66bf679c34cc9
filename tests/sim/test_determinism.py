"""One seed is one history, whatever the process, its hash seed and its heap."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROCESSES = 2


def traces(seeds: Iterable[int]) -> Iterator[tuple[int, list[str]]]:
    """(seed, what each of its processes printed)."""
    todo = iter(seeds)
    while batch := list(islice(todo, PROCESSES)):
        started = [(seed, [probe(seed, 0), probe(seed, 1)]) for seed in batch]
        yield from ((seed, [ended(process) for process in pair]) for seed, pair in started)


def probe(seed: int, number: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(100 * seed + number + 1), "PYTHONWARNINGS": "error"}
    words = [sys.executable, "-m", "tests.sim.world_probe", str(seed), str(1_000 * number + seed)]
    return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return out


def test_the_whole_daemon_repeats_itself_in_fresh_processes() -> None:
    seen = dict(traces([1, 2]))
    assert {seed: len(set(pair)) for seed, pair in seen.items()} == dict.fromkeys(seen, 1)
    assert len({pair[0] for pair in seen.values()}) == len(seen)


@pytest.mark.campaign
def test_the_whole_daemon_repeats_itself_for_many_seeds() -> None:
    seen = dict(traces(range(100, 120)))
    assert {seed: len(set(pair)) for seed, pair in seen.items()} == dict.fromkeys(seen, 1)
