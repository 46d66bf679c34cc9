"""One file of bars into the archive: read, checked row by row, merged. Says what happened to every row."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from avwapd.config.kinds import EARLIEST_MS, TIMEFRAME_MS
from avwapd.feeds.calendar import ALWAYS, BELL, DAY_MS, all_sessions, stamps_of
from avwapd.feeds.check import MICRO_FROM, PRICES, REASONS, check_bars
from avwapd.store.archive import Archive, Written, named
from avwapd.store.archive_file import ArchiveError, as_table
from avwapd.store.barfile import BarFile, read_bars
from avwapd.store.instruments import Instrument, Instruments, inferred, settle

CONFLICT = "differs_from_archive"
WORDS = {**REASONS, CONFLICT: "the archive holds another bar of this time"}
ENOUGH = 20  # rows, to tell a file's timeframe from its gaps
SPARSE_MS = 6 * 3_600_000  # of bars this long a session may hold one: their spacing says nothing
Ints = NDArray[np.int64]
Key = tuple[str, str]  # exchange, symbol


@dataclass
class Outcome:
    """What became of one symbol's rows. refused: (row of the file from 0, ts_ms, reason)."""

    file: str
    exchange: str
    symbol: str
    timeframe: str
    rows: int
    added: int = 0
    unchanged: int = 0
    refused: list[tuple[int, int, str]] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    note: str = ""
    warning: str = ""
    misfit: float = 0.0  # the share of prices that do not fit the tick


@cache
def daily_times() -> Ints:
    """Every time a daily equity bar may carry."""
    return stamps_of(BELL, all_sessions(BELL))


def import_file(
    archive: Archive,
    path: Path,
    *,
    exchange: str,
    timeframe: str,
    symbol: str | None = None,
    stamp: str | None = None,
    strict: bool = False,
    wanted: Mapping[str, str | None] | None = None,
    now_ms: int | None = None,
) -> list[Outcome]:
    """Import every symbol of a file; one that cannot be understood is refused before anything is written.

    strict: one refused row keeps the whole file out; wanted: instrument fields instead of the inferred ones;
    now_ms: no bar may close later (None: the clock's word).
    """
    archive.folder(exchange, timeframe)
    file = read_bars(path)
    if file.named_start and stamp is None:
        what = "the column `timestamp` may be a bar's start or its close"
        raise ArchiveError(what, path, "say which: --stamp start (most files) or --stamp close")
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    table = Instruments(archive.root).load()
    wishes = wanted or {}
    outcomes: list[Outcome] = []
    parts: list[pa.Table] = []
    given: list[Ints] = []
    spacings: Counter[int] = Counter()
    for name, rows in by_symbol(file, symbol):
        columns = {key: column[rows] for key, column in file.columns.items()}
        outcome = Outcome(str(path), exchange, name, timeframe, len(rows))
        outcomes.append(outcome)
        calendar = calendar_of(table, exchange, name, wishes)
        if stamp == "start":
            columns["ts_ms"] = closes_of(columns["ts_ms"], timeframe, calendar)
        if timeframe.endswith("d") or calendar == ALWAYS or TIMEFRAME_MS[timeframe] < SPARSE_MS:
            spacings += spacings_of(columns["ts_ms"])
        stamps = daily_times() if timeframe.endswith("d") and calendar != ALWAYS else None
        checked = check_bars(columns, timeframe_ms=TIMEFRAME_MS[timeframe], stamps=stamps, now_ms=now_ms)
        outcome.refused = [(int(rows[bad.row]), bad.ts_ms, bad.reason) for bad in checked.refused]
        if len(checked.kept):
            good = {key: column[checked.kept] for key, column in columns.items()}
            prices = np.concatenate([good[key] for key in PRICES])
            said = settle(table, exchange, name, prices, good["volume"], wishes)
            outcome.note, outcome.warning, outcome.misfit = said
            parts.append(as_table(name, good))
            given.append(rows[checked.kept])
    refuse_spacing(spacings, timeframe, path)
    if parts and not (strict and any(outcome.refused for outcome in outcomes)):
        bars, rows = pa.concat_tables(parts), np.concatenate(given)
        settle_rows(archive, table, outcomes, bars, rows, strict)
    for outcome in outcomes:
        outcome.reasons = dict(Counter(reason for _, _, reason in outcome.refused))
    return outcomes


def spacings_of(ts_ms: Ints) -> Counter[int]:
    """How often bars that follow each other lie how far apart; times that are none tell nothing."""
    times = np.unique(ts_ms[(ts_ms >= EARLIEST_MS) & (ts_ms < MICRO_FROM)])
    return Counter(np.diff(times).tolist())


def refuse_spacing(spacings: Counter[int], timeframe: str, path: Path) -> None:
    """Bars of another timeframe fit some boundaries of this one; let in, they would be thinned or called closed."""
    wanted = TIMEFRAME_MS[timeframe]
    if spacings.total() < ENOUGH - 1:
        return
    usual, count = max(spacings.items(), key=lambda found: (found[1], found[0] == wanted))
    if usual == wanted:
        return
    name = next((name for name, length in TIMEFRAME_MS.items() if length == usual), "")
    what = f"most bars lie {name or f'{usual} ms'} apart ({count} of {spacings.total()}), not {timeframe}"
    next_step = f"import it as --timeframe {name}" if name else f"make {timeframe} bars of it first"
    raise ArchiveError(f"{what}; nothing was imported", path, next_step)


def settle_rows(
    archive: Archive, table: Mapping[Key, Instrument], outcomes: list[Outcome], bars: pa.Table, rows: Ints, strict: bool
) -> None:
    """Good rows of all symbols into the archive at once; outcomes learn what became of them. rows: of the file."""
    exchange, timeframe = outcomes[0].exchange, outcomes[0].timeframe
    outcome_of = {outcome.symbol: outcome for outcome in outcomes}
    written = archive.write(exchange, timeframe, bars, dry_run=True) if strict else Written()
    if not written.conflicts:
        Instruments(archive.root).add(table)  # first: bars of a symbol that nobody knows could not be read
        written = archive.write(exchange, timeframe, bars)
        for symbol, outcome in outcome_of.items():
            outcome.added, outcome.unchanged = written.added_of[symbol], written.unchanged_of[symbol]
    for bad in written.conflicts:
        outcome_of[bad.symbol].refused.append((int(rows[bad.row]), bad.ts_ms, CONFLICT))


def by_symbol(file: BarFile, symbol: str | None) -> list[tuple[str, Ints]]:
    """Each symbol with its rows, sorted by symbol."""
    count = len(file.columns["ts_ms"])
    named([] if symbol is None else [symbol], file.path)
    if file.symbols is None:
        if symbol is None:
            raise ArchiveError("nothing says whose bars these are", file.path, "add --symbol, or a symbol column")
        return [(symbol, np.arange(count))]
    names = np.array(file.symbols, dtype=object)
    found = sorted(set(file.symbols))
    named(found, file.path)
    if symbol is not None and found != [symbol]:
        what = f"its symbol column names {', '.join(found[:5])}, not {symbol}"
        raise ArchiveError(what, file.path, "leave --symbol out")
    return [(name, np.flatnonzero(names == name)) for name in found]


def calendar_of(table: Mapping[Key, Instrument], exchange: str, symbol: str, wanted: Mapping[str, str | None]) -> str:
    """The symbol's calendar as known, wished, or told by its name."""
    known = table.get((exchange, symbol))
    if known:
        return known.calendar
    nothing = np.zeros(0)
    return wanted.get("calendar") or inferred(exchange, symbol, nothing, nothing, wanted.get("asset")).calendar


def closes_of(starts: Ints, timeframe: str, calendar: str) -> Ints:
    """Bar closes from bar starts. A daily equity bar starts at some hour of its date, UTC or New York."""
    if not timeframe.endswith("d") or calendar == ALWAYS:
        return starts + TIMEFRAME_MS[timeframe]
    stamps = daily_times()
    of_day = dict(zip((stamps // DAY_MS).tolist(), stamps.tolist(), strict=True))
    local = ZoneInfo("America/New_York")

    def day(start: int) -> int:
        if start % DAY_MS == 0:
            return start // DAY_MS
        at = datetime.fromtimestamp(start / 1000, UTC).astimezone(local)
        return (at.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days

    # A date without a session keeps its start, which no daily bar may carry: it is refused by name.
    return np.array([of_day.get(day(start), start) for start in starts.tolist()], dtype=np.int64)
