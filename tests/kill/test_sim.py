"""The switch at any commit of a seeded world, good line and bad, with and without a killed daemon."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from avwapd.venues.port import Request
from tests.sim.scenario import Plan, bad_line, mixed
from tests.sim.world import Kill, Outcome, World, play, world_of

OPTIONS = {"run.speed": "20", "fills.volume_share": "0.0005", "order.entry_type": "limit"}


PENDING = (
    "SELECT x.cid FROM outbox x JOIN orders o USING (symbol_id, intent)"
    " WHERE x.kind = 'submit' AND o.purpose = 'entry' AND x.state IN ('NEW', 'SENDING')"
)


@dataclass
class Switched:
    """Turns the switch at the nth event of a kind (while an entry rests, if `resting`), notes what is said later."""

    world: World
    event: str
    number: int
    resting: bool = False
    pending: bool = False  # count only while an entry is committed and has not left
    off_after: int = 0  # as many events later it opens again
    seen: int = 0
    at_s: float | None = None
    after: list[tuple[float, Request]] = field(default_factory=list)
    live: set[str] = field(default_factory=set)  # entries at the venue when it closed
    took: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        happen, send = self.world._happen, self.world.wire.send

        def happened(event: str) -> None:
            if event == self.event and (self.seen >= self.number or self._counts()):
                self.seen += 1
                if self.seen == self.number:
                    self._close()
                elif self.off_after and self.seen == self.number + self.off_after:
                    self.world.kill_switch = False
            happen(event)

        async def noted(request: Request) -> None:
            if self.world.kill_switch:
                self.after.append((self.now_s(), request))
            await send(request)

        self.world.watch.happen = self.world.wire.happen = self.world.lasting.happen = happened
        self.world.wire.send = noted  # type: ignore[method-assign]

    def now_s(self) -> float:
        assert self.world.wire.loop is not None
        return self.world.wire.loop.time()

    def _close(self) -> None:
        self.world.kill_switch = True
        self.at_s = self.now_s()
        self.live = self._entries()

    def _counts(self) -> bool:
        if self.resting:
            return bool(self._entries())
        if self.pending:
            assert self.world.connection is not None
            there = {request.cid for _, _, request in self.world.lasting.arrived}
            return any(cid not in there for (cid,) in self.world.connection._conn.execute(PENDING))
        return True

    def _entries(self) -> set[str]:
        """Entries that rest at the venue."""
        purposes = {request.cid: request.purpose for _, _, request in self.world.lasting.arrived}
        rows = self.world.exchange.orders_rows()
        return {cid for cid, *_, state in rows if state == "live" and purposes.get(cid) == "entry"}

    def opens(self) -> list[Request]:
        return [request for _, request in self.after if request.kind == "submit" and request.purpose == "entry"]

    def look(self) -> None:
        """At the end of the world: when the cancel of each entry that was live left."""
        if self.at_s is None:
            return
        first: dict[str, float] = {}
        for at_s, request in self.after:
            if request.kind == "cancel":
                first.setdefault(request.ref_cid, at_s - self.at_s)
        ended = {cid for cid, *_, state in self.world.exchange.orders_rows() if state != "live"}
        self.took = [first.get(cid, 0.0 if cid in ended else float("inf")) for cid in sorted(self.live)]


def run(
    plan: Plan, folder: Path, event: str, number: int, *, kills: tuple[Kill, ...] = (), **options: Any
) -> tuple[Switched, Outcome]:
    with world_of(plan, folder, stepwise=True) as world:
        switched = Switched(world, event, number, **options)
        outcome = play(world, kills=kills)
        switched.look()
        assert outcome.violations == []
        if switched.at_s is not None and world.kill_switch:
            left = {cid for cid, *_, state in world.exchange.orders_rows() if state == "live"}
            assert not left & switched.live, "an entry outlived the kill"
    assert switched.opens() == []
    return switched, outcome


@pytest.mark.parametrize(("seed", "number"), [(1, 1), (1, 9), (2, 2), (2, 5)])
def test_with_entries_at_the_venue(tmp_path: Path, seed: int, number: int) -> None:
    plan = Plan(seed=seed, barriers=60, options=OPTIONS)
    switched, _ = run(plan, tmp_path, "commit", number, resting=True)
    assert switched.took
    assert max(switched.took) <= 1.0


@pytest.mark.parametrize(("seed", "number"), [(1, 1), (1, 3), (2, 2), (3, 1)])
def test_between_the_commit_of_an_entry_and_its_call(tmp_path: Path, seed: int, number: int) -> None:
    """The row is there, the gate is still open in the journal: the router's own look at the switch is what holds it."""
    plan = Plan(seed=seed, barriers=60, options=OPTIONS)
    switched, _ = run(plan, tmp_path, "commit", number, pending=True)
    assert switched.at_s is not None


@pytest.mark.parametrize(("event", "number"), [("commit", 2), ("send", 1), ("send", 4), ("taken", 1), ("answered", 2),
                                               ("asked", 20), ("heard", 11)])  # fmt: skip
def test_at_each_kind_of_moment(tmp_path: Path, event: str, number: int) -> None:
    switched, _ = run(Plan(seed=3, barriers=60, options=OPTIONS), tmp_path, event, number)
    assert switched.at_s is not None
    assert all(took <= 1.0 for took in switched.took)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_on_a_bad_line(tmp_path: Path, seed: int) -> None:
    """Lost, late and doubled requests: what is in doubt is not sent again, what arrived is taken back."""
    switched, outcome = run(mixed(seed), tmp_path, "commit", 40 + seed)
    assert switched.at_s is not None
    assert outcome.faults


@pytest.mark.parametrize("seed", [21, 22])
def test_and_the_daemon_is_killed_too(tmp_path: Path, seed: int) -> None:
    """Kill during kill: the switch is there at the next start, the gate is not closed twice."""
    plan = Plan(seed=seed, barriers=60, options=OPTIONS, faults=bad_line(Random(seed), seed))
    switched, outcome = run(plan, tmp_path, "commit", 50, kills=(Kill("commit", 52), Kill("commit", 3)))
    assert switched.at_s is not None
    assert outcome.lives == 3


def test_exits_go_on_and_entries_come_back_after_the_release(tmp_path: Path) -> None:
    switched, _ = run(Plan(seed=1, barriers=150, options=OPTIONS), tmp_path, "commit", 60, off_after=60)
    assert any(request.purpose in ("stop", "exit", "trim") for _, request in switched.after)
    assert switched.at_s is not None
    late = [
        request
        for at_s, _, request in switched.world.lasting.arrived
        if at_s > switched.at_s and request.purpose == "entry" and request.kind == "submit"
    ]
    assert late, "nothing was opened after the release"


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(60))
def test_anywhere(tmp_path: Path, seed: int) -> None:
    for number in range(2 + seed % 5, 160, 12):
        folder = tmp_path / str(number)
        kills = (Kill("commit", number + 1 + seed % 3),) if seed % 2 else ()
        run(mixed(seed), folder, "commit", number, kills=kills)
