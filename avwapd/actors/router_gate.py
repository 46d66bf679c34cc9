"""Who may leave: what forbids an entry, what an exit may take, and how many orders a minute are still sane."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from avwapd.actors.router_doubt import Waiting
from avwapd.ports import Clock


class Refusal(NamedTuple):
    """word: what the machine hears; state: what a row becomes that never left; why: for people."""

    word: str
    state: str
    why: str


class Pace:
    """Orders of the last minute beside the most that may leave in one. most 0: no limit."""

    def __init__(self, most: int, minute_s: float) -> None:
        self.most = most
        self._minute_s = minute_s
        self._sent: deque[float] = deque(maxlen=most or 1)

    def count(self, now: float) -> None:
        """An order leaves."""
        self._sent.append(now)

    def spent(self, now: float) -> bool:
        """As many as may leave have left."""
        return 0 < self.most == len(self._sent) and now - self._sent[0] < self._minute_s


class Gate:
    """states: the machines; blocked: why no entry may leave now, "" where it may; held: by whom everything is;
    leaves: the kill program sells what is held of a symbol.
    """

    def __init__(
        self,
        states: Any,
        clock: Clock,
        *,
        killed: Callable[[], bool],
        market_ms: Callable[[], int],
        blocked: Callable[[], str],
        pace: Pace,
        leaves: Callable[[int], bool] = lambda symbol: False,
    ) -> None:
        self.held: set[str] = set()
        self.pace = pace
        self.blocked = blocked
        self._states = states
        self._clock = clock
        self._killed = killed
        self._leaves = leaves
        self._market_ms = market_ms

    def why_not(self, item: Waiting) -> Refusal | None:
        """Why a request must not leave (any more); None where it may."""
        if item.opens:
            if self._market_ms() > item.due_ts_ms:
                return Refusal("expired", "STALE", "too old to be sent")
            why = self._no_entry(item.symbol)
            return Refusal("rejected", "DENIED", why) if why else None
        why = self._too_much(item) if item.closes else ""
        return Refusal("expired", "STALE", why) if why else None

    def withheld(self, item: Waiting) -> bool:
        """Another program leaves the position: a stop or an exit beside it would sell twice. Cancels go on."""
        wanted = item.kind != "cancel" and not item.opens and self._states[item.symbol]["qty"] > 0
        return bool(wanted) and self._leaves(item.symbol)

    def too_late(self, item: Waiting) -> Refusal | None:
        """`why_not` at the very call, after the commit that took its time."""
        if self.withheld(item):
            return Refusal("rejected", "DENIED", "the kill program leaves this position")
        return self.why_not(item)

    def spent(self) -> bool:
        """The orders of this minute are used up."""
        return self.pace.spent(self._clock.monotonic())

    def _no_entry(self, symbol: int) -> str:
        if self._killed():
            return "the kill switch is on"
        state = self._states[symbol]
        if state["halted"]:
            return "the symbol is halted"
        if state["cancel_entry"]:
            return "canceled before it was sent"
        return f"{self.pace.most} orders left within a minute" if self.spent() else self.blocked()

    def _too_much(self, item: Waiting) -> str:
        """A stop, trim or exit for more than is held would turn the position round."""
        state = self._states[item.symbol]
        held = int(state["side"]) * int(state["qty"])
        return "" if -item.side * held >= item.qty else f"{item.qty} lots to leave, {abs(held)} held"
