"""What the symbols actor finds in its queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anyio

from avwapd.store.journal import Act, Adjustment
from avwapd.store.watchlist import Watchlist
from avwapd.venues.port import Word


@dataclass(slots=True)
class BarsClosed:
    """One barrier: a BAR array of one ts_ms in symbol order. `folded` is set once the engine's memory has it.

    note: for the journal, how it differs from what the feed brought.
    """

    bars: Any
    note: str = ""
    folded: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class Heard:
    """Words of the venue, in its order."""

    words: list[Word]


@dataclass(slots=True)
class Refused:
    """An order that will not be at the venue, by the router's own knowledge: the engine hears it like a venue's word.

    kind: rejected | expired; state: what the outbox row becomes (REJECTED, DENIED, STALE, EXPIRED).
    """

    cid: str
    kind: str
    state: str
    reason: str


@dataclass(slots=True)
class Acted:
    """An operator's act or the router's freeze; `done` is set once it is durable."""

    act: Act
    done: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class Listed:
    """A list of the scan that was checked; `done` is set once it is durable."""

    watchlist: Watchlist
    done: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class Restated:
    """Splits and dividends (ACTION rows of one session's open); `done` is set once they are durable."""

    actions: Any
    done: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class Adjusted:
    """A position that follows the venue's truth by an explicit row; `done` is set once it is durable."""

    adjustment: Adjustment
    done: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class CaughtUp:
    """The last missed bar has been put before this."""

    done: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class Probe:
    """The heartbeat's question: `done` is set when everything before it is committed and published."""

    body: str
    done: anyio.Event = field(default_factory=anyio.Event)


Mail = BarsClosed | Heard | Refused | Acted | Listed | Restated | Adjusted | CaughtUp | Probe
