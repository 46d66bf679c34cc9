"""Each invariant is broken once in a sound ledger, by force, and the audit says which."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from avwapd.store.audit import CHECKS, audit
from avwapd.store.sql import statements
from tests.store import story

IN_PYTHON = {"i1_foreign_id", "i1_derived_id", "i3_snapshot", "i3_watchlist_version"}


def loose(table: str) -> str:
    """The table without its keys and constraints."""
    return f"CREATE TABLE t AS SELECT * FROM {table}; DROP TABLE {table}; ALTER TABLE t RENAME TO {table};"


TWICE = """INSERT INTO scan_anchors
SELECT symbol, kind, 20990101, anchor_date, rule_version, known_date, NULL, seq FROM scan_anchors
WHERE superseded_by IS NULL;"""

# check -> (inputs of the story that are told, what is done to the rows)
BROKEN: dict[str, tuple[int, str]] = {
    "i1_cid_twice": (11, loose("orders") + "UPDATE orders SET cid = (SELECT min(cid) FROM orders);"),
    "i1_intent_twice": (11, loose("outbox") + "UPDATE outbox SET intent = 1 WHERE intent = 2;"),
    "i1_request_without_order": (11, "DELETE FROM orders WHERE intent = 2;"),
    "i1_order_without_request": (11, "DELETE FROM outbox WHERE intent = 2;"),
    "i1_foreign_id": (11, "UPDATE outbox SET cid = 'av-13' WHERE intent = 1;"),
    "i1_derived_id": (11, "UPDATE orders SET ts_ms = ts_ms + 1 WHERE intent = 1;"),
    "i2_unsettled_after_clean_end": (3, "UPDATE instance SET ended_ms = 5; UPDATE outbox SET state = 'UNKNOWN';"),
    "i2_overtaken": (11, "UPDATE outbox SET state = 'NEW' WHERE intent = 2;"),
    "i2_long_in_doubt": (
        3,
        "UPDATE outbox SET state = 'UNKNOWN', sent_ms = 1000; INSERT INTO beats VALUES (700000, '');",
    ),
    "i3_journal_gap": (11, "DELETE FROM inputs WHERE seq = 5;"),
    "i3_bar_without_input": (11, "UPDATE inputs SET ts_ms = ts_ms + 1 WHERE seq = 9;"),
    "i3_effect_lost": (11, "DELETE FROM outbox WHERE intent = 2;"),
    "i3_fill_without_report": (11, "UPDATE fills SET seq = 9 WHERE exec_id = 'x3';"),
    "i3_adjustment_not_booked": (16, "UPDATE fills SET fee_units = fee_units + 1 WHERE exec_id = 'hand-2';"),
    "i3_adjustment_unexplained": (16, "UPDATE inputs SET body = replace(body, 'bought by hand', '') WHERE seq = 16;"),
    "i3_snapshot": (11, "UPDATE snapshots SET body = CAST('world 12' AS BLOB) WHERE seq = 11;"),
    "i3_watchlist_without_input": (13, "UPDATE watchlist SET version = 'x' WHERE seq = 12 AND rank = 2;"),
    "i3_watchlist_row_lost": (13, "DELETE FROM watchlist WHERE seq = 13;"),
    "i3_watchlist_version": (13, "UPDATE inputs SET body = replace(body, '\"rank\":2', '\"rank\":3') WHERE seq = 12;"),
    "i3_scan_anchor_twice": (13, TWICE),
    "i3_scan_anchor_lost": (13, "DELETE FROM scan_anchors WHERE superseded_by IS NULL;"),
    "i4_position": (8, "UPDATE positions SET qty = 51;"),
    "i4_execution_twice": (
        11,
        loose("fills") + "INSERT INTO fills SELECT * FROM fills WHERE exec_id = 'x1';",
    ),
    "i4_order_filled": (11, "UPDATE orders SET filled_qty = 99 WHERE intent = 1;"),
    "i4_cumulative": (11, "UPDATE fills SET cum_qty = 101 WHERE exec_id = 'x1';"),
    "i4_filled_state": (11, "UPDATE outbox SET state = 'CANCELED' WHERE intent = 1;"),
    "i4_entry_cost": (8, "UPDATE positions SET entry_cost = entry_cost + 1;"),
    "i5_bars_turn_back": (11, "UPDATE bars SET ts_ms = 60000 WHERE seq = 9 AND symbol_id = 1;"),
    "i5_decision_without_bar": (11, "DELETE FROM bars WHERE seq = 9;"),
    "i5_bar_without_decision": (11, "DELETE FROM decisions WHERE ts_ms = 240000 AND symbol_id = 1;"),
    "i7_sent_without_sending": (11, "UPDATE outbox SET attempts = 0 WHERE intent = 3;"),
    "i7_never_sent_yet_attempted": (11, "UPDATE outbox SET state = 'STALE' WHERE intent = 3;"),
    "i7_filled_unsent": (11, "UPDATE outbox SET attempts = 0 WHERE intent = 1;"),
    "i7_entry_beyond_decision": (11, "UPDATE decisions SET qty = 99 WHERE intent = 1;"),
    "i8_reduce_beyond_position": (5, "UPDATE orders SET qty = 101 WHERE intent = 2;"),
    "i8_exit_flips": (11, "UPDATE fills SET qty = 151 WHERE exec_id = 'x2';"),
    "i10_impossible_move": (11, "UPDATE transitions SET cause = 'filled', after = 'OPEN' WHERE seq = 2;"),
    "i10_portfolio_move": (
        11,
        "INSERT INTO transitions VALUES (11, 9, 1, -1, 'blocked', 'blocked', 'unblock', 0);",
    ),
    "i10_broken_chain": (11, "DELETE FROM transitions WHERE seq = 4;"),
    "i10_phase_of_position": (8, "UPDATE positions SET phase = 'EXITING';"),
    "i10_flat_means_nothing": (11, "UPDATE outbox SET state = 'ACKED' WHERE intent = 3;"),
}


def found(conn: sqlite3.Connection) -> set[str]:
    return {v.check for v in audit(conn, account=story.ACCOUNT, strategy=story.STRATEGY)}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The story at several inputs, told once."""
    folder = tmp_path_factory.mktemp("told")
    paths = {until: folder / f"{until}.db" for until in (3, 5, 8, 11, 13, 16)}
    for until, path in paths.items():
        story.tell(path, until).close()
    return paths


def broken(source: Path, target: Path, script: str) -> sqlite3.Connection:
    """A copy with every guard down and the script run."""
    conn = sqlite3.connect(shutil.copyfile(source, target), isolation_level=None)
    conn.execute("PRAGMA ignore_check_constraints = ON")
    for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        conn.execute(f"DROP TRIGGER {name}")
    for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'view'").fetchall():
        conn.execute(f"DROP VIEW {name}")
    for statement in statements(script.replace(";", ";\n")):
        conn.execute(statement)
    return conn


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_ledger_is_told_apart(check: str, told: dict[int, Path], tmp_path: Path) -> None:
    until, script = BROKEN[check]
    conn = broken(told[until], tmp_path / "broken.db", script)
    try:
        assert check in found(conn)
    finally:
        conn.close()


@pytest.mark.parametrize(
    ("check", "script"),
    [
        ("i3_adjustment_not_booked", "DELETE FROM fills WHERE exec_id = 'hand-2/2';"),
        ("i3_adjustment_not_booked", "UPDATE fills SET price_ticks = 9901 WHERE exec_id = 'hand-2/2';"),
        ("i3_adjustment_not_booked", "UPDATE fills SET exec_id = 'else' WHERE exec_id = 'hand-1';"),
        ("i3_adjustment_not_booked", "UPDATE fills SET side = 'sell' WHERE exec_id = 'hand-1';"),
        ("i3_fill_without_report", "UPDATE fills SET purpose = 'exit' WHERE exec_id = 'hand-1';"),
        ("i3_fill_without_report", "UPDATE fills SET purpose = 'restate' WHERE exec_id = 'x3';"),
        ("i4_position", "UPDATE positions SET qty = 11;"),
        ("i4_entry_cost", "UPDATE positions SET entry_cost = entry_cost + 1;"),
        ("i4_entry_cost", "UPDATE positions SET entry_qty = entry_qty + 1;"),
        ("i10_impossible_move", "UPDATE transitions SET cause = 'filled' WHERE cause = 'adjusted';"),
    ],
)
def test_the_books_hold_for_what_other_hands_did(
    check: str, script: str, told: dict[int, Path], tmp_path: Path
) -> None:
    conn = broken(told[16], tmp_path / "broken.db", script)
    try:
        assert check in found(conn)
    finally:
        conn.close()


def test_every_check_is_broken_once() -> None:
    assert set(BROKEN) == set(CHECKS) | IN_PYTHON


@pytest.mark.parametrize("until", range(17))
def test_the_story_is_sound_after_every_input(until: int, tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db", until)
    try:
        assert found(conn) == set()
    finally:
        conn.close()


def test_an_alert_that_names_the_order_settles_the_doubt(told: dict[int, Path], tmp_path: Path) -> None:
    until, script = BROKEN["i2_unsettled_after_clean_end"]
    named = "INSERT INTO alerts (ts_ms, level, what) SELECT 1, 'critical', 'in doubt: ' || cid FROM outbox;"
    conn = broken(told[until], tmp_path / "broken.db", script + named)
    try:
        assert found(conn) == set()
    finally:
        conn.close()


def test_a_violation_reads_like_a_sentence(told: dict[int, Path], tmp_path: Path) -> None:
    conn = broken(told[8], tmp_path / "broken.db", "UPDATE positions SET qty = 51;")
    try:
        [first, *_] = [str(v) for v in audit(conn) if v.check == "i4_position"]
    finally:
        conn.close()
    assert first == "I4 symbol_id 0: position 51, fills sum to 50"
