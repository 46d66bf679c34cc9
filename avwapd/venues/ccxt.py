"""An exchange through ccxt as a venue: orders by our ids, words from what is heard, nothing believed unread.

binance's order stream is watched under a limit and never trusted alone; every other exchange is polled. A replacement
is a cancel, the end of the old order and a new one: sent again after a crash it finds the old one gone and goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping, Sequence
from decimal import Decimal
from typing import Any

import anyio
from anyio.abc import TaskStatus

from avwapd.config.sections import Config, VenueSettings
from avwapd.ports import Clock
from avwapd.remote.budget import Breaker, budget_of
from avwapd.remote.calls import NoAnswer, Rejected, Shut
from avwapd.remote.ccxt import Exchange, access_of
from avwapd.remote.ccxt_client import Unusable
from avwapd.remote.ccxt_errors import Refused
from avwapd.remote.ccxt_table import row_of
from avwapd.remote.credentials import Credentials, is_loopback
from avwapd.remote.terms import Terms, plain
from avwapd.venues.ccxt_account import Account, refusal
from avwapd.venues.ccxt_ears import Ears
from avwapd.venues.ccxt_stream import Listener
from avwapd.venues.ccxt_words import Seen, border
from avwapd.venues.port import Books, KnownOrder, OpenOrder, Request, VenueDoubt, VenueOrder, Word

log = logging.getLogger("avwapd.venues.ccxt")

SEE_CANCEL_TRIES, SEE_CANCEL_S = 6, 0.05  # how often, and after which wait, a canceled order is looked at
UNUSABLE_RETRY_S = 60.0
KINDS = (NoAnswer, Shut, Rejected)


class CcxtVenue:
    """RemoteVenue. ours: whether an order id is of this program; quote: the coin that is money."""

    def __init__(
        self,
        exchange: Exchange,
        terms: Mapping[str, Terms],
        clock: Clock,
        settings: VenueSettings,
        *,
        ours: Callable[[str], bool],
        quote: str,
        jitter: Callable[[], float],
    ) -> None:
        self.exchange = exchange
        self.row = exchange.row
        self.account = Account(exchange, terms, clock, settling_ms=settings.settling_ms)
        self.ears = Ears(self.account, clock, settling_ms=settings.settling_ms)
        self.can_look_up = self.row.can_look_up
        # An id refused only while its order is open still cannot be doubled where a late request is dead by then.
        self.refuses_duplicates = self.row.refuses == "always" or (self.row.refuses == "open" and self.row.fence != "")
        self._terms = terms
        self._clock = clock
        self._ours = ours
        self._quote = quote
        self._skew_ms = 0
        self._since_ms = clock.now_ms()
        self._preparing = anyio.Lock()
        self._prepared = False
        self._listener = Listener(self.ears, exchange, clock, settings, jitter=jitter)

    @property
    def stopped(self) -> Callable[[], bool]:
        return self.account.stopped

    @stopped.setter
    def stopped(self, ask: Callable[[], bool]) -> None:
        self.account.stopped = ask

    async def close(self) -> None:
        await self.exchange.close()

    async def prepare(self) -> None:
        """Markets loaded and compared with our terms, clocks compared. Raises Unusable, NoAnswer, Shut."""
        async with self._preparing:
            if self._prepared:
                return
            markets = await self.exchange.load({symbol: term.wire for symbol, term in self._terms.items()})
            for symbol, term in self._terms.items():
                _fits(self.row.name, symbol, term, markets[term.wire])
            self._skew_ms = await self.exchange.skew_ms()
            self._prepared = True

    async def ready(self) -> None:
        """The same for whoever cannot end the process: what is unusable is shut."""
        if not self._prepared:
            try:
                await self.prepare()
            except Unusable as unusable:
                raise Shut(str(unusable), UNUSABLE_RETRY_S) from unusable

    # ---------------------------------------------------------------------------------------------------- sending

    def admit(self, kind: str, purpose: str) -> float:
        wanted = "entry" if kind == "submit" and purpose == "entry" else "exit"
        budget, breaker = self.exchange.budget, self.exchange.breaker
        wait_s = budget.wait(wanted) if budget else 0.0
        if wait_s == 0.0 and breaker is not None:
            wait_s = breaker.wait(wanted)
        if wait_s == 0.0 and budget is not None:
            wait_s = budget.take(wanted)
        return wait_s

    async def send(self, request: Request) -> None:
        try:
            if request.kind == "cancel":
                await self._cancel(request)
            elif request.kind == "replace":
                await self._replace(request)
            else:
                await self._submit(request)
        except KINDS as error:
            if isinstance(error, NoAnswer):
                self.ears.counts["doubts"] += 1
            elif isinstance(error, Rejected):
                self.ears.counts["refused"] += 1
            raise border(error) from error
        finally:
            self._listener.poke()

    async def _submit(self, request: Request) -> None:
        self.ears.sent(request)
        self.ears.took(request.cid, *await self.account.create(request))

    async def _cancel(self, request: Request) -> None:
        """A cancel that comes too late is refused, and the order's end is heard."""
        cid = request.ref_cid
        try:
            seen = await self._ask_cancel("sending", cid, request.symbol)
        except Refused as refused:
            if refused.kind == "not_found":
                found = await self.ears.find(cid, kind="exit")
                if found is not None and found.state == "live":
                    raise NoAnswer("the venue shows an order for live that it does not find to cancel") from refused
                if found is None:
                    self.ears.cancel_refused(cid)
            else:
                self.ears.cancel_refused(cid)
            raise
        if seen is not None and seen.cid == cid:
            self.ears.order(seen)

    async def _ask_cancel(self, kind: str, cid: str, symbol: str) -> Seen | None:
        venue_id = self.ears.venue_id(cid)
        if not self.row.cancel_id and not venue_id:
            found = await self.ears.find(cid, kind="exit")
            if found is None:
                raise Refused("not_found", 0, 0, f"the venue does not know {cid}", None)
            venue_id = found.venue_id
        return await self.account.cancel(kind, symbol, cid, venue_id, stop=bool(self.ears.is_stop(cid)))

    # -------------------------------------------------------------------------------------------------- replacing

    async def _replace(self, request: Request) -> None:
        """Cancel the old order, be sure of its end, make the new one; told as the port's words ask.

        The old one was filled, if only in part: the new one's size is wrong by now, so it is not made; the machine
        hears that the new one was rejected, then how the old one ended, and asks for what it wants then.
        """
        if request.type == "stop" and not self.row.stop:
            raise refusal(f"no native stop orders at {self.row.name} through ccxt")
        old = request.ref_cid
        self.ears.sent(request)
        seen = await self._gone(old, request.symbol)
        if seen is None:
            raise refusal(f"the venue does not know the order {old} that is to be replaced")
        if seen.filled > 0:
            self.ears.refuse(request.cid)
            self.ears.end(seen)
            return
        try:
            made = await self.account.create(request, kind="exit")
        except Refused as refused:
            if refused.kind == "duplicate":
                raise
            log.warning("%s: the new stop was refused after the old one was canceled: %s", old, refused.message)
            self.ears.refuse(request.cid)
            self.ears.end(seen)
            return
        self.ears.took(request.cid, *made)

    async def _gone(self, cid: str, symbol: str) -> Seen | None:
        """Cancel an order and see how it ended; None where the venue never heard of it. Raises NoAnswer, Shut."""
        seen: Seen | None = None
        try:
            seen = await self._ask_cancel("sending", cid, symbol)
        except Refused as refused:
            if refused.kind != "not_found":
                raise NoAnswer(f"the cancel was refused: {refused.message}") from refused
        for attempt in range(SEE_CANCEL_TRIES):
            if seen is not None and seen.cid == cid and seen.state != "live":
                self.ears.keep(seen)
                self.ears.order(seen)
                return seen
            if attempt:
                await self._clock.sleep(SEE_CANCEL_S * attempt)
            seen = await self.ears.find(cid, kind="exit")
            if seen is None and attempt:
                return None
        raise NoAnswer(f"{cid} is still live after its cancel")

    # ---------------------------------------------------------------------------------------------------- looking

    async def look_up(self, cid: str) -> VenueOrder | None:
        if not self.can_look_up:
            raise VenueDoubt(f"{self.row.name} cannot be asked for an order by our id")
        try:
            seen = await self.ears.find(cid)
        except KINDS as error:
            raise doubt(error) from error
        if seen is None:
            return None
        if seen.symbol not in self._terms:
            raise VenueDoubt(f"the venue has {cid} on {seen.wire}")
        self._listener.poke()
        return seen.as_venue_order(self._terms[seen.symbol])

    async def words(self, after: int) -> list[Word]:
        return self.ears.after(after)

    def begin(
        self, cursor: int, known: Sequence[KnownOrder], booked: Container[str], heard: Callable[[], None]
    ) -> None:
        self.ears.begin(cursor, known, booked, heard)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        await self._listener.run(task_status)

    async def recheck(self) -> None:
        try:
            await self.ears.poll(everything=True)
        except KINDS as error:
            raise doubt(error) from error

    async def books(self) -> Books:
        try:
            shown = await self.account.open_orders()
            totals, free = await self.account.balances()
        except KINDS as error:
            raise doubt(error) from error
        for seen in shown:
            self.ears.order(seen)
        holdings, foreign = self.account.reader.holdings(totals, self._quote)
        return Books(
            read_ms=self._clock.now_ms(),
            cash=plain(totals[self._quote]) if self._quote in totals else "0",
            equity="",
            buying_power=plain(free[self._quote]) if self._quote in free else "",
            holdings=holdings,
            orders=[self._open(seen) for seen in shown],
            foreign=foreign,
        )

    def _open(self, seen: Seen) -> OpenOrder:
        known = self.ears.hearing.order(seen.cid) is not None
        ours = known or (self.row.marked and self._ours(seen.cid))
        return OpenOrder(
            seen.cid,
            seen.venue_id,
            seen.symbol or seen.wire,
            seen.side,
            plain(seen.qty),
            plain(seen.filled),
            seen.type,
            ours,
        )

    async def cancel_order(self, venue_id: str, symbol: str) -> None:
        try:
            await self.account.cancel_foreign(venue_id, symbol)
        except KINDS as error:
            raise border(error) from error

    async def skew_ms(self) -> int:
        try:
            self._skew_ms = await self.exchange.skew_ms()
        except KINDS as error:
            raise doubt(error) from error
        return self._skew_ms

    def facts(self) -> dict[str, Any]:
        budget, breaker = self.exchange.budget, self.exchange.breaker
        shut = self.exchange.shut_for("question") > 0
        stream = self._listener.stream
        open_ = breaker is not None and breaker.open
        return {
            "name": self.row.name,
            "state": "shut" if shut else "degraded" if open_ or stream == "down" else "up",
            "stream": stream,
            "since_ms": self._listener.since_ms or self._since_ms,
            "last_word_ms": self.ears.last_word_ms,
            "skew_ms": self._skew_ms,
            "budget": budget.facts() if budget else {},
            "breaker": "open" if open_ else "closed",
            "counts": dict(self.ears.counts + self.ears.hearing.counts),
            **self.ears.facts(),
        }


def doubt(error: Exception) -> VenueDoubt:
    """Of a question: it was not answered, whatever the reason."""
    mapped = border(error) if isinstance(error, KINDS) else VenueDoubt(str(error))
    return mapped if isinstance(mapped, VenueDoubt) else VenueDoubt(str(mapped))


async def open_ccxt(
    config: Config,
    keys: Credentials,
    terms: Mapping[str, Terms],
    clock: Clock,
    *,
    ours: Callable[[str], bool],
    jitter: Callable[[], float],
) -> CcxtVenue:
    """The account of the modes paper and live. terms: wire is ccxt's name, "BTC/USD"; jitter: 0 to 1, for reconnects.

    Markets are compared with `terms` now where the exchange answers, else before the first call. Raises Unusable
    (what is configured cannot be traded there).
    """
    settings = config.venue
    if not row_of(settings.name).stop:
        raise Unusable(
            f"{settings.name} takes no stop orders through ccxt: nothing would protect a position there",
            "venue.name",
            "take its bars (avwapd bars fetch), and trade where stops are: docs/venues.md has the table",
        )
    exchange = Exchange(
        access_of(config, keys),
        clock,
        limit_s=config.order.answer_limit_ms / 1000,
        budget=budget_of(settings, clock, simulated=is_loopback(settings.address)),
        breaker=Breaker(settings.breaker_failures, settings.breaker_rest_ms / 1000, clock),
        stream=True,
        speed=settings.speed,
        window_ms=min(60_000, max(1_000, settings.settling_ms)),
    )
    try:
        quotes = {term.quote for term in terms.values()}
        quote = quotes.pop() if len(quotes) == 1 else config.equity.currency
        venue = CcxtVenue(exchange, terms, clock, settings, ours=ours, quote=quote, jitter=jitter)
        try:
            await venue.prepare()
        except KINDS as error:
            log.warning("%s does not answer yet: %s", exchange.row.name, error)
    except BaseException:
        await exchange.close()
        raise
    exchange.before = venue.ready
    return venue


def _fits(name: str, symbol: str, terms: Terms, market: Mapping[str, Any]) -> None:
    """ccxt cuts quantities and rounds prices to the market's steps without a word: ours must be whole steps."""
    precision = market.get("precision") or {}
    for what, ours in (("amount", terms.lot), ("price", terms.tick)):
        step = precision.get(what)
        if step is not None and Decimal(step) > 0 and ours % Decimal(step):
            raise Unusable(
                f"{symbol} is counted in steps of {plain(ours)} ({what}), {name} takes {step}",
                terms.wire,
                "import its instrument anew: avwapd bars fetch",
            )
