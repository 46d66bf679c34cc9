"""alpaca-py made to behave: its real clients and streams with our time limits, sizes, strict answers and no retries."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio

from avwapd.ports import Clock
from avwapd.remote import strict
from avwapd.remote.addresses import Addresses
from avwapd.remote.calls import NoAnswer, Rejected, Shut, joined, shortened
from avwapd.remote.credentials import Credentials
from avwapd.remote.session import BoundedSession, retry_after

if TYPE_CHECKING:
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.data.live.stock import StockDataStream
    from alpaca.trading.client import TradingClient
    from alpaca.trading.stream import TradingStream

RATE_LIMIT_S = 3.0  # to wait after a 429 that does not say how long
NO_RIGHT_S = 30.0  # after a 401 or 403
# A 403 of the whole account and not of one order: that was not looked at.
BLOCKED = re.compile(
    r"(account|user|trading)\b.*\b(blocked|suspended|not authorized|disabled|closed)|forbidden|unauthorized"
)
FRAME_BYTES = 1 << 20
STREAM_LIMIT_S = 10.0  # to connect and log in
SOCKET = {
    "ping_interval": 10,
    "ping_timeout": 10,
    "open_timeout": 5,
    "close_timeout": 1,
    "max_queue": 1024,
    "max_size": FRAME_BYTES,
    "compression": None,
}


def trading_client(where: Addresses, keys: Credentials, *, paper: bool, threads: int) -> TradingClient:
    from alpaca.trading.client import TradingClient

    client = TradingClient(
        keys.key.reveal(), keys.secret.reveal(), paper=paper, raw_data=True, url_override=where.trading or None
    )
    return _bounded(client, threads)  # type: ignore[no-any-return]  # it gives back what it got


def history_client(where: Addresses, keys: Credentials, *, threads: int) -> StockHistoricalDataClient:
    from alpaca.data.historical.stock import StockHistoricalDataClient

    client = StockHistoricalDataClient(
        keys.key.reveal(), keys.secret.reveal(), raw_data=True, url_override=where.data or None
    )
    return _bounded(client, threads)  # type: ignore[no-any-return]  # it gives back what it got


def actions_client(where: Addresses, keys: Credentials, *, threads: int) -> CorporateActionsClient:
    from alpaca.data.historical.corporate_actions import CorporateActionsClient

    client = CorporateActionsClient(
        keys.key.reveal(), keys.secret.reveal(), raw_data=True, url_override=where.data or None
    )
    return _bounded(client, threads)  # type: ignore[no-any-return]  # it gives back what it got


def _bounded(client: Any, threads: int) -> Any:
    """No retries (a repeated POST may order twice), and our session."""
    client._retry = 0
    client._session.close()
    client._session = BoundedSession(threads)
    return client


def sorted_error(error: Exception) -> NoAnswer | Shut | Rejected:
    """What an exception of these clients' calls means."""
    from alpaca.common.exceptions import APIError

    if not isinstance(error, APIError):
        return NoAnswer(joined(type(error).__name__, innermost(error)))
    response = error.response
    if response is None:
        return NoAnswer(joined("an error without an answer", str(error)))
    return sort_answer(response.status_code, response.headers, response.content)


def innermost(error: Exception) -> str:
    """What happened, without the names of pools and connections around it."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    said = str(reason or error)
    return said.rpartition("): ")[2] if reason else said


def sort_answer(status: int, headers: Any, content: bytes) -> NoAnswer | Shut | Rejected:
    """What an HTTP answer other than 2xx means. Only the service's own words in its own shape are a clear no."""
    if status in (418, 429):
        return Shut(f"rate limit ({status})", retry_after(headers, RATE_LIMIT_S))
    try:
        body = strict.parse(content)
    except ValueError:
        body = None
    code = body.get("code") if isinstance(body, dict) else None
    message = body.get("message") if isinstance(body, dict) else None
    message = message[:500] if isinstance(message, str) else ""
    if status == 401:
        return Shut(f"unauthorized: {message or 'the keys were not taken'}", NO_RIGHT_S)
    if not 400 <= status < 500:
        return NoAnswer(joined(f"status {status}", message))
    if status == 403 and BLOCKED.search(message.lower()):
        return Shut(f"account_blocked: {shortened(message)}", NO_RIGHT_S)
    if type(code) is int and message:
        return Rejected(status, code, message, body)
    if status == 403:
        return Shut(f"unauthorized: {message or 'forbidden'}", NO_RIGHT_S)
    return NoAnswer(f"status {status} without a code of the service")


# -------------------------------------------------------------------------------------------------------- streams


class Pace:
    """How fast a stream may come back: exponential with jitter, and no more than so many connections a minute."""

    def __init__(self, clock: Clock, chance: Callable[[], float], per_minute: int, most_s: float = 30.0) -> None:
        self.connects = 0
        self.bounded = 0  # times when the bound made the stream wait
        self._clock = clock
        self._chance = chance
        self._room = per_minute
        self._most_s = most_s
        self._times: deque[float] = deque(maxlen=per_minute)

    def connecting(self) -> None:
        self.connects += 1
        self._times.append(self._clock.monotonic())

    def delay_s(self, retries: int) -> float:
        """Before the next try; `retries`: failures in a row, from 1."""
        delay = min(self._most_s, 0.25 * 2.0 ** min(retries - 1, 16)) * (0.5 + 0.5 * self._chance())
        if len(self._times) == self._room:
            bound = self._times[0] + 60.0 - self._clock.monotonic()
            if bound > delay:
                self.bounded += 1
                return bound
        return delay


Told = Callable[[], None]


def trading_stream(
    where: Addresses,
    keys: Credentials,
    handler: Callable[[Any], Awaitable[None]],
    *,
    paper: bool,
    pace: Pace,
    up: Told,
    down: Told,
) -> TradingStream:
    """The stream of order updates, subscribed; run it with `run_stream`. `handler` must not wait, nor raise."""
    from alpaca.trading.stream import TradingStream

    class Stream(_paced(TradingStream)):  # type: ignore[misc]  # a class made at run time
        pass

    stream = Stream(
        keys.key.reveal(),
        keys.secret.reveal(),
        paper=paper,
        raw_data=True,
        url_override=where.trading_stream or None,
        websocket_params=dict(SOCKET),
    )
    stream.watched_by(pace, up, down)
    stream.subscribe_trade_updates(handler)
    return stream


def data_stream(
    where: Addresses,
    keys: Credentials,
    *,
    plan: str,
    symbols: list[str],
    bars: Callable[[Any], Awaitable[None]],
    updated: Callable[[Any], Awaitable[None]] | None,
    daily: bool,
    data_timeout_s: float | None,
    pace: Pace,
    up: Told,
    down: Told,
) -> StockDataStream:
    """The stream of bars, subscribed; run it with `run_stream`. Handlers get raw messages; they must not wait."""
    from alpaca.data.enums import DataFeed
    from alpaca.data.live.stock import StockDataStream

    class Stream(_paced(StockDataStream)):  # type: ignore[misc]  # a class made at run time
        pass

    stream = Stream(
        keys.key.reveal(),
        keys.secret.reveal(),
        raw_data=True,
        feed=DataFeed(plan),
        url_override=where.data_stream or None,
        websocket_params=dict(SOCKET),
        data_timeout=data_timeout_s,
    )
    stream.watched_by(pace, up, down)
    (stream.subscribe_daily_bars if daily else stream.subscribe_bars)(bars, *symbols)
    if updated is not None:
        stream.subscribe_updated_bars(updated, *symbols)
    return stream


def _paced(base: type) -> type:
    """One of alpaca-py's streams, with limits on logging in, our back-off, and word of its ups and downs."""

    class Paced(base):  # type: ignore[misc]  # either stream of alpaca-py
        def watched_by(self, pace: Pace, up: Told, down: Told) -> None:
            self._pace, self._up, self._down, self._is_up = pace, up, down, False

        def _reconnect_delay(self, retries: int) -> float:
            return float(self._pace.delay_s(retries))

        async def _start_ws(self) -> None:
            self._pace.connecting()
            with anyio.fail_after(STREAM_LIMIT_S):
                await super()._start_ws()

        async def _dispatch(self, msg: Any) -> None:
            # Up only with the server's word: of what happens before the subscription stands, nothing is heard.
            if not self._is_up and isinstance(msg, dict) and _confirms(msg):
                self._is_up = True
                self._up()
            await super()._dispatch(msg)

        async def close(self) -> None:
            if self._is_up:
                self._is_up = False
                self._down()
            await super().close()

    return Paced


def _confirms(message: dict[str, Any]) -> bool:
    """The server's word that the subscription stands: of bars, of order updates."""
    if message.get("T") == "subscription":
        return True
    data = message.get("data")
    return message.get("stream") == "listening" and isinstance(data, dict) and bool(data.get("streams"))


async def run_stream(stream: Any) -> None:
    """Keep a stream going until canceled; returns where it gave up. Its socket is closed in any case."""
    try:
        await stream._run_forever()
    finally:
        with anyio.move_on_after(2, shield=True):
            await stream.close()
