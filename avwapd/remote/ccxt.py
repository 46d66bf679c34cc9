"""Calls to a ccxt exchange: one deadline each, no retries, answers checked before belief, errors sorted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel

from avwapd.config.modes import account_mode
from avwapd.config.sections import Config
from avwapd.ports import Clock
from avwapd.remote.addresses import PAPER
from avwapd.remote.budget import Breaker, Budget
from avwapd.remote.calls import NoAnswer, Rejected, Shut, assert_prompt
from avwapd.remote.ccxt_client import SEEN, Access, Unusable, made
from avwapd.remote.ccxt_errors import Seen, sort
from avwapd.remote.ccxt_table import Row, row_of
from avwapd.remote.credentials import Credentials, is_loopback

LONGEST_QUEUE_S = 2.0  # a question waits so long for its turn in the budget, then gives up
SOON_S = 5.0
NONCE_STEP, NONCE_MOST = 1_000, 3_600_000
LISTS = frozenset(("fetch_balance", "fetch_closed_orders", "fetch_my_trades", "fetch_ohlcv", "fetch_open_orders"))
SIMULATED_SECRET = "c2ltdWxhdGVk"  # some sign with base64
QUESTION, SENDING = "question", "sending"


def access_of(config: Config, keys: Credentials) -> Access:
    """The account that a configuration means; paper without an address is the exchange's own test site."""
    venue = config.venue
    secret = SIMULATED_SECRET if keys.simulated else keys.secret.reveal()
    return Access(
        venue.name,
        venue.address,
        venue.stream_address,
        keys.key.reveal(),
        secret,
        keys.password.reveal(),
        sandbox=account_mode(config) == PAPER and not venue.address,
    )


def data_access_of(config: Config) -> Access:
    """Where its bars come from; nothing there needs a key."""
    venue = config.venue
    address = venue.data_address or (venue.address if is_loopback(venue.address) else "")
    sandbox = account_mode(config) == PAPER and not venue.address and not venue.data_address
    return Access(venue.name, address, venue.data_stream_address, sandbox=sandbox)


class Exchange:
    """One ccxt instance. `limit_s`: of a whole call, the wait for its turn included; made inside a running loop.

    Calls raise NoAnswer, Shut or Refused (a Rejected with its kind), nothing else of the network or of ccxt.
    """

    def __init__(
        self,
        access: Access,
        clock: Clock,
        *,
        limit_s: float,
        budget: Budget | None = None,
        breaker: Breaker | None = None,
        stream: bool = False,
        speed: float = 1.0,
        window_ms: int = 10_000,
    ) -> None:
        """stream: with websockets; window_ms: a signed request that arrives later than this is refused."""
        self.row: Row = row_of(access.name)
        self.budget = budget
        self.breaker = breaker
        self.before: Callable[[], Awaitable[None]] | None = None  # run before each call but those of `load`, `skew_ms`
        self._clock = clock
        self._limit_s = limit_s
        self._speed = speed
        self._turn = anyio.Lock()
        self._clock_lost = False  # the exchange found our time wrong
        self._nonce_step = NONCE_STEP
        self._urgent = 0
        self.api = made(access, self.row, clock, stream=stream, limit_s=limit_s, window_ms=window_ms)

    async def close(self) -> None:
        """Sockets and session; must be called on every path."""
        session = self.api.session
        try:
            with anyio.CancelScope(shield=True), anyio.move_on_after(SOON_S):
                await self.api.close()
        finally:
            if session is not None:
                await session.close()

    # ------------------------------------------------------------------------------------------------- calls

    async def ask(
        self,
        kind: str,
        method: str,
        *args: Any,
        limit_s: float | None = None,
        look: Callable[[], None] | None = None,
    ) -> Any:
        """Call a ccxt method. kind: entry | exit | question take a call of the budget; sending had one taken.

        look: asked when its turn has come; raises Rejected where it must not leave any more.
        """
        wait_s = self.shut_for(kind)
        if wait_s:
            raise Shut("the exchange said to keep away", wait_s)
        if self.breaker is not None and kind != SENDING and (rest_s := self.breaker.wait(kind)):
            raise Shut("the breaker is open", rest_s)
        if method not in ("load_markets", "fetch_time"):
            if self.before is not None:
                await self.before()
            if self._clock_lost:
                self._clock_lost = False
                await self.skew_ms()
        seen = Seen()
        before = SEEN.set(seen)
        asked = False  # before that, waiting is our own affair, which says nothing of the exchange
        try:
            with anyio.fail_after(self._limit_s if limit_s is None else limit_s):
                if kind != SENDING:
                    await self._budgeted(kind)
                async with self._in_turn(kind):
                    if look is not None:
                        look()
                    asked = True
                    answer = await getattr(self.api, method)(*args)
                self._whole(method, seen.value, answer)
        except TimeoutError as error:
            if not asked:
                raise Shut("no call came free in time", SOON_S) from error
            raise self._noted(NoAnswer("no whole answer within the limit")) from error
        except (NoAnswer, Shut, Rejected) as error:
            if not asked:
                raise
            raise self._noted(error) from error.__cause__
        except Exception as error:  # ccxt raises whatever an answer makes it stumble over
            sorted_ = sort(error, seen, self.row, self._clock.now_ms(), self._speed)
            if "InvalidNonce" in {kind.__name__ for kind in type(error).__mro__}:
                self._mend_clock()
            raise self._noted(sorted_) from error
        finally:
            SEEN.reset(before)
        if self.breaker is not None:
            self.breaker.worked()
        self._nonce_step = NONCE_STEP
        return answer

    def _whole(self, method: str, value: Any, answer: Any) -> None:
        """ccxt reads a missing list as an empty one; raises NoAnswer."""
        if method not in LISTS:
            return
        path = self.row.paths.get(method, self.row.path)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if method == "fetch_ohlcv" and path and value is not None:
            return
        whole = isinstance(value, list) or (isinstance(value, dict) and (path or (not self.row.shaped and value)))
        if not whole or (method == "fetch_ohlcv" and value and not answer):  # candles that ccxt could not read
            raise NoAnswer(f"{method}: the answer lacks {'.'.join(path) or 'its list'}")

    def shut_for(self, kind: str) -> float:
        """Seconds until the exchange may be spoken to at all: a ban holds for every kind."""
        if self.budget is None:
            return 0.0
        return max(0.0, self.budget.banned_until - self._clock.monotonic())

    async def _budgeted(self, kind: str) -> None:
        if self.budget is None:
            return
        waited = 0.0
        while wait_s := self.budget.take(kind):
            waited += wait_s
            if kind == QUESTION and waited > LONGEST_QUEUE_S:
                raise Shut("the rate budget is used up", wait_s)
            await self._clock.sleep(wait_s)

    @asynccontextmanager
    async def _in_turn(self, kind: str) -> AsyncIterator[None]:
        """Where each call carries a rising nonce, one at a time, and questions behind requests."""
        if not self.row.one_at_a_time:
            yield
            return
        if kind != QUESTION:
            self._urgent += 1
            try:
                await self._turn.acquire()
            finally:
                self._urgent -= 1
        else:
            await self._turn.acquire()
            while self._urgent:
                self._turn.release()
                await anyio.lowlevel.checkpoint()
                await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    def _mend_clock(self) -> None:
        """Look at the exchange's clock before the next call; where nonces must rise, jump, further each time."""
        if self.row.fence == "recv_window":
            self._clock_lost = True
        elif self.row.one_at_a_time:
            last = int(self.api.options.get("lastNonce") or 0)
            self.api.options["lastNonce"] = last + self._nonce_step
            self._nonce_step = min(self._nonce_step * 2, NONCE_MOST)

    def _noted(self, error: NoAnswer | Shut | Rejected) -> NoAnswer | Shut | Rejected:
        if self.breaker is not None:
            if isinstance(error, NoAnswer):
                self.breaker.failed()
            else:
                self.breaker.worked()
        if isinstance(error, Shut) and self.budget is not None and error.retry_s >= 1.0:
            self.budget.ban(error.retry_s)
        return error

    # ----------------------------------------------------------------------------------------------- markets

    async def load(self, symbols: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """The markets by ccxt's name. symbols: ours -> ccxt's, each of which must be there, spot and active.

        Raises Unusable for a symbol that is not, NoAnswer for an answer that cannot be believed.
        """
        markets = await self.ask(QUESTION, "load_markets", limit_s=max(self._limit_s, 30.0))
        if not isinstance(markets, dict) or not markets:
            raise NoAnswer("the exchange lists no markets")
        for ours, wire in (symbols or {}).items():
            market = markets.get(wire)
            where = f"{self.row.name} {wire}"
            if not isinstance(market, dict) or not market.get("spot"):
                raise Unusable(f"{ours} is no spot market there", where, "see [run] symbols and [venue] name")
            if market.get("active") is False:
                raise Unusable(f"{ours} is not traded there now", where, "take it out of [run] symbols")
        return markets

    async def time_ms(self) -> int:
        """What the exchange's clock showed: however long the answer took, it is no earlier there now."""
        there = await self.ask(QUESTION, "fetch_time")
        if not isinstance(there, int) or isinstance(there, bool) or there <= 0:
            raise NoAnswer("the exchange's clock shows no time")
        return there

    async def skew_ms(self) -> int:
        """The exchange's clock less ours, corrected by half the round trip; signed requests follow it from here on."""
        before, begun = self._clock.now_ms(), self._clock.monotonic()
        there = await self.time_ms()
        after = self._clock.now_ms()
        assert_prompt(self._clock.monotonic() - begun)
        skew = there + (self.row.clock_ms - 1) // 2 - (before + after) // 2
        if self.row.fence == "recv_window":
            self.api.options["timeDifference"] = -skew
        return skew
