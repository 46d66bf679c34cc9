"""Real kill -9 of the daemon and of the venue, with real sockets between them: both have the same books afterwards."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.wire_faults import market
from tests.wire_kill.launch import POINTS
from tests.wire_kill.world import MOMENTS, World, figures, opened

# Beside its bound on unprotected time a busy machine is late: a campaign, not a wider bound.
pytestmark = [pytest.mark.crash, pytest.mark.campaign]

SOME: dict[str, Any] = {"p": 1.0, "count": 3}
TAKEN = {"gateway_504_taken": SOME | {"on": ["submit", "replace", "cancel"]}}
LOST = {"lose_request": SOME | {"on": ["submit", "replace", "cancel"]}}
VENUE = ("venue", 0, {})
LIVES: list[tuple[str, int, dict[str, Any]]] = [
    ("new", 1, {}),
    ("sending", 1, {}),
    ("sending", 2, {}),
    ("bytes", 1, {}),
    ("bytes", 2, LOST),
    ("patched", 1, {}),
    ("deleted", 1, {}),
    ("answered", 2, {}),
    ("asking", 1, TAKEN),
    ("asking", 2, LOST),
    ("acked", 2, {}),
    ("partial", 1, {"partial_then_nothing": {"p": 1.0, "count": 4}}),
    ("fill", 1, {}),
    ("fill", 3, TAKEN),
    ("end", 1, {}),
    ("reading", 1, {}),
    ("reading", 3, {}),
    ("late", 1, {}),
    ("late", 4, TAKEN),
    ("dropped", 1, {"drop_stream": SOME | {"on": "stream"}}),
    VENUE,
]
RANDOM = 3
SLICE = [
    ("bytes", 2, {}),
    ("asking", 1, TAKEN),
    ("fill", 2, {}),
    ("patched", 1, {}),
    ("sending", 1, {}),
    ("late", 2, {}),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("bars")
    market.archive(state)
    return state / "archive"


def play(world: World, lives: list[tuple[str, int, dict[str, Any]]], random: Random) -> None:
    for point, nth, faults in lives:
        if point == "venue":
            world.venue_dies()
        elif point:
            world.life(point, nth, faults=faults)
        elif random.random() < 0.3:
            world.life(after_s=random.uniform(0.3, 2.0), ready=False)
        else:
            world.life(after_s=random.uniform(0.1, 3.0))
    world.last_life()
    world.judge()


def test_six_kills(tmp_path: Path, archive: Path, house_report: list[str]) -> None:
    begun = time.monotonic()
    with opened(tmp_path, archive) as world:
        play(world, SLICE, Random("six"))
        house_report += figures([world], time.monotonic() - begun)
    assert world.kills == 6
    assert {"SENDING, taken", "UNKNOWN", "FILLED, not heard"} <= set(world.seen)


TWICE = "UNIQUE constraint failed: fills.exec_id"


def found(plant: str, folder: Path, archive: Path) -> None:
    """A start that forgets is noticed: by what waits for ever, by the books, by a call for a human, or by the
    ledger's refusal to book an execution twice.

    The first entries fill at once, in one burst: a later fill is waited for until one of them is booked, so that there
    is something to forget.
    """
    with opened(folder, archive, plant=plant) as world:
        for nth in (4, 8, 12, 16):
            world.life("fill", nth)
            if world.trader.rows("SELECT count(*) FROM fills")[0][0]:
                break
        try:
            world.last_life(limit_s=6.0)
        except AssertionError as ended:  # it may book an execution twice before it is ready: then its end says so
            if TWICE not in str(ended):
                raise
            return
        with pytest.raises(AssertionError):
            world.judge()


def test_a_start_that_forgets_what_is_booked_is_found(tmp_path: Path, archive: Path) -> None:
    found("nothing_booked", tmp_path, archive)


@pytest.mark.campaign
def test_a_start_that_forgets_its_orders_is_found(tmp_path: Path, archive: Path) -> None:
    found("nothing_known", tmp_path, archive)


@pytest.mark.campaign
def test_kills_in_every_state(tmp_path: Path, archive: Path, house_report: list[str]) -> None:
    begun = time.monotonic()
    worlds: list[World] = []

    def one(seed: int) -> None:
        random = Random(f"{seed}/kills")
        lives = [*LIVES, *[("", 0, {})] * RANDOM]
        random.shuffle(lives)
        (tmp_path / str(seed)).mkdir()
        with opened(tmp_path / str(seed), archive, seed=seed) as world:
            worlds.append(world)
            play(world, lives, random)

    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, range(1, 5)))
    finally:
        house_report += figures(worlds, time.monotonic() - begun)
    points = sum((world.points for world in worlds), start=type(worlds[0].points)())
    seen = sum((world.seen for world in worlds), start=type(worlds[0].seen)())
    assert sum(world.kills for world in worlds) >= 60
    assert [name for name in (*POINTS, "random", "venue", "before it was ready") if not points[name]] == []
    assert [name for name in MOMENTS if not seen[name]] == []
