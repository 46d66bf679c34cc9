"""What the venue says of its bars: on the streams, and to questions; here the feed's faults come in."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np

from avwapd.core.codes import BAR_MISSING
from avwapd.core.records import BAR
from avwapd.demo_venue.faults import FAULTS, Faults
from avwapd.demo_venue.market import SimMarket

Listener = Callable[[int, Any, str], None]
WHERE = "data_stream"
DATA_FAULTS = tuple(fault.name for fault in FAULTS.values() if fault.layer == "data")


class Published:
    """on_bars: called with (ts_ms, BAR rows, kind); kind: bar | revision | forming (not over yet)."""

    def __init__(self, market: SimMarket, faults: Faults) -> None:
        self.on_bars: list[Listener] = []
        self._market = market
        self._faults = faults
        self._later: list[tuple[int, int, Any, str]] = []  # (market ms, number, rows, kind)
        self._number = 0
        self._frozen: dict[int, float] = {}
        market.on_bars.append(self.closed)

    def closed(self, ts_ms: int, rows: Any) -> None:
        """The bars of one time have closed."""
        rows = np.array(rows[rows["flags"] & BAR_MISSING == 0])
        for at, symbol in enumerate(rows["symbol"].tolist() if self._market.revised else ()):
            rows[at] = self._market.revised.get((ts_ms, symbol), rows[at])
        if self._market.withheld or any(map(self._faults.is_set, DATA_FAULTS)):
            rows = np.array([out for row in rows if (out := self._spoiled(ts_ms, row)) is not None], BAR)
        if len(rows):
            self._say(ts_ms, rows, "bar")
        self.pump()

    def pump(self) -> None:
        """Say what was put off until now."""
        while self._later and self._later[0][0] <= self._market.now_ms():
            _, _, rows, kind = heapq.heappop(self._later)
            self._say(int(rows["ts_ms"][0]), rows, kind)

    @property
    def waiting(self) -> bool:
        return bool(self._later)

    def _say(self, ts_ms: int, rows: Any, kind: str) -> None:
        for listen in self.on_bars:
            listen(ts_ms, rows, kind)

    def _put_off(self, delay_ms: int, row: Any, kind: str) -> None:
        self._number += 1
        heapq.heappush(self._later, (self._market.now_ms() + delay_ms, self._number, np.array([row], BAR), kind))

    def _spoiled(self, ts_ms: int, row: Any) -> Any | None:
        """The row as the stream brings it, None where it does not."""
        symbol = int(row["symbol"])
        if (ts_ms, symbol) in self._market.withheld:
            return None
        name = self._market.symbols[symbol]

        def fires(fault: str) -> Any:
            return self._faults.fires(fault, WHERE, name, bar_ms=ts_ms)

        if fires("silent_bar"):
            self._market.withheld.add((ts_ms, symbol))
            return None
        if fires("missing_bar"):
            return None
        if late := fires("late_bar"):
            self._put_off(int(late.value), row, "bar")
            return None
        if fires("future_bar"):
            early = row.copy()
            early["ts_ms"] += 60 * self._market.timeframe_ms
            self._say(int(early["ts_ms"]), np.array([early], BAR), "bar")
        if fires("forming_bar"):
            part = row.copy()
            part["volume"] = max(1.0, part["volume"] // 2)
            part["close"] = part["open"]
            self._say(ts_ms, np.array([part], BAR), "forming")
        if fires("nan_bar"):
            bad = row.copy()
            if self._faults.dice("nan_bar.kind").random() < 0.5:
                bad["close"] = np.nan
            else:
                bad["high"], bad["low"] = row["low"] * 0.99, row["high"] * 1.01
            return bad
        if fires("doubled_bar"):
            self._put_off(0, self._corrected(row), "bar")
        if again := fires("corrected_bar"):
            other = self._corrected(row)
            self._market.revised[(ts_ms, symbol)] = other
            self._put_off(int(again.value), other, "revision")
        if self._faults.is_set("frozen_feed"):
            if fires("frozen_feed"):
                price = self._frozen.setdefault(symbol, float(row["open"]))
                still = row.copy()
                for field in ("open", "high", "low", "close"):
                    still[field] = price
                self._market.revised[(ts_ms, symbol)] = still
                return still
        else:
            self._frozen.clear()
        return row

    def _corrected(self, row: Any) -> Any:
        other = row.copy()
        other["high"] = round(float(row["high"]) * 1.002, 2)
        other["volume"] = float(row["volume"]) + 100
        return other
