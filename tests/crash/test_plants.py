"""Faults planted on purpose are found by what the other tests look at; the same kill without them is not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.crash import campaign, market
from tests.crash.campaign import LOSSY, UNCHECKED
from tests.crash.launch import Crash
from tests.crash.world import Line, opened

pytestmark = pytest.mark.crash

# Nothing but what the fault needs: a venue that takes every order, one that often does not say so, one that repeats.
TAKES_ALL = replace(UNCHECKED, faults={})
MUMBLES = replace(UNCHECKED, faults={"lose_answer": 0.1, "deadline_ms": 20})
REPEATS = replace(LOSSY, faults={"double_words": 0.5})


@dataclass(frozen=True)
class Fault:
    plant: str
    line: Line
    kill: str
    found: str  # somewhere in what is told


FAULTS = (
    Fault("send_before_commit", TAKES_ALL, "accepted", "2 orders at the venue"),
    Fault("id_from_the_clock", LOSSY, "sending", "I1 "),
    Fault("fill_not_deduplicated", REPEATS, "filled", "I4 "),
    Fault("blind_repost", MUMBLES, "accepted", "2 orders at the venue"),
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> campaign.Reference:
    return campaign.Reference(tmp_path_factory.mktemp("plants"), market.bundled(window_to="2025-11-12"))


def told(folder: Path, reference: campaign.Reference, fault: Fault, plant: str) -> list[str]:
    """What the judges say of a world with one kill; a daemon that refuses to go on says it first."""
    with opened(folder, reference.play, fault.line, seed=1) as world:
        first = world.live(Crash(kill=fault.kill, nth=3, plant=plant))
        last = world.live(Crash(plant=plant)) if first.code == -9 else first
        if last.code != 0:
            return [f"ended with {last.code}: {last.said[-500:]}"]
    return campaign.judged(world, reference)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.plant)
def test_a_planted_fault_is_found(tmp_path: Path, reference: campaign.Reference, fault: Fault) -> None:
    lines = told(tmp_path / "w", reference, fault, fault.plant)
    assert any(word in line for word in fault.found.split("|") for line in lines), lines


@pytest.mark.parametrize("fault", [FAULTS[2], FAULTS[3]], ids=lambda fault: fault.kill)
def test_the_same_kill_without_it_is_clean(tmp_path: Path, reference: campaign.Reference, fault: Fault) -> None:
    assert told(tmp_path / "w", reference, fault, "") == []
