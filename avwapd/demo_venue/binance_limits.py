"""Binance's request weight: used by the minute, refused beyond a limit, banned for not stopping; its errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import orjson
from aiohttp import web

from avwapd.demo_venue.binance_words import Refused
from avwapd.demo_venue.faults import Setting
from avwapd.demo_venue.sim import Sim

WEIGHT_LIMIT = 6000  # a minute; of a market that runs N times as fast, N times as much a minute of wall time
BAN_S = 120
STUBBORN = 20  # refused calls within a minute that make a ban
BUSY = Refused(-1008, "Server is currently overloaded with other requests. Please try again in a few minutes.", 503)
UNKNOWN = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
FAULTS = {
    "revoked_401": Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401),
    "blocked_403": Refused(-2010, "This account may not place or cancel orders.", 403),
    "not_found_lie": Refused(-2013, "Order does not exist."),
    "gateway_504_taken": Refused(-1007, UNKNOWN, 504),
}


class Weight:
    """Request weight of the running minute; calls that go on over the limit bring a ban."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._minute = -1
        self.used = 0
        self._refused = 0
        self._banned_until = 0.0  # wall, monotonic

    def take(self, weight: int) -> None:
        """Raises Refused (429, 418) where there is none left."""
        now_s = self._sim.clock.monotonic()
        if now_s < self._banned_until:
            raise banned(self._sim, self._banned_until - now_s)
        minute = int(now_s // 60)
        if minute != self._minute:
            self._minute, self.used, self._refused = minute, 0, 0
        self.used += weight
        if self.used <= WEIGHT_LIMIT * max(1.0, self._sim.market.speed):
            return
        self._refused += 1
        if self._refused > STUBBORN:
            self._banned_until = now_s + BAN_S
            raise banned(self._sim, BAN_S)
        raise too_many((minute + 1) * 60 - now_s)


def too_many(wait_s: float | None) -> Refused:
    message = f"Too much request weight used; current limit is {WEIGHT_LIMIT} request weight per 1 MINUTE."
    message += " Please use WebSocket Streams for live updates to avoid polling the API."
    return Refused(-1003, message, 429, {} if wait_s is None else {"Retry-After": str(math.ceil(wait_s))})


def banned(sim: Sim, wait_s: float) -> Refused:
    until_ms = sim.market.now_ms() + int(wait_s * 1000 * max(1.0, sim.market.speed))
    message = f"Way too much request weight used; IP banned until {until_ms}."
    message += " Please use WebSocket Streams for live updates to avoid bans."
    return Refused(-1003, message, 418, {"Retry-After": str(math.ceil(wait_s))})


def fault_answers(sim: Sim) -> Callable[[str, Setting], web.Response]:
    """This wire's words for the REST faults that need them.

    limit_429 of more than a minute is a ban (418); gateway_504_taken with the value 503 says that it is overloaded.
    """

    def answer(name: str, setting: Setting) -> web.Response:
        if name == "limit_429":
            wait_s = float(setting.value)
            return error_answer(banned(sim, wait_s) if wait_s > 60 else too_many(wait_s))
        if name == "gateway_504_taken" and setting.value == 503:
            return error_answer(BUSY)
        return error_answer(FAULTS.get(name) or too_many(None))

    return answer


def error_answer(error: Refused) -> web.Response:
    body = orjson.dumps(error.body)
    return web.Response(status=error.status, body=body, content_type="application/json", headers=error.headers)
