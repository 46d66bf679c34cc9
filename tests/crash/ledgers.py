"""Two worlds side by side: what must be equal row by row, and what an order's row said when the process died.

Left out is what a clock or a line decides: wall times, attempts and their notes, the journal's and the venue's own
running numbers (two requests of one bar may arrive in either order), the venue's answer to a cancel said twice, and
the time on its acks: it stamps them with the newest bar it was told of, and a start tells it of one more.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from avwapd.store.audit import audit
from avwapd.store.reader import open_reader

LEDGER = {
    "decisions": "SELECT * FROM decisions ORDER BY ts_ms, symbol_id",
    "trades": """
        SELECT symbol_id, trade, intent, cum_qty, ts_ms, purpose, reason, side, late, qty, price_ticks, fee_units,
            fee_lots, held, best_ticks, worst_ticks, initial_stop_ticks
        FROM fills ORDER BY symbol_id, id""",
    "orders": """
        SELECT symbol_id, intent, cid, purpose, side, type, qty, limit_ticks, stop_ticks, reason, ts_ms,
            replaces_intent, filled_qty
        FROM orders ORDER BY symbol_id, intent""",
    "outbox": """
        SELECT x.symbol_id, x.intent, x.kind, x.cid, x.ref_intent, x.ref_cid, x.state, i.kind, i.ts_ms, x.due_ts_ms
        FROM outbox x JOIN inputs i ON i.seq = x.created_seq ORDER BY x.symbol_id, x.intent""",
    "transitions": """
        SELECT symbol_id, ts_ms, before, after, cause, qty FROM transitions ORDER BY symbol_id, seq, n""",
    "positions": """
        SELECT symbol_id, phase, side, qty, entry_cost, entry_qty, stop_ticks, r1_ticks, r2_ticks, trade, halted,
            halt_reason
        FROM positions ORDER BY symbol_id""",
    "bars": "SELECT ts_ms, symbol_id, flags, open, high, low, close, volume FROM bars ORDER BY ts_ms, symbol_id, seq",
    "anchors": "SELECT * FROM anchors ORDER BY symbol_id, slot, anchor_ms",
    "consumed_entries": "SELECT * FROM consumed_entries ORDER BY symbol_id, session_date, ts_ms",
}
BOOK = {
    "the venue's orders": """
        SELECT cid, symbol, side, type, qty, limit_ticks, stop_ticks, filled_qty, state FROM orders
        ORDER BY cid, number""",
    "the venue's words": """
        SELECT cid, ref_cid, iif(kind = 'acked', 0, ts_ms), kind, final, cum_qty, last_qty, price_ticks, fee_units,
            fee_lots
        FROM words
        WHERE kind <> 'cancel_refused'
        ORDER BY cid, number""",
}
HEARD = "SELECT ifnull(max(json_extract(body, '$.number')), 0) FROM inputs WHERE kind = 'report'"
Tables = dict[str, list[tuple[Any, ...]]]


def tables(ledger: Path, book: Path) -> Tables:
    with closing(open_reader(ledger)) as conn:
        found = {name: conn.execute(query).fetchall() for name, query in LEDGER.items()}
    with closing(open_book(book)) as conn:
        return found | {name: conn.execute(query).fetchall() for name, query in BOOK.items()}


def open_book(book: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{book}?mode=ro", uri=True, timeout=5.0)


def differences(reference: Tables, found: Tables) -> list[str]:
    """One line a table that differs, with its first row that does."""
    lines = []
    for name, wanted in reference.items():
        rows = found[name]
        if rows == wanted:
            continue
        at = next((i for i, pair in enumerate(zip(wanted, rows, strict=False)) if pair[0] != pair[1]), None)
        at = min(len(wanted), len(rows)) if at is None else at
        lines.append(
            f"{name}: {len(rows)} rows for {len(wanted)}; row {at} is {rows[at : at + 1]}, not {wanted[at : at + 1]}"
        )
    return lines


def broken(ledger: Path, book: Path, *, account: str) -> list[str]:
    """The audit's violations, orders that the venue has twice or that are none of ours."""
    with closing(open_reader(ledger)) as conn:
        lines = [str(found) for found in audit(conn, account=account, strategy="avwap")]
        ours = {cid for (cid,) in conn.execute("SELECT cid FROM outbox")}
    with closing(open_book(book)) as conn:
        theirs = conn.execute("SELECT cid, count(*) FROM orders GROUP BY cid").fetchall()
    lines += [f"{cid} has {number} orders at the venue" for cid, number in theirs if number > 1]
    return lines + [f"{cid} is at the venue and in no outbox" for cid, _ in theirs if cid not in ours]


def unheard(ledger: Path, book: Path) -> bool:
    """Whether the venue has said more than the ledger has heard."""
    with closing(open_reader(ledger)) as conn:
        heard = conn.execute(HEARD).fetchone()
    with closing(open_book(book)) as conn:
        return bool(conn.execute("SELECT count(*) FROM words WHERE number > ?", heard).fetchone()[0])


def unlike(ledger: Path, book: Path) -> list[str]:
    """Where the ledger's fills and what the venue has said of them so far differ."""
    with closing(open_reader(ledger)) as conn:
        ours = dict(conn.execute("SELECT cid, filled_qty FROM orders WHERE filled_qty > 0"))
        heard = conn.execute(HEARD).fetchone()
    with closing(open_book(book)) as conn:
        told = "SELECT cid, sum(last_qty) FROM words WHERE kind = 'filled' AND number <= ? GROUP BY cid"
        theirs = dict(conn.execute(told, heard))
    return [
        f"{cid}: {ours.get(cid, 0)} booked, {theirs.get(cid, 0)} told"
        for cid in sorted(ours.keys() | theirs.keys())
        if ours.get(cid, 0) != theirs.get(cid, 0)
    ]


def in_doubt(ledger: Path) -> list[str]:
    """Ids of orders that nobody can tell about."""
    query = "SELECT cid FROM outbox WHERE state = 'UNKNOWN' AND kind <> 'cancel' ORDER BY id"
    with closing(open_reader(ledger)) as conn:
        return [cid for (cid,) in conn.execute(query)]


def halted(ledger: Path) -> list[int]:
    with closing(open_reader(ledger)) as conn:
        return [symbol for (symbol,) in conn.execute("SELECT symbol_id FROM positions WHERE halted ORDER BY symbol_id")]


def moments(ledger: Path, book: Path) -> set[str]:
    """What a kill found: the words of launch.POINTS that hold of the rows it left. Both files are read as they lie."""
    if not ledger.exists():
        return set()
    with closing(open_reader(ledger)) as conn:
        if not conn.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'outbox'").fetchone()[0]:
            return set()
        waiting = conn.execute("SELECT state, cid FROM outbox WHERE state IN ('NEW', 'SENDING', 'UNKNOWN')").fetchall()
        booked = conn.execute(HEARD).fetchone()
    with closing(open_book(book)) as conn:
        there = {cid for (cid,) in conn.execute("SELECT cid FROM orders")}
        unheard = conn.execute("SELECT count(*) FROM words WHERE kind = 'filled' AND number > ?", booked).fetchone()
    found = {"filled"} if unheard[0] else set()
    for state, cid in waiting:
        found.add({"NEW": "new", "SENDING": "sending", "UNKNOWN": "asking"}[state])
        if state == "SENDING" and cid in there:
            found.add("accepted")
    return found
