"""The gates an entry passes at each close. Verdicts are two bit sets: asked, and of those asked, blocked."""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.codes import (
    BAR_LATE,
    GATE_BAD_TICKER,
    GATE_CADENCE,
    GATE_CONSUMED,
    GATE_COOLDOWN,
    GATE_DAILY_LOSS,
    GATE_DELAY,
    GATE_DISTANCE,
    GATE_DRAWDOWN,
    GATE_EARNINGS,
    GATE_FEATURES,
    GATE_HALTED,
    GATE_KILL_SWITCH,
    GATE_LAST_ENTRY,
    GATE_LATE,
    GATE_LIVE,
    GATE_NO_CONVERSION,
    GATE_NOT_SHORTABLE,
    GATE_OPEN_DELAY,
    GATE_REGIME,
    GATE_SETTLE,
    GATE_SLOPE,
    GATE_STOP_INVALID,
    GATE_VOLUME,
    GATE_WATCHLIST_ABSENT,
    GATE_WATCHLIST_STALE,
    OUTER_BAD_TICKER,
    OUTER_EARNINGS,
    OUTER_KILL_SWITCH,
    OUTER_REGIME,
    OUTER_WATCHLIST,
)
from avwapd.core.risk import quote_rate

ALWAYS = (
    1 << GATE_KILL_SWITCH
    | 1 << GATE_LIVE
    | 1 << GATE_HALTED
    | 1 << GATE_LATE
    | 1 << GATE_CADENCE
    | 1 << GATE_FEATURES
    | 1 << GATE_CONSUMED
    | 1 << GATE_DRAWDOWN
    | 1 << GATE_DAILY_LOSS
)
CLOCK = 1 << GATE_OPEN_DELAY | 1 << GATE_SETTLE | 1 << GATE_LAST_ENTRY
SETUP = 1 << GATE_DISTANCE | 1 << GATE_SLOPE | 1 << GATE_DELAY
ORDER = 1 << GATE_NO_CONVERSION | 1 << GATE_STOP_INVALID
NAMED = 1 << OUTER_KILL_SWITCH | 1 << OUTER_WATCHLIST | 1 << OUTER_REGIME | 1 << OUTER_EARNINGS | 1 << OUTER_BAD_TICKER


@compiled
def outer_bits(closed):
    """The verdicts that a set of outer gates has in a decision."""
    blocked = 0
    if closed & 1 << OUTER_KILL_SWITCH:
        blocked |= 1 << GATE_KILL_SWITCH
    if closed & 1 << OUTER_WATCHLIST:
        blocked |= 1 << GATE_WATCHLIST_STALE
    if closed & 1 << OUTER_REGIME:
        blocked |= 1 << GATE_REGIME
    if closed & 1 << OUTER_EARNINGS:
        blocked |= 1 << GATE_EARNINGS
    if closed & 1 << OUTER_BAD_TICKER:
        blocked |= 1 << GATE_BAD_TICKER
    if closed & ~NAMED:
        blocked |= 1 << GATE_LIVE
    return blocked


@compiled
def asked_always(p, inst):
    """The gates judged at every close of an instrument."""
    asked = ALWAYS | p["gates_asked"]
    if inst["bell"] and not inst["daily"]:
        asked |= CLOCK
    if p["cooldown_ms"] > 0:
        asked |= 1 << GATE_COOLDOWN
    return asked


@compiled
def blocked_always(st, p, inst, port, session, ts_ms, flags, cadence, known):
    """Verdicts that need no signal."""
    blocked = outer_bits(port["outer_closed"] | st["outer_closed"])
    if port["drained"]:
        blocked |= 1 << GATE_LIVE
    if st["halted"]:
        blocked |= 1 << GATE_HALTED
    if flags & BAR_LATE:
        blocked |= 1 << GATE_LATE
    if cadence:
        blocked |= 1 << GATE_CADENCE
    if not known:
        blocked |= 1 << GATE_FEATURES
    if st["consumed_date"] == session["date"] and st["consumed_count"] >= p["entries_per_symbol_day"]:
        blocked |= 1 << GATE_CONSUMED
    if port["drawdown_blocked"]:
        blocked |= 1 << GATE_DRAWDOWN
    if port["daily_blocked"]:
        blocked |= 1 << GATE_DAILY_LOSS
    if inst["bell"] and not inst["daily"]:
        age = ts_ms - session["open_ms"]
        if age < p["open_delay_ms"]:
            blocked |= 1 << GATE_OPEN_DELAY
        elif age < p["open_delay_ms"] + p["settle_ms"]:
            blocked |= 1 << GATE_SETTLE
        if ts_ms > session["close_ms"] - p["last_entry_ms"]:
            blocked |= 1 << GATE_LAST_ENTRY
    if p["cooldown_ms"] > 0 and st["last_exit_ms"] > 0 and ts_ms - st["last_exit_ms"] < p["cooldown_ms"]:
        blocked |= 1 << GATE_COOLDOWN
    return blocked


@compiled
def blocked_watch(p, row, listed):
    """(asked, blocked) of the gates about the symbol's WATCH row; listed: it is in force in this session."""
    asked = 0
    blocked = 0
    if p["watch_required"]:
        asked |= 1 << GATE_WATCHLIST_ABSENT
        if row["active"] == 0:
            blocked |= 1 << GATE_WATCHLIST_ABSENT
    if row["active"] != 0:
        asked |= 1 << GATE_WATCHLIST_STALE
        if not listed:
            blocked |= 1 << GATE_WATCHLIST_STALE
    return asked, blocked


@compiled
def slope_of(st, p):
    """(level now - level `slope_bars` bars ago) / |then|, within one anchor period; NaN where unknown."""
    back = p["slope_bars"]
    count = st["slope_count"]
    if count <= back:
        return math.nan
    now = st["slope_ring"][(count - 1) % 8]
    then = st["slope_ring"][(count - 1 - back) % 8]
    return (now - then) / abs(then)


@compiled
def blocked_volume(st, p, usual):
    """The volume gate's bit where the session trades too little; usual: its normal by now, NaN unknown (open)."""
    if math.isnan(usual) or st["session_volume"] >= p["volume_ratio"] * usual:
        return 0
    return 1 << GATE_VOLUME


@compiled
def blocked_setup(st, p, inst, states, close, level, slope, ts_ms):
    """(asked, blocked) of the gates that judge a pending confirmation by its own figures; an unknown slope passes."""
    side = st["pending_side"]
    asked = SETUP | ORDER
    blocked = 0
    if abs(close - level) / level * 100.0 > p["max_distance_pct"]:
        blocked |= 1 << GATE_DISTANCE
    if side * slope < p["min_slope"]:
        blocked |= 1 << GATE_SLOPE
    if ts_ms < st["pending_due_ms"]:
        blocked |= 1 << GATE_DELAY
    if side < 0:
        asked |= 1 << GATE_NOT_SHORTABLE
        if not inst["shortable"]:
            blocked |= 1 << GATE_NOT_SHORTABLE
    if math.isnan(quote_rate(states, inst)):
        blocked |= 1 << GATE_NO_CONVERSION
    if not side * (close - st["pending_stop"]) > 0.0:
        blocked |= 1 << GATE_STOP_INVALID
    return asked, blocked
