"""What an older ledger has as unsaid may have been sent: it is asked about, never sent as if it were new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avwapd.daemon import Daemon
from avwapd.store.mark import Mark
from avwapd.venues.faults import FaultPlan
from tests.sim.scenario import Plan
from tests.sim.world import Kill, World, play, world_of

PLAN = Plan(seed=3, sessions=3, barriers=200)


class Seen:
    """The pending rows of each start, as (state, attempts); older: the mark says so from the second life on."""

    def __init__(self, *, older: bool) -> None:
        self.older = older
        self.pending: list[list[tuple[str, int]]] = []

    def attach(self, daemon: Daemon, world: World) -> None:
        if self.older and world.life:
            daemon._doors.read_mark = lambda: Mark(99, 10**6, 1)
        load = daemon._load

        def loading(conn: Any) -> Any:
            rows = load(conn)
            self.pending.append([(row.state, row.attempts) for row in rows])
            return rows

        daemon._load = loading  # type: ignore[method-assign]


@pytest.mark.parametrize("older", [False, True])
def test_an_older_ledger_has_nothing_unsaid(older: bool, tmp_path: Path) -> None:
    """Killed right behind commits, some of which hold an order that has not left; a second one would be taken."""
    found: list[tuple[str, int]] = []
    for nth in (22, 26, 36):
        seen = Seen(older=older)
        plan = replace(PLAN, faults=FaultPlan(delay_ms=5), refuses_duplicates=False)
        with world_of(plan, tmp_path / str(nth), on_daemon=seen.attach) as world:
            ended = play(world, kills=[Kill("commit", nth, 1)])
            cids = [row[0] for row in world.exchange.orders_rows()]
        assert ended.violations == []
        assert len(cids) == len(set(cids)), "an order is at the venue twice"
        found += seen.pending[1]
    assert found
    assert ("NEW" in {state for state, _ in found}) is not older
    assert not older or {state for state, _ in found} == {"UNKNOWN"}
