"""Keeps listening to an account: the order stream under a limit where there is one, questions at a pace of their own.

A silent stream proves nothing: after each silence the account is asked, and a stream that should have told what the
answer tells is made anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskStatus

from avwapd.config.sections import VenueSettings
from avwapd.ports import Clock
from avwapd.remote.calls import NoAnswer, Rejected, Shut, joined
from avwapd.remote.ccxt import Exchange
from avwapd.venues.ccxt_ears import Ears
from avwapd.venues.ccxt_words import Unreadable

log = logging.getLogger("avwapd.venues.ccxt")

# Market seconds between questions: something should move soon; only stops rest; nothing is open. Wall seconds at least.
HOT_S, COLD_S, IDLE_S, STREAMED_S = 1.0, 4.0, 30.0, 15.0
LEAST_S, STREAMED_LEAST_S = 0.05, 0.5
HOT_FOR_S = 10.0
SILENCE_S = 30.0  # market seconds; then the account is asked whether the stream should have spoken
SILENCE_LEAST_S, LATE_LEAST_S = 2.0, 0.5
LOGIN_S = 10.0
LONGEST_BACKOFF_S = 30.0
MET = (NoAnswer, Shut, Rejected)


class Listener:
    """`jitter`: 0 to 1, spreads reconnects."""

    def __init__(
        self, ears: Ears, exchange: Exchange, clock: Clock, settings: VenueSettings, *, jitter: Callable[[], float]
    ) -> None:
        self.since_ms = 0
        self._up = False
        self._spoken = 0  # the newest word when the stream last said anything
        self._ears = ears
        self._exchange = exchange
        self._clock = clock
        self._speed = settings.speed
        self._reconnects_minute = settings.reconnects_minute
        self._jitter = jitter
        self._bell = anyio.Event()
        self._hot_until = 0.0

    @property
    def stream(self) -> str:
        """up | down; an exchange without a stream is polled, which counts as up once an answer came."""
        return "up" if self._up else "down"

    def poke(self) -> None:
        """Something was sent or is in doubt: ask soon."""
        self._hot_until = self._clock.monotonic() + HOT_FOR_S / self._speed
        self._bell.set()

    async def run(self, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as group:
            task_status.started()
            if self._exchange.row.login:
                group.start_soon(self._watch)
            await self._ask_on()

    # ---------------------------------------------------------------------------------------------------- polling

    async def _ask_on(self) -> None:
        everything = True
        while True:
            self._bell = anyio.Event()
            rest_s = 0.0
            try:
                await self._ears.poll(everything=everything)
                everything = False
                if not self._exchange.row.login:
                    self._went_up()
            except Shut as shut:
                rest_s = min(shut.retry_s, LONGEST_BACKOFF_S)
                self._ears.counts["questions_unanswered"] += 1
            except MET as error:
                rest_s = 0.5
                self._ears.counts["questions_unanswered"] += 1
                if not self._exchange.row.login:
                    self._went_down(str(error))
            if rest_s:
                await self._clock.sleep(rest_s)
                continue
            pause_s, least_s = self._pause()
            with anyio.move_on_after(max(pause_s / self._speed, least_s)):
                await self._bell.wait()
                await self._clock.sleep(least_s)

    def _pause(self) -> tuple[float, float]:
        """(market seconds, least wall seconds) until the next question."""
        hearing = self._ears.hearing
        orders = hearing.open()
        if hearing.behind:
            return HOT_S, LEAST_S
        if self._exchange.row.login and self._up:
            return (STREAMED_S if orders else IDLE_S), STREAMED_LEAST_S
        if self._clock.monotonic() < self._hot_until or any(not self._ears.is_stop(order.cid) for order in orders):
            return HOT_S, LEAST_S
        return (COLD_S if orders else IDLE_S), LEAST_S

    # --------------------------------------------------------------------------------------------------- watching

    async def _watch(self) -> None:
        """Connect, log in, listen; after each end again, later and later, at most so often a minute."""
        failures = 0
        while True:
            try:
                await self._connect()
                failures = 0
                await self._listen()
            except MET as error:
                self._went_down(str(error))
            except Exception as error:  # noqa: BLE001 - ccxt raises whatever a frame makes it stumble over
                self._went_down(joined(type(error).__name__, str(error)))
            await self._hang_up()
            failures += 1
            self._ears.counts["reconnects"] += 1
            wait_s = min(LONGEST_BACKOFF_S, 60 / self._reconnects_minute * 2 ** min(failures - 1, 5))
            await self._clock.sleep(wait_s * (0.5 + self._jitter() / 2))

    async def _connect(self) -> None:
        with anyio.move_on_after(LOGIN_S) as scope:
            await getattr(self._exchange.api, self._exchange.row.login)()
        if scope.cancelled_caught:
            raise NoAnswer("the order stream did not take the login")
        self._went_up()
        await self._ears.poll(everything=True)  # nothing is replayed

    async def _listen(self) -> None:
        """Between a watch and the next nothing is awaited: an update that nobody awaits would be told with the next."""
        silence_s = max(SILENCE_S / self._speed, SILENCE_LEAST_S)
        while True:
            self._spoken = self._ears.hearing.last
            while not await self._event(silence_s):
                await self._ears.poll(everything=True)
                # What the account shows and the stream did not tell may be on its way.
                if self._ears.hearing.last > self._spoken and not await self._event(LATE_LEAST_S):
                    self._ears.counts["mute_streams"] += 1
                    raise NoAnswer("the order stream is silent about what the account shows")

    async def _event(self, limit_s: float) -> bool:
        """Hear the next update; False where there was none in this time."""
        orders: Any = None
        with anyio.move_on_after(limit_s):
            orders = await self._exchange.api.watch_orders()
        if orders is None:
            return False
        for raw in orders:
            self._take(raw)
        self._spoken = self._ears.hearing.last
        return True

    def _take(self, raw: Any) -> None:
        reader = self._ears.account.reader
        try:
            seen = reader.order(raw)
            executed = reader.execution(raw.get("info"))
        except Unreadable as error:
            self._ears.counts["unreadable_events"] += 1
            log.warning("an order event that cannot be read: %s", error)
            self._bell.set()
            return
        if executed is not None and executed[0] == seen.cid and self._ears.hearing.order(seen.cid) is not None:
            self._ears.learn(seen)
            self._ears.trade(executed[1])
        self._ears.order(seen)
        if self._ears.hearing.behind:
            self._bell.set()

    async def _hang_up(self) -> None:
        """ccxt keeps a half-made login for a whole one: the connection goes, and with it what it remembers."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(2.0):
            await self._exchange.api.close_ws_clients()

    def _went_up(self) -> None:
        if not self._up:
            self._up, self.since_ms = True, self._clock.now_ms()

    def _went_down(self, why: str) -> None:
        if self._up:
            log.warning("%s: the private stream is down: %s", self._exchange.row.name, why)
            self._up, self.since_ms = False, self._clock.now_ms()
