"""What the daemon needs of the world outside, each as a value or a function: the real one, or a simulated one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from anyio.abc import TaskStatus

from avwapd.actors.kill import unkept
from avwapd.actors.notices import Deliver
from avwapd.feeds.world import Setup
from avwapd.ports import Clock
from avwapd.store.kill_note import KillNote
from avwapd.store.mark import Mark
from avwapd.store.watchlist import Watchlist
from avwapd.venues.port import Market, Venue


class EmbeddedVenue(Venue, Market, Protocol):
    """A venue that is also told what the market did."""


class Server(Protocol):
    """A part that serves until canceled."""

    async def run(self, *, task_status: TaskStatus[None]) -> None: ...


async def nothing_kept(mark: Mark) -> None:
    """A world without files."""


async def nothing_forgotten(now_ms: int) -> int:
    """A world without files."""
    return 0


async def sound() -> str:
    """Of a ledger that nobody can look at from outside."""
    return ""


@dataclass
class Doors:
    """The world outside, real or simulated."""

    clock: Clock
    open_database: Callable[[], Any]  # coroutine function -> Database
    open_venue: Callable[[Setup], Any]  # coroutine function -> EmbeddedVenue, or RemoteVenue in paper and live
    publish_beat: Callable[[dict[str, Any]], None]
    killed: Callable[[], bool]  # the file KILL_SWITCH exists
    identity: tuple[int, str, str]  # pid, host, boot id
    servers: Callable[[Any], list[Server]] = field(default=lambda daemon: [])  # given the Daemon
    on_ready: Callable[[], None] = field(default=lambda: None)
    on_stop: Callable[[str], None] = field(default=lambda reason: None)
    on_folding: Callable[[int], None] = field(default=lambda inputs: None)  # of a start that folds a long journal
    deliver: Deliver | None = None  # to humans; None: no channel
    clean: Callable[[str], str] = str  # takes secrets out of what is written
    measure: Callable[[], dict[str, Any]] = field(
        default=dict
    )  # the ledger's file: path, sizes, what is free beside it
    read_watchlist: Callable[[], Watchlist | None] = field(default=lambda: None)  # raises WatchlistRefused
    read_known: Callable[[], Any] | None = None  # coroutine function -> feeds.standing.Known, before each live session
    kill_forced: str = ""  # why the kill switch is closed whatever the file
    keep_kill: Callable[[bool, str, str], Awaitable[bool]] = unkept  # writes or removes KILL_SWITCH
    read_kill: Callable[[], KillNote | None] = field(default=lambda: None)
    live_keys: Callable[[str | None], list[str]] = field(default=lambda typed: ["this process was given no keys"])
    integrity: Callable[[], Awaitable[str]] = sound  # what is wrong with the ledger's file
    open_feed: Callable[[Setup], Any] | None = None  # -> LiveFeed; only where bars come across a network
    chance: Callable[[], float] = field(default=lambda: 0.5)  # in [0, 1): jitter of what is tried again
    read_mark: Callable[[], Mark | None] = field(default=lambda: None)
    keep_mark: Callable[[Mark], Awaitable[None]] = nothing_kept
    forget_files: Callable[[int], Awaitable[int]] = nothing_forgotten  # given the time: daily files that are over
    note_lost: Callable[[int], None] = field(default=lambda until_ms: None)  # a commit failed; bars up to there
    lost_ms: int = 0  # what the last process noted so
    no_room: str = ""  # why the disk has no room to open anything, "" where it has
