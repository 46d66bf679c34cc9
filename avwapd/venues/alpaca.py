"""Alpaca as a venue: orders by REST, words from the stream of order updates and, where that is mute, by REST."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus

from avwapd.config.modes import account_mode
from avwapd.config.sections import Config
from avwapd.ports import Clock
from avwapd.remote import alpaca as remote
from avwapd.remote.addresses import PAPER, Addresses, alpaca_addresses
from avwapd.remote.budget import Breaker, budget_of
from avwapd.remote.calls import Calls, NoAnswer, Rejected, Shut
from avwapd.remote.credentials import Credentials, load
from avwapd.remote.line import Line
from avwapd.remote.terms import Terms
from avwapd.venues import alpaca_words as words
from avwapd.venues.alpaca_busts import Bust
from avwapd.venues.alpaca_ear import Ear
from avwapd.venues.alpaca_reads import Reads
from avwapd.venues.alpaca_watch import Watch
from avwapd.venues.alpaca_words import Misshapen
from avwapd.venues.port import (
    KILLED,
    Books,
    KnownOrder,
    Request,
    VenueDoubt,
    VenueOrder,
    VenueRefused,
    VenueShut,
    Word,
)

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient

__all__ = ["AlpacaVenue", "Bust", "alpaca_venue"]


def alpaca_venue(
    config: Config,
    terms: Mapping[str, Terms],
    clock: Clock,
    *,
    ours: Callable[[str], bool],
    chance: Callable[[], float],
    environment: Mapping[str, str] | None = None,
    refuses_duplicates: bool = True,
) -> AlpacaVenue:
    """The configured account; asks no network. Raises ConfigError where keys or addresses do not fit.

    terms: by our symbol; ours: whether a client order id is this program's; chance: 0 to 1, for jitter.
    """
    keys = load(config, environment)
    where = alpaca_addresses(account_mode(config), config.venue, config.feed.plan, keys.address)
    return AlpacaVenue(
        config, where, keys, terms, clock, ours=ours, chance=chance, refuses_duplicates=refuses_duplicates
    )


class AlpacaVenue:
    """RemoteVenue. See also `on_bust` and `busts`: trades that the venue takes back."""

    can_look_up = True

    def __init__(
        self,
        config: Config,
        where: Addresses,
        keys: Credentials,
        terms: Mapping[str, Terms],
        clock: Clock,
        *,
        ours: Callable[[str], bool],
        chance: Callable[[], float],
        refuses_duplicates: bool = True,
    ) -> None:
        settings = config.venue
        paper = account_mode(config) == PAPER
        self.refuses_duplicates = refuses_duplicates
        self.counts: Counter[str] = Counter()
        self.stopped: Callable[[], bool] = lambda: False  # nothing that opens may leave
        self._terms = terms
        self._clock = clock
        self._client: TradingClient = remote.trading_client(where, keys, paper=paper, threads=settings.threads)
        self._calls = Calls("alpaca", settings.threads, clock)
        self.line = Line(
            self._calls,
            budget_of(settings, clock, simulated=where.simulated),
            Breaker(settings.breaker_failures, settings.breaker_rest_ms / 1000, clock),
            clock,
            sort=remote.sorted_error,
            limit_s=config.order.answer_limit_ms / 1000,
        )
        self._reads = Reads(self._client, self.line, terms, clock, ours)
        pace = remote.Pace(clock, chance, settings.reconnects_minute)
        self.watch = Watch(
            self._reads,
            pace,
            clock,
            lambda look: Ear(terms, self._reads.ours_of, ours, clock, look),
            lambda hear, up, down: remote.trading_stream(where, keys, hear, paper=paper, pace=pace, up=up, down=down),
        )
        self._ear = self.watch.ear
        self._skew_ms: int | None = None

    @property
    def busts(self) -> Sequence[Bust]:
        """The newest trades that the venue took back, the oldest first."""
        return self._ear.busts

    @property
    def on_bust(self) -> Callable[[Bust], None]:
        """Called with each of them, once."""
        return self._ear.on_bust

    @on_bust.setter
    def on_bust(self, told: Callable[[Bust], None]) -> None:
        self._ear.on_bust = told

    async def look_back(self, symbols: Sequence[str]) -> None:
        """Ask for the newest orders of these symbols, also those that are over: a trade taken back shows there."""
        await self.watch.look_back([self._terms[symbol].wire for symbol in symbols])

    def unsure(self, symbol: str) -> bool:
        """Of an order of the symbol one sight says that a trade was taken back; a second one has to agree."""
        return self._ear.unsure_about(symbol)

    # ------------------------------------------------------------------------------------------------ sending

    def admit(self, kind: str, purpose: str) -> float:
        return self.line.admit("entry" if purpose == "entry" and kind != "cancel" else "exit")

    async def send(self, request: Request) -> None:
        terms = self._terms.get(request.symbol)
        if terms is None:
            raise VenueRefused(f"bad_order: {request.symbol} is no symbol of this run")
        self._ear.hearing.sent(request)
        if request.kind == "submit":
            await self._submit(request, terms)
        elif request.kind == "replace":
            await self._replace(request, terms)
        else:
            await self._cancel(request)
        self._ear.ring()

    async def _submit(self, request: Request, terms: Terms) -> None:
        try:
            answer = await self._asked(partial(self._post, request, words.body_of(request, terms)))
        except Rejected as no:
            raise self._refusal(no) from no
        self._take_answer(request, answer)
        if request.type == "market":
            self.watch.look(request.cid)

    def _post(self, request: Request, body: dict[str, str]) -> Any:
        """In the call's own thread, for which it may have waited: the last look before the bytes."""
        if request.purpose == "entry" and self.stopped():
            raise Rejected(422, 0, KILLED, None)
        return self._client.post("/orders", body)

    async def _replace(self, request: Request, terms: Terms) -> None:
        venue_id = await self._id_of(request.ref_cid)
        change = words.change_of(request, terms)
        try:
            answer = await self._asked(partial(self._client.patch, f"/orders/{venue_id}", change))
        except Rejected as no:
            self.watch.look(request.ref_cid)
            if no.status == 404:
                await self._missing(request, no)
            raise self._refusal(no) from no
        self._take_answer(request, answer)
        if self._ear.hearing.waiting(request.ref_cid) is not None:
            self.watch.look(request.cid)

    async def _cancel(self, request: Request) -> None:
        venue_id = await self._id_of(request.ref_cid)
        try:
            await self._asked(partial(self._client.delete, f"/orders/{venue_id}"))
        except Rejected as no:
            if no.status == 404:
                await self._missing(request, no)
            elif no.status != 422:
                raise self._refusal(no) from no
            # Most likely it is over: its last word is asked for.
            self.counts["cancels_refused"] += 1
            self._ear.hearing.cancel_refused(request.ref_cid, self._clock.now_ms())
        else:
            self._ear.hearing.cancel_taken(request.ref_cid)
        self.watch.look(request.ref_cid)

    async def _missing(self, request: Request, no: Rejected) -> None:
        """A 404 about an order that we know: believed only where its own id tells how it ended. Raises VenueDoubt."""
        order = await self.watch.look_at(request.ref_cid)
        if order is None or order.status not in words.FINAL:
            raise VenueDoubt(f"the venue has lost sight of {request.ref_cid}: {no.message[:100]}")

    async def cancel_order(self, venue_id: str, symbol: str) -> None:
        try:
            await self._asked(partial(self._client.delete, f"/orders/{venue_id}"))
        except Rejected as no:
            raise VenueRefused(words.reason_of(no)) from no

    async def _id_of(self, cid: str) -> str:
        """The venue's id of an order of ours; asked for where it is not known. Raises VenueDoubt."""
        known = self._ear.id_of(cid)
        if known:
            return known
        order = await self.watch.look_at(cid)
        if order is None:
            raise VenueDoubt(f"the venue does not know {cid} (yet)")
        return order.id

    def _take_answer(self, request: Request, answer: Any) -> None:
        """The answer to a submit or replace must be about that order. Raises VenueDoubt."""
        try:
            order = words.seen(answer)
        except Misshapen as error:
            raise VenueDoubt(f"the answer is no order: {error}") from error
        if order.cid != request.cid:
            raise VenueDoubt(f"the answer is about another order: {order.cid[:60]}")
        self._ear.observe(order)

    def _refusal(self, no: Rejected) -> VenueRefused | VenueDoubt:
        """Only what the venue says in its own words about this order is a refusal."""
        if words.is_duplicate(no):
            self.counts["duplicates"] += 1
            return VenueRefused(words.reason_of(no), duplicate=True)
        if no.status in (400, 403, 422):
            self.counts["refused"] += 1
            return VenueRefused(words.reason_of(no))
        return VenueDoubt(f"status {no.status}: {no.message[:100]}")

    # ------------------------------------------------------------------------------------------------- asking

    async def look_up(self, cid: str) -> VenueOrder | None:
        order = await self.watch.look_at(cid)
        self._ear.ring()
        if order is None:
            return None
        symbol = self._reads.ours_of(order.wire)
        if symbol is None or order.cid != cid:
            raise VenueDoubt(f"the answer is about {order.cid[:60]}, {order.wire[:20]}")
        try:
            return words.venue_order(order, self._terms[symbol])
        except Misshapen as error:
            raise VenueDoubt(str(error)) from error

    async def words(self, after: int) -> list[Word]:
        return self._ear.hearing.after(after)

    async def recheck(self) -> None:
        await self.watch.recheck()

    async def books(self) -> Books:
        return await self._reads.books()

    async def skew_ms(self) -> int:
        self._skew_ms = await self._reads.skew_ms()
        return self._skew_ms

    async def _asked(self, call: Callable[[], Any]) -> Any:
        """An admitted call. Raises Rejected, or the port's VenueDoubt and VenueShut."""
        try:
            return await self.line.ask(call)
        except Shut as shut:
            raise VenueShut(shut.reason, shut.retry_s) from shut
        except NoAnswer as error:
            self.counts["doubts"] += 1
            raise VenueDoubt(str(error)) from error

    # ------------------------------------------------------------------------------------------------ running

    def begin(
        self, cursor: int, known: Sequence[KnownOrder], booked: Collection[str], heard: Callable[[], None]
    ) -> None:
        self._ear.begin(cursor, known, booked, heard)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.watch.listen)
            group.start_soon(self.watch.attend)
            task_status.started()

    async def close(self) -> None:
        self._calls.close()
        self._client._session.close()

    def facts(self) -> dict[str, Any]:
        watch, ear, line = self.watch, self._ear, self.line.facts()
        if line["state"] == "up" and not watch.is_up:
            line["state"] = "degraded"
        return line | {
            "name": "alpaca",
            "stream": "up" if watch.is_up else "down",
            "stream_since_ms": watch.since_ms,
            "last_word_ms": ear.last_word_ms,
            "skew_ms": self._skew_ms,
            "is_open": self._reads.is_open,
            "clock_ms": self._reads.clock_ms,
            "clock_age_s": self._reads.clock_age_s,
            "behind": sorted(ear.hearing.behind),
            "counts": {
                "connects": watch.pace.connects,
                "reconnects": max(0, watch.pace.connects - 1),
                "reconnects_bounded": watch.pace.bounded,
                **self.line.counts,
                **(ear.hearing.counts + ear.counts + watch.counts + self.counts),
            },
        }
