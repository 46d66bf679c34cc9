"""Real kill -9, beside a venue that survives: the worlds end as if nobody had been killed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.crash import campaign, market
from tests.crash.campaign import LATE, LOSSY, UNCHECKED, UNCHECKED_LATE

pytestmark = pytest.mark.crash


def run(
    folder: Path, play: market.Play, worlds: list[tuple[campaign.Line, int]], report: list[str], *, span_s: float
) -> list[campaign.Outcome]:
    begun = time.monotonic()
    reference = campaign.Reference(folder, play)
    outcomes = campaign.side_by_side(folder, reference, worlds, first_seed=1, span_s=span_s)
    lines = campaign.figures(outcomes, time.monotonic() - begun)
    report += lines
    print("\n".join(lines))
    wrong = [f"{outcome.line}: {line}" for outcome in outcomes for line in outcome.wrong]
    assert not wrong, "\n".join(wrong)
    return outcomes


def test_twenty_kills(tmp_path: Path, house_report: list[str]) -> None:
    play = market.bundled(window_to="2025-12-02")
    outcomes = run(tmp_path, play, [(LOSSY, 10), (UNCHECKED, 10)], house_report, span_s=1.5)
    assert sum(outcome.kills.total() for outcome in outcomes) >= 20


@pytest.mark.campaign
@pytest.mark.skipif(not market.REAL.is_dir(), reason=market.WHY_NOT)
def test_two_hundred_kills_in_a_real_market(tmp_path: Path, house_report: list[str]) -> None:
    play = market.real(tmp_path / "shared")
    checked = [(LOSSY, 28), (LATE, 28)] * 2
    unchecked = [(UNCHECKED, 16), (UNCHECKED_LATE, 16)] * 4
    outcomes = run(tmp_path, play, checked + unchecked, house_report, span_s=2.0)
    kills = sum((outcome.kills for outcome in outcomes), campaign.Counter())
    assert kills.total() >= 200
    assert all(kills[point] >= 20 for point in campaign.POINTS), kills
    assert kills["random"] >= kills.total() * 0.4
    assert sum(outcome.halted for outcome in outcomes) > 0


@pytest.mark.campaign
def test_eighty_kills_in_the_bundled_market(tmp_path: Path, house_report: list[str]) -> None:
    worlds = [(LOSSY, 24), (LATE, 24), (UNCHECKED, 16), (UNCHECKED_LATE, 16)]
    run(tmp_path, market.bundled(), worlds, house_report, span_s=2.0)
