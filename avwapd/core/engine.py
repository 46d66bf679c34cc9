"""The engine: one bar of one symbol (`step`), one barrier (`step_many`), a whole history (`run`).

Live, replay and backtest differ only in who calls: live hands `step_many` a barrier and `report` a word of the venue;
`run` does both for a matrix of bars with the fill model answering. All that the engine knows is in a World, all that it
says goes to an Output.
"""

from __future__ import annotations

from avwapd.compiled import compiled, inlined
from avwapd.core import barrier, machine, match
from avwapd.core import restate as actions
from avwapd.core import watch as lists
from avwapd.core.adjust import follow
from avwapd.core.codes import (
    ACT_DRAIN,
    ACT_FLATTEN,
    ACT_GATE,
    ACT_HALT,
    ACT_REARM,
    ACT_RESUME,
    BAR_MISSING,
    CAUSE_EXIT,
    CAUSE_HALT,
    CAUSE_RESUME,
    CAUSE_UNBLOCK,
    EXIT_OPERATOR,
    FLAT,
    OPEN,
    OUTER_KILL_SWITCH,
    SLOT_EMPTY,
)
from avwapd.core.machine import DECISIONS, EFFECTS, ERROR, FILLS, FROZEN, TRANSITIONS
from avwapd.core.session import inside, session_at
from avwapd.core.step import mark, step
from avwapd.core.world import (
    Output,
    World,
    anchor_count_fits,
    check_capacity,
    new_books,
    new_output,
    new_world,
    reports_room,
)

__all__ = [
    "Output",
    "World",
    "act",
    "adjust",
    "anchor_count_fits",
    "answer",
    "caught_up",
    "check_capacity",
    "fills_of",
    "new_books",
    "new_output",
    "new_world",
    "report",
    "reports_room",
    "restate",
    "run",
    "step",
    "step_many",
    "watch",
]


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
    inst = w.instruments[symbol]
    machine.on_report(w.states[symbol], inst, symbol, row, date, o.effects, o.transitions, o.fills, o.n)
    mark(w, symbol)


@compiled
def caught_up(w, o):
    """The last missed bar is folded: what the late bars asked for goes out now, at most one exit a symbol."""
    for symbol in range(len(w.states)):
        st = w.states[symbol]
        if st["phase"] != FLAT:
            machine.drive(st, w.instruments[symbol], symbol, o.effects, o.n)
            machine.settle(st, symbol, st["last_ms"], CAUSE_EXIT, o.transitions, o.n)


@compiled
def turn_gate(w, o, symbol, bit, closed):
    """An outer gate closes or opens, symbol -1: for everybody. The kill switch takes back what has not filled yet."""
    if symbol < 0:
        before = w.portfolio[0]["outer_closed"]
        w.portfolio[0]["outer_closed"] = before | bit if closed else before & ~bit
    else:
        before = w.states[symbol]["outer_closed"]
        w.states[symbol]["outer_closed"] = before | bit if closed else before & ~bit
    if bit != 1 << OUTER_KILL_SWITCH or not closed:
        return
    for each in range(len(w.states)):
        st = w.states[each]
        if st["entry"]["status"] != SLOT_EMPTY:
            st["cancel_entry"] = 1
            machine.drive(st, w.instruments[each], each, o.effects, o.n)


@compiled
def act(w, o, symbol, kind, freeze):
    """An operator's act, a freeze by the router (an order in doubt), an outer gate; symbol -1 is the portfolio."""
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
    if kind >= ACT_GATE:
        turn_gate(w, o, symbol, 1 << (kind - ACT_GATE), freeze)
        return
    st = w.states[symbol]
    ts_ms = st["last_ms"]
    if kind == ACT_HALT:
        st["halted"] = FROZEN if freeze else max(st["halted"], 1)
        machine.note_transition(symbol, ts_ms, st["phase"], st["phase"], CAUSE_HALT, st["qty"], o.transitions, o.n)
    elif kind == ACT_RESUME:
        st["halted"] = 0
        machine.note_transition(symbol, ts_ms, st["phase"], st["phase"], CAUSE_RESUME, st["qty"], o.transitions, o.n)
        machine.drive(st, w.instruments[symbol], symbol, o.effects, o.n)
    elif kind == ACT_FLATTEN:
        if st["entry"]["status"] != SLOT_EMPTY:
            st["cancel_entry"] = 1
        if st["qty"] > 0:
            st["exit_wanted"] = EXIT_OPERATOR
            st["trim_qty"] = 0
        machine.drive(st, w.instruments[symbol], symbol, o.effects, o.n)
        if st["phase"] == OPEN:
            machine.settle(st, symbol, ts_ms, CAUSE_EXIT, o.transitions, o.n)


@compiled
def adjust(w, o, symbol, ts_ms, qty, price, fee):
    """A position follows the venue's truth: `qty` signed lots more at `price` ticks, `fee` units paid."""
    st = w.states[symbol]
    inst = w.instruments[symbol]
    follow(st, w.params[0], inst, symbol, ts_ms, qty, price, fee, o.effects, o.transitions, o.fills, o.n)
    mark(w, symbol)


@compiled
def restate(w, o, ts_ms, rows):
    """Splits and dividends (ACTION rows) of the session that opens at `ts_ms`, before its first bar; once."""
    actions.restate(w, o, ts_ms, rows)


@compiled
def watch(w, rows):
    """A new list of the scan, between two barriers: WATCH rows (each symbol at most once) replace those before."""
    lists.replace(w, rows)


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
