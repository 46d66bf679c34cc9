"""How long what is held has had no working stop at the venue, symbol by symbol, in market time.

Told of committed rows, so that a figure never runs ahead of the disk; a symbol that no row touches costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Cover(NamedTuple):
    """What one symbol holds, and how much of it no stop, and no order at all, covers; in lots."""

    symbol: int
    held: int
    stopless: int
    uncovered: int


@dataclass(slots=True)
class Spell:
    """Of one symbol, from the end of its protection until it has a stop again or is gone. Times are market ms.

    bare_ms: since when nothing at the venue covers it; hung_ms: since when it has no stop, of one that is left too
    slowly; None where that is not so.
    """

    begun_ms: int
    bare_ms: int | None = None
    hung_ms: int | None = None
    carried_ms: int | None = None  # the start that met it
    told: bool = False
    leaves: bool = False  # an order that leaves it is at the venue

    @property
    def since_ms(self) -> int | None:
        """Since when a human would call it unprotected."""
        return min((ms for ms in (self.bare_ms, self.hung_ms) if ms is not None), default=None)


class Naked:
    """limit_s: market seconds after which it is an alert; speed: market seconds in a second of the wall.

    opened: symbol and market ms -> when its running session began, None while it is shut. bar_ms: a bar's length at a
    simulated venue, else 0: it fills an order with the next bar, stamps a fill with its bar's close, and leaves nights
    out before our clock hears of it.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        *,
        limit_s: float,
        speed: float,
        alert: Callable[[str], Awaitable[None]],
        opened: Callable[[int, int], int | None],
        bar_ms: int = 0,
    ) -> None:
        self.worst_ms = 0
        self.total_ms: dict[int, int] = {}  # symbol -> market ms, spells that are over
        self.spells = 0
        self._journal = journal
        self._clock = clock
        self._limit_ms = round(limit_s * 1000)
        self._look_s = limit_s / speed / LOOKS
        self._alert = alert
        self._opened = opened
        self._bar_ms = bar_ms
        self._running: dict[int, Spell] = {}
        self._folded: dict[int, list[Cover]] = {}  # by input, until its rows are committed
        self._unsaid: list[str] = []  # alerts on their way
        self._bell = anyio.Event()

    def held(self) -> list[int]:
        """Symbols that hold something no stop at the venue covers, after loading."""
        states = self._journal.world.states
        return [symbol for symbol in states["qty"].nonzero()[0].tolist() if stopless(states[symbol]) > 0]

    def start(self, since_ms: Mapping[int, int]) -> None:
        """A spell outlives a process: several short lives in a row must not hide it.

        since_ms: when it began, of `held()`, as far as the ledger knows.
        """
        now_ms = self._clock.now_ms()
        for symbol in self.held():
            self._look(self._cover(symbol), min(now_ms, since_ms.get(symbol, now_ms)))
            self._running[symbol].carried_ms = now_ms

    def fold(self, rows: StepRows) -> None:
        """An input was folded: only symbols whose machine it moved are looked at.

        By the time its rows are committed the machines may have gone on, and what they are then is not of its stamp.
        """
        if not rows.positions and rows.symbol_id is None:
            return
        touched = {row.symbol_id for row in rows.positions} | (
            {rows.symbol_id} if rows.symbol_id is not None else set()
        )
        self._folded[rows.seq] = [self._cover(symbol) for symbol in touched]

    def tell(self, rows: StepRows) -> None:
        """They are committed."""
        covers = self._folded.pop(rows.seq, ())
        if covers:
            at_ms = self._moment(rows)
            for cover in covers:
                self._look(cover, at_ms)

    def _cover(self, symbol: int) -> Cover:
        state = self._journal.world.states[symbol]
        return Cover(symbol, int(state["qty"]), stopless(state), uncovered(state))

    def _moment(self, rows: StepRows) -> int:
        """When it came about: by the venue's stamp where it has one, and never ahead of our clock.

        But for a clock that still stands in the evening of a night that the market has left out.
        """
        now_ms = self._clock.now_ms()
        if self._bar_ms and rows.ts_ms > now_ms + self._bar_ms:
            return rows.ts_ms
        return min(now_ms, rows.ts_ms) if rows.kind == "report" else now_ms

    def _look(self, cover: Cover, at_ms: int) -> None:
        symbol, spell = cover.symbol, self._running.get(cover.symbol)
        if spell is None:
            if not cover.stopless:
                return
            spell = self._running[symbol] = Spell(at_ms)
        hangs = self._hangs(symbol, spell, at_ms)
        spell.leaves = not cover.uncovered
        if not cover.stopless:
            self._end(symbol, spell, at_ms, "its stop was there" if cover.held else "nothing was held any more")
            del self._running[symbol]
        elif cover.uncovered:
            spell.bare_ms = at_ms if spell.bare_ms is None else spell.bare_ms
        elif hangs:
            self._count(symbol, spell, at_ms)
        else:
            self._end(symbol, spell, at_ms, "an order that leaves it was there")

    def _hangs(self, symbol: int, spell: Spell, at_ms: int) -> bool:
        """True once what leaves a position has had its time, which does not run while its market is shut.

        Then it counts as held without a stop from the end of its protection on.
        """
        opened_ms = self._opened(symbol, at_ms)
        if opened_ms is None:
            return False
        since_ms = max(spell.begun_ms, opened_ms)
        if at_ms - since_ms <= self._limit_ms + self._bar_ms:
            return False
        if self._bar_ms and self._journal.last_ms - since_ms <= self._limit_ms:
            return False  # its clock goes on where bars do not, and nothing fills without one
        spell.hung_ms = since_ms if spell.hung_ms is None else min(since_ms, spell.hung_ms)
        return True

    def _count(self, symbol: int, spell: Spell, at_ms: int) -> None:
        """Something at the venue covers it now: the figures are of the time in which nothing did."""
        if spell.bare_ms is not None:
            ms = max(0, at_ms - spell.bare_ms)
            self.spells += 1
            self.worst_ms = max(self.worst_ms, ms)
            self.total_ms[symbol] = self.total_ms.get(symbol, 0) + ms
            spell.bare_ms = None

    def _end(self, symbol: int, spell: Spell, at_ms: int, how: str) -> None:
        """Count it; what was too long and nobody was told of is told now."""
        since_ms = spell.since_ms
        if since_ms is None:
            return
        self._count(symbol, spell, at_ms)
        ms = max(0, at_ms - since_ms)
        if ms > self._limit_ms and not spell.told:
            name = self._journal.symbol_name(symbol)
            words = f"is held without a stop at the venue no longer: it was for {ms / 1000:.1f} s, until {how}"
            self._unsaid.append(f"{name} {words}")
            self._bell.set()
        spell.hung_ms, spell.carried_ms, spell.told = None, None, False

    def now_ms(self) -> dict[int, int]:
        """Symbols that nothing at the venue covers, and since how many market ms."""
        return self._ages({symbol: spell.bare_ms for symbol, spell in self._running.items()})

    def _ages(self, since_ms: Mapping[int, int | None]) -> dict[int, int]:
        now_ms = self._clock.now_ms()
        return {symbol: max(0, now_ms - since) for symbol, since in since_ms.items() if since is not None}

    def facts(self) -> dict[str, Any]:
        """Seconds of market time, by symbol those that were ever naked; hangs_s: exits that take too long, since when
        what they leave has no stop.
        """
        names = self._journal.names.symbols
        running = self.now_ms()
        hanging = self._ages({symbol: spell.hung_ms for symbol, spell in self._running.items()})
        every = {symbol: self.total_ms.get(symbol, 0) + running.get(symbol, 0) for symbol in self.total_ms | running}
        return {
            "now_s": {names[symbol]: ms / 1000 for symbol, ms in running.items()},
            "hangs_s": {names[symbol]: ms / 1000 for symbol, ms in hanging.items()},
            "worst_s": max([self.worst_ms, *running.values()]) / 1000,
            "total_s": {names[symbol]: ms / 1000 for symbol, ms in sorted(every.items())},
            "spells": self.spells,
        }

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Call a human once a spell that lasts too long, until canceled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._say_ended)
            task_status.started()
            while True:
                await self.check()
                await self._clock.sleep(self._look_s)

    async def _say_ended(self) -> None:
        """At once: the process may not live until the next look."""
        while True:
            await self._bell.wait()
            self._bell = anyio.Event()
            await self._say()

    async def _say(self) -> None:
        while self._unsaid:
            await self._alert(self._unsaid.pop(0))

    async def check(self) -> None:
        """One look at what is naked now."""
        now_ms = self._clock.now_ms()
        for symbol, spell in self._running.items():
            hangs = self._hangs(symbol, spell, now_ms)
            may_be_there = spell.carried_ms is not None and now_ms - spell.carried_ms <= self._limit_ms * TO_HEAR
            since_ms = spell.since_ms
            if since_ms is None or spell.told or may_be_there or now_ms - since_ms <= self._limit_ms:
                continue
            spell.told = True
            what = f"is held without a stop at the venue for {(now_ms - since_ms) / 1000:.1f} s"
            if hangs and spell.leaves:
                what += ": the order that leaves it is not filled"
            self._unsaid.append(f"{self._journal.symbol_name(symbol)} {what}")
        await self._say()


def stopless(state: Any) -> int:
    """Lots held that no stop at the venue protects; a replaced stop stands until its successor does."""
    stops = [state[name] for name in ("protect", "replaced") if state[name]["status"] in AT_VENUE]
    return max(0, int(state["qty"]) - max((int(slot["qty"] - slot["filled"]) for slot in stops), default=0))


def uncovered(state: Any) -> int:
    """Lots held that no order at the venue protects or leaves; what is being trimmed is on its way out."""
    leave = state["leave"]
    leaving = int(state["trim_qty"])
    if leave["status"] in AT_VENUE or (leave["status"] != SLOT_EMPTY and leave["purpose"] == PURPOSE_TRIM):
        leaving += int(leave["qty"] - leave["filled"])
    return max(0, stopless(state) - leaving)
