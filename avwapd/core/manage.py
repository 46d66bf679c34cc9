"""An open position at a close: targets, invalidation, time, and the stop by phase of the session."""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.codes import EXIT_FLATTEN, EXIT_INVALIDATION, EXIT_NONE, EXIT_R1, EXIT_R2, EXIT_STOP, EXIT_TIME
from avwapd.core.indicator import FIVE_MINUTES_MS
from avwapd.core.price import to_ticks, too_small
from avwapd.core.risk import ratchet

STRUCTURE_NEVER, STRUCTURE_SECOND, STRUCTURE_FIRST, KEEP = 0, 1, 2, 3


@compiled
def entry_price(st):
    """Average entry in ticks, half to even."""
    return to_ticks(st["entry_cost"] / st["entry_qty"], 1.0)


@compiled
def stop_phase(p, inst, session, ts_ms):
    """How the session's phase treats the stop: which candidate first, or keep."""
    if inst["daily"]:
        return STRUCTURE_NEVER
    if ts_ms > session["close_ms"] - p["close_protect_ms"]:
        return KEEP
    if ts_ms <= session["open_ms"] + p["open_noise_ms"]:
        return STRUCTURE_NEVER
    if ts_ms <= session["open_ms"] + p["early_trend_ms"]:
        return STRUCTURE_SECOND
    return STRUCTURE_FIRST


@compiled
def structure_stop(st, p):
    """The running session's newest five-minute higher low (short: lower high); NaN while there is none."""
    if st["five_count"] < p["structure_bars"]:
        return math.nan
    if st["side"] > 0:
        return st["structure_low"] if st["structure_low"] > st["structure_low_before"] else math.nan
    return st["structure_high"] if st["structure_high"] < st["structure_high_before"] else math.nan


@compiled
def try_stop(st, p, inst, price, close):
    """Move the stop to `price` less its buffer, if known, behind the close, far enough from entry, and tighter."""
    if math.isnan(price):
        return False
    side = st["side"]
    buffer = p["stop_buffer_usd"] if inst["asset"] == 0 else price * p["stop_buffer_bps"] / 10_000.0
    wanted = price - side * buffer
    entry = st["entry_cost"] / st["entry_qty"] * inst["tick"]
    if side * (close - wanted) <= 0.0 or abs(wanted - entry) / entry * 100.0 < p["guard_pct"]:
        return False
    return ratchet(st, side, to_ticks(wanted, inst["tick"]))


@compiled
def move_stop(st, p, inst, session, bar):
    """Ratchet the wanted stop by this close."""
    if not inst["bell"]:
        if st["r1_done"]:
            trail = st["best_close"] * (1.0 - st["side"] * p["trail_pct"] / 100.0)
            if st["side"] * (bar["close"] - trail) > 0.0:
                ratchet(st, st["side"], to_ticks(trail, inst["tick"]))
        return
    if bar["ts_ms"] - st["entry_ms"] < p["guard_ms"] or st["bars_held"] - 1 < p["guard_bars"]:
        return
    order = stop_phase(p, inst, session, bar["ts_ms"])
    if order == KEEP:
        return
    if st["row_swings"]:
        swing = st["row_swing_low"] if st["side"] > 0 else st["row_swing_high"]
    else:
        swing = st["swing_low"] if st["side"] > 0 else st["swing_high"]
    structure = structure_stop(st, p) if inst["timeframe_ms"] <= FIVE_MINUTES_MS else math.nan
    if order == STRUCTURE_FIRST and try_stop(st, p, inst, structure, bar["close"]):
        return
    if try_stop(st, p, inst, swing, bar["close"]):
        return
    if order == STRUCTURE_SECOND:
        try_stop(st, p, inst, structure, bar["close"])


@compiled
def wanted_exit(st, p, inst, sessions, bar, high, low, level):
    """The EXIT code of a full exit at this close, EXIT_NONE where there is none."""
    side = st["side"]
    touched = high if side > 0 else low
    if side * (touched - st["r2"]) >= 0:
        return EXIT_R2
    against = side * (level - bar["close"]) / level * 100.0
    if p["invalidation_pct"] >= 0.0 and against >= p["invalidation_pct"] and against > 0.0:
        return EXIT_INVALIDATION
    last = inst["session_first"] + inst["session_count"] - 1
    fifth = st["entry_session"] + p["time_stop_sessions"]
    if p["time_stop_sessions"] > 0 and fifth <= last and bar["ts_ms"] >= sessions[fifth]["close_ms"]:
        return EXIT_TIME
    flatten = p["flatten_before_close_ms"]
    if flatten > 0 and inst["bell"] and not inst["daily"]:
        if bar["ts_ms"] >= sessions[st["session"]]["close_ms"] - max(flatten, inst["timeframe_ms"]):
            return EXIT_FLATTEN
    return EXIT_NONE


@compiled
def take_first_target(st, p, inst, bar, high, low):
    """R1: part is to be sold, the stop goes to break-even; returns the EXIT code (R1 or none).

    Everything is sold where half a lot remains nothing, where too little for an order would be left, or where price
    closed beyond break-even already. A part too small for an order is not sold.
    """
    side = st["side"]
    touched = high if side > 0 else low
    if st["r1_done"] or side * (touched - st["r1"]) < 0:
        return EXIT_NONE
    st["r1_done"] = 1
    part = math.floor(st["qty"] * p["r1_fraction"])
    even = entry_price(st) if p["breakeven_after_r1"] else st["stop"]
    close = to_ticks(bar["close"], inst["tick"])
    tighter = side * (even - st["stop"]) > 0
    rest = st["qty"] - part
    if part == 0 or rest <= 0 or too_small(inst, rest, bar["close"]) or (tighter and side * (close - even) <= 0):
        st["exit_wanted"] = EXIT_R1
        return EXIT_R1
    ratchet(st, side, even)
    if too_small(inst, part, bar["close"]):
        return EXIT_NONE
    st["trim_qty"] = part
    st["trim_reason"] = EXIT_R1
    return EXIT_R1


@compiled
def grow_trade(st, bar, high, low):
    """Best and worst price of the trade, in ticks, and its best close."""
    side = st["side"]
    up = high if side > 0 else low
    down = low if side > 0 else high
    if side * (up - st["best"]) > 0:
        st["best"] = up
    if side * (st["worst"] - down) > 0:
        st["worst"] = down
    if side * (bar["close"] - st["best_close"]) > 0.0:
        st["best_close"] = bar["close"]


@compiled
def manage(st, p, inst, sessions, bar, high, low, level):
    """Fold a close into an open position: what it wants changes, nothing is sent here; returns the EXIT code.

    high, low: of the bar, ticks; level: the position's own, price. In the bar of the fill only the stop acts.
    """
    if bar["ts_ms"] < st["entry_ms"]:
        return EXIT_NONE  # folded after downtime: nothing was held yet
    if st["bars_held"] == 0:
        st["bars_held"] = 1
        st["entry_session"] = st["session"]
        st["best_close"] = bar["close"]
        return EXIT_NONE
    st["bars_held"] += 1
    grow_trade(st, bar, high, low)
    if st["exit_wanted"] != EXIT_NONE or bar["ts_ms"] - st["entry_ms"] < p["min_hold_ms"]:
        return EXIT_NONE
    reason = wanted_exit(st, p, inst, sessions, bar, high, low, level)
    if reason != EXIT_NONE:
        st["exit_wanted"] = reason
        st["trim_qty"] = 0
        return reason
    reason = take_first_target(st, p, inst, bar, high, low)
    if st["exit_wanted"] == EXIT_NONE:
        move_stop(st, p, inst, sessions[st["session"]], bar)
        if st["side"] * (to_ticks(bar["close"], inst["tick"]) - st["stop"]) <= 0:
            st["exit_wanted"] = EXIT_STOP
            return EXIT_STOP
    return reason
