"""What a person reads while it runs: one line a decision that matters, a transition, a fill."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from avwapd.core import codes
from avwapd.store.journal import Journal
from avwapd.store.rows import StepRows

log = logging.getLogger("avwapd")

SIDES = {1: "buy", -1: "sell", 0: ""}


class Story:
    """Turns committed rows into log lines, numbers as people read them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ticks = [float(row["tick"]) for row in journal.world.instruments]
        self._lots = [float(row["lot"]) for row in journal.world.instruments]
        self.decided = 0
        self.fills = 0

    def tell(self, rows: StepRows) -> None:
        """Log one step."""
        self.decided += len(rows.decisions)
        for what in rows.alerts:
            log.error("%s", what)
        if not log.isEnabledFor(logging.INFO):
            return
        for row in rows.decisions:
            self._decision(row)
        for row in rows.transitions:
            self._transition(row)
        for row in rows.fills:
            self.fills += 1
            self._fill(row)

    def _decision(self, row: tuple[Any, ...]) -> None:
        (ts_ms, symbol, intent, _, blocked, signal, skip, leave, _, _, _, side, flags, level, qty, *_) = row
        if signal not in (codes.SIGNAL_CONFIRMED, codes.SIGNAL_ENTRY) and not leave:
            return
        name = self._journal.symbol_name(symbol)
        if leave:
            what = f"exit {codes.EXITS[leave]}"
        elif signal == codes.SIGNAL_ENTRY:
            what = f"entry {'long' if side > 0 else 'short'} {qty * self._lots[symbol]:.8g} (intent {intent})"
        else:
            first = next((codes.GATES[i] for i in range(32) if blocked >> i & 1), codes.SKIPS[skip])
            what = f"confirmed, not yet: {first}"
        late = " late" if flags & codes.BAR_LATE else ""
        log.info("%s decision   %-9s %s, level %.8g%s", stamp(ts_ms), name, what, level, late)

    def _transition(self, row: tuple[Any, ...]) -> None:
        ts_ms, symbol, before, after, cause, _, qty = row
        name = self._journal.symbol_name(symbol)
        if symbol < 0:
            log.info("%s gate       %-9s %s", stamp(ts_ms), name, codes.CAUSES[cause])
            return
        held = qty * self._lots[symbol]
        path = f"{codes.PHASES[before]} -> {codes.PHASES[after]}"
        log.info("%s transition %-9s %s (%s), holds %.8g", stamp(ts_ms), name, path, codes.CAUSES[cause], held)

    def _fill(self, row: tuple[Any, ...]) -> None:
        (_, _, ts_ms, symbol, _, trade, purpose, reason, side, _, qty, price, *_) = row
        name = self._journal.symbol_name(symbol)
        amount = f"{SIDES[side]} {qty * self._lots[symbol]:.8g} @ {price * self._ticks[symbol]:.8g}"
        why = codes.EXITS[reason] or codes.PURPOSES[purpose]
        log.info("%s trade      %-9s #%d %s (%s)", stamp(ts_ms), name, trade, amount, why)


def stamp(ts_ms: int) -> str:
    """A bar's close as people read it, UTC."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
