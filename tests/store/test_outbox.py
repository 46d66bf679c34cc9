"""An outbox row moves only where the table of moves has a way, and money always finds one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from avwapd.core import codes
from avwapd.store import ImpossibleMove, ledger
from avwapd.store.rows import StepRows
from tests.store import story

ENDED = ("FILLED", "CANCELED", "REJECTED", "EXPIRED", "REPLACED", "STALE", "DENIED")
STATES = ("NEW", "SENDING", "UNKNOWN", "ACKED", "PARTIAL", *ENDED)


def ordered(conn: sqlite3.Connection, state: str) -> None:
    """One entry order whose outbox row is in `state`, by whatever way."""
    entry = story.effect(60_000, 1, codes.PURPOSE_ENTRY, 1, 100)
    ledger.record_step(conn, StepRows(1, "bars", 60_000, effects=[entry]))
    way = {"NEW": [], "SENDING": ["SENDING"], "STALE": ["STALE"], "DENIED": ["DENIED"]}
    for word in way.get(state, ["SENDING", state]):
        if word == "SENDING":
            ledger.mark_sending(conn, 0, 1, 61_000)
        else:
            ledger.mark(conn, 0, 1, word, 62_000)


def heard(conn: sqlite3.Connection, word: str) -> str | None:
    """The state after `word`, None where it is impossible."""
    try:
        if word == "SENDING":
            ledger.mark_sending(conn, 0, 1, 63_000)
            return "SENDING"
        return ledger.mark(conn, 0, 1, word, 63_000)
    except ImpossibleMove:
        return None


def expected(state: str, word: str) -> str | None:
    """The rules in words, against the table in the schema."""
    if word == "FILLED":
        return "FILLED"  # money is never refused
    if word == "SENDING":
        return "SENDING" if state in ("NEW", "UNKNOWN") else None
    if word in ("STALE", "DENIED"):
        return word if state == "NEW" else "DENIED" if state == "DENIED" else None  # by a hard limit, before
    if state in ENDED:
        return state if word != "NEW" else None
    if state == "NEW":
        return "PARTIAL" if word == "PARTIAL" else None
    if word == "UNKNOWN":
        return "UNKNOWN" if state in ("SENDING", "UNKNOWN") else state
    if state == "PARTIAL" and word == "ACKED":
        return "PARTIAL"
    return None if word == "NEW" else word


@pytest.mark.parametrize("state", STATES)
def test_every_word_in_every_state(state: str, conn: sqlite3.Connection) -> None:
    ordered(conn, state)
    for word in STATES:
        conn.execute("SAVEPOINT here")
        assert (word, heard(conn, word)) == (word, expected(state, word))
        conn.execute("ROLLBACK TO here")


def test_the_guard_holds_against_plain_sql(conn: sqlite3.Connection) -> None:
    ordered(conn, "NEW")
    with pytest.raises(sqlite3.IntegrityError, match="impossible outbox move"):
        conn.execute("UPDATE outbox SET state = 'ACKED'")
    with pytest.raises(sqlite3.IntegrityError, match="forgets nothing"):
        conn.execute("DELETE FROM outbox")
    with pytest.raises(sqlite3.IntegrityError, match="begins as NEW"):
        conn.execute(
            "INSERT INTO outbox (symbol_id, intent, kind, cid, state, created_seq, due_ts_ms)"
            " VALUES (0, 2, 'submit', 'av-2', 'SENDING', 1, 0)"
        )


def test_a_late_part_is_counted_while_the_order_stays_ended(conn: sqlite3.Connection) -> None:
    ordered(conn, "CANCELED")
    assert ledger.mark(conn, 0, 1, "PARTIAL", 70_000, filled_qty=30) == "CANCELED"
    request = ledger.request(conn, 0, 1)
    assert request is not None
    assert request.filled_qty == 30
    assert ledger.mark(conn, 0, 1, "FILLED", 71_000, filled_qty=100) == "FILLED"


def test_filled_quantity_never_falls(conn: sqlite3.Connection) -> None:
    ordered(conn, "ACKED")
    ledger.mark(conn, 0, 1, "PARTIAL", 1, filled_qty=60)
    ledger.mark(conn, 0, 1, "PARTIAL", 2, filled_qty=40)
    request = ledger.request(conn, 0, 1)
    assert request is not None
    assert (request.state, request.filled_qty) == ("PARTIAL", 60)


def test_attempts_are_numbered_and_the_end_is_dated_once(conn: sqlite3.Connection) -> None:
    ordered(conn, "NEW")
    assert ledger.mark_sending(conn, 0, 1, 61_000) == 1
    ledger.mark(conn, 0, 1, "UNKNOWN", 61_500, note="read timed out")
    assert ledger.mark_sending(conn, 0, 1, 62_000) == 2
    ledger.mark(conn, 0, 1, "EXPIRED", 63_000)
    ledger.mark(conn, 0, 1, "CANCELED", 64_000)
    row = conn.execute("SELECT state, attempts, sent_ms, settled_ms, note FROM outbox").fetchone()
    assert row == ("EXPIRED", 2, 62_000, 63_000, "read timed out")


def test_an_unknown_row_is_an_error_that_says_so(conn: sqlite3.Connection) -> None:
    with pytest.raises(ImpossibleMove, match="no such row"):
        ledger.mark(conn, 0, 9, "ACKED", 1)


def test_requests_carry_the_terms_of_their_order(tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db", until=9)
    try:
        [cancel] = ledger.pending(conn)
        assert (cancel.kind, cancel.state, cancel.intent, cancel.ref_intent) == ("cancel", "SENDING", 5, 3)
        assert (cancel.purpose, cancel.side, cancel.qty, cancel.stop_ticks) == ("stop", "sell", 50, 9_950)
        assert cancel.ref_venue_id == "v3"
        [stop] = ledger.live(conn)
        assert (stop.kind, stop.cid, stop.venue_id, stop.ref_intent) == ("replace", cancel.ref_cid, "v3", 2)
    finally:
        conn.close()


def test_what_was_being_sent_at_the_end_is_in_doubt(tmp_path: Path) -> None:
    conn = story.tell(tmp_path / "a.db", until=9)
    try:
        assert ledger.doubt_sending(conn) == 1
        assert [r.state for r in ledger.pending(conn)] == ["UNKNOWN"]
        assert ledger.doubt_sending(conn) == 0
    finally:
        conn.close()


def test_pending_keeps_the_order_of_decisions(conn: sqlite3.Connection) -> None:
    exits_first = [
        story.effect(60_000, 1, codes.PURPOSE_ENTRY, 1, 1)._replace(symbol_id=1, cid="av-b"),
        story.effect(60_000, 1, codes.PURPOSE_ENTRY, 1, 2),
    ]
    ledger.record_step(conn, StepRows(1, "bars", 60_000, effects=exits_first))
    later = story.effect(60_000, 2, codes.PURPOSE_STOP, -1, 3, kind=codes.REPLACE, ref=1)
    ledger.record_step(conn, StepRows(2, "report", 60_000, 0, "", effects=[later]))
    assert [(r.symbol, r.intent, r.qty) for r in ledger.pending(conn)] == [("BBB", 1, 1), ("AAA", 1, 2), ("AAA", 2, 3)]


def test_an_id_is_used_once(conn: sqlite3.Connection) -> None:
    ordered(conn, "NEW")
    again = story.effect(60_000, 2, codes.PURPOSE_ENTRY, 1, 5)._replace(
        cid=story.effect(60_000, 1, codes.PURPOSE_ENTRY, 1, 100).cid
    )
    with pytest.raises(sqlite3.IntegrityError, match="cid"):
        ledger.record_step(conn, StepRows(2, "bars", 120_000, effects=[again]))
