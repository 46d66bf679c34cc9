"""Two sides of one run, row by row: the first place where they differ, in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.core import codes
from avwapd.core.codes import BAR_MISSING
from avwapd.core.records import DECISION
from avwapd.research.record import PRICES
from avwapd.research.trades import Trade
from avwapd.research.wide import keys

Rows = NDArray[np.void]
# Causes before what follows from them.
FIELDS = ("flags", "level", "phase_before", "gates_asked", "gates_blocked", "signal", "setup", "skip", "exit", "side",
          "intent", "qty", "limit", "stop", "r1", "r2", "phase_after")  # fmt: skip
assert {"ts_ms", "symbol", *FIELDS} == set(DECISION.names or ())

FLAGS = ("late", "missing", "outside", "warmup", "cadence", "retry", "silent")


@dataclass(frozen=True)
class Mismatch:
    """The first difference of a layer; a row is None where that side has none."""

    layer: str
    where: str  # a ts_ms, or the index of a trade
    symbol: str
    field: str
    live: Any
    backtest: Any
    live_row: Mapping[str, Any] | None
    backtest_row: Mapping[str, Any] | None

    def __str__(self) -> str:
        name = " ".join(part for part in (self.where, self.symbol, self.field) if part)
        return f"{name}: live={text(self.live)} backtest={text(self.backtest)}"


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True)
class Side:
    """Decisions with the BAR row of each, both in (ts_ms, symbol) order."""

    decisions: Rows
    bars: Rows

    def between(self, first_ms: int, last_ms: int) -> Side:
        times = self.decisions["ts_ms"]
        chosen = slice(int(np.searchsorted(times, first_ms)), int(np.searchsorted(times, last_ms, side="right")))
        return Side(self.decisions[chosen], self.bars[chosen])


def decisions_differ(live: Side, backtest: Side, symbols: Sequence[str]) -> Mismatch | None:
    """The first row that only one side has, or that is not the same on both, bit for bit."""
    left, right = keys(live.decisions), keys(backtest.decisions)
    shared, at_left, at_right = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    candidates: list[tuple[int, str]] = []
    for name, mine, theirs in (
        *((name, live.bars[name], backtest.bars[name]) for name in PRICES),
        *((name, live.decisions[name], backtest.decisions[name]) for name in FIELDS),
    ):
        unlike = np.flatnonzero(bits(mine[at_left]) != bits(theirs[at_right]))
        if len(unlike):
            candidates.append((int(shared[unlike[0]]), name))
    for alone in (np.setdiff1d(left, right, assume_unique=True), np.setdiff1d(right, left, assume_unique=True)):
        if len(alone):
            candidates.append((int(alone.min()), "row"))
    if not candidates:
        return None
    key, field = min(candidates, key=lambda found: found[0])  # min keeps the first of equals: causes come first
    rows = [row_at(side, place, key, symbols) for side, place in ((live, left), (backtest, right))]
    values = ["absent" if row is None else "present" if field == "row" else row[field] for row in rows]
    ts_ms, symbol = divmod(key, 1 << 21)
    return Mismatch("decisions", str(ts_ms), symbols[symbol], field, values[0], values[1], rows[0], rows[1])


def bits(values: Any) -> Any:
    """Numbers as they can be compared bit for bit; all unknown floats are one."""
    values = np.array(values)
    if values.dtype.kind != "f":
        return values
    values[np.isnan(values)] = np.nan
    return values.view(np.int64)


def row_at(side: Side, places: Any, key: int, symbols: Sequence[str]) -> Mapping[str, Any] | None:
    at = int(np.searchsorted(places, key))
    if at >= len(places) or places[at] != key:
        return None
    bar = {name: number(float(side.bars[at][name])) for name in PRICES}
    return {**decision_words(side.decisions[at], symbols), **bar}


def decision_words(row: Any, symbols: Sequence[str]) -> dict[str, Any]:
    """A compact row with words for its codes; prices in ticks, quantities in lots."""
    found = {name: row[name].item() for name in DECISION.names or ()}
    translate: Mapping[str, Callable[[int], str]] = {
        "symbol": symbols.__getitem__,
        "gates_asked": lambda value: bit_words(value, codes.GATES),
        "gates_blocked": lambda value: bit_words(value, codes.GATES),
        "signal": codes.SIGNALS.__getitem__,
        "skip": codes.SKIPS.__getitem__,
        "exit": codes.EXITS.__getitem__,
        "setup": codes.SETUPS.__getitem__,
        "phase_before": codes.PHASES.__getitem__,
        "phase_after": codes.PHASES.__getitem__,
        "flags": lambda value: bit_words(value, FLAGS),
    }
    found = {name: translate[name](value) if name in translate else value for name, value in found.items()}
    return found | {"level": number(found["level"])}


def bit_words(value: int, names: Sequence[str]) -> str:
    return " ".join(name for bit, name in enumerate(names) if value >> bit & 1)


def number(value: float) -> float | None:
    return None if value != value else value


def blank_missing(side: Side) -> Side:
    """A row without a bar has no numbers, whatever came later."""
    lost = side.decisions["flags"] & BAR_MISSING != 0
    if not lost.any():
        return side
    bars = np.array(side.bars)
    for name in PRICES:
        bars[name][lost] = np.nan
    return Side(side.decisions, bars)


def trades_differ(live: Sequence[Trade], backtest: Sequence[Trade]) -> Mismatch | None:
    """The first trade that only one side has, or that differs in a field."""
    for index in range(max(len(live), len(backtest))):
        mine = live[index] if index < len(live) else None
        theirs = backtest[index] if index < len(backtest) else None
        if mine == theirs:
            continue
        rows = (mine._asdict() if mine else None, theirs._asdict() if theirs else None)
        symbol = (mine or theirs or live[0]).symbol
        if mine is None or theirs is None:
            there = ["absent" if row is None else "present" for row in rows]
            return Mismatch("trades", str(index), symbol, "row", there[0], there[1], *rows)
        field = next(name for name in Trade._fields if getattr(mine, name) != getattr(theirs, name))
        return Mismatch("trades", str(index), symbol, field, getattr(mine, field), getattr(theirs, field), *rows)
    return None
