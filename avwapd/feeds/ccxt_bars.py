"""Bars of an exchange through ccxt: candles by REST page by page, at binance also by websocket; instruments.

ccxt names a candle by its start, we by its close. The newest one of an answer is still forming: it is used only once a
later one stands behind it or the exchange's clock was past its end before it was asked for. Our own clock proves
nothing: it may run ahead, and it goes on while an answer is on its way.
ccxt drops the mark of a closed candle from the stream's events, so it is read before ccxt sees them; a bar without that
mark is left to REST.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskStatus

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.config.sections import Config
from avwapd.feeds import FeedError
from avwapd.feeds.live import FeedDoubt, Put, Rows, rows_of
from avwapd.feeds.market import Market
from avwapd.ports import Clock
from avwapd.remote.budget import Budget
from avwapd.remote.calls import NoAnswer, Rejected, Shut, joined, shortened
from avwapd.remote.ccxt import QUESTION, Exchange, data_access_of
from avwapd.remote.ccxt_client import Access
from avwapd.remote.ccxt_table import row_of
from avwapd.remote.credentials import Credentials
from avwapd.remote.terms import plain

log = logging.getLogger("avwapd.feed")

SURE_MS = 250  # market time behind a candle's end from which it counts as closed without a later one
SKEW_EVERY_S = 300.0  # also the longest that a reading of the exchange's clock is believed
AT_ONCE = 4
SILENT_BARS, SILENT_LEAST_S = 3, 10.0  # a stream without any event for so long is given up
TICK_SIZE, DECIMAL_PLACES = 4, 2  # ccxt's precisionMode
MET = (NoAnswer, Shut, Rejected)
Bar = tuple[int, int, float, float, float, float, float]
T = TypeVar("T")


class CcxtBars:
    """symbols: of the market, in its order, named "BTC-USD". kind: stream | rest; `streamed` says what it is.

    budget: shared with whoever else asks this exchange; draw: a number in [0, 1), for jitter. Used inside one running
    loop; `close` when done.
    """

    def __init__(
        self,
        access: Access,
        symbols: Sequence[str],
        timeframe: str,
        clock: Clock,
        *,
        kind: str = "stream",
        limit_s: float = 5.0,
        speed: float = 1.0,
        reconnects_minute: int = 10,
        budget: Budget | None = None,
        draw: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.symbols = tuple(symbols)
        self.timeframe = timeframe
        self.counts: Counter[str] = Counter()
        self._access = access
        self._clock = clock
        self._kind = kind
        self._limit_s = limit_s
        self._speed = speed
        self._reconnects_minute = reconnects_minute
        self._budget = budget
        self._draw = draw
        self._timeframe_ms = TIMEFRAME_MS[timeframe]
        self._index = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._wires = {symbol: wire_of(symbol) for symbol in self.symbols}
        self._exchange: Exchange | None = None
        self._opening = anyio.Lock()
        self._skew_ms = 0
        self._skewed_at = 0.0
        self._over_ms, self._read_at = 0, 0.0
        self._put: Put | None = None
        self._scope: anyio.CancelScope | None = None
        self._up = False
        self._connects = 0
        self._since_ms = clock.now_ms()
        self.row = row_of(access.name)
        self.streamed = kind == "stream" and self.row.candles_stream

    async def close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.close()

    # ------------------------------------------------------------------------------------------------- history

    @property
    def reach_ms(self) -> int | None:
        """The earliest close that can be asked for; None where history goes back to the listing."""
        if self.row.candles_deep:
            return None
        now_ms = self._clock.now_ms()
        return now_ms - now_ms % self._timeframe_ms - (self.row.candles - 2) * self._timeframe_ms

    async def history(
        self, symbols: Sequence[str], first_ms: int, last_ms: int, *, limit_s: float | None = None
    ) -> Rows:
        """BAR rows with first_ms <= ts_ms <= last_ms, of closed candles only, sorted by (ts_ms, symbol).

        limit_s: wall seconds of one question, else the feed's own. Raises FeedDoubt, also where history does not reach
        back so far: an empty answer means that there was no trade.
        """
        known = [symbol for symbol in symbols if symbol in self._index]
        if not known or last_ms < first_ms:
            return rows_of([])
        reach_ms = self.reach_ms
        if reach_ms is not None and first_ms < reach_ms:
            raise FeedDoubt(f"{self.row.name} has the last {self.row.candles} candles and no older ones")
        exchange = await self._ready()
        await self.over_ms(last_ms)
        found: list[Bar] = []
        doubts: list[FeedDoubt] = []
        room = anyio.CapacityLimiter(AT_ONCE)

        async def one(symbol: str, scope: anyio.CancelScope) -> None:
            async with room:
                try:
                    found.extend(await self._candles(exchange, symbol, first_ms, last_ms, limit_s))
                except FeedDoubt as doubt:
                    doubts.append(doubt)
                    scope.cancel()

        async with anyio.create_task_group() as group:
            for symbol in known:
                group.start_soon(one, symbol, group.cancel_scope)
        if doubts:
            raise doubts[0]
        return rows_of(found)

    async def over_ms(self, ts_ms: int) -> int:
        """As BarSource has it: `SURE_MS` before what the exchange's clock showed."""
        exchange = await self._ready()
        if self._over_ms < ts_ms or self._clock.monotonic() - self._read_at > SKEW_EVERY_S:
            begun = self._clock.monotonic()
            self._over_ms = await self._told(exchange.time_ms()) - SURE_MS
            self._read_at = begun
        return self._over_ms

    async def _candles(
        self, exchange: Exchange, symbol: str, first_ms: int, last_ms: int, limit_s: float | None
    ) -> list[Bar]:
        """Closed candles of one symbol, page by page."""
        step = self._timeframe_ms
        since_ms, last_start_ms = first_ms - step, last_ms - step
        found: dict[int, Bar] = {}
        waited = False
        while since_ms <= last_start_ms:
            over_ms = await self.over_ms(last_ms) if waited else self._over_ms  # as it was before the candles
            raw = await self._ask(
                exchange,
                "fetch_ohlcv",
                self._wires[symbol],
                self.timeframe,
                since_ms,
                self.row.candles,
                limit_s=limit_s,
            )
            if not isinstance(raw, list):
                raise FeedDoubt(f"{self.row.name} candles: an answer of another shape")
            page = [self._candle(symbol, item) for item in raw]
            starts = [bar[0] - step for bar in page]
            if any(later <= earlier for earlier, later in pairwise(starts)):
                raise FeedDoubt(f"{self.row.name} candles: not in the order of time")
            unsure_ms = page[-1][0] - over_ms if page else 0
            if 0 < unsure_ms <= SURE_MS and page[-1][0] <= last_ms:
                if waited:
                    raise FeedDoubt(f"{self.row.name} candles: nobody can tell yet whether the newest has closed")
                waited = True
                await self._clock.sleep((unsure_ms + self.row.clock_ms - 1) / 1000 / self._speed)
                continue
            closed = page if unsure_ms <= 0 else page[:-1]
            found |= {bar[0]: bar for bar in closed if first_ms <= bar[0] <= last_ms}
            newest_ms = max(starts, default=since_ms - step)
            if newest_ms >= last_start_ms or not self.row.candles_deep:
                break
            since_ms = newest_ms + step if newest_ms >= since_ms else since_ms + self.row.candles * step
        return list(found.values())

    def _candle(self, symbol: str, item: Any) -> Bar:
        """Raises FeedDoubt for what is no candle."""
        try:
            start_ms, *values = item
            if not isinstance(start_ms, int) or isinstance(start_ms, bool) or start_ms % self._timeframe_ms:
                raise ValueError("no start of a candle")
            opened, high, low, close, volume = (float(Decimal(str(value))) for value in values[:5])
        except (TypeError, ValueError, InvalidOperation) as error:
            self.counts["unreadable"] += 1
            raise FeedDoubt(f"{self.row.name} candles: one of {symbol} that cannot be read") from error
        return (start_ms + self._timeframe_ms, self._index[symbol], opened, high, low, close, volume)

    # ---------------------------------------------------------------------------------------------- instruments

    async def instruments(self, symbols: Sequence[str]) -> dict[str, Mapping[str, str]]:
        """asset, quote, tick, lot, min_qty, min_notional, calendar of each symbol that the exchange has.

        Raises FeedDoubt.
        """
        exchange = await self._ready()
        markets, mode = exchange.api.markets, exchange.api.precisionMode
        found: dict[str, Mapping[str, str]] = {}
        for symbol in symbols:
            market = markets.get(wire_of(symbol))
            if not isinstance(market, dict) or not market.get("spot"):
                continue
            limits, precision = market.get("limits") or {}, market.get("precision") or {}
            tick, lot = _step(precision.get("price"), mode), _step(precision.get("amount"), mode)
            if not tick or not lot:
                raise FeedDoubt(f"{self.row.name} does not say in which steps {symbol} trades")
            found[symbol] = {
                "asset": "crypto",
                "quote": str(market["quote"]),
                "tick": tick,
                "lot": lot,
                "min_qty": _positive((limits.get("amount") or {}).get("min")) or lot,
                "min_notional": _positive((limits.get("cost") or {}).get("min")) or "0",
                "calendar": "24/7",
            }
        return found

    # -------------------------------------------------------------------------------------------------- stream

    async def run(self, put: Put, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Stream until canceled. Raises FeedDoubt where the stream is lost."""
        task_status.started()
        if not self.streamed:
            await anyio.sleep_forever()
        exchange = await self._ready()
        self._put = put
        pairs = [[wire, self.timeframe] for wire in self._wires.values()]
        silent_s = max(SILENT_BARS * self._timeframe_ms / 1000 / self._speed, SILENT_LEAST_S)
        try:
            while True:
                with anyio.CancelScope() as self._scope:
                    await self._listen(exchange, pairs, silent_s)
                await self._hang_up(exchange)  # `reconnect` was called
                await self._clock.sleep(self._pause_s())
        except MET as error:
            raise FeedDoubt(f"the stream of bars: {error}") from error
        except FeedDoubt:
            raise
        except Exception as error:  # ccxt raises whatever a frame makes it stumble over
            raise FeedDoubt(joined("the stream of bars", joined(type(error).__name__, str(error)))) from error
        finally:
            await self._hang_up(exchange)

    async def _listen(self, exchange: Exchange, pairs: list[list[str]], silent_s: float) -> None:
        while True:
            with anyio.move_on_after(silent_s) as silence:
                await exchange.api.watch_ohlcv_for_symbols(pairs)
            if silence.cancelled_caught:
                raise FeedDoubt(f"the stream of bars brought nothing for {silent_s:g} s")
            if not self._up:
                self._up, self._since_ms = True, self._clock.now_ms()
                self._connects += 1

    def reconnect(self) -> None:
        """Make the stream anew."""
        if self._scope is not None:
            self._scope.cancel()

    async def _hang_up(self, exchange: Exchange) -> None:
        if self._up:
            self._up, self._since_ms = False, self._clock.now_ms()
        with anyio.CancelScope(shield=True), anyio.move_on_after(2.0):
            await exchange.api.close_ws_clients()

    def _pause_s(self) -> float:
        return 60 / self._reconnects_minute * (0.5 + self._draw() / 2)

    def _tapped(self, original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
        """ccxt's handler of candles, and ours before it. It must not raise: that would end the connection unheard."""

        def handle(client: Any, message: Any) -> None:
            try:
                self._event(message)
            except (FeedDoubt, KeyError, TypeError, ValueError):
                self.counts["unreadable"] += 1
            original(client, message)

        return handle

    def _event(self, message: Any) -> None:
        candle = message["k"]
        if candle["x"] is not True or candle["i"] != self.timeframe or self._put is None:
            return
        wire = str(candle["s"])
        symbol = next((s for s, w in self._wires.items() if w.replace("/", "") == wire), None)
        if symbol is not None:
            bar = self._candle(symbol, [candle["t"], candle["o"], candle["h"], candle["l"], candle["c"], candle["v"]])
            self._put(*bar)

    # --------------------------------------------------------------------------------------------------- calls

    async def _ready(self) -> Exchange:
        """The exchange with its markets loaded, its clock known. Raises FeedDoubt; FeedError for a wrong name."""
        async with self._opening:
            if self._exchange is None:
                self._exchange = await self._opened()
            if self._clock.monotonic() - self._skewed_at > SKEW_EVERY_S:
                self._skewed_at = self._clock.monotonic()
                try:
                    self._skew_ms = await self._exchange.skew_ms()
                except MET:
                    self.counts["clock_unknown"] += 1
            return self._exchange

    async def _opened(self) -> Exchange:
        exchange = Exchange(
            self._access,
            self._clock,
            limit_s=self._limit_s,
            budget=self._budget,
            stream=self.streamed,
            speed=self._speed,
        )
        self._skewed_at = self._clock.monotonic() - 2 * SKEW_EVERY_S
        try:
            if self.timeframe not in (exchange.api.timeframes or {}):
                words = ", ".join(word for word in TIMEFRAME_MS if word in (exchange.api.timeframes or {}))
                raise FeedError(f"{self.row.name} has no {self.timeframe} bars", "run.timeframe", f"use one of {words}")
            try:
                await exchange.load()
            except MET as error:
                raise doubt(error) from error
            if hasattr(exchange.api, "handle_ohlcv"):
                exchange.api.handle_ohlcv = self._tapped(exchange.api.handle_ohlcv)
        except BaseException:
            await exchange.close()
            raise
        return exchange

    async def _ask(self, exchange: Exchange, method: str, *args: Any, limit_s: float | None = None) -> Any:
        return await self._told(exchange.ask(QUESTION, method, *args, limit_s=limit_s))

    async def _told(self, answer: Awaitable[T]) -> T:
        """Of the network and of ccxt it raises FeedDoubt alone."""
        try:
            return await answer
        except MET as error:
            self.counts["questions_failed"] += 1
            raise doubt(error) from error

    def facts(self) -> dict[str, Any]:
        """For status."""
        return {
            "venue": self.row.name,
            "stream": ("up" if self._up else "down") if self.streamed else "none",
            "since_ms": self._since_ms,
            "connects": self._connects,
            "skew_ms": self._skew_ms,
            "questions_failed": self.counts["questions_failed"],
            "unreadable": self.counts["unreadable"],
        }


def open_bars(
    config: Config, keys: Credentials, market: Market, clock: Clock, *, chance: Callable[[], float]
) -> CcxtBars:
    """The bars that a configuration means. Nothing is asked yet, and no key is needed for bars."""
    return CcxtBars(
        data_access_of(config),
        market.symbols,
        market.timeframe,
        clock,
        kind=config.feed.kind,
        limit_s=config.feed.ask_limit_ms / 1000,
        speed=config.venue.speed,
        reconnects_minute=config.venue.reconnects_minute,
        draw=chance,
    )


def doubt(error: Exception) -> FeedDoubt:
    return FeedDoubt(shortened(str(error), 300), error.retry_s if isinstance(error, Shut) else 0.0)


def wire_of(symbol: str) -> str:
    """ "BTC-USD" as ccxt has it."""
    return symbol.replace("-", "/")


def _step(value: Any, mode: int) -> str:
    """The smallest step as decimal text, "" where it is not told."""
    if value is None:
        return ""
    try:
        read = Decimal(str(value))
    except InvalidOperation:
        return ""
    if mode == DECIMAL_PLACES:
        return plain(Decimal(1).scaleb(-int(read)))
    return plain(read) if mode == TICK_SIZE and read > 0 else ""


def _positive(value: Any) -> str:
    """A positive number as decimal text, else ""."""
    try:
        read = Decimal(str(value))
    except InvalidOperation:
        return ""
    return plain(read) if read.is_finite() and read > 0 else ""
