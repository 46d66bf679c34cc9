"""One decision in words: bar, AVWAP, every gate's verdict, the first that blocked, what was ordered.

With --scan: why a symbol was a candidate of a day's scan, or where it fell out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from avwapd.config.kinds import Unfit, moment_ms
from avwapd.paths import resolve
from avwapd.verbs.tables import moment, pairs

EXAMPLE = """\
examples:
  avwapd why BIRCH 1763480100000
  avwapd why AAPL 2024-05-02T13:35:00Z --json
  avwapd why SPY 1714656900000 --backtest bt
  avwapd why AAPL 2012-03-09 --scan
"""
GATE = "gate_"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol", metavar="SYMBOL")
    parser.add_argument("ts", metavar="TS", help="the bar's close: ts_ms, or a time with its zone")
    parser.add_argument("--backtest", type=Path, metavar="DIR", help="from a backtest's files, not from the ledger")
    parser.add_argument("--scan", action="store_true", help="the scan of a day, computed again; TS is its date")
    parser.add_argument("--rules-only", action="store_true", help="with --scan: as `avwapd scan --rules-only`")


def run(args: argparse.Namespace) -> int:
    if args.scan:
        from avwapd.verbs.why_scan import run as run_scan

        return run_scan(args)
    try:
        ts_ms = moment_ms(args.ts)
    except Unfit as unfit:
        print(f"avwapd why: TS {unfit}\n  next: avwapd why --help", file=sys.stderr)
        return 64
    if args.backtest is not None:
        row = from_backtest(args.backtest / "decisions.parquet", args.symbol, ts_ms)
    else:
        row = from_ledger(resolve(args.state_dir).database, args.symbol, ts_ms)
    if args.json:
        print(json.dumps(row))
    else:
        for line in pairs(list(told(row))):
            print(line)
    return 0


def from_ledger(database: Path, symbol: str, ts_ms: int) -> Mapping[str, Any]:
    from avwapd.research.record import opened
    from avwapd.research.wide import Widener, shown
    from avwapd.store.gates import outer_at
    from avwapd.store.questions import list_of
    from avwapd.verbs.export import names_of

    with opened(database) as record:
        widener = Widener(names_of(record, None))
        for decisions, bars in record.pieces(ts_ms, ts_ms):
            batch = widener.batch(decisions, bars)
            names = batch.column("symbol").to_pylist()
            if symbol in names:
                of_ledger = {
                    "watchlist": list_of(record.conn, symbol, ts_ms),
                    "outer_closed": outer_at(record.conn, symbol, ts_ms),
                }
                return {**shown(batch, names.index(symbol)), **of_ledger}
    raise absent(symbol, ts_ms, database, "avwapd export decisions | cut -d, -f1-4")


def from_backtest(path: Path, symbol: str, ts_ms: int) -> Mapping[str, Any]:
    import pyarrow.parquet

    if not path.is_file():
        raise absent(symbol, ts_ms, path, "avwapd backtest --help")
    found = pyarrow.parquet.read_table(path, filters=[("ts_ms", "==", ts_ms), ("symbol", "==", symbol)])
    if not len(found):
        raise absent(symbol, ts_ms, path, "a decision's TS is the close of its bar")
    row: Mapping[str, Any] = found.slice(0, 1).to_pylist()[0]
    return row


def absent(symbol: str, ts_ms: int, where: Path, next_step: str) -> Exception:
    from avwapd.research import ResearchError

    return ResearchError(f"no decision about {symbol} at ts_ms {ts_ms}", where, next_step)


def told(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and text of each line."""
    late = ", late: it closed while the daemon was down" if row["late"] else ""
    yield "decision", f"{row['exchange']} {row['symbol']} {row['timeframe']}, bar closed {moment(row['ts_ms'])}{late}"
    if row["close"] is None:
        yield "bar", "none: the feed failed"
    else:
        yield "bar", "  ".join(f"{name} {row[name]:.12g}" for name in ("open", "high", "low", "close", "volume"))
    yield "AVWAP", line_of(row)
    yield "phase", f"{row['phase_before']} -> {row['phase_after']}"
    yield "signal", row["signal"] + (f" ({row['reason']})" if row["reason"] else "")
    verdicts = {name.removeprefix(GATE): word for name, word in row.items() if name.startswith(GATE)}
    for word, label in (("block", "gates blocked"), ("pass", "gates passed"), ("-", "gates not asked")):
        yield label, ", ".join(name for name, verdict in verdicts.items() if verdict == word) or "none"
    yield "first blocked", row["blocked_by"] or "none"
    for closed in row.get("outer_closed") or ():
        yield "outer gate", f"{closed['gate']} closed since {moment(closed['since_ms'])}: {closed['reason']}"
    yield "outcome", outcome(row)
    listed = row.get("watchlist")
    if listed:
        yield "watchlist", f"scan of {listed['scan_date']}, version {listed['version'][:12]}"
    yield "versions", f"rules {row['rules_version']}, code {row['code_version']}"


def line_of(row: Mapping[str, Any]) -> str:
    if row["avwap"] is None:
        return f"unknown ({row['anchor']})"
    gap = (row["close"] - row["avwap"]) / row["avwap"] * 100.0
    return f"{row['avwap']:.12g} ({row['anchor']}), the close lies {gap:+.3f}% from it"


def outcome(row: Mapping[str, Any]) -> str:
    """What was ordered, or why nothing was."""
    terms = "  ".join(f"{name.replace('_', ' ')} {row[name]:.12g}" for name in TERMS if row[name] is not None)
    if row["intent"]:
        at = "market" if row["entry"] is None else f"limit {row['entry']:.12g}"
        return f"ordered: enter {row['side']} {row['qty']:.12g}, {at}  {terms}  (intent {row['intent']})"
    if row["side"] and row["phase_before"] != "FLAT":
        held = f"{row['side']} {row['qty']:.12g}  {terms}"
        return f"leave: {row['reason']}, from {held}" if row["reason"] else f"{row['skip']}: {held}"
    return f"no order: {row['skip'] or 'nothing to do'}"


TERMS = ("stop", "target_1", "target_2")
