"""Lists in a backtest, in a run, and in the proof that both decided alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd import cli
from avwapd.config import load
from avwapd.core import codes
from avwapd.core.codes import GATE_WATCHLIST_STALE
from avwapd.feeds.demo import generate
from avwapd.feeds.world import Setup, build
from avwapd.research import ResearchError
from avwapd.research.backtest import pieces, replay
from avwapd.research.lists import backtest_with_lists, starts_of
from avwapd.research.record import opened
from avwapd.store.audit import audit
from tests.research import paper
from tests.research.conftest import Base, Verify
from tests.research.listing import Lists, give, lists_of, watchlist_of
from tests.store import story


@pytest.fixture(scope="module")
def lists(base: Base) -> Lists:
    return lists_of(base.setup)


@pytest.fixture(scope="module")
def listed_run(base: Base, lists: Lists, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = base.state(tmp_path_factory.mktemp("listed") / "state")
    return paper.ran(base.setup, state, after=give(lists, base.setup))


def test_a_backtest_trades_the_levels_of_its_lists(base: Base, lists: Lists) -> None:
    result = backtest_with_lists(base.setup, lists)
    plain = replay(base.setup, base.market.bars, 0)
    assert result.decisions.tobytes() != plain.decisions.tobytes()
    entries = result.decisions[result.decisions["intent"] != 0]
    sessions = base.setup.sessions
    first = sessions["close_ms"][np.flatnonzero(sessions["date"] == min(lists))[0]]
    listed = entries[(entries["symbol"] < 3) & (entries["ts_ms"] > first)]
    assert len(listed) >= 5
    for entry in listed:
        session = int(np.searchsorted(sessions["close_ms"], entry["ts_ms"]))
        row = lists[int(sessions["date"][session - 1])][entry["symbol"]]
        assert entry["level"] == row["level"]
        assert (entry["stop"], entry["r1"]) == (round(row["stop"] * 100), round(row["r1"] * 100))


def test_a_list_begins_behind_its_session(base: Base, lists: Lists) -> None:
    bars = base.market.bars
    for (at, rows), date in zip(starts_of(base.setup, bars, lists), sorted(lists), strict=True):
        session = base.setup.sessions[base.setup.sessions["date"] == date][0]
        assert bars["ts_ms"][at - 1] <= session["close_ms"]
        assert at == len(bars) or bars["ts_ms"][at] > session["close_ms"]
        assert set(rows["scan_date"].tolist()) == {date}


def test_scan_dates_outside_and_between_sessions(base: Base, lists: Lists) -> None:
    date, rows = next(iter(lists.items()))
    assert starts_of(base.setup, base.market.bars, {19900102: rows})[0][0] == 0
    assert starts_of(base.setup, base.market.bars, {20990102: rows}) == []
    table = base.setup.sessions["date"]
    friday = next(int(d) for d, e in pairwise(table) if e - d == 3)
    with pytest.raises(ResearchError, match="no session"):
        starts_of(base.setup, base.market.bars, {friday + 1: rows, date: rows})


@pytest.mark.parametrize("room", [7, 100, 1_000])
def test_pieces_of_any_size_give_the_same(base: Base, lists: Lists, room: int) -> None:
    bars, begin = base.market.bars, 800
    starts = starts_of(base.setup, bars, lists)
    whole = replay(base.setup, bars, begin, lists=starts)
    world = base.setup.fresh()
    parts = [
        (piece.decisions.copy(), piece.bars.copy())
        for piece in pieces(base.setup, world, bars, begin, room=room, lists=starts)
    ]
    decisions = np.concatenate([part[0] for part in parts])
    assert decisions.tobytes() == whole.decisions.tobytes()
    shown = np.concatenate([part[1] for part in parts])
    assert shown["ts_ms"].tobytes() == np.ascontiguousarray(decisions["ts_ms"]).tobytes()
    assert world.states.tobytes() == whole.world.states.tobytes()


def test_a_forgotten_list_is_stale(base: Base, lists: Lists) -> None:
    dates = sorted(lists)
    result = backtest_with_lists(base.setup, {dates[0]: lists[dates[0]]})
    stale = result.decisions["gates_blocked"] >> GATE_WATCHLIST_STALE & 1 != 0
    sessions = base.setup.sessions
    after = result.decisions["ts_ms"] > sessions["close_ms"][np.flatnonzero(sessions["date"] == dates[1])[0]]
    rowed = result.decisions["symbol"] < 3
    assert (stale == (after & rowed)).all()


def test_a_run_with_lists_decides_as_the_backtest_with_them(base: Base, lists: Lists, listed_run: Path) -> None:
    result = backtest_with_lists(base.setup, lists)
    with opened(listed_run / "avwapd.db") as record:
        assert record.decisions().tobytes() == result.decisions.tobytes()
        assert record.fills().tobytes() == result.fills.tobytes()
        assert record.transitions().tobytes() == result.transitions.tobytes()
        assert audit(record.conn) == []


def test_verify_takes_the_lists_over_and_counts_them(listed_run: Path, lists: Lists, verify: Verify) -> None:
    code, block, text = verify(listed_run)
    assert (code, block["Result"]) == (0, "PASS"), text
    assert f"taken from the record: {len(lists)} watchlist versions" in text


def test_a_list_that_was_edited_in_the_journal_is_found(
    base: Base, lists: Lists, listed_run: Path, tmp_path: Path, verify: Verify
) -> None:
    state = paper.ran(base.setup, base.state(tmp_path), after=give(lists, base.setup))
    with opened(state / "avwapd.db") as record:
        seq = record.conn.execute("SELECT min(seq) FROM inputs WHERE kind = 'watchlist'").fetchone()[0]
    change = "UPDATE inputs SET body = replace(body, '\"level\":', '\"level\":1') WHERE seq = ?"
    paper.execute(state, change, seq)
    code, block, _ = verify(state)
    assert (code, block["Layer"]) == (1, "decisions")


def test_a_daily_run_with_a_list_a_day(tmp_path: Path) -> None:
    """Each list is there before its own session's bars; the order works at the next open; a run decides alike."""
    market = generate(paper.SYMBOLS, 90, "1d", seed=4)
    setup = build(load(folder=tmp_path, environ={"AVWAPD_RUN__TIMEFRAME": "1d"}), market)
    lists = daily_lists(setup)
    result = backtest_with_lists(setup, lists)
    scanned = result.decisions[result.decisions["setup"] == codes.SETUP_SCAN]
    entries = scanned[scanned["intent"] != 0]
    assert len(entries) >= 5
    assert set(entries["symbol"].tolist()) <= {0, 1, 2}
    fills = result.fills[result.fills["purpose"] == codes.PURPOSE_ENTRY]
    assert set(np.diff(np.searchsorted(np.unique(market.bars["ts_ms"]), [entries["ts_ms"][0], fills["ts_ms"][0]]))) == {
        1
    }
    times = np.unique(market.bars["ts_ms"]).tolist()
    next_date = dict(zip(times[19:], sorted(lists), strict=False))

    def after(live: paper.Live, ts_ms: int) -> None:
        if ts_ms in next_date:
            found = watchlist_of(next_date[ts_ms], lists[next_date[ts_ms]])
            live.take(live.journal.watchlist(found, ts_ms))

    state = paper.ran(setup, tmp_path / "state", after=after)
    with opened(state / "avwapd.db") as record:
        assert record.decisions().tobytes() == result.decisions.tobytes()


def daily_lists(setup: Setup) -> Mapping[int, Any]:
    bars = setup.market.bars
    dates = setup.sessions["date"]
    found = {}
    for ts_ms in np.unique(bars["ts_ms"])[20:]:
        within = bars[bars["ts_ms"] == ts_ms]
        at = int(np.searchsorted(setup.sessions["open_ms"], ts_ms)) - 1
        rows = []
        for bar in within[:4]:
            close = float(bar["close"])
            rows.append(
                story.row(
                    setup.market.symbols[bar["symbol"]],
                    level=round(close * 0.995, 2),
                    stop=round(close * 0.97, 2),
                    r1=round(close * 1.02, 2),
                    r2=round(close * 1.05, 2),
                    execute=bool(bar["symbol"] != 3),
                    rank=int(bar["symbol"]) + 1,
                )
            )
        found[int(dates[at])] = rows
    return found


def test_why_names_the_list_in_force(
    listed_run: Path, base: Base, lists: Lists, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(listed_run / "avwapd.db") as record:
        last = int(record.decisions()["ts_ms"][-1])
        first = int(record.decisions()["ts_ms"][0])
        taken = record.conn.execute("SELECT DISTINCT seq, scan_date, version FROM watchlist ORDER BY seq").fetchall()
    assert cli.main(["--state-dir", str(listed_run), "why", "ASH", str(last), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["watchlist"] == {"scan_date": taken[-2][1], "version": taken[-2][2]}
    assert cli.main(["--state-dir", str(listed_run), "why", "ASH", str(last)]) == 0
    assert f"scan of {taken[-2][1]}, version {taken[-2][2][:12]}" in capsys.readouterr().out
    assert cli.main(["--state-dir", str(listed_run), "why", "ASH", str(first)]) == 0
    assert "scan of" not in capsys.readouterr().out
