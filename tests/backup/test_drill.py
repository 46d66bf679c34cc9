"""The restore drill: an older ledger is found out and compared with the venue; it is never taken for the newest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from avwapd.verbs.client import ask
from tests.backup import drill
from tests.crash import market
from tests.crash.campaign import FREE, LOSSY, UNCHECKED
from tests.crash.test_daemon import endless
from tests.crash.world import Line, opened

pytestmark = pytest.mark.crash

GOING_ON = replace(FREE, faults={}, pace=30.0)
STANDING = replace(LOSSY, faults={})
DOUBLING = replace(UNCHECKED, faults={})
LINES = {"market goes on": GOING_ON, "market waits": STANDING, "duplicates not refused": DOUBLING}


def play_of(line: Line) -> market.Play:
    return market.bundled() if line.pace else endless()


LONG = pytest.mark.campaign
QUICK = "market goes on"


@pytest.mark.parametrize("name", [QUICK, *(pytest.param(name, marks=LONG) for name in LINES if name != QUICK)])
def test_a_restored_older_ledger_is_reconciled_and_opens_nothing(name: str, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with opened(tmp_path / "w", play_of(LINES[name]), LINES[name], seed=1) as world:
        found = drill.run(world, shelf, module="avwapd.cli", before=6, after=8)
        assert found.wrong == [], drill.told(found) + world.tail()
        assert found.lost > 8, drill.told(found)
        assert found.halted, "what the venue knows and the ledger does not halts its symbol"
        assert "ledger" in found.gates
        assert sum("an older ledger is in place" in what for what in found.alerts) == 1
        process = drill.started(world, "avwapd.cli")
        try:
            assert "ledger" in drill.closed(world), "until a human says so"
            ask(world.short / "control.sock", "POST", "/v1/resume", {}, 10)
            assert "ledger" in drill.closed(world), "a plain resume is no such word"
            ask(world.short / "control.sock", "POST", "/v1/resume", {"force": True}, 10)
            assert "ledger" not in drill.closed(world)
        finally:
            drill.killed(process)


@LONG
def test_the_venue_alone_gives_it_away(tmp_path: Path) -> None:
    """No mark, and a copy that does not say that it is one."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with opened(tmp_path / "w", play_of(STANDING), STANDING, seed=2) as world:
        found = drill.run(world, shelf, module="avwapd.cli", before=6, after=8, forget_copy=True)
        assert found.wrong == [], drill.told(found) + world.tail()
        assert "ledger" in found.gates
        assert found.halted
        assert any("an order of ours that this ledger never made" in what for what in found.alerts)


@LONG
def test_the_drill_finds_a_daemon_that_trusts_any_ledger(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with opened(tmp_path / "w", play_of(STANDING), STANDING, seed=1) as world:
        found = drill.run(world, shelf, module="tests.backup.trusting", before=6, after=8)
    assert any("in the ledger" in line or "rests at the venue" in line for line in found.wrong), drill.told(found)
