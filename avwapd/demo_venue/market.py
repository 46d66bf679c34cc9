"""Archived bars played as a market: its clock, its pace, its history.

A bar closes when the market's clock reaches its ts_ms; it opened half its length before, so that an order sent upon a
close meets the next bar's open, and a stop sent upon that fill acts on the rest of that bar, as at the embedded venue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import numpy as np
from anyio.lowlevel import checkpoint

from avwapd.core.codes import BAR_MISSING
from avwapd.core.records import BAR
from avwapd.demo_venue.desk import Desk
from avwapd.feeds.calendar import sessions
from avwapd.feeds.market import Market
from avwapd.ports import Clock

LATE_S = 0.5  # of a turn, that is caught up
STANDS_MS = 2_000  # behind its bar a market that was stopped by count: so that the bar can be asked for
SKIPPED_MS = 30 * 60_000  # closed hours longer than this are passed over


class SimMarket:
    """market: what it plays; bars up to `first_ms` (exclusive) are history from the start.

    speed: market seconds in a wall second. on_bars: called with (ts_ms, BAR rows) when a bar has closed, after the book
    and the desk; on_jump: the clock left hours out. Nothing runs before `attach`.
    """

    def __init__(
        self,
        market: Market,
        clock: Clock,
        *,
        speed: float,
        first_ms: int | None = None,
        skip: bool = True,
        paused: bool = False,
    ) -> None:
        self.source = market
        self.symbols = market.symbols
        self.timeframe_ms = market.timeframe_ms
        self.speed = speed
        self.skip = skip
        self.on_bars: list[Callable[[int, Any], None]] = []
        self.on_jump: list[Callable[[int], None]] = []
        self._clock = clock
        self._times = np.unique(market.bars["ts_ms"])
        self._next = int(np.searchsorted(self._times, first_ms, side="left")) if first_ms else 0
        self._order = np.lexsort((market.bars["ts_ms"], market.bars["symbol"]))
        self._starts = np.searchsorted(market.bars["symbol"][self._order], np.arange(len(market.symbols) + 1))
        self._stamps = np.array(market.bars["ts_ms"][self._order])
        calendar = market.calendars[0]
        self.bell = calendar != "24/7"
        last = int(self._times[-1]) if len(self._times) else 0
        self.sessions = sessions(calendar, int(self._times[0]) if len(self._times) else 0, last)
        self._skipped_ms = max(SKIPPED_MS, 3 * self.timeframe_ms)
        self.revised: dict[tuple[int, int], Any] = {}  # (ts_ms, symbol) -> the corrected BAR row
        self.withheld: set[tuple[int, int]] = set()  # (ts_ms, symbol) that no question finds
        self._splits: list[tuple[int, int, float]] = []
        self._desk: Desk | None = None
        self._opened = False  # the next bar has opened
        self._paused = paused
        self._budget: int | None = None  # bars that may still close before it pauses; None: no limit
        self._halves = 0
        self._wake = anyio.Event()
        self._base_ms, self._begun = self._lead(self._next), clock.monotonic()
        self._cap_ms = self._base_ms

    # --------------------------------------------------------------------------------------------------- clock

    def now_ms(self) -> int:
        """The market's clock; it never passes a bar's close before that bar is closed."""
        if self.paused or self._desk is None:
            return self._base_ms
        run = self._base_ms + int((self._clock.monotonic() - self._begun) * 1000 * self.speed)
        return min(run, self._cap_ms)

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def over(self) -> bool:
        """Every bar has closed."""
        return self._next >= len(self._times)

    @property
    def bars_left(self) -> int:
        return len(self._times) - self._next

    @property
    def closed_ms(self) -> int:
        """The newest closed bar, also of history; 0 where there is none."""
        return int(self._times[self._next - 1]) if self._next else 0

    def _lead(self, index: int) -> int:
        """Where the clock stands before a bar that follows closed hours: one bar before it begins."""
        if not len(self._times):
            return 0
        if index >= len(self._times):
            return int(self._times[-1])
        return int(self._times[index]) - 2 * self.timeframe_ms

    def _set(self, now_ms: int) -> None:
        self._base_ms, self._begun = now_ms, self._clock.monotonic()

    def _keep_pace(self, now_ms: int) -> None:
        """The clock stands at `now_ms`; what this turn came late is caught up by the next ones, within a bound."""
        due = self._begun + (now_ms - self._base_ms) / 1000 / self.speed
        self._base_ms, self._begun = now_ms, max(due, self._clock.monotonic() - LATE_S)

    # ------------------------------------------------------------------------------------------------- control

    def pause(self, paused: bool) -> None:
        now_ms = self.now_ms()
        self._paused = paused
        self._budget = None
        self._set(now_ms)
        self._bell()

    def go(self, bars: int) -> None:
        """Close so many bars at the market's pace, then pause."""
        self.pause(False)
        self._budget = bars
        if bars <= 0:
            self._paused = True

    def half(self, count: int) -> None:
        """Of a paused market: the next openings and closings at once, `count` of them."""
        for _ in range(count):
            if not self.over:
                self._set(max(self._base_ms, self._due_ms()))
                self._cap_ms = self._base_ms
                self._turn()

    def idle(self, ms: int) -> None:
        """Of a paused market: its clock goes on, at most to the next opening or closing."""
        ahead_ms = self._base_ms + ms
        self._set(ahead_ms if self.over else max(self._base_ms, min(ahead_ms, self._due_ms())))
        self._cap_ms = self._base_ms

    def set_speed(self, speed: float) -> None:
        self._set(self.now_ms())
        self.speed = speed
        self._bell()

    def _bell(self) -> None:
        self._wake.set()
        self._wake = anyio.Event()

    # ---------------------------------------------------------------------------------------------------- play

    def attach(self, desk: Desk) -> None:
        """The desk whose book the bars meet; goes on behind the newest bar that it knows."""
        exchange = desk.exchange
        if exchange.closed_ms:
            self._next = int(np.searchsorted(self._times, exchange.closed_ms, side="right"))
            if exchange.opened_ms > exchange.closed_ms:
                self._opened = self._next < len(self._times) and int(self._times[self._next]) == exchange.opened_ms
            gap = int(self._times[self._next]) - exchange.closed_ms if not self.over else 0
            self._set(self._lead(self._next) if gap > self._skipped_ms and self.skip else max(exchange.closed_ms, 1))
            if self._opened:
                self._set(exchange.opened_ms - self.timeframe_ms // 2)
        for symbol in range(len(self.symbols)):
            rows = self.history(symbol, 0, self.closed_ms)
            desk.mark(rows[-1:])
        self._desk = desk
        self._set(self._base_ms)
        self._cap_ms = max(self._base_ms, self._due_ms())

    @property
    def next_ms(self) -> int:
        """The close of the next bar, 0 at the end."""
        return 0 if self.over else int(self._times[self._next])

    def overnight(self) -> bool:
        """The next bar belongs to another session than the newest closed one."""
        if self.over or not self._next:
            return False
        closes = np.searchsorted(self.sessions["close_ms"], [self.closed_ms, self.next_ms], side="left")
        return bool(closes[0] != closes[1])

    def bar_rows(self, index: int) -> Any:
        """Every BAR row of the index-th time."""
        first = int(np.searchsorted(self.source.bars["ts_ms"], self._times[index], side="left"))
        end = int(np.searchsorted(self.source.bars["ts_ms"], self._times[index], side="right"))
        return self._restated(np.array(self.source.bars[first:end]))

    def _due_ms(self) -> int:
        """When the next half is due."""
        if self.over:
            return self._base_ms
        close_ms = int(self._times[self._next])
        return close_ms if self._opened else max(close_ms - self.timeframe_ms // 2, self.closed_ms)

    def _turn(self) -> None:
        """Open the next bar, or close the one that is open."""
        assert self._desk is not None
        ts_ms, rows = int(self._times[self._next]), self.bar_rows(self._next)
        if not self._opened:
            self._opened = True
            self._desk.open_bar(ts_ms, rows)
            return
        self._opened = False
        self._next += 1
        self._desk.close_bar(ts_ms, rows)
        for listen in self.on_bars:
            listen(ts_ms, rows)
        if self._budget is not None:
            self._budget -= 1
            if self._budget <= 0:
                self._paused, self._budget = True, None
                self.idle(STANDS_MS)

    async def run(self) -> None:
        """Play until the last bar has closed; the clock goes on after it."""
        assert self._desk is not None
        while not self.over:
            if self._paused:
                await self._wake.wait()
                continue
            due_ms = self._due_ms()
            if self.skip and not self._opened and due_ms - self._base_ms > self._skipped_ms:
                await self._jump()
                continue
            self._cap_ms = due_ms
            left_s = (due_ms - self.now_ms()) / 1000 / self.speed
            if left_s > 0:
                with anyio.move_on_after(left_s):
                    await self._wake.wait()
                continue
            self._keep_pace(due_ms)
            self._turn()
            await checkpoint()
        self._cap_ms = 1 << 62

    async def _jump(self) -> None:
        """One bar's time of rest after the close, then the clock leaves the closed hours out."""
        rest_ms = self._base_ms + self.timeframe_ms
        self._cap_ms = rest_ms
        while not self._paused and (left_s := (rest_ms - self.now_ms()) / 1000 / self.speed) > 0:
            with anyio.move_on_after(left_s):
                await self._wake.wait()
        if self._paused:
            return
        self._set(max(self._lead(self._next), rest_ms))
        for listen in self.on_jump:
            listen(self._base_ms)

    # ------------------------------------------------------------------------------------------------- history

    def history(self, symbol: int, start_ms: int, end_ms: int) -> Any:
        """BAR rows of one symbol with start <= ts_ms <= end that have closed, missing ones left out."""
        chosen, times = self._of(symbol)
        first = int(np.searchsorted(times, start_ms, side="left"))
        end = int(np.searchsorted(times, min(end_ms, self.closed_ms), side="right"))
        rows = np.array(self.source.bars[chosen[first : max(first, end)]], BAR)
        rows = rows[rows["flags"] & BAR_MISSING == 0]
        if self.withheld:
            rows = rows[[(int(row["ts_ms"]), symbol) not in self.withheld for row in rows]]
        rows = self._restated(rows)
        if self.revised:
            for at, ts_ms in enumerate(rows["ts_ms"].tolist()):
                rows[at] = self.revised.get((ts_ms, symbol), rows[at])
        return rows

    def _of(self, symbol: int) -> tuple[Any, Any]:
        """Positions in the market's bars of one symbol's, and their times."""
        part = slice(int(self._starts[symbol]), int(self._starts[symbol + 1]))
        return self._order[part], self._stamps[part]

    def last_bar(self, symbol: int) -> Any | None:
        """The newest closed bar of a symbol."""
        chosen, times = self._of(symbol)
        end = int(np.searchsorted(times, self.closed_ms, side="right"))
        return self._restated(np.array(self.source.bars[chosen[end - 1 : end]]))[0] if end else None

    def split(self, symbol: int, from_ms: int, ratio: float) -> None:
        """Prices of a symbol from a time on are multiplied by `ratio` (1/4 for four new shares), to the cent."""
        self._splits.append((symbol, from_ms, ratio))

    def _restated(self, rows: Any) -> Any:
        for symbol, from_ms, ratio in self._splits:
            at = (rows["symbol"] == symbol) & (rows["ts_ms"] >= from_ms)
            for name in ("open", "high", "low", "close"):
                rows[name][at] = np.round(rows[name][at] * ratio, 2)
            rows["volume"][at] = np.round(rows["volume"][at] / ratio)
        return rows

    # ------------------------------------------------------------------------------------------------ sessions

    def session_at(self, ts_ms: int) -> Any | None:
        """The SESSION record that runs at a time (open <= ts < close)."""
        index = int(np.searchsorted(self.sessions["close_ms"], ts_ms, side="right"))
        if index < len(self.sessions) and self.sessions["open_ms"][index] <= ts_ms:
            return self.sessions[index]
        return None

    def session_close(self, symbol: str, ts_ms: int) -> int:
        """The first close after a time, 0 where the calendar ends."""
        index = int(np.searchsorted(self.sessions["close_ms"], ts_ms, side="right"))
        return int(self.sessions["close_ms"][index]) if index < len(self.sessions) else 0

    def next_open(self, ts_ms: int) -> int:
        """The first opening after a time, 0 where the calendar ends."""
        index = int(np.searchsorted(self.sessions["open_ms"], ts_ms, side="right"))
        return int(self.sessions["open_ms"][index]) if index < len(self.sessions) else 0
