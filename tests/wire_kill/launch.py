"""`avwapd run` at a venue across a socket, except that it may die at a chosen moment, or carry a planted fault.

python -m tests.wire_kill.launch '{"kill": "sending", "nth": 3}' run --config …

The kill is SIGKILL to this process: no handler, no `finally`, no flush.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from itertools import count
from typing import Any

from avwapd import cli
from avwapd.actors.live import LiveBars
from avwapd.actors.router import Router
from avwapd.core.codes import BAR_LATE
from avwapd.remote import session
from avwapd.store import ledger
from avwapd.venues.alpaca import AlpacaVenue
from avwapd.venues.alpaca_ear import Ear
from avwapd.venues.alpaca_watch import Watch
from tests.crash.launch import after, before, die

POINTS = {
    "new": "a request is committed, its row NEW",
    "sending": "its row is SENDING, no byte has left",
    "bytes": "its bytes are in the socket, no answer was read",
    "patched": "the same, of a replace",
    "deleted": "the same, of a cancel",
    "answered": "the venue has answered, nothing of it is written down",
    "asking": "a request in doubt is about to be looked up",
    "acked": "the venue's ack is committed",
    "partial": "a partial fill is committed",
    "fill": "a fill has come in by the socket, nothing of it is written down",
    "end": "the same, of the end of an order",
    "reading": "the account is being read, to be compared",
    "late": "missed bars are being folded",
    "dropped": "the stream of order updates has just broken",
}


@dataclass(frozen=True)
class Crash:
    """kill: a word of POINTS, at the nth time in this life; plant: a function of this file."""

    kill: str = ""
    nth: int = 1
    plant: str = ""

    def word(self) -> str:
        return json.dumps(asdict(self))


def main() -> int:
    wanted = Crash(**json.loads(sys.argv[1]))
    if wanted.plant:
        PLANTS[wanted.plant]()
    if wanted.kill:
        kill_at(wanted.kill, wanted.nth)
    return cli.main(sys.argv[2:])


def kill_at(point: str, nth: int) -> None:
    """Wrap the function at which the moment comes."""
    calls = count(1)

    def due() -> None:
        if next(calls) == nth:
            die()

    if point == "new":
        Router.claim = unclaimed  # type: ignore[method-assign]
        before(Router, "_send", due)
    elif point == "sending":
        before(AlpacaVenue, "send", due)
    elif point in ("bytes", "patched", "deleted"):
        method = {"bytes": "POST", "patched": "PATCH", "deleted": "DELETE"}[point]
        written(lambda said: due() if said == method else None)
    elif point == "answered":
        after(AlpacaVenue, "send", lambda _: due())
    elif point == "asking":
        before(AlpacaVenue, "look_up", due)
    elif point in ("acked", "partial"):
        told(lambda rows: due() if any(move.state == point.upper() for move in rows.outbox_moves) else None)
    elif point in ("fill", "end"):
        events = ("fill", "partial_fill") if point == "fill" else ("canceled", "replaced", "expired")
        heard(lambda event: due() if event in events else None)
    elif point == "reading":
        before(AlpacaVenue, "books", due)
    elif point == "late":
        folded(lambda bars: due() if (bars["flags"] & BAR_LATE).any() else None)
    elif point == "dropped":
        lost(due)
    else:
        raise ValueError(f"{point} is none of {', '.join(POINTS)}")


async def unclaimed(self: Router, step: Any) -> None:
    """So that the row is NEW for a moment, as it is where the router has other things to do."""


def written(act: Callable[[str], None]) -> None:
    """Once a request's bytes are in the socket, with its method."""
    original = session._Held.request

    def request(self: Any, method: str, *given: Any, **options: Any) -> None:
        original(self, method, *given, **options)
        act(method)

    session._Held.request = request  # type: ignore[method-assign, assignment]


def told(act: Callable[[Any], None]) -> None:
    """With each committed step."""
    original = Router.take

    @wraps(original)
    def take(self: Router, step: Any) -> None:
        act(step)
        original(self, step)

    Router.take = take  # type: ignore[method-assign]


def heard(act: Callable[[str], None]) -> None:
    """With the kind of each order update, before anything is made of it."""
    original = Ear.take_update

    @wraps(original)
    def take_update(self: Ear, message: Any) -> None:
        act(str(message.get("data", {}).get("event")) if isinstance(message, dict) else "")
        original(self, message)

    Ear.take_update = take_update  # type: ignore[method-assign]


def folded(act: Callable[[Any], None]) -> None:
    """With each barrier, before it is folded."""
    original = LiveBars._fold

    @wraps(original)
    async def fold(self: LiveBars, bars: Any) -> None:
        act(bars)
        await original(self, bars)

    LiveBars._fold = fold  # type: ignore[method-assign]


def lost(act: Callable[[], None]) -> None:
    """When a stream that was up is down."""
    original = Watch._stream_down

    @wraps(original)
    def down(self: Watch) -> None:
        if self.is_up:
            act()
        original(self)

    Watch._stream_down = down  # type: ignore[method-assign]


# --------------------------------------------------------------------------------------------------- planted


def nothing_booked() -> None:
    """A start does not tell the venue's adapter which executions are in the books."""
    ledger.exec_ids = lambda conn: []  # type: ignore[assignment]


def nothing_known() -> None:
    """A start forgets the orders of the lives before."""
    ledger.known_orders = lambda conn: []


PLANTS = {plant.__name__: plant for plant in (nothing_booked, nothing_known)}

if __name__ == "__main__":
    sys.exit(main())
