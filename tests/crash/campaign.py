"""Worlds full of kills, and what has to be true of each at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Lock

from tests.crash import ledgers
from tests.crash.launch import Crash
from tests.crash.market import Play
from tests.crash.world import Line, World, opened

POINTS = ("new", "sending", "accepted", "filled")
LONGEST_S = 20.0  # until a life that does not come to its point is killed from outside

LOSSY = Line(
    "answers lost and doubled",
    {"lose_request": 0.01, "lose_answer": 0.01, "double_request": 0.1, "double_words": 0.1, "deadline_ms": 20},
)
# A late request arrives up to 2.5 s after its sender gave up: often after the next life's first look-up.
LATE = Line(
    "requests late",
    {"late_request": 0.02, "late_ms": 2_500, "double_request": 0.1, "double_words": 0.1, "deadline_ms": 20},
    settling_ms=3_500,
)
UNCHECKED = Line(
    "duplicates not refused",
    {"lose_request": 0.0005, "lose_answer": 0.01, "double_words": 0.1, "deadline_ms": 20},
    refuses_duplicates=False,
)
UNCHECKED_LATE = Line(
    "duplicates not refused, requests late",
    {"late_request": 0.02, "late_ms": 2_500, "lose_answer": 0.005, "double_words": 0.1, "deadline_ms": 20},
    settling_ms=3_500,
    refuses_duplicates=False,
)
FREE = Line(
    "a market that does not wait, fills heard two bars late",
    {"slow_fill_bars": 2, "lose_answer": 0.01, "double_request": 0.1, "double_words": 0.1, "deadline_ms": 20},
    market_clock="venue",
    pace=25.0,
)


@dataclass
class Outcome:
    """What a world came to. wrong: one line each."""

    line: str
    kills: Counter[str]
    seen: Counter[str]
    halted: int
    wall_s: float
    wrong: list[str]
    arrived: int = 0


@dataclass
class Reference:
    """Runs that were never killed, by what was lost in them on purpose; one folder each."""

    folder: Path
    play: Play
    known: dict[tuple[bool, tuple[str, ...]], ledgers.Tables] = field(default_factory=dict)
    one_at_a_time: Lock = field(default_factory=Lock)

    def tables(self, *, refuses_duplicates: bool, lost: Sequence[str] = ()) -> ledgers.Tables:
        with self.one_at_a_time:
            return self._tables(refuses_duplicates, lost)

    def _tables(self, refuses_duplicates: bool, lost: Sequence[str]) -> ledgers.Tables:
        key = (refuses_duplicates or not lost, tuple(sorted(lost)))
        if key not in self.known:
            line = Line("never killed", settling_ms=50, refuses_duplicates=key[0])
            world = World(self.folder / f"reference-{len(self.known)}", self.play, line, seed=0)
            try:
                life = world.live(Crash(lost=key[1]))
            finally:
                world.close()
            assert life.code == 0, life.said[-2000:]
            self.known[key] = ledgers.tables(world.ledger, world.state / "venue.db")
        return self.known[key]


def schedule(random: Random, count: int) -> list[str]:
    """Half of the kills at random moments, the others at the four points in turn, the rarest to come about first."""
    points = [POINTS[-1 - i % len(POINTS)] for i in range(count // 2)]
    kinds = points + ["random"] * (count - len(points))
    random.shuffle(kinds)
    return kinds


def kill_once(world: World, kind: str, random: Random, *, span_s: float) -> bool:
    """span_s: how much of a life there is to be killed in. False where the world's market is done."""
    if kind == "random":
        from_ready = random.random() < 0.8
        return world.kill(kind, Crash(), kill_after=(from_ready, random.uniform(0.0, span_s if from_ready else 2.0)))
    nth = random.randint(1, 8 if kind in POINTS else 2)
    return world.kill(kind, Crash(kill=kind, nth=nth), kill_after=(True, LONGEST_S))


def run_world(world: World, count: int, *, span_s: float) -> None:
    """Kill `count` times at most, then let it come to its end."""
    random = Random(f"{world.seed}/kills")
    for kind in schedule(random, count):
        if not kill_once(world, kind, random, span_s=span_s):
            break
        again = kind in ("sending", "accepted") and random.random() < 0.25
        # Again, while the next life looks up what this one left in doubt.
        if again and not world.kill("asking", Crash(kill="asking"), kill_after=(True, random.uniform(0.0, span_s))):
            break
    life = world.live()
    assert life.code == 0, f"ended with {life.code}: {life.said[-2000:]}"


def judged(world: World, reference: Reference) -> list[str]:
    """Everything that must hold at the end: the audit, the venue's book, and equality with a run never killed."""
    wrong = ledgers.broken(world.ledger, world.book, account=account(world)) + world.offline("audit", "--ids")
    lost = ledgers.in_doubt(world.ledger)
    posted = set(world.posted())
    wrong += [f"{cid} is in doubt and did arrive" for cid in lost if cid in posted]
    wrong += world.offline("verify")
    if world.line.refuses_duplicates:
        wrong += [f"{cid} is in doubt at the end" for cid in lost]
    unchecked = reference.tables(refuses_duplicates=world.line.refuses_duplicates, lost=lost)
    return wrong + ledgers.differences(unchecked, ledgers.tables(world.ledger, world.book))


def judged_free(world: World) -> list[str]:
    """Where the market ran on there is nothing to be equal to: the promises have to hold by themselves.

    A line that holds words back for some bars holds the last ones for ever: what they answer stays unsettled (I2).
    """
    wrong = ledgers.broken(world.ledger, world.book, account=account(world))
    if ledgers.unheard(world.ledger, world.book):
        wrong = [line for line in wrong if not line.startswith("I2 ")]
    return wrong + ledgers.unlike(world.ledger, world.book)


def account(world: World) -> str:
    return world.play.config({}).run.account


def free(folder: Path, play: Play, line: Line, count: int, *, seed: int, span_s: float) -> Outcome:
    """A world whose market runs on: audited after every step by the daemon itself, and after every life from here."""
    begun = time.monotonic()
    random = Random(f"{seed}/free")
    wrong: list[str] = []
    with opened(folder, play, line, seed=seed) as world:
        watched = str(world.audited)
        for _ in range(count):
            if not world.kill("random", Crash(audited=watched), kill_after=(True, random.uniform(0.0, span_s))):
                break
            wrong += judged_free(world)
        life = world.live(Crash(audited=watched))
        assert life.code == 0, f"ended with {life.code}: {life.said[-2000:]} {world.violation()}"
    wrong += judged_free(world)
    took_s = time.monotonic() - begun
    return Outcome(line.name, world.kills, world.seen, 0, took_s, wrong, len(world.posted()))


def one(folder: Path, reference: Reference, line: Line, count: int, *, seed: int, span_s: float) -> Outcome:
    """A world from its first life to its judgement."""
    begun = time.monotonic()
    with opened(folder, reference.play, line, seed=seed) as world:
        run_world(world, count, span_s=span_s)
    wrong = judged(world, reference)
    took_s = time.monotonic() - begun
    halted = len(ledgers.halted(world.ledger))
    return Outcome(line.name, world.kills, world.seen, halted, took_s, wrong, len(world.posted()))


def side_by_side(
    folder: Path, reference: Reference, worlds: Sequence[tuple[Line, int]], *, first_seed: int, span_s: float
) -> list[Outcome]:
    """Two worlds at a time. worlds: a line and how many kills."""
    reference.tables(refuses_duplicates=True)
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(one, folder / f"w{i}", reference, line, count, seed=first_seed + i, span_s=span_s)
            for i, (line, count) in enumerate(worlds)
        ]
        return [future.result() for future in futures]


def figures(outcomes: Sequence[Outcome], wall_s: float) -> list[str]:
    """For the report of the tests."""
    kills: Counter[str] = sum((outcome.kills for outcome in outcomes), Counter())
    seen: Counter[str] = sum((outcome.seen for outcome in outcomes), Counter())
    lines = [f"kill -9: {kills.total()} in {len(outcomes)} worlds, {wall_s:.0f} s"]
    lines.append("  by moment: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kills.items())))
    lines.append("  rows left: " + ", ".join(f"{kind} {count}" for kind, count in sorted(seen.items())))
    for outcome in outcomes:
        state = "equal" if not outcome.wrong else f"{len(outcome.wrong)} WRONG"
        lines.append(
            f"  {outcome.line}: {outcome.kills.total()} kills, {outcome.arrived} requests arrived, "
            f"{outcome.halted} symbols halted, {outcome.wall_s:.0f} s, {state}"
        )
    return lines
