"""A list of the scan: which files are believed, what the ledger keeps of it, and that the journal folds it again."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from avwapd.store import ledger, questions, watchlist
from avwapd.store.rows import StepRows
from avwapd.store.sql import transact
from avwapd.store.watchlist import WatchlistRefused, parse, records, version_of
from tests.store import story
from tests.store.story import anchor, listed, row


def file_of(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(listed(*rows, anchors=[anchor("AAA", 20120301)]).body)
    return {**found, **changes}


def parsed(content: object) -> watchlist.Watchlist:
    return parse(json.dumps(content).encode(), "watchlist.json")


def test_what_a_scan_wrote_is_taken() -> None:
    found = parsed(file_of(row("AAA"), row("BBB", side=-1, stop=103, r1=96, r2=92.5, tier="B", execute=False)))
    assert (found.scan_date, len(found.rows), len(found.anchors)) == (20120309, 2, 1)
    assert found.version == version_of(found.scan_date, found.rows, found.anchors)
    assert watchlist.of_body(found.body) == found
    assert parsed(file_of()).rows == ()


BAD = {
    "format": {"format": 2},
    "scan_date": {"scan_date": 20120230},
    "data_hash": {"data_hash": None},
    "rows": {"rows": {}},
    "anchors": {"anchors": [7]},
}
BAD_ROW = {
    "symbol": {"symbol": ""},
    "side": {"side": 0},
    "side_": {"side": True},
    "tier": {"tier": "C"},
    "level": {"level": math.nan},
    "stop": {"stop": "97"},
    "r2": {"r2": 1e300},
    "price": {"price": 0.0},
    "atr": {"atr": -1.0},
    "swing_low": {"swing_low": True},
    "execute": {"execute": 1},
    "confluence": {"confluence": 0},
    "anchor_date": {"anchor_date": 2012},
    "stop_": {"stop": 100.0},
    "first target": {"r1": 99.99},
    "second target": {"r2": 103.99},
    "stop__": {"side": -1},
    "sector": {"sector": None},
}


@pytest.mark.parametrize("said", BAD)
def test_a_file_with_a_fault_is_refused(said: str) -> None:
    with pytest.raises(WatchlistRefused, match=said.strip("_")):
        parsed(file_of(row("AAA"), **BAD[said]))


@pytest.mark.parametrize("said", BAD_ROW)
def test_a_row_with_a_fault_is_refused_and_named(said: str) -> None:
    rows = [{**row("AAA"), "rank": 1}, {**row("BBB"), **BAD_ROW[said], "rank": 2}]
    try:
        version = version_of(20120309, rows, [anchor("AAA", 20120301)])
    except ValueError:
        version = "0"
    with pytest.raises(WatchlistRefused, match=r"row 2|no JSON") as caught:
        parsed(file_of(rows=rows, version=version))
    assert said.strip("_") in caught.value.what or "NaN" in caught.value.what
    assert "avwapd scan" in caught.value.next_step


def test_doubles_a_changed_row_and_no_json() -> None:
    with pytest.raises(WatchlistRefused, match="AAA is there twice"):
        parsed(file_of(row("AAA"), row("AAA")))
    changed = file_of(row("AAA"))
    changed["rows"][0]["level"] = 100.01
    with pytest.raises(WatchlistRefused, match="not the hash of its content"):
        parsed(changed)
    for text in (b"", b"[]", b"{", b"\xff", b'{"format": 1, "scan_date": NaN}', b"[" * 100_000):
        with pytest.raises(WatchlistRefused):
            parse(text, "here")


def test_no_file_and_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert watchlist.read(tmp_path / "watchlist.json") is None
    with pytest.raises(WatchlistRefused, match="cannot be read"):
        watchlist.read(tmp_path)
    path = tmp_path / "watchlist.json"
    path.write_text(json.dumps(file_of(row("AAA"))))
    found = watchlist.read(path)
    assert found is not None
    assert found.rows[0]["symbol"] == "AAA"


def test_rows_for_the_engine() -> None:
    rows = listed(row("BBB", tier="B", execute=False, swing_high=None), row("ZZZ"), row("AAA", side=-1)).rows
    found, missing = records(rows, 20120309, ("AAA", "BBB"))
    assert missing == ("ZZZ",)
    assert found["symbol"].tolist() == [1, 0]
    assert found["tier"].tolist() == [2, 1]
    assert found["execute"].tolist() == [0, 1]
    assert found["side"].tolist() == [1, -1]
    assert set(found["scan_date"].tolist()) == {20120309}
    assert (found["level"][0], found["r2"][0], found["slope"][0], found["atr"][0]) == (100.0, 108.0, 0.01, 2.0)
    assert math.isnan(found["swing_low"][0])
    assert math.isnan(found["swing_high"][0])
    assert found["swing_high"][1] == 109.0


def take(conn: sqlite3.Connection, seq: int, found: watchlist.Watchlist) -> None:
    step = StepRows(seq, "watchlist", 1_000 + seq, None, found.body, watchlist=found)
    transact(lambda c: ledger.record_step(c, step))(conn)


def anchors_of(conn: sqlite3.Connection) -> list[tuple[Any, ...]]:
    columns = "symbol, kind, scan_date, anchor_date, superseded_by"
    return conn.execute(f"SELECT {columns} FROM scan_anchors ORDER BY symbol, kind, scan_date, anchor_date").fetchall()


def test_the_ledger_keeps_rows_in_columns(conn: sqlite3.Connection) -> None:
    found = listed(row("AAA"), row("ZZZ", side=-1, execute=False))
    take(conn, 1, found)
    rows = conn.execute(
        """SELECT seq, rank, scan_date, version, symbol, side, tier, execute, level, stop, taken_ms, swing_low
        FROM watchlist"""
    ).fetchall()
    assert rows == [
        (1, 1, 20120309, found.version, "AAA", "long", "A", 1, 100.0, 97.0, 1_001, None),
        (1, 2, 20120309, found.version, "ZZZ", "short", "A", 0, 100.0, 97.0, 1_001, None),
    ]
    for change in ("UPDATE watchlist SET level = 1", "DELETE FROM watchlist"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            conn.execute(change)


def test_an_anchor_is_superseded_and_never_rewritten(conn: sqlite3.Connection) -> None:
    take(conn, 1, listed(anchors=[anchor("AAA", 20120301), anchor("AAA", 20120302, "MTD"), anchor("BBB", 20120301)]))
    take(conn, 2, listed(scan_date=20120312, anchors=[anchor("AAA", 20120301), anchor("AAA", 20120305, "MTD")]))
    assert anchors_of(conn) == [
        ("AAA", "Gap", 20120309, 20120301, None),  # first seen then, still there
        ("AAA", "MTD", 20120309, 20120302, 20120305),
        ("AAA", "MTD", 20120312, 20120305, None),
        ("BBB", "Gap", 20120309, 20120301, None),  # the second list does not speak of it
    ]
    take(conn, 3, listed(scan_date=20120313, anchors=[anchor("AAA", 20120302, "MTD")]))
    assert anchors_of(conn)[1:4] == [
        ("AAA", "MTD", 20120309, 20120302, 20120305),
        ("AAA", "MTD", 20120312, 20120305, 20120302),
        ("AAA", "MTD", 20120313, 20120302, None),
    ]
    for change in (
        "UPDATE scan_anchors SET anchor_date = 20120101 WHERE superseded_by IS NULL",
        "UPDATE scan_anchors SET superseded_by = NULL WHERE superseded_by IS NOT NULL",
        "UPDATE scan_anchors SET superseded_by = 20120401 WHERE superseded_by IS NOT NULL",
        "UPDATE scan_anchors SET superseded_by = 20120401, known_date = 20130101 WHERE superseded_by IS NULL",
        "DELETE FROM scan_anchors",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="never rewritten"):
            conn.execute(change)


def test_several_anchors_of_one_kind_stand_side_by_side(conn: sqlite3.Connection) -> None:
    take(conn, 1, listed(anchors=[anchor("AAA", 20120301, "User"), anchor("AAA", 20120305, "User")]))
    assert [found[-1] for found in anchors_of(conn)] == [None, None]


def test_a_decision_knows_its_list(conn: sqlite3.Connection) -> None:
    """The one that was in force when its bar came, whatever came later."""
    minute = story.MINUTE

    def bars(seq: int, ts_ms: int) -> None:
        step = StepRows(seq, "bars", ts_ms, bars=story.bars(ts_ms), decisions=story.decisions(ts_ms))
        transact(lambda c: ledger.record_step(c, step))(conn)

    first, second = listed(row("AAA")), listed(scan_date=20120312)
    bars(1, minute)
    take(conn, 2, first)
    bars(3, 2 * minute)
    take(conn, 4, second)
    bars(5, 3 * minute)
    found = [questions.list_of(conn, "AAA", n * minute) for n in (1, 2, 3)]
    assert found == [
        None,
        {"scan_date": 20120309, "version": first.version},
        {"scan_date": 20120312, "version": second.version},
    ]


def test_a_setting_younger_than_the_ledger_had_its_default(conn: sqlite3.Connection) -> None:
    from avwapd.store import RulesChanged
    from avwapd.store.rows import RunRow

    run = RunRow("r", 1, "paper", 1, "c", "h", "p", "v", "1", "sim", "1m", "[]", 1, "[]", '{"a.old": 1}')
    transact(lambda c: ledger.begin_run(c, run))(conn)
    transact(lambda c: ledger.record_step(c, StepRows(1, "caught_up", 1)))(conn)
    ledger.assert_rules(conn, {"a.old": 1, "b.new": True}, {"a.old": 7, "b.new": True})
    with pytest.raises(RulesChanged, match=r"b\.new was True, is False"):
        ledger.assert_rules(conn, {"a.old": 1, "b.new": False}, {"a.old": 7, "b.new": True})
    with pytest.raises(RulesChanged, match=r"a\.old was 1, is 7"):
        ledger.assert_rules(conn, {"a.old": 7, "b.new": True}, {"a.old": 7, "b.new": True})
