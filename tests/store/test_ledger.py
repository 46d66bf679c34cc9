"""Rows go in as the core has them, come out as people and the loader want them, and stay as they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from avwapd.core import codes
from avwapd.core.records import BAR
from avwapd.store import EpochFenced, InstrumentsChanged, RulesChanged, ledger, notes
from avwapd.store.rows import AnchorRow, GateRow, RunRow, StepRows
from avwapd.store.sql import transact
from tests.store import story
from tests.store.story import MINUTE

NEWEST_GATES = (
    "SELECT gate, closed, reason, ts_ms FROM gates WHERE id IN (SELECT max(id) FROM gates GROUP BY gate) ORDER BY gate"
)


def test_a_barrier_comes_back_bit_for_bit(conn: sqlite3.Connection) -> None:
    rows = np.array(story.bars(MINUTE), BAR)
    rows["close"] = 0.1 + 0.2
    ledger.record_step(conn, StepRows(1, "bars", MINUTE, body="{}", bars=rows.tolist()))
    [got] = ledger.inputs_after(conn, 0)
    assert got.bars is not None
    assert got[:5] == (1, "bars", MINUTE, None, "{}")
    assert got.bars.tobytes() == rows.tobytes()


def test_a_missing_bar_and_its_late_arrival_belong_to_their_own_inputs(conn: sqlite3.Connection) -> None:
    missing = story.bars(MINUTE, flags=codes.BAR_MISSING)
    silent = story.bars(MINUTE, flags=codes.BAR_SILENT)
    ledger.record_step(conn, StepRows(1, "bars", MINUTE, bars=missing, decisions=story.decisions(MINUTE, flags=2)))
    ledger.record_step(conn, StepRows(2, "report", MINUTE + 1, 0, "{}"))
    ledger.record_step(conn, StepRows(3, "bars", MINUTE, bars=silent))
    ledger.record_step(conn, StepRows(4, "bars", 2 * MINUTE))
    first, report, third, empty = ledger.inputs_after(conn, 0)
    assert first.bars is not None
    assert third.bars is not None
    assert empty.bars is not None
    assert np.isnan(first.bars["close"]).all()
    assert report.bars is None
    assert third.bars["flags"].tolist() == [64, 64]
    assert len(empty.bars) == 0


def test_loading_starts_after_the_snapshot(tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db")
    try:
        snapshot = ledger.load_snapshot(conn)
        assert snapshot == (11, 4 * MINUTE + 9, b"world 11", ())
        assert [i.seq for i in ledger.inputs_after(conn, 8)] == [9, 10, 11]
        assert (ledger.last_seq(conn), ledger.last_bar_ts(conn)) == (11, 4 * MINUTE)
    finally:
        conn.close()


def test_a_damaged_snapshot_is_passed_over_and_named(tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db")
    try:
        conn.execute("UPDATE snapshots SET body = x'00' WHERE seq = 11")
        assert ledger.load_snapshot(conn) == (1, MINUTE, b"world 1", (11,))
    finally:
        conn.close()


def test_only_the_newest_snapshots_are_kept(conn: sqlite3.Connection) -> None:
    for seq in range(1, 6):
        ledger.record_step(conn, StepRows(seq, "caught_up", MINUTE, snapshot=bytes([seq])))
    kept = [row[0] for row in conn.execute("SELECT seq FROM snapshots")]
    assert kept == [3, 4, 5]


@pytest.mark.parametrize("table", ["inputs", "decisions", "fills", "transitions"])
def test_history_is_append_only(table: str, tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db")
    try:
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET ts_ms = 0"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                conn.execute(statement)
    finally:
        conn.close()


def test_the_journal_has_no_gaps(conn: sqlite3.Connection) -> None:
    ledger.record_step(conn, StepRows(1, "caught_up", 0))
    with pytest.raises(sqlite3.IntegrityError, match="no gaps"):
        ledger.record_step(conn, StepRows(3, "caught_up", 0))


def test_one_bad_row_undoes_the_whole_step(conn: sqlite3.Connection) -> None:
    bad = StepRows(1, "bars", MINUTE, bars=story.bars(MINUTE), decisions=story.decisions(MINUTE) * 2)
    with pytest.raises(sqlite3.IntegrityError):
        transact(lambda c: ledger.record_step(c, bad))(conn)
    assert ledger.last_seq(conn) == 0
    assert ledger.last_bar_ts(conn) == 0


def test_a_bar_without_prices_is_refused(conn: sqlite3.Connection) -> None:
    hollow = story.bars(MINUTE, flags=codes.BAR_MISSING)
    flagless = [(ts, symbol, 0, *prices) for ts, symbol, _, *prices in hollow]
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        ledger.record_step(conn, StepRows(1, "bars", MINUTE, bars=flagless))


def test_decisions_read_as_words(tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db")
    conn.row_factory = sqlite3.Row
    try:
        row = dict(conn.execute("SELECT * FROM decision_words WHERE intent = 1").fetchone())
        assert (row["symbol"], row["signal"], row["phase_before"], row["phase_after"]) == (
            "AAA",
            "entry",
            "FLAT",
            "ENTERING",
        )
        assert (row["utc"], row["close"], row["qty"], row["late"]) == ("1970-01-01 00:02:00", 100.25, 100.0, 0)
        held = dict(conn.execute("SELECT * FROM order_words WHERE purpose = 'entry'").fetchone())
        assert (held["side"], held["state"], held["filled"], held["venue_id"]) == ("buy", "FILLED", 100.0, "v1")
        stood = dict(conn.execute("SELECT * FROM position_words").fetchone())
        assert (stood["phase"], stood["side"], stood["stop_price"]) == ("FLAT", "", 99.5)
    finally:
        conn.close()


def test_blocked_gates_are_named_in_order(conn: sqlite3.Connection) -> None:
    blocked = 1 << codes.GATE_BAD_TICKER | 1 << codes.GATE_LATE | 1 << codes.GATE_REGIME
    rows = story.decisions(MINUTE, gates_asked=blocked, gates_blocked=blocked, skip=codes.SKIP_GATE)
    ledger.record_step(conn, StepRows(1, "bars", MINUTE, bars=story.bars(MINUTE), decisions=rows))
    got = conn.execute("SELECT first_blocked, blocked FROM decision_words WHERE symbol = 'AAA'").fetchone()
    assert got == ("late", "late regime bad_ticker")


def test_portfolio_rows_speak_of_blocks_not_of_phases(conn: sqlite3.Connection) -> None:
    row = (MINUTE, -1, 0, 1, codes.CAUSE_BLOCK_DRAWDOWN, 0, 0)
    ledger.record_step(conn, StepRows(1, "bars", MINUTE, transitions=[row, story.move(MINUTE, 0, 1, 1, 0)]))
    rows = conn.execute("SELECT n, before, after, cause FROM transitions").fetchall()
    assert rows == [(0, "unblocked", "blocked", "block_drawdown"), (1, "FLAT", "ENTERING", "ordered")]


def test_an_anchor_names_its_successor(conn: sqlite3.Connection) -> None:
    for seq, anchor_ms in enumerate((1, 5, 5), 1):
        row = AnchorRow(0, 2, codes.ANCHOR_SWING_LOW, "1", anchor_ms, anchor_ms + 3)
        ledger.record_step(conn, StepRows(seq, "bars", anchor_ms, anchors=[row]))
    rows = conn.execute("SELECT anchor_ms, kind, superseded_by FROM anchors").fetchall()
    assert rows == [(1, "swing_low", 5), (5, "swing_low", None)]


def test_gates_now_is_the_last_word_of_each(conn: sqlite3.Connection) -> None:
    gates = [GateRow(1, 1, "regime", 1, "off"), GateRow(None, 2, "live", 1, "unarmed"), GateRow(1, 3, "regime", 0, "")]
    ledger.record_step(conn, StepRows(1, "act", 1, gates=gates))
    got = conn.execute(NEWEST_GATES).fetchall()
    assert got == [("live", 1, "unarmed", 2), ("regime", 0, "", 3)]


def test_the_same_execution_is_never_booked_twice(tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db")
    again = story.fill("x1", 1, 1, codes.PURPOSE_ENTRY, 1, 100, 10_025, 100)
    try:
        with pytest.raises(sqlite3.IntegrityError, match=r"fills\.exec_id"):
            ledger.record_step(conn, StepRows(12, "report", 1, 0, "{}", fills=[again]))
    finally:
        conn.close()


# ------------------------------------------------------------------------------------------- who writes


def test_an_older_epoch_is_fenced(conn: sqlite3.Connection) -> None:
    ledger.assert_epoch(conn, 1)
    assert ledger.begin_epoch(conn, 2_000, 43, "elsewhere", "boot") == 2
    with pytest.raises(EpochFenced, match="pid 43 on elsewhere"):
        ledger.assert_epoch(conn, 1)


def test_a_clean_end_is_noted(conn: sqlite3.Connection) -> None:
    ledger.end_epoch(conn, 1, 9_000)
    assert conn.execute("SELECT ended_ms FROM instance").fetchone() == (9_000,)


def test_instruments_keep_their_numbers(conn: sqlite3.Connection) -> None:
    more = [*story.instruments(), story.instruments()[0]._replace(symbol="AAB")]
    ids = ledger.register_instruments(conn, more)
    assert ids == {("sim", "AAA"): 0, ("sim", "BBB"): 1, ("sim", "AAB"): 2}


def test_a_tick_cannot_change_under_its_rows(conn: sqlite3.Connection) -> None:
    with pytest.raises(InstrumentsChanged, match="sim AAA"):
        ledger.register_instruments(conn, [story.instruments()[0]._replace(tick="0.001")])


def test_a_code_cannot_change_its_meaning(conn: sqlite3.Connection) -> None:
    conn.execute("UPDATE words SET word = 'OPENING' WHERE kind = 'phase' AND code = 1")
    with pytest.raises(InstrumentsChanged, match="OPENING"):
        ledger.sync_words(conn)


def test_new_words_are_added(conn: sqlite3.Connection) -> None:
    conn.execute("DELETE FROM words WHERE kind = 'gate' AND code > 20")
    ledger.sync_words(conn)
    (count,) = conn.execute("SELECT count(*) FROM words WHERE kind = 'gate'").fetchone()
    assert count == len(codes.GATES)


def test_a_run_is_described(conn: sqlite3.Connection) -> None:
    run = RunRow("r1", 1, "paper", 1, "c", "h", "p", "cal", "rules", "sim", "1m", '["AAA"]', 7, "[0,1]")
    ledger.begin_run(conn, run)
    assert conn.execute("SELECT run_id, seed FROM runs").fetchone() == ("r1", 7)


@pytest.mark.parametrize(("before", "now", "fits"), [
    ("paper", "paper", True), ("paper", "live", False), ("live", "paper", False), ("replay", "live", False),
    ("replay", "replay", True), ("live", "dry-run", True), ("dry-run", "live", True),
])  # fmt: skip
def test_orders_of_one_market_are_not_carried_on_in_another(before: str, now: str, fits: bool, tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db", 16)
    try:
        run = RunRow("r1", 1, before, 1, "c", "h", "p", "cal", "rules", "sim", "1m", '["AAA"]', 7, "[0,1]")
        ledger.begin_run(conn, run)
        if fits:
            ledger.assert_mode(conn, now)
        else:
            with pytest.raises(RulesChanged, match="this ledger has orders of mode"):
                ledger.assert_mode(conn, now)
    finally:
        conn.close()


def test_a_ledger_without_orders_fits_every_mode(conn: sqlite3.Connection) -> None:
    run = RunRow("r1", 1, "paper", 1, "c", "h", "p", "cal", "rules", "sim", "1m", '["AAA"]', 7, "[0,1]")
    ledger.begin_run(conn, run)
    ledger.assert_mode(conn, "live")


def test_every_order_is_known_at_a_start(tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db", 16)
    try:
        known = ledger.known_orders(conn)
        assert [(row[1], *row[2:]) for row in known] == [
            ("AAA", 1, 100, 100, "FILLED", "v1"),
            ("AAA", -1, 100, 0, "REPLACED", "v2"),
            ("AAA", -1, 50, 0, "CANCELED", "v3"),
            ("AAA", -1, 50, 50, "FILLED", ""),
            ("AAA", -1, 50, 50, "FILLED", ""),
            ("AAA", -1, 20, 0, "ACKED", "v7"),
        ]
        assert {row[0] for row in known} == {cid for cid, *_ in ledger.order_ids(conn)}
    finally:
        conn.close()


def test_every_execution_is_known_also_one_that_added_nothing(tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db", 16)
    try:
        doubled = StepRows(17, "report", 7 * story.MINUTE, 0, '{"exec_id":"x9","kind":"filled"}')
        transact(lambda conn: ledger.record_step(conn, doubled))(conn)
        silent = StepRows(18, "report", 7 * story.MINUTE, 0, '{"exec_id":"","kind":"acked"}')
        transact(lambda conn: ledger.record_step(conn, silent))(conn)
        assert ledger.exec_ids(conn) == {"x1", "x2", "x3", "x9", "hand-1", "hand-2", "hand-2/2"}
    finally:
        conn.close()


def test_thousands_of_orders_are_known_at_once(conn: sqlite3.Connection) -> None:
    t = story.MINUTE
    effects = [story.effect(t, n, codes.PURPOSE_STOP, -1, 1) for n in range(1, 5_001)]
    ledger.record_step(conn, StepRows(1, "caught_up", t, effects=effects))
    assert len(ledger.known_orders(conn)) == 5_000
    plan = conn.execute("EXPLAIN QUERY PLAN " + ledger.SQL["known_orders"]).fetchall()
    assert [row[3].split()[0] for row in plan].count("SCAN") == 1, plan


def test_the_venues_first_books_stay(conn: sqlite3.Connection) -> None:
    assert ledger.first_venue_books(conn) is None
    day = 86_400_000
    for at, difference in ((0, ""), (1, ""), (2, "AAA: venue 3, ledger 0"), (3, ""), (9, "")):
        books = {"cash": f"{at}.50", "equity": "", "holdings": {"AAA": "3"}}
        notes.venue_books(conn, ts_ms=at * day, difference=difference, **books)
    first = ledger.first_venue_books(conn)
    assert first == ledger.VenueBooks(0, "0.50", "", {"AAA": "3"}, True, "")
    kept = conn.execute("SELECT ts_ms, agreed FROM venue_books ORDER BY id").fetchall()
    assert kept == [(0, 1), (2 * day, 0), (9 * day, 1)]


def test_a_revision_is_noted_once_and_never_changed(conn: sqlite3.Connection) -> None:
    for _ in range(2):
        notes.revision(conn, ts_ms=60_000, symbol_id=0, known_ms=99, kind="revised", values=(1.0, 2.0, 0.5, 1.5, 10.0))
    assert conn.execute("SELECT count(*) FROM revisions").fetchone() == (1,)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        conn.execute("UPDATE revisions SET close = 2.0")
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        notes.revision(conn, ts_ms=60_000, symbol_id=0, known_ms=100, kind="other", values=(1.0, 2.0, 0.5, 1.5, 10.0))


def test_an_alert_is_found_by_its_words(conn: sqlite3.Connection) -> None:
    notes.alert(conn, ts_ms=50, level="warning", what="AAA: 3 more than the ledger has")
    assert notes.alerted(conn, what="AAA: 3 more than the ledger has")
    assert not notes.alerted(conn, what="AAA: 3 more than the ledger has", since_ms=51)
    assert not notes.alerted(conn, what="AAA: 3")
