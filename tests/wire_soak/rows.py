"""What is compared: a ledger's rows, the venue's log, and a verdict on each difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MINUTE_MS = 60_000
EARLY_MS = MINUTE_MS + MINUTE_MS // 2  # a fault fires in a bar that is named by its close
FIELDS = 15  # of a decision: what evidence.FIELDS names but its size; and where some of them lie
SIGNAL, PHASE, LEVEL, STOP, R1, R2 = 2, 6, -5, -3, -2, -1


class Decision(NamedTuple):
    """One decision's fields but for its sizes, and its size."""

    what: tuple[Any, ...]
    qty: int


class Fill(NamedTuple):
    ts_ms: int
    symbol: str
    purpose: str
    reason: str
    side: str
    qty: int
    price_ticks: int


class Move(NamedTuple):
    ts_ms: int
    symbol: str
    before: str
    after: str
    cause: str
    qty: int


class Trace(NamedTuple):
    """Something in the ledger that no faultless run has, from since_ms to ts_ms. kind: BAR … BOOK."""

    ts_ms: int
    symbol: str
    kind: str
    what: str
    since_ms: int


class Firing(NamedTuple):
    """One line of the venue's log; symbol "" where it is about all of them."""

    ts_ms: int
    fault: str
    where: str
    symbol: str


@dataclass
class Run:
    """A ledger's rows. bars: (ts_ms, symbol) -> every row of it; heard: each fill and the newest bar that had been
    folded when it came; traces: what it says went wrong; opens: sessions' beginnings."""

    decisions: Mapping[tuple[int, str], Decision]
    moves: Sequence[Move]
    fills: Sequence[Fill]
    bars: Mapping[tuple[int, str], tuple[Any, ...]]
    heard: Mapping[Fill, tuple[int, ...]] = field(default_factory=dict)
    traces: Sequence[Trace] = ()
    opens: Sequence[int] = ()


class Difference(NamedTuple):
    ts_ms: int
    symbol: str
    table: str
    clean: Any
    faulted: Any


class Verdict(NamedTuple):
    """fault: "" where nothing explains it; how: the trace, or what it is downstream of."""

    difference: Difference
    fault: str
    how: str
    downstream: bool = False
