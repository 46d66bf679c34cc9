"""The download itself: plan, ask, check, archive, remember; what a kill leaves is whole and goes on the next time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.feeds.calendar import ALWAYS, DAY_MS
from avwapd.feeds.check import check_bars
from avwapd.feeds.live import FeedDoubt
from avwapd.ports import Clock
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from avwapd.store.coverage import Asked, Coverage, Stretch, joined, lacking
from avwapd.store.instruments import Instrument, Instruments, settle
from avwapd.verbs.bars_import import Outcome, daily_times, settle_rows
from avwapd.verbs.fetch_plan import Chunk, planned
from avwapd.verbs.fetch_source import Source

REST_S = (1.0, 2.0, 4.0)  # wall seconds between the attempts at one question
CHUNK_LIMIT_S = 600.0  # for one piece with all its attempts
PRICED = ("open", "high", "low", "close", "volume")
GIVE_UP_AFTER = 3  # pieces in a row that could not be had: the venue is not there
FRESH_MS = 60_000  # a venue may still correct a bar as young as this: it is taken, and asked again
NONE: NDArray[np.float64] = np.zeros(0)
T = TypeVar("T")


@dataclass
class Missing:
    """Bars that could not be had. again: another fetch may get them."""

    symbols: tuple[str, ...]
    first_ms: int
    last_ms: int
    reason: str
    again: bool = True


@dataclass
class Fetched:
    """What became of a download. unknown: symbols that the venue does not have."""

    exchange: str
    timeframe: str
    first_ms: int
    last_ms: int
    symbols: tuple[str, ...]
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    chunks: int = 0
    done: int = 0
    failed: int = 0
    questions: int = 0
    added: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, int, str]] = field(default_factory=list)  # (symbol, ts_ms, reason)
    missing: list[Missing] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not (self.unknown or self.refused or self.missing)


@dataclass(frozen=True)
class Ask:
    """What is wanted. first_ms: None for `back_days` before now; last_ms: None for up to the last closed bar.

    wanted: instrument fields by option.
    """

    exchange: str
    timeframe: str
    symbols: tuple[str, ...]
    first_ms: int | None
    last_ms: int | None
    back_days: int
    wanted: Mapping[str, str | None]


async def fetch(
    ask: Ask,
    source: Source,
    archive: Archive,
    clock: Clock,
    told: Callable[[Fetched], None] = lambda done: None,
    begun: Callable[[Fetched], None] = lambda done: None,
) -> Fetched:
    """Download; `told` after every piece. clock: market time.

    Raises ArchiveError where the archive cannot be written or an option contradicts it, and FeedDoubt where the venue
    does not even say what the symbols are.
    """
    now_ms = clock.now_ms()
    last_ms = now_ms if ask.last_ms is None else min(ask.last_ms, now_ms)
    first_ms = (last_ms // DAY_MS - ask.back_days) * DAY_MS + 1 if ask.first_ms is None else ask.first_ms
    done = Fetched(ask.exchange, ask.timeframe, first_ms, last_ms, ask.symbols)
    begun(done)
    table = await described(ask, source, archive, clock, done)
    known = [symbol for symbol in ask.symbols if symbol not in done.unknown]
    if not known or last_ms < first_ms:
        return done
    coverage = Coverage(archive, ask.exchange, ask.timeframe)
    calendars = {symbol: table[ask.exchange, symbol].calendar for symbol in known}
    held = coverage.held(known, first_ms, last_ms)
    first_ms = reached(source.reach_ms, held, done)
    chunks = planned(held, calendars, ask.timeframe, first_ms, last_ms, chunk_bars=source.chunk_bars)
    done.chunks = len(chunks)
    in_a_row = 0
    for number, chunk in enumerate(chunks):
        bars, reason = await answered(source, chunk, clock, done)
        if bars is None:
            in_a_row += 1
            done.failed += 1
            done.missing.append(Missing(chunk.symbols, chunk.first_ms, chunk.last_ms, reason))
            if in_a_row == GIVE_UP_AFTER and chunks[number + 1 :]:
                rest = chunks[number + 1 :]
                names = tuple(sorted({symbol for left in rest for symbol in left.symbols}))
                end = max(left.last_ms for left in rest)
                why = f"not asked: {GIVE_UP_AFTER} questions in a row had no answer"
                done.missing.append(Missing(names, rest[0].first_ms, end, why))
                break
        else:
            in_a_row = 0
            taken(ask, archive, table, chunk, bars, clock.now_ms(), done)
            done.done += 1
            coverage.add(settled(chunk, done, now_ms))
        told(done)
    return done


def reached(reach_ms: int | None, held: Mapping[str, Sequence[Stretch]], done: Fetched) -> int:
    """The first close that can be asked for; what is lacking before it can be had nowhere, and is told."""
    if reach_ms is None or reach_ms <= done.first_ms:
        return done.first_ms
    gone: dict[Stretch, list[str]] = {}
    for symbol in sorted(held):
        for stretch in lacking(held[symbol], done.first_ms, min(reach_ms - 1, done.last_ms)):
            gone.setdefault(stretch, []).append(symbol)
    why = f"{done.exchange} gives no older bars; import them: avwapd bars import"
    done.missing += [
        Missing(tuple(symbols), first, last, why, again=False) for (first, last), symbols in sorted(gone.items())
    ]
    return reach_ms


async def described(
    ask: Ask, source: Source, archive: Archive, clock: Clock, done: Fetched
) -> dict[tuple[str, str], Instrument]:
    """Every instrument: as it was at its first bars, else as the venue has it and the options say."""
    table = Instruments(archive.root).load()
    fresh = [symbol for symbol in ask.symbols if (ask.exchange, symbol) not in table]
    said = await insisted(lambda: source.instruments(fresh), clock) if fresh else {}
    done.questions += bool(fresh)
    done.unknown = [symbol for symbol in fresh if symbol not in said]
    options = {name: value for name, value in ask.wanted.items() if value is not None}
    for symbol in ask.symbols:
        if symbol not in done.unknown:
            settle(table, ask.exchange, symbol, NONE, NONE, {**said.get(symbol, {}), **options})
    for symbol in fresh:
        if symbol in said:
            row = table[ask.exchange, symbol]
            done.notes.append(f"{symbol}: {row.asset} in {row.quote}, tick {row.tick}, lot {row.lot}, {row.calendar}")
    return table


async def answered(source: Source, chunk: Chunk, clock: Clock, done: Fetched) -> tuple[NDArray[np.void] | None, str]:
    """The piece's bars, or why there are none after some attempts."""

    async def ask() -> NDArray[np.void]:
        done.questions += 1
        return await source.history(chunk.symbols, chunk.first_ms, chunk.last_ms)

    try:
        return await insisted(ask, clock), ""
    except FeedDoubt as doubt:
        return None, " ".join(doubt.reason.split())[:200]


async def insisted(ask: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """What `ask` gives, after some attempts and some rest where it has no answer; at last its FeedDoubt."""
    reason = ""
    with anyio.move_on_after(CHUNK_LIMIT_S):
        for rest_s in (*REST_S, None):
            try:
                return await ask()
            except FeedDoubt as doubt:
                if rest_s is None:
                    raise
                reason = f"; before: {doubt.reason}"
                await clock.sleep(max(rest_s, doubt.retry_s))
    raise FeedDoubt(f"no whole answer within {CHUNK_LIMIT_S:g} s{reason}")


def taken(
    ask: Ask,
    archive: Archive,
    table: Mapping[tuple[str, str], Instrument],
    chunk: Chunk,
    bars: NDArray[np.void],
    now_ms: int,
    done: Fetched,
) -> None:
    """Check and archive one piece. bars: BAR rows, symbol = index into ask.symbols."""
    place = {symbol: index for index, symbol in enumerate(ask.symbols)}
    outcomes, parts, rows = [], list[pa.Table](), list[NDArray[np.int64]]()
    for symbol in chunk.symbols:
        mine = np.flatnonzero(bars["symbol"] == place[symbol])
        outcome = Outcome("", ask.exchange, symbol, ask.timeframe, len(mine))
        outcomes.append(outcome)
        columns = {name: np.ascontiguousarray(bars[name][mine]) for name in ("ts_ms", *PRICED)}
        equity = ask.timeframe.endswith("d") and table[ask.exchange, symbol].calendar != ALWAYS
        checked = check_bars(
            columns,
            timeframe_ms=TIMEFRAME_MS[ask.timeframe],
            stamps=daily_times() if equity else None,
            now_ms=now_ms,
        )
        outcome.refused = [(int(mine[bad.row]), bad.ts_ms, bad.reason) for bad in checked.refused]
        if len(checked.kept):
            parts.append(as_table(symbol, {name: column[checked.kept] for name, column in columns.items()}))
            rows.append(mine[checked.kept])
    if parts:
        settle_rows(archive, table, outcomes, pa.concat_tables(parts), np.concatenate(rows), strict=False)
    else:
        Instruments(archive.root).add(table)
    for outcome in outcomes:
        done.added[outcome.symbol] += outcome.added
        done.unchanged[outcome.symbol] += outcome.unchanged
        done.refused += [(outcome.symbol, ts_ms, reason) for _, ts_ms, reason in outcome.refused]


def settled(chunk: Chunk, done: Fetched, now_ms: int) -> list[Asked]:
    """What of the piece needs no more asking: all of it, but refused bars and those so young that they may change."""
    last_ms = min(chunk.last_ms, now_ms - FRESH_MS)
    if last_ms < chunk.first_ms:
        return []
    holes: dict[str, list[Stretch]] = {}
    for symbol, ts_ms, _ in done.refused:
        if chunk.first_ms <= ts_ms <= last_ms:
            holes.setdefault(symbol, []).append((ts_ms, ts_ms))
    return [
        Asked(symbol, first, last)
        for symbol in chunk.symbols
        for first, last in lacking(joined(holes.get(symbol, [])), chunk.first_ms, last_ms)
    ]
