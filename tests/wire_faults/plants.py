"""Faults in the daemon on purpose, one promise broken by each: the rows of the fault table must find them."""

from __future__ import annotations

from typing import Any

from avwapd.actors.router_doubts import Doubts
from avwapd.venues.alpaca import AlpacaVenue
from avwapd.venues.port import VenueDoubt, VenueRefused, VenueShut


def doubt_is_rejection() -> None:
    """No clear answer to an order is taken for a no."""
    send = AlpacaVenue.send

    async def hasty(self: Any, request: Any) -> None:
        try:
            await send(self, request)
        except VenueShut:
            raise
        except VenueDoubt as doubt:
            raise VenueRefused(f"no answer: {doubt}") from doubt

    AlpacaVenue.send = hasty  # type: ignore[method-assign]


def duplicate_is_rejection() -> None:
    """A second post that is refused is taken for a no."""
    refusal, add = AlpacaVenue._refusal, Doubts.add

    def hasty(self: Any, no: Any) -> Any:
        found = refusal(self, no)
        return VenueRefused(found.reason) if isinstance(found, VenueRefused) else found

    async def believed(self: Any, row: Any, why: str, *, refused: str = "", **more: Any) -> None:
        if refused:
            await self._desk.refuse(row.cid, "rejected", "REJECTED", refused)
        else:
            await add(self, row, why, **more)

    AlpacaVenue._refusal = hasty  # type: ignore[method-assign]
    Doubts.add = believed  # type: ignore[method-assign]


def absent_is_gone() -> None:
    """What a look-up does not find is given up at once."""

    async def hasty(self: Any, key: Any, doubt: Any) -> bool:
        self.by_key.pop(key, None)
        await self._desk.refuse(doubt.row.cid, "expired", "EXPIRED", "not found")
        return True

    Doubts._decide = hasty  # type: ignore[method-assign]


def read_limit_only() -> None:
    """A limit for each read of the socket, none for the whole call."""
    from avwapd.remote.calls import Calls

    run = Calls.run

    async def patient(self: Any, call: Any, limit_s: float) -> Any:
        return await run(self, call, 1_000.0)

    Calls.run = patient  # type: ignore[method-assign]


# ---------------------------------------------------------------------------------------- a venue that is away


def ban_unheeded() -> None:
    """A rate limit's answer changes nothing about the calls after it."""
    from avwapd.remote.budget import Budget

    def ban(self: Any, seconds: float) -> None:
        return None

    Budget.ban = ban  # type: ignore[method-assign]
    keep = Doubts.keep

    async def soon(self: Any, row: Any, why: str, rest_s: float) -> None:
        await keep(self, row, why, 0.0)

    Doubts.keep = soon  # type: ignore[method-assign]


def no_breaker() -> None:
    """Failures in a row are not counted."""
    from avwapd.remote.budget import Breaker

    def failed(self: Any) -> None:
        return None

    Breaker.failed = failed  # type: ignore[method-assign]


def no_right_is_rejection() -> None:
    """Keys that are not taken any more count as a no to each order."""
    send = AlpacaVenue.send

    async def hasty(self: Any, request: Any) -> None:
        try:
            await send(self, request)
        except VenueShut as shut:
            raise VenueRefused(shut.reason) from shut

    AlpacaVenue.send = hasty  # type: ignore[method-assign]


def one_reading() -> None:
    """What one reading of the books says is acted on at once."""
    from avwapd.actors.reconcile import Reconciler

    turn = Reconciler.turn

    async def hasty(self: Any) -> None:
        self._settle_s = 0.0
        await turn(self)

    Reconciler.turn = hasty  # type: ignore[method-assign]


def empty_is_flat() -> None:
    """Positions that cannot be read are none."""
    from avwapd.venues.alpaca_reads import Reads

    told = Reads._told

    async def hasty(self: Any, path: str, query: Any) -> Any:
        try:
            answer = await told(self, path, query)
        except VenueDoubt:
            if path != "/positions":
                raise
            return []
        return answer if path != "/positions" or isinstance(answer, list) else []

    Reads._told = hasty  # type: ignore[method-assign]


def books_unread() -> None:
    """The books are compared once, at the start, and never again."""
    from avwapd.actors.reconcile import Reconciler

    judge = Reconciler._judge

    async def once(self: Any, read: Any) -> None:
        if self._waiting:
            await judge(self, read)

    Reconciler._judge = once  # type: ignore[method-assign]


# -------------------------------------------------------------------------------------------------- the streams


def watchdog_off() -> None:
    """Nobody notices a stream that says nothing."""
    from avwapd.feeds.staleness import Watchdog

    def remake(self: Any, now_s: float) -> bool:
        return False

    Watchdog.remake = remake  # type: ignore[method-assign]


def fills_counted_twice() -> None:
    """A fill that is told twice is two fills."""
    from avwapd.venues.hearing import Hearing

    executed = Hearing.executed

    def counted(self: Any, cid: str, exec_id: str, ts_ms: int, **figures: Any) -> None:
        while exec_id in self._executions:
            exec_id += "+"
        executed(self, cid, exec_id, ts_ms, **figures)

    Hearing.executed = counted  # type: ignore[method-assign]


def no_pace() -> None:
    """A stream that was closed comes back at once, however often."""
    from avwapd.feeds.staleness import Backoff
    from avwapd.remote.alpaca import Pace

    def at_once(self: Any, retries: int = 0) -> float:
        return 0.01

    Pace.delay_s = at_once  # type: ignore[method-assign]
    Backoff.failed = at_once  # type: ignore[method-assign,assignment]


def no_frame_limit() -> None:
    """A frame may be of any size."""
    from avwapd.remote import alpaca

    alpaca.SOCKET["max_size"] = None


# ------------------------------------------------------------------------------------------- fills and last words


def late_fills_dropped() -> None:
    """Nothing is heard about an order that is over."""
    from avwapd.venues.hearing import Hearing

    executed = Hearing.executed

    def deaf(self: Any, cid: str, exec_id: str, ts_ms: int, **figures: Any) -> None:
        order = self._orders.get(cid)
        if order is None or not order.over:
            executed(self, cid, exec_id, ts_ms, **figures)

    Hearing.executed = deaf  # type: ignore[method-assign]


def part_is_whole() -> None:
    """The first fill of an order is taken for all of it."""
    from decimal import Decimal

    from avwapd.venues.hearing import Hearing

    executed = Hearing.executed

    def hasty(self: Any, cid: str, exec_id: str, ts_ms: int, **figures: Any) -> None:
        order = self._orders.get(cid)
        if order is not None and not order.filled:
            figures["qty"] = Decimal(order.qty)
            executed(self, cid, exec_id, ts_ms, **figures)

    Hearing.executed = hasty  # type: ignore[method-assign]


def busts_unheard() -> None:
    """A trade that is taken back is not noticed."""
    from avwapd.venues.alpaca_ear import Ear

    def deaf(self: Any, *heard: Any) -> None:
        return None

    Ear._take_bust = deaf  # type: ignore[method-assign]
    Ear._observe_busts = deaf  # type: ignore[method-assign]


def cancel_is_canceled() -> None:
    """A cancel that was asked for counts as done."""
    from decimal import Decimal

    send = AlpacaVenue.send

    async def hasty(self: Any, request: Any) -> None:
        if request.kind == "cancel":  # before the stream can say anything else
            self._ear.hearing.final(request.ref_cid, "canceled", self._clock.now_ms(), cum_qty=Decimal(0))
        await send(self, request)

    AlpacaVenue.send = hasty  # type: ignore[method-assign]
    late_fills_dropped()


def ends_unheard() -> None:
    """That the venue has ended an order by itself is not noticed."""
    from avwapd.actors.reconcile_acts import Consequences
    from avwapd.venues.hearing import Hearing

    final = Hearing.final

    def deaf(self: Any, cid: str, kind: str, ts_ms: int, **figures: Any) -> None:
        if kind not in ("rejected", "expired"):
            final(self, cid, kind, ts_ms, **figures)

    async def blind(self: Any, each: Any) -> bool:
        return True

    Hearing.final = deaf  # type: ignore[method-assign]
    Consequences._act_on_missing = blind  # type: ignore[method-assign]


def silent_is_left() -> None:
    """A symbol that does not trade is left at market, whatever its stop does."""
    from avwapd.actors.live import LiveBars
    from avwapd.actors.mail import Acted
    from avwapd.core.codes import ACT_FLATTEN
    from avwapd.store.journal import Act

    fold = LiveBars._fold

    async def hasty(self: Any, bars: Any) -> None:
        await fold(self, bars)
        held = self._symbols.journal.world.states["qty"].nonzero()[0].tolist()
        for symbol in set(held) - set(bars["symbol"].tolist()):
            await self._symbols.put(Acted(Act(ACT_FLATTEN, symbol, False, "live", "no trade in a minute")))

    LiveBars._fold = hasty  # type: ignore[method-assign]


# ----------------------------------------------------------------------------------------------------------- bars


def bars_unchecked() -> None:
    """Whatever comes as a bar is one."""
    from avwapd.feeds import live_barrier

    def fine(*given: Any, **more: Any) -> str:
        return ""

    live_barrier.check_bar = fine


def silence_is_no_trade() -> None:
    """A bar that did not come has no trades."""
    from avwapd.feeds.live_barrier import Assembly

    def never(self: Any, ts_ms: int) -> bool:
        return False

    Assembly._asks_of = never  # type: ignore[method-assign]


def first_bar_stands() -> None:
    """The first bar of a minute is the one, whatever follows it."""
    from avwapd.feeds.live_barrier import Assembly

    def same(*given: Any, **more: Any) -> str:
        return "same"

    Assembly._again = staticmethod(same)  # type: ignore[method-assign,assignment]


def revisions_dropped() -> None:
    """What comes after the decision is forgotten."""
    from avwapd.actors.live import LiveBars

    def forget(self: Any, revision: Any) -> None:
        return None

    LiveBars._on_revision = forget  # type: ignore[method-assign]


def frost_unseen() -> None:
    """Prices that stand still are prices."""
    from avwapd.feeds.live_barrier import Assembly

    def moves(self: Any, barrier: Any) -> bool:
        return False

    Assembly._stuck = moves  # type: ignore[method-assign]
