"""A requests session that a hostile peer cannot hold, flood or fool; for clients that have one inside.

Every wait ends with the call it belongs to (see calls.py), an answer has a size, and `response.json()` reads strictly.
Nothing of the machine's environment (proxies, .netrc, CA overrides) changes where keys are sent.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.poolmanager import PoolManager

from avwapd.remote import calls, strict

BODY_BYTES = 32 * 1024 * 1024
FALLBACK_S = 30.0  # of a read outside any call
SLACK_S = 0.5  # sockets wait longer than the call, so that it is the call's deadline that ends it
CHUNK_BYTES = 1 << 16


class Unreadable(requests.exceptions.RequestException):
    """An answer came, and is not one: too big, encoded, cut, or no JSON."""


class _Held:
    """A connection that shows its socket to the call it works for."""

    sock: Any

    def request(self, *args: Any, **kwargs: Any) -> None:
        running = calls.current()
        if running is not None and self.sock is not None:
            running.hold(self.sock)
        super().request(*args, **kwargs)  # type: ignore[misc]  # a mixin: urllib3's class follows

    def _new_conn(self) -> socket.socket:
        running = calls.current()
        if running is None:
            return super()._new_conn()  # type: ignore[misc,no-any-return]  # as above
        host, port = self._dns_host, self.port  # type: ignore[attr-defined]  # as above
        failure: OSError = OSError("the name has no address")
        try:
            for family, kind, protocol, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
                sock = socket.socket(family, kind, protocol)
                try:
                    sock.settimeout(running.left() + SLACK_S)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    running.hold(sock)
                    sock.connect(address)
                except OSError as error:
                    sock.close()
                    failure = error
                else:
                    return sock
        except OSError as error:
            failure = error
        raise NewConnectionError(self, f"no connection to {host}:{port}: {failure}")  # type: ignore[arg-type]


class _Connection(_Held, HTTPConnection):
    pass


class _SecureConnection(_Held, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class StrictResponse(requests.Response):
    """`json` reads bytes strictly, whatever the headers call them; a redirect is an error."""

    def json(self, **_: Any) -> Any:
        try:
            return strict.parse(self.content)
        except ValueError as error:
            self._forget()
            raise Unreadable(f"status {self.status_code} and no plain JSON: {error}", response=self) from error

    def _forget(self) -> None:
        """What is left of a bad answer must not become the next call's: no connection of before is used again."""
        adapter = self.__dict__.get("connection")
        if isinstance(adapter, HTTPAdapter):
            adapter.poolmanager.clear()

    def raise_for_status(self) -> None:
        super().raise_for_status()
        if not 200 <= self.status_code < 300:
            raise requests.HTTPError(f"status {self.status_code}", response=self)


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        manager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        self.poolmanager = manager

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        plain = super().build_response(req, resp)
        response = StrictResponse()
        response.__dict__.update(plain.__dict__)
        response.encoding = "utf-8"
        return response


class BoundedSession(requests.Session):
    """`threads`: how many connections are kept; `body_bytes`: of an answer, at most."""

    def __init__(self, threads: int, body_bytes: int = BODY_BYTES) -> None:
        super().__init__()
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._body_bytes = body_bytes
        self._adapter = _Adapter(pool_connections=4, pool_maxsize=threads)
        self.mount("http://", self._adapter)
        self.mount("https://", self._adapter)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Raises requests' exceptions; Unreadable for an answer that cannot be used."""
        running = calls.current()
        left = FALLBACK_S if running is None else running.left() + SLACK_S
        response = super().send(request, **kwargs | {"stream": True, "timeout": (left, left), "allow_redirects": False})
        try:
            response._content = self._body(response)
        except BaseException:
            response.close()
            raise
        return response

    def _body(self, response: requests.Response) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding not in ("identity", ""):
            raise Unreadable(f"an answer encoded as {encoding[:20]}, which was not asked for", response=response)
        body = bytearray()
        for chunk in response.iter_content(CHUNK_BYTES):
            body += chunk
            if len(body) > self._body_bytes:
                raise Unreadable(f"an answer of more than {self._body_bytes} bytes", response=response)
        return bytes(body)


def retry_after(headers: Mapping[str, str], otherwise_s: float, most_s: float = 3600.0) -> float:
    """Seconds from a Retry-After header that gives them; a date or nonsense counts as none."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal() and len(text) <= 9:
        return min(max(float(text), 0.1), most_s)
    return otherwise_s
