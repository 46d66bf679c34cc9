"""`bars fetch --actions`: splits and dividends as the venue tells them, into the archive, month by month."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from avwapd.feeds.live import FeedDoubt
from avwapd.ports import Clock
from avwapd.store.actions import Actions, Event, Given, events_of, merge, shown, table_of, unfit
from avwapd.store.archive import Archive
from avwapd.verbs.fetch_source import ActionSource
from avwapd.verbs.fetch_work import Fetched, insisted

NEW_YORK = ZoneInfo("America/New_York")
SHOWN = 20
WINDOW = timedelta(30)  # of one question: its dividends' closes are asked day by day


@dataclass
class Taken:
    """What became of the venue's events. changes: what no ratio tells; a person must look."""

    events: int = 0
    added: int = 0
    unchanged: int = 0
    refused: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # there, but unknown to the venue

    @property
    def whole(self) -> bool:
        return not (self.refused or self.unanswered)

    def facts(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        head = f"corporate actions: {self.added} of {self.events} added"
        found = [head + (f", {self.unchanged} were there already" if self.unchanged else "")]
        for words, lines in (
            ("refused", self.refused),
            ("no answer for", self.unanswered),
            ("look at", self.changes),
            ("in the archive, unknown to the venue", self.missing),
        ):
            found += [f"  {words}: {line}" for line in lines[:SHOWN]]
            found += [f"  … and {len(lines) - SHOWN} more: --json shows all"] if len(lines) > SHOWN else []
        return found


async def fetch_actions(
    source: ActionSource,
    archive: Archive,
    done: Fetched,
    symbols: Sequence[str],
    clock: Clock,
    told: Callable[[str], None] = lambda line: None,
) -> Taken:
    """Ask for the days of a download and merge; an event that differs from the archive is refused, and named.

    Raises StoreError.
    """
    taken, failed = Taken(), 0
    for first, last in windows(day_of(done.first_ms), day_of(done.last_ms)):
        told(f"corporate actions of {first} to {last}: {taken.events} so far")

        async def question(first: date = first, last: date = last) -> tuple[Sequence[Any], Sequence[Any]]:
            return await source.corporate_actions(symbols, first, last)

        try:
            rows, changes = await insisted(question, clock)
        except FeedDoubt as doubt:
            taken.unanswered.append(f"{first} to {last}: {' '.join(doubt.reason.split())[:200]}")
            failed += 1
            if failed == 3:
                taken.unanswered.append(f"{last} to {day_of(done.last_ms)}: not asked any more")
                break
            continue
        failed = 0
        taken.changes += [f"{change.symbol} {shown(change.date)}: {change.what}" for change in changes]
        put(archive, done.exchange, rows, symbols, first, last, taken)
    return taken


def windows(first: date, last: date) -> Iterator[tuple[date, date]]:
    """[first, last] in pieces, both ends included."""
    while first <= last:
        end = min(first + WINDOW, last)
        yield first, end
        first = end + timedelta(1)


def put(
    archive: Archive, exchange: str, rows: Sequence[Any], symbols: Sequence[str], first: date, last: date, taken: Taken
) -> None:
    """One window's events into the archive's table."""
    events = []
    for row in rows:
        event = Event(row.symbol, row.ex_date, float(row.price_ratio), float(row.split_ratio))
        wrong = unfit(event.price_ratio, event.split_ratio)
        if wrong:
            taken.refused.append(f"{row.symbol} {shown(row.ex_date)}: {wrong}")
        else:
            events.append(event)
    taken.events += len(rows)
    with archive.writing():
        actions = Actions(archive.root, exchange)
        before = actions.load()
        table = table_of(before)
        for event in events:
            # One by one: a contradiction keeps out that event, not those of other symbols.
            done = merge(table, Given(actions.path, (event,), False, (event.symbol,), event.ex_date, event.ex_date))
            taken.added += done.added if not done.conflicts else 0
            taken.unchanged += done.unchanged
            taken.refused += [
                f"{new.symbol} {shown(new.ex_date)}: the venue says price x{new.price_ratio:.7g} split "
                f"x{new.split_ratio:.7g}, the archive has x{old.price_ratio:.7g} x{old.split_ratio:.7g}"
                for old, new in done.conflicts
            ]
        after = events_of(table)
        if after != before:
            actions.save(after)
    said = {(event.symbol, event.ex_date) for event in events}
    begin, end = (int(f"{day:%Y%m%d}") for day in (first, last))
    taken.missing += [
        f"{event.symbol} {shown(event.ex_date)}"
        for event in before
        if event.symbol in symbols and begin <= event.ex_date <= end and (event.symbol, event.ex_date) not in said
    ]


def day_of(ts_ms: int) -> date:
    """New York's date."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone(NEW_YORK).date()
