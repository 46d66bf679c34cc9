"""What the engine knows and where it writes: the arrays that live, replay and backtest share."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from avwapd.core import machine
from avwapd.core.codes import ERROR_CAPACITY
from avwapd.core.records import (
    BOOK,
    DECISION,
    EFFECT,
    FILL,
    MAX_ANCHORS,
    PORTFOLIO,
    PROFILE_COLUMNS,
    REPORT,
    STATE,
    TRANSITION,
    WATCH,
)


class World(NamedTuple):
    """All that the engine knows. Arrays are changed in place.

    instruments: INSTRUMENT [symbols]; sessions: SESSION [rows], one stretch a calendar; rules: ANCHOR_RULE [symbols,
    MAX_ANCHORS]; params: PARAMS [1]; states: STATE [symbols]; portfolio: PORTFOLIO [1]; profile: float64 [slots,
    PROFILE_COLUMNS, symbols]; profile_counts: int64 [symbols]; value: float64 [symbols], profit of a symbol in equity
    currency, open position marked; candidates: int64 [symbols, 2]; distance: float64 [symbols]; watch: WATCH [symbols].
    """

    instruments: Any
    sessions: Any
    rules: Any
    params: Any
    states: Any
    portfolio: Any
    profile: Any
    profile_counts: Any
    value: Any
    candidates: Any
    distance: Any
    watch: Any


class Output(NamedTuple):
    """Where the engine writes: DECISION, EFFECT, TRANSITION and FILL arrays and their counters (int64 [COUNTERS])."""

    decisions: Any
    effects: Any
    transitions: Any
    fills: Any
    n: Any


UNKNOWN_FLOATS = (
    "day_open",
    "atr",
    "swing_low",
    "swing_high",
    "floor_low",
    "ceiling_high",
    "pending_stop",
    "last_close",
    "entry_level",
    "row_swing_low",
    "row_swing_high",
)


def new_world(instruments: Any, sessions: Any, rules: Any, params: Any, slots: int) -> World:
    """A World before its first bar; slots: bars of the longest session."""
    count = len(instruments)
    states = np.zeros(count, STATE)
    for name in UNKNOWN_FLOATS:
        states[name] = math.nan
    states["run_long"] = -1
    states["run_short"] = -1
    states["session"] = instruments["session_first"]
    states["session_before"] = instruments["session_first"]
    portfolio = np.zeros(1, PORTFOLIO)
    for name in ("equity", "peak", "day_start"):
        portfolio[name] = params["start_equity"]
    portfolio["watching"] = (params["watch_use"] != 0) & (params["watch_required"] != 0)
    return World(
        instruments,
        sessions,
        rules,
        params,
        states,
        portfolio,
        np.zeros((slots, PROFILE_COLUMNS, count)),
        np.zeros(count, np.int64),
        np.zeros(count),
        np.zeros((count, 2), np.int64),
        np.zeros(count),
        np.zeros(count, WATCH),
    )


def new_output(decisions: int, events: int) -> Output:
    """Room for `decisions` rows and `events` effects, transitions and fills each."""
    return Output(
        np.zeros(decisions, DECISION),
        np.zeros(events, EFFECT),
        np.zeros(events, TRANSITION),
        np.zeros(events, FILL),
        np.zeros(machine.COUNTERS, np.int64),
    )


def new_books(count: int) -> Any:
    """Empty simulated books: BOOK [symbols]."""
    return np.zeros(count, BOOK)


def reports_room() -> Any:
    """Work space for `run` and the simulated venue: REPORT [64]."""
    return np.zeros(64, REPORT)


def check_capacity(events: int, symbols: int) -> None:
    """Refuse an Output too small for one barrier. Raises ValueError (code ERROR_CAPACITY's meaning)."""
    if events < 32 * symbols:
        raise ValueError(f"output for {events} events is too small for {symbols} symbols (code {ERROR_CAPACITY})")


def anchor_count_fits(count: int) -> bool:
    """True where `count` configured anchors fit a state record."""
    return 0 < count <= MAX_ANCHORS
