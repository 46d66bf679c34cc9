"""A feed or a commit that fails on purpose, so that an operator sees what it looks like before it is serious.

`fetch`: the coming barriers are folded as intervals whose feed had failed (BAR_MISSING); their bars follow, silently,
before the first barrier behind the drill, as they do when a feed comes back. `persist`: the coming barriers carry the
mark of a failed commit (BAR_RETRY). Both move through journal, ledger and verify as the real thing does; the journal
says of each such barrier that it was a drill.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from avwapd.core.codes import BAR_MISSING, BAR_RETRY, BAR_SILENT
from avwapd.store import StoreError
from avwapd.store.journal import DRILL_FETCH, DRILL_PERSIST

FAULTS = ("fetch", "persist")
MODES = ("sim", "paper")
MOST = 100  # barriers of one drill
PRICES = ("open", "high", "low", "close", "volume")


class DrillRefused(StoreError):
    """This is no place for a drill."""


class Drill:
    """why_not: why none can be played here, "" where it can. Told by `set`, asked by the feeder for every barrier."""

    def __init__(self, mode: str, why_not: str = "") -> None:
        self.left: Counter[str] = Counter()
        self.played: Counter[str] = Counter()
        self._why_not = why_not if mode in MODES else f"the mode is {mode}: drills are for {' and '.join(MODES)}"
        self._held: list[Any] = []  # barriers that the feed is said not to have

    def set(self, fault: str, times: object) -> dict[str, Any]:
        """The next `times` barriers fail so; 0 ends a drill. Raises DrillRefused."""
        if self._why_not:
            raise DrillRefused(self._why_not, "drill", "play it in mode sim: avwapd run --config etc/demo.toml")
        if fault not in FAULTS:
            raise DrillRefused(f"no fault {fault!r}", "drill", f"one of {', '.join(FAULTS)}")
        if isinstance(times, bool) or not isinstance(times, int) or not 0 <= times <= MOST:
            raise DrillRefused(f"times is {times!r}", "drill", f"give a number of barriers, 0 to {MOST}")
        self.left[fault] = times
        return self.facts()

    def play(self, bars: Any) -> Iterator[tuple[Any, str]]:
        """What is folded in the place of a barrier (BAR rows of one ts_ms), and the journal's note about each."""
        plain = not bars["flags"].any()  # what is late, missing or outside of a session has its own story
        if plain and self.left["fetch"] > 0:
            self.left["fetch"] -= 1
            self.played["fetch"] += 1
            self._held.append(bars)
            yield missing(bars), DRILL_FETCH
            return
        held, self._held = self._held, []
        for late in held:
            yield silent(late), ""
        if plain and self.left["persist"] > 0:
            self.left["persist"] -= 1
            self.played["persist"] += 1
            marked = np.array(bars)
            marked["flags"] |= BAR_RETRY
            yield marked, DRILL_PERSIST
            return
        yield bars, ""

    def hold(self, bars: Any) -> None:
        """After a start: what the last process still held back."""
        self._held.append(bars)

    def facts(self) -> dict[str, Any]:
        """For status: what is still to come, and what was played since the start."""
        return {
            "left": {fault: self.left[fault] for fault in FAULTS},
            "played": {fault: self.played[fault] for fault in FAULTS},
            "held": len(self._held),
        }


def missing(bars: Any) -> Any:
    """The interval passed, and nobody has its bars."""
    rows = np.array(bars)
    for name in PRICES:
        rows[name] = np.nan
    rows["flags"] = BAR_MISSING
    return rows


def silent(bars: Any) -> Any:
    """Bars behind rows that were written without them."""
    rows = np.array(bars)
    rows["flags"] |= BAR_SILENT
    return rows
