"""What the control socket says: facts as JSON, and refusals with what, where and the next step."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

ANSWER_BYTES = 1_048_576
NOTE = "X-Avwapd-Note"
ROUTES = (
    "GET /v1/status positions orders gates why health metrics acts alerts; "
    "POST /v1/halt resume flatten drain reload stop kill unkill arm disarm rearm drill ack notice"
)


class Refusal(Exception):
    """An answer with status >= 400: what, where, next step."""

    def __init__(self, status: int, what: str, where: str, next_step: str) -> None:
        super().__init__(what)
        self.status = status
        self.body = {"what": what, "where": where, "next_step": next_step}


def packed(facts: Any) -> bytes:
    return orjson.dumps(facts, default=str, option=orjson.OPT_NON_STR_KEYS) + b"\n"


def answer(facts: Any, status: int = 200, note: str = "") -> web.Response:
    body = packed(facts)
    if len(body) > ANSWER_BYTES:
        said = f"the answer has {len(body)} bytes, more than the {ANSWER_BYTES} of the socket"
        body, status = packed({"what": said, "where": "control socket", "next_step": "read the ledger: README"}), 507
    response = web.Response(body=body, status=status, content_type="application/json")
    if note:
        response.headers[NOTE] = note
    return response


def raw(status: int, what: str, next_step: str) -> bytes:
    """A whole answer for who is sent away at the door."""
    body = packed({"what": what, "where": "control socket", "next_step": next_step})
    words = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    return f"{words}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
