"""Faults on purpose: each breaks one promise the way somebody might, and must be found."""

from __future__ import annotations

import time
from typing import Any

from avwapd.actors.router import Router
from avwapd.actors.router_doubt import as_request
from avwapd.store import journal, ledger
from avwapd.store.journal import Journal
from avwapd.venues.client import HttpVenue
from avwapd.venues.port import VenueDoubt, Word


def send_before_commit() -> None:
    """The request leaves first, SENDING is committed when its answer is there."""

    async def send(self: Any, symbol: int, intent: int) -> None:
        row = await self._desk._writer.submit(lambda conn: ledger.request(conn, symbol, intent))
        await self.venue.send(as_request(row))
        await (await self._desk.sending(symbol, intent)).wait()

    Router._send = send  # type: ignore[method-assign]


def id_from_the_clock() -> None:
    """Order ids that the decision does not give."""
    derive = journal.client_id

    def client_id(account: str, strategy: str, symbol: str, ts_ms: int, purpose: str, intent: int) -> str:
        return derive(account, strategy, symbol, ts_ms + time.time_ns(), purpose, intent)

    journal.client_id = client_id


def fill_not_deduplicated() -> None:
    """Every word counts as new, also one that came before: what is filled is added up from the parts."""
    booked: dict[str, int] = {}

    async def words(self: Any, after: int) -> list[Any]:
        answer = await self._ask("GET", f"/words?after={after}")
        return [Word(**item) for item in answer["words"]]

    def word(self: Any, word: Any) -> Any:
        fields = {name: getattr(word, name) for name in journal.WORD_FIELDS}
        if word.kind == "filled":
            booked[word.cid] = booked.get(word.cid, 0) + word.last_qty
            fields["cum_qty"] = booked[word.cid]
            fields["exec_id"] = f"{word.exec_id}/{booked[word.cid]}"
        return self._report(fields, journal.json.dumps(fields))

    HttpVenue.words = words  # type: ignore[method-assign]
    Journal.word = word  # type: ignore[method-assign]


def blind_repost() -> None:
    """What was not answered is simply posted again."""
    post = HttpVenue.send

    async def send(self: Any, request: Any) -> None:
        try:
            await post(self, request)
        except VenueDoubt:
            await post(self, request)

    HttpVenue.send = send  # type: ignore[method-assign]
