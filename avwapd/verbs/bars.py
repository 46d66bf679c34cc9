"""The bar archive: put bars in or fetch them, see what is there, look for oddities, take bars out."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from avwapd.config.kinds import TIMEFRAME_MS, Unfit, moment_ms
from avwapd.paths import resolve
from avwapd.verbs.bars_fetch import EXAMPLE as FETCH_EXAMPLE
from avwapd.verbs.tables import moment, table

if TYPE_CHECKING:
    from avwapd.store.archive import Archive, Holding
    from avwapd.verbs.bars_import import Outcome

EXAMPLE = """\
examples:
  avwapd bars import SPY.parquet --exchange us --symbol SPY --timeframe 5m
  avwapd bars import old.csv --exchange us --symbol IBM --timeframe 1d --stamp start
  avwapd bars fetch --exchange alpaca --symbols SPY,AAPL --timeframe 1m --from 2024-05-01
  avwapd bars list
  avwapd bars check --exchange us --timeframe 1d
  avwapd bars actions factors/*.csv --exchange us
  avwapd bars actions --list --exchange us --symbol AAPL
  avwapd bars export --exchange us --timeframe 1d --symbols SPY,IBM --from 2020-01-01 --out bars.csv
"""
MISFIT = 0.01  # the share of prices beside the tick from which an import is not simply done
SHOWN = 20  # lines about one symbol on a terminal; --json has them all
SETTABLE = ("asset", "quote", "tick", "lot", "calendar", "min_qty", "min_notional")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", required=True, metavar="import|fetch|list|check|actions|export")
    put = acts.add_parser("import", help="files of bars into the archive", epilog=EXAMPLE)
    put.add_argument("files", nargs="+", type=Path, metavar="FILE", help="Parquet, Feather or CSV")
    put.add_argument("--exchange", required=True)
    put.add_argument("--symbol", help="whose bars; not needed where a symbol column says it")
    put.add_argument("--timeframe", required=True, choices=TIMEFRAME_MS)
    put.add_argument("--stamp", choices=("start", "close"), help="what the time column names (ts_ms: the close)")
    put.add_argument("--strict", action="store_true", help="one bad row keeps its whole file out")
    for name in SETTABLE:
        put.add_argument(f"--{name.replace('_', '-')}", help="instead of what the data says, at the first import")
    get = acts.add_parser("fetch", help="a venue's history into the archive; resumes", epilog=FETCH_EXAMPLE)
    get.add_argument("--exchange", help="alpaca, binance, kraken or another as ccxt names it (default: venue.name)")
    get.add_argument("--symbols", type=_names, default=(), metavar="A,B", help="default: run.symbols")
    get.add_argument("--universe", action="store_true", help="every symbol of the newest universe snapshot")
    get.add_argument("--timeframe", choices=TIMEFRAME_MS, help="default: run.timeframe")
    get.add_argument("--from", dest="start", type=_moment, metavar="T", help="default: as far as a warm-up looks back")
    get.add_argument("--to", dest="end", type=_last_moment, metavar="T", help="default: the last closed bar")
    get.add_argument("--actions", action="store_true", help="splits and dividends too")
    for name in SETTABLE:
        get.add_argument(f"--{name.replace('_', '-')}", help="instead of what the venue says, at the first fetch")
    seen = acts.add_parser("list", help="what is there", epilog=EXAMPLE)
    look = acts.add_parser("check", help="gaps, duplicates, outliers, probable splits", epilog=EXAMPLE)
    look.add_argument("--strict", action="store_true", help="an oddity is a failure")
    split = acts.add_parser("actions", help="splits and dividends into the archive", epilog=EXAMPLE)
    split.add_argument("files", nargs="*", type=Path, metavar="FILE", help="factor files, or lists of events, as CSV")
    split.add_argument("--exchange", required=True)
    split.add_argument("--symbol", help="whose factors one file holds, instead of the file's name; with --list, whose")
    split.add_argument("--replace", action="store_true", help="the file is right where it contradicts what is there")
    split.add_argument("--list", action="store_true", help="what is there")
    take = acts.add_parser("export", help="bars to a file", epilog=EXAMPLE)
    take.add_argument("--out", required=True, type=Path, metavar="FILE", help="Parquet, Feather or CSV")
    for act, needed in ((seen, False), (look, False), (take, True)):
        act.add_argument("--exchange", required=needed)
        act.add_argument("--timeframe", required=needed, choices=TIMEFRAME_MS)
        act.add_argument("--symbols", type=_names, default=(), metavar="A,B")
    take.add_argument("--from", dest="start", type=_moment, metavar="T")
    take.add_argument("--to", dest="end", type=_last_moment, metavar="T")


def run(args: argparse.Namespace) -> int:
    from avwapd.store.archive import Archive

    archive = Archive(resolve(args.state_dir).archive)
    if args.act == "actions":
        from avwapd.verbs.bars_actions import run_actions

        return run_actions(archive, args)
    if args.act == "fetch":
        from avwapd.verbs.bars_fetch import run_fetch

        return run_fetch(archive, args)
    if args.act == "check":
        from avwapd.verbs.bars_check import run_check

        return run_check(archive, args)
    acts = {"import": run_import, "list": run_list, "export": run_export}
    return acts[args.act](archive, args)


# ----------------------------------------------------------------- import


def run_import(archive: Archive, args: argparse.Namespace) -> int:
    """0 where every row is in, 1 where one was refused or a file not understood, 2 where prices miss the tick."""
    from avwapd.store import StoreError
    from avwapd.verbs.bars_import import import_file

    wanted = {name: getattr(args, name) for name in SETTABLE}
    outcomes: list[Outcome] = []
    failures: list[StoreError] = []
    for number, path in enumerate(args.files, start=1):
        progress(f"[{number}/{len(args.files)}] {path.name}")
        try:
            done = import_file(
                archive,
                path,
                exchange=args.exchange,
                timeframe=args.timeframe,
                symbol=args.symbol,
                stamp=args.stamp,
                strict=args.strict,
                wanted=wanted,
            )
            outcomes += done
            for outcome in done if not args.json else ():
                tell_outcome(outcome)
        except StoreError as error:
            failures.append(error)
            for line in (f"avwapd: {error.what}", f"  where: {error.where}", f"  next: {error.next_step}"):
                print(line, file=sys.stderr)
    if args.json:
        errors = [{"what": e.what, "where": e.where, "next_step": e.next_step} for e in failures]
        print(json.dumps({"imported": [asdict(outcome) for outcome in outcomes], "errors": errors}))
    if failures or any(outcome.refused for outcome in outcomes):
        return 1
    return 2 if any(outcome.misfit > MISFIT for outcome in outcomes) else 0


def tell_outcome(outcome: Outcome) -> None:
    from avwapd.verbs.bars_import import WORDS

    head = f"{outcome.exchange} {outcome.symbol} {outcome.timeframe}: "
    head += f"{outcome.added} of {outcome.rows} bars added"
    if outcome.unchanged:
        head += f", {outcome.unchanged} were there already"
    print(head + (f", {len(outcome.refused)} refused" if outcome.refused else ""))
    if outcome.note:
        print(f"  {outcome.note}")
    if outcome.warning:
        print(f"  warning: {outcome.warning}", file=sys.stderr)
    for row, ts_ms, reason in outcome.refused[:SHOWN]:
        print(f"  refused row {row}, ts_ms {ts_ms}: {reason} ({WORDS[reason]})", file=sys.stderr)
    if outcome.refused:
        counted = ", ".join(f"{count} {reason}" for reason, count in sorted(outcome.reasons.items()))
        print(f"  refused in {outcome.file}: {counted}", file=sys.stderr)
        print("  next: correct these rows and import the file again; good rows are kept once", file=sys.stderr)


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}\r", end="", file=sys.stderr, flush=True)


# -------------------------------------------------------------------- list


def wanted_holdings(archive: Archive, args: argparse.Namespace) -> list[Holding]:
    return [
        held
        for held in archive.holdings(args.exchange, args.timeframe)
        if not args.symbols or held.symbol in args.symbols
    ]


def run_list(archive: Archive, args: argparse.Namespace) -> int:
    found = wanted_holdings(archive, args)
    if args.json:
        print(json.dumps({"bars": [held._asdict() for held in found]}))
    elif not found:
        print("no bars\n  next: avwapd bars import --help")
    else:
        shown = [
            {**held._asdict(), "first_ms": moment(held.first_ms), "last_ms": moment(held.last_ms)} for held in found
        ]
        print("\n".join(table(shown)))
    return 0


# ------------------------------------------------------------------ export


def run_export(archive: Archive, args: argparse.Namespace) -> int:
    from avwapd.store.archive_file import ArchiveError
    from avwapd.store.barfile import write_bars

    bars = archive.read(args.exchange, args.timeframe, args.symbols, args.start, args.end)
    if not len(bars):
        raise ArchiveError("no bars of that kind", archive.root, "see `avwapd bars list` for what is there")
    write_bars(bars, args.out)
    if args.json:
        print(json.dumps({"out": str(args.out), "bars": len(bars)}))
    else:
        print(f"{len(bars)} bars to {args.out}")
    return 0


# --------------------------------------------------------------- arguments


def _names(text: str) -> tuple[str, ...]:
    return tuple(sorted({name.strip() for name in text.split(",") if name.strip()}))


def _moment(text: str, *, end: bool = False) -> int:
    try:
        return moment_ms(text, end=end)
    except Unfit as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _last_moment(text: str) -> int:
    return _moment(text, end=True)
