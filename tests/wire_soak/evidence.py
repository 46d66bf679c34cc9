"""A ledger, read into what the explainer compares."""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.wire_soak.explain import BOOK, HALT, LATE, ORDER
from tests.wire_soak.rows import Decision, Fill, Firing, Move, Run, Trace

FIELDS = (
    "gates_asked, gates_blocked, signal, skip, exit, setup, phase_before, phase_after, side, flags, level,"
    " limit_ticks, stop_ticks, r1_ticks, r2_ticks"
)
LATE_MS = 15_000  # an order that leaves half a half bar after its bar may miss the next one's opening
AFTER_MS = 5_000  # and what follows a fill, named by the close of its bar, half a bar after the fill
WENT_WRONG = ("REJECTED", "EXPIRED", "DENIED", "STALE", "UNKNOWN", "SENDING", "NEW")


def read(database: Path, opens: Sequence[int], since_ms: int, until_ms: int = 1 << 62) -> Run:
    """What happened behind the one time and up to the other; bars from the beginning of history."""
    span = (since_ms, until_ms)
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as conn:
        names = dict(conn.execute("SELECT symbol_id, symbol FROM instruments"))
        decisions = {
            (ts_ms, names[symbol]): Decision(tuple(what), qty)
            for ts_ms, symbol, qty, *what in conn.execute(
                f"SELECT ts_ms, symbol_id, qty, {FIELDS} FROM decisions WHERE ts_ms > ? AND ts_ms <= ?", span
            )
        }
        moves = [
            Move(ts_ms, names[symbol], *rest)
            for ts_ms, symbol, *rest in conn.execute(
                "SELECT ts_ms, symbol_id, before, after, cause, qty FROM transitions"
                " WHERE ts_ms > ? AND ts_ms <= ? AND symbol_id >= 0 ORDER BY seq, n",
                span,
            )
        ]
        fills, heard = _fills(conn, names, span)
        bars: dict[tuple[int, str], tuple[Any, ...]] = defaultdict(tuple)
        for ts_ms, symbol, *row in conn.execute(
            "SELECT ts_ms, symbol_id, flags, open, high, low, close, volume FROM bars WHERE ts_ms <= ? ORDER BY seq",
            (until_ms,),
        ):
            bars[ts_ms, names[symbol]] += (tuple(row),)
        traces = _traces(conn, names, span) + _overtaken(heard, sorted({ts_ms for ts_ms, _ in bars}))
    return Run(decisions, moves, fills, dict(bars), heard, traces, opens)


def _fills(
    conn: sqlite3.Connection, names: Mapping[int, str], span: tuple[int, int]
) -> tuple[list[Fill], dict[Fill, tuple[int, ...]]]:
    folded = conn.execute("SELECT seq, ts_ms FROM inputs WHERE kind = 'bars' ORDER BY seq").fetchall()
    seqs = [seq for seq, _ in folded]
    fills, heard = [], defaultdict(tuple)
    for seq, ts_ms, symbol, *rest in conn.execute(
        "SELECT seq, ts_ms, symbol_id, purpose, reason, side, qty, price_ticks FROM fills"
        " WHERE ts_ms > ? AND ts_ms <= ? ORDER BY seq",
        span,
    ):
        fill = Fill(ts_ms, names[symbol], *rest)
        before = bisect_left(seqs, seq)
        fills.append(fill)
        heard[fill] += (folded[before - 1][1] if before else 0,)
    return fills, dict(heard)


def _overtaken(heard: Mapping[Fill, tuple[int, ...]], times: Sequence[int]) -> list[Trace]:
    """Bars that were folded after a fill of a later bar."""
    found = []
    for fill, slots in heard.items():
        newest_ms = times[max(0, bisect_left(times, fill.ts_ms) - 1)]
        if min(slots) < newest_ms < fill.ts_ms:
            what = f"the bars of {newest_ms} came after a fill of {fill.ts_ms}"
            found.append(Trace(fill.ts_ms, fill.symbol, LATE, what, newest_ms))
    return found


def _traces(conn: sqlite3.Connection, names: Mapping[int, str], span: tuple[int, int]) -> list[Trace]:
    """Orders that went another way than an order goes, halts and adjustments."""
    found = []
    for symbol, state, kind, attempts, note, sent_ms, settled_ms, ts_ms, caused in conn.execute(
        "SELECT x.symbol_id, x.state, x.kind, x.attempts, x.note, x.sent_ms, x.settled_ms, i.ts_ms, i.kind"
        " FROM outbox x JOIN inputs i ON i.seq = x.created_seq WHERE i.ts_ms > ? AND i.ts_ms <= ?",
        span,
    ):
        refused = state in WENT_WRONG
        wrong = (note is not None or attempts > 1 or refused) and kind != "cancel"
        end_ms = max(ts_ms, sent_ms or 0, (settled_ms or 0) if refused else 0)
        told = f"{kind} {state} after {attempts} attempts: {note}"
        if wrong or note is not None:
            found.append(Trace(end_ms, names[symbol], ORDER, told, ts_ms))
        limit_ms = ts_ms + (LATE_MS if caused == "bars" else AFTER_MS)
        if sent_ms is not None and sent_ms > limit_ms:
            what = f"{kind} left {(sent_ms - ts_ms) / 1000:.0f} s after its {caused}"
            found.append(Trace(sent_ms, names[symbol], LATE, what, ts_ms))
    for ts_ms, kind, symbol, body in conn.execute(
        "SELECT ts_ms, kind, ifnull(symbol_id, -1), body FROM inputs WHERE kind IN ('act', 'adjust', 'restate')"
        " AND ts_ms > ? AND ts_ms <= ?",
        span,
    ):
        facts = json.loads(body)
        of = [names[symbol]] if symbol in names else list(names.values())
        where = HALT if kind == "act" else BOOK
        found += [Trace(ts_ms, name, where, f"{kind}: {facts}", ts_ms) for name in of]
    return found


def firings(log: Iterable[Mapping[str, Any]]) -> list[Firing]:
    """The venue's log."""
    return [Firing(int(one["ts_ms"]), one["fault"], one["where"], one.get("symbol") or "") for one in log]
