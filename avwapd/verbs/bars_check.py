"""`avwapd bars check`: what is odd about the archive's bars, symbol by symbol."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.verbs.bars import SHOWN, progress, wanted_holdings
from avwapd.verbs.tables import moment

if TYPE_CHECKING:
    from avwapd.store.archive import Archive, Holding
    from avwapd.store.instruments import Instrument
    from avwapd.store.survey import Finding, Grid

BROKEN = ("damaged", "duplicate", "disorder")
SILENT_MS = 900_000  # without a trade, and no gap in a market with sessions
Report = tuple[dict[str, Any], "list[Finding]"]


def run_check(archive: Archive, args: argparse.Namespace) -> int:
    """0 nothing odd, 1 damage, 2 oddities (with --strict also 1)."""
    report: list[dict[str, Any]] = []
    total: Counter[str] = Counter()
    for held, findings in surveyed(archive, args):
        kinds = Counter(finding.kind for finding in findings)
        total += kinds
        report.append({**held, "kinds": dict(sorted(kinds.items())), "findings": [f._asdict() for f in findings]})
        if not args.json:
            print(f"{held['where']}: {counted(kinds)}")
            for finding in findings[:SHOWN]:
                print(f"  {finding.kind:<11} {moment(finding.to_ms)}  {finding.detail}")
            if len(findings) > SHOWN:
                print(f"  … and {len(findings) - SHOWN} more: --json shows all")
    code = verdict(set(total), args.strict)
    if args.json:
        facts = {"result": ("ok", "fail", "warn")[code], "counts": dict(sorted(total.items())), "checked": report}
        print(json.dumps(facts))
    elif len(report) > 1:
        print(f"all {len(report)}: {counted(total)}")
    return code


def counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing odd"


def verdict(kinds: set[str], strict: bool) -> int:
    if kinds & set(BROKEN) or (kinds and strict):
        return 1
    return 2 if kinds else 0


def surveyed(archive: Archive, args: argparse.Namespace) -> Iterator[Report]:
    """Damaged files where there are any, else every symbol."""
    from avwapd.store.instruments import Instruments
    from avwapd.store.survey import Finding, survey

    damaged = archive.damaged(args.exchange, args.timeframe)
    for error in damaged:
        yield {"where": error.where}, [Finding("damaged", 0, 0, f"{error.what}; {error.next_step}")]
    if damaged:
        return  # the rest can only be judged once these are mended
    instruments = Instruments(archive.root).load()
    wanted = wanted_holdings(archive, args)
    days = [held for held in wanted if held.timeframe == "1d" and calendar_of(instruments, held) != "24/7"]
    for exchange in sorted({held.exchange for held in days}):
        yield from surveyed_days(archive, [held for held in days if held.exchange == exchange], args)
    for held in sorted(set(wanted) - set(days)):
        progress(f"{held.exchange} {held.symbol} {held.timeframe}")
        bars = archive.read(held.exchange, held.timeframe, [held.symbol])
        columns = {name: bars[name].to_numpy() for name in ("ts_ms", "open", "close")}
        yield header(held), survey(columns, grid_of(calendar_of(instruments, held), held))


def header(held: Holding) -> dict[str, Any]:
    return {"where": f"{held.exchange} {held.symbol} {held.timeframe}", **held._asdict()}


def calendar_of(instruments: dict[tuple[str, str], Instrument], held: Holding) -> str:
    """As known, else as the names tell."""
    from avwapd.verbs.bars_import import calendar_of as told

    return told(instruments, held.exchange, held.symbol, {})


def surveyed_days(archive: Archive, held: list[Holding], args: argparse.Namespace) -> Iterator[Report]:
    """Daily bars of one exchange with a bell; its files are read once for all symbols."""
    import numpy as np

    from avwapd.config import load
    from avwapd.feeds.calendar import BELL, all_sessions, stamps_of
    from avwapd.store.actions import Actions, Event
    from avwapd.store.archive_file import VALUES
    from avwapd.store.survey_daily import Market, survey_daily

    scan = load(Path(args.config) if args.config else None).scan
    exchange, sessions = held[0].exchange, all_sessions(BELL)
    bars = archive.read(exchange, "1d")
    stamps, dates = stamps_of(BELL, sessions), sessions["date"].astype(np.int64)
    newest = int(bars["ts_ms"].to_numpy().max())
    market = Market(stamps, dates, newest, scan.listing_gap_sessions, scan.outlier_pct)
    events: dict[str, list[Event]] = {}
    for event in Actions(archive.root, exchange).load():
        events.setdefault(event.symbol, []).append(event)
    coded = bars["symbol"].combine_chunks().dictionary_encode()
    codes, names = coded.indices.to_numpy(), coded.dictionary.to_pylist()
    order = np.argsort(codes, kind="stable")  # as stored, symbol after symbol
    begin = dict(zip(names, np.searchsorted(codes[order], np.arange(len(names))).tolist(), strict=True))
    columns = {name: bars[name].to_numpy()[order] for name in ("ts_ms", *VALUES)}
    for holding in held:
        progress(f"{exchange} {holding.symbol} 1d")
        rows = slice(begin[holding.symbol], begin[holding.symbol] + holding.bars)
        ours = {name: column[rows] for name, column in columns.items()}
        yield header(holding), survey_daily(ours, events.get(holding.symbol, ()), market)


def grid_of(calendar: str, held: Holding) -> Grid:
    """Where bars of this symbol may close."""
    from avwapd.feeds.calendar import ALWAYS, sessions, stamps_of
    from avwapd.store.survey import Grid

    step = TIMEFRAME_MS[held.timeframe]
    times = sessions(calendar, held.first_ms, held.last_ms)
    stamps = stamps_of(calendar, times) if held.timeframe.endswith("d") else None
    bell = calendar != ALWAYS
    return Grid(step, times["open_ms"], times["close_ms"], stamps, SILENT_MS // step if bell else 0, bell)
