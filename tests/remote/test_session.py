"""Answers that are none: the session refuses them, and their rest never becomes the next call's answer."""

from __future__ import annotations

from functools import partial

import pytest
import requests

from avwapd.ports import SystemClock
from avwapd.remote.calls import Calls
from avwapd.remote.session import BoundedSession, Unreadable, retry_after
from tests.remote.raw import Raw, http, raw


async def asked(server: Raw, session: BoundedSession, path: str = "x") -> object:
    calls = Calls("test", 1, SystemClock())
    try:
        return await calls.run(lambda: session.get(f"{server.address}/{path}").json(), 2.0)
    finally:
        calls.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http(b'{"a": NaN}'), id="NaN"),
        pytest.param(http(b'{"a": -Infinity}'), id="Infinity"),
        pytest.param(http(b'{"a": 1e400}'), id="1e400"),
        pytest.param(http(b'{"a": 1, "a": 2}'), id="a key twice"),
        pytest.param(http(b'{"a": {"b": 1, "b": 1}}'), id="a key twice inside"),
        pytest.param(http(b"<html></html>", kind="text/html"), id="html"),
        pytest.param(http(b'{"a": 1'), id="cut json"),
        pytest.param(http(b'{"a": 1} {}'), id="more behind"),
        pytest.param(http(b'{"a": "\xff"}'), id="no utf-8"),
        pytest.param(http(b"[" * 100_000), id="nested"),
        pytest.param(http(b'{"a": ' + b"1" * 5_000 + b"}"), id="a number of 5,000 digits"),
        pytest.param(http(b'{"a": 1}', length=20), id="shorter than it says"),
        pytest.param(http(b'{"a": 11}', length=8), id="longer than it says"),
        pytest.param(http(b"{}", extra="Content-Encoding: gzip\r\n"), id="encoded"),
        pytest.param(http(b'"' + b"a" * 2_000_000 + b'"'), id="giant"),
        pytest.param(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":', id="a cut chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", id="a bad chunk"),
        pytest.param(b"HTTP/1.1 2x0 OK\r\n\r\n", id="a bad status"),
        pytest.param(b"", id="hung up"),
    ],
)
async def test_unreadable(answer: bytes) -> None:
    async with raw(x=answer) as server:
        session = BoundedSession(1, body_bytes=1_000_000)
        with pytest.raises((Unreadable, requests.RequestException)):
            await asked(server, session)
        assert server.seen["/x"] == 1  # and asked once only
        session.close()


async def test_what_is_left_of_a_bad_answer_is_not_the_next_one() -> None:
    async with raw(x=http(b'{"a": 11}', length=8), good=http(b'{"good": 1}')) as server:
        server.close = False
        session = BoundedSession(1)
        for _ in range(20):
            with pytest.raises(Unreadable):
                await asked(server, session)
            assert await asked(server, session, "good") == {"good": 1}
        session.close()


async def test_nor_is_what_comes_late() -> None:
    """The rest of a cut body is dressed up as an answer to the next request."""
    async with raw(x=http(b'{"a":'), good=http(b'{"good": 1}')) as server:
        server.close = False
        server.late["/x"] = http(b'{"evil": 1}')
        session = BoundedSession(1)
        with pytest.raises(Unreadable):
            await asked(server, session)
        assert await asked(server, session, "good") == {"good": 1}
        session.close()


async def test_plain_answers() -> None:
    async with raw(x=http('{"a": [1, 2.5, "ü", null, true]}'.encode(), kind="text/plain; charset=latin-1")) as server:
        session = BoundedSession(1)
        assert await asked(server, session) == {"a": [1, 2.5, "ü", None, True]}
        session.close()


async def test_a_redirect_is_not_followed_and_is_an_error() -> None:
    async with raw(x=http(b"{}", status="302 Found", extra="Location: /elsewhere\r\n")) as server:
        session = BoundedSession(1)
        calls = Calls("test", 1, SystemClock())
        response = await calls.run(partial(session.get, f"{server.address}/x"), 1.0)
        with pytest.raises(requests.HTTPError):
            response.raise_for_status()
        assert server.seen["/elsewhere"] == 0
        calls.close()
        session.close()


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with raw(x=http(b"{}")) as server:
        session = BoundedSession(1)
        assert await asked(server, session) == {}
        assert b"Accept-Encoding: identity" in server.requests[0]
        session.close()


async def test_cookies_are_not_kept() -> None:
    async with raw(x=http(b"{}", extra="Set-Cookie: a=b\r\n")) as server:
        session = BoundedSession(1)
        await asked(server, session)
        await asked(server, session)
        assert b"Cookie" not in server.requests[1]
        session.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({}, 3.0),
        ({"Retry-After": "soon"}, 3.0),
        ({"Retry-After": "99999999"}, 3600.0),
        ({"Retry-After": "0"}, 0.1),
        ({"Retry-After": "-5"}, 3.0),
    ],
)
def test_retry_after(header: dict[str, str], seconds: float) -> None:
    assert retry_after(header, 3.0) == seconds
