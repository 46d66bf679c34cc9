"""The scan's list in the daemon: taken at start and between barriers, journaled, folded again after a kill."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avwapd.actors.lists import scan_date_wanted
from avwapd.config import load
from avwapd.core.codes import GATE_WATCHLIST_STALE
from avwapd.daemon import Daemon
from avwapd.feeds.demo import generate
from avwapd.feeds.world import Setup, build
from avwapd.store import StoreError, ledger
from avwapd.store.database import open_sync
from avwapd.store.journal import Journal, Names
from avwapd.store.watchlist import Watchlist, WatchlistRefused
from tests.research.listing import lists_of, watchlist_of
from tests.sim.scenario import Plan
from tests.sim.world import Kill, World, play, world_of

PLAN = Plan(seed=3, sessions=3, barriers=200)


def listed(setup: Setup, at: int = 0) -> Watchlist:
    """The list of the market's session number `at`."""
    lists = lists_of(setup)
    date = sorted(lists)[at]
    return watchlist_of(date, lists[date])


class Shelf:
    """What lies in the state folder; reloads are asked for once so many barriers are folded."""

    def __init__(self, found: Watchlist | None, reloads: dict[int, Any] | None = None) -> None:
        self.found = found
        self.reloads = reloads or {}
        self.answers: list[Any] = []
        self.facts: list[Any] = []

    def read(self) -> Watchlist | None:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def attach(self, daemon: Daemon, world: World) -> None:
        """Each life reads from here; its bars actor reloads where the plan says so."""
        daemon._doors.read_watchlist = self.read
        begin = daemon._feeder

        def feeder(venue: Any) -> Any:
            bars: Any = begin(venue)
            deliver = bars._deliver

            async def then(ts_ms: int, barrier: object, note: str = "") -> None:
                await deliver(ts_ms, barrier, note)
                self.facts.append((ts_ms, daemon.lists.facts()))
                if bars.turns in self.reloads:
                    self.found = self.reloads.pop(bars.turns)
                    try:
                        self.answers.append(await daemon.lists.reload())
                    except StoreError as error:
                        self.answers.append(error)

            bars._deliver = then
            return bars

        daemon._feeder = feeder  # type: ignore[method-assign]


def folded_again(world: World) -> tuple[str, str]:
    """(memory of the daemon that ran last, memory after folding its journal from the first input)."""
    assert world.daemon is not None
    setup = world.setup
    names = Names(setup.config.run.account, setup.config.run.strategy, setup.market.symbols)
    journal = Journal(setup.fresh(), names, fingerprint=setup.fingerprint, fresh_ms=setup.config.order.fresh_ms)
    with closing(open_sync(world.path, synchronous="NORMAL")) as conn:
        journal.know(ledger.order_ids(conn))
        for entry in ledger.inputs_after(conn, 0):
            journal.load(entry)
    assert journal.listed == world.daemon.journal.listed
    return world.daemon.journal.state_hash(), journal.state_hash()


def asked(world: World, sql: str) -> list[Any]:
    with closing(open_sync(world.path, synchronous="NORMAL")) as conn:
        return conn.execute(sql).fetchall()


LISTS = "SELECT json_extract(body, '$.scan_date') FROM inputs WHERE kind = 'watchlist' ORDER BY seq"


@pytest.mark.parametrize("kills", [(), (Kill("folded", 20), Kill("folded", 90, plus=7), Kill("commit", 5))])
def test_a_list_is_taken_at_start_once_and_folded_after_every_kill(tmp_path: Path, kills: tuple[Kill, ...]) -> None:
    shelf = Shelf(listed(PLAN.setup))
    with world_of(PLAN, tmp_path, on_daemon=shelf.attach) as world:
        found = play(world, kills=kills)
        assert found.violations == []
        assert found.lives == len(kills) + 1
        assert asked(world, LISTS) == [(shelf.found.scan_date,)]  # type: ignore[union-attr]
        levels = {row["level"] for row in shelf.found.rows}  # type: ignore[union-attr]
        seen = {level for (level,) in asked(world, "SELECT level FROM decisions WHERE intent <> 0")}
        assert levels & seen, "no entry looked at a level of the list: the test would prove little"
        first, second = folded_again(world)
        assert first == second


def test_kills_change_nothing_of_what_is_decided(tmp_path: Path) -> None:
    rows = []
    for number, kills in enumerate([(), (Kill("folded", 85), Kill("folded", 10, plus=3))]):
        shelf = Shelf(listed(PLAN.setup))
        with world_of(PLAN, tmp_path / str(number), on_daemon=shelf.attach) as world:
            rows.append(play(world, kills=kills).rows["decisions"])
    assert rows[0] == rows[1]


def test_reload_between_barriers(tmp_path: Path) -> None:
    """The second session's list comes in time, the same one again changes nothing, a bad one leaves it in force."""
    setup = PLAN.setup
    first, second = listed(setup), listed(setup, 1)
    bad = WatchlistRefused("it is torn", "watchlist.json", "scan again")
    shelf = Shelf(first, {78: first, 156: second, 160: second, 165: bad, 170: None})
    with world_of(PLAN, tmp_path, on_daemon=shelf.attach) as world:
        assert play(world).violations == []
        assert asked(world, LISTS) == [(first.scan_date,), (second.scan_date,)]
        same, fresh, again, torn, gone = shelf.answers
        assert (same["changed"], fresh["changed"], again["changed"]) == (False, True, False)
        assert (fresh["scan_date"], fresh["version"], fresh["rows"]) == (second.scan_date, second.version, 2)
        assert (torn, gone.what) == (bad, "there is no watchlist")
        assert shelf.facts[-1][1]["scan_date"] == second.scan_date
        assert folded_again(world)[0] == folded_again(world)[1]


def test_status_says_fresh_or_stale_by_market_time(tmp_path: Path) -> None:
    """Of session 0, fresh from its close to the close of session 1; taken before that, it is not yet the wanted one."""
    setup = PLAN.setup
    shelf = Shelf(listed(setup))
    with world_of(PLAN, tmp_path, on_daemon=shelf.attach) as world:
        play(world)
        closes = sorted({int(close) for close in setup.sessions["close_ms"]})
        opens = [close for close in closes if close >= shelf.facts[0][0]]
        for ts_ms, facts in shelf.facts:
            assert facts["fresh"] == (opens[0] <= ts_ms < opens[1])
        stale = asked(world, f"SELECT count(*) FROM decisions WHERE gates_blocked >> {GATE_WATCHLIST_STALE} & 1")
        assert stale[0][0] > 50


def test_symbols_that_the_run_does_not_have_are_told(tmp_path: Path) -> None:
    found = listed(PLAN.setup)
    rows = [*found.rows, {**found.rows[0], "symbol": "ZZZ", "rank": 3}]
    shelf = Shelf(None, {10: watchlist_of(found.scan_date, rows)})
    with world_of(PLAN, tmp_path, on_daemon=shelf.attach) as world:
        play(world)
        assert shelf.answers[0]["missing"] == ["ZZZ"]
        assert asked(world, "SELECT symbol FROM watchlist ORDER BY rank")[-1] == ("ZZZ",)


def test_the_setting_leaves_the_list_alone(tmp_path: Path) -> None:
    plan = replace(PLAN, barriers=20, options={"watchlist.use": "false"})
    shelf = Shelf(listed(plan.setup), {5: listed(plan.setup)})
    with world_of(plan, tmp_path, on_daemon=shelf.attach) as world:
        play(world)
        assert asked(world, LISTS) == []
        assert "not used" in shelf.answers[0].what


def test_a_list_that_cannot_be_believed_does_not_stop_the_start(tmp_path: Path) -> None:
    shelf = Shelf(WatchlistRefused("it is torn", "watchlist.json", "scan again"))  # type: ignore[arg-type]
    plan = replace(PLAN, barriers=20)
    with world_of(plan, tmp_path, on_daemon=shelf.attach) as world:
        assert play(world).violations == []
        assert asked(world, LISTS) == []


@pytest.mark.parametrize("timeframe", ["5m", "1d"])
def test_the_date_wanted(timeframe: str, tmp_path: Path) -> None:
    """The last complete session's before the coming or running one; on daily bars the coming session's own."""
    market = generate(("AAA",), 8, timeframe, seed=1)
    setup = build(load(folder=tmp_path, environ={"AVWAPD_RUN__TIMEFRAME": timeframe}), market)
    table = setup.sessions
    first = int(market.bars["ts_ms"][0])
    at = next(i for i, row in enumerate(table) if row["close_ms"] >= first)
    dates, closes, opens = (table[name].tolist() for name in ("date", "close_ms", "open_ms"))
    if timeframe == "5m":
        assert scan_date_wanted(setup, 0, first) == dates[at - 1]
        assert scan_date_wanted(setup, first, 0) == dates[at - 1]
        assert scan_date_wanted(setup, closes[at] - 1, 0) == dates[at - 1]
        assert scan_date_wanted(setup, closes[at], 0) == dates[at]
        assert scan_date_wanted(setup, opens[at + 1], 0) == dates[at]
    else:
        assert scan_date_wanted(setup, 0, first) == dates[at]
        assert scan_date_wanted(setup, first, 0) == dates[at + 1]
