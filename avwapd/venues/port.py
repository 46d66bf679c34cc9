"""The port between the router and a venue: requests out, words back, in whole ticks and lots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


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


class VenueRefused(Exception):
    """A definite refusal: nothing was accepted. `duplicate` is set where the id is already known: look it up."""

    def __init__(self, reason: str, *, duplicate: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.duplicate = duplicate


class Venue(Protocol):
    """What the router needs. Every call has a total deadline and raises VenueDoubt or VenueRefused, nothing else."""

    refuses_duplicates: bool

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


class Market(Protocol):
    """The bar feed's side of a simulated venue: it is told what the market did.

    Between open_bar and close_bar a bar runs: orders placed then act on what is left of it. Both calls are idempotent
    by ts_ms, so that a restarted daemon may tell the same bar again.
    """

    async def open_bar(self, ts_ms: int, bars: Any) -> None:
        """bars: BAR array of one ts_ms; resting orders are matched."""
        ...

    async def close_bar(self, ts_ms: int) -> None: ...
