"""The exchange inside the process. File and commits stay its own: a kill tears them from the ledger for real."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from avwapd.venues.book import Exchange
from avwapd.venues.port import Request, VenueDoubt, VenueOrder, Word

T = TypeVar("T")


class EmbeddedVenue:
    """Venue and Market over an Exchange. A call is a transaction of well under a millisecond, so there is no thread."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.refuses_duplicates = exchange.refuses_duplicates

    def admit(self, kind: str, purpose: str) -> float:
        return 0.0

    async def send(self, request: Request) -> None:
        _asked(lambda: self.exchange.take(request))

    async def look_up(self, cid: str) -> VenueOrder | None:
        return _asked(lambda: self.exchange.look_up(cid))

    async def words(self, after: int) -> list[Word]:
        return _asked(lambda: self.exchange.words(after))

    async def open_bar(self, ts_ms: int, bars: Any) -> None:
        _asked(lambda: self.exchange.open_bar(ts_ms, bars))

    async def close_bar(self, ts_ms: int) -> None:
        _asked(lambda: self.exchange.close_bar(ts_ms))

    async def close(self) -> None:
        self.exchange.close()


def _asked(work: Callable[[], T]) -> T:
    """A disk that fails the exchange leaves the caller in doubt, as any venue's trouble does."""
    try:
        return work()
    except sqlite3.Error as error:
        raise VenueDoubt(f"the exchange's file: {error}") from error
