"""A split or dividend: what a symbol remembers is restated at the open of the day, so that its lines go on unbroken.

Bars are raw, so the first bar of the day is in new prices. Every remembered price is multiplied by `price_ratio` (split
and dividend), every volume divided by `split_ratio`. A held quantity, its stop and its targets follow the split alone:
a dividend moves the price, not the terms of the trade. The change of quantity is one FILL row at price 0 that pays what
does not make a whole lot; the stop at the venue is replaced by `drive`.
"""

from __future__ import annotations

import math

from avwapd.compiled import compiled, inlined
from avwapd.core.codes import CAUSE_EXIT, EXIT_NONE, PURPOSE_TRIM, SLOT_EMPTY
from avwapd.core.machine import cancel, close_trade, drive, fit_trim, note_restated, settle
from avwapd.core.price import to_ticks
from avwapd.core.records import MAX_ANCHORS, RING_BARS, RING_DAYS
from avwapd.core.signal import drop_pending

EXACT = 1e-12  # relative: a quotient this close below a whole number is that number


@compiled
def restate_row(row, date, price_ratio):
    """A row of the list, where its prices are older than the action; a scan knows those of its own day."""
    if row["scan_date"] >= date:
        return
    row["level"] *= price_ratio
    row["stop"] *= price_ratio
    row["r1"] *= price_ratio
    row["r2"] *= price_ratio
    row["atr"] *= price_ratio
    row["swing_low"] *= price_ratio
    row["swing_high"] *= price_ratio


@compiled
def restate_lines(st, price_ratio, split_ratio):
    """Every anchored line as if its bars had been in today's prices."""
    for a in range(MAX_ANCHORS + 1):
        line = st["avwap"][a]
        line["shift"] *= price_ratio
        line["mean"] *= price_ratio
        line["weight"] /= split_ratio
        line["spread"] *= price_ratio * price_ratio / split_ratio
    for i in range(8):
        st["slope_ring"][i] *= price_ratio
    for i in range(RING_BARS):
        bar = st["ring"][i]
        bar["open"] *= price_ratio
        bar["high"] *= price_ratio
        bar["low"] *= price_ratio
        bar["close"] *= price_ratio
        bar["volume"] /= split_ratio


@compiled
def restate_days(st, price_ratio, split_ratio):
    """Days, their means and swings; the session that just ended included."""
    for i in range(RING_DAYS):
        st["day_highs"][i] *= price_ratio
        st["day_lows"][i] *= price_ratio
        st["day_closes"][i] *= price_ratio
        st["day_ranges"][i] *= price_ratio
    st["day_open"] *= price_ratio
    st["day_high"] *= price_ratio
    st["day_low"] *= price_ratio
    st["day_close"] *= price_ratio
    st["atr"] *= price_ratio
    st["swing_low"] *= price_ratio
    st["swing_high"] *= price_ratio
    st["floor_low"] *= price_ratio
    st["ceiling_high"] *= price_ratio
    st["entry_level"] *= price_ratio
    st["row_swing_low"] *= price_ratio
    st["row_swing_high"] *= price_ratio
    st["last_close"] *= price_ratio
    st["best_close"] *= price_ratio
    st["session_volume"] /= split_ratio
    st["profile_last"] /= split_ratio


@compiled
def scaled_ticks(ticks, ratio):
    """A price in ticks times `ratio`, half to even."""
    return to_ticks(ticks * ratio, 1.0)


@compiled
def restate_position(st, symbol, inst, ts_ms, split_ratio, fills, n):
    """Quantity, stop and targets of what is held; the last close is in new prices already."""
    before = st["qty"]
    exact = before / split_ratio
    after = math.floor(exact * (1.0 + EXACT))
    st["stop"] = scaled_ticks(st["stop"], split_ratio)
    st["initial_stop"] = scaled_ticks(st["initial_stop"], split_ratio)
    st["r1"] = scaled_ticks(st["r1"], split_ratio)
    st["r2"] = scaled_ticks(st["r2"], split_ratio)
    st["best"] = scaled_ticks(st["best"], split_ratio)
    st["worst"] = scaled_ticks(st["worst"], split_ratio)
    st["entry_qty"] = max(math.floor(st["entry_qty"] / split_ratio * (1.0 + EXACT)), after)
    st["trim_qty"] = min(math.floor(st["trim_qty"] / split_ratio * (1.0 + EXACT)), after)
    if after == before:
        return
    rest = max(exact - after, 0.0)
    paid = to_ticks(rest * to_ticks(st["last_close"], inst["tick"]), 1.0)
    st["qty"] = after
    st["cash"] += st["side"] * paid
    side = st["side"] if after >= before else -st["side"]
    note_restated(st, symbol, ts_ms, EXIT_NONE, side, abs(after - before), 0, -st["side"] * paid, fills, n)
    if after == 0:
        close_trade(st, ts_ms)


@inlined
def restate_symbol(w, o, symbol, ts_ms, date, price_ratio, split_ratio):
    """Fold a corporate action into one symbol."""
    st = w.states[symbol]
    inst = w.instruments[symbol]
    drop_pending(st)
    restate_lines(st, price_ratio, split_ratio)
    restate_days(st, price_ratio, split_ratio)
    restate_row(w.watch[symbol], date, price_ratio)
    for slot in range(w.profile.shape[0]):
        for column in range(w.profile.shape[1]):
            w.profile[slot, column, symbol] /= split_ratio
    if split_ratio == 1.0:
        return
    if st["entry"]["status"] != SLOT_EMPTY:
        st["cancel_entry"] = 1  # its price and quantity are of yesterday's shares
    leave = st["leave"]
    leaving = leave["status"] != SLOT_EMPTY
    if leaving and leave["purpose"] == PURPOSE_TRIM:
        st["trim_qty"] += leave["qty"] - leave["filled"]
    if st["qty"] > 0:
        restate_position(st, symbol, inst, ts_ms, split_ratio, o.fills, o.n)
        fit_trim(st, inst)
    if leaving:
        # Yesterday's quantity must not be sold; the word that ends it drives the rest anew.
        cancel(st, symbol, leave, o.effects, o.n)
    else:
        drive(st, inst, symbol, o.effects, o.n)
    settle(st, symbol, ts_ms, CAUSE_EXIT, o.transitions, o.n)


@inlined
def restate(w, o, ts_ms, rows):
    """Every ACTION row of the session that opens at `ts_ms`, once, between two barriers."""
    port = w.portfolio[0]
    if ts_ms <= port["restated_ms"]:
        return
    port["restated_ms"] = ts_ms
    for i in range(len(rows)):
        row = rows[i]
        if row["ts_ms"] == ts_ms:
            restate_symbol(w, o, row["symbol"], ts_ms, row["date"], row["price_ratio"], row["split_ratio"])
