"""Killed beside a market that does not wait: missed bars come late, fills are heard bars after they happened."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash import campaign, market
from tests.crash.campaign import FREE

pytestmark = pytest.mark.crash


def test_four_kills(tmp_path: Path, house_report: list[str]) -> None:
    begun = time.monotonic()
    play = market.bundled(window_to="2025-11-18")
    outcome = campaign.free(tmp_path / "w", play, replace(FREE, pace=40.0), 4, seed=1, span_s=2.0)
    house_report += campaign.figures([outcome], time.monotonic() - begun)
    assert not outcome.wrong, "\n".join(outcome.wrong)
    assert outcome.arrived > 0


@pytest.mark.campaign
def test_fifty_kills(tmp_path: Path, house_report: list[str]) -> None:
    begun = time.monotonic()
    plays = [(market.bundled(), 20.0)] * 2
    if market.REAL.is_dir():
        plays.append((market.real(tmp_path / "shared"), 50.0))
    else:
        plays.append((market.bundled(), 20.0))
    outcomes = [
        campaign.free(tmp_path / f"w{i}", play, replace(FREE, pace=pace), 18, seed=i, span_s=4.0)
        for i, (play, pace) in enumerate(plays)
    ]
    house_report += campaign.figures(outcomes, time.monotonic() - begun)
    for outcome in outcomes:
        assert not outcome.wrong, "\n".join(outcome.wrong)
    assert sum(outcome.kills.total() for outcome in outcomes) >= 50
