"""How long what is held has had no working stop at the venue, symbol by symbol, in market time.

Told of committed rows, so that a figure never runs ahead of the disk; a symbol that no row touches costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from anyio.abc import TaskStatus

from avwapd.core.codes import PURPOSE_TRIM, SLOT_CANCELING, SLOT_EMPTY, SLOT_LIVE
from avwapd.ports import Clock
from avwapd.store.journal import Journal
from avwapd.store.rows import StepRows

log = logging.getLogger("avwapd.naked")

AT_VENUE = (SLOT_LIVE, SLOT_CANCELING)
LOOKS = 4  # at what is naked, in the time that is allowed
TO_HEAR = 0.5  # of the time that is allowed, for a start to hear that the stop is there


class Naked:
    """limit_s: market seconds after which it is an alert; speed: market seconds in a second of the wall."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        *,
        limit_s: float,
        speed: float,
        alert: Callable[[str], Awaitable[None]],
    ) -> None:
        self.worst_ms = 0
        self.total_ms: dict[int, int] = {}  # symbol -> market ms, spells that are over
        self.spells = 0
        self._journal = journal
        self._clock = clock
        self._limit_ms = round(limit_s * 1000)
        self._look_s = limit_s / speed / LOOKS
        self._alert = alert
        self._since: dict[int, int] = {}  # symbol -> market ms at which its stop was missed first
        self._carried: dict[int, int] = {}  # symbols that were naked at the start -> market ms of the start
        self._told: set[int] = set()

    def held(self) -> list[int]:
        """Symbols that hold something no order at the venue covers, after loading."""
        states = self._journal.world.states
        return [symbol for symbol in states["qty"].nonzero()[0].tolist() if uncovered(states[symbol]) > 0]

    def start(self, since_ms: Mapping[int, int]) -> None:
        """A spell outlives a process: several short lives in a row must not hide it.

        since_ms: when it began, of `held()`, as far as the ledger knows.
        """
        now_ms = self._clock.now_ms()
        for symbol in self.held():
            self._carried[symbol] = now_ms
            self._look(symbol, min(now_ms, since_ms.get(symbol, now_ms)))

    def tell(self, rows: StepRows) -> None:
        """Committed rows; only symbols whose machine they moved are looked at."""
        if not rows.positions and rows.symbol_id is None:
            return
        now_ms = self._clock.now_ms()
        at_ms = min(now_ms, rows.ts_ms) if rows.kind == "report" else now_ms
        touched = {row.symbol_id for row in rows.positions} | (
            {rows.symbol_id} if rows.symbol_id is not None else set()
        )
        for symbol in touched:
            self._look(symbol, at_ms)

    def _look(self, symbol: int, at_ms: int) -> None:
        if uncovered(self._journal.world.states[symbol]) > 0:
            self._since.setdefault(symbol, at_ms)
            return
        since_ms = self._since.pop(symbol, None)
        if since_ms is not None:
            spell_ms = max(0, at_ms - since_ms)
            self.spells += 1
            self.worst_ms = max(self.worst_ms, spell_ms)
            self.total_ms[symbol] = self.total_ms.get(symbol, 0) + spell_ms
            self._told.discard(symbol)
            self._carried.pop(symbol, None)

    def now_ms(self) -> dict[int, int]:
        """Symbols that are naked, and since how many market ms."""
        now_ms = self._clock.now_ms()
        return {symbol: max(0, now_ms - since_ms) for symbol, since_ms in self._since.items()}

    def facts(self) -> dict[str, Any]:
        """Seconds of market time, by symbol those that were ever naked."""
        names = self._journal.names.symbols
        running = self.now_ms()
        every = {symbol: self.total_ms.get(symbol, 0) + running.get(symbol, 0) for symbol in self.total_ms | running}
        return {
            "now_s": {names[symbol]: ms / 1000 for symbol, ms in running.items()},
            "worst_s": max([self.worst_ms, *running.values()]) / 1000,
            "total_s": {names[symbol]: ms / 1000 for symbol, ms in sorted(every.items())},
            "spells": self.spells,
        }

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Call a human once a spell that lasts too long, until canceled."""
        task_status.started()
        while True:
            await self.check()
            await self._clock.sleep(self._look_s)

    async def check(self) -> None:
        """One look at what is naked now."""
        now_ms = self._clock.now_ms()
        for symbol, ms in self.now_ms().items():
            started_ms = self._carried.get(symbol)
            may_be_there = started_ms is not None and now_ms - started_ms <= self._limit_ms * TO_HEAR
            if ms > self._limit_ms and symbol not in self._told and not may_be_there:
                self._told.add(symbol)
                name = self._journal.symbol_name(symbol)
                await self._alert(f"{name} is held without a stop at the venue for {ms / 1000:.1f} s")


def uncovered(state: Any) -> int:
    """Lots held that no order at the venue protects or leaves.

    A replaced stop stands until its successor does; what is being trimmed is on its way out.
    """
    if not state["qty"]:
        return 0
    covered = int(state["trim_qty"])
    stops = [state[name] for name in ("protect", "replaced") if state[name]["status"] in AT_VENUE]
    covered += max((int(slot["qty"] - slot["filled"]) for slot in stops), default=0)
    leave = state["leave"]
    if leave["status"] in AT_VENUE or (leave["status"] != SLOT_EMPTY and leave["purpose"] == PURPOSE_TRIM):
        covered += int(leave["qty"] - leave["filled"])
    return max(0, int(state["qty"]) - covered)
