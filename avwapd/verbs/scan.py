"""Candidates for the next session from daily bars, and the watchlist that the daemon trades. Offline."""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import sys
from pathlib import Path
from typing import Any

from avwapd.config import load
from avwapd.paths import Paths, resolve
from avwapd.verbs.days import age_days, counted, day, warn
from avwapd.verbs.scan_work import Asked, Scanned, contents, counts_of, day_text, fell, keep, scanned
from avwapd.verbs.tables import pairs, table

EXAMPLE = """\
examples:
  avwapd scan
  avwapd scan --as-of 2012-03-09 --out scan-2012-03-09
  avwapd scan --as-of 2012-03-09 --rules-only --symbols AAPL,IBM --json
"""
STAGES = 4
STEPS = {
    "1": "universe",
    "2": "regime",
    "3": "earnings",
    "4": "history",
    "5": "trend",
    "6": "volatility",
    "7": "anchor",
}
SHOWN = 10
SHOWN_COLUMNS = ("symbol", "side", "tier", "price", "level", "stop", "r1", "r2", "score", "anchor", "since", "trade")
TAKEN = "the daemon takes it on `avwapd ctl reload`, or at its next start"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--as-of", type=day, metavar="DATE", help="scan that day's close (default: the newest bar's)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: scan/DATE in the state folder")
    parser.add_argument(
        "--rules-only",
        action="store_true",
        help="history to levels on raw prices: no liquidity, regime, earnings and caps; leaves the watchlist alone",
    )
    parser.add_argument("--symbols", metavar="A,B", help="with --rules-only: these (default: all there are)")


def run(args: argparse.Namespace) -> int:
    """A scan lives half a second and makes no cycles: the collector would walk the compiler's modules for a third."""
    collecting = gc.isenabled()
    gc.disable()
    atexit.register(gc.freeze)  # the interpreter's last collection too
    try:
        return run_scan(args)
    finally:
        if collecting:
            gc.enable()


def run_scan(args: argparse.Namespace) -> int:
    if args.symbols is not None and not args.rules_only:
        what = "--symbols needs --rules-only: ranks and caps of a scan are about its whole universe"
        print(f"avwapd scan: {what}\n  next: avwapd scan --help", file=sys.stderr)
        return 64
    config, paths = load(Path(args.config) if args.config else None), resolve(args.state_dir)
    symbols = tuple(sorted({name.strip() for name in (args.symbols or "").split(",") if name.strip()}))
    progress = Progress(quiet=args.json)
    try:
        done = scanned(config, paths, Asked(args.as_of, args.rules_only, symbols), progress)
        progress("files")
        files, made = contents(done, config)
        folder = args.out or paths.scans / (day_text(done.result.scan_date) + "-rules-only" * args.rules_only)
        keep(files, folder)
        settled, why_not = settle(paths, made, done)
    finally:
        progress.close()
    facts = facts_of(done, folder, list(files)) | {"watchlist": str(paths.watchlist) if settled else None}
    if args.json:
        print(json.dumps(facts | {"watchlist_kept": why_not, "version": made["version"]}))
        return 0
    tell(done, facts)
    if text := replaced(done):
        warn(text)
    late = behind(done)
    for line in pairs(
        [
            *([("behind", late)] if late else []),
            ("files", f"{folder}: {', '.join(files)}"),
            ("watchlist", f"{paths.watchlist}: {TAKEN}" if settled else f"left as it is: {why_not}"),
        ]
    ):
        print(line)
    return 0


def replaced(done: Scanned) -> str:
    """That another session than the one asked for was scanned, "" where it was that one."""
    wanted, scanned_ = done.asked.as_of, done.result.scan_date
    if wanted is None or wanted == scanned_:
        return ""
    return f"no bar of {day_text(wanted)}: the session before it was scanned, that of {day_text(scanned_)}"


def behind(done: Scanned) -> str:
    """That sessions have ended since the newest bar, "" where none has. For a person: no file knows the clock."""
    from avwapd.ports import SystemClock

    if done.asked.as_of is not None:
        return ""
    sessions = done.market.sessions
    ended = sessions["date"][sessions["close_ms"] < SystemClock().now_ms()]
    late = int((ended > done.newest).sum())
    if not late:
        return ""
    last = day_text(int(ended[-1]))
    return f"{counted(late, 'session')} ended since the newest bar, the last on {last}: import or fetch their bars"


def settle(paths: Paths, made: dict[str, Any], done: Scanned) -> tuple[bool, str]:
    """Make this list the live one, where it is the newest; else why it is not."""
    from avwapd.store.whole import write_whole

    if done.asked.rules_only:
        return False, "a scan by rules alone is no watchlist"
    if done.asked.as_of is not None and not done.asked.as_of == done.result.scan_date == done.newest:
        return False, f"this scan is of {day_text(done.result.scan_date)}, the newest bar of {day_text(done.newest)}"
    there = scan_date_of(paths.watchlist)
    if there > made["scan_date"]:
        return False, f"the one there is of {day_text(there)}, newer than this scan"
    write_whole(paths.watchlist, (json.dumps(made, allow_nan=False) + "\n").encode())
    return True, ""


def scan_date_of(path: Path) -> int:
    """Of the watchlist that is there, yyyymmdd; 0 where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())["scan_date"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return found if isinstance(found, int) else 0


class Progress:
    """A bar on a terminal, a line for each stage elsewhere; both on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet, self.done, self.bar = quiet, 0, sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if self.bar and not self.quiet:
            filled = 24 * self.done // STAGES
            print(f"\r\033[K[{'#' * filled:<24}] {text}", end="", file=sys.stderr, flush=True)
        elif not self.quiet:
            print(f"scan: {text}", file=sys.stderr, flush=True)
        self.done += 1

    def close(self) -> None:
        if self.bar and not self.quiet:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


# -------------------------------------------------------------------- words


def facts_of(done: Scanned, folder: Path, names: list[str]) -> dict[str, Any]:
    result, snapshot = done.result, done.snapshot
    return {
        "scan_date": day_text(result.scan_date),
        "reason": result.reason,
        "universe": None if snapshot is None else {"date": day_text(snapshot.date), "tickers": len(snapshot.rows)},
        "counts": counts_of(done),
        "fell": fell(result),
        "candidates": [shown(row) for row in result.rows],
        "warnings": list(done.warnings),
        "out": str(folder),
        "files": names,
    }


def shown(row: Any) -> dict[str, Any]:
    """One candidate, short."""
    values = (
        row.symbol,
        row.direction.lower(),
        row.trend_tier,
        row.price,
        row.entry_level,
        row.stop_loss,
        row.target_r1,
        row.target_r2,
        row.trend_score,
        row.anchor,
        day_text(row.anchor_date),
        row.execute,
    )
    return dict(zip(SHOWN_COLUMNS, values, strict=True))


def fallen_lines(fallen: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    """One line a step: its number and name, how many fell, why."""
    lines = []
    for step, reasons in fallen.items():
        counts = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in reasons.items())
        lines.append((f"fell at {step}", f"{sum(reasons.values()):,}  {STEPS.get(step, 'rows')}: {counts}"))
    return lines


def age_of(done: Scanned) -> str:
    """The universe's age on the scan's day."""
    days = age_days(done.snapshot.date, done.result.scan_date) if done.snapshot else 0
    return f"{counted(abs(days), 'day')} {'older' if days > 0 else 'younger'} than the scan" if days else "of that day"


def tell(done: Scanned, facts: dict[str, Any]) -> None:
    snapshot, result = done.snapshot, done.result
    lines = [("scan date", facts["scan_date"])]
    if snapshot is not None:
        lines.append(
            ("universe", f"{counted(len(snapshot.rows), 'symbol')} of {day_text(snapshot.date)}, {age_of(done)}")
        )
    else:
        count = len(done.asked.symbols or done.market.symbols)
        lines.append(("universe", f"{counted(count, 'symbol')}, by rules alone"))
    if result.reason:
        lines.append(("empty", result.reason))
    lines += fallen_lines(fell(result))
    marked = facts["counts"]["marked"]
    lines.append(("candidates", f"{len(result.rows):,}" + (f", {marked:,} marked for execution" if marked else "")))
    for line in pairs(lines):
        print(line)
    if result.rows:
        print("\n".join(f"  {line}" for line in table(facts["candidates"][:SHOWN])))
        if len(result.rows) > SHOWN:
            print(f"  … and {len(result.rows) - SHOWN} more in the file")
    for text in facts["warnings"]:
        warn(text)
