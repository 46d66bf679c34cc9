"""The whole daemon on bad lines and through kills: at the end every row is as if nothing had happened."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.sim import campaign
from tests.sim.campaign import RARE, free_seed, mixed_seed, no_check_seed, over_seeds, window_points, window_trial
from tests.sim.scenario import Plan
from tests.sim.world import Kill

SMALL = Plan(seed=3, kind="equity", symbols=2, barriers=50, options={"fills.volume_share": "0.002"})


def report(house_report: list[str], name: str, ratios: list[float], marks: Counter[str]) -> None:
    seen = ", ".join(f"{mark} {count}" for mark, count in sorted(marks.items()) if count)
    house_report.append(f"{name}: {len(ratios)} worlds, {min(ratios):,.0f} times real time at the least; {seen}")


def run(work: campaign.Work, seeds: range, house_report: list[str]) -> Counter[str]:
    """Fails with every seed that went wrong; the marks of all."""
    marks: Counter[str] = Counter()
    wrong, ratios = {}, []
    for seed, found in zip(seeds, over_seeds(work, seeds), strict=True):
        marks += found.marks
        ratios.append(found.ratio)
        if found.wrong:
            wrong[seed] = found.wrong
    report(house_report, work.__name__, ratios, marks)
    assert not wrong
    return marks


def test_a_bad_line_and_kills_change_no_row(house_report: list[str]) -> None:
    run(mixed_seed, range(10), house_report)


@pytest.mark.campaign
def test_a_bad_line_and_kills_change_no_row_in_many_worlds(house_report: list[str]) -> None:
    marks = run(mixed_seed, range(1_000, 1_200), house_report)
    assert [mark for mark in RARE if not marks[mark]] == []


def test_invariants_hold_after_every_commit_in_a_market_that_does_not_wait(house_report: list[str]) -> None:
    run(free_seed, range(4), house_report)


@pytest.mark.campaign
def test_invariants_hold_after_every_commit_in_many_markets_that_do_not_wait(house_report: list[str]) -> None:
    run(free_seed, range(1_000, 1_100), house_report)


def test_where_duplicates_are_not_refused_a_lost_request_freezes_and_never_doubles(house_report: list[str]) -> None:
    marks = run(no_check_seed, range(3), house_report)
    assert marks["frozen"]


@pytest.mark.campaign
def test_where_duplicates_are_not_refused_nothing_doubles_in_many_worlds(house_report: list[str]) -> None:
    marks = run(no_check_seed, range(1_000, 1_060), house_report)
    assert marks["frozen"]


def test_a_kill_around_a_commit_or_a_send_changes_no_row(tmp_path: Path) -> None:
    points, expected = window_points(SMALL, tmp_path / "expected")
    chosen = points[:: len(points) // 50]
    assert len(chosen) >= 50
    for number, kill in enumerate(chosen):
        assert window_trial(SMALL, [kill], expected, tmp_path / str(number)) == []


@pytest.mark.campaign
def test_a_kill_around_every_commit_and_send_changes_no_row(tmp_path: Path) -> None:
    points, _ = window_points(SMALL, tmp_path / "expected")
    found = over_seeds(campaign.window_chunk(SMALL), range(0, len(points), campaign.TRIALS_A_CHUNK))
    assert [line for wrong in found for line in wrong] == []


@pytest.mark.campaign
def test_two_kills_around_commits_and_sends_change_no_row(tmp_path: Path) -> None:
    points, expected = window_points(SMALL, tmp_path / "expected")
    for number, first in enumerate(points[:: len(points) // 40]):
        for second in (Kill("step", 30), Kill("asked", 2, 1), Kill("send", 1, 2)):
            assert window_trial(SMALL, [first, second], expected, tmp_path / f"{number}-{second.event}") == []
