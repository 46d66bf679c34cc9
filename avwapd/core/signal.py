"""What the rules want at a close: breakout-and-hold, reclaim, pullback and pinch, long and short.

A side's run counts the closes since price crossed the level to that side: 0 the last close was at or on the wrong side,
1 the cross, 2 the next close held, and so on; -1 while no cross was seen in this anchor period. A pullback is whole
with one bar: its run is 1 at that close. A pinch counts the closes outside both its lines.
"""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core import avwap
from avwapd.core.codes import (
    SETUP_PINCH,
    SETUP_PULLBACK,
    SETUP_RECLAIM,
    SIGNAL_CONFIRMED,
    SIGNAL_NONE,
    SIGNAL_PENDING,
    SIGNAL_SETUP,
)
from avwapd.core.lines import apart, outside


@compiled
def next_run(run, beyond, require_cross):
    """The run after a close that lies `beyond` the level (signed to the side; 0 = on it)."""
    if beyond > 0.0:
        if run >= 0:
            return run + 1
        return -1 if require_cross else 1
    if beyond == 0.0 and run >= 1:
        return run + 1  # equality is not back
    return 0


@compiled
def needed(p):
    """Closes beyond the level that confirm the configured setup."""
    if p["setup"] == SETUP_RECLAIM:
        return p["hold_closes"]
    if p["setup"] == SETUP_PINCH:
        return p["pinch_closes"]
    return 1 if p["setup"] == SETUP_PULLBACK else 2


@compiled
def drop_pending(st):
    """Forget a confirmation; two new closes are needed after it."""
    if st["pending_side"] > 0:
        st["run_long"] = min(st["run_long"], 0)
    elif st["pending_side"] < 0:
        st["run_short"] = min(st["run_short"], 0)
    st["pending_side"] = 0


@compiled
def keep_pending(st, p, inst, close, level, ts_ms):
    """Drop a confirmation on a close back, on drift, on age (markets with a bell, bars below a day)."""
    side = st["pending_side"]
    if side == 0:
        return
    drift = abs(close - st["pending_close"]) / st["pending_close"] * 100.0
    clocked = inst["bell"] and not inst["daily"]
    old = clocked and ts_ms - st["pending_ms"] > p["confirmation_age_ms"]
    if side * (close - level) < 0.0 or drift > p["max_drift_pct"] or old:
        drop_pending(st)


@compiled
def entry_delay(inst, p, date):
    """Milliseconds between confirmation and order, whole seconds, spread by symbol, date and seed.

    Park-Miller steps on values below 2**31: the products stay inside int64 in both speeds.
    """
    mixed = (inst["hash"] * 48271 + date) % 2147483647
    mixed = (mixed * 16807) % 2147483647
    seconds = (p["entry_delay_max_ms"] - p["entry_delay_min_ms"]) // 1000 + 1
    return p["entry_delay_min_ms"] + mixed % seconds * 1000


@compiled
def move_runs(st, p, close, level):
    """Count this close on both sides."""
    st["run_long"] = next_run(st["run_long"], close - level, p["require_cross"])
    st["run_short"] = next_run(st["run_short"], level - close, p["require_cross"])


@compiled
def pulled_back(p, side, bar, level, sigma, slope):
    """True where the bar came near a line that runs to its side, and closed beyond it and beyond its own open."""
    reached = bar["low"] if side > 0 else bar["high"]
    near = abs(reached - level) <= p["pullback_sigma"] * sigma
    beyond = side * (bar["close"] - level) > 0.0 and side * (bar["close"] - bar["open"]) > 0.0
    return near and beyond and side * slope > 0.0  # an unknown slope or sigma is no pullback


@compiled
def move_pullback(st, p, bar, level, slope):
    """Say whether this bar is a pullback to `level` (the line's, or its row's), for both sides."""
    sigma = avwap.sigma(st["avwap"][p["level_anchor"]])
    st["run_long"] = 1 if pulled_back(p, 1, bar, level, sigma, slope) else 0
    st["run_short"] = 1 if pulled_back(p, -1, bar, level, sigma, slope) else 0


@compiled
def next_outside(run, beyond, pinched, require_cross):
    """The run after a close that lies outside both lines on this side, or not.

    It begins while the lines are pinched; with require_cross the close before must not lie outside there already.
    """
    if not beyond:
        return 0
    if run >= 1:
        return run + 1
    if pinched and (run == 0 or not require_cross):
        return 1
    return -1


@compiled
def follow_pinch(st, p, inst, close, ts_ms):
    """Count the closes outside both lines; a confirmation ends with a close back inside. Both lines must be known."""
    one = avwap.level(st["avwap"][p["level_anchor"]])
    other = avwap.level(st["avwap"][p["pinch_anchor"]])
    if math.isnan(one) or math.isnan(other):
        drop_pending(st)
        st["run_long"] = -1
        st["run_short"] = -1
        return
    upper = max(one, other)
    lower = min(one, other)
    keep_pending(st, p, inst, close, upper if st["pending_side"] > 0 else lower, ts_ms)
    pinched = apart(one, other) <= p["pinch_pct"] / 100.0
    side = outside(one, other, close)
    st["run_long"] = next_outside(st["run_long"], side > 0, pinched, p["require_cross"])
    st["run_short"] = next_outside(st["run_short"], side < 0, pinched, p["require_cross"])


@compiled
def confirm(st, p, inst, close, ts_ms, date, allowed):
    """Turn a run that is long enough into a pending confirmation; returns the SIGNAL code of this close.

    allowed: the one side that the symbol's row permits; 0 where there is no row.
    """
    if st["pending_side"] != 0:
        return SIGNAL_PENDING
    enough = needed(p)
    long = p["allow_long"] and allowed >= 0
    short = p["allow_short"] and allowed <= 0
    side = 0
    if long and st["run_long"] == enough:
        side = 1
    elif short and st["run_short"] == enough:
        side = -1
    if side != 0:
        st["pending_side"] = side
        st["pending_ms"] = ts_ms
        st["pending_close"] = close
        delayed = inst["bell"] and not inst["daily"]
        st["pending_due_ms"] = ts_ms + (entry_delay(inst, p, date) if delayed else 0)
        return SIGNAL_CONFIRMED
    if (long and st["run_long"] == 1) or (short and st["run_short"] == 1):
        return SIGNAL_SETUP
    return SIGNAL_NONE


@compiled
def confirm_scan(st, p, side, close, ts_ms):
    """A daily close that its own scan listed is confirmed by it; returns the SIGNAL code of this close."""
    if (side > 0 and not p["allow_long"]) or (side < 0 and not p["allow_short"]):
        return SIGNAL_NONE
    st["pending_side"] = side
    st["pending_ms"] = ts_ms
    st["pending_close"] = close
    st["pending_due_ms"] = ts_ms
    return SIGNAL_CONFIRMED
