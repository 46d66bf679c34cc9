"""The barrier: all bars of one ts_ms are in, exits are out; equity is marked, entries are ranked, sized and capped."""

from __future__ import annotations

import math

from avwapd.compiled import compiled, inlined
from avwapd.core import machine, risk, watch
from avwapd.core.codes import (
    CAUSE_BLOCK_DAILY_LOSS,
    CAUSE_BLOCK_DRAWDOWN,
    CAUSE_ORDERED,
    CAUSE_UNBLOCK,
    EXIT_NONE,
    FLAT,
    GATE_BELOW_MINIMUM,
    GATE_CAP_ENTRIES,
    GATE_CAP_GROSS,
    GATE_CAP_POSITIONS,
    GATE_CAP_SYMBOL,
    GATE_DAILY_LOSS,
    GATE_DRAWDOWN,
    GATE_RISK_PER_SHARE,
    GATE_STOP_INVALID,
    LIMIT,
    MARKET,
    PURPOSE_ENTRY,
    SIGNAL_ENTRY,
    SKIP_GATE,
    SKIP_NONE,
    SKIP_OUTRANKED,
    SLOT_EMPTY,
    SUBMIT,
)
from avwapd.core.price import to_ticks, too_small
from avwapd.core.signal import drop_pending

CAPS = 1 << GATE_CAP_ENTRIES | 1 << GATE_CAP_POSITIONS | 1 << GATE_CAP_GROSS | 1 << GATE_CAP_SYMBOL
OUTRANKED = 1 << GATE_CAP_GROSS


@compiled
def new_day(port, p, date, ts_ms, transitions, n):
    """The first bar of a new session date: the day's counters begin, an unattended block may end."""
    port["session_date"] = date
    port["day_start"] = port["equity"]
    port["entries_today"] = 0
    if not p["unattended"]:
        return
    if port["daily_blocked"]:
        port["daily_blocked"] = 0
        machine.note_transition(-1, ts_ms, 1, 0, CAUSE_UNBLOCK, 0, transitions, n)
    if port["drawdown_blocked"]:
        port["drawdown_sessions"] += 1
        if port["drawdown_sessions"] > p["drawdown_sessions"]:
            port["drawdown_blocked"] = 0
            port["peak"] = port["equity"]
            machine.note_transition(-1, ts_ms, 1, 0, CAUSE_UNBLOCK, 0, transitions, n)


@inlined
def mark_equity(w, o, ts_ms):
    """Sum the symbols' profits in symbol order and close the loss gates where they fell too far."""
    port = w.portfolio[0]
    p = w.params[0]
    port["last_ms"] = max(port["last_ms"], ts_ms)
    if not port["dirty"]:
        return
    total = 0.0
    for symbol in range(len(w.value)):
        total += w.value[symbol]
    equity = p["start_equity"] + total
    port["equity"] = equity
    port["dirty"] = 0
    if equity > port["peak"]:
        port["peak"] = equity
    if not port["drawdown_blocked"] and equity <= port["peak"] * (1.0 - p["drawdown_block"]):
        port["drawdown_blocked"] = 1
        port["drawdown_sessions"] = 0
        machine.note_transition(-1, ts_ms, 0, 1, CAUSE_BLOCK_DRAWDOWN, 0, o.transitions, o.n)
    if not port["daily_blocked"] and equity <= port["day_start"] * (1.0 - p["daily_loss_block"]):
        port["daily_blocked"] = 1
        machine.note_transition(-1, ts_ms, 0, 1, CAUSE_BLOCK_DAILY_LOSS, 0, o.transitions, o.n)


@inlined
def exposure(w):
    """(positions held or being entered, their gross value in equity currency, live entry orders at their limit)."""
    positions = 0
    gross = 0.0
    for symbol in range(len(w.states)):
        st = w.states[symbol]
        if st["phase"] == FLAT:
            continue
        inst = w.instruments[symbol]
        rate = risk.quote_rate(w.states, inst)
        positions += 1
        lots = float(st["qty"])
        if st["entry"]["status"] != SLOT_EMPTY:
            lots += float(st["entry"]["qty"] - st["entry"]["filled"])
        gross += lots * inst["lot"] * st["last_close"] * rate
    return positions, gross


@inlined
def rank(w, count):
    """Sort the candidates as `watch.precedes` says (an insertion sort: they are few)."""
    for i in range(1, count):
        symbol = w.candidates[i, 0]
        row = w.candidates[i, 1]
        distance = w.distance[i]
        j = i - 1
        while j >= 0 and watch.precedes(
            w.watch[symbol], w.watch[w.candidates[j, 0]], distance, w.distance[j], symbol, w.candidates[j, 0]
        ):
            w.candidates[j + 1, 0] = w.candidates[j, 0]
            w.candidates[j + 1, 1] = w.candidates[j, 1]
            w.distance[j + 1] = w.distance[j]
            j -= 1
        w.candidates[j + 1, 0] = symbol
        w.candidates[j + 1, 1] = row
        w.distance[j + 1] = distance


@compiled
def over_caps(p, port, gross, value):
    """Bits of the caps that `value` equity currency more would break; ceilings count as caps."""
    blocked = 0
    equity = port["equity"]
    if port["entries_today"] >= min(p["max_entries_day"], p["ceiling_entries_day"]):
        blocked |= 1 << GATE_CAP_ENTRIES
    after = gross + value
    if after > equity * min(p["max_gross_fraction"], p["ceiling_gross_fraction"]):
        blocked |= 1 << GATE_CAP_GROSS
    if p["max_gross_notional"] > 0.0 and after > p["max_gross_notional"]:
        blocked |= 1 << GATE_CAP_GROSS
    if p["max_symbol_notional"] > 0.0 and value > p["max_symbol_notional"]:
        blocked |= 1 << GATE_CAP_SYMBOL
    if value > p["ceiling_notional"]:
        blocked |= 1 << GATE_CAP_SYMBOL
    return blocked


@compiled
def below_minimum(p, inst, qty, price, value):
    """True where the venue or the settings would not take so small an entry."""
    if qty <= 0 or too_small(inst, qty, price):
        return True
    return inst["asset"] == 0 and value < p["min_position"]


@inlined
def order_entry(w, o, symbol, row, qty):
    """Emit the entry and note the plan it was made on."""
    st = w.states[symbol]
    inst = w.instruments[symbol]
    p = w.params[0]
    side = st["pending_side"]
    close = st["last_close"]
    tick = inst["tick"]
    risk_price = abs(st["pending_close"] - st["pending_stop"])
    limit = 0
    kind = MARKET
    if p["entry_type"] == LIMIT:
        kind = LIMIT
        limit = to_ticks(close * (1.0 + side * p["limit_offset_bps"] / 10_000.0), tick)
    st["initial_stop"] = to_ticks(st["pending_stop"], tick)
    if st["on_row"]:
        st["r1"] = to_ticks(w.watch[symbol]["r1"], tick)
        st["r2"] = to_ticks(w.watch[symbol]["r2"], tick)
    else:
        st["r1"] = to_ticks(st["pending_close"] + side * p["r1_multiple"] * risk_price, tick)
        st["r2"] = to_ticks(st["pending_close"] + side * p["r2_multiple"] * risk_price, tick)
    st["stop"] = st["initial_stop"]
    st["position_slot"] = p["level_anchor"]
    watch.plan_entry(st, w.watch[symbol])
    st["cancel_entry"] = 0
    intent = machine.emit(st, symbol, SUBMIT, PURPOSE_ENTRY, side, kind, qty, limit, 0, EXIT_NONE, 0, o.effects, o.n)
    machine.occupy(st["entry"], intent, PURPOSE_ENTRY, side, qty, limit, 0, EXIT_NONE)
    drop_pending(st)
    w.portfolio[0]["entries_today"] += 1
    machine.settle(st, symbol, st["last_ms"], CAUSE_ORDERED, o.transitions, o.n)
    row["signal"] = SIGNAL_ENTRY
    row["skip"] = SKIP_NONE
    row["intent"] = intent
    row["phase_after"] = st["phase"]
    row["qty"] = qty
    row["limit"] = limit
    row["stop"] = st["initial_stop"]
    row["r1"] = st["r1"]
    row["r2"] = st["r2"]


@inlined
def turn_away(w, o, first, count, skip):
    """No room for another position: the candidates from `first` on learn it; nothing else is asked of them."""
    for i in range(first, count):
        row = o.decisions[w.candidates[i, 1]]
        row["gates_asked"] |= 1 << GATE_CAP_POSITIONS
        row["gates_blocked"] |= 1 << GATE_CAP_POSITIONS
        row["skip"] = skip


@inlined
def close(w, o, count, ts_ms):
    """Mark equity, then turn the ranked candidates into orders while the caps allow; the rest learn why not."""
    mark_equity(w, o, ts_ms)
    if count == 0:
        return
    port = w.portfolio[0]
    p = w.params[0]
    positions, gross = exposure(w)
    if positions >= p["max_positions"]:
        turn_away(w, o, 0, count, SKIP_GATE)
        return
    rank(w, count)
    ordered = 0
    for i in range(count):
        if positions >= p["max_positions"]:
            turn_away(w, o, i, count, SKIP_OUTRANKED)
            return
        symbol = w.candidates[i, 0]
        row = o.decisions[w.candidates[i, 1]]
        st = w.states[symbol]
        inst = w.instruments[symbol]
        price = st["last_close"]
        stop = st["pending_stop"]
        rate = risk.quote_rate(w.states, inst)
        blocked = 0
        if port["drawdown_blocked"]:
            blocked |= 1 << GATE_DRAWDOWN
        if port["daily_blocked"]:
            blocked |= 1 << GATE_DAILY_LOSS
        if p["max_risk_per_share"] > 0.0 and abs(price - stop) * rate > p["max_risk_per_share"]:
            blocked |= 1 << GATE_RISK_PER_SHARE
        tick = inst["tick"]
        if st["pending_side"] * (to_ticks(price, tick) - to_ticks(stop, tick)) <= 0:
            blocked |= 1 << GATE_STOP_INVALID
        qty = 0
        value = 0.0
        if blocked == 0:
            if st["on_row"]:
                distance = abs(w.watch[symbol]["dist_pct"])
                atr = w.watch[symbol]["atr"]
            else:
                line = st["avwap"][p["level_anchor"]]
                level = line["shift"] + line["mean"]
                distance = abs(price - level) / level * 100.0
                atr = st["atr"]
            target = risk.notional_target(p, port["equity"], price, stop, distance, atr)
            qty = risk.lots_for(target, price, rate, inst) if target > 0.0 and not math.isnan(target) else 0
            value = qty * inst["lot"] * price * rate
            if below_minimum(p, inst, qty, price, value):
                blocked |= 1 << GATE_BELOW_MINIMUM
            blocked |= over_caps(p, port, gross, value)
        row["gates_asked"] |= CAPS | 1 << GATE_BELOW_MINIMUM | 1 << GATE_RISK_PER_SHARE
        if blocked != 0:
            row["gates_blocked"] |= blocked
            row["skip"] = SKIP_OUTRANKED if ordered and blocked & OUTRANKED else SKIP_GATE
            continue
        order_entry(w, o, symbol, row, qty)
        ordered += 1
        positions += 1
        gross += value
