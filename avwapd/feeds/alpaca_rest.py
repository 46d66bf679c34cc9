"""Questions to Alpaca's data service by its own client: each under one deadline, paged, its answer checked by shape."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from avwapd.feeds.bar_source import FeedDoubt
from avwapd.ports import Clock
from avwapd.remote.addresses import Addresses
from avwapd.remote.alpaca import actions_client, history_client, sorted_error, trading_client
from avwapd.remote.calls import Calls, NoAnswer, Rejected, Shut, joined
from avwapd.remote.credentials import Credentials

T = TypeVar("T")
MOST_PAGES = 10_000


class PageLoop(Exception):
    """The service gives the same page again and again."""


class AlpacaRest:
    """The clients, made when first asked: their library takes a second to load. limit_s: wall seconds of a question."""

    def __init__(
        self, where: Addresses, keys: Credentials, clock: Clock, *, threads: int, limit_s: float, paper: bool = True
    ) -> None:
        self.limit_s = limit_s
        self.asked = 0
        self.failed = 0
        self._where = where
        self._keys = keys
        self._threads = threads
        self._paper = paper
        self._calls = Calls("alpaca-data", threads, clock)
        self._clients: dict[str, Any] = {}
        self._pages = threading.local()
        self._making = threading.Lock()

    async def ask(self, what: str, call: Callable[[Any], T], limit_s: float | None = None) -> T:
        """What `call` makes of the client (history | actions | trading). Of the network it raises FeedDoubt alone."""

        def run() -> T:
            self._pages.seen = set()
            return call(self._client(what))

        self.asked += 1
        try:
            return await self._calls.run(run, limit_s or self.limit_s)
        except (NoAnswer, Shut, Rejected) as known:
            error: Exception = known
        except Exception as unknown:  # noqa: BLE001 - the library stumbles over bad answers in any way
            error = sorted_error(unknown)
        self.failed += 1
        if isinstance(error, Shut):
            raise FeedDoubt(error.reason, error.retry_s) from error
        raise FeedDoubt(joined(f"alpaca {what}", str(error))) from error

    def close(self) -> None:
        self._calls.close()

    def _client(self, what: str) -> Any:
        with self._making:
            if what not in self._clients:
                if what == "history":
                    made: Any = history_client(self._where, self._keys, threads=self._threads)
                elif what == "actions":
                    made = actions_client(self._where, self._keys, threads=self._threads)
                else:
                    made = trading_client(self._where, self._keys, paper=self._paper, threads=self._threads)
                made.get = self._guarded(made.get)
                self._clients[what] = made
        return self._clients[what]

    def _guarded(self, get: Callable[..., Any]) -> Callable[..., Any]:
        """A page token that comes back would keep the client asking for ever."""

        def guarded(path: str, data: Any = None, **more: Any) -> Any:
            token = data.get("page_token") if isinstance(data, dict) else None
            if token is not None:
                if token in self._pages.seen or len(self._pages.seen) >= MOST_PAGES:
                    raise PageLoop(f"page {len(self._pages.seen) + 1} repeats an earlier one")
                self._pages.seen.add(token)
            return get(path, data, **more)

        return guarded


def moment(ts_ms: int) -> datetime:
    return datetime.fromtimestamp(ts_ms / 1000, UTC)


def milliseconds(text: str) -> int:
    """Of an RFC 3339 time with its zone, nanoseconds cut. Raises ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return round(found.timestamp() * 1000)


def number(value: Any) -> float:
    """A JSON number. Raises ValueError; truth values and texts are none."""
    if type(value) not in (int, float):
        raise ValueError(f"{str(value)[:40]} is no number")
    return float(value)


def listed(answer: Any, what: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects, or FeedDoubt."""
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        raise FeedDoubt(f"alpaca {what}: an answer of another shape")
    return answer
