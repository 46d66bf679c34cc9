"""Where a symbol stood in both runs, by time: what a difference is downstream of."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from tests.wire_soak.rows import EARLY_MS, MINUTE_MS, Run

QUIET_MS = 6 * MINUTE_MS  # of agreement, after which a symbol is no longer diverged


def prices(rows: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """What the session's line is made of: the last row's numbers, however the bar came."""
    return rows[-1][1:] if rows else None


class States:
    """Of one symbol in both runs: phase and holding by time, and where their bars differ."""

    def __init__(self, clean: Run, faulted: Run, symbol: str) -> None:
        self._runs = [_Past(run, symbol) for run in (clean, faulted)]
        keys = (key for key in clean.bars.keys() | faulted.bars.keys() if key[1] == symbol)
        self.other_bars = sorted(key[0] for key in keys if prices(clean.bars.get(key)) != prices(faulted.bars.get(key)))
        self._opens = sorted(clean.opens)

    def agreed(self, after_ms: int, before_ms: int) -> bool:
        """Whether between a difference and the next one both were alike for long enough: phase, holding, its prices."""
        if before_ms - after_ms <= QUIET_MS:
            return False
        one, other = (past.at(before_ms - 1) for past in self._runs)
        return bool(one == other)

    def held_since(self, since_ms: int, ts_ms: int) -> bool:
        """Whether the faulted run has held the same position all the time until just before."""
        return self._runs[1].held_since(since_ms, ts_ms)

    def other_bar(self, ts_ms: int) -> int:
        """The newest bar that differs since the session began, 0 where all are the same."""
        at = bisect_right(self._opens, ts_ms - 1)
        open_ms = self._opens[at - 1] if at else 0
        end = bisect_right(self.other_bars, ts_ms)
        return self.other_bars[end - 1] if end > bisect_right(self.other_bars, open_ms) else 0


class _Past:
    """One run of one symbol: where its machine stood, and the prices at which it would have left."""

    def __init__(self, run: Run, symbol: str) -> None:
        self._moves = [(move.ts_ms, move.after, move.qty) for move in run.moves if move.symbol == symbol]
        self._moves.sort(key=lambda row: row[0])
        self._decisions = sorted((ts_ms, row.what[-3:]) for (ts_ms, of), row in run.decisions.items() if of == symbol)

    def at(self, ts_ms: int) -> tuple[str, int, tuple[Any, ...]]:
        moved = bisect_right(self._moves, ts_ms, key=lambda row: row[0])
        decided = bisect_right(self._decisions, ts_ms, key=lambda row: row[0])
        phase, held = self._moves[moved - 1][1:] if moved else ("FLAT", 0)
        return phase, held, self._decisions[decided - 1][1] if decided else ()

    def held_since(self, since_ms: int, ts_ms: int) -> bool:
        """Something was held then, and all the time until just before."""
        since_ms += EARLY_MS  # a fill is named by its bar's close
        return self.at(since_ms)[1] != 0 and all(qty for at_ms, _, qty in self._moves if since_ms < at_ms < ts_ms)
