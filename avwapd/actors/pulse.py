"""How the run is doing, told of committed rows: what was decided last, which bars were whole, since when all is well.

A bar is clean when nothing of it failed, came late or was lost before it. After downtime or a fault so many clean bars
in a row (health.clean_bars) end the grace; until then the health says warn.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from avwapd.core import codes
from avwapd.ports import Clock
from avwapd.store.rows import StepRows

SKIP_AT, FLAGS_AT = 6, 12  # in a decision's row
FAULTS = {
    codes.SKIP_FETCH_FAILED: codes.SKIPS[codes.SKIP_FETCH_FAILED],
    codes.SKIP_PERSIST_FAILED: codes.SKIPS[codes.SKIP_PERSIST_FAILED],
}
LOST = "bars were lost before this one"
LATE = "bars came after downtime"
STARTED = "the daemon was started again"
ROWLESS = codes.BAR_WARMUP | codes.BAR_SILENT


class Pulse:
    """wanted: clean bars in a row after which a disturbance is over."""

    def __init__(self, clock: Clock, *, wanted: int) -> None:
        self.last_bar_ms = 0
        self.last_decision_ms = 0
        self.disturbed = ""  # by what, "" while all is well
        self.clean = 0
        self.counts: Counter[str] = Counter()  # decisions by fault
        self.holes = 0  # decisions of the newest bar whose symbols miss bars
        self.decided = 0  # decisions of the newest bar
        self._clock = clock
        self._wanted = wanted
        self._decided_at = 0.0
        self._decided_clock_ms = 0

    def resumed(self, last_bar_ms: int) -> None:
        """The ledger had bars before this start: what came meanwhile is still to be seen."""
        self.last_bar_ms = self.last_decision_ms = last_bar_ms
        self._disturb(STARTED)

    def tell(self, rows: StepRows) -> None:
        """One committed input."""
        if rows.kind != "bars" or not rows.bars or rows.bars[0][2] & ROWLESS:
            return
        self.last_bar_ms = max(self.last_bar_ms, rows.ts_ms)
        if not rows.decisions:
            return
        self.last_decision_ms = max(self.last_decision_ms, rows.ts_ms)
        self._decided_at = self._clock.monotonic()
        self._decided_clock_ms = self._clock.now_ms()
        skips = Counter(row[SKIP_AT] for row in rows.decisions)
        self.decided, self.holes = len(rows.decisions), skips[codes.SKIP_CADENCE_FAILED]
        why = self._fault(rows, skips)
        if why:
            self._disturb(why)
            return
        self.clean += 1
        if self.clean >= self._wanted:
            self.disturbed = ""

    def _fault(self, rows: StepRows, skips: Counter[int]) -> str:
        found = ""
        for code, word in FAULTS.items():
            if skips[code]:
                self.counts[word] += skips[code]
                found = word
        marks = 0
        for row in rows.decisions:
            marks |= row[FLAGS_AT]
        if marks & codes.BAR_CADENCE:
            self.counts["cadence_failed"] += self.holes
            found = found or LOST
        if marks & codes.BAR_LATE:
            self.counts["late"] += 1
            found = found or LATE
        return found

    def _disturb(self, why: str) -> None:
        self.disturbed, self.clean = why, 0

    def facts(self) -> dict[str, Any]:
        """For status and health. decision_age_s: on the wall, None before the first decision of this process."""
        age = self._clock.monotonic() - self._decided_at if self._decided_at else None
        return {
            "last_bar_ms": self.last_bar_ms or None,
            "last_decision_ms": self.last_decision_ms or None,
            "last_decision_at_ms": self._decided_clock_ms or None,
            "decision_age_s": None if age is None else round(age, 3),
            "disturbed": self.disturbed,
            "clean_bars": self.clean,
            "faults": dict(self.counts),
            "holes": self.holes,
            "decided": self.decided,
        }
