"""A position follows the venue's truth: what other hands did there, or a busted execution undone, as one explicit row.

Books first (cash exact, one FILL row of purpose restate a trade that it touches), then orders: the stop is re-sized, a
position that appears gets a stop of its own, orders of one that is gone are canceled. A frozen symbol stays frozen.
"""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.codes import CAUSE_ADJUSTED, EXIT_OPERATOR, SLOT_EMPTY
from avwapd.core.machine import begin_trade, close_trade, drive, fit_trim, note_restated, settle, write_off
from avwapd.core.price import to_ticks, too_small


@compiled
def plan_unplanned(st, p, inst, side, price):
    """A position that no entry planned: the percent stop from the last close, targets at multiples of that risk.

    price: of the adjustment, ticks, in the place of a close that is not known.
    """
    tick = inst["tick"]
    close = st["last_close"]
    if math.isnan(close):
        close = price * tick
    factor = p["percent_stop_factor"]
    stop = close * (factor if side > 0 else 2.0 - factor)
    risk = abs(close - stop)
    st["initial_stop"] = to_ticks(stop, tick)
    st["r1"] = to_ticks(close + side * p["r1_multiple"] * risk, tick)
    st["r2"] = to_ticks(close + side * p["r2_multiple"] * risk, tick)
    st["position_slot"] = p["level_anchor"]
    st["entry_level"] = math.nan
    st["row_swings"] = 0


@compiled
def take_down(st, inst, symbol, ts_ms, side, qty, price, fee, fills, n):
    """`qty` lots of the position are gone; what is left and too little for an order goes with them."""
    st["qty"] -= qty
    note_restated(st, symbol, ts_ms, EXIT_OPERATOR, side, qty, price, fee, fills, n)
    if st["qty"] == 0:
        close_trade(st, ts_ms)
    elif st["entry"]["status"] == SLOT_EMPTY and too_small(inst, st["qty"], st["last_close"]):
        write_off(st, symbol, ts_ms, EXIT_OPERATOR, fills, n)


@compiled
def build_up(st, p, inst, symbol, ts_ms, side, qty, price, fee, fills, n):
    """`qty` lots more on `side`; where nothing was held, a trade begins: by the plan of an entry that works, if any."""
    if st["qty"] == 0:
        if st["entry"]["status"] == SLOT_EMPTY or st["entry"]["side"] != side:
            plan_unplanned(st, p, inst, side, price)
        begin_trade(st, side, price, ts_ms)
    st["qty"] += qty
    st["entry_qty"] += qty
    st["entry_cost"] += price * qty
    note_restated(st, symbol, ts_ms, EXIT_OPERATOR, side, qty, price, fee, fills, n)


@compiled
def follow(st, p, inst, symbol, ts_ms, qty, price, fee, effects, transitions, fills, n):
    """Add `qty` signed lots to the signed position at `price` ticks and `fee` units, then drive its orders.

    An entry under way is canceled: other hands are in the symbol. Through zero, one trade ends and another begins.
    """
    if qty == 0:
        return
    side = 1 if qty > 0 else -1
    left = abs(qty)
    st["cash"] -= qty * price + fee
    if st["entry"]["status"] != SLOT_EMPTY:
        st["cancel_entry"] = 1
    if st["qty"] > 0 and side != st["side"]:
        part = min(left, st["qty"])
        take_down(st, inst, symbol, ts_ms, side, part, price, fee, fills, n)
        left -= part
        fee = 0
    if left > 0:
        build_up(st, p, inst, symbol, ts_ms, side, left, price, fee, fills, n)
    fit_trim(st, inst)
    settle(st, symbol, ts_ms, CAUSE_ADJUSTED, transitions, n)
    drive(st, inst, symbol, effects, n)
