"""The REST faults as one middleware round an exchange's handlers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
from aiohttp import web
from aiohttp.typedefs import Middleware

from avwapd.demo_venue.faults import Setting
from avwapd.demo_venue.sim import Sim

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
BEFORE = (
    "refuse_connection",
    "lose_request",
    "down_500",
    "limit_429",
    "limit_429_no_header",
    "revoked_401",
    "blocked_403",
    "not_found_lie",
)
AFTER = (
    "lose_answer",
    "reset",
    "cut_answer",
    "wrong_length",
    "gateway_504_taken",
    "slow_drip",
    "html_200",
    "empty_200",
    "bad_json",
    "missing_field",
    "unknown_enum",
    "nan_value",
    "huge_number",
    "duplicate_keys",
)
ENUMS = ("status", "side", "type", "X", "S", "o")


def with_faults(
    sim: Sim, classify: Callable[[web.Request], str], error: Callable[[str, Setting], web.Response]
) -> Middleware:
    """classify: the endpoint class of a request ("" where no fault applies); error: this wire's answer for
    limit_429, limit_429_no_header, revoked_401, blocked_403, not_found_lie and gateway_504_taken.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        where = classify(request)
        if not where:
            return await handler(request)
        for name in BEFORE:
            setting = sim.faults.fires(name, where, path=request.path)
            if setting is not None:
                return await instead(sim, request, name, setting, error)
        answer = await handler(request)
        least, most = sim.desk.profile.answer_ms
        if most:
            await anyio.sleep(sim.faults.dice("profile").randint(least, most) / 1000)
        if not isinstance(answer, web.Response):
            return answer
        for name in AFTER:
            setting = sim.faults.fires(name, where, path=request.path)
            if setting is not None:
                return await after(request, answer, name, setting, error)
        return answer

    return middleware


async def instead(
    sim: Sim, request: web.Request, name: str, setting: Setting, error: Callable[[str, Setting], web.Response]
) -> web.StreamResponse:
    """The request is not looked at."""
    if name == "lose_request":
        return await silence(request)
    if name == "refuse_connection":
        return cut(request)
    if name == "down_500":
        status = sim.faults.dice(name).choice((500, 502, 503))
        return web.Response(status=status, body=PAGE, content_type="text/html")
    return error(name, setting)


async def after(
    request: web.Request,
    answer: web.Response,
    name: str,
    setting: Setting,
    error: Callable[[str, Setting], web.Response],
) -> web.StreamResponse:
    """The request was taken; what comes back is not what it should be."""
    body = bytes(answer.body) if isinstance(answer.body, bytes | bytearray) else b""
    if name == "lose_answer":
        return await silence(request)
    if name == "reset":
        return cut(request)
    if name in ("cut_answer", "wrong_length"):
        more = 0 if name == "cut_answer" else 64
        part = body[: len(body) // 2] if name == "cut_answer" else body
        return await raw(request, answer, part, len(body) + max(more, 1))
    if name == "gateway_504_taken":
        return error(name, setting)
    if name == "slow_drip":
        return await drip(request, answer, body, float(setting.value))
    if name in ("html_200", "empty_200"):
        return web.Response(body=PAGE if name == "html_200" else b"", content_type="text/html", headers=own(answer))
    answer.body = spoiled(name, body, setting.value)
    return answer


def own(answer: web.Response) -> dict[str, str]:
    """The headers of an answer that are not about its body."""
    return {key: value for key, value in answer.headers.items() if key.lower() in ("date", "retry-after")}


def cut(request: web.Request) -> web.Response:
    """A reset instead of an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


async def silence(request: web.Request) -> web.Response:
    """Nothing, until the caller gives up."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - it has no event
        await anyio.sleep(0.05)
    return web.Response(status=503)


async def raw(request: web.Request, answer: web.Response, part: bytes, promised: int) -> web.StreamResponse:
    """Fewer bytes than the header promises, then the end of the connection."""
    stream = web.StreamResponse(status=answer.status, headers={**own(answer), "Content-Type": "application/json"})
    stream.content_length = promised
    with suppress(ConnectionError):  # who has hung up already gets nothing of it
        await stream.prepare(request)
        await stream.write(part)
        await anyio.sleep(0.02)  # so that the part leaves before the reset
    if request.transport is not None:
        request.transport.abort()
    return stream


async def drip(request: web.Request, answer: web.Response, body: bytes, every_s: float) -> web.StreamResponse:
    """One byte at a time."""
    stream = web.StreamResponse(status=answer.status, headers={**own(answer), "Content-Type": "application/json"})
    stream.content_length = len(body)
    try:
        await stream.prepare(request)
        for at in range(len(body)):
            await stream.write(body[at : at + 1])
            await anyio.sleep(every_s)
    except (ConnectionError, asyncio.CancelledError):
        cut(request)
        if isinstance(current := asyncio.current_task(), asyncio.Task) and current.cancelling():
            raise
    return stream


def spoiled(name: str, body: bytes, value: Any) -> bytes:
    """JSON with one thing wrong in it."""
    text = body.decode()
    if name == "bad_json":
        return body[: max(1, len(body) * 2 // 3)]
    try:
        content = json.loads(text)
    except ValueError:
        return body
    target = first_object(content)
    if target is None:
        return {"nan_value": b"NaN", "huge_number": b"1e400"}.get(name, b'{"unexpected":true}')
    if name == "missing_field":
        target.pop(value if value in target else next(iter(target)))
        return json.dumps(content).encode()
    if name == "unknown_enum":
        key = next((key for key in ENUMS if isinstance(target.get(key), str)), next(iter(target)))
        target[key] = "quantum"
        return json.dumps(content).encode()
    if name == "duplicate_keys":
        key = next((key for key in ("filled_qty", "cash", "qty", "status") if key in target), next(iter(target)))
        marked = f'"{key}": "31337", '
        at = json.dumps(content).find(f'"{key}"')
        whole = json.dumps(content)
        return (whole[:at] + marked + whole[at:]).encode()
    key = next((key for key, held in target.items() if numeric(held)), next(iter(target)))
    target[key] = "@@"
    return json.dumps(content).replace('"@@"', "NaN" if name == "nan_value" else "1e400", 1).encode()


def numeric(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def first_object(content: Any) -> dict[str, Any] | None:
    """The first object that carries figures: deep inside lists and wrappers."""
    stack = [content]
    while stack:
        one = stack.pop(0)
        if isinstance(one, dict):
            if any(numeric(value) for value in one.values()) or not any(
                isinstance(value, dict | list) for value in one.values()
            ):
                return one if one else None
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one[:3])
    return None
