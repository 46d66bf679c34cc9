"""Many seeds, each in a process that is soon replaced: a killed world is never given back to the system."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.sim import ledgers
from tests.sim.free import books_differ, free, sound
from tests.sim.scenario import Plan, mixed
from tests.sim.world import Kill, Outcome, live, play, world_of

PROCESSES = 2
SEEDS_A_PROCESS = 8
TRIALS_A_CHUNK = 40
LEAST_RATIO = 1_000
WINDOWS = ("asked", "commit", "heard", "send", "taken", "answered")

# What the campaign must have met, or it proves less than it says.
RARE = (
    "heard while in doubt",
    "duplicate refused",
    "canceled in part",
    "filled in parts",
    "killed while sending",
    "killed between commit and delivery",
    "killed before it was ready",
    "adopted",
    "posted again",
    "stop replaced",
    "arrived after a look-up in vain",
)


@dataclass(frozen=True)
class Found:
    """What one seed gave: what is wrong, what was seen, virtual over real time."""

    wrong: list[str]
    marks: Counter[str]
    ratio: float


Work = Callable[[int, Path], Found]


def reference(plan: Plan, folder: Path) -> Outcome:
    """Never killed, nothing lost."""
    return live(plan.without_faults(), folder, mode="fifo")


def some_kills(seed: int, expected: Outcome) -> list[Kill]:
    """Up to four: around commits and sends, anywhere, or so early that the daemon is still recovering."""
    rng = Random(f"{seed}/kills")
    kills = []
    for _ in range(rng.randint(0, 4)):
        event = rng.choice(["step", "early", *WINDOWS, *WINDOWS])
        if event == "early":
            kills.append(Kill("step", rng.randint(1, 120)))
        else:
            most = expected.steps[0] if event == "step" else expected.happened[event]
            kills.append(Kill(event, rng.randint(1, max(1, most // 2)), rng.randint(0, 4)))
    return kills


def mixed_seed(seed: int, folder: Path) -> Found:
    """A bad line and kills in a market that waits: nothing may differ from the reference, nor that from a backtest."""
    plan = mixed(seed)
    expected = reference(plan, folder / "reference")
    found = live(plan, folder / "found", kills=some_kills(seed, expected))
    wrong = ledgers.differences(ledgers.backtested(plan.setup), ledgers.comparable(expected.rows))
    wrong += ledgers.differences(expected.rows, found.rows)
    wrong += [str(violation) for violation in expected.violations + found.violations]
    if found.ratio < LEAST_RATIO:
        wrong.append(f"only {found.ratio:.0f} times real time")
    return Found(wrong, found.marks, found.ratio)


def free_seed(seed: int, folder: Path) -> Found:
    """A market that waits for nobody, fills that are heard bars later, kills; watched after every commit."""
    plan = free(seed, slow_fill_bars=seed % 4)
    rng = Random(f"{seed}/kills")
    kills = [Kill(rng.choice(WINDOWS), rng.randint(1, 120), rng.randint(0, 4)) for _ in range(rng.randint(1, 4))]
    with world_of(plan, folder, stepwise=True) as world:
        found = play(world, kills=kills)
        return Found(sound(world, found) + books_differ(world, found), found.marks, found.ratio)


def no_check_seed(seed: int, folder: Path) -> Found:
    """A venue that takes a known id for a new order: nothing is posted twice, what is in doubt too long is frozen."""
    plan = mixed(seed)
    line = replace(plan.faults, lose_request=0.1, late_request=0.1, double_request=0.0)
    plan = replace(plan, faults=line, refuses_duplicates=False)
    kills = some_kills(seed, reference(plan, folder / "reference"))
    with world_of(plan, folder / "found", stepwise=True) as world:
        found = play(world, kills=kills)
        wrong = [line for line in sound(world, found) if not line.startswith(("I2", "I8"))]
        # I8 as in `watch`; instead of I2: whatever waits or is in doubt belongs to a symbol that a human was called for
        halted = {row[0] for row in found.rows["positions"] if row[10] == 2}
        in_doubt = {row[0] for row in found.rows["outbox"] if row[6] in ("NEW", "SENDING", "UNKNOWN")}
        if not in_doubt <= halted:
            wrong.append(f"in doubt without a halt: symbols {in_doubt - halted}")
        return Found(wrong, found.marks, found.ratio)


def window_points(plan: Plan, folder: Path) -> tuple[list[Kill], Outcome]:
    """Every kill within four steps after an event of a life that nobody kills, and how that life ends."""
    found = live(plan, folder)
    points = [
        Kill(event, number, plus)
        for event in WINDOWS
        for number in range(1, found.happened[event] + 1)
        for plus in range(5)
    ]
    return points, found


def window_trial(plan: Plan, kills: Sequence[Kill], expected: Outcome, folder: Path) -> list[str]:
    found = live(plan, folder, kills=kills)
    wrong = ledgers.differences(expected.rows, found.rows) + [str(violation) for violation in found.violations]
    return [f"{kills}: {line}" for line in wrong]


def window_chunk(plan: Plan) -> Callable[[int, Path], list[str]]:
    """Work for `over_seeds`: the trials from a number on."""
    return partial(_window_chunk, plan)


def _window_chunk(plan: Plan, first: int, folder: Path) -> list[str]:
    points, expected = window_points(plan, folder / "expected")
    wrong = []
    for number, kill in enumerate(points[first : first + TRIALS_A_CHUNK]):
        wrong += window_trial(plan, [kill], expected, folder / str(number))
    return wrong


def over_seeds(work: Callable[[int, Path], Any], seeds: Iterable[int]) -> list[Any]:
    """`work(seed, folder)` for each, in processes; in the order of the seeds."""
    with multiprocessing.get_context("fork").Pool(PROCESSES, maxtasksperchild=SEEDS_A_PROCESS) as pool:
        return pool.map(partial(_in_folder, work), seeds, chunksize=1)


def _in_folder(work: Callable[[int, Path], Any], seed: int) -> Any:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="avwapd-sim-") as folder:
        try:
            return work(seed, Path(folder))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
