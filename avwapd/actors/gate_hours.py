"""Sessions of a run's market, as arming, limits and the venue's clock need them."""

from __future__ import annotations

from typing import Any

import numpy as np

from avwapd.core.session import DAILY_LOOKBACK_MS
from avwapd.feeds.world import Setup

DAY_MS = 86_400_000


class Hours:
    """Of the market with a bell, where the run has one; else of UTC days. Times are ms."""

    def __init__(self, setup: Setup) -> None:
        inst = next((row for row in setup.instruments if row["bell"]), setup.instruments[0])
        first = int(inst["session_first"])
        self._table: Any = setup.sessions[first : first + int(inst["session_count"])]
        self._closes = self._table["close_ms"]
        self._lookback_ms = DAILY_LOOKBACK_MS if inst["daily"] else 0
        self.bell = bool(inst["bell"])

    def _at(self, ts_ms: int) -> int:
        """Which session a bar that closes then belongs to, or the coming one."""
        return int(np.searchsorted(self._closes, ts_ms, side="left"))

    def began(self, ts_ms: int) -> int:
        """The close of the session before that of a bar: everything later is of the bar's session."""
        at = self._at(ts_ms - self._lookback_ms)
        return int(self._closes[at - 1]) + self._lookback_ms if at else 0

    def ends(self, now_ms: int) -> int:
        """The close of the running session, else of the coming one."""
        at = int(np.searchsorted(self._closes, now_ms, side="right"))
        return int(self._closes[at]) if at < len(self._closes) else (now_ms // DAY_MS + 1) * DAY_MS

    def date(self, now_ms: int) -> int:
        """The running or coming session, yyyymmdd."""
        at = int(np.searchsorted(self._closes, now_ms, side="right"))
        return int(self._table["date"][min(at, len(self._table) - 1)])

    def surely_open(self, ts_ms: int, margin_ms: int) -> bool:
        """Open then, and for so long before and after."""
        at = self._at(ts_ms)
        if at >= len(self._table):
            return False
        return bool(self._table["open_ms"][at] + margin_ms <= ts_ms <= self._closes[at] - margin_ms)
