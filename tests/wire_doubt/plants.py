"""Mistakes on purpose, where somebody might make them: between the router and the client."""

from __future__ import annotations

from typing import Any

from avwapd.actors.router_doubts import Doubts
from avwapd.venues.port import Request, VenueDoubt, VenueRefused
from tests.wire_doubt.desk import Send

ADD = Doubts.add


def post_again(send: Send) -> Send:
    """What was not answered is posted again at once, without a look."""

    async def sent(request: Request) -> None:
        try:
            await send(request)
        except VenueDoubt:
            await send(request)

    return sent


def silence_is_no(send: Send) -> Send:
    """What was not answered counts as refused."""

    async def sent(request: Request) -> None:
        try:
            await send(request)
        except VenueDoubt as doubt:
            raise VenueRefused(f"no answer: {doubt}") from doubt

    return sent


async def known_is_no(self: Any, row: Any, why: str, *, taken: bool = False, **more: Any) -> None:
    """The refusal of a known id counts as a refusal of the order (in place of Doubts.add)."""
    if taken:
        await self._desk.refuse(row.cid, "rejected", "REJECTED", why)
    else:
        await ADD(self, row, why, **more)
