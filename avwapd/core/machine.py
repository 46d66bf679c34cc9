"""A symbol's machine: FLAT, ENTERING, OPEN, EXITING.

The phase is a function of what is held and what is live at the venue, checked against the table below at every change;
an impossible move stops the process. Orders are driven the same way: the machine keeps what it wants (a stop of this
size and price, this part sold, everything sold) and `drive` emits the next request that brings the venue closer. So a
lost answer, a late fill or a bar folded after downtime need no case of their own.
"""

from __future__ import annotations

import numpy as np

from avwapd.compiled import compiled
from avwapd.core.avwap import forget
from avwapd.core.codes import (
    ACKED,
    CANCEL,
    CANCEL_REFUSED,
    CAUSE_CLOSED,
    CAUSE_EXIT,
    CAUSE_EXIT_REFUSED,
    CAUSE_FILLED,
    CAUSE_LATE_FILL,
    CAUSE_PART_FILLED,
    CAUSE_REJECTED,
    CAUSE_STOPPED,
    CAUSE_UNFILLED,
    ENTERING,
    ERROR_TRANSITION,
    ERROR_UNKNOWN_ORDER,
    EXIT_DUST,
    EXIT_GAP,
    EXIT_NONE,
    EXIT_STOP,
    EXITING,
    FILLED,
    FLAT,
    MARKET,
    OPEN,
    PURPOSE_ENTRY,
    PURPOSE_EXIT,
    PURPOSE_RESTATE,
    PURPOSE_STOP,
    PURPOSE_TRIM,
    REJECTED,
    REPLACE,
    REPLACED,
    SLOT_CANCELING,
    SLOT_EMPTY,
    SLOT_LIVE,
    SLOT_PENDING,
    STOP,
    SUBMIT,
)
from avwapd.core.price import too_small
from avwapd.core.records import POSITION_ANCHOR

# Rows: before; columns: after. FLAT -> OPEN is a late fill, EXITING -> OPEN a refused exit.
LEGAL = np.array(
    [
        # FLAT  ENTERING OPEN  EXITING
        [False, True, True, False],  # FLAT
        [True, False, True, True],  # ENTERING
        [True, False, False, True],  # OPEN
        [True, False, True, False],  # EXITING
    ]
)

FROZEN = 2  # st["halted"]: 1 opens nothing, 2 sends nothing at all: an order is in doubt

# Positions in the counter array `n` that every core call carries (int64).
DECISIONS, EFFECTS, TRANSITIONS, FILLS, ERROR, ERROR_SYMBOL, ALERTS = 0, 1, 2, 3, 4, 5, 6
COUNTERS = 8


@compiled
def fail(n, code, symbol):
    """Note the first error; the caller stops the process."""
    if n[ERROR] == 0:
        n[ERROR] = code
        n[ERROR_SYMBOL] = symbol


@compiled
def note_transition(symbol, ts_ms, before, after, cause, qty, transitions, n):
    """Append a TRANSITION row."""
    row = transitions[n[TRANSITIONS]]
    row["ts_ms"] = ts_ms
    row["symbol"] = symbol
    row["before"] = before
    row["after"] = after
    row["cause"] = cause
    row["pad"] = 0
    row["qty"] = qty
    n[TRANSITIONS] += 1


@compiled
def phase_of(st):
    """The phase that what is held and live amounts to."""
    if st["entry"]["status"] != SLOT_EMPTY:
        return ENTERING
    if st["qty"] == 0:
        if st["protect"]["status"] != SLOT_EMPTY or st["leave"]["status"] != SLOT_EMPTY:
            return EXITING
        return FLAT
    return EXITING if st["exit_wanted"] else OPEN


@compiled
def settle(st, symbol, ts_ms, cause, transitions, n):
    """Move to the phase the facts amount to; a move outside the table is an error."""
    after = phase_of(st)
    before = st["phase"]
    if after == before:
        return
    if before == FLAT and after == EXITING:
        # A late fill beyond its stop: first the position is there, then it is left.
        note_transition(symbol, ts_ms, FLAT, OPEN, cause, st["qty"], transitions, n)
        before = OPEN
        cause = CAUSE_EXIT
    if not LEGAL[before, after]:
        fail(n, ERROR_TRANSITION, symbol)
        return
    st["phase"] = after
    note_transition(symbol, ts_ms, before, after, cause, st["qty"], transitions, n)


@compiled
def emit(st, symbol, kind, purpose, side, type_, qty, limit, stop, reason, ref, effects, n):
    """Append an EFFECT under the symbol's next intent number; returns that number."""
    st["intent"] += 1
    row = effects[n[EFFECTS]]
    row["ts_ms"] = st["last_ms"]
    row["symbol"] = symbol
    row["intent"] = st["intent"]
    row["ref"] = ref
    row["kind"] = kind
    row["purpose"] = purpose
    row["side"] = side
    row["type"] = type_
    row["qty"] = qty
    row["limit"] = limit
    row["stop"] = stop
    row["reason"] = reason
    n[EFFECTS] += 1
    return st["intent"]


@compiled
def occupy(slot, intent, purpose, side, qty, limit, stop, reason):
    """A slot waits for the venue's word about the order just emitted."""
    slot["intent"] = intent
    slot["purpose"] = purpose
    slot["side"] = side
    slot["qty"] = qty
    slot["filled"] = 0
    slot["limit"] = limit
    slot["stop"] = stop
    slot["reason"] = reason
    slot["status"] = SLOT_PENDING


@compiled
def copy_slot(target, source):
    target["qty"] = source["qty"]
    target["filled"] = source["filled"]
    target["limit"] = source["limit"]
    target["stop"] = source["stop"]
    target["intent"] = source["intent"]
    target["status"] = source["status"]
    target["purpose"] = source["purpose"]
    target["side"] = source["side"]
    target["reason"] = source["reason"]


@compiled
def cancel(st, symbol, slot, effects, n):
    """Ask for the cancel of a live order, once."""
    if slot["status"] != SLOT_LIVE:
        return
    emit(st, symbol, CANCEL, slot["purpose"], slot["side"], 0, 0, 0, 0, slot["reason"], slot["intent"], effects, n)
    slot["status"] = SLOT_CANCELING


@compiled
def drive_exit(st, inst, symbol, effects, n):
    """Everything is to be sold: entry and stop out of the way first, never two sellers at once."""
    cancel(st, symbol, st["entry"], effects, n)
    cancel(st, symbol, st["protect"], effects, n)
    leave = st["leave"]
    if leave["purpose"] == PURPOSE_TRIM:
        cancel(st, symbol, leave, effects, n)
    if leave["status"] != SLOT_EMPTY and leave["qty"] - leave["filled"] > st["qty"]:
        cancel(st, symbol, leave, effects, n)
    if st["protect"]["status"] != SLOT_EMPTY or leave["status"] != SLOT_EMPTY:
        return
    if st["entry"]["status"] != SLOT_EMPTY and too_small(inst, st["qty"], st["last_close"]):
        return  # more of the entry may come; what has come by its end decides
    reason = st["exit_wanted"]
    intent = emit(st, symbol, SUBMIT, PURPOSE_EXIT, -st["side"], MARKET, st["qty"], 0, 0, reason, 0, effects, n)
    occupy(leave, intent, PURPOSE_EXIT, -st["side"], st["qty"], 0, 0, reason)


@compiled
def drive_hold(st, inst, symbol, effects, n):
    """A position is kept: its stop has the right size and price, then the part to sell is sold."""
    protect = st["protect"]
    leave = st["leave"]
    leaving = leave["qty"] - leave["filled"] if leave["status"] != SLOT_EMPTY else 0
    want = st["qty"] - st["trim_qty"] - leaving
    side = -st["side"]
    if want < 0 or leave["purpose"] == PURPOSE_EXIT:
        cancel(st, symbol, leave, effects, n)  # other hands were in it: an exit of what is gone, a trim of too much
    if protect["status"] == SLOT_EMPTY:
        growing = st["entry"]["status"] != SLOT_EMPTY
        if want > 0 and not (growing and too_small(inst, want, st["last_close"])):
            finish(st["replaced"])
            intent = emit(st, symbol, SUBMIT, PURPOSE_STOP, side, STOP, want, 0, st["stop"], EXIT_STOP, 0, effects, n)
            occupy(protect, intent, PURPOSE_STOP, side, want, 0, st["stop"], EXIT_STOP)
    elif protect["status"] == SLOT_LIVE:
        if want <= 0:
            if want == 0:
                cancel(st, symbol, protect, effects, n)
        elif protect["qty"] - protect["filled"] != want or protect["stop"] != st["stop"]:
            ref = protect["intent"]
            copy_slot(st["replaced"], protect)
            intent = emit(
                st, symbol, REPLACE, PURPOSE_STOP, side, STOP, want, 0, st["stop"], EXIT_STOP, ref, effects, n
            )
            occupy(protect, intent, PURPOSE_STOP, side, want, 0, st["stop"], EXIT_STOP)
        elif st["trim_qty"] > 0 and leave["status"] == SLOT_EMPTY:
            qty = st["trim_qty"]
            reason = st["trim_reason"]
            intent = emit(st, symbol, SUBMIT, PURPOSE_TRIM, side, MARKET, qty, 0, 0, reason, 0, effects, n)
            occupy(leave, intent, PURPOSE_TRIM, side, qty, 0, 0, reason)
            st["trim_qty"] = 0


@compiled
def turned(st, slot):
    """True of a live order that left a position of the other side."""
    return slot["status"] != SLOT_EMPTY and slot["side"] == st["side"]


@compiled
def drive(st, inst, symbol, effects, n):
    """Emit the next requests that bring the venue to what the machine wants; nothing where all is as wanted."""
    if st["halted"] == FROZEN:
        return
    if st["cancel_entry"]:
        cancel(st, symbol, st["entry"], effects, n)
    if st["qty"] == 0:
        cancel(st, symbol, st["protect"], effects, n)
        cancel(st, symbol, st["leave"], effects, n)
    elif turned(st, st["protect"]) or turned(st, st["leave"]):
        if turned(st, st["protect"]):
            cancel(st, symbol, st["protect"], effects, n)
        if turned(st, st["leave"]):
            cancel(st, symbol, st["leave"], effects, n)
    elif st["exit_wanted"]:
        drive_exit(st, inst, symbol, effects, n)
    else:
        drive_hold(st, inst, symbol, effects, n)


@compiled
def plan_targets(st, price):
    """At the first fill: a target that is not beyond the fill becomes 1R or 2R from it."""
    side = st["side"]
    risk = side * (price - st["initial_stop"])
    replaced = side * (st["r1"] - price) <= 0
    if replaced:
        st["r1"] = price + side * risk
    if side * (st["r2"] - price) <= 0 or (replaced and side * (st["r2"] - st["r1"]) <= 0):
        st["r2"] = price + side * 2 * risk


@compiled
def begin_trade(st, side, price, ts_ms):
    """A position begins by the plan in the state; the line it was taken on is kept."""
    st["trade"] += 1
    st["side"] = side
    st["entry_cost"] = 0
    st["entry_qty"] = 0
    st["entry_ms"] = ts_ms
    st["entry_session"] = -1
    st["bars_held"] = 0
    st["r1_done"] = 0
    st["trim_qty"] = 0
    st["best"] = price
    st["worst"] = price
    st["best_close"] = st["last_close"]
    st["stop"] = st["initial_stop"]
    plan_targets(st, price)
    line = st["avwap"][POSITION_ANCHOR]
    source = st["avwap"][st["position_slot"]]
    line["shift"] = source["shift"]
    line["weight"] = source["weight"]
    line["mean"] = source["mean"]
    line["spread"] = source["spread"]
    line["anchor_ms"] = source["anchor_ms"]
    line["known_ms"] = source["known_ms"]


@compiled
def open_trade(st, row, date):
    """The first fill of an entry: the day's entry is consumed."""
    if st["consumed_date"] != date:
        st["consumed_date"] = date
        st["consumed_count"] = 0
    st["consumed_count"] += 1
    begin_trade(st, row["side"], row["price"], row["ts_ms"])


@compiled
def close_trade(st, ts_ms):
    """Nothing is held any more."""
    st["exit_wanted"] = EXIT_NONE
    st["trim_qty"] = 0
    st["last_exit_ms"] = ts_ms
    forget(st["avwap"][POSITION_ANCHOR])


@compiled
def note_restated(st, symbol, ts_ms, reason, side, qty, price, fee, fills, n):
    """A FILL row without an order: `qty` is what the quantity held has just moved by."""
    out = fills[n[FILLS]]
    out["ts_ms"] = ts_ms
    out["symbol"] = symbol
    out["intent"] = 0
    out["trade"] = st["trade"]
    out["purpose"] = PURPOSE_RESTATE
    out["reason"] = reason
    out["side"] = side
    out["late"] = 0
    out["qty"] = qty
    out["price"] = price
    out["fee"] = fee
    out["fee_lots"] = 0
    out["held"] = st["qty"]
    out["best"] = st["best"]
    out["worst"] = st["worst"]
    out["initial_stop"] = st["initial_stop"]
    n[FILLS] += 1


@compiled
def write_off(st, symbol, ts_ms, reason, fills, n):
    """What no order can sell leaves the books at price 0; cash stays, nothing is held any more."""
    qty = st["qty"]
    st["qty"] = 0
    note_restated(st, symbol, ts_ms, reason, -st["side"], qty, 0, 0, fills, n)
    close_trade(st, ts_ms)


@compiled
def drop_dust(st, inst, symbol, slot, ts_ms, fills, n):
    """An order came to its end: what is left of its position and is too little for any order is written off.

    An entry that filled whole is no remainder, however little it is.
    """
    if st["qty"] == 0 or slot["filled"] == 0 or slot["filled"] > slot["qty"]:
        return
    entry = slot["purpose"] == PURPOSE_ENTRY
    if entry and slot["filled"] == slot["qty"]:
        return
    live = st["entry"]["status"] != SLOT_EMPTY or st["protect"]["status"] != SLOT_EMPTY
    if live or st["leave"]["status"] != SLOT_EMPTY or not too_small(inst, st["qty"], st["last_close"]):
        return
    write_off(st, symbol, ts_ms, EXIT_DUST if entry else slot["reason"], fills, n)


@compiled
def fit_trim(st, inst):
    """A part to sell that is all that is held, or leaves too little for an order, becomes an exit."""
    if st["trim_qty"] == 0 or st["qty"] == 0 or st["exit_wanted"] != EXIT_NONE:
        return
    rest = st["qty"] - st["trim_qty"]
    if rest <= 0 or too_small(inst, rest, st["last_close"]):
        st["exit_wanted"] = st["trim_reason"]
        st["trim_qty"] = 0


@compiled
def take_fill(st, symbol, row, delta, purpose, reason, late, date, fills, n):
    """Book `delta` lots of a fill: position, cash, extremes, one FILL row."""
    if purpose == PURPOSE_ENTRY and st["qty"] == 0:
        open_trade(st, row, date)
    st["qty"] += delta if row["side"] == st["side"] else -delta
    if purpose == PURPOSE_ENTRY:
        st["entry_qty"] += delta
        st["entry_cost"] += row["price"] * delta
        if st["side"] * (row["price"] - st["stop"]) <= 0 and st["exit_wanted"] == EXIT_NONE:
            st["exit_wanted"] = EXIT_GAP
    # What is held is sold: a base-coin fee shrinks the position.
    st["qty"] -= row["fee_lots"]
    st["cash"] -= row["side"] * row["price"] * delta + row["fee"]
    if st["qty"] < 0:
        # The venue gave more than was asked: follow it, and call a human.
        st["qty"] = -st["qty"]
        st["side"] = -st["side"] if st["side"] != 0 else row["side"]
        st["halted"] = FROZEN
        n[ALERTS] += 1
    out = fills[n[FILLS]]
    out["ts_ms"] = row["ts_ms"]
    out["symbol"] = symbol
    out["intent"] = row["intent"]
    out["trade"] = st["trade"]
    out["purpose"] = purpose
    out["reason"] = reason
    out["side"] = row["side"]
    out["late"] = late
    out["qty"] = delta
    out["price"] = row["price"]
    out["fee"] = row["fee"]
    out["fee_lots"] = row["fee_lots"]
    out["held"] = st["qty"]
    out["best"] = st["best"]
    out["worst"] = st["worst"]
    out["initial_stop"] = st["initial_stop"]
    n[FILLS] += 1
    if st["qty"] == 0:
        close_trade(st, row["ts_ms"])


@compiled
def finish(slot):
    slot["status"] = SLOT_EMPTY


@compiled
def on_final(st, slot, kind):
    """An order ended without filling whole (canceled, expired, rejected)."""
    purpose = slot["purpose"]
    finish(slot)
    if purpose == PURPOSE_ENTRY:
        st["cancel_entry"] = 0
    elif kind == REJECTED and purpose == PURPOSE_STOP and st["qty"] > 0 and st["exit_wanted"] == EXIT_NONE:
        # The venue will not hold a stop: out, rather than naked.
        st["exit_wanted"] = EXIT_STOP
    elif kind == REJECTED and purpose == PURPOSE_EXIT:
        # Asking again would ask for ever: send nothing more, call a human.
        st["halted"] = FROZEN


@compiled
def on_replace_refused(st):
    """The old stop stands: want what stands, until the next bar wants something else."""
    copy_slot(st["protect"], st["replaced"])
    finish(st["replaced"])
    st["stop"] = st["protect"]["stop"]
    st["trim_qty"] = 0


@compiled
def cause_of(st, kind, purpose):
    """The word for the transition that a report leads to."""
    if kind == REJECTED:
        return CAUSE_EXIT_REFUSED if purpose == PURPOSE_EXIT else CAUSE_REJECTED
    if kind == FILLED:
        if purpose == PURPOSE_ENTRY:
            if st["phase"] == FLAT:
                return CAUSE_LATE_FILL
            return CAUSE_FILLED
        return CAUSE_STOPPED if purpose == PURPOSE_STOP else CAUSE_CLOSED
    if purpose == PURPOSE_ENTRY:
        return CAUSE_PART_FILLED if st["qty"] > 0 else CAUSE_UNFILLED
    return CAUSE_EXIT if st["exit_wanted"] else CAUSE_CLOSED


@compiled
def on_fill(st, symbol, row, slot, date, fills, n):
    """A fill, once: the cumulative quantity tells a doubled or overtaken report from a new one."""
    delta = row["cum_qty"] - slot["filled"]
    if delta <= 0:
        return
    late = 1 if slot["status"] == SLOT_EMPTY else 0
    slot["filled"] = row["cum_qty"]
    if slot["filled"] > slot["qty"]:
        st["halted"] = FROZEN
        n[ALERTS] += 1
    if slot["status"] == SLOT_PENDING:
        slot["status"] = SLOT_LIVE
    take_fill(st, symbol, row, delta, slot["purpose"], slot["reason"], late, date, fills, n)
    if slot["filled"] >= slot["qty"]:
        if slot["purpose"] == PURPOSE_ENTRY:
            st["cancel_entry"] = 0
        finish(slot)


@compiled
def on_word(st, inst, symbol, row, slot, date, fills, n):
    """The venue's word about the order in `slot`."""
    kind = row["kind"]
    working = slot["status"] != SLOT_EMPTY
    if kind == FILLED:
        on_fill(st, symbol, row, slot, date, fills, n)
    elif kind == ACKED or kind == REPLACED:
        if slot["status"] == SLOT_PENDING:
            slot["status"] = SLOT_LIVE
        if kind == REPLACED:
            finish(st["replaced"])
    elif kind == CANCEL_REFUSED:
        if slot["status"] == SLOT_CANCELING:
            slot["status"] = SLOT_LIVE
    elif working:
        on_final(st, slot, kind)
    if slot["status"] == SLOT_EMPTY and (working or kind == FILLED):
        drop_dust(st, inst, symbol, slot, row["ts_ms"], fills, n)


@compiled
def on_report(st, inst, symbol, row, date, effects, transitions, fills, n):
    """Fold a REPORT record into a symbol's machine; date: session date (yyyymmdd) of the report.

    Duplicates and stale words change nothing. A refused cancel or replace is not asked again before the next close or
    word: most likely a fill is on its way, and asking at once could go on for ever. A fill for an order that no slot
    remembers moves the position and freezes the symbol.
    """
    intent = row["intent"]
    kind = row["kind"]
    purpose = row["purpose"]
    refused = kind == CANCEL_REFUSED
    if intent == st["entry"]["intent"]:
        on_word(st, inst, symbol, row, st["entry"], date, fills, n)
    elif intent == st["leave"]["intent"]:
        on_word(st, inst, symbol, row, st["leave"], date, fills, n)
    elif intent == st["protect"]["intent"]:
        if kind == REJECTED and st["replaced"]["status"] != SLOT_EMPTY:
            on_replace_refused(st)
            refused = True
        else:
            on_word(st, inst, symbol, row, st["protect"], date, fills, n)
    elif intent == st["replaced"]["intent"]:
        on_word(st, inst, symbol, row, st["replaced"], date, fills, n)
    elif kind == FILLED:
        st["halted"] = FROZEN
        n[ALERTS] += 1
        take_fill(st, symbol, row, row["last_qty"], purpose, EXIT_NONE, 1, date, fills, n)
    elif intent > st["intent"]:
        fail(n, ERROR_UNKNOWN_ORDER, symbol)
    fit_trim(st, inst)
    settle(st, symbol, row["ts_ms"], cause_of(st, kind, purpose), transitions, n)
    if not refused:
        drive(st, inst, symbol, effects, n)
