"""A ccxt instance made to behave. ccxt itself stays as it is: it signs, sends and reads.

Around it: addresses of ours, a session that follows no redirect and caps what it reads, JSON read strictly, the venue's
clock instead of the machine's.
"""

from __future__ import annotations

import importlib
import logging
import ssl
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from avwapd.errors import Told
from avwapd.ports import Clock
from avwapd.remote import strict
from avwapd.remote.calls import NoAnswer
from avwapd.remote.ccxt_errors import Seen
from avwapd.remote.ccxt_table import Row

BODY_BYTES = 32 * 1024 * 1024
REDIRECTS = frozenset((301, 302, 303, 307, 308))
SEEN: ContextVar[Seen | None] = ContextVar("avwapd_ccxt_seen", default=None)  # of the call under way


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Where an exchange is, and with which key. address, stream_address: of a simulated one; sandbox: its test site."""

    name: str
    address: str = ""
    stream_address: str = ""
    key: str = ""
    secret: str = ""
    password: str = ""
    sandbox: bool = False


class Unusable(Told):
    """An exchange that cannot be traded at as configured."""

    exit_code = 78


def made(access: Access, row: Row, clock: Clock, *, stream: bool, limit_s: float, window_ms: int) -> Any:
    """The ccxt instance, its addresses rewritten."""
    module = importlib.import_module("ccxt.pro" if stream else "ccxt.async_support")
    logging.getLogger("ccxt.base.exchange").setLevel(logging.INFO)  # at debug it would write keys into the log
    if access.name not in module.exchanges:
        raise Unusable("ccxt has no such exchange", f"[venue] name = {access.name}", "see the names in its manual")
    plain = getattr(module, access.name)
    kind = type(plain.__name__, (_Guarded, plain), {"now_ms": staticmethod(clock.now_ms)})
    api = kind(
        {
            "apiKey": access.key,
            "secret": access.secret,
            "password": access.password,
            "enableRateLimit": False,  # one queue for all calls: a cancel would wait behind questions
            "timeout": int(limit_s * 1000),
            "options": dict(row.options),
        }
    )
    api.options["maxRetriesOnFailure"] = 0
    if "recvWindow" in api.options or row.fence == "recv_window":
        api.options["recvWindow"] = window_ms
    api.enableLastHttpResponse = False  # a cancel would read the answer to another call
    api.number = str  # decimal text, as the exchange wrote it
    if access.sandbox:
        if not api.urls.get("test"):
            raise Unusable("the exchange has no test site", access.name, "use mode = live, or a simulated venue")
        api.set_sandbox_mode(True)  # before the addresses: it sets them anew
    if access.address:
        api.timeout_on_exit = 0
        stream_address = access.stream_address or "ws" + access.address.removeprefix("http")
        api.urls["api"] = rewritten(api.urls["api"], access.address, stream_address)
    if stream and hasattr(api, "handle_my_trade"):
        api.handle_my_trade = _unheard  # a fee coin it does not know would end the stream; orders tell the fills
    api.session, api.own_session = _session(access.address), False
    return api


def rewritten(urls: Any, address: str, stream_address: str) -> Any:
    """The same addresses at another host: scheme and host are replaced, the path stays behind the new one."""
    if isinstance(urls, dict):
        return {name: rewritten(url, address, stream_address) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    old = urlsplit(urls)
    base = stream_address if old.scheme.startswith("ws") else address
    return base.rstrip("/") + old.path + (f"?{old.query}" if old.query else "")


def _unheard(*_: Any) -> None:
    """Takes a websocket message and does nothing."""


class _Guarded:
    """Mixed into ccxt's class: what is sent and read is noted, unreadable answers raise, time is the venue's."""

    now_ms: Any
    session: Any

    def milliseconds(self) -> int:
        return int(self.now_ms())

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        if (seen := SEEN.get()) is not None:
            seen.begin()
        return await super().fetch(url, method, headers, body)  # type: ignore[misc]  # a class made at run time

    def on_rest_response(
        self, code: int, reason: str, url: str, method: str, headers: Any, body: str, *rest: Any
    ) -> str:
        if (seen := SEEN.get()) is not None:
            seen.status, seen.body, seen.headers = code, body, headers
        return body.strip()

    def parse_json(self, text: str) -> Any:
        """Raises NoAnswer for a success without strict JSON: ccxt would go on with an empty answer."""
        seen = SEEN.get()
        try:
            value = strict.parse(text.encode())
        except ValueError as error:
            if seen is not None and 200 <= seen.status < 300 and seen.status != 204:
                raise NoAnswer(f"status {seen.status} and no JSON: {error}") from error
            return None
        if seen is not None:
            seen.value = value
        return value


class _Capped(aiohttp.ClientResponse):
    """Never reads more than BODY_BYTES."""

    async def read(self) -> bytes:
        if self._body is None:
            read = bytearray()
            try:
                async for chunk in self.content.iter_any():
                    read += chunk
                    if len(read) > BODY_BYTES:
                        raise NoAnswer(f"an answer of more than {BODY_BYTES} bytes")
            except BaseException:
                self.close()
                raise
            self._body = bytes(read)
            await self._wait_released()
        return self._body


async def _once(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
    """Keys and orders go to the configured address or nowhere, and requests once.

    aiohttp by itself tries again what it finds idempotent, a cancel too, on a connection that broke under it.
    """
    if (seen := SEEN.get()) is not None:
        seen.tries += 1
        if seen.tries > 1 and request.method != "GET":
            raise NoAnswer("the connection broke")
    response: aiohttp.ClientResponse = await handler(request)
    if response.status in REDIRECTS:
        response.close()
        raise NoAnswer(f"the exchange's address answers with a redirect ({response.status})")
    return response


def _session(address: str) -> aiohttp.ClientSession:
    if address.startswith("http:"):
        connector = aiohttp.TCPConnector()
    else:
        certifi = importlib.import_module("certifi")  # ccxt's own choice of authorities
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certifi.where()))
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=_Capped,
        middlewares=(_once,),
        trust_env=False,
    )
