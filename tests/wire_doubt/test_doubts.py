"""Sends of which nobody knows whether they arrived, by the thousand, through real clients at three kinds of venue."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import anyio
import pytest

from avwapd.actors.router_doubts import Doubts
from tests.wire_doubt import plants
from tests.wire_doubt.desk import EXCHANGES, KINDS, SENDS, Outcome, Plant, play
from tests.wire_doubt.mill import market

# Of the sends that never arrive: at a venue that takes an id twice each of them is the end of its symbol's day.
LOST = {"strict": 0.2, "slow": 0.2, "lenient": 0.05}
LIES = {"strict": 0.75, "slow": 0.2, "lenient": 0.1}
CLEAN = {"strict": 0.3, "slow": 0.15, "lenient": 0.0}  # so that the refusal of a known id is heard at all
DEAF = {"strict": 0.8, "slow": 0.2, "lenient": 0.2}


async def outcome(folder: Path, profile: str, *, symbols: int, bars: int, seed: int) -> Outcome:
    source = market(symbols, bars, seed=seed)
    more = {"share_lost": LOST[profile], "lies": LIES[profile], "deaf": DEAF[profile], "clean": CLEAN[profile]}
    return await play(folder, source, profile, seed=seed, **more)


def figures(found: list[Outcome], begun: float) -> list[str]:
    total = sum(one.sends for one in found)
    return [f"ambiguous sends: {total}, {time.monotonic() - begun:.0f} s", *(one.line() for one in found)]


def kept(found: list[Outcome]) -> None:
    wrong = [f"{one.profile}: {line}" for one in found for line in one.wrong]
    assert not wrong, "\n".join(wrong[:40])
    for one in found:
        assert all(one.fired[name] for name in KINDS), f"{one.profile}: {one.fired}"
        assert all(one.asked[name] for name in SENDS), f"{one.profile}: {one.asked}"
        assert one.ends["two"] == 0
    by_profile = {one.profile: one for one in found}
    assert by_profile["strict"].ends["halted"] == by_profile["slow"].ends["halted"] == 0
    assert by_profile["lenient"].ends["halted"] > 0
    assert by_profile["lenient"].marks["duplicates refused"] == 0


async def test_six_hundred_sends(tmp_path: Path, house_report: list[str]) -> None:
    begun = time.monotonic()
    found: list[Outcome] = []

    async def one(profile: str) -> None:
        found.append(await outcome(tmp_path / profile, profile, symbols=160, bars=16, seed=1))

    async with anyio.create_task_group() as group:
        for profile in LOST:
            group.start_soon(one, profile)
    house_report += figures(found, begun)
    kept(found)
    assert sum(one.sends for one in found) >= 600


@pytest.mark.campaign
async def test_ten_thousand_sends(tmp_path: Path, house_report: list[str]) -> None:
    begun = time.monotonic()
    found = {profile: Outcome(profile) for profile in LOST}
    seed = 0
    while sum(one.sends for one in found.values()) < 10_000:
        profile = min(found, key=lambda name: found[name].sends)
        seed += 1
        found[profile] += await outcome(tmp_path / f"{profile}-{seed}", profile, symbols=200, bars=36, seed=seed)
    house_report += figures(list(found.values()), begun)
    kept(list(found.values()))
    assert found["strict"].marks["duplicates refused"] > 0
    assert Counter({one.profile: one.sends for one in found.values()}).most_common()[-1][1] > 2_500


@pytest.mark.campaign
async def test_five_hundred_sends_at_each_exchange(tmp_path: Path, house_report: list[str]) -> None:
    begun = time.monotonic()
    found = [Outcome(name) for name in EXCHANGES]

    async def one(at: int) -> None:
        seed = 0
        while found[at].sends < 500:
            seed += 1
            name = EXCHANGES[at]
            source = market(20, 40, seed=seed, kind="crypto")
            found[at] += await play(tmp_path / f"{name}-{seed}", source, name, seed=seed, clean=0.2)

    async with anyio.create_task_group() as group:
        for at in range(len(EXCHANGES)):
            group.start_soon(one, at)
    house_report += figures(found, begun)
    for outcome_ in found:
        assert not outcome_.wrong, "\n".join(outcome_.wrong[:40])
        assert all(outcome_.fired[name] for name in KINDS)
        assert outcome_.asked["submit"] >= 50
        assert outcome_.asked["cancel"] >= 50
        assert outcome_.ends["two"] == outcome_.ends["halted"] == 0


@pytest.mark.parametrize(
    ("plant", "profile", "found"),
    [
        (plants.post_again, "lenient", "2 orders at the venue"),
        (plants.silence_is_no, "strict", "REJECTED (no answer"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_a_planted_mistake_is_found(plant: Plant, profile: str, found: str, tmp_path: Path) -> None:
    one = await play(tmp_path, market(100, 5, seed=2), profile, lies=0.0, plant=plant)
    assert [line for line in one.wrong if found in line], one.wrong


async def test_a_known_id_taken_for_a_refusal_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doubts, "add", plants.known_is_no)
    one = await play(tmp_path, market(100, 8, seed=2), "strict", lies=0.9, deaf=0.9, clean=0.4)
    assert one.marks["duplicates refused"] > 0
    assert one.wrong
