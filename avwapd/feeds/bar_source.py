"""What a live feed asks of the place that its bars come from, and how it waits and asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import numpy as np
from anyio.abc import TaskStatus
from numpy.typing import NDArray

from avwapd.core.records import BAR

Rows = NDArray[np.void]


class FeedDoubt(Exception):
    """Nobody can tell what bars there are: no answer, or none that can be read. retry_s: not to be asked before."""

    def __init__(self, reason: str, retry_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_s = retry_s


class Put(Protocol):
    """Takes one closed bar: its close, its symbol's index, and whether it corrects one that came before."""

    def __call__(
        self,
        ts_ms: int,
        symbol: int,
        opened: float,
        high: float,
        low: float,
        close: float,
        volume: float,
        revised: bool = False,
        /,
    ) -> None: ...


class BarSource(Protocol):
    """Where live bars come from. Symbols are those of the market, and a bar's symbol is the index there."""

    async def history(self, symbols: Sequence[str], first_ms: int, last_ms: int) -> Rows:
        """BAR rows, sorted by (ts_ms, symbol), of every closed bar with first_ms <= ts_ms <= last_ms.

        Raises FeedDoubt; an empty answer means that there was no trade.
        """
        ...

    async def over_ms(self, ts_ms: int) -> int:
        """Up to here every interval is over for the source, by its own clock: it is read anew unless it was past ts_ms.

        What `history` says afterwards of later intervals says nothing: neither a bar nor that there was none. Raises
        FeedDoubt.
        """
        ...

    async def run(self, put: Put, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Stream until canceled; a return or FeedDoubt means that it gave up, and is followed by another `run`."""
        ...

    def facts(self) -> dict[str, Any]:
        """stream (up | down | none), connects, and what else is worth showing."""
        ...

    def reconnect(self) -> None:
        """The stream is mute: make it anew. Returns at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a feed waits and asks. grace_ms: market time; ask_limit_ms: wall time; streamed: False where it is polled."""

    grace_ms: int
    confirm: bool
    stale_bars: int
    ask_limit_ms: int
    reconnects_minute: int
    room: int
    speed: float = 1.0
    streamed: bool = True


def rows_of(found: Sequence[tuple[int, int, float, float, float, float, float]]) -> Rows:
    """BAR rows, sorted by (ts_ms, symbol), of (ts_ms, symbol, open, high, low, close, volume)."""
    return np.array([(ts_ms, symbol, 0, *values) for ts_ms, symbol, *values in sorted(found)], BAR)
