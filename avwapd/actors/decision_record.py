"""One committed input as a line for people and programs, where it mattered.

Material is: an entry or its confirmation, an exit, a failed bar (fetch_failed, persist_failed), a change among the
gates that hold back whatever the signal, a fill, a move of a machine, a gate that turns, an act, an adjustment, a list.
All else is in the ledger, and only there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from avwapd.core import codes
from avwapd.store.rows import StepRows

NAMED = 20  # symbols of one gate's change; beyond it the count alone
ALWAYS_MATERIAL = ("act", "adjust", "watchlist", "restate")
SIGNALS = (codes.SIGNAL_CONFIRMED, codes.SIGNAL_ENTRY)
FAILED = (codes.SKIP_FETCH_FAILED, codes.SKIP_PERSIST_FAILED)
GENERAL = (
    *(codes.GATE_KILL_SWITCH, codes.GATE_LIVE, codes.GATE_HALTED, codes.GATE_CADENCE, codes.GATE_WATCHLIST_STALE),
    *(codes.GATE_REGIME, codes.GATE_EARNINGS, codes.GATE_BAD_TICKER, codes.GATE_DRAWDOWN, codes.GATE_DAILY_LOSS),
)
MASK = sum(1 << gate for gate in GENERAL)
SIDES = {1: "long", -1: "short", 0: ""}


class Recorder:
    """ticks, lots: of each symbol, for prices and quantities as people read them; market_ms: the newest bar's close."""

    def __init__(
        self, symbols: Sequence[str], ticks: Sequence[float], lots: Sequence[float], market_ms: int = 0
    ) -> None:
        self.market_ms = market_ms
        self._symbols = symbols
        self._ticks = ticks
        self._lots = lots
        self.verdicts: dict[int, int] = {}

    def know(self, verdicts: dict[int, int]) -> None:
        """After a start: what held each symbol back at its last bar (bits of gates)."""
        self.verdicts = {symbol: bits & MASK for symbol, bits in verdicts.items()}

    def record(self, rows: StepRows) -> dict[str, Any] | None:
        """The line about an input, None where nothing of it is material. To be asked about every input, in order."""
        if rows.kind == "bars":
            self.market_ms = max(self.market_ms, rows.ts_ms)
        changes = self._changes(rows)
        parts: dict[str, list[Any]] = {
            "decisions": [self._decision(row) for row in rows.decisions if material(row)],
            "failed": self._failed(rows),
            "gate_changes": changes,
            "fills": [self._fill(row) for row in rows.fills],
            "transitions": [self._transition(row) for row in rows.transitions],
            "gates": [
                {"gate": row.gate, "closed": bool(row.closed), "reason": row.reason, "symbol": row.symbol}
                for row in rows.gates
            ],
        }
        why = [name for name, found in parts.items() if found]
        if rows.kind in ALWAYS_MATERIAL:
            why.append(rows.kind)
        if not why:
            return None
        found: dict[str, Any] = {
            "seq": rows.seq,
            "ts_ms": rows.ts_ms,
            "market_ms": self.market_ms or rows.ts_ms,
            "utc": datetime.fromtimestamp(rows.ts_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "kind": rows.kind,
            "why": why,
        }
        if rows.kind == "act":
            found["act"] = json.loads(rows.body)
        return found | {name: rows_ for name, rows_ in parts.items() if rows_}

    def _failed(self, rows: StepRows) -> list[dict[str, Any]]:
        """Bars that failed, by how."""
        found = {skip: [row[1] for row in rows.decisions if row[6] == skip] for skip in FAILED}
        return [
            {"skip": codes.SKIPS[skip], "count": len(at), "symbols": [self._symbols[i] for i in at[:NAMED]]}
            for skip, at in found.items()
            if at
        ]

    def _changes(self, rows: StepRows) -> list[dict[str, Any]]:
        """Gates that hold a symbol back since this bar, or do no longer."""
        turned: dict[tuple[int, bool], list[str]] = defaultdict(list)
        for row in rows.decisions:
            symbol, now = row[1], row[4] & MASK
            before = self.verdicts.get(symbol, now)
            self.verdicts[symbol] = now
            moved = before ^ now
            for gate in GENERAL if moved else ():
                if moved >> gate & 1:
                    turned[gate, bool(now >> gate & 1)].append(self._symbols[symbol])
        return [
            {"gate": codes.GATES[gate], "blocks": blocks, "count": len(names), "symbols": names[:NAMED]}
            for (gate, blocks), names in sorted(turned.items())
        ]

    def _decision(self, row: Sequence[Any]) -> dict[str, Any]:
        ts_ms, symbol, intent, _, blocked, signal, skip, leave, setup, before, after, side, flags = row[:13]
        level, qty, *prices = row[13:]
        tick = self._ticks[symbol]
        limit, stop, r1, r2 = (round(price * tick, 12) if price else None for price in prices)
        return {
            "symbol": self._symbols[symbol],
            "ts_ms": ts_ms,
            "signal": codes.SIGNALS[signal],
            "setup": codes.SETUPS[setup],
            "skip": codes.SKIPS[skip],
            "exit": codes.EXITS[leave],
            "blocked": [codes.GATES[i] for i in range(len(codes.GATES)) if blocked >> i & 1],
            "phase": f"{codes.PHASES[before]} -> {codes.PHASES[after]}" if before != after else codes.PHASES[after],
            "side": SIDES[side],
            "intent": intent,
            "qty": round(qty * self._lots[symbol], 12),
            "level": None if level is None or level != level else level,
            "limit": limit,
            "stop": stop,
            "r1": r1,
            "r2": r2,
            "late": bool(flags & codes.BAR_LATE),
        }

    def _fill(self, row: Sequence[Any]) -> dict[str, Any]:
        exec_id, _, ts_ms, symbol, intent, trade, purpose, reason, side, _, qty, price = row[:12]
        return {
            "symbol": self._symbols[symbol],
            "ts_ms": ts_ms,
            "exec_id": exec_id,
            "intent": intent,
            "trade": trade,
            "purpose": codes.PURPOSES[purpose],
            "reason": codes.EXITS[reason],
            "side": "buy" if side > 0 else "sell",
            "qty": round(qty * self._lots[symbol], 12),
            "price": round(price * self._ticks[symbol], 12),
        }

    def _transition(self, row: Sequence[Any]) -> dict[str, Any]:
        _, symbol, before, after, cause, _, qty = row
        named = symbol >= 0
        return {
            "symbol": self._symbols[symbol] if named else "",
            "move": f"{codes.PHASES[before]} -> {codes.PHASES[after]}" if named else "",
            "cause": codes.CAUSES[cause],
            "qty": round(qty * self._lots[symbol], 12) if named else 0,
        }


def material(row: Sequence[Any]) -> bool:
    """Of a decision's row: a signal that is confirmed, or an exit."""
    return row[5] in SIGNALS or bool(row[7])
