"""What a run at a venue looks at every second, and how a stale list starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avwapd.actors.gate_hours import Hours
from avwapd.actors.gates import GateClosed
from avwapd.actors.lists import Lists
from avwapd.cli import tell
from avwapd.core.codes import FLAT
from avwapd.store.watchlist import Watchlist
from avwapd.verbs.run import first_of
from tests.gates.living import PLAN, Life, life, venue
from tests.research.listing import lists_of, watchlist_of

PAPER: dict[str, Any] = {"mode": "paper", "size__risk_fraction": "0.01"}
ENTRIES = "SELECT count(*) FROM orders WHERE purpose = 'entry'"
MINUTE_MS = 60_000


def listed(at: int) -> Watchlist:
    """The list of the market's session number `at`."""
    lists = lists_of(PLAN.setup)
    date = sorted(lists)[at]
    return watchlist_of(date, lists[date])


async def looks(there: Life, count: int = 2) -> None:
    for _ in range(count):
        await there.daemon.gates.look()


async def test_an_undisturbed_paper_run_turns_no_gate(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as there:
        await there.bar(30)
        await looks(there, 3)
        await there.bars_until(lambda: bool((there.states["phase"] != FLAT).any()))
        assert await there.rows("SELECT gate, closed, reason FROM gates") == []
        assert there.daemon.facts()["gates"]["status"] == "open"
        with pytest.raises(GateClosed, match="nothing can be armed in mode paper"):
            await there.daemon.gates.arm(None, None, "uid 1")


async def test_a_dry_run_at_a_venue_sends_nothing(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER | {"mode": "dry-run"}) as there:
        await there.bar(60)
        assert there.is_closed("mode") == "mode dry-run opens nothing"
        confirmed = "SELECT count(*) FROM decision_words WHERE signal = 'confirmed' AND instr(blocked, 'live')"
        assert (await there.rows(confirmed))[0][0] > 0
        assert await there.rows("SELECT count(*) FROM outbox") == [(0,)]
        assert at.sim.desk.all_orders() == []
        assert "dry-run opens nothing" in there.daemon.router.facts()["entries_blocked"]


async def test_a_shut_venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as there:
        await there.bar()
        judge: Any = there.daemon.gates.judge
        facts = judge._venue.facts()
        monkeypatch.setattr(judge._venue, "facts", lambda: facts | {"state": "shut", "why": "banned"})
        await looks(there, 1)
        assert there.is_closed("venue") == ""  # one look may be a hiccup
        await looks(there, 1)
        assert there.is_closed("venue") == "the venue is shut: banned"
        monkeypatch.undo()
        await looks(there, 1)
        assert there.is_closed("venue") == ""


async def test_the_venues_own_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as there:
        await there.bar(10)
        await there.daemon.at_venue._venue.skew_ms()  # type: ignore[union-attr]
        judge: Any = there.daemon.gates.judge
        facts = judge._venue.facts()
        assert facts["is_open"] is True
        assert judge.venue_clock() == ""
        for changed, words in (
            ({"is_open": False}, "the venue says that the market is closed"),
            ({"clock_age_s": 130.0}, "could not be asked for 130 s"),
            ({"is_open": None}, ""),
        ):
            monkeypatch.setattr(judge._venue, "facts", lambda changed=changed: facts | changed)
            await looks(there)
            assert words in there.is_closed("venue_clock") if words else not there.is_closed("venue_clock")
            monkeypatch.undo()
        opened = max(int(each) for each in there.daemon.setup.sessions["open_ms"] if each < there.now_ms)
        early = {"is_open": False, "clock_ms": opened + 30_000}
        monkeypatch.setattr(judge._venue, "facts", lambda: facts | early)
        assert judge.venue_clock() == ""  # half a minute about the bell nobody quarrels


async def test_clock_skew(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as there:
        reconciler: Any = there.daemon.at_venue.reconciler  # type: ignore[union-attr]
        reconciler._skewed, reconciler.skew_ms = True, 7_000
        await looks(there, 1)
        assert there.is_closed("clock_skew") == "clock skew 7.0 s"
        reconciler._skewed = False
        await looks(there, 1)
        assert there.is_closed("clock_skew") == ""


async def test_books_that_are_not_read(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as there:
        reconciler: Any = there.daemon.at_venue.reconciler  # type: ignore[union-attr]
        read_at, reconciler._read_at = reconciler._read_at, there.daemon._doors.clock.monotonic() - 100
        await looks(there)
        assert "last read 100 s ago" in there.is_closed("books")
        reconciler._read_at = read_at
        await looks(there, 1)
        assert there.is_closed("books") == ""
        reconciler._waiting = True
        judge: Any = there.daemon.gates.judge
        assert judge.books() == ""  # nothing leaves before; a start is no news
        judge._begun -= 60
        assert "not compared yet" in judge.books()
        reconciler._waiting = False


async def test_a_feed_that_is_down_or_behind(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as there:
        await there.bar(3)
        feed: Any = there.daemon.bars.feed  # type: ignore[union-attr]
        feed._watchdog.down_since_ms = 1
        await looks(there)
        assert "neither stream nor REST" in there.is_closed("data")
        feed._watchdog.down_since_ms = None
        await looks(there, 1)
        assert there.is_closed("data") == ""
        facts = feed.facts()
        feed.facts = lambda: facts | {"next_ms": there.now_ms - 3_600_000}
        await looks(there)
        assert there.is_closed("data") == "bars are 3600 s behind"
        del feed.facts
        await looks(there, 1)
        assert there.is_closed("data") == ""


# ------------------------------------------------------------------------------------------------ watchlist

REQUIRED = PAPER | {"watchlist__required": "true"}


async def test_a_fresh_list_opens_and_grows_stale_with_the_session(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, **REQUIRED, watchlist=listed(0)) as there:
        await there.bar(5)
        await looks(there)
        assert there.is_closed("watchlist") == ""
        assert there.is_closed("exit_only") == ""
        await there.bars_until(lambda: not there.daemon.lists.facts()["fresh"], 90)  # type: ignore[index]
        await looks(there)
        assert "stale, wanted is that of" in there.is_closed("watchlist")


@pytest.mark.parametrize("found", [None, "stale"])
async def test_a_stale_list_stops_the_start_once_when_nothing_is_held(found: str | None, tmp_path: Path) -> None:
    given = replace(listed(0), scan_date=20200102) if found else None
    async with venue(tmp_path) as at:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with life(at, tmp_path, **REQUIRED, watchlist=given):
                raise AssertionError("it became ready")
        error: Any = first_of(caught.value)
        assert isinstance(error, GateClosed)
        assert tell(error) == 75
        assert ("there is no watchlist" if given is None else "20200102 is stale") in error.what
        assert "avwapd scan" in error.next_step


async def test_a_stale_list_with_a_position_starts_exits_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    required = REQUIRED | {"watchlist__execute_only": "false"}
    async with venue(tmp_path) as at:
        async with life(at, tmp_path, **required, watchlist=listed(0)) as there:
            await there.bars_until(lambda: bool((there.states["qty"] > 0).any()))
        stale = {"scan_date": 1, "fresh": False, "state": "stale, wanted is that of 2", "missing": []}
        monkeypatch.setattr(Lists, "facts", lambda self: stale)
        async with life(at, tmp_path, **required) as there:
            assert there.is_closed("exit_only") == "the watchlist of 1 is stale, wanted is that of 2 at the start"
            [(level, what)] = await there.rows("SELECT level, what FROM alerts WHERE what LIKE '%exits only%'")
            assert (level, "until the list is fresh" in what) == ("critical", True)
            before = await there.rows(ENTRIES)
            await there.bars_until(lambda: bool((there.states["qty"] == 0).all()))
            await there.bar(3)
            assert await there.rows(ENTRIES) == before
            assert (await there.rows("SELECT count(*) FROM fills WHERE purpose IN ('stop', 'trim', 'exit')"))[0][0] > 0
            stale["fresh"] = True
            await looks(there)
            assert there.is_closed("exit_only") == there.is_closed("watchlist") == ""


@pytest.mark.parametrize("settings", [PAPER, REQUIRED | {"watchlist__use": "false"}])
async def test_a_list_that_is_neither_there_nor_wanted_is_not_asked_about(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, **settings) as there:
        assert there.daemon.gates.judge.watchlist() == ""  # type: ignore[union-attr]


def test_hours_of_a_bell_and_of_days() -> None:
    hours = Hours(PLAN.setup)
    table = PLAN.setup.sessions
    opened, closed = (int(table[name][5]) for name in ("open_ms", "close_ms"))
    before = int(table["close_ms"][4])
    assert hours.bell
    assert hours.began(opened + 1) == hours.began(closed) == before
    assert hours.began(closed + 1) == closed
    assert hours.ends(opened) == closed
    assert hours.ends(closed) == int(table["close_ms"][6])
    assert hours.date(opened) == int(table["date"][5])
    assert hours.surely_open(opened + MINUTE_MS, MINUTE_MS)
    assert not hours.surely_open(opened + MINUTE_MS - 1, MINUTE_MS)
    assert not hours.surely_open(closed - MINUTE_MS + 1, MINUTE_MS)
    crypto = Hours(replace(PLAN, kind="crypto").setup)
    assert not crypto.bell
    assert crypto.ends(opened) % 86_400_000 == 0
