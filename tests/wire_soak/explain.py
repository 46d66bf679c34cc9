"""Two ledgers beside each other: what differs, and by which recorded fault. Pure: rows in, verdicts out.

A difference needs a trace in the faulted ledger, of its own symbol and time (a bar that is another one, a word that
came late, an order that went wrong, a halt), and a firing in the venue's log that can leave such a trace there. From
then on the symbol is diverged: what differs while its position, its bars of the session or its decisions do not agree
again is downstream of that fault. What a former session's bars make (the line of what is held, a stop behind a former
day's low) is explained where both rows are remade to the tick, each from its own run's bars, and every bar that makes
the difference has its cause. Whatever else differs is unexplained.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from avwapd.core.codes import BAR_CADENCE, BAR_LATE, BAR_MISSING, BAR_SILENT
from tests.wire_soak.made import Made, knew_differently
from tests.wire_soak.rows import EARLY_MS, MINUTE_MS, Decision, Difference, Fill, Firing, Run, Trace, Verdict
from tests.wire_soak.states import States

NEAR_MS = 10 * MINUTE_MS  # between a trace and what follows from it
BAR, LATE, ORDER, HALT, BOOK = "bar", "late", "order", "halt", "book"
OWN = "own"  # a trace of the run without faults
RESIZED = "late, of another size"  # one bar is another because of it, and nothing later
HURRIED = BAR_LATE | BAR_MISSING | BAR_CADENCE | BAR_SILENT
REMADE_STOP = "its stop, remade from each run's bars, lies behind a former day's low that another bar made"
REMADE_LINE = "its line, remade from each run's bars since its anchor, has other bars in it"
PACE = "(the machine's own pace)"  # a word or an order that came late with no fault near: counted apart

SENT = (ORDER, LATE, HALT)
BY_WHERE = {
    "submit": SENT, "cancel": SENT, "replace": SENT, "order": SENT, "orders": SENT,
    "positions": (ORDER, HALT), "account": (ORDER, HALT), "activities": (LATE, ORDER, HALT), "clock": (ORDER, HALT),
    "bars": (BAR, LATE), "data_stream": (BAR, LATE),
    "stream": (LATE, ORDER, HALT, BOOK), "book": (LATE, ORDER, HALT, BOOK),
}  # fmt: skip
ALSO = {"halt_reopen_gap": (BAR,), "split": (BAR,), "symbol_change": (BAR, LATE)}
# How long a fault can be at work: a reconnect, a breaker's rest, a halt by its length; a restated price for ever.
REACH_MS = 15 * MINUTE_MS
SOON_MS = 3 * MINUTE_MS  # what is late is late because of what was just then
STOPS = ("stop_vanishes", "stop_held", "stop_rejected", "stop_expires")  # seen when the stop should have worked
FOR_EVER = ("split", "symbol_change", "manual_close", "foreign_order")


def differences(clean: Run, faulted: Run) -> list[Difference]:
    """Of decisions, moves and fills, in the order of time."""
    found = []
    for key in clean.decisions.keys() | faulted.decisions.keys():
        one, other = clean.decisions.get(key), faulted.decisions.get(key)
        if one != other:
            found.append(Difference(*key, "decisions", one, other))
    for table, ones, others in (("moves", clean.moves, faulted.moves), ("fills", clean.fills, faulted.fills)):
        counted, beside = Counter(ones), Counter(others)
        found += [Difference(row.ts_ms, row.symbol, table, row, None) for row in (counted - beside).elements()]
        found += [Difference(row.ts_ms, row.symbol, table, None, row) for row in (beside - counted).elements()]
    return sorted(found, key=lambda each: (each.ts_ms, each.symbol, each.table, str(each)))


def all_traces(clean: Run, faulted: Run) -> list[Trace]:
    """Those of the faulted ledger, and what only the comparison shows: other bars, words that came later."""
    found = [*faulted.traces, *(trace._replace(kind=OWN) for trace in clean.traces if trace.kind == LATE)]
    for key in clean.bars.keys() | faulted.bars.keys():
        if clean.bars.get(key) != faulted.bars.get(key):
            own = any(row[0] & HURRIED for row in clean.bars.get(key, ()))
            what = f"bar {faulted.bars.get(key)} instead of {clean.bars.get(key)}"
            found.append(Trace(*key, OWN if own else BAR, what, key[0]))
    resized = _of_another_size(clean, faulted)
    for fill, slots in faulted.heard.items():
        others = clean.heard.get(fill) or resized.get(fill)
        if others and others != slots:
            what = f"a fill was heard after the bars of {slots}, without faults {others}"
            same = fill in clean.heard
            end_ms = fill.ts_ms if same else max(fill.ts_ms, *slots, *others)
            found.append(Trace(end_ms, fill.symbol, LATE if same else RESIZED, what, fill.ts_ms))
    return sorted(found)


def _of_another_size(clean: Run, faulted: Run) -> dict[Fill, tuple[int, ...]]:
    """Fills of the faulted run that the faultless one heard in a size that another account makes: when it heard them.

    The same in all else, and one on each side.
    """
    sides: list[dict[Fill, list[Fill]]] = []
    for run in (clean, faulted):
        sides.append(defaultdict(list))
        for fill in run.heard:
            sides[-1][fill._replace(qty=0)].append(fill)
    found = {}
    for key, others in sides[1].items():
        ones = sides[0].get(key, [])
        if [len(ones), len(others)] == [1, 1] and _about(ones[0].qty, others[0].qty):
            found[others[0]] = clean.heard[ones[0]]
    return found


class Named(NamedTuple):
    """A trace and the fault that left it."""

    trace: Trace
    fault: str


# What a note says where a fault of this name is behind it; then no other fault can be.
HINTS = {
    "blocked_403": "account is blocked", "revoked_401": "not authorized", "limit_429": "rate limit",
    "limit_429_no_header": "rate limit", "gateway_504_taken": "status 504", "duplicate_keys": "twice",
}  # fmt: skip


def named(traces: Iterable[Trace], firings: Iterable[Firing]) -> list[Named]:
    """Each trace with the firing that can have left it: the newest before it began, else the first while it lasted.

    Where none can, only lateness explains anything: PACE.
    """
    by_kind: dict[str, list[Firing]] = defaultdict(list)
    for firing in sorted(firings):
        for kind in (*BY_WHERE.get(firing.where, ()), *ALSO.get(firing.fault, ())):
            by_kind[kind].append(firing)
    found = []
    for trace in traces:
        hinted = {fault for fault, words in HINTS.items() if words in trace.what}
        kind = LATE if trace.kind == RESIZED else trace.kind
        can = [firing for firing in by_kind.get(kind, ()) if _can(firing, trace._replace(kind=kind), hinted)]
        before = [firing for firing in can if firing.ts_ms <= trace.since_ms + EARLY_MS]
        if can:
            found.append(Named(trace, (before[-1] if before else can[0]).fault))
        elif kind in (LATE, OWN):
            found.append(Named(trace, PACE))
    return found


def _can(firing: Firing, trace: Trace, hinted: set[str]) -> bool:
    everybody = trace.kind == LATE and firing.where == "data_stream"  # all wait for the bar of one
    if (firing.symbol not in ("", trace.symbol) and not everybody) or (hinted and firing.fault not in hinted):
        return False
    reach_ms = 1 << 62 if firing.fault in FOR_EVER else SOON_MS if trace.kind == LATE else REACH_MS
    return trace.since_ms - reach_ms <= firing.ts_ms <= trace.ts_ms + EARLY_MS


def explain(clean: Run, faulted: Run, firings: Iterable[Firing]) -> list[Verdict]:
    """A verdict for every difference."""
    firings = list(firings)
    by_symbol: dict[str, list[Difference]] = defaultdict(list)
    for each in differences(clean, faulted):
        by_symbol[each.symbol].append(each)
    reasons: dict[str, list[Named]] = defaultdict(list)
    for reason in named(all_traces(clean, faulted), firings):
        reasons[reason.trace.symbol].append(reason)
    book = [firing for firing in firings if firing.where == "book" and firing.symbol]
    verdicts: list[Verdict] = []
    for symbol, rows in sorted(by_symbol.items()):
        states = States(clean, faulted, symbol)
        fired = [firing for firing in book if firing.symbol == symbol]
        made = Made(clean, faulted, symbol, states.other_bars)
        verdicts += _explain_symbol(rows, reasons[symbol], fired, states, made)
    return _by_equity(sorted(verdicts, key=lambda each: each.difference[:3]))


def _explain_symbol(
    rows: Sequence[Difference], reasons: Sequence[Named], fired: Sequence[Firing], states: States, made: Made
) -> list[Verdict]:
    verdicts = []
    root, last_ms = "", 0
    bars = [reason for reason in reasons if reason.trace.kind == BAR]
    behind = {reason.trace.ts_ms: reason.fault for reason in reasons if reason.trace.kind in (BAR, OWN)}
    for each in rows:
        direct = _direct(each, reasons, fired, states)
        lasting = bool(root) and not states.agreed(last_ms, each.ts_ms)
        other_bar_ms = states.other_bar(each.ts_ms)
        bar = next((bar.fault for bar in reversed(bars) if bar.trace.ts_ms == other_bar_ms), "")
        if direct is not None and direct[0] != PACE:
            root = direct[0]
            verdicts.append(Verdict(each, *direct))
        elif lasting and root != PACE:
            verdicts.append(Verdict(each, root, "the symbol is diverged since", downstream=True))
        elif bar:
            root = bar
            verdicts.append(Verdict(each, root, "another bar is in this session's line", downstream=True))
        elif stop := _newest(made.behind_stop(each), behind):
            root = stop
            verdicts.append(Verdict(each, root, REMADE_STOP, downstream=True))
        elif alone := _of_itself(each, reasons, made.behind_line(each), behind):
            verdicts.append(alone)
            continue  # a verdict on this row: the symbol is not diverged by it
        elif direct is not None or lasting:
            root = PACE
            verdicts.append(Verdict(each, root, direct[1] if direct else "since then", downstream=direct is None))
        else:
            root = ""
            verdicts.append(Verdict(each, "", ""))
        last_ms = each.ts_ms
    return verdicts


def _of_itself(
    each: Difference, reasons: Sequence[Named], bars: Sequence[int], behind: Mapping[int, str]
) -> Verdict | None:
    """A row that other bars in its line made, or one between the times at which the two runs heard of a fill."""
    line = _newest(bars, behind)
    if line:
        return Verdict(each, line, REMADE_LINE, downstream=True)
    for reason in reasons:
        late = reason.trace.kind == RESIZED and reason.trace.since_ms <= each.ts_ms <= reason.trace.ts_ms
        if late and knew_differently(each):
            return Verdict(each, reason.fault, f"{LATE}: {reason.trace.what}")
    return None


def _newest(bars: Sequence[int], behind: Mapping[int, str]) -> str:
    """The fault of the newest of these bars, "" where there is none or one of them has no cause."""
    if not bars or any(ts_ms not in behind for ts_ms in bars):
        return ""
    return next((behind[ts_ms] for ts_ms in sorted(bars, reverse=True) if behind[ts_ms] != PACE), PACE)


def _direct(
    each: Difference, reasons: Sequence[Named], fired: Sequence[Firing], states: States
) -> tuple[str, str] | None:
    """(fault, trace) of a difference: the newest trace just before it, else what the venue did to an order then."""
    near = [
        reason
        for reason in reasons
        if reason.trace.kind != RESIZED
        and reason.trace.since_ms - EARLY_MS <= each.ts_ms <= reason.trace.ts_ms + NEAR_MS
    ]
    if near:
        best = max(near, key=lambda reason: (reason.fault != PACE, reason.trace.since_ms, reason.trace.kind == ORDER))
        return best.fault, f"{best.trace.kind}: {best.trace.what}"
    for firing in reversed(fired):
        latent = firing.fault in STOPS and states.held_since(firing.ts_ms, each.ts_ms)
        after_ms = each.ts_ms - firing.ts_ms
        if after_ms >= -EARLY_MS and (latent or after_ms <= NEAR_MS):
            return firing.fault, "the venue did that to the symbol's order"
    return None


def _by_equity(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """A size that differs by little, and nothing else, after money differs: the account is what orders are sized by."""
    money = next((each for each in verdicts if each.fault not in ("", PACE) and each.difference.table == "fills"), None)
    sized: dict[str, int] = {}
    found = []
    for each in verdicts:
        one = each.difference
        after = money is not None and one.ts_ms > money.difference.ts_ms
        if each.fault in ("", PACE) and after and money is not None:
            if one.table == "decisions" and _only_sized(one.clean, one.faulted):
                sized[one.symbol] = one.ts_ms
            if one.symbol in sized and (one.table != "decisions" or sized[one.symbol] == one.ts_ms):
                each = Verdict(one, money.fault, "the account differs, and so the size", downstream=True)
        found.append(each)
    return found


def _only_sized(one: Decision | None, other: Decision | None) -> bool:
    if one is None or other is None or one.what != other.what:
        return False
    return _about(one.qty, other.qty)


def _about(one: int, other: int) -> bool:
    """Two sizes of one plan, by accounts that differ a little."""
    return abs(one - other) <= 1 + max(one, other) // 50
