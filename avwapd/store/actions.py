"""Corporate actions of an exchange: by what earlier prices are multiplied once a session has opened.

`archive/EXCHANGE/actions.csv`, sorted by symbol and ex-date, replaced whole. A split of 7 for 1 has the ratio
1/7; the price ratio is the split's times the dividend's. An event that is there stays: an equal one is counted,
a different one refused, unless it is to be replaced.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from avwapd.store import StoreError
from avwapd.store.whole import write_whole

FILE = "actions.csv"
HEADER = ("symbol", "ex_date", "price_ratio", "split_ratio")
SAME = 1e-5  # relative; what rounding to six digits may move between two editions of one factor file
LEAST, MOST = 1e-6, 1e6  # of a ratio; beyond, it is a slip of the pen


class ActionsError(StoreError):
    """Corporate actions that cannot be read, written or understood. lines: each bad line with its reason."""

    def __init__(self, what: str, where: object, next_step: str, lines: Sequence[tuple[int, str]] = ()) -> None:
        super().__init__(what, where, next_step)
        self.lines = tuple(lines)


class Event(NamedTuple):
    """One ex-date of one symbol."""

    symbol: str
    ex_date: int  # yyyymmdd of the first session that trades without it
    price_ratio: float  # every earlier price is multiplied by it
    split_ratio: float  # the split's part; every earlier volume is divided by it


class Given(NamedTuple):
    """What one file says."""

    path: Path
    events: tuple[Event, ...]
    whole: bool  # every event of its symbols between `first` and `last` is in it
    symbols: tuple[str, ...]
    first: int  # yyyymmdd
    last: int
    ignored: int = 0  # events before the calendar's first session, which no bar can show


Table = dict[str, dict[int, Event]]  # by symbol and ex-date


@dataclass
class Merged:
    """What became of a file's events. conflicts: (there, given)."""

    added: int = 0
    unchanged: int = 0
    replaced: int = 0
    removed: list[Event] = field(default_factory=list)
    missing: list[Event] = field(default_factory=list)  # there, but not in a file that holds all
    conflicts: list[tuple[Event, Event]] = field(default_factory=list)


def unfit(price_ratio: float, split_ratio: float) -> str:
    """What is wrong with an event's ratios, "" where nothing is."""
    for name, value in (("price ratio", price_ratio), ("split ratio", split_ratio)):
        if not math.isfinite(value) or value <= 0:
            return f"the {name} {value:g} is not a positive number"
        if not LEAST <= value <= MOST:
            return f"the {name} {value:g} lies outside {LEAST:g} to {MOST:g}"
    return ""


def same(one: Event, other: Event) -> bool:
    """Equal up to the rounding of published factors."""
    pairs = ((one.price_ratio, other.price_ratio), (one.split_ratio, other.split_ratio))
    return all(abs(a / b - 1.0) <= SAME for a, b in pairs)


def merge(table: Table, given: Given, *, replace: bool = False) -> Merged:
    """Put a file's events into the table, all of them or, where one contradicts, none; what became of each."""
    done, fresh = Merged(), list[Event]()
    for event in given.events:
        old = table.get(event.symbol, {}).get(event.ex_date)
        if old is None:
            done.added += 1
        elif same(old, event):
            done.unchanged += 1
            continue
        elif replace:
            done.replaced += 1
        else:
            done.conflicts.append((old, event))
        fresh.append(event)
    if given.whole:
        said = {(event.symbol, event.ex_date) for event in given.events}
        there = (event for symbol in given.symbols for _, event in sorted(table.get(symbol, {}).items()))
        inside = (event for event in there if given.first <= event.ex_date <= given.last)
        (done.removed if replace else done.missing).extend(e for e in inside if (e.symbol, e.ex_date) not in said)
    if not done.conflicts:
        for event in fresh:
            table.setdefault(event.symbol, {})[event.ex_date] = event
        for event in done.removed:
            del table[event.symbol][event.ex_date]
    return done


def table_of(events: Iterable[Event]) -> Table:
    table: Table = {}
    for event in events:
        table.setdefault(event.symbol, {})[event.ex_date] = event
    return table


def events_of(table: Table) -> list[Event]:
    """Sorted by symbol and ex-date."""
    return sorted(event for of_symbol in table.values() for event in of_symbol.values())


class Actions:
    """The events of one exchange. Whoever writes holds the archive's lock."""

    def __init__(self, archive: Path, exchange: str) -> None:
        self.path = archive / exchange / FILE

    def load(self) -> list[Event]:
        """Every event, sorted by symbol and ex-date; a file that was touched by others may be refused."""
        try:
            if not self.path.exists():
                return []
            with self.path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                if tuple(next(rows, ())) != HEADER:
                    raise ValueError(f"its first line is not {','.join(HEADER)}")
                events = [_event(row, rows.line_num) for row in rows]
        except OSError as error:
            what = f"the corporate actions cannot be read ({error.strerror or error})"
            raise ActionsError(what, self.path, "give this user the right to read them") from error
        except (ValueError, csv.Error) as error:
            what = f"the corporate actions are damaged ({str(error)[:100]})"
            raise ActionsError(
                what, self.path, "restore them from a backup, or move the file and import again"
            ) from error
        for earlier, later in pairwise(events):
            if (earlier.symbol, earlier.ex_date) >= (later.symbol, later.ex_date):
                what = f"the corporate actions are damaged (out of order at {later.symbol} {later.ex_date})"
                raise ActionsError(what, self.path, "restore them from a backup, or move the file and import again")
        return events

    def save(self, events: Iterable[Event]) -> None:
        """The whole file anew; the old one stays where that fails."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(HEADER)
        rows.writerows((e.symbol, shown(e.ex_date), repr(e.price_ratio), repr(e.split_ratio)) for e in events)
        write_whole(self.path, text.getvalue().encode())


def shown(date: int) -> str:
    """20140609 → "2014-06-09"."""
    return f"{date // 10_000:04}-{date // 100 % 100:02}-{date % 100:02}"


def _event(row: Sequence[str], line: int) -> Event:
    try:
        symbol, day, price, split = row
        event = Event(symbol, int(f"{date.fromisoformat(day):%Y%m%d}"), float(price), float(split))
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from None
    wrong = unfit(event.price_ratio, event.split_ratio)
    if wrong or not symbol:
        raise ValueError(f"line {line}: {wrong or 'no symbol'}")
    return event
