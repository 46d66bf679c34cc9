"""Many calls under way at one time: the simulated worlds end as they do with one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from avwapd.actors.router import Router
from tests.sim import campaign


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Router.__init__.__kwdefaults__, "at_once", 4)


@pytest.mark.usefixtures("at_once")
def test_a_bad_line_and_kills_change_nothing(tmp_path: Path) -> None:
    assert campaign.mixed_seed(1, tmp_path).wrong == []


@pytest.mark.usefixtures("at_once")
def test_a_market_that_waits_for_nobody(tmp_path: Path) -> None:
    assert campaign.free_seed(2, tmp_path).wrong == []


@pytest.mark.campaign
@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("work", [campaign.mixed_seed, campaign.free_seed, campaign.no_check_seed])
def test_many_worlds(work: campaign.Work) -> None:
    seeds = range(1_000, 1_060)
    wrong = {seed: found.wrong for seed, found in zip(seeds, campaign.over_seeds(work, seeds), strict=True)}
    assert {seed: lines for seed, lines in wrong.items() if lines} == {}
