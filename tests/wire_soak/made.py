"""Rows that other bars of a former session made: the line of what is held, and a stop behind a former day's low.

Both rows are remade, each from its own run's bars, to the bit and to the tick; a row that is not what its bars make is
not explained by them. The answer is the bars that make the difference: each of them must have its cause.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from avwapd.core.codes import SIGNAL_CONFIRMED, SIGNAL_ENTRY, SIGNAL_PENDING
from tests.wire_soak.remade import Plan, Remade, folded
from tests.wire_soak.rows import FIELDS, LEVEL, PHASE, R1, R2, SIGNAL, STOP, Decision, Difference, Run


class Made:
    """Of one symbol in both runs. other_bars: when their bars differ."""

    def __init__(self, clean: Run, faulted: Run, symbol: str, other_bars: Sequence[int]) -> None:
        self._sides = [_Side(run, symbol, sorted(clean.opens)) for run in (clean, faulted)]
        self._other_bars = other_bars

    def behind_line(self, each: Difference) -> list[int]:
        """Of a row of what is held that differs in nothing but the line: the bars that differ since the anchor."""
        rows = _both(each)
        if len(rows) < 2 or rows[0].qty != rows[1].qty or _but(rows[0], LEVEL) != _but(rows[1], LEVEL):
            return []
        opens = [side.anchored(each.ts_ms) for side in self._sides]
        lines = [side.bars.line(open_ms, each.ts_ms) for side, open_ms in zip(self._sides, opens, strict=True)]
        if opens[0] != opens[1] or lines != [row.what[LEVEL] for row in rows]:
            return []
        return [ts_ms for ts_ms in self._other_bars if opens[0] < ts_ms <= each.ts_ms]

    def behind_stop(self, each: Difference) -> list[int]:
        """Of two entries that differ in the stop and in what follows from it: the bars that differ and made a former
        day's low in one of the runs."""
        rows = _both(each)
        if len(rows) < 2 or rows[0].qty != rows[1].qty or _but(rows[0], STOP, R1, R2) != _but(rows[1], STOP, R1, R2):
            return []
        if rows[0].what[SIGNAL] != SIGNAL_ENTRY or rows[0].what[STOP] == rows[1].what[STOP]:
            return []
        plans = [side.bars.plan(side.confirmed(each.ts_ms)) for side in self._sides]
        if any(made is None or made[0] != Plan(*row.what[STOP:]) for made, row in zip(plans, rows, strict=True)):
            return []
        if not any(made[1] for made in plans if made is not None):
            return []
        one, other = (set(side.bars.days(each.ts_ms)) for side in self._sides)
        lows = {day.ts_ms for day in one ^ other}
        return [ts_ms for ts_ms in self._other_bars if ts_ms in lows]


class _Side:
    """One run of one symbol: its bars, when it set out for a position, and what its signals were."""

    def __init__(self, run: Run, symbol: str, opens: Sequence[int]) -> None:
        self.bars = Remade(folded(run.bars, symbol), opens)
        self._set_out = sorted(move.ts_ms for move in run.moves if move.symbol == symbol and move.after == "ENTERING")
        heard = ((fill, min(slots)) for fill, slots in run.heard.items() if fill.symbol == symbol)
        self._entries = sorted((fill.ts_ms, slot) for fill, slot in heard if fill.purpose == "entry")
        rows = (key for key, row in run.decisions.items() if key[1] == symbol and len(row.what) == FIELDS)
        self._signals = sorted((key[0], run.decisions[key].what[SIGNAL]) for key in rows)

    def anchored(self, ts_ms: int) -> int:
        """When the session began whose line the position held at a bar was taken on; 0 where that is not known.

        It is the line of the newest bar that had been folded when the first fill of its entry was heard.
        """
        began = bisect_left(self._set_out, ts_ms)
        set_out_ms = self._set_out[began - 1] if began else ts_ms
        slot = next((slot for filled_ms, slot in self._entries if set_out_ms < filled_ms <= ts_ms), 0)
        return self.bars.opening(slot)

    def confirmed(self, ts_ms: int) -> int:
        """The bar at whose close the entry of a bar was confirmed: its plan is made there, and may wait."""
        at = bisect_left(self._signals, (ts_ms, 0))
        while at > 0 and self._signals[at - 1][1] == SIGNAL_PENDING:
            at -= 1
        waited = at > 0 and self._signals[at - 1][1] == SIGNAL_CONFIRMED
        return self._signals[at - 1][0] if waited else ts_ms


def knew_differently(each: Difference) -> bool:
    """Whether a decision began in another phase in each run: one had heard of a fill that the other had not."""
    rows = _both(each)
    return each.table != "decisions" or (len(rows) == 2 and rows[0].what[PHASE] != rows[1].what[PHASE])


def _both(each: Difference) -> list[Decision]:
    """The decisions of both runs, with all their fields."""
    rows = [each.clean, each.faulted] if each.table == "decisions" else []
    return [row for row in rows if row is not None and len(row.what) == FIELDS]


def _but(row: Decision, *fields: int) -> list[object]:
    return [value for at, value in enumerate(row.what) if at - FIELDS not in fields]
