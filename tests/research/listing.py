"""Lists as a scan might have made them of a market's own sessions, and a run that is given them in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avwapd.feeds.world import Setup
from avwapd.store.watchlist import Watchlist, version_of
from tests.research import paper
from tests.store import story

Lists = dict[int, list[dict[str, Any]]]


def lists_of(setup: Setup) -> Lists:
    """A list a session: all symbols but the last; the third is one tier lower, the fourth not marked."""
    bars, names = setup.market.bars, setup.market.symbols
    found: Lists = {}
    for session in setup.sessions:
        within = bars[(bars["ts_ms"] > session["open_ms"]) & (bars["ts_ms"] <= session["close_ms"])]
        if not len(within):
            continue
        rows = [row_of(within[within["symbol"] == n], names[n], n) for n in range(len(names) - 1)]
        found[int(session["date"])] = [{**row, "rank": n + 1} for n, row in enumerate(rows)]
    return found


def row_of(bars: Any, symbol: str, n: int) -> dict[str, Any]:
    high, low, close = (float(value) for value in (bars["high"].max(), bars["low"].min(), bars["close"][-1]))
    pivot = (high + low + close) / 3.0
    return story.row(
        symbol,
        price=close,
        level=round(close * (1.0005 - 0.0005 * n), 2),
        stop=round(close * 0.985, 2),
        r1=round(max(2 * pivot - low, close * 1.001), 2),
        r2=round(max(pivot + high - low, close * 1.002), 2),
        tier="B" if n == 2 else "A",
        execute=n != 3,
        trend_score=float(n),
        atr=close * 0.02,
        swing_low=round(low * 0.99, 2),
        swing_high=None,
    )


def watchlist_of(scan_date: int, rows: Sequence[Mapping[str, Any]]) -> Watchlist:
    anchors = [story.anchor(row["symbol"], scan_date) for row in rows]
    version = version_of(scan_date, rows, anchors)
    return Watchlist(scan_date, version, "1", "data", "config", tuple(rows), tuple(anchors))


def give(lists: Lists, setup: Setup) -> Any:
    """For `paper.ran(after=…)`: each session's list is taken behind its last barrier."""
    times = np.unique(setup.market.bars["ts_ms"])
    due = {}
    for session in setup.sessions:
        date = int(session["date"])
        if date in lists:
            due[int(times[np.searchsorted(times, session["close_ms"], side="right") - 1])] = date

    def after(live: paper.Live, ts_ms: int) -> None:
        if ts_ms in due:
            live.take(live.journal.watchlist(watchlist_of(due[ts_ms], lists[due[ts_ms]]), ts_ms))
            live.settle()

    return after
