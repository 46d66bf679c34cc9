"""The bar archive: put bars in, see what is there, look for oddities, take bars out."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avwapd.config.kinds import TIMEFRAME_MS, Unfit, moment_ms
from avwapd.paths import resolve
from avwapd.verbs.tables import moment, table

if TYPE_CHECKING:
    from avwapd.store.archive import Archive, Holding
    from avwapd.store.survey import Finding, Grid
    from avwapd.verbs.bars_import import Outcome

EXAMPLE = """\
examples:
  avwapd bars import SPY.parquet --exchange us --symbol SPY --timeframe 5m
  avwapd bars import old.csv --exchange us --symbol IBM --timeframe 1d --stamp start
  avwapd bars list
  avwapd bars check --exchange us --timeframe 1d
  avwapd bars export --exchange us --timeframe 1d --symbols SPY,IBM --from 2020-01-01 --out bars.csv
"""
MISFIT = 0.01  # the share of prices beside the tick from which an import is not simply done
SHOWN = 20  # lines about one symbol on a terminal; --json has them all
BROKEN = ("damaged", "duplicate", "disorder")
SILENT_MS = 900_000  # without a trade, and no gap in a market with sessions
SETTABLE = ("asset", "quote", "tick", "lot", "calendar", "min_qty", "min_notional")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", required=True, metavar="import|list|check|export")
    put = acts.add_parser("import", help="files of bars into the archive", epilog=EXAMPLE)
    put.add_argument("files", nargs="+", type=Path, metavar="FILE", help="Parquet, Feather or CSV")
    put.add_argument("--exchange", required=True)
    put.add_argument("--symbol", help="whose bars; not needed where a symbol column says it")
    put.add_argument("--timeframe", required=True, choices=TIMEFRAME_MS)
    put.add_argument("--stamp", choices=("start", "close"), help="what the time column names (ts_ms: the close)")
    put.add_argument("--strict", action="store_true", help="one bad row keeps its whole file out")
    for name in SETTABLE:
        put.add_argument(f"--{name.replace('_', '-')}", help="instead of what the data says, at the first import")
    seen = acts.add_parser("list", help="what is there", epilog=EXAMPLE)
    look = acts.add_parser("check", help="gaps, duplicates, outliers, probable splits", epilog=EXAMPLE)
    look.add_argument("--strict", action="store_true", help="an oddity is a failure")
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
    acts = {"import": run_import, "list": run_list, "check": run_check, "export": run_export}
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


# ------------------------------------------------------------- list, check


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


def run_check(archive: Archive, args: argparse.Namespace) -> int:
    """0 nothing odd, 1 damage, 2 oddities (with --strict also 1)."""
    report: list[dict[str, Any]] = []
    for held, findings in surveyed(archive, args):
        kinds = Counter(finding.kind for finding in findings)
        report.append({**held, "kinds": dict(sorted(kinds.items())), "findings": [f._asdict() for f in findings]})
        if not args.json:
            counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing odd"
            print(f"{held['where']}: {counted}")
            for finding in findings[:SHOWN]:
                print(f"  {finding.kind:<11} {moment(finding.to_ms)}  {finding.detail}")
            if len(findings) > SHOWN:
                print(f"  … and {len(findings) - SHOWN} more: --json shows all")
    code = verdict({kind for held in report for kind in held["kinds"]}, args.strict)
    if args.json:
        print(json.dumps({"result": ("ok", "fail", "warn")[code], "checked": report}))
    return code


def verdict(kinds: set[str], strict: bool) -> int:
    if kinds & set(BROKEN) or (kinds and strict):
        return 1
    return 2 if kinds else 0


def surveyed(archive: Archive, args: argparse.Namespace) -> Iterator[tuple[dict[str, Any], list[Finding]]]:
    """Damaged files where there are any, else every symbol."""
    from avwapd.store.instruments import Instruments
    from avwapd.store.survey import Finding, survey

    damaged = archive.damaged(args.exchange, args.timeframe)
    for error in damaged:
        yield {"where": error.where}, [Finding("damaged", 0, 0, f"{error.what}; {error.next_step}")]
    if damaged:
        return  # the rest can only be judged once these are mended
    instruments = Instruments(archive.root).load()
    for held in wanted_holdings(archive, args):
        progress(f"{held.exchange} {held.symbol} {held.timeframe}")
        bars = archive.read(held.exchange, held.timeframe, [held.symbol])
        columns = {name: bars[name].to_numpy() for name in ("ts_ms", "open", "close")}
        known = instruments.get((held.exchange, held.symbol))
        grid = grid_of(known.calendar if known else "24/7", held)
        where = f"{held.exchange} {held.symbol} {held.timeframe}"
        yield {"where": where, **held._asdict()}, survey(columns, grid)


def grid_of(calendar: str, held: Holding) -> Grid:
    """Where bars of this symbol may close."""
    from avwapd.feeds.calendar import ALWAYS, sessions, stamps_of
    from avwapd.store.survey import Grid

    step = TIMEFRAME_MS[held.timeframe]
    times = sessions(calendar, held.first_ms, held.last_ms)
    stamps = stamps_of(calendar, times) if held.timeframe.endswith("d") else None
    bell = calendar != ALWAYS
    return Grid(step, times["open_ms"], times["close_ms"], stamps, SILENT_MS // step if bell else 0, bell)


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
