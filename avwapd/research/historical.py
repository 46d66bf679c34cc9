"""The scan, session after session: what it would have said on each evening, from what was known that evening."""

from __future__ import annotations

import bisect
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from avwapd.config import Config
from avwapd.feeds.daily import DailyMarket
from avwapd.research import ResearchError, output
from avwapd.research.scanning import holes_in, inputs_of
from avwapd.scan.errors import ScanError
from avwapd.scan.result import Member
from avwapd.scan.run import Row, ScanResult, scan
from avwapd.scan.watchlist import SIDES, row_of
from avwapd.store.lists import Lists
from avwapd.store.universe import Snapshot
from avwapd.store.watchlist import rows_problems

FILE = "historical_candidates.parquet"
Progress = Callable[[int, int], None]
DATES = ("scan_date", "anchor_date")
ALWAYS_THERE = (*DATES, "atr", "swing_low", "swing_high")  # an unknown figure is a NaN there, not a null


@dataclass(frozen=True)
class Known:
    """What a scan is told besides bars. universes: oldest first; members: instead of them, with rules alone."""

    universes: Sequence[Snapshot]
    lists: Lists
    members: Mapping[str, Member] = field(default_factory=dict)

    def universe(self, day: int) -> Snapshot:
        """The newest snapshot at or before the day; before the first one, the first: it then has survivors only."""
        dates = [snapshot.date for snapshot in self.universes]
        return self.universes[max(bisect.bisect_right(dates, day) - 1, 0)]


@dataclass
class Walk:
    """What the walk came to."""

    sessions: int = 0
    rows: int = 0
    empty: Counter[str] = field(default_factory=Counter)  # sessions without candidates, by reason
    fallen: Counter[str] = field(default_factory=Counter)  # symbol-days, by step
    warnings: Counter[str] = field(default_factory=Counter)

    def add(self, result: ScanResult) -> None:
        self.sessions += 1
        self.rows += len(result.rows)
        if not result.rows:
            self.empty[result.reason or "no symbol passed"] += 1
        self.fallen.update(str(fallen.step) for fallen in result.out)
        self.warnings.update(result.warnings)

    def empty_by_kind(self) -> Counter[str]:
        """Sessions without candidates by the first word of their reason: the figures in it differ every day."""
        return _by_kind(self.empty)

    def warnings_by_kind(self) -> Counter[str]:
        """Warnings likewise, each with the words of its first day."""
        return _by_kind(self.warnings)


def _by_kind(reasons: Mapping[str, int]) -> Counter[str]:
    kinds: dict[str, list[str]] = {}
    for reason in reasons:
        kinds.setdefault(reason.partition(":")[0], []).append(reason)
    found: Counter[str] = Counter()
    for kind, those in kinds.items():
        text = those[0] if len(those) == 1 else f"{kind}, at first:{those[0].partition(':')[2]}"
        found[text] = sum(reasons[reason] for reason in those)
    return found


def session_dates(market: DailyMarket, first: int, last: int) -> list[int]:
    """Dates (yyyymmdd) of the sessions in [first, last] that any symbol has a bar of."""
    seen = np.unique(market.days.session)
    dates = market.sessions["date"][seen]
    chosen: list[int] = dates[(dates >= first) & (dates <= last)].tolist()
    return chosen


def walk(
    market: DailyMarket,
    config: Config,
    known: Known,
    dates: Sequence[int],
    *,
    rules_only: bool = False,
    progress: Progress | None = None,
) -> Iterator[ScanResult]:
    """One result a session, in order."""
    for done, day in enumerate(dates):
        snapshot = None if rules_only else known.universe(day)
        members = members_of(snapshot) if snapshot else known.members
        stand_in = bool(snapshot and snapshot.date > day)
        inputs = inputs_of(market, members, known.lists, config, day, stand_in=stand_in)
        try:
            if not rules_only:
                holes_in(market, config, day)
            result = scan(inputs, config, rules_only=rules_only)
            if result.scan_date != day:  # the named symbols have no bar of it: that scan was an earlier day's
                result = ScanResult(day, -1, f"no bar: the last is of {result.scan_date}", (), (), (), {}, ())
            yield result
        except ScanError as error:  # that evening there was no list
            yield ScanResult(day, -1, f"the scan failed: {error.what}", (), (), (), {}, ())
        if progress is not None:
            progress(done + 1, len(dates))


@lru_cache(maxsize=2)
def members_of(snapshot: Snapshot) -> Mapping[str, Member]:
    return {row.symbol: row for row in snapshot.rows}


# ------------------------------------------------------------------------------------------------------ files


def schema() -> pa.Schema:
    """One column for each field of a Row; dates as dates."""
    kinds = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    words = {f.name: str(f.type).removesuffix(" | None") for f in dataclasses.fields(Row)}
    return pa.schema([(name, pa.date32() if name in DATES else kinds[word]) for name, word in words.items()])


def write_candidates(path: Path, results: Iterator[ScanResult]) -> Walk:
    """All candidates of a walk into one Parquet file, whole or not at all."""
    done = Walk()
    part = output.beside(path)
    kept = False
    try:
        with pyarrow.parquet.ParquetWriter(part, schema(), **output.PARQUET) as file:
            for result in results:
                done.add(result)
                if result.rows:
                    file.write_table(table(result.rows))
        kept = True
    except OSError as error:
        what = f"the candidates cannot be written ({error.strerror or error})"
        raise ResearchError(what, path, "free space or name another place: --out") from error
    finally:
        output.finish(part, path, kept=kept)
    return done


def table(rows: Sequence[Row]) -> pa.Table:
    names = [f.name for f in dataclasses.fields(Row)]
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    for name in DATES:
        columns[name] = [as_date(value) for value in columns[name]]
    return pa.table(columns, schema=schema())


def as_date(day: int) -> date:
    return date(day // 10_000, day // 100 % 100, day % 100)


def read_candidates(path: Path) -> dict[int, list[dict[str, Any]]]:
    """Rows as a watchlist has them by scan date (yyyymmdd); raises ResearchError where the file is not one of ours."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:  # read_table would take a folder too
            found = file.read()
    except (pa.ArrowException, OSError) as error:
        what = f"the candidates cannot be read ({str(error).splitlines()[0][:80]})"
        raise ResearchError(what, path, "make them: avwapd backtest --mode historical_scan --out DIR") from error
    if not found.schema.equals(schema()):
        what = "the candidates have other columns than this version's"
        raise ResearchError(what, path, "make them anew: avwapd backtest --mode historical_scan --out DIR")
    lists: dict[int, list[dict[str, Any]]] = {}
    for at, row in enumerate(found.to_pylist(), start=1):
        day, kept = listed(row)
        if kept is None:
            raise no_list(f"row {at} has a date or direction that a scan never writes", path)
        lists.setdefault(day, []).append(kept)
    for day, rows in lists.items():
        problem = next(rows_problems(rows), None)
        if problem:
            raise no_list(f"of {as_date(day)}, {problem}", path)
    return lists


def listed(row: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
    """(scan date, the watchlist's row) of a row of the file; None where its dates or its direction are no such."""
    if row["direction"] not in SIDES or None in (row[name] for name in ALWAYS_THERE):
        return 0, None
    for name in DATES:
        row[name] = int(f"{row[name]:%Y%m%d}")
    return row["scan_date"], row_of(Row(**row))


def no_list(what: str, path: Path) -> ResearchError:
    next_step = "make them anew: avwapd backtest --mode historical_scan --out DIR"
    return ResearchError(f"the candidates are refused: {what}", path, next_step)
