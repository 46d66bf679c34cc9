"""Bars of Alpaca through its own client: history by REST, live 1m bars by websocket, any other timeframe polled.

Alpaca names a bar by its start, we by its close; a daily bar closes at 16:00 New York of its session. A minute without
trades has no bar. Live bars come about a second after the minute, corrections (`updatedBars`) half a minute later.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import numpy as np
from anyio.abc import TaskStatus

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.feeds import FeedError
from avwapd.feeds.alpaca_facts import AlpacaFacts
from avwapd.feeds.alpaca_rest import AlpacaRest, milliseconds, moment, number
from avwapd.feeds.bar_source import FeedDoubt, Put, Rows, rows_of
from avwapd.feeds.calendar import BELL, DAILY_CLOSE, DAY_MS, all_sessions, stamps_of
from avwapd.ports import Clock
from avwapd.remote.addresses import Addresses
from avwapd.remote.alpaca import Pace, data_stream, run_stream
from avwapd.remote.credentials import Credentials

log = logging.getLogger("avwapd.feed")

AT_ONCE = 200  # symbols of one request
STREAMED = "1m"
PUBLISHED_MS = 1_500  # after its end a minute is there, by the venue's clock
CLOCK_EVERY_S = 300.0  # the longest that a reading of that clock is believed
FIELDS = ("o", "h", "l", "c", "v")
UNITS = {"m": "Min", "h": "Hour", "d": "Day"}
Bar = tuple[int, int, float, float, float, float, float]


class AlpacaBars(AlpacaFacts):
    """symbols: of the market, in its order. kind: stream | rest; `streamed` says what it is for this timeframe.

    where: addresses (avwapd.remote.addresses.alpaca_addresses); draw: a number in [0, 1), for jitter.
    """

    def __init__(
        self,
        where: Addresses,
        keys: Credentials,
        symbols: Sequence[str],
        timeframe: str,
        clock: Clock,
        *,
        plan: str = "iex",
        kind: str = "stream",
        threads: int = 4,
        limit_s: float = 5.0,
        reconnects_minute: int = 10,
        draw: Callable[[], float] = lambda: 0.5,
        paper: bool = True,
    ) -> None:
        rest = AlpacaRest(where, keys, clock, threads=threads, limit_s=limit_s, paper=paper)
        super().__init__(rest, symbols, plan)
        if TIMEFRAME_MS[timeframe] > DAY_MS or timeframe in ("6h", "8h"):
            raise FeedError(f"Alpaca has no {timeframe} bars", "run.timeframe", "use 1m to 4h, or 1d")
        self.timeframe = timeframe
        self.streamed = kind == "stream" and timeframe == STREAMED
        self.counts: Counter[str] = Counter()
        self._where = where
        self._keys = keys
        self._clock = clock
        self._timeframe_ms = TIMEFRAME_MS[timeframe]
        self._by_day = timeframe.endswith("d")
        self._index = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._pace = Pace(clock, draw, reconnects_minute)
        self._up = False
        self._since_ms = clock.now_ms()
        self._errors: dict[int, str] = {}
        self._subscribed = 0
        self._scope: anyio.CancelScope | None = None
        self._put: Put | None = None
        self._starts: dict[str, int] = {}
        self._over_ms, self._read_at = 0, 0.0

    # ------------------------------------------------------------------------------------------------- history

    async def history(
        self, symbols: Sequence[str], first_ms: int, last_ms: int, *, limit_s: float | None = None
    ) -> Rows:
        """BAR rows with first_ms <= ts_ms <= last_ms, of closed bars only, sorted by (ts_ms, symbol).

        limit_s: wall seconds for all of it, else the feed's own. Raises FeedDoubt; what cannot be a row is counted
        and left out.
        """
        last_ms = min(last_ms, self._clock.now_ms())
        known = [symbol for symbol in symbols if symbol in self._index]
        if not known or last_ms < first_ms:
            return rows_of([])
        parts: list[list[Bar]] = []

        async def ask(names: list[str]) -> None:
            answer = await self.rest.ask("history", self._request(names, first_ms, last_ms), limit_s)
            parts.append(self._rows(answer, first_ms, last_ms))

        chunks = [known[at : at + AT_ONCE] for at in range(0, len(known), AT_ONCE)]
        if len(chunks) == 1:
            await ask(chunks[0])
        else:
            await together([partial(ask, names) for names in chunks])
        return rows_of([row for part in parts for row in part])

    async def over_ms(self, ts_ms: int) -> int:
        """As BarSource has it, also where the stream brought a bar of that time.

        A longer bar that is asked for before its last minute is there lacks that minute.
        """
        if self._over_ms < ts_ms or self._clock.monotonic() - self._read_at > CLOCK_EVERY_S:
            begun = self._clock.monotonic()
            self._over_ms = await self.clock_ms() - PUBLISHED_MS
            self._read_at = begun
        return self._over_ms

    def _request(self, names: list[str], first_ms: int, last_ms: int) -> Callable[[Any], Any]:
        back_ms = 2 * DAY_MS if self._by_day else self._timeframe_ms
        starts = (first_ms - back_ms, last_ms if self._by_day else last_ms - self._timeframe_ms)

        def call(client: Any) -> Any:
            from alpaca.data.enums import Adjustment, DataFeed
            from alpaca.data.requests import StockBarsRequest
            from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

            unit = TimeFrameUnit(UNITS[self.timeframe[-1]])
            return client.get_stock_bars(
                StockBarsRequest(
                    symbol_or_symbols=names,
                    timeframe=TimeFrame(int(self.timeframe[:-1]), unit),
                    start=moment(starts[0]),
                    end=moment(starts[1]),
                    adjustment=Adjustment.RAW,
                    feed=DataFeed(self.plan),
                )
            )

        return call

    def _rows(self, answer: Any, first_ms: int, last_ms: int) -> list[Bar]:
        """The bars of an answer by symbol; another shape is no answer at all."""
        if not isinstance(answer, dict):
            raise FeedDoubt("alpaca history: an answer of another shape")
        found: list[Bar] = []
        for name, bars in answer.items():
            symbol = self._index.get(name)
            if symbol is None or not isinstance(bars, list):
                raise FeedDoubt(f"alpaca history: an answer of another shape ({str(name)[:20]})")
            for bar in bars:
                row = self._row(symbol, bar)
                if row is None:
                    raise FeedDoubt(f"alpaca history: a bar of {name} that cannot be read")
                if first_ms <= row[0] <= last_ms:
                    found.append(row)
        return list({row[:2]: row for row in found}.values())

    def _row(self, symbol: int, bar: Any) -> Bar | None:
        """One bar; None where it has another shape."""
        try:
            start_ms = self._start(bar["t"])
            values = [number(bar[name]) for name in FIELDS]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            self.counts["unreadable"] += 1
            return None
        return (self._close(start_ms), symbol, values[0], values[1], values[2], values[3], values[4])

    def _start(self, t: Any) -> int:
        """ms of a bar's `t`: text by REST, a MessagePack timestamp by the stream."""
        if isinstance(t, str):
            found = self._starts.get(t)
            if found is None:
                if len(self._starts) > 50_000:
                    self._starts.clear()
                found = self._starts[t] = milliseconds(t)
            return found
        return int(t.seconds) * 1000 + int(t.nanoseconds) // 1_000_000

    def _close(self, start_ms: int) -> int:
        return daily_close(start_ms) if self._by_day else start_ms + self._timeframe_ms

    # -------------------------------------------------------------------------------------------------- stream

    async def run(self, put: Put, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Stream until canceled. Raises FeedDoubt where the client gave up."""
        task_status.started()
        if not self.streamed:
            await anyio.sleep_forever()
        self._put = put
        while True:
            stream = self._stream()
            with anyio.CancelScope() as self._scope:
                await run_stream(stream)
            self._down()
            if not self._scope.cancelled_caught:
                raise FeedDoubt(f"the stream of bars gave up: {self._last_error() or 'no word why'}")
            await self._clock.sleep(self._pace.delay_s(1))

    def reconnect(self) -> None:
        """Make the stream anew."""
        if self._scope is not None:
            self._scope.cancel()

    def _stream(self) -> Any:
        stream = data_stream(
            self._where,
            self._keys,
            plan=self.plan,
            symbols=list(self.symbols),
            bars=self._on_bar,
            updated=self._on_correction,
            daily=False,
            data_timeout_s=None,
            pace=self._pace,
            up=self._is_up,
            down=self._down,
        )
        dispatch = stream._dispatch

        async def hear(message: Any) -> None:
            kind = message.get("T")
            if kind == "error":
                self._on_error(message)
            elif kind == "subscription":
                self._subscribed = len(message.get("bars") or ())
            await dispatch(message)

        stream._dispatch = hear  # type: ignore[method-assign,assignment]  # its one seam
        return stream

    async def _on_bar(self, message: Any) -> None:
        self._take(message, False)

    async def _on_correction(self, message: Any) -> None:
        self._take(message, True)

    def _take(self, message: Any, revised: bool) -> None:
        name = message.get("S")
        symbol = self._index.get(name) if isinstance(name, str) else None
        row = None if symbol is None else self._row(symbol, message)
        if row is not None and self._put is not None:
            if self._over_ms < row[0] <= self._clock.now_ms():
                self._over_ms, self._read_at = row[0], self._clock.monotonic()
            self._put(row[0], row[1], row[2], row[3], row[4], row[5], row[6], revised)

    def _on_error(self, message: Any) -> None:
        """Error frames leave the stream up and silent: only the bars that stay out tell, and this."""
        code = message.get("code")
        code = code if isinstance(code, int) else 0
        self._errors[code] = str(message.get("msg"))[:100]
        self.counts["errors"] += 1

    def _last_error(self) -> str:
        return ", ".join(f"{code} {what}" for code, what in self._errors.items())

    def _is_up(self) -> None:
        self._up, self._since_ms = True, self._clock.now_ms()
        self._errors.clear()

    def _down(self) -> None:
        self._up, self._since_ms = False, self._clock.now_ms()

    def facts(self) -> dict[str, Any]:
        """For status."""
        state = ("up" if self._up else "down") if self.streamed else "none"
        return {
            "venue": "alpaca",
            "plan": self.plan,
            "stream": state,
            "since_ms": self._since_ms,
            "connects": self._pace.connects,
            "held_back": self._pace.bounded,
            "subscribed": self._subscribed,
            "errors": self._last_error(),
            "questions_failed": self.rest.failed,
            "unreadable": self.counts["unreadable"],
        }


async def together(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """All of them at once; the first FeedDoubt ends them."""
    doubts: list[FeedDoubt] = []

    async def one(call: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
        try:
            await call()
        except FeedDoubt as doubt:
            doubts.append(doubt)
            scope.cancel()

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(one, call, group.cancel_scope)
    if doubts:
        raise doubts[0]


_DAYS: dict[str, Any] = {}


def daily_close(start_ms: int) -> int:
    """16:00 New York of the session whose daily bar starts at `start_ms` (midnight there); 0 where there is none."""
    if not _DAYS:
        table = all_sessions(BELL)
        _DAYS["stamps"] = stamps_of(BELL, table)
    stamps = _DAYS["stamps"]
    at = int(np.searchsorted(stamps - DAILY_CLOSE, start_ms, side="right")) - 1
    if at < 0 or start_ms - (int(stamps[at]) - DAILY_CLOSE) >= DAY_MS:
        return 0
    return int(stamps[at])
