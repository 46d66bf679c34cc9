"""Dated snapshots of the universe: `STATE/universe/YYYY-MM-DD.csv`, kept for ever.

Columns Ticker,Name,Sector,WeightPct,Exchange, sorted by ticker; made by `avwapd universe refresh`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from avwapd.store import StoreError
from avwapd.store.lists import of_calendar, whole
from avwapd.store.whole import write_whole
from avwapd.store.words import is_symbol, is_word

COLUMNS = ("Ticker", "Name", "Sector", "WeightPct", "Exchange")
_NAME = re.compile(r"(\d{4})-(\d{2})-(\d{2})\.csv", re.ASCII)


class UniverseError(StoreError):
    """No snapshot of the universe, or one that cannot be read."""


class Member(NamedTuple):
    """One symbol. weight_pct: of the fund; exchange: where it is listed, "" where unknown."""

    symbol: str
    name: str
    sector: str
    weight_pct: float
    exchange: str = ""


@dataclass(frozen=True)
class Snapshot:
    """date: yyyymmdd; rows: sorted by symbol; digest: sha256 of the file.

    stand_in: no snapshot is as old as was asked for; this is the oldest.
    """

    date: int
    rows: tuple[Member, ...]
    path: Path
    digest: str
    stand_in: bool = False


def dates(folder: Path) -> list[int]:
    """The days of all snapshots, yyyymmdd, the oldest first."""
    names = (_NAME.fullmatch(path.name) for path in folder.glob("*.csv"))
    days = (of_calendar(*name.groups()) for name in names if name)
    return sorted(day for day in days if day)


def place(folder: Path, day: int) -> Path:
    return folder / f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}.csv"


def newest(folder: Path, day: int | None = None) -> Snapshot | None:
    """The newest snapshot, or the newest of `day` (yyyymmdd) or before; None where there is none."""
    fitting = [found for found in dates(folder) if day is None or found <= day]
    return load(place(folder, fitting[-1]), fitting[-1]) if fitting else None


def as_of(folder: Path, day: int | None = None) -> Snapshot:
    """The same, but for a day before the first snapshot the oldest stands in and says so.

    UniverseError where there is no snapshot at all.
    """
    found = newest(folder, day)
    if found is not None:
        return found
    every = dates(folder)
    if not every:
        raise UniverseError("there is no snapshot of the universe", folder, "avwapd universe refresh --file FILE")
    return load(place(folder, every[0]), every[0], stand_in=True)


def load(path: Path, day: int, *, stand_in: bool = False) -> Snapshot:
    """One file, checked row by row."""
    next_step = "move it away and take the snapshot again: avwapd universe refresh --file FILE --date DATE"
    try:
        content = whole(path)
        reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
        if tuple(next(reader, ())) != COLUMNS:
            raise UniverseError(f"the snapshot's columns are not {','.join(COLUMNS)}", path, next_step)
        rows = tuple(
            Member(symbol, name, sector, float(weight), exchange) for symbol, name, sector, weight, exchange in reader
        )
        check(rows)
    except OSError as error:
        raise UniverseError(f"the snapshot cannot be read ({error.strerror or error})", path, next_step) from error
    except (ValueError, csv.Error) as error:
        raise UniverseError(f"the snapshot is damaged ({str(error)[:80]})", path, next_step) from error
    if not rows or any(left.symbol >= right.symbol for left, right in pairwise(rows)):
        raise UniverseError("the snapshot is empty, out of order or names a ticker twice", path, next_step)
    return Snapshot(day, rows, path, hashlib.sha256(content).hexdigest(), stand_in)


def check(rows: Iterable[Member]) -> None:
    """ValueError where a row could not have come from a refresh."""
    for row in rows:
        if not is_symbol(row.symbol):
            raise ValueError(f"{row.symbol[:40]!r} is no symbol")
        if not math.isfinite(row.weight_pct):
            raise ValueError(f"the weight of {row.symbol} is no number")
        if not all(map(is_word, (row.name, row.sector, row.exchange))):
            raise ValueError(f"a name of {row.symbol} is too long or cannot be shown")


def save(folder: Path, day: int, members: Iterable[Member]) -> Snapshot:
    """Write a day's snapshot whole, over another of the same day; gives it as it will be read."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*member[:3], repr(member.weight_pct), member.exchange) for member in sorted(members))
    path = place(folder, day)
    write_whole(path, text.getvalue().encode())
    return load(path, day)
