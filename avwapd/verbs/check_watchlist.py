"""Is the scan's list that of the session before: by New York's sessions, never by the age of a file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from avwapd.config import Config, load
from avwapd.ops.finding import FAIL, OK, WARN, Finding
from avwapd.paths import resolve

SCAN = "avwapd scan, then avwapd ctl reload"


def findings(args: argparse.Namespace) -> Iterator[Finding]:
    from avwapd.ports import SystemClock
    from avwapd.store import StoreError
    from avwapd.store.watchlist import read

    config, path = load(Path(args.config) if args.config else None), resolve(args.state_dir).watchlist
    if not config.watchlist.use:
        yield Finding("watchlist", OK, "not used (watchlist.use = false)")
        return
    wanted = date_wanted(SystemClock().now_ms(), daily=config.run.timeframe == "1d")
    try:
        found = read(path)
    except StoreError as error:
        yield Finding("watchlist", FAIL, error.what, error.next_step)
        return
    if found is None:
        yield absent(config)
        return
    if found.scan_date != wanted:
        what = f"that of {day(found.scan_date)}, wanted is that of {day(wanted)}: nothing opens on a stale list"
        yield Finding("watchlist", FAIL, what, SCAN)
        return
    yield Finding("watchlist", OK, f"that of {day(wanted)}, version {found.version[:12]}")
    execute = sum(1 for row in found.rows if row["execute"])
    rows = f"{len(found.rows)} rows, {execute} to trade"
    yield Finding("rows", OK if execute else WARN, rows, "" if execute else "avwapd why SYMBOL DATE --scan says why")


def absent(config: Config) -> Finding:
    if config.watchlist.required:
        return Finding("watchlist", FAIL, "there is none, and one is required: nothing opens", SCAN)
    return Finding("watchlist", OK, "there is none; every symbol may open (watchlist.required = false)")


def date_wanted(now_ms: int, *, daily: bool) -> int:
    """The date (yyyymmdd) of a fresh list: of the session before the coming or running one.

    On daily bars, where a list confirms its own session's close, that of the coming one once it has closed.
    """
    from avwapd.core.session import DAILY_LOOKBACK_MS
    from avwapd.feeds.calendar import BELL, all_sessions

    table = all_sessions(BELL)
    if daily:
        return int(table["date"][table["close_ms"].searchsorted(now_ms - DAILY_LOOKBACK_MS, side="left")])
    return int(table["date"][table["close_ms"].searchsorted(now_ms, side="left") - 1])


def day(number: int) -> str:
    return f"{number // 10_000:04}-{number // 100 % 100:02}-{number % 100:02}"
