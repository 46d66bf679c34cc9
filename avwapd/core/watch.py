"""The scan's list: which symbols may be traded in one session, on which side, level, stop and targets.

A row of scan date D allows the session after D; on daily bars the close of D itself confirms, and the order works at
the next open. Its level is a constant, so that no close before a break of it is asked for. A position keeps the level
that it was opened on, whatever lists come later.
"""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.codes import FLAT, SETUP_BREAKOUT_HOLD
from avwapd.core.signal import drop_pending


@compiled
def copy_row(target, source):
    target["symbol"] = source["symbol"]
    target["scan_date"] = source["scan_date"]
    target["side"] = source["side"]
    target["tier"] = source["tier"]
    target["execute"] = source["execute"]
    target["level"] = source["level"]
    target["stop"] = source["stop"]
    target["r1"] = source["r1"]
    target["r2"] = source["r2"]
    target["trend_score"] = source["trend_score"]
    target["dist_pct"] = source["dist_pct"]
    target["slope"] = source["slope"]
    target["atr"] = source["atr"]
    target["swing_low"] = source["swing_low"]
    target["swing_high"] = source["swing_high"]


@compiled
def session_allowed(sessions, inst, near, date):
    """Row of the first session after `date` (daily bars: of the session of `date`); -1 where the table has none.

    near: any row of the instrument's stretch; the search begins there.
    """
    first = inst["session_first"]
    end = first + inst["session_count"]
    i = near
    while i > first and sessions[i - 1]["date"] > date:
        i -= 1
    while i < end and sessions[i]["date"] <= date:
        i += 1
    if inst["daily"]:
        return i - 1 if i > first and sessions[i - 1]["date"] == date else -1
    return i if i < end else -1


@compiled
def leave_row(st):
    """The row that closes were counted against is no longer in force: begin anew."""
    if st["on_row"]:
        drop_pending(st)
        st["run_long"] = -1
        st["run_short"] = -1
        st["on_row"] = 0


@compiled
def turn_to_row(st, p, row, index):
    """Whether the row is in force in session `index`; what was counted against another level is forgotten."""
    listed = row["active"] != 0 and row["session"] == index
    if listed and not st["on_row"]:
        drop_pending(st)
        start = 0 if p["setup"] == SETUP_BREAKOUT_HOLD else -1
        st["run_long"] = start
        st["run_short"] = start
        st["on_row"] = 1
    elif not listed:
        leave_row(st)
    return listed


@compiled
def take_swings(st, row):
    """The stop of an order or position follows the row's daily swings, until another row comes."""
    st["row_swings"] = 1
    st["row_swing_low"] = row["swing_low"]
    st["row_swing_high"] = row["swing_high"]


@compiled
def plan_entry(st, row):
    """What an entry keeps of the row it is made on; nothing where it is made on a live line."""
    if st["on_row"]:
        st["entry_level"] = row["level"]
        take_swings(st, row)
    else:
        st["entry_level"] = math.nan
        st["row_swings"] = 0


@compiled
def replace(w, rows):
    """Put `rows` (WATCH array, each symbol at most once) in the place of the whole list.

    A symbol whose row names the same session, side and level goes on counting closes. Does nothing where the settings
    leave the list alone.
    """
    p = w.params[0]
    if not p["watch_use"]:
        return
    for symbol in range(len(w.watch)):
        if w.watch[symbol]["active"]:
            w.watch[symbol]["active"] = 2  # of the old list
    count = 0
    for i in range(len(rows)):
        new = rows[i]
        if p["watch_execute_only"] and not new["execute"]:
            continue
        symbol = new["symbol"]
        row = w.watch[symbol]
        st = w.states[symbol]
        session = session_allowed(w.sessions, w.instruments[symbol], st["session"], new["scan_date"])
        same = row["session"] == session and row["side"] == new["side"] and row["level"] == new["level"]
        if row["active"] == 0 or not same:
            leave_row(st)
        copy_row(row, new)
        row["session"] = session
        row["active"] = 1
        if st["phase"] != FLAT:
            take_swings(st, row)
        count += 1
    for symbol in range(len(w.watch)):
        if w.watch[symbol]["active"] == 2:
            w.watch[symbol]["active"] = 0
            leave_row(w.states[symbol])
    w.portfolio[0]["watching"] = 1 if count > 0 or p["watch_required"] else 0


@compiled
def precedes(row, other, distance, other_distance, symbol, other_symbol):
    """The rank of two entries: rows of the list first, by tier, TrendScore falling; others by distance; then symbol."""
    if row["active"] != other["active"]:
        return row["active"] > other["active"]
    if row["active"]:
        if row["tier"] != other["tier"]:
            return row["tier"] < other["tier"]
        if row["trend_score"] != other["trend_score"]:
            return row["trend_score"] > other["trend_score"]
    elif distance != other_distance:
        return distance < other_distance
    return symbol < other_symbol
