"""The shapes in which rows travel to and from the ledger.

Tuples marked "codes" hold the core's small integers as `array.tolist()` gives them; the ledger writes words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avwapd.store.watchlist import Watchlist


class InstrumentRow(NamedTuple):
    """What symbol_id means: the tick and lot in which all its rows are counted."""

    exchange: str
    symbol: str
    timeframe: str
    asset: str
    quote: str
    tick: str
    lot: str
    min_qty: str
    min_notional: str
    calendar: str
    price_source: str
    tradable: int = 1


class RunRow(NamedTuple):
    """What a run was made of."""

    run_id: str
    epoch: int
    mode: str
    started_ms: int
    code_version: str
    config_hash: str
    params_hash: str
    calendar_version: str
    rules_version: str
    exchange: str
    timeframe: str
    symbols: str  # a JSON list
    seed: int
    window: str
    rules: str = "{}"  # a JSON object: every setting that decides


class OutboxRow(NamedTuple):
    """An effect to record: an EFFECT's fields (codes) with its id and the time after which it is stale."""

    ts_ms: int
    symbol_id: int
    intent: int
    ref: int  # the intent a replace or cancel names, else 0
    kind: int
    purpose: int
    side: int
    type: int
    qty: int
    limit: int
    stop: int
    reason: int
    cid: str
    due_ts_ms: int


class PositionRow(NamedTuple):
    """Where a machine stands after the step (codes)."""

    symbol_id: int
    phase: int
    side: int
    qty: int
    entry_cost: int
    entry_qty: int
    stop: int
    r1: int
    r2: int
    trade: int
    halted: int
    halt_reason: str


class AnchorRow(NamedTuple):
    """An anchor that took a slot (codes)."""

    symbol_id: int
    slot: int
    kind: int
    rule_version: str
    anchor_ms: int
    known_ms: int


class GateRow(NamedTuple):
    """A gate that closed or opened; seq None where no input was behind it."""

    seq: int | None
    ts_ms: int
    gate: str
    closed: int
    reason: str
    symbol: str = ""  # of one symbol; "": of all


class Move(NamedTuple):
    """The venue's (or the router's) word about an outbox row."""

    symbol_id: int
    intent: int
    state: str
    filled_qty: int | None = None
    venue_id: str | None = None
    note: str | None = None


@dataclass(slots=True)
class StepRows:
    """One input, the state it made and the effects it caused: recorded together or not at all.

    bars, decisions, transitions: BAR, DECISION, TRANSITION arrays' tolist(); fills: (exec_id, cum_qty,
    *FILL row); consumed: (symbol_id, session_date, ts_ms).
    """

    seq: int
    kind: str
    ts_ms: int
    symbol_id: int | None = None
    body: str = ""
    bars: list[Any] = field(default_factory=list)
    decisions: list[Any] = field(default_factory=list)
    transitions: list[Any] = field(default_factory=list)
    effects: list[OutboxRow] = field(default_factory=list)
    fills: list[Any] = field(default_factory=list)
    positions: list[PositionRow] = field(default_factory=list)
    anchors: list[AnchorRow] = field(default_factory=list)
    consumed: list[tuple[int, int, int]] = field(default_factory=list)
    gates: list[GateRow] = field(default_factory=list)
    outbox_moves: list[Move] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)  # why a human is called
    watchlist: Watchlist | None = None
    snapshot: bytes | None = None


class Request(NamedTuple):
    """An outbox row with everything the router needs to say it to the venue or to ask about it.

    For a cancel the order terms are those of the order it names.
    """

    symbol_id: int
    exchange: str
    symbol: str
    intent: int
    kind: str
    cid: str
    state: str
    created_seq: int
    due_ts_ms: int
    attempts: int
    sent_ms: int | None
    purpose: str
    side: str
    type: str
    qty: int
    limit_ticks: int
    stop_ticks: int
    reason: str
    ts_ms: int
    filled_qty: int
    venue_id: str | None
    ref_intent: int | None
    ref_cid: str | None
    ref_venue_id: str | None


class Input(NamedTuple):
    """A journaled input; bars is a BAR array for kind 'bars', else None."""

    seq: int
    kind: str
    ts_ms: int
    symbol_id: int | None
    body: str
    bars: NDArray[np.void] | None


class Snapshot(NamedTuple):
    """The engine's memory after input seq; damaged: newer snapshots whose hash was wrong."""

    seq: int
    ts_ms: int
    body: bytes
    damaged: tuple[int, ...] = ()
