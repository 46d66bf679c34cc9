"""What a person reads while it runs: one line a decision that matters, a transition, an order, a fill; and what of it
is worth a notice. Lines carry fields, so that a journal can be asked for one symbol's fills."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from avwapd.core import codes
from avwapd.store.journal import Journal
from avwapd.store.rows import GateRow, OutboxRow, StepRows

log = logging.getLogger("avwapd")

SIDES = {1: "buy", -1: "sell", 0: ""}
KILL = codes.OUTER_GATES[codes.OUTER_KILL_SWITCH]

Say = Callable[[str, str, str, str], None]  # event, level, title, body


def nobody(event: str, level: str, title: str, body: str) -> None:
    """Where nobody is told."""


class Story:
    """Turns committed rows into log lines, numbers as people read them."""

    def __init__(self, journal: Journal, say: Say = nobody) -> None:
        self._journal = journal
        self._say = say
        self._ticks = [float(row["tick"]) for row in journal.world.instruments]
        self._lots = [float(row["lot"]) for row in journal.world.instruments]
        self.decided = 0
        self.fills = 0

    def tell(self, rows: StepRows) -> None:
        """Log one step."""
        self.decided += len(rows.decisions)
        for what in rows.alerts:
            symbol = {} if rows.symbol_id is None else {"SYMBOL": self._journal.symbol_name(rows.symbol_id)}
            log.error("%s", what, extra={"fields": {"EVENT": "halt", **symbol, "TS_MS": rows.ts_ms}})
        for gate in rows.gates:
            self._gate(gate)
        if rows.kind == "act":
            self._act(rows)
        loud = log.isEnabledFor(logging.INFO)
        if loud:
            for row in rows.decisions:
                self._decision(row)
        for row in rows.transitions:
            self._transition(row, loud=loud)
        if loud and log.isEnabledFor(logging.DEBUG):
            for effect in rows.effects:
                self._order(effect)
        for row in rows.fills:
            self.fills += 1
            self._fill(row, str(json.loads(rows.body).get("cid", "")) if rows.kind == "report" else "")

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
        words = stamp(ts_ms), name, what, level, late
        log.info("%s decision   %-9s %s, level %.8g%s", *words, extra=fields("decision", name, ts_ms))

    def _transition(self, row: tuple[Any, ...], *, loud: bool) -> None:
        ts_ms, symbol, before, after, cause, _, qty = row
        name = self._journal.symbol_name(symbol)
        if symbol < 0:
            told = fields("gate", "", ts_ms, GATE="portfolio")
            log.info("%s gate       %-9s %s", stamp(ts_ms), name, codes.CAUSES[cause], extra=told)
            self._say("gate", "warning" if after else "info", f"portfolio: {codes.CAUSES[cause]}", stamp(ts_ms))
            return
        if not loud:
            return
        held = qty * self._lots[symbol]
        path = f"{codes.PHASES[before]} -> {codes.PHASES[after]}"
        words = stamp(ts_ms), name, path, codes.CAUSES[cause], held
        log.info("%s transition %-9s %s (%s), holds %.8g", *words, extra=fields("transition", name, ts_ms))

    def _order(self, effect: OutboxRow) -> None:
        name = self._journal.symbol_name(effect.symbol_id)
        amount = f"{SIDES[effect.side]} {effect.qty * self._lots[effect.symbol_id]:.8g}"
        words = stamp(effect.ts_ms), name, codes.EFFECTS[effect.kind], codes.PURPOSES[effect.purpose], amount
        told = fields("order", name, effect.ts_ms, ORDER_ID=effect.cid)
        log.debug("%s order      %-9s %s %s %s", *words, extra=told)

    def _fill(self, row: tuple[Any, ...], cid: str) -> None:
        (_, _, ts_ms, symbol, _, trade, purpose, reason, side, _, qty, price, *_) = row
        name = self._journal.symbol_name(symbol)
        amount = f"{SIDES[side]} {qty * self._lots[symbol]:.8g} @ {price * self._ticks[symbol]:.8g}"
        why = codes.EXITS[reason] or codes.PURPOSES[purpose]
        told = fields("fill", name, ts_ms, ORDER_ID=cid, TRADE=trade)
        log.info("%s trade      %-9s #%d %s (%s)", stamp(ts_ms), name, trade, amount, why, extra=told)
        self._say("fill", "info", f"{name} {amount} ({why})", f"trade #{trade}, {stamp(ts_ms)} UTC")

    def _gate(self, row: GateRow) -> None:
        of = f" of {row.symbol}" if row.symbol else ""
        title = f"gate {row.gate}{of} {'closed' if row.closed else 'open'}: {row.reason}"
        if row.gate == KILL:
            self._say("kill", "critical", title, "")
        else:
            self._say("gate", "warning" if row.closed else "info", title, "")

    def _act(self, rows: StepRows) -> None:
        """What somebody asked for; gates tell of themselves."""
        body = json.loads(rows.body)
        if body["kind"] != codes.ACTS[codes.ACT_HALT]:
            return
        name = "everything" if rows.symbol_id is None else self._journal.symbol_name(rows.symbol_id)
        self._say("halt", "warning", f"{name} halted by {body['who']}: {body['reason']}", "")


def fields(event: str, symbol: str, ts_ms: int, **more: object) -> dict[str, dict[str, object]]:
    """The fields of a line; ts_ms: market time."""
    named = {"SYMBOL": symbol} if symbol else {}
    return {"fields": {"EVENT": event, **named, "TS_MS": ts_ms, **more}}


def stamp(ts_ms: int) -> str:
    """A bar's close as people read it, UTC."""
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
