"""Can the scan run tonight on fresh data: daily bars, the universe, the lists it asks, the last scan."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from avwapd.config import Config, load
from avwapd.ops.finding import FAIL, OK, WARN, Finding
from avwapd.paths import Paths, resolve
from avwapd.verbs.check_watchlist import day
from avwapd.verbs.days import age_days, aged, today

LATE_SESSIONS = 1  # that the bars may be behind: the newest is fetched in the morning
UNIVERSE_DAYS, LIST_DAYS = 45, 14
FETCH = "avwapd bars fetch, or avwapd bars import FILE… --timeframe 1d"


def findings(args: argparse.Namespace) -> Iterator[Finding]:
    from avwapd.ports import SystemClock

    config, paths = load(Path(args.config) if args.config else None), resolve(args.state_dir)
    now_ms = SystemClock().now_ms()
    if not config.watchlist.required and not any(path.exists() for path in (paths.universe, paths.watchlist)):
        yield Finding("scan", WARN, "never used here: no universe, no watchlist", "see docs/scan.md, if one is wanted")
        return
    yield from of_bars(config, paths, now_ms)
    yield of_universe(paths, today())
    yield from of_lists(config, paths, today())


def of_bars(config: Config, paths: Paths, now_ms: int) -> Iterator[Finding]:
    """How many sessions have ended since each symbol's newest daily bar."""
    from avwapd.feeds.calendar import BELL, all_sessions, session_index
    from avwapd.store.archive import Archive

    exchange, index = config.scan.exchange, config.scan.index
    held = Archive(paths.archive).holdings(exchange, "1d") if paths.archive.exists() else []
    if not held:
        yield Finding("daily bars", FAIL, f"none of {exchange or 'any exchange'}", FETCH)
        return
    import numpy as np

    table = all_sessions(BELL)
    last = session_index(np.array([holding.last_ms for holding in held]), table, daily=True)
    ended = int(table["close_ms"].searchsorted(now_ms, side="right")) - 1
    behind = ended - int(last.max())
    newest = day(int(table["date"][last.max()]))
    words = f"{len(held)} symbols, newest {newest}"
    if behind > LATE_SESSIONS:
        yield Finding("daily bars", FAIL, f"{words}: {behind} sessions have ended since", FETCH)
    else:
        yield Finding("daily bars", WARN if behind else OK, words, FETCH if behind else "")
    old = int((last < last.max()).sum())
    verdict = WARN if old > config.scan.stale_fraction * len(held) else OK
    yield Finding("freshness", verdict, f"{old} of {len(held)} symbols end earlier", FETCH if verdict != OK else "")
    if config.scan.regime:
        there = any(holding.symbol == index and at == last.max() for holding, at in zip(held, last, strict=True))
        what = f"{index} has {'the newest bar' if there else 'not the newest bar: the regime is unknown'}"
        yield Finding("index", OK if there else FAIL, what, "" if there else FETCH)


def of_universe(paths: Paths, now: int) -> Finding:
    from avwapd.store import StoreError
    from avwapd.store.universe import newest

    refresh = "avwapd universe refresh"
    try:
        found = newest(paths.universe)
    except StoreError as error:
        return Finding("universe", FAIL, error.what, error.next_step)
    if found is None:
        return Finding("universe", FAIL, "there is no snapshot", refresh)
    days = age_days(found.date, now)
    words = f"{len(found.rows)} members of {day(found.date)}, {aged(found.date, now)}"
    return Finding("universe", WARN if days > UNIVERSE_DAYS else OK, words, refresh if days > UNIVERSE_DAYS else "")


def of_lists(config: Config, paths: Paths, now: int) -> Iterator[Finding]:
    """Those that the scan or a gate asks."""
    from avwapd.store import StoreError
    from avwapd.store.lists import load as load_lists

    wanted = ["earnings"] * (config.scan.earnings or config.gates.earnings)
    wanted += ["bad-tickers"] * config.gates.bad_tickers
    try:
        facts = load_lists(paths.lists).facts if wanted else {}
    except StoreError as error:
        yield Finding("lists", FAIL, error.what, error.next_step)
        return
    for kind in wanted:
        found = facts.get(kind)
        if found is None:
            what = "never imported: nobody is known to report" if kind == "earnings" else "never imported"
            yield Finding(kind, WARN, what, f"avwapd lists import {kind} FILE")
            continue
        old = bool(found.imported) and age_days(found.imported, now) > LIST_DAYS
        words = f"{found.rows} rows" + (f", {aged(found.imported, now)}" if found.imported else "")
        yield Finding(kind, WARN if old else OK, words, f"avwapd lists import {kind} FILE" if old else "")
