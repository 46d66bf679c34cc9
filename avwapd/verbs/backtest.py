"""Decisions, trades and equity over a window of the past, by the engine and fill model that run live. Offline."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import avwapd
from avwapd.config import as_plain, config_hash, load
from avwapd.paths import resolve
from avwapd.verbs.version import code_hash

if TYPE_CHECKING:
    from avwapd.config import Config
    from avwapd.feeds.world import Setup

EXAMPLE = """\
examples:
  avwapd backtest --exchange us --symbols SPY,IBM --timeframe 5m --start 2024-01-02 --end 2024-06-28 --out bt
  avwapd backtest --config etc/demo.toml --out bt
  avwapd backtest --candidates scans/historical_candidates.parquet --start 2012-01-03 --end 2012-12-31 --out bt
  avwapd backtest --mode historical_scan --start 2012-01-03 --end 2012-12-31 --out scans
"""
MODES = ("replay", "historical_scan")
OVERRIDES = {
    "exchange": "run.exchange",
    "symbols": "run.symbols",
    "timeframe": "run.timeframe",
    "start": "run.window_from",
    "end": "run.window_to",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mode", choices=MODES, default="replay", help="default: replay")
    parser.add_argument("--exchange", help="whose bars, from the archive")
    parser.add_argument("--symbols", help="A,B,… (default: all there are)")
    parser.add_argument("--timeframe", help="1m, 5m, 1h, 1d, …")
    parser.add_argument("--start", metavar="T", help="first bar decided: ts_ms, date or time with its zone")
    parser.add_argument("--end", metavar="T", help="last bar decided")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--candidates", type=Path, metavar="FILE", help="replay: trade these (historical_candidates.parquet)"
    )
    parser.add_argument(
        "--rules-only",
        action="store_true",
        help="historical_scan: history to levels on raw prices, without liquidity, regime, earnings and caps",
    )
    parser.add_argument("--csv", action=argparse.BooleanOptionalAction, default=True, help="decisions.csv as well")


def run(args: argparse.Namespace) -> int:
    if args.mode == "historical_scan":
        if args.candidates:
            what = "--candidates are traded by --mode replay; historical_scan makes them"
            print(f"avwapd backtest: {what}\n  next: avwapd backtest --help", file=sys.stderr)
            return 64
        from avwapd.verbs import backtest_scan

        return backtest_scan.run(args)
    if args.rules_only:
        print(
            "avwapd backtest: --rules-only needs --mode historical_scan\n  next: avwapd backtest --help",
            file=sys.stderr,
        )
        return 64
    options = {key: value for name, key in OVERRIDES.items() if (value := getattr(args, name)) is not None}
    if args.exchange:
        options["run.market"] = "archive"
    if args.candidates:
        # What is traded is the list: a symbol without a row of it opens nothing.
        options = {"run.timeframe": "1d", "run.market": "archive", "watchlist.required": "true", **options}
    config = load(Path(args.config) if args.config else None, options=options)
    manifest = backtest(
        config, resolve(args.state_dir).archive, args.out, with_csv=args.csv, candidates=args.candidates
    )
    if args.json:
        print(json.dumps(manifest))
        return 0
    counts = manifest["counts"]
    print(f"{counts['bars']} bars, {counts['decisions']} decisions, {counts['trades']} exit legs")
    tell_portfolio(args.out)
    print(f"run {manifest['run_id']} in {args.out}: {', '.join(manifest['outputs'])}")
    return 0


def tell_portfolio(folder: Path) -> None:
    from avwapd.research.files import PORTFOLIO
    from avwapd.research.portfolio_report import portfolio_text

    print("\n" + portfolio_text(json.loads((folder / PORTFOLIO).read_bytes())))


def backtest(
    config: Config, archive: Path, folder: Path, *, with_csv: bool, candidates: Path | None = None
) -> dict[str, Any]:
    """Write the files of one run; its manifest. candidates: of a historical scan, traded in their turn."""
    from avwapd.feeds.source import market_of
    from avwapd.feeds.world import build
    from avwapd.research.files import write_backtest
    from avwapd.research.standing import with_standing

    lists = None
    if candidates is not None:
        from avwapd.research.historical import read_candidates

        lists = read_candidates(candidates)
        config = of_candidates(config, archive, {str(row["symbol"]) for rows in lists.values() for row in rows})
    setup = build(config, with_standing(config, market_of(config, archive), archive))
    inputs = inputs_of(setup) | {"candidates": sha256(candidates) if candidates else None}
    progress = show if sys.stderr.isatty() else None
    return write_backtest(setup, folder, inputs, as_plain(config), with_csv=with_csv, progress=progress, lists=lists)


def of_candidates(config: Config, archive: Path, named: set[str]) -> Config:
    """The configuration with the candidates for symbols, as far as the archive has their bars."""
    from avwapd.research import ResearchError
    from avwapd.store.archive import Archive

    exchange, timeframe = config.run.exchange or config.scan.exchange, config.run.timeframe
    held = {holding.symbol for holding in Archive(archive).holdings(exchange, timeframe)}
    wanted = set(config.run.symbols) or named
    if not wanted & named:
        what = "the candidates' file has no row" + f" of {', '.join(sorted(wanted))}" * bool(wanted)
        raise ResearchError(
            what, "the candidates", "name other symbols, or scan another window: --mode historical_scan"
        )
    symbols = tuple(sorted(wanted & named & held))
    if not symbols:
        what = f"none of the candidates' {len(wanted & named)} symbols has {timeframe} bars of {exchange}"
        raise ResearchError(what, archive, "see `avwapd bars list`, or name another --timeframe")
    missing = sorted(wanted & named - held)
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        print(f"  warning: no {timeframe} bars of {len(missing)} candidates: {shown}", file=sys.stderr)
    return replace(config, run=replace(config.run, exchange=exchange, symbols=symbols))


def sha256(path: Path) -> str:
    from avwapd.research.output import sha256_of

    return sha256_of(path)


def inputs_of(setup: Setup) -> dict[str, Any]:
    """All that decides what comes out."""
    from avwapd.feeds.market import hash_of

    config, market = setup.config, setup.market
    return {
        "mode": "replay",
        "code_version": avwapd.__version__,
        "code_hash": code_hash(),
        "rules_version": str(avwapd.RULES_VERSION),
        "config_hash": config_hash(config),
        "data_hash": market.data_hash,
        "actions_hash": hash_of(market.actions),
        "calendar_version": market.calendar_version,
        "params_hash": setup.fingerprint,
        "seed": config.run.seed,
        "exchange": market.exchange,
        "timeframe": market.timeframe,
        "symbols": list(market.symbols),
        "window": [config.run.window_from, config.run.window_to],
    }


def show(done: int, total: int) -> None:
    end = "\r" if done < total else "\r\033[K"
    print(f"\r{done / max(total, 1):6.1%} of {total} bars", end=end, file=sys.stderr, flush=True)
