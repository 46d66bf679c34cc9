"""The port between the router and a venue: requests out, words back, in whole ticks and lots."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from anyio.abc import TaskStatus

KILLED = "the kill switch is on"  # an adapter's refusal of what would open


@dataclass(frozen=True, slots=True)
class Request:
    """One outbox row as it goes out. Quantities in lots, prices in ticks, 0 where not used.

    kind: submit | replace | cancel; a replace takes over from the live order `ref_cid`, a cancel names it.
    """

    kind: str
    cid: str
    ref_cid: str
    symbol: str
    purpose: str
    side: int
    type: str
    qty: int
    limit_ticks: int
    stop_ticks: int


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue has it."""

    cid: str
    venue_id: str
    symbol: str
    side: int
    type: str
    qty: int
    limit_ticks: int
    stop_ticks: int
    filled_qty: int
    state: str  # live | filled | canceled | rejected | replaced


@dataclass(frozen=True, slots=True)
class Word:
    """One event of the venue's log, in its order.

    number: position in the log, from 1; kind: a word of codes.REPORTS; exec_id: unique for a fill, "" otherwise; for a
    refused cancel `cid` is the order that could not be canceled; for replaced, `cid` is the new, `ref_cid` the old.
    """

    number: int
    ts_ms: int
    cid: str
    ref_cid: str
    venue_id: str
    kind: str
    exec_id: str
    final: bool
    cum_qty: int
    last_qty: int
    price_ticks: int
    fee_units: int
    fee_lots: int


class VenueDoubt(Exception):
    """The request may or may not have reached the venue (time-out, reset, cut or unreadable answer)."""


class VenueShut(VenueDoubt):
    """Nothing was taken, and nothing will be before `retry_s`: rate limit, ban, revoked key, open breaker.

    Of a question (look_up, words, reads) it says only that there was no answer. No request that meets it is refused:
    it was not looked at.
    """

    def __init__(self, reason: str, retry_s: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_s = retry_s


class VenueRefused(Exception):
    """A definite refusal: nothing was accepted. `duplicate` is set where the id is already known: look it up."""

    def __init__(self, reason: str, *, duplicate: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.duplicate = duplicate


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order as the ledger knows it at a start; state: the outbox row's (see store/schema.sql)."""

    cid: str
    symbol: str
    side: int
    qty: int
    filled_qty: int
    state: str
    venue_id: str


@dataclass(frozen=True, slots=True)
class Holding:
    """What the account holds of one symbol of ours: signed lots; rest: the part of a lot beyond, as decimal text."""

    symbol: str
    qty: int
    rest: str = "0"
    entry_price: float = 0.0


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that rests at the venue, ours or not. symbol: as we call it, else as the venue does."""

    cid: str  # "" where it has none
    venue_id: str
    symbol: str
    side: int
    qty: str  # decimal text, in units of the asset
    filled: str
    type: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Books:
    """One reading of the account: everything that reconciliation compares.

    cash, equity, buying_power: decimal text in the equity currency ("" where the venue has no such figure). foreign:
    what is held outside our symbols, by the venue's name, decimal text.
    """

    read_ms: int
    cash: str
    equity: str
    buying_power: str
    holdings: dict[str, Holding]
    orders: list[OpenOrder]
    foreign: dict[str, str]


class Venue(Protocol):
    """What the router needs. Every call has a total deadline and raises VenueDoubt or VenueRefused, nothing else."""

    refuses_duplicates: bool

    def admit(self, kind: str, purpose: str) -> float:
        """Seconds until a request may leave; at 0.0 one call of the rate budget is taken for it, so send it.

        kind, purpose: of the Request. Cancels, stops and exits have a reserve that entries cannot use up.
        """
        ...

    async def send(self, request: Request) -> None:
        """Returns once the venue has taken the request."""
        ...

    async def look_up(self, cid: str) -> VenueOrder | None:
        """The order by our id; None where the venue does not know it (yet)."""
        ...

    async def words(self, after: int) -> list[Word]:
        """The log's events with number > after, oldest first (at most 1,000)."""
        ...

    async def close(self) -> None: ...


class RemoteVenue(Venue, Protocol):
    """A venue across a network. It has no numbered log of its own: the adapter numbers what it hears, from cursor + 1.

    What was heard and not yet journaled dies with the process; `recheck` hears it again, and cumulative quantities
    and execution ids keep it from counting twice.
    """

    stopped: Callable[[], bool]  # asked once more before the bytes of an entry leave; set from outside
    can_look_up: bool  # False: orders cannot be found by our id; one in doubt halts its symbol

    def begin(
        self, cursor: int, known: Sequence[KnownOrder], booked: Collection[str], heard: Callable[[], None]
    ) -> None:
        """Before `run`: number words from cursor + 1; call `heard` whenever there are new ones.

        booked: the execution ids that the ledger has; they are not counted again.
        """
        ...

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Keep the private stream up until canceled; after each (re)connect a recheck. Never raises of the network."""
        ...

    async def recheck(self) -> None:
        """Ask by REST for every order of ours that is not final and every newer execution; words for what is new."""
        ...

    async def books(self) -> Books:
        """One whole reading, validated by shape; a partial or unreadable answer is VenueDoubt, never an empty book."""
        ...

    async def cancel_order(self, venue_id: str, symbol: str) -> None:
        """Cancel an order that is not ours (policy `flatten`)."""
        ...

    async def skew_ms(self) -> int:
        """The venue's clock less ours (market time), corrected by half the round trip."""
        ...

    def facts(self) -> dict[str, Any]:
        """name, state (up | degraded | shut), stream (up | down), since_ms, last_word_ms, skew_ms, budget {left,
        room, reserve}, breaker, counts {reconnects, doubts, refused, …}."""
        ...


class Market(Protocol):
    """The bar feed's side of a simulated venue: it is told what the market did.

    Between open_bar and close_bar a bar runs: orders placed then act on what is left of it. Both calls are idempotent
    by ts_ms, so that a restarted daemon may tell the same bar again.
    """

    async def open_bar(self, ts_ms: int, bars: Any) -> None:
        """bars: BAR array of one ts_ms; resting orders are matched."""
        ...

    async def close_bar(self, ts_ms: int) -> None: ...
