"""`avwapd backtest --mode historical_scan`: what the scan would have said on each evening of a window."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import avwapd
from avwapd.config import Config, as_plain, config_hash, load
from avwapd.paths import Paths, resolve
from avwapd.verbs.days import counted, day
from avwapd.verbs.scan_work import Asked, day_text, named, problems_told
from avwapd.verbs.tables import pairs
from avwapd.verbs.version import code_hash

if TYPE_CHECKING:
    from avwapd.feeds.daily import DailyMarket
    from avwapd.research.historical import Known, Walk


def run(args: argparse.Namespace) -> int:
    """Walk the sessions, write the candidates and the manifest."""
    from avwapd.feeds.daily import load_daily
    from avwapd.research import ResearchError, historical, output

    if args.symbols is not None and not args.rules_only:
        return refused("--symbols needs --rules-only: ranks and caps of a scan are about its whole universe")
    if args.timeframe is not None:
        return refused("a scan looks at daily bars: leave --timeframe away")
    options = {"scan.exchange": args.exchange} if args.exchange else {}
    config, paths = load(Path(args.config) if args.config else None, options=options), resolve(args.state_dir)
    first, last = (bound(args, name) for name in ("start", "end"))
    symbols = tuple(sorted({name.strip() for name in (args.symbols or "").split(",") if name.strip()}))
    asked = Asked(None, args.rules_only, symbols)
    market = load_daily(paths.archive, config.scan.exchange)
    known = known_of(paths, market, asked)
    dates = historical.session_dates(market, first, last)
    if not dates:
        next_step = f"see `avwapd bars list --exchange {market.exchange} --timeframe 1d`"
        raise ResearchError(f"no daily bar of {market.exchange} lies in that window", paths.archive, next_step)
    progress = show if sys.stderr.isatty() else None
    results = historical.walk(market, config, known, dates, rules_only=args.rules_only, progress=progress)
    done = historical.write_candidates(args.out / historical.FILE, results)
    inputs = inputs_of(config, market, known, asked, (first, last))
    manifest = output.write_manifest(args.out, inputs, as_plain(config), counts_of(done), [historical.FILE])
    if args.json:
        print(json.dumps(manifest | {"warnings": dict(done.warnings)}))
    else:
        tell(done, market, manifest, args.out, dates)
    return 0


def refused(what: str) -> int:
    print(f"avwapd backtest: {what}\n  next: avwapd backtest --help", file=sys.stderr)
    return 64


def bound(args: argparse.Namespace, name: str) -> int:
    """A date of the command line, yyyymmdd; the window's other end is open where it is missing."""
    from avwapd.config import ConfigError

    text = getattr(args, name)
    if text is None:
        return {"start": 0, "end": 99_999_999}[name]
    try:
        return day(text)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(str(error), f"--{name}", "a scan is named by the date of its session") from None


def known_of(paths: Paths, market: DailyMarket, asked: Asked) -> Known:
    """Every snapshot of the universe, every list."""
    from avwapd.research.historical import Known
    from avwapd.store import universe
    from avwapd.store.lists import load as load_lists

    lists = load_lists(paths.lists)
    if asked.rules_only:
        return Known((), lists, named(market, asked))
    universe.as_of(paths.universe)  # says what to do where there is none
    every = (universe.load(universe.place(paths.universe, at), at) for at in universe.dates(paths.universe))
    return Known(tuple(every), lists)


def inputs_of(
    config: Config, market: DailyMarket, known: Known, asked: Asked, window: tuple[int, int]
) -> dict[str, Any]:
    """All that decides what comes out."""
    return {
        "mode": "historical_scan",
        "rules_only": asked.rules_only,
        "code_version": avwapd.__version__,
        "code_hash": code_hash(),
        "rules_version": str(avwapd.RULES_VERSION),
        "config_hash": config_hash(config),
        "data_hash": market.data_hash,
        "calendar_version": market.calendar_version,
        "exchange": market.exchange,
        "symbols": list(asked.symbols),
        "window": list(window),
        "universes": {day_text(snapshot.date): snapshot.digest for snapshot in known.universes},
        "lists": {kind: facts.digest for kind, facts in sorted(known.lists.facts.items())},
    }


def counts_of(done: Walk) -> dict[str, int]:
    return {
        "sessions": done.sessions,
        "sessions_with_candidates": done.sessions - done.empty.total(),
        "candidates": done.rows,
        **{f"fell_at_step_{step}": count for step, count in sorted(done.fallen.items())},
    }


def tell(done: Walk, market: DailyMarket, manifest: dict[str, Any], folder: Path, dates: list[int]) -> None:
    lines = [
        ("sessions", f"{done.sessions:,} from {day_text(dates[0])} to {day_text(dates[-1])}"),
        ("candidates", f"{done.rows:,} on {counted(done.sessions - done.empty.total(), 'session')}"),
    ]
    lines += [
        ("fell at" if not at else "", f"{step}: {count:,}")
        for at, (step, count) in enumerate(sorted(done.fallen.items()))
    ]
    lines += [
        ("empty" if not at else "", f"{counted(count, 'session')}: {reason}")
        for at, (reason, count) in enumerate(done.empty_by_kind().most_common(6))
    ]
    for line in pairs(lines):
        print(line)
    for text, count in [*done.warnings_by_kind().items(), *((text, 1) for text in problems_told(market))]:
        print(f"  warning: {text}" + (f" ({counted(count, 'session')})" if count > 1 else ""), file=sys.stderr)
    print(f"run {manifest['run_id']} in {folder}: {', '.join(manifest['outputs'])}")


def show(done: int, total: int) -> None:
    end = "\r" if done < total else "\r\033[K"
    print(f"\r{done / total:6.1%} of {total} sessions", end=end, file=sys.stderr, flush=True)
