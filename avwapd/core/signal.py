"""What the rules want at a close: breakout-and-hold and reclaim, long and short.

A side's run counts the closes since price crossed the level to that side: 0 the last close was at or on the wrong side,
1 the cross, 2 the next close held, and so on; -1 while no cross was seen in this anchor period.
"""

from __future__ import annotations

from avwapd.compiled import compiled
from avwapd.core.codes import (
    SETUP_RECLAIM,
    SIGNAL_CONFIRMED,
    SIGNAL_NONE,
    SIGNAL_PENDING,
    SIGNAL_SETUP,
)


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
    return p["hold_closes"] if p["setup"] == SETUP_RECLAIM else 2


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
def confirm(st, p, inst, close, ts_ms, date):
    """Turn a run that is long enough into a pending confirmation; returns the SIGNAL code of this close."""
    if st["pending_side"] != 0:
        return SIGNAL_PENDING
    enough = needed(p)
    side = 0
    if p["allow_long"] and st["run_long"] == enough:
        side = 1
    elif p["allow_short"] and st["run_short"] == enough:
        side = -1
    if side != 0:
        st["pending_side"] = side
        st["pending_ms"] = ts_ms
        st["pending_close"] = close
        delayed = inst["bell"] and not inst["daily"]
        st["pending_due_ms"] = ts_ms + (entry_delay(inst, p, date) if delayed else 0)
        return SIGNAL_CONFIRMED
    if (p["allow_long"] and st["run_long"] == 1) or (p["allow_short"] and st["run_short"] == 1):
        return SIGNAL_SETUP
    return SIGNAL_NONE
