"""An exchange in a process of its own, over HTTP. Whatever is not a clear answer is a doubt; nothing is tried twice."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import quote

import aiohttp
import anyio
import numpy as np
import orjson

from avwapd.core.codes import REPORTS
from avwapd.core.records import BAR
from avwapd.venues.port import Request, VenueDoubt, VenueOrder, VenueRefused, Word
from avwapd.venues.wire import BODY_BYTES, OVER_HEADER, Address, parsed, shaped

STATES = ("live", "filled", "canceled", "rejected", "replaced")


class HttpVenue:
    """Venue and Market. `limit_s`: of a whole call, from the first byte to the last; made inside a running loop."""

    def __init__(self, address: str, *, refuses_duplicates: bool = True, limit_s: float = 2.0) -> None:
        self.refuses_duplicates = refuses_duplicates
        self.over = False  # the market has closed its last bar, and `after` has given it
        self._limit_s = limit_s
        where = Address.parse(address)
        connector = aiohttp.UnixConnector(path=where.path) if where.path else aiohttp.TCPConnector()
        self._base = "http://venue" if where.path else f"http://{where.host}:{where.port}"
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
        )

    @classmethod
    async def open(cls, address: str, *, refuses_duplicates: bool = True, limit_s: float = 2.0) -> HttpVenue:
        """Nothing is sent yet. Raises ValueError for what is no address."""
        return cls(address, refuses_duplicates=refuses_duplicates, limit_s=limit_s)

    async def close(self) -> None:
        await self._session.close()

    # ------------------------------------------------------------------------------------------------- venue

    def admit(self, kind: str, purpose: str) -> float:
        return 0.0

    async def send(self, request: Request) -> None:
        answer = await self._ask("POST", "/orders", orjson.dumps(request))
        if answer != {"taken": request.cid}:
            raise VenueDoubt("the answer is not about this order")

    async def look_up(self, cid: str) -> VenueOrder | None:
        answer = await self._ask("GET", f"/orders/{quote(cid, safe='')}")
        try:
            order = None if answer["order"] is None else shaped(VenueOrder, answer["order"])
        except (KeyError, ValueError) as error:
            raise VenueDoubt(f"no order in the answer: {error}") from error
        if order is not None and (order.cid != cid or order.state not in STATES):
            raise VenueDoubt(f"the answer is about {order.cid}, {order.state}")
        return order

    async def words(self, after: int) -> list[Word]:
        answer = await self._ask("GET", f"/words?after={after}")
        try:
            words = [shaped(Word, item) for item in answer["words"]]
        except (KeyError, TypeError, ValueError) as error:
            raise VenueDoubt(f"no words in the answer: {error}") from error
        numbers = [word.number for word in words]
        if words and (not 1 <= numbers[0] <= after + 1 or numbers != list(range(numbers[0], numbers[0] + len(words)))):
            raise VenueDoubt("the words are not in order")
        if any(word.kind not in REPORTS[1:] for word in words):
            raise VenueDoubt("a word of an unknown kind")
        return words[max(0, after + 1 - numbers[0]) :] if words else []

    # ------------------------------------------------------------------------------------------------ market

    async def open_bar(self, ts_ms: int, bars: Any) -> None:
        await self._ask("POST", f"/market/open?ts_ms={ts_ms}", np.ascontiguousarray(bars).tobytes())

    async def close_bar(self, ts_ms: int) -> None:
        await self._ask("POST", f"/market/close?ts_ms={ts_ms}")

    async def after(self, ts_ms: int) -> list[Any]:
        """Of a market that runs by itself: the barriers it closed since (BAR arrays of one ts_ms), oldest first.

        A long stretch comes in parts; `over` is set with the last of the market.
        """
        status, headers, body = await self._call("GET", f"/market/bars?after={ts_ms}", b"")
        try:
            if status != 200:
                raise ValueError(f"status {status}")
            rows, over = np.load(BytesIO(body), allow_pickle=False), headers[OVER_HEADER]
            if rows.dtype != BAR or rows.ndim != 1 or np.any(np.diff(rows["ts_ms"], prepend=ts_ms) < 0):
                raise ValueError("other rows than bars in order")
        except (KeyError, ValueError, EOFError, OSError) as error:
            raise VenueDoubt(f"no bars in the answer: {error}") from error
        rows = rows[rows["ts_ms"] > ts_ms]
        self.over = over == "1"
        return np.split(rows, np.flatnonzero(np.diff(rows["ts_ms"])) + 1) if len(rows) else []

    # -------------------------------------------------------------------------------------------------- http

    async def _ask(self, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
        """The JSON object of a clear answer. Raises VenueDoubt or VenueRefused."""
        status, _, answered = await self._call(method, path, body)
        try:
            answer = parsed(answered)
        except ValueError as error:
            raise VenueDoubt(f"status {status} and no JSON object") from error
        if status == 200:
            return answer
        reason, duplicate = answer.get("refused"), answer.get("duplicate", False)
        if 400 <= status < 500 and isinstance(reason, str) and isinstance(duplicate, bool):
            raise VenueRefused(reason, duplicate=duplicate)
        raise VenueDoubt(f"status {status}")

    async def _call(self, method: str, path: str, body: bytes) -> tuple[int, Any, bytes]:
        try:
            with anyio.fail_after(self._limit_s):
                async with self._session.request(
                    method, self._base + path, data=body or None, allow_redirects=False
                ) as response:
                    answered = bytearray()
                    async for chunk in response.content.iter_chunked(1 << 16):
                        answered += chunk
                        if len(answered) > BODY_BYTES:
                            raise VenueDoubt(f"an answer of more than {BODY_BYTES} bytes")
                    return response.status, response.headers, bytes(answered)
        except TimeoutError as error:
            raise VenueDoubt(f"no whole answer within {self._limit_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise VenueDoubt(f"{type(error).__name__}: {error}") from error
