"""What was decided of the newest barriers: tells a bar that comes again from a corrected and from a late one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avwapd.core.codes import BAR_MISSING

BARRIERS = 32  # whose values are kept
MOST_TOLD = 10_000

SAME, REVISED, LATE, OLD = "same", "revised", "late", "old"

Values = tuple[float, float, float, float, float]
Rows = NDArray[np.void]


class Revision(NamedTuple):
    """A bar of an interval that was decided already. kind: revised (another row is in its place) | late (none is)."""

    ts_ms: int
    symbol: int
    kind: str
    values: Values


class Decided:
    """revisions: what came since they were last taken out, each correction once."""

    def __init__(self) -> None:
        self.revisions: list[Revision] = []
        self._recent: dict[int, Rows] = {}
        self._told: dict[tuple[int, int], Values] = {}

    def remember(self, ts_ms: int, rows: Rows) -> None:
        """BAR rows of one barrier in symbol order; what is known of it already is added to."""
        before = self._recent.get(ts_ms)
        if before is not None:
            kept = before[~np.isin(before["symbol"], rows["symbol"])]
            rows = np.concatenate([kept, rows])
            rows = rows[np.argsort(rows["symbol"])]
        self._recent[ts_ms] = rows
        while len(self._recent) > BARRIERS:
            del self._recent[next(iter(self._recent))]

    def judge(self, ts_ms: int, symbol: int, values: Values, *, corrected: bool) -> str:
        """SAME, OLD (nothing is known of its barrier any more), or REVISED and LATE, which are kept as revisions.

        corrected: its sender says that it replaces another.
        """
        here = ts_ms in self._recent
        known = self._value(ts_ms, symbol) if here else None
        if values in (known, self._told.get((ts_ms, symbol))):
            return SAME
        if not here and not corrected:
            return OLD
        return self.note(ts_ms, symbol, values, LATE if here and known is None else REVISED)

    def note(self, ts_ms: int, symbol: int, values: Values, kind: str) -> str:
        """Keep it as a revision, once; `kind`, or SAME where it was told already."""
        if self._told.get((ts_ms, symbol)) == values:
            return SAME
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told[ts_ms, symbol] = values
        self.revisions.append(Revision(ts_ms, symbol, kind, values))
        return kind

    def _value(self, ts_ms: int, symbol: int) -> Values | None:
        rows = self._recent[ts_ms]
        at = int(np.searchsorted(rows["symbol"], symbol))
        if at == len(rows) or rows[at]["symbol"] != symbol or rows[at]["flags"] & BAR_MISSING:
            return None
        row = rows[at]
        return (float(row["open"]), float(row["high"]), float(row["low"]), float(row["close"]), float(row["volume"]))
