"""A backtest that trades the scan's lists: which list begins at which bar, and the run with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.feeds.world import Setup, in_window
from avwapd.research import ResearchError, backtest
from avwapd.store.watchlist import records

Rows = NDArray[np.void]
Lists = Mapping[int, Sequence[Mapping[str, Any]]]  # scan date (yyyymmdd) -> rows as in the watchlist file
Start = tuple[int, Rows]  # the bar before which a list comes, its WATCH rows


def starts_of(setup: Setup, bars: Rows, lists: Lists) -> list[Start]:
    """Where in `bars` (BAR, by time) each list takes over: behind its session's close, on daily bars before its bar.

    A list without rows ends the one before it. Raises ResearchError where a scan date is no session.
    """
    inst = next((row for row in setup.instruments if row["bell"]), setup.instruments[0])
    first = int(inst["session_first"])
    table = setup.sessions[first : first + int(inst["session_count"])]
    times = bars["ts_ms"]
    found = []
    for scan_date in sorted(lists):
        at = int(np.searchsorted(table["date"], scan_date))
        outside = not len(table) or scan_date < table["date"][0] or scan_date > table["date"][-1]
        if not outside and table["date"][at] != scan_date:
            what = f"{scan_date} is no session of the exchange"
            raise ResearchError(
                what, "the lists' scan dates", "a list is named by the session whose close it was made of"
            )
        if scan_date > table["date"][-1]:
            continue
        rows, _ = records(lists[scan_date], scan_date, setup.market.symbols)
        if inst["daily"]:
            begin = int(np.searchsorted(times, int(table["open_ms"][at]), side="right"))
        else:
            begin = int(np.searchsorted(times, int(table["close_ms"][at]), side="right"))
        found.append((0 if outside else begin, rows))
    return found


def backtest_with_lists(setup: Setup, lists: Lists) -> backtest.Result:
    """The configured window of the market with every list in its turn; rows before the window are warm-up."""
    bars, begin = in_window(setup.market.bars, setup.config)
    return backtest.replay(setup, bars, begin, lists=starts_of(setup, bars, lists))
