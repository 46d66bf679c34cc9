"""What is asked before each session: corporate actions, names, hours; merged with what the archive knows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avwapd.feeds.bar_source import FeedDoubt
from avwapd.feeds.calendar import DAY_MS
from avwapd.feeds.market import action_records

log = logging.getLogger("avwapd.feed")

DAY_BEGINS_MS = 6 * 3_600_000  # UTC: between 20:00 and 04:00 New York at any time of the year
BACK_DAYS, AHEAD_DAYS = 7, 3
AGAIN_MS = 300_000  # market time until a failed question is put again


class News(NamedTuple):
    """Something for a human. halt: the symbol that opens nothing until then."""

    level: str
    what: str
    halt: int | None = None


@dataclass
class Session:
    """What one refresh found. actions: ACTION rows that were not known before."""

    actions: NDArray[np.void]
    changes: list[tuple[int, int, str]] = field(default_factory=list)  # (yyyymmdd, symbol, what)
    failed: str = ""
    differences: list[Any] = field(default_factory=list)
    symbols: Sequence[str] = ()


class SessionFacts:
    """actions: ACTION rows by time: the archive's, then also the venue's; of one event the archive's stays."""

    def __init__(self, source: Any, symbols: Sequence[str], actions: NDArray[np.void]) -> None:
        self.actions = actions
        self.differences: list[Any] = []  # days of which the venue says something else than the packaged calendar
        self.known = not hasattr(source, "corporate_actions")
        self._source = source
        self._symbols = tuple(symbols)
        self._day = -1
        self._again_ms = 0
        self._told: set[Any] = set()

    def due(self, ts_ms: int) -> bool:
        """Whether a bar that closes then begins a day, or an earlier question failed and is to be put again."""
        return (ts_ms - DAY_BEGINS_MS) // DAY_MS > self._day or (not self.known and ts_ms >= self._again_ms)

    async def refresh(self, ts_ms: int, since_ms: int = 0) -> Session:
        """Ask for the session of a bar that closes at `ts_ms`, and back to `since_ms`, else a week.

        What is already known or told is left out.
        """
        self._day = (ts_ms - DAY_BEGINS_MS) // DAY_MS
        found = Session(self.actions[:0], symbols=self._symbols)
        today = datetime.fromtimestamp((ts_ms - DAY_BEGINS_MS) / 1000, UTC).date()
        back = (ts_ms - since_ms) // DAY_MS + 1 if since_ms else BACK_DAYS
        try:
            if hasattr(self._source, "corporate_actions"):
                rows, changes = await self._source.corporate_actions(
                    self._symbols, today - timedelta(back), today + timedelta(AHEAD_DAYS)
                )
                found.actions = self._merge(rows)
                begin = int(f"{today:%Y%m%d}")
                found.changes = [
                    (date, self._symbols.index(symbol), what)
                    for date, symbol, what in self._fresh(changes)
                    if date >= begin
                ]
            if hasattr(self._source, "session_differences"):
                self.differences = await self._source.session_differences(today, today + timedelta(AHEAD_DAYS))
                found.differences = self._fresh(self.differences)
            self.known = True
        except FeedDoubt as doubt:
            self.known = False
            self._again_ms = ts_ms + AGAIN_MS
            if self._fresh([("failed", self._day)]):
                found.failed = doubt.reason
        return found

    def ask_again(self) -> None:
        """The next bar is the first of a day, whatever was asked before."""
        self._day = -1

    def _fresh(self, things: Iterable[Any]) -> list[Any]:
        found = [thing for thing in things if thing not in self._told]
        self._told.update(found)
        return found

    def _merge(self, rows: Sequence[tuple[int, str, float, float]]) -> NDArray[np.void]:
        """Put the venue's events beside the archive's; those that were not there."""
        there = set(zip(self.actions["date"].tolist(), self.actions["symbol"].tolist(), strict=True))
        told = [(date, self._symbols.index(symbol), price, split) for date, symbol, price, split in rows]
        new = action_records(sorted(row for row in told if row[:2] not in there))
        if len(new):
            both = np.concatenate([self.actions, new])
            self.actions = both[np.lexsort((both["symbol"], both["ts_ms"]))]
        return new


def news_of(found: Session, last_ms: Sequence[int], restated_ms: int) -> list[News]:
    """What of it a human must hear. last_ms: each symbol's newest folded bar; restated_ms: actions up to here are done.

    A split that is heard of after bars of its session were folded cannot be put in its place any more.
    """
    news = []
    if found.failed:
        news.append(News("warning", f"splits, names and hours of this session are unknown: {found.failed}"))
    for row in found.actions:
        symbol = int(row["symbol"])
        if row["split_ratio"] != 1.0 and restated_ms < row["ts_ms"] < last_ms[symbol]:
            what = (
                f"{found.symbols[symbol]}: a split of {int(row['date'])} was heard of after bars of its session; "
                "compare with the venue, then resume"
            )
            news.append(News("critical", what, symbol))
    for date, symbol, what in found.changes:
        news.append(News("critical", f"{found.symbols[symbol]} {what} ({date})", symbol))
    for day in found.differences:
        ours, theirs = (day.packaged_open_ms, day.packaged_close_ms), (day.open_ms, day.close_ms)
        news.append(News("critical", f"the venue's hours of {day.date} are {theirs}, the calendar's {ours} (ms UTC)"))
    return news
