"""Decisions or trades of a run as a file, with the columns a backtest writes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avwapd.config.kinds import Unfit, moment_ms
from avwapd.paths import resolve

if TYPE_CHECKING:
    from avwapd.research.record import Record

EXAMPLE = """\
examples:
  avwapd export trades --out trades.csv
  avwapd export decisions --from 2025-11-17 --to 2025-11-21 --out week.parquet
  avwapd export decisions | awk -F, '$4==1763480100000'
"""
FAR_PAST, FAR_FUTURE = -(2**62), 2**62


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("decisions", "trades"))
    parser.add_argument("--run", metavar="ID", help="default: the newest")
    parser.add_argument("--from", dest="start", type=first_moment, default=FAR_PAST, metavar="T")
    parser.add_argument("--to", dest="end", type=last_moment, default=FAR_FUTURE, metavar="T")
    parser.add_argument("--out", type=Path, metavar="FILE", help=".csv or .parquet (default: CSV to standard output)")


def run(args: argparse.Namespace) -> int:
    if args.out is not None and args.out.suffix not in (".csv", ".parquet"):
        print(f"avwapd export: {args.out.name} is neither .csv nor .parquet\n  next: --out F.csv", file=sys.stderr)
        return 64
    from avwapd.research.record import opened

    with opened(resolve(args.state_dir).database) as record:
        row = record.run(args.run)
        rows = (export_decisions if args.what == "decisions" else export_trades)(record, args)
    if args.out is not None:
        facts = {"out": str(args.out), "rows": rows, "run": row.run_id}
        print(json.dumps(facts) if args.json else f"{rows} {args.what} of run {row.run_id} to {args.out}")
    return 0


def export_decisions(record: Record, args: argparse.Namespace) -> int:
    from avwapd.research.output import DecisionCsv, DecisionParquet
    from avwapd.research.wide import Widener

    sink: Any
    if args.out is None:
        sink = DecisionCsv(sys.stdout.buffer)
    else:
        sink = DecisionCsv(args.out) if args.out.suffix == ".csv" else DecisionParquet(args.out)
    widener = Widener(names_of(record, args.run))
    with sink:
        for decisions, bars in record.pieces(args.start, args.end):
            sink.add(widener.batch(decisions, bars))
    return int(sink.rows)


def names_of(record: Record, run_id: str | None) -> Any:
    from avwapd.research.wide import Names

    row = record.run(run_id)
    ticks, lots = [inst.tick for inst in record.instruments], [inst.lot for inst in record.instruments]
    names = (row.exchange, row.timeframe, record.symbols, ticks, lots, record.anchor())
    return Names(*names, row.rules_version, row.code_version)


def export_trades(record: Record, args: argparse.Namespace) -> int:
    from avwapd.research import output
    from avwapd.research.trades import trades

    row = record.run(args.run)
    found = trades(
        record.fills(),
        record.symbols,
        record.terms(),
        exchange=row.exchange,
        timeframe=row.timeframe,
        setups=record.setups(),
    )
    found = [trade for trade in found if args.start <= trade.exit_ts_ms <= args.end]
    if args.out is None:
        sys.stdout.write(output.trades_csv(found))
    elif args.out.suffix == ".csv":
        output.write_text(args.out, output.trades_csv(found))
    else:
        output.write_table(args.out, output.trades_table(found))
    return len(found)


def first_moment(text: str, *, end: bool = False) -> int:
    try:
        return moment_ms(text, end=end)
    except Unfit as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def last_moment(text: str) -> int:
    return first_moment(text, end=True)
