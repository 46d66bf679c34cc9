"""The engine: one bar of one symbol (`step`), one barrier (`step_many`), a whole history (`run`).

Live, replay and backtest differ only in who calls: live hands `step_many` a barrier and `report` a word of the venue;
`run` does both for a matrix of bars with the fill model answering. All that the engine knows is in a World, all that it
says goes to an Output.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from avwapd.compiled import compiled, inlined
from avwapd.core import anchor, avwap, barrier, gate, indicator, machine, match, risk, signal
from avwapd.core.codes import (
    ACT_DRAIN,
    ACT_FLATTEN,
    ACT_HALT,
    ACT_REARM,
    ACT_RESUME,
    BAR_CADENCE,
    BAR_LATE,
    BAR_MISSING,
    BAR_RETRY,
    BAR_SILENT,
    BAR_WARMUP,
    CAUSE_EXIT,
    CAUSE_HALT,
    CAUSE_RESUME,
    CAUSE_UNBLOCK,
    ERROR_CAPACITY,
    ERROR_ORDER,
    EXIT_NONE,
    EXIT_OPERATOR,
    FLAT,
    OPEN,
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
from avwapd.core.machine import DECISIONS, EFFECTS, ERROR, FILLS, FROZEN, TRANSITIONS
from avwapd.core.manage import manage
from avwapd.core.price import to_ticks
from avwapd.core.records import (
    BOOK,
    DECISION,
    EFFECT,
    FILL,
    MAX_ANCHORS,
    PORTFOLIO,
    POSITION_ANCHOR,
    PROFILE_COLUMNS,
    REPORT,
    STATE,
    TRANSITION,
)
from avwapd.core.session import inside, session_at


class World(NamedTuple):
    """All that the engine knows. Arrays are changed in place.

    instruments: INSTRUMENT [symbols]; sessions: SESSION [rows], one stretch a calendar; rules: ANCHOR_RULE [symbols,
    MAX_ANCHORS]; params: PARAMS [1]; states: STATE [symbols]; portfolio: PORTFOLIO [1]; profile: float64 [slots,
    PROFILE_COLUMNS, symbols]; profile_counts: int64 [symbols]; value: float64 [symbols], profit of a symbol in equity
    currency, open position marked; candidates: int64 [symbols, 2]; distance: float64 [symbols].
    """

    instruments: Any
    sessions: Any
    rules: Any
    params: Any
    states: Any
    portfolio: Any
    profile: Any
    profile_counts: Any
    value: Any
    candidates: Any
    distance: Any


class Output(NamedTuple):
    """Where the engine writes: DECISION, EFFECT, TRANSITION and FILL arrays and their counters (int64 [COUNTERS])."""

    decisions: Any
    effects: Any
    transitions: Any
    fills: Any
    n: Any


UNKNOWN_FLOATS = (
    "day_open",
    "atr",
    "swing_low",
    "swing_high",
    "floor_low",
    "ceiling_high",
    "pending_stop",
    "last_close",
)


def new_world(instruments: Any, sessions: Any, rules: Any, params: Any, slots: int) -> World:
    """A World before its first bar; slots: bars of the longest session."""
    count = len(instruments)
    states = np.zeros(count, STATE)
    for name in UNKNOWN_FLOATS:
        states[name] = math.nan
    states["run_long"] = -1
    states["run_short"] = -1
    states["session"] = instruments["session_first"]
    states["session_before"] = instruments["session_first"]
    portfolio = np.zeros(1, PORTFOLIO)
    for name in ("equity", "peak", "day_start"):
        portfolio[name] = params["start_equity"]
    return World(
        instruments,
        sessions,
        rules,
        params,
        states,
        portfolio,
        np.zeros((slots, PROFILE_COLUMNS, count)),
        np.zeros(count, np.int64),
        np.zeros(count),
        np.zeros((count, 2), np.int64),
        np.zeros(count),
    )


def new_output(decisions: int, events: int) -> Output:
    """Room for `decisions` rows and `events` effects, transitions and fills each."""
    return Output(
        np.zeros(decisions, DECISION),
        np.zeros(events, EFFECT),
        np.zeros(events, TRANSITION),
        np.zeros(events, FILL),
        np.zeros(machine.COUNTERS, np.int64),
    )


def new_books(count: int) -> Any:
    """Empty simulated books: BOOK [symbols]."""
    return np.zeros(count, BOOK)


@inlined
def mark(w, symbol):
    """Renew a symbol's profit in equity currency; the integer sum is exact, one rounding on the way out."""
    st = w.states[symbol]
    if st["trade"] == 0:
        return
    inst = w.instruments[symbol]
    units = st["cash"]
    if st["qty"] > 0:
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
def learn(w, symbol, bar, index):
    """Move all that a symbol remembers by one session bar; returns whether bars are missing before it."""
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
    if anchor.move_anchors(st, w.rules[symbol], p, w.sessions, inst, bar, new_session, whole, level_slot):
        st["run_long"] = -1
        st["run_short"] = -1
        st["slope_count"] = 0
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
def look_for_entry(w, symbol, bar, level, row, skip):
    """Signal and gates of a symbol; returns True where an entry is ready to be ranked."""
    st = w.states[symbol]
    inst = w.instruments[symbol]
    p = w.params[0]
    port = w.portfolio[0]
    session = w.sessions[st["session"]]
    known = not math.isnan(level)
    fresh = st["pending_side"] == 0
    if known:
        signal.keep_pending(st, p, inst, bar["close"], level, bar["ts_ms"])
        signal.move_runs(st, p, bar["close"], level)
    code = SIGNAL_NONE
    if known and st["phase"] == FLAT:
        code = signal.confirm(st, p, inst, bar["close"], bar["ts_ms"], session["date"])
        if fresh and st["pending_side"] != 0:
            st["pending_stop"] = risk.initial_stop(st, p, st["pending_side"], bar["close"], level)
    asked = gate.asked_always(p, inst)
    hole = skip == SKIP_CADENCE_FAILED
    blocked = gate.blocked_always(st, p, inst, port, session, bar["ts_ms"], bar["flags"], hole, known)
    if code != SIGNAL_NONE and st["pending_side"] != 0:
        more, held = gate.blocked_setup(st, p, inst, w.states, bar["close"], level, bar["ts_ms"])
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
        row["setup"] = p["setup"]
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
    hole = learn(w, symbol, bar, index) or flags & BAR_CADENCE != 0
    held = st["qty"] > 0
    slot = POSITION_ANCHOR if held and st["avwap"][POSITION_ANCHOR]["anchor_ms"] != 0 else p["level_anchor"]
    level = avwap.level(st["avwap"][slot])
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
    own = level if slot == p["level_anchor"] else avwap.level(st["avwap"][p["level_anchor"]])
    ready = look_for_entry(w, symbol, bar, own, row, skip)
    if st["phase"] != FLAT:
        describe_position(st, row, skip, reason)
        if not flags & BAR_LATE:
            machine.drive(st, symbol, o.effects, o.n)
        machine.settle(st, symbol, bar["ts_ms"], CAUSE_EXIT, o.transitions, o.n)
        row["phase_after"] = st["phase"]
    if st["qty"] > 0:
        mark(w, symbol)
    if not ready or rowless:
        return -1.0
    return abs(bar["close"] - level) / level * 100.0


@compiled
def step_many(w, o, bars):
    """One barrier: every bar of one ts_ms, in symbol order (BAR array). Exits go out at once, then entries are ranked.

    The counters of `o` are not reset here. On an error o.n[ERROR] is set and the process must stop.
    """
    count = 0
    for i in range(len(bars)):
        symbol = bars[i]["symbol"]
        distance = step(w, o, symbol, bars[i])
        if distance >= 0.0:
            w.candidates[count, 0] = symbol
            w.candidates[count, 1] = o.n[DECISIONS] - 1
            w.distance[count] = distance
            count += 1
    if len(bars) > 0:
        barrier.close(w, o, count, bars[0]["ts_ms"])


@inlined
def report_date(w, symbol, ts_ms):
    """Session date (yyyymmdd) that a report of `ts_ms` falls into."""
    index = session_at(w.sessions, w.instruments[symbol], w.states[symbol]["session"], ts_ms)
    return w.sessions[index]["date"]


@inlined
def report(w, o, row):
    """Fold one word of the venue (REPORT record)."""
    symbol = row["symbol"]
    date = report_date(w, symbol, row["ts_ms"])
    machine.on_report(w.states[symbol], symbol, row, date, o.effects, o.transitions, o.fills, o.n)
    mark(w, symbol)


@compiled
def caught_up(w, o):
    """The last missed bar is folded: what the late bars asked for goes out now, at most one exit a symbol."""
    for symbol in range(len(w.states)):
        st = w.states[symbol]
        if st["phase"] != FLAT:
            machine.drive(st, symbol, o.effects, o.n)
            machine.settle(st, symbol, st["last_ms"], CAUSE_EXIT, o.transitions, o.n)


@compiled
def act(w, o, symbol, kind, freeze):
    """An operator's act or a freeze by the router (an order in doubt); symbol -1 is the portfolio."""
    if kind == ACT_REARM:
        port = w.portfolio[0]
        port["drawdown_blocked"] = 0
        port["daily_blocked"] = 0
        port["peak"] = port["equity"]
        port["day_start"] = port["equity"]
        machine.note_transition(-1, port["last_ms"], 1, 0, CAUSE_UNBLOCK, 0, o.transitions, o.n)
        return
    if kind == ACT_DRAIN:
        w.portfolio[0]["drained"] = 1 if freeze else 0
        return
    st = w.states[symbol]
    ts_ms = st["last_ms"]
    if kind == ACT_HALT:
        st["halted"] = FROZEN if freeze else max(st["halted"], 1)
        machine.note_transition(symbol, ts_ms, st["phase"], st["phase"], CAUSE_HALT, st["qty"], o.transitions, o.n)
    elif kind == ACT_RESUME:
        st["halted"] = 0
        machine.note_transition(symbol, ts_ms, st["phase"], st["phase"], CAUSE_RESUME, st["qty"], o.transitions, o.n)
        machine.drive(st, symbol, o.effects, o.n)
    elif kind == ACT_FLATTEN:
        if st["entry"]["status"] != SLOT_EMPTY:
            st["cancel_entry"] = 1
        if st["qty"] > 0:
            st["exit_wanted"] = EXIT_OPERATOR
            st["trim_qty"] = 0
        machine.drive(st, symbol, o.effects, o.n)
        if st["phase"] == OPEN:
            machine.settle(st, symbol, ts_ms, CAUSE_EXIT, o.transitions, o.n)


@compiled
def answer(w, o, books, reports, first, running, bars, row_of):
    """Take the effects from `first` on to the simulated books until none is left; every answer is folded at once.

    row_of: int64 [symbols], the row in `bars` that is running for a symbol, -1 where none is. A running bar still acts
    on what is placed inside it; after the close nothing does.
    """
    i = first
    while i < o.n[EFFECTS]:
        effect = o.effects[i]
        symbol = effect["symbol"]
        at = row_of[symbol]
        bar = bars[max(at, 0)]
        live = running and at >= 0
        ts_ms = bar["ts_ms"] if at >= 0 else effect["ts_ms"]
        count = match.place(books[symbol], effect, live, bar, w.instruments[symbol], ts_ms, reports, 0)
        for j in range(count):
            report(w, o, reports[j])
        i += 1


@inlined
def fills_of(w, o, books, reports, bar, row_of, bars):
    """Match one bar against its symbol's book, fold the fills and what they call for."""
    symbol = bar["symbol"]
    inst = w.instruments[symbol]
    index = session_at(w.sessions, inst, w.states[symbol]["session"], bar["ts_ms"])
    if not inside(w.sessions, inst, index, bar["ts_ms"]):
        return
    first = o.n[EFFECTS]
    count = match.match_bar(books[symbol], bar, inst, w.params[0]["volume_share"], reports, 0)
    for j in range(count):
        report(w, o, reports[j])
    if o.n[EFFECTS] > first:
        answer(w, o, books, reports, first, True, bars, row_of)


@compiled
def run(w, o, books, reports, bars, row_of, start):
    """Backtest `bars` (BAR, sorted by ts_ms, symbol) from row `start`; returns the first row not done.

    Stops early, at a barrier's edge, where `o` is nearly full or an error is noted: the caller drains and calls again.
    books: BOOK [symbols]; reports: REPORT work space; row_of: int64 [symbols] filled with -1.
    """
    i = start
    total = len(bars)
    reserve = 16 * len(w.states)
    while i < total:
        end = i + 1
        ts_ms = bars[i]["ts_ms"]
        while end < total and bars[end]["ts_ms"] == ts_ms:
            end += 1
        if o.n[DECISIONS] + (end - i) > len(o.decisions):
            return i
        if max(o.n[EFFECTS], o.n[TRANSITIONS], o.n[FILLS]) + reserve > len(o.effects):
            return i
        for j in range(i, end):
            symbol = bars[j]["symbol"]
            if books[symbol]["count"] > 0 and not bars[j]["flags"] & BAR_MISSING:
                row_of[symbol] = j
                fills_of(w, o, books, reports, bars[j], row_of, bars)
                row_of[symbol] = -1
        first = o.n[EFFECTS]
        step_many(w, o, bars[i:end])
        if o.n[EFFECTS] > first:
            answer(w, o, books, reports, first, False, bars, row_of)
        if o.n[ERROR] != 0:
            return i
        i = end
    return i


def reports_room() -> Any:
    """Work space for `run` and the simulated venue: REPORT [64]."""
    return np.zeros(64, REPORT)


def check_capacity(events: int, symbols: int) -> None:
    """Refuse an Output too small for one barrier. Raises ValueError (code ERROR_CAPACITY's meaning)."""
    if events < 32 * symbols:
        raise ValueError(f"output for {events} events is too small for {symbols} symbols (code {ERROR_CAPACITY})")


def anchor_count_fits(count: int) -> bool:
    """True where `count` configured anchors fit a state record."""
    return 0 < count <= MAX_ANCHORS
