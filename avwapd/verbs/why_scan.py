"""`avwapd why SYMBOL DATE --scan`: the day's scan computed again, and what it says about one symbol."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from avwapd.config import Config, load
from avwapd.paths import Paths, resolve
from avwapd.verbs.days import warn
from avwapd.verbs.scan_work import Asked, Scanned, day_text, scanned
from avwapd.verbs.tables import pairs

WORDS = {  # by the reason's word: value and limit as the rule compares them
    "bad_ticker": "it is on the list of bad tickers",
    "no_bars": "the archive has no daily bars of it",
    "stale": "its bars end before that session",
    "price": "the close of {value} is under {limit}",
    "volume": "a mean volume of {value} shares a day is under {limit}",
    "dollar_volume": "a mean dollar volume of {value} a day is under {limit}",
    "sector": "its sector's mean TrendScore has rank {value}, the first {limit} are taken",
    "max_symbols": "its dollar volume has rank {value}, the first {limit} are taken",
    "regime": "the index's close of {value} is not above its mean of {limit}",
    "earnings": "calendar days to its earnings: {value}, up to {limit} keep it out",
    "min_bars": "{value} daily bars are fewer than {limit}",
    "weekly_alignment": "the fast weekly mean of {value} is on the wrong side of the slow one, {limit}",
    "trend": "neither tier: the close of {value} against a mean of {limit}",
    "atr": "an ATR of {value} USD is under {limit}",
    "atr_pct": "an ATR of {value}% of the close is over {limit}%",
    "atr_median_unknown": "the median of its ATR% is unknown",
    "atr_median": "an ATR of {value}% of the close is over {limit}%, its own median times the factor",
    "no_anchor": "no anchor of it is known with enough bars for a slope",
    "wrong_side": "the close of {value} is on the wrong side of its AVWAPs, one of them at {limit}",
    "avwap_slope": "no AVWAP fits: a slope of {value} is beyond {limit}",
    "distance": "no AVWAP fits: the close lies {value}% away, {limit}% is the most",
    "max_rows": "it has rank {value}, the file takes {limit}",
}
UNITS = ("price", "entry_level", "stop_loss", "target_r1", "target_r2")


def run(args: argparse.Namespace) -> int:
    from avwapd.scan.sheet import date_of, symbol_of

    day = date_of(args.ts)
    if day is None:
        print(f"avwapd why: with --scan TS is a date like 2012-03-09, not {args.ts!r}", file=sys.stderr)
        print("  next: avwapd why --help", file=sys.stderr)
        return 64
    config, paths = load(Path(args.config) if args.config else None), resolve(args.state_dir)
    symbol = config.universe.class_shares.get(args.symbol) or symbol_of(args.symbol) or args.symbol
    asked = Asked(day, args.rules_only, (symbol,) if args.rules_only else ())
    facts = facts_of(looked(config, paths, asked, symbol), symbol)
    if args.json:
        print(json.dumps(facts))
        return 0
    for line in pairs(list(told(facts))):
        print(line)
    for text in facts["warnings"]:
        warn(text)
    return 0


def looked(config: Config, paths: Paths, asked: Asked, symbol: str) -> Scanned:
    """The scan of that day; where there can be none for lack of a universe or of its bars, the rules alone."""
    from avwapd.scan.run import ScanError
    from avwapd.store.universe import UniverseError, dates

    try:
        return scanned(config, paths, asked)
    except (ScanError, UniverseError) as error:
        if asked.rules_only or (isinstance(error, UniverseError) and dates(paths.universe)):
            raise
        done = scanned(config, paths, Asked(asked.as_of, rules_only=True, symbols=(symbol,)))
        text = f"no whole scan of that day ({error.what}); what follows is by rules alone, on raw prices"
        return replace(done, warnings=(text, *done.warnings))


def facts_of(done: Scanned, symbol: str) -> dict[str, Any]:
    result = done.result
    rows = [asdict(row) for row in result.rows if row.symbol == symbol]
    return {
        "symbol": symbol,
        "asked": day_text(done.asked.as_of or 0),
        "scan_date": day_text(result.scan_date),
        "reason": result.reason,
        "universe": None if done.snapshot is None else day_text(done.snapshot.date),
        "in_universe": done.snapshot is None or any(row.symbol == symbol for row in done.snapshot.rows),
        "has_bars": symbol in done.market.symbols,
        "candidates": len(result.rows),
        "rows": [{**row, "place": place(done, row)} for row in rows],
        "fell": [
            {"step": fallen.step, "reason": fallen.reason, "value": fallen.value, "limit": fallen.limit}
            for fallen in result.out
            if fallen.symbol == symbol
        ],
        "warnings": list(done.warnings),
    }


def place(done: Scanned, row: dict[str, Any]) -> int:
    """Where it stands in the file, from 1."""
    keys = [(found.symbol, found.direction) for found in done.result.rows]
    return keys.index((row["symbol"], row["direction"])) + 1


def told(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and text of each line."""
    symbol = facts["symbol"]
    later = "" if facts["scan_date"] == facts["asked"] else f" ({facts['asked']} has no bars: the session before it)"
    yield "scan", f"{symbol}, close of {facts['scan_date']}{later}"
    yield "universe", "by rules alone" if facts["universe"] is None else f"of {facts['universe']}"
    for row in facts["rows"]:
        yield from candidate(row, facts["candidates"])
    for fallen in facts["fell"]:
        yield "fell out", words_of(fallen)
    if facts["rows"] or facts["fell"]:
        return
    if facts["reason"]:
        yield "fell out", f"with every other symbol: {facts['reason']}"
    elif not facts["in_universe"]:
        yield "fell out", f"step 1: it is not in the universe of {facts['universe']}"
    elif not facts["has_bars"]:
        yield "fell out", "step 1: the archive has no daily bars of it"
    else:
        yield "fell out", "nothing is said about it"


def candidate(row: dict[str, Any], count: int) -> Iterator[tuple[str, str]]:
    marked = "marked for execution" if row["execute"] else "not marked for execution"
    yield (
        "candidate",
        f"{row['direction'].lower()}, tier {row['trend_tier']}, place {row['place']} of {count}, {marked}",
    )
    yield "levels", "  ".join(f"{name.replace('_', ' ')} {row[name]:.2f}" for name in UNITS)
    away, lines = row["entry_dist_pct"], row["avwap_confluence"]
    text = f"{row['anchor']} of {day_text(row['anchor_date'])}: the close lies {away:+.2f}% from its AVWAP, "
    text += f"slope {row['avwap_slope']:.4f}, confluence {lines} AVWAP{'s' * (lines != 1)}"
    yield "anchor", text
    yield "trend", f"TrendScore {row['trend_score']:.6f}, sector {row['sector'] or 'unknown'}"


def words_of(fallen: dict[str, Any]) -> str:
    """Step, reason, value and limit as a sentence."""
    value, limit = number(fallen["value"]), number(fallen["limit"])
    reason = str(fallen["reason"])
    text = WORDS.get(reason, reason.replace("_", " ") + ": value {value}, limit {limit}")
    return f"step {fallen['step']} ({reason}): {text.format(value=value, limit=limit)}"


def number(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
