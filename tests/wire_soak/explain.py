"""Two ledgers beside each other: what differs, and by which recorded fault. Pure: rows in, verdicts out.

A difference needs a trace in the faulted ledger, of its own symbol and time (a bar that is another one, a word that
came late, an order that went wrong, a halt), and a firing in the venue's log that can leave such a trace there. From
then on the symbol is diverged: what differs while its position, its bars of the session or its decisions do not agree
again is downstream of that fault. Whatever else differs is unexplained.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from avwapd.core.codes import BAR_CADENCE, BAR_LATE, BAR_MISSING, BAR_SILENT

MINUTE_MS = 60_000
QUIET_MS = 6 * MINUTE_MS  # of agreement, after which a symbol is no longer diverged
NEAR_MS = 10 * MINUTE_MS  # between a trace and what follows from it
EARLY_MS = MINUTE_MS + MINUTE_MS // 2  # a fault fires in a bar that is named by its close
BAR, LATE, ORDER, HALT, BOOK = "bar", "late", "order", "halt", "book"
OWN = "own"  # a trace of the run without faults
HURRIED = BAR_LATE | BAR_MISSING | BAR_CADENCE | BAR_SILENT
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


class Decision(NamedTuple):
    """One decision's fields but for its sizes, and its size."""

    what: tuple[Any, ...]
    qty: int


class Fill(NamedTuple):
    ts_ms: int
    symbol: str
    purpose: str
    reason: str
    side: str
    qty: int
    price_ticks: int


class Move(NamedTuple):
    ts_ms: int
    symbol: str
    before: str
    after: str
    cause: str
    qty: int


class Trace(NamedTuple):
    """Something in the ledger that no faultless run has, from since_ms to ts_ms. kind: BAR … BOOK."""

    ts_ms: int
    symbol: str
    kind: str
    what: str
    since_ms: int


class Firing(NamedTuple):
    """One line of the venue's log; symbol "" where it is about all of them."""

    ts_ms: int
    fault: str
    where: str
    symbol: str


@dataclass
class Run:
    """A ledger's rows. bars: (ts_ms, symbol) -> every row of it; heard: each fill and the newest bar that had been
    folded when it came; traces: what it says went wrong; opens: sessions' beginnings."""

    decisions: Mapping[tuple[int, str], Decision]
    moves: Sequence[Move]
    fills: Sequence[Fill]
    bars: Mapping[tuple[int, str], tuple[Any, ...]]
    heard: Mapping[Fill, tuple[int, ...]] = field(default_factory=dict)
    traces: Sequence[Trace] = ()
    opens: Sequence[int] = ()


class Difference(NamedTuple):
    ts_ms: int
    symbol: str
    table: str
    clean: Any
    faulted: Any


class Verdict(NamedTuple):
    """fault: "" where nothing explains it; how: the trace, or what it is downstream of."""

    difference: Difference
    fault: str
    how: str
    downstream: bool = False


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
    for fill, slots in faulted.heard.items():
        if fill in clean.heard and clean.heard[fill] != slots:
            what = f"a fill was heard after the bars of {slots}, without faults {clean.heard[fill]}"
            found.append(Trace(fill.ts_ms, fill.symbol, LATE, what, fill.ts_ms))
    return sorted(found)


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
        can = [firing for firing in by_kind.get(trace.kind, ()) if _can(firing, trace, hinted)]
        before = [firing for firing in can if firing.ts_ms <= trace.since_ms + EARLY_MS]
        if can:
            found.append(Named(trace, (before[-1] if before else can[0]).fault))
        elif trace.kind in (LATE, OWN):
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
        verdicts += _explain_symbol(rows, reasons[symbol], fired, states)
    return _by_equity(sorted(verdicts, key=lambda each: each.difference[:3]))


def _explain_symbol(
    rows: Sequence[Difference], reasons: Sequence[Named], fired: Sequence[Firing], states: States
) -> list[Verdict]:
    verdicts = []
    root, last_ms = "", 0
    bars = [reason for reason in reasons if reason.trace.kind == BAR]
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
        elif direct is not None or lasting:
            root = PACE
            verdicts.append(Verdict(each, root, direct[1] if direct else "since then", downstream=direct is None))
        else:
            root = ""
            verdicts.append(Verdict(each, "", ""))
        last_ms = each.ts_ms
    return verdicts


def _direct(
    each: Difference, reasons: Sequence[Named], fired: Sequence[Firing], states: States
) -> tuple[str, str] | None:
    """(fault, trace) of a difference: the newest trace just before it, else what the venue did to an order then."""
    near = [
        reason for reason in reasons if reason.trace.since_ms - EARLY_MS <= each.ts_ms <= reason.trace.ts_ms + NEAR_MS
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
    return abs(one.qty - other.qty) <= 1 + max(one.qty, other.qty) // 50


def prices(rows: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """What the session's line is made of: the last row's numbers, however the bar came."""
    return rows[-1][1:] if rows else None


class States:
    """Of one symbol in both runs: phase and holding by time, and where their bars differ."""

    def __init__(self, clean: Run, faulted: Run, symbol: str) -> None:
        self._runs = [_Past(run, symbol) for run in (clean, faulted)]
        keys = (key for key in clean.bars.keys() | faulted.bars.keys() if key[1] == symbol)
        self._other_bars = sorted(
            key[0] for key in keys if prices(clean.bars.get(key)) != prices(faulted.bars.get(key))
        )
        self._opens = sorted(clean.opens)

    def agreed(self, after_ms: int, before_ms: int) -> bool:
        """Whether between a difference and the next one both were alike for long enough: phase, holding, its prices."""
        if before_ms - after_ms <= QUIET_MS:
            return False
        one, other = (past.at(before_ms - 1) for past in self._runs)
        return bool(one == other)

    def held_since(self, since_ms: int, ts_ms: int) -> bool:
        """Whether the faulted run has held the same position all the time until just before."""
        return self._runs[1].held_since(since_ms, ts_ms)

    def other_bar(self, ts_ms: int) -> int:
        """The newest bar that differs since the session began, 0 where all are the same."""
        at = bisect_right(self._opens, ts_ms - 1)
        open_ms = self._opens[at - 1] if at else 0
        end = bisect_right(self._other_bars, ts_ms)
        return self._other_bars[end - 1] if end > bisect_right(self._other_bars, open_ms) else 0


class _Past:
    """One run of one symbol: where its machine stood, and the prices at which it would have left."""

    def __init__(self, run: Run, symbol: str) -> None:
        self._moves = [(move.ts_ms, move.after, move.qty) for move in run.moves if move.symbol == symbol]
        self._moves.sort(key=lambda row: row[0])
        self._decisions = sorted((ts_ms, row.what[-3:]) for (ts_ms, of), row in run.decisions.items() if of == symbol)

    def at(self, ts_ms: int) -> tuple[str, int, tuple[Any, ...]]:
        moved = bisect_right(self._moves, ts_ms, key=lambda row: row[0])
        decided = bisect_right(self._decisions, ts_ms, key=lambda row: row[0])
        phase, held = self._moves[moved - 1][1:] if moved else ("FLAT", 0)
        return phase, held, self._decisions[decided - 1][1] if decided else ()

    def held_since(self, since_ms: int, ts_ms: int) -> bool:
        """Something was held then, and all the time until just before."""
        since_ms += EARLY_MS  # a fill is named by its bar's close
        return self.at(since_ms)[1] != 0 and all(qty for at_ms, _, qty in self._moves if since_ms < at_ms < ts_ms)
