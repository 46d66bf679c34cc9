"""Barriers out of live bars that come in any order, twice, late, corrected or not at all. No I/O and no clock.

It is told what came (`arrived`), what time it is (`now`) and what REST answered (`answered`), and says what is to be
asked next (`question`) and which barriers are closed (`take`), in the order of time. A barrier closes when every bar
that is due is in, or when the grace is over and REST has said of those that are not whether they are: had after all, no
trade (no row, as in the archive), or no answer, which is a BAR_MISSING row inside the session. The bar of such a row
follows as BAR_SILENT before any newer bar of its symbol; where none could be had, the next bar is marked BAR_CADENCE.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from avwapd.core.codes import BAR_CADENCE, BAR_LATE, BAR_MISSING, BAR_SILENT
from avwapd.core.records import BAR
from avwapd.feeds.check import OFF_BOUNDARY, check_bar
from avwapd.feeds.live_decided import REVISED, SAME, Decided, Rows, Values
from avwapd.feeds.live_filling import Filling
from avwapd.feeds.live_schedule import NEVER, Schedule

FUTURE_MS = 2_000  # how far our clock may be behind the feed's
MOST_ASKED = 50_000  # bars that one question may ask for
MOST_LAG = 30  # intervals by which our clock may run before the market's
LAGS = 3  # intervals whose lag is looked at; the least of them is the feed's
POLLS = 2  # of one interval, before a bar's absence is believed
FROZEN = 5  # barriers in a row without any move of a traded price
TAKEN, REPLACED, DOUBTED, SILENT, OVERFLOW = "taken", "replaced", "doubted", "silent", "overflow"


class Question(NamedTuple):
    """What REST is to be asked: the bars of these symbols that close in [first_ms, last_ms]."""

    symbols: tuple[int, ...]
    first_ms: int
    last_ms: int


class Barrier(NamedTuple):
    """One closed barrier. bars: BAR rows of one ts_ms in symbol order, maybe none; late: too old to open anything.

    streamed: bars that the stream brought; found: that REST had beside it; failed: rows without a bar; due: how many
    could have come; frozen: barriers in a row, this one included, in which no traded price moved at all.
    """

    ts_ms: int
    bars: Rows
    late: bool
    streamed: int
    found: int
    failed: int
    due: int
    frozen: int = 0


class Assembly:
    """closed_ms: everything up to here is decided. folded_ms: of each symbol, the newest bar that was.

    confirm: ask REST about bars that are due and did not come; polled: there is no stream, REST is all; late_after_ms:
    a barrier that closes this long after its time is late; room: bars of coming barriers that are kept (what is beyond
    is found by REST again).
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        closed_ms: int,
        grace_ms: int,
        confirm: bool = True,
        polled: bool = False,
        late_after_ms: int = NEVER,
        room: int = 10_000,
        folded_ms: Sequence[int] = (),
    ) -> None:
        self.closed_ms = closed_ms
        self.refused: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.decided = Decided()
        self._schedule = schedule
        self._grace_ms = grace_ms
        self._confirm = confirm
        self._polled = polled
        self._late_after_ms = late_after_ms
        self._room = max(room, schedule.symbols)
        self._folded = list(folded_ms) or [0] * schedule.symbols
        self._open: dict[int, Filling] = {}
        self._waiting = 0  # bars in open barriers
        self._failed: dict[int, set[int]] = {}  # symbol -> intervals with a BAR_MISSING row, no newer bar folded
        self._silent: dict[int, dict[int, Values]] = {}  # ts_ms -> symbol -> bar of such a row
        self._asked: Question | None = None
        self._tries: Counter[int] = Counter()
        self._known_ms = closed_ms  # REST has spoken of everything up to here
        self._dark_ms = closed_ms  # REST was asked for everything up to here, and failed
        self._tried_ms = 0  # the barrier before which lost bars were asked for once more
        self._broken: set[int] = set()  # symbols that lost a bar for good since their newest
        self._sure_ms = 0  # up to here REST is asked whatever `confirm` says
        self._head_ms = schedule.next(closed_ms)
        self._closes = [0.0] * schedule.symbols
        self._frozen = 0
        self._lags: deque[int] = deque(maxlen=LAGS)
        self._lag_ms = 0
        self._learned_ms = -NEVER
        self._empty_ms = 0  # of this interval nobody has any bar; it waits for the next one,
        self._again_ms = 0  # and then REST is asked once more
        self._first_of_ms = closed_ms

    # ----------------------------------------------------------------------------------------------- arrivals

    def arrived(
        self, ts_ms: int, symbol: int, values: Values, now_ms: int, *, revised: bool = False, streamed: bool = True
    ) -> str:
        """A bar came; what became of it: TAKEN … OVERFLOW, or the reason (feeds.check) for which it was refused."""
        schedule = self._schedule
        wrong = check_bar(ts_ms, values, timeframe_ms=1, now_ms=now_ms + FUTURE_MS)
        if not wrong and not schedule.is_stamp(ts_ms):
            wrong = OFF_BOUNDARY
        if wrong:
            self.refused[wrong] += 1
            return wrong
        if streamed and ts_ms > self._first_of_ms:
            self._learn_lag(ts_ms, now_ms)
        if ts_ms <= self.closed_ms:
            return self._behind(ts_ms, symbol, values, revised)
        barrier = self._open.get(ts_ms)
        if barrier is None:
            barrier = self._open[ts_ms] = Filling(schedule.due(ts_ms), schedule.due_count(ts_ms))
            self._head_ms = min(self._head_ms, ts_ms)
        before = barrier.rows[symbol]
        if before is not None:
            found = self._again(barrier, symbol, before, values, sure=revised or not streamed, revised=revised)
            self.counts[found] += 1
            return found
        if self._waiting >= self._room and ts_ms > self._head_ms:
            self.counts[OVERFLOW] += 1
            return OVERFLOW
        barrier.rows[symbol] = values
        self._waiting += 1
        if revised:
            barrier.corrected.add(symbol)
        if barrier.due[symbol]:
            barrier.left -= 1
        if streamed:
            barrier.streamed += 1
        else:
            barrier.found += 1
        return TAKEN

    @staticmethod
    def _again(barrier: Filling, symbol: int, before: Values, values: Values, *, sure: bool, revised: bool) -> str:
        """A second bar of an interval that is not decided: a correction or REST's word takes its place, another is a
        doubt that REST must settle. Else it would hang on how long the others take which of the two is decided.
        """
        if symbol in barrier.corrected and not revised:
            return SAME
        if sure:
            if revised:
                barrier.corrected.add(symbol)
            barrier.settle(symbol, values)
            return SAME if before == values else REPLACED
        if before == values or (symbol, values) in barrier.others:
            return SAME
        barrier.doubt(symbol, values)
        return DOUBTED

    def _learn_lag(self, ts_ms: int, now_ms: int) -> None:
        """How long after its close, by our clock, the first bar of an interval comes: the grace counts from there.

        So a clock that is fast, or a feed that is slow, takes nobody's grace. What comes faster than the market goes is
        a backlog, of a machine that slept: its age is no lag, else old bars would count as on time.
        """
        self._first_of_ms = ts_ms
        if 0 <= now_ms - self._learned_ms < self._schedule.timeframe_ms // 2:
            return
        self._learned_ms = now_ms
        self._lags.append(now_ms - ts_ms)
        self._lag_ms = min(max(min(self._lags), 0), MOST_LAG * self._schedule.timeframe_ms)

    def _behind(self, ts_ms: int, symbol: int, values: Values, revised: bool) -> str:
        """A bar of an interval that is decided."""
        if ts_ms in self._failed.get(symbol, ()):
            self._silent.setdefault(ts_ms, {})[symbol] = values
            self._failed[symbol].discard(ts_ms)
            self.counts[SILENT] += 1
            return SILENT
        pending = self._silent.get(ts_ms, {})
        if symbol in pending:
            different = pending[symbol] != values
            if different and revised:
                pending[symbol] = values
            return REPLACED if different and revised else SAME
        found = self.decided.judge(ts_ms, symbol, values, corrected=revised)
        self.counts[found] += 1
        return found

    def lose(self, symbol: int, ts_ms: int) -> None:
        """At a start: the ledger has a BAR_MISSING row there, and no newer bar of the symbol."""
        self._failed.setdefault(symbol, set()).add(ts_ms)

    def be_sure(self, until_ms: int) -> None:
        """The stream was down: up to here, REST is asked about every bar that did not come."""
        self._sure_ms = max(self._sure_ms, until_ms)

    # -------------------------------------------------------------------------------------------------- time

    @property
    def ready(self) -> bool:
        """Every bar of the next barrier is in and nothing is to be asked."""
        return self._complete() and (self._given_up() or not self._lost_here())

    @property
    def overtaken(self) -> bool:
        """A question is under way, and what it asks for has come."""
        return self._asked is not None and self._complete() and not self._lost_here()

    def _complete(self) -> bool:
        """All that is due is in. Where nothing is, the grace decides."""
        barrier = self._open.get(self._head_ms)
        return barrier is not None and barrier.left == 0 and self._schedule.due_count(self._head_ms) > 0

    def _given_up(self) -> bool:
        """Bars that were lost before the next barrier have been asked for in vain."""
        return self._tried_ms == self._head_ms or self._dark_ms >= self._head_ms

    def _lost_here(self) -> list[int]:
        """Symbols with a bar in the next barrier that lost one before it."""
        barrier = self._open.get(self._head_ms)
        if barrier is None or not self._failed:
            return []
        return [symbol for symbol, lost in self._failed.items() if lost and barrier.rows[symbol] is not None]

    @property
    def head_ms(self) -> int:
        """The interval that is decided next."""
        return self._head_ms

    def wake_ms(self) -> int:
        """The market time at which there is something to do if nothing arrives before; NEVER where none is due."""
        head = self._head_ms
        if head == NEVER:
            return NEVER
        return head if self._complete() else self._due_ms(head)

    def _due_ms(self, ts_ms: int) -> int:
        """When the next barrier is to be asked about."""
        if self._empty_ms == ts_ms:
            return 0 if self._newer(ts_ms) else self._again_ms
        return ts_ms + self._lag_ms + self._grace_ms * int(2 ** self._tries[ts_ms])

    def _newer(self, ts_ms: int) -> bool:
        """A later interval has bars: the market is past this one, whatever our clock says."""
        return any(at > ts_ms for at in self._open)

    @property
    def stirred(self) -> bool:
        """The next barrier waited for a sign that the market is past it, and there is one."""
        return self._empty_ms == self._head_ms and self._newer(self._head_ms)

    def _asks_of(self, ts_ms: int) -> bool:
        return self._confirm or ts_ms <= self._sure_ms

    def question(self, now_ms: int) -> Question | None:
        """What REST must be asked before the next barrier can close; `answered` ends it. None where nothing must."""
        head = self._head_ms
        if head > now_ms or self._asked is not None or self.ready:
            return None
        if self._complete():
            lost = self._lost_here()
            spans = [at for symbol in lost for at in self._failed[symbol]]
            return self._ask(lost, min(spans), max(spans))
        if now_ms < self._due_ms(head) or max(self._known_ms, self._dark_ms) >= head or not self._asks_of(head):
            return None
        last = self._newest_due(head, now_ms)
        symbols = self._absent(head, last)
        if not symbols:
            self._known_ms = max(self._known_ms, last)
            return None
        symbols.update(symbol for symbol, lost in self._failed.items() if lost)
        first = min([head, *(at for symbol in symbols for at in self._failed.get(symbol, ()))])
        return self._ask(symbols, first, last)

    def _ask(self, symbols: Iterable[int], first_ms: int, last_ms: int) -> Question:
        self._tried_ms = self._head_ms
        self._asked = Question(tuple(sorted(symbols)), first_ms, last_ms)
        return self._asked

    def narrowed(self, over_ms: int) -> Question | None:
        """The question under way, about intervals up to `over_ms` alone; None where not even the first is."""
        question, head = self._asked, self._head_ms
        if question is None or question.last_ms <= over_ms:
            return question
        if head > over_ms:
            return None
        last = head  # our clock runs ahead: a later interval that it thinks over is asked for when it is
        while (coming := self._schedule.next(last)) <= over_ms:
            last = coming
        self._asked = question._replace(last_ms=last)
        return self._asked

    def _newest_due(self, head: int, now_ms: int) -> int:
        """The last interval whose grace is over too: one question for them all, within its size."""
        most = max(1, MOST_ASKED // max(1, self._schedule.symbols))
        last = head
        for _ in range(most - 1):
            coming = self._schedule.next(last)
            if coming + self._lag_ms + self._grace_ms > now_ms:
                break
            last = coming
        return last

    def _absent(self, head: int, last: int) -> set[int]:
        """Symbols of which a bar is due in [head, last] and not in."""
        found: set[int] = set()
        ts_ms = head
        while ts_ms <= last:
            due = np.flatnonzero(self._schedule.due(ts_ms)).tolist()
            barrier = self._open.get(ts_ms)
            found.update(due if barrier is None else (i for i in due if barrier.lacks(i)))
            ts_ms = self._schedule.next(ts_ms)
        return found

    def answered(self, question: Question, rows: Rows | None, now_ms: int) -> None:
        """What REST said: BAR rows (all that it has of what was asked), or None where it failed."""
        if question is not self._asked:
            return
        self._asked = None
        head = self._head_ms
        if rows is None:
            self.counts["failed_questions"] += 1
            if question.last_ms >= head:
                self._dark_ms = max(self._dark_ms, question.last_ms)
            return
        for ts_ms, symbol, _, opened, high, low, close, volume in rows.tolist():
            if ts_ms <= question.last_ms:
                self.arrived(ts_ms, symbol, (opened, high, low, close, volume), now_ms, streamed=False)
        if question.last_ms >= head:
            self._tries[head] += 1
            if self._too_early(head, now_ms):
                return
            self._known_ms = max(self._known_ms, question.last_ms)
        for symbol in question.symbols:  # what is not there was never traded
            lost = self._failed.get(symbol)
            if lost:
                lost -= {ts_ms for ts_ms in lost if question.first_ms <= ts_ms <= question.last_ms}

    def _too_early(self, head: int, now_ms: int) -> bool:
        """REST may not have it yet, or our clock may run before the market's: then it is asked once more.

        An interval of which nobody has any bar has nothing to decide, so it can wait for a sign of the next one; before
        the stream brought any bar at all, for as long as it takes.
        """
        if self._complete() or self._newer(head):
            return False
        barrier = self._open.get(head)
        empty = barrier is None or not (barrier.streamed or barrier.found)
        if self._polled:
            next_ms = self._due_ms(head) - head
            return self._tries[head] < POLLS or (empty and 2 * next_ms < self._schedule.timeframe_ms)
        if not empty or (self._empty_ms == head and self._lags):
            return False
        self._empty_ms = head
        again_ms = head + self._lag_ms + self._schedule.timeframe_ms + self._grace_ms
        self._again_ms = again_ms if again_ms > now_ms else now_ms + self._schedule.timeframe_ms
        return again_ms > now_ms or not self._lags

    def withdraw(self) -> None:
        """The question under way need not be answered any more: what it asked for has come."""
        self._asked = None

    # ------------------------------------------------------------------------------------------------ closing

    def take(self, now_ms: int) -> list[Barrier]:
        """Every barrier that is closed by now, in order; silent bars come before the barrier that follows them."""
        closed: list[Barrier] = []
        while self._closable(now_ms):
            closed.extend(self._quiet(now_ms))
            closed.append(self._close(now_ms))
        return closed

    def _closable(self, now_ms: int) -> bool:
        head = self._head_ms
        if head > now_ms or self._asked is not None:
            return False
        if self.ready:
            return True
        if max(self._known_ms, self._dark_ms) >= head:
            return True
        return now_ms >= self._due_ms(head) and not self._asks_of(head)

    def _quiet(self, now_ms: int) -> list[Barrier]:
        """The bars of rows that were written without them, oldest first."""
        found = []
        for ts_ms in sorted(self._silent):
            rows = [(ts_ms, symbol, BAR_SILENT, *bar) for symbol, bar in sorted(self._silent[ts_ms].items())]
            found.append(self._barrier(ts_ms, np.array(rows, BAR), now_ms, found=len(rows)))
            for _, symbol, *_ in rows:
                self._folded[symbol] = ts_ms
                older = {at for at in self._failed.get(symbol, ()) if at < ts_ms}
                if older:
                    self._failed[symbol] -= older
                    self._broken.add(symbol)
            self.decided.remember(ts_ms, found[-1].bars)
        self._silent.clear()
        return found

    def _close(self, now_ms: int) -> Barrier:
        ts_ms = self._head_ms
        barrier = self._open.pop(ts_ms, None) or Filling(self._schedule.due(ts_ms), 0)
        rows: list[tuple[Any, ...]] = []
        nan = float("nan")
        count = 0
        missing: set[int] = set()
        if self._known_ms < ts_ms <= self._dark_ms:
            missing = set(np.flatnonzero(self._schedule.due(ts_ms) & self._schedule.inside(ts_ms)).tolist())
        stuck = BAR_CADENCE if self._stuck(barrier) else 0
        for symbol, bar in enumerate(barrier.rows):
            if bar is not None:
                rows.append((ts_ms, symbol, self._cadence(symbol) | stuck, *bar))
                self._folded[symbol] = ts_ms
                count += 1
            elif symbol in missing:
                rows.append((ts_ms, symbol, BAR_MISSING, nan, nan, nan, nan, nan))
                self._failed.setdefault(symbol, set()).add(ts_ms)
        self._waiting -= count
        self.closed_ms = ts_ms
        self._tries.pop(ts_ms, None)
        self._head_ms = min(self._schedule.next(ts_ms), min(self._open, default=NEVER))
        failed = len(rows) - count
        self.counts["bars"] += count
        self.counts["no_data"] += failed
        due = self._schedule.due_count(ts_ms)
        self.counts["no_trade"] += max(0, due - len(rows)) if self._known_ms >= ts_ms else 0
        closed = self._barrier(ts_ms, np.array(rows, BAR), now_ms, barrier.streamed, barrier.found, failed, due)
        closed = closed._replace(frozen=self._frozen)
        self.decided.remember(ts_ms, closed.bars)
        for symbol, values in barrier.others:
            if values != barrier.rows[symbol]:
                self.counts[self.decided.note(ts_ms, symbol, values, REVISED)] += 1
        return closed

    def _stuck(self, barrier: Filling) -> bool:
        """Whether the feed repeats the last price: trades in every symbol that has a bar, and no price moves.

        Such bars move state and open nothing.
        """
        moved = traded = False
        for symbol, bar in enumerate(barrier.rows):
            if bar is None:
                continue
            if bar[4] > 0:
                traded = True
                moved = moved or not bar[0] == bar[1] == bar[2] == bar[3] == self._closes[symbol]
            self._closes[symbol] = bar[3]
        if moved:
            self._frozen = 0
        elif traded:
            self._frozen += 1
        return self._frozen >= FROZEN

    def _cadence(self, symbol: int) -> int:
        """The mark of a bar before which one was lost for good; whatever comes of it now comes too late."""
        lost = self._failed.get(symbol)
        if not lost and symbol not in self._broken:
            return 0
        if lost:
            lost.clear()
        self._broken.discard(symbol)
        return BAR_CADENCE

    def _barrier(
        self, ts_ms: int, rows: Rows, now_ms: int, streamed: int = 0, found: int = 0, failed: int = 0, due: int = 0
    ) -> Barrier:
        late = now_ms - self._lag_ms - ts_ms > self._late_after_ms
        if late:
            rows["flags"] |= BAR_LATE
        return Barrier(ts_ms, rows, late, streamed, found, failed, due)
