"""A small true story for the ledger: one trade from bar to flat, told through the same functions the daemon calls."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from avwapd.core import codes
from avwapd.core.records import BAR, DECISION
from avwapd.store import ledger
from avwapd.store.database import open_sync
from avwapd.store.ids import client_id
from avwapd.store.migrate import Migrations
from avwapd.store.rows import AnchorRow, InstrumentRow, Move, OutboxRow, PositionRow, StepRows
from avwapd.store.sql import Connection, transact
from avwapd.store.watchlist import Watchlist, version_of

ACCOUNT, STRATEGY = "paper-1", "avwap"
SYMBOLS = ("AAA", "BBB")
MINUTE = 60_000
NAN = float("nan")


def instruments(count: int = 2) -> list[InstrumentRow]:
    names = SYMBOLS if count == 2 else [f"S{i:05}" for i in range(count)]
    return [InstrumentRow("sim", name, "1m", "equity", "USD", "0.01", "1", "1", "0", "XNYS", "hlc3") for name in names]


def bars(ts_ms: int, count: int = 2, flags: int = 0) -> list[Any]:
    rows = np.zeros(count, BAR)
    rows["ts_ms"] = ts_ms
    rows["symbol"] = np.arange(count)
    rows["flags"] = flags
    for name in ("open", "high", "low", "close"):
        rows[name] = NAN if flags & codes.BAR_MISSING else 100.25 + np.arange(count)
    rows["volume"] = NAN if flags & codes.BAR_MISSING else 1200.0
    return rows.tolist()  # type: ignore[no-any-return]


def decisions(ts_ms: int, count: int = 2, **of_first: Any) -> list[Any]:
    rows = np.zeros(count, DECISION)
    rows["ts_ms"] = ts_ms
    rows["symbol"] = np.arange(count)
    rows["skip"] = codes.SKIP_NO_SIGNAL
    rows["level"] = NAN
    for name, value in of_first.items():
        rows[0][name] = value
    return rows.tolist()  # type: ignore[no-any-return]


def effect(
    ts_ms: int, intent: int, purpose: int, side: int, qty: int, *, kind: int = codes.SUBMIT, ref: int = 0, stop: int = 0
) -> OutboxRow:
    cid = client_id(ACCOUNT, STRATEGY, SYMBOLS[0], ts_ms, codes.PURPOSES[purpose], intent)
    type_ = codes.STOP if purpose == codes.PURPOSE_STOP else codes.MARKET
    reason = codes.EXIT_STOP if purpose == codes.PURPOSE_STOP else codes.EXIT_NONE
    due = ts_ms + 5 * MINUTE
    return OutboxRow(ts_ms, 0, intent, ref, kind, purpose, side, type_, qty, 0, stop, reason, cid, due)


def fill(exec_id: str, ts_ms: int, intent: int, purpose: int, side: int, qty: int, price: int, held: int) -> Any:
    late, fee, fee_lots = 0, 0, 0
    reason = codes.EXIT_R1 if purpose == codes.PURPOSE_TRIM else codes.EXIT_NONE
    return (
        *(exec_id, qty, ts_ms, 0, intent, 1, purpose, reason, side, late),
        *(qty, price, fee, fee_lots, held, price, price, 9_900),
    )


def move(ts_ms: int, before: int, after: int, cause: int, qty: int) -> Any:
    return (ts_ms, 0, before, after, cause, 0, qty)


def position(phase: int, qty: int, stop: int = 9_900) -> PositionRow:
    return PositionRow(0, phase, 1, qty, 100 * 10_025, 100, stop, 10_200, 10_400, 1, 0, "")


def steps() -> Iterator[StepRows | tuple[int, int]]:
    """The inputs of the trade; a pair (symbol_id, intent) stands for the router's SENDING in between."""
    t = [MINUTE * i for i in range(10)]
    entry, stop, half, trim, leave = 1, 2, 3, 4, 6
    yield StepRows(1, "bars", t[1], bars=bars(t[1]), decisions=decisions(t[1]), snapshot=b"world 1")
    yield StepRows(
        2,
        "bars",
        t[2],
        bars=bars(t[2]),
        decisions=decisions(t[2], intent=entry, signal=codes.SIGNAL_ENTRY, skip=0, qty=100, phase_after=1, side=1),
        transitions=[move(t[2], codes.FLAT, codes.ENTERING, codes.CAUSE_ORDERED, 0)],
        effects=[effect(t[2], entry, codes.PURPOSE_ENTRY, 1, 100)],
        positions=[position(codes.ENTERING, 0)],
        anchors=[AnchorRow(0, 0, codes.ANCHOR_SESSION, "1", t[1], t[1])],
    )
    yield 0, entry
    yield StepRows(3, "report", t[2] + 5, 0, '{"kind":"acked"}', outbox_moves=[Move(0, entry, "ACKED", venue_id="v1")])
    yield StepRows(
        4,
        "report",
        t[2] + 9,
        0,
        '{"kind":"filled"}',
        fills=[fill("x1", t[2] + 9, entry, codes.PURPOSE_ENTRY, 1, 100, 10_025, 100)],
        transitions=[move(t[2] + 9, codes.ENTERING, codes.OPEN, codes.CAUSE_FILLED, 100)],
        effects=[effect(t[2], stop, codes.PURPOSE_STOP, -1, 100, stop=9_900)],
        positions=[position(codes.OPEN, 100)],
        consumed=[(0, 19700101, t[2] + 9)],
        outbox_moves=[Move(0, entry, "FILLED", 100)],
    )
    yield 0, stop
    yield StepRows(5, "report", t[2] + 20, 0, "{}", outbox_moves=[Move(0, stop, "ACKED", venue_id="v2")])
    yield StepRows(
        6,
        "bars",
        t[3],
        bars=bars(t[3]),
        decisions=decisions(t[3], skip=codes.SKIP_IN_POSITION, qty=100, phase_before=2, phase_after=2),
        effects=[effect(t[3], half, codes.PURPOSE_STOP, -1, 50, kind=codes.REPLACE, ref=stop, stop=9_950)],
        positions=[position(codes.OPEN, 100, 9_950)],
    )
    yield 0, half
    yield StepRows(
        7,
        "report",
        t[3] + 7,
        0,
        "{}",
        outbox_moves=[Move(0, stop, "REPLACED"), Move(0, half, "ACKED", venue_id="v3")],
        effects=[effect(t[3], trim, codes.PURPOSE_TRIM, -1, 50)],
    )
    yield 0, trim
    yield StepRows(
        8,
        "report",
        t[3] + 9,
        0,
        "{}",
        fills=[fill("x2", t[3] + 9, trim, codes.PURPOSE_TRIM, -1, 50, 10_200, 50)],
        positions=[position(codes.OPEN, 50, 9_950)],
        outbox_moves=[Move(0, trim, "FILLED", 50)],
    )
    yield StepRows(
        9,
        "bars",
        t[4],
        bars=bars(t[4]),
        decisions=decisions(t[4], skip=0, qty=50, exit=codes.EXIT_TIME, phase_before=2, phase_after=3),
        transitions=[move(t[4], codes.OPEN, codes.EXITING, codes.CAUSE_EXIT, 50)],
        effects=[effect(t[4], 5, codes.PURPOSE_STOP, -1, 0, kind=codes.CANCEL, ref=half)],
        positions=[position(codes.EXITING, 50, 9_950)],
    )
    yield 0, 5
    yield StepRows(
        10,
        "report",
        t[4] + 4,
        0,
        "{}",
        effects=[effect(t[4], leave, codes.PURPOSE_EXIT, -1, 50)],
        outbox_moves=[Move(0, 5, "ACKED"), Move(0, half, "CANCELED")],
    )
    yield 0, leave
    yield StepRows(
        11,
        "report",
        t[4] + 9,
        0,
        "{}",
        fills=[fill("x3", t[4] + 9, leave, codes.PURPOSE_EXIT, -1, 50, 10_300, 0)],
        transitions=[move(t[4] + 9, codes.EXITING, codes.FLAT, codes.CAUSE_CLOSED, 0)],
        positions=[position(codes.FLAT, 0, 9_950)],
        outbox_moves=[Move(0, leave, "FILLED", 50)],
        snapshot=b"world 11",
    )


def listed(*rows: Mapping[str, Any], scan_date: int = 20120309, anchors: Iterable[Mapping[str, Any]] = ()) -> Watchlist:
    """A list of the scan; a row is `row(symbol, …)`."""
    ranked = tuple({**row, "rank": n + 1} for n, row in enumerate(rows))
    kept = tuple(anchors)
    return Watchlist(scan_date, version_of(scan_date, ranked, kept), "1", "data", "config", ranked, kept)


def row(symbol: str, **changes: Any) -> dict[str, Any]:
    """A long row: level 100, stop 97, targets 104 and 108."""
    return {
        "symbol": symbol,
        "side": 1,
        "tier": "A",
        "price": 101.0,
        "level": 100.0,
        "stop": 97.0,
        "r1": 104.0,
        "r2": 108.0,
        "trend_score": 12.5,
        "dist_pct": 1.0,
        "sector": "Energy",
        "anchor": "Gap",
        "rank": 1,
        "anchor_date": 20120301,
        "slope": 0.01,
        "confluence": 2,
        "atr": 2.0,
        "swing_low": None,
        "swing_high": 109.0,
        "execute": True,
        **changes,
    }


def anchor(symbol: str, anchor_date: int, kind: str = "Gap") -> dict[str, Any]:
    dates = {"anchor_date": anchor_date, "known_date": anchor_date}
    return {"symbol": symbol, "kind": kind, "rule_version": 1, **dates}


def lists() -> Iterator[StepRows]:
    """Two lists after the trade: AAA's gap is superseded, BBB's stands, the second knows a symbol that nobody has."""
    first = listed(row("AAA"), row("BBB", side=-1, stop=103.0, r1=96.0, r2=92.0, tier="B"),
                   anchors=[anchor("AAA", 20120301), anchor("BBB", 20120302)])  # fmt: skip
    second = listed(row("ZZZ"), scan_date=20120312, anchors=[anchor("AAA", 20120312), anchor("ZZZ", 20120301)])
    for seq, found in ((12, first), (13, second)):
        yield StepRows(seq, "watchlist", 5 * MINUTE, None, found.body, watchlist=found)


def adjustment(seq: int, qty: int, price: int, fee: int, exec_id: str) -> str:
    fields = {"qty": qty, "price_ticks": price, "fee_units": fee, "exec_id": exec_id, "reason": "bought by hand"}
    return json.dumps(fields)


def hands() -> Iterator[StepRows | tuple[int, int]]:
    """Other hands bought 20 of AAA, then sold 30: through zero; the stop of the first is still live."""
    ts_ms, stop = 6 * MINUTE, 7
    yield StepRows(
        14,
        "adjust",
        ts_ms,
        0,
        adjustment(14, 20, 10_000, 7, "hand-1"),
        fills=[restated("hand-1", ts_ms, 2, 1, 20, 10_000, 7, 20)],
        transitions=[move(ts_ms, codes.FLAT, codes.OPEN, codes.CAUSE_ADJUSTED, 20)],
        effects=[effect(ts_ms, stop, codes.PURPOSE_STOP, -1, 20, stop=9_700)],
        positions=[PositionRow(0, codes.OPEN, 1, 20, 20 * 10_000, 20, 9_700, 10_300, 10_600, 2, 0, "")],
    )
    yield 0, stop
    yield StepRows(15, "report", ts_ms + 1, 0, "{}", outbox_moves=[Move(0, stop, "ACKED", venue_id="v7")])
    yield StepRows(
        16,
        "adjust",
        ts_ms + 2,
        0,
        adjustment(16, -30, 9_900, 3, "hand-2"),
        fills=[
            restated("hand-2", ts_ms + 2, 2, -1, 20, 9_900, 3, 0),
            restated("hand-2/2", ts_ms + 2, 3, -1, 10, 9_900, 0, 10),
        ],
        effects=[effect(ts_ms, 8, codes.PURPOSE_STOP, -1, 0, kind=codes.CANCEL, ref=stop)],
        positions=[PositionRow(0, codes.OPEN, -1, 10, 10 * 9_900, 10, 10_200, 9_600, 9_300, 3, 0, "")],
    )


def restated(exec_id: str, ts_ms: int, trade: int, side: int, qty: int, price: int, fee: int, held: int) -> Any:
    purpose, reason = codes.PURPOSE_RESTATE, codes.EXIT_OPERATOR
    prices = (price, price, 9_700)
    return (exec_id, 0, ts_ms, 0, 0, trade, purpose, reason, side, 0, qty, price, fee, 0, held, *prices)


def tell_one(conn: Connection, part: StepRows | tuple[int, int]) -> None:
    if isinstance(part, StepRows):
        ledger.record_step(conn, part)
    else:
        ledger.mark_sending(conn, *part, now_ms=1_000_000)


def begin(conn: Connection) -> int:
    epoch = ledger.begin_epoch(conn, 1_000, 42, "host", "boot")
    ledger.register_instruments(conn, instruments())
    return epoch


def tell(path: Path, until: int = 11, migrations: Migrations | None = None) -> sqlite3.Connection:
    """A ledger with the story up to input `until`, each part its own transaction; 12, 13 are lists, 14 to 16 hands."""
    conn = open_sync(path, migrations=migrations)
    transact(begin)(conn)
    for part in chain(steps(), lists(), hands()):
        if isinstance(part, StepRows) and part.seq > until:
            break
        transact(lambda conn, part=part: tell_one(conn, part))(conn)  # type: ignore[misc]
    return conn
