"""One bar of one symbol: what it learns, what it wants, the decision row."""

from __future__ import annotations

import math

from avwapd.compiled import compiled, inlined
from avwapd.core import anchor, avwap, barrier, gate, indicator, machine, risk, signal, watch
from avwapd.core.codes import (
    BAR_CADENCE,
    BAR_LATE,
    BAR_MISSING,
    BAR_RETRY,
    BAR_SILENT,
    BAR_WARMUP,
    CAUSE_EXIT,
    ERROR_ORDER,
    EXIT_NONE,
    FLAT,
    SETUP_PINCH,
    SETUP_PULLBACK,
    SETUP_SCAN,
    SIGNAL_CONFIRMED,
    SIGNAL_NONE,
    SKIP_CADENCE_FAILED,
    SKIP_FEATURES_INVALID,
    SKIP_FETCH_FAILED,
    SKIP_GATE,
    SKIP_HALTED,
    SKIP_IN_FLIGHT,
    SKIP_IN_POSITION,
    SKIP_MARKET_CLOSED,
    SKIP_NO_SIGNAL,
    SKIP_NONE,
    SKIP_NOT_ENOUGH_BARS,
    SKIP_PERSIST_FAILED,
    SKIP_WAITING,
    SLOT_EMPTY,
)
from avwapd.core.machine import DECISIONS
from avwapd.core.manage import manage
from avwapd.core.price import to_ticks
from avwapd.core.records import (
    POSITION_ANCHOR,
)
from avwapd.core.session import inside, session_at


@inlined
def mark(w, symbol):
    """Renew a symbol's profit in equity currency; the integer sum is exact, one rounding on the way out."""
    st = w.states[symbol]
    if st["trade"] == 0:
        return
    inst = w.instruments[symbol]
    units = st["cash"]
    if st["qty"] > 0:
        if math.isnan(st["last_close"]):
            return  # held before the first bar
        units += st["side"] * st["qty"] * to_ticks(st["last_close"], inst["tick"])
    rate = risk.quote_rate(w.states, inst)
    if not math.isnan(rate):
        w.value[symbol] = units * inst["unit_value"] * rate
    w.portfolio[0]["dirty"] = 1


@inlined
def begin_session(w, symbol, index, bar):
    """Close the symbol's last session and open this one; returns whether nothing of it is missing before this bar."""
    st = w.states[symbol]
    inst = w.instruments[symbol]
    p = w.params[0]
    seen = st["bars_seen"] > 0
    if seen and not inst["daily"]:
        if st["day_complete"]:
            indicator.push_day(st, st["day_high"], st["day_low"], st["day_close"])
        indicator.end_profile(st, w.profile, w.profile_counts, symbol)
    st["session_before"] = st["session"]
    st["session"] = index
    late_by = bar["ts_ms"] - inst["timeframe_ms"] - w.sessions[index]["open_ms"]
    tolerated = p["max_missing_bars"] * inst["timeframe_ms"] if seen else 0
    whole = inst["daily"] != 0 or late_by <= tolerated
    indicator.start_day(st, bar, whole)
    if not inst["daily"]:
        signal.drop_pending(st)
    return whole


@inlined
def learn(w, symbol, bar, index, listed):
    """Move all that a symbol remembers by one session bar; returns whether bars are missing before it.

    listed: closes are counted against the level of the symbol's row, whatever its lines do.
    """
    st = w.states[symbol]
    inst = w.instruments[symbol]
    p = w.params[0]
    seen = st["bars_seen"] > 0
    new_session = not seen or index != st["session"]
    whole = True
    if new_session:
        whole = begin_session(w, symbol, index, bar)
        hole = seen and not whole
    else:
        hole = bar["ts_ms"] - st["last_ms"] > (p["max_missing_bars"] + 1) * inst["timeframe_ms"]
    if p["uses_ring"]:
        anchor.remember_bar(st, bar)
    level_slot = p["level_anchor"]
    renewed = anchor.move_anchors(st, w.rules[symbol], p, w.sessions, inst, bar, new_session, whole, level_slot)
    if renewed != 0:
        if renewed & anchor.LEVEL_RENEWED:
            st["slope_count"] = 0
        if not listed or p["setup"] == SETUP_PINCH:
            st["run_long"] = -1
            st["run_short"] = -1
            signal.drop_pending(st)
    line = st["avwap"][POSITION_ANCHOR]
    avwap.fold(line, p["price_source"], bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"])
    indicator.grow_day(st, bar)
    if inst["daily"]:
        indicator.push_day(st, bar["high"], bar["low"], bar["close"])
    else:
        if inst["bell"] and inst["timeframe_ms"] <= indicator.FIVE_MINUTES_MS:
            indicator.grow_five(st, bar, inst["timeframe_ms"])
        slot = indicator.profile_slot(
            bar["ts_ms"], w.sessions[index]["open_ms"], inst["timeframe_ms"], w.profile.shape[0]
        )
        indicator.grow_profile(st, w.profile, w.profile_counts, symbol, slot)
    level = avwap.level(st["avwap"][level_slot])
    if not math.isnan(level):
        st["slope_ring"][st["slope_count"] % 8] = level
        st["slope_count"] += 1
    st["last_ms"] = bar["ts_ms"]
    st["last_close"] = bar["close"]
    st["bars_seen"] += 1
    return hole


@compiled
def open_row(o, symbol, bar, phase):
    """Begin the decision row of a bar."""
    row = o.decisions[o.n[DECISIONS]]
    row["ts_ms"] = bar["ts_ms"]
    row["symbol"] = symbol
    row["intent"] = 0
    row["gates_asked"] = 0
    row["gates_blocked"] = 0
    row["signal"] = SIGNAL_NONE
    row["skip"] = SKIP_NONE
    row["exit"] = EXIT_NONE
    row["setup"] = 0
    row["phase_before"] = phase
    row["phase_after"] = phase
    row["side"] = 0
    row["flags"] = bar["flags"]
    row["level"] = math.nan
    row["qty"] = 0
    row["limit"] = 0
    row["stop"] = 0
    row["r1"] = 0
    row["r2"] = 0


@compiled
def structural_skip(st, p, bar, hole, known):
    """Why a bar that moved state can decide no entry whatever the signal; SKIP_NONE where it can."""
    if bar["flags"] & BAR_RETRY:
        return SKIP_PERSIST_FAILED
    if st["halted"]:
        return SKIP_HALTED
    if hole:
        return SKIP_CADENCE_FAILED
    if st["bars_seen"] < p["min_bars"]:
        return SKIP_NOT_ENOUGH_BARS
    if not known:
        return SKIP_FEATURES_INVALID
    return SKIP_NONE


@inlined
def read_signal(w, symbol, bar, level, listed):
    """What the rules want at this close of a level that is known: the SIGNAL code; a new confirmation gets its stop."""
    st = w.states[symbol]
    inst = w.instruments[symbol]
    p = w.params[0]
    scanned = listed and inst["daily"] != 0
    if scanned:
        pass
    elif p["setup"] == SETUP_PINCH:
        signal.follow_pinch(st, p, inst, bar["close"], bar["ts_ms"])
    else:
        signal.keep_pending(st, p, inst, bar["close"], level, bar["ts_ms"])
        if p["setup"] == SETUP_PULLBACK:
            slope = w.watch[symbol]["slope"] if listed else gate.slope_of(st, p)
            signal.move_pullback(st, p, bar, level, slope)
        else:
            signal.move_runs(st, p, bar["close"], level)
    code = SIGNAL_NONE
    if st["phase"] == FLAT:
        side = w.watch[symbol]["side"] if listed else 0
        if scanned:
            code = signal.confirm_scan(st, p, side, bar["close"], bar["ts_ms"])
        else:
            date = w.sessions[st["session"]]["date"]
            code = signal.confirm(st, p, inst, bar["close"], bar["ts_ms"], date, side)
        if code == SIGNAL_CONFIRMED:
            if listed:
                st["pending_stop"] = w.watch[symbol]["stop"]
            else:
                st["pending_stop"] = risk.initial_stop(st, p, st["pending_side"], bar["close"], level)
    return code


@inlined
def look_for_entry(w, symbol, bar, level, row, skip, listed):
    """Signal and gates of a symbol; returns True where an entry is ready to be ranked.

    level: the one entries look at; listed: it is that of the symbol's row, which then decides side, stop and slope.
    """
    st = w.states[symbol]
    inst = w.instruments[symbol]
    p = w.params[0]
    port = w.portfolio[0]
    session = w.sessions[st["session"]]
    known = not math.isnan(level)
    code = SIGNAL_NONE
    if known:
        code = read_signal(w, symbol, bar, level, listed)
    asked = gate.asked_always(p, inst)
    hole = skip == SKIP_CADENCE_FAILED
    blocked = gate.blocked_always(st, p, inst, port, session, bar["ts_ms"], bar["flags"], hole, known)
    if port["watching"]:
        more, held = gate.blocked_watch(p, w.watch[symbol], listed)
        asked |= more
        blocked |= held
    if code != SIGNAL_NONE and st["pending_side"] != 0:
        slope = w.watch[symbol]["slope"] if listed else gate.slope_of(st, p)
        more, held = gate.blocked_setup(st, p, inst, w.states, bar["close"], level, slope, bar["ts_ms"])
        asked |= more
        blocked |= held
        if blocked == 0:
            # Asked last: it is the one gate whose answer costs more than the whole decision.
            asked |= 1 << gate.GATE_VOLUME
            if not inst["daily"]:
                slot = indicator.profile_slot(
                    bar["ts_ms"], session["open_ms"], inst["timeframe_ms"], w.profile.shape[0]
                )
                usual = indicator.usual_volume(w.profile, w.profile_counts, symbol, slot)
                blocked = gate.blocked_volume(st, p, usual)
    row["signal"] = code
    row["gates_asked"] = asked
    row["gates_blocked"] = blocked
    if st["phase"] != FLAT:
        return False
    if st["pending_side"] != 0:
        row["side"] = st["pending_side"]
        row["setup"] = SETUP_SCAN if listed and inst["daily"] else p["setup"]
    if skip != SKIP_NONE:
        row["skip"] = skip
    elif code == SIGNAL_NONE:
        row["skip"] = SKIP_NO_SIGNAL
    elif st["pending_side"] == 0 or blocked == 1 << gate.GATE_DELAY:
        row["skip"] = SKIP_WAITING
    elif blocked != 0:
        row["skip"] = SKIP_GATE
    else:
        return True
    return False


@compiled
def describe_position(st, row, skip, reason):
    """The row of a symbol that holds or is about to: quantity, stop, targets."""
    row["side"] = st["side"] if st["qty"] > 0 else st["entry"]["side"]
    row["qty"] = st["qty"]
    row["stop"] = st["stop"]
    row["r1"] = st["r1"]
    row["r2"] = st["r2"]
    row["exit"] = reason
    if reason != EXIT_NONE:
        row["skip"] = SKIP_NONE
    elif skip != SKIP_NONE:
        row["skip"] = skip
    elif st["entry"]["status"] != SLOT_EMPTY or st["exit_wanted"] != EXIT_NONE:
        row["skip"] = SKIP_IN_FLIGHT
    else:
        row["skip"] = SKIP_IN_POSITION


@compiled
def held_level(st, live):
    """The level an open position is judged against: its row's constant, else the line it was taken on."""
    if not math.isnan(st["entry_level"]):
        return st["entry_level"]
    line = st["avwap"][POSITION_ANCHOR]
    return avwap.level(line) if line["anchor_ms"] != 0 else live


@inlined
def step(w, o, symbol, bar):
    """One bar of one symbol: state moves, a decision row is begun, exits and stops go out.

    Returns the distance % of a ready entry from its level, -1.0 where there is none.
    """
    st = w.states[symbol]
    inst = w.instruments[symbol]
    p = w.params[0]
    flags = bar["flags"]
    if bar["ts_ms"] <= st["last_ms"] or (bar["ts_ms"] <= st["decided_ms"] and not flags & BAR_SILENT):
        machine.fail(o.n, ERROR_ORDER, symbol)
        return -1.0
    rowless = flags & (BAR_WARMUP | BAR_SILENT) or not inst["tradable"]
    open_row(o, symbol, bar, st["phase"])
    row = o.decisions[o.n[DECISIONS]]
    if not rowless:
        o.n[DECISIONS] += 1
        st["decided_ms"] = bar["ts_ms"]
    if flags & BAR_MISSING:
        row["skip"] = SKIP_FETCH_FAILED
        return -1.0
    index = session_at(w.sessions, inst, st["session"], bar["ts_ms"])
    if not inside(w.sessions, inst, index, bar["ts_ms"]):
        row["skip"] = SKIP_MARKET_CLOSED
        return -1.0
    date = w.sessions[index]["date"]
    if date > w.portfolio[0]["session_date"]:
        barrier.new_day(w.portfolio[0], p, date, bar["ts_ms"], o.transitions, o.n)
    listed = False
    if w.portfolio[0]["watching"]:
        listed = watch.turn_to_row(st, p, w.watch[symbol], index)
    hole = learn(w, symbol, bar, index, listed) or flags & BAR_CADENCE != 0
    held = st["qty"] > 0
    own = w.watch[symbol]["level"] if listed else avwap.level(st["avwap"][p["level_anchor"]])
    level = held_level(st, own) if held else own
    row["level"] = level
    skip = structural_skip(st, p, bar, hole, not math.isnan(level))
    reason = EXIT_NONE
    entering = st["entry"]["status"] != SLOT_EMPTY
    if entering:
        st["cancel_entry"] = 1
    if held and (not entering or st["bars_held"] == 0):
        high = to_ticks(bar["high"], inst["tick"])
        low = to_ticks(bar["low"], inst["tick"])
        reason = manage(st, p, inst, w.sessions, bar, high, low, level)
    ready = look_for_entry(w, symbol, bar, own, row, skip, listed)
    if st["phase"] != FLAT:
        describe_position(st, row, skip, reason)
        if not flags & BAR_LATE:
            machine.drive(st, inst, symbol, o.effects, o.n)
        machine.settle(st, symbol, bar["ts_ms"], CAUSE_EXIT, o.transitions, o.n)
        row["phase_after"] = st["phase"]
    if st["qty"] > 0:
        mark(w, symbol)
    if not ready or rowless:
        return -1.0
    return abs(bar["close"] - level) / level * 100.0
