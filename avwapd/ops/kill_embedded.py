"""A simulated exchange of its own process for the kill program: what rests there is canceled; nothing is sold."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from typing import Any

from avwapd.ops.kill_plan import KILL_PREFIX, Outcome, Resting
from avwapd.ports import Clock
from avwapd.remote.calls import Calls, NoAnswer, Rejected
from avwapd.store.kill_note import Sale

CALL_S = 3.0
LIVE = "live"


class EmbeddedDesk:
    """address: unix:PATH | [tcp:]HOST:PORT, as embedded.venue has it; lot: of a symbol's quantity there."""

    name = "embedded"
    marked = True
    prefix = KILL_PREFIX

    def __init__(self, address: str, lot: Callable[[str], Decimal], clock: Clock) -> None:
        self._address = address
        self._lot = lot
        self._calls = Calls("kill", 4, clock)

    async def close(self) -> None:
        self._calls.close()

    async def open_orders(self) -> list[Resting]:
        rows = (await self._ask("GET", "/book", None))["orders"]
        if not isinstance(rows, list):
            raise NoAnswer("the answer has no orders")
        return [
            Resting(cid, cid, symbol, int(side), (int(qty) - int(filled)) * self._lot(symbol), stop=kind == "stop")
            for cid, symbol, side, kind, qty, _, _, filled, state in rows
            if state == LIVE
        ]

    async def cancel(self, order: Resting) -> None:
        wanted = {
            "kind": "cancel", "cid": f"{KILL_PREFIX}{order.cid[3:]}", "ref_cid": order.cid, "symbol": order.symbol,
            "purpose": "entry", "side": order.side, "type": "", "qty": 0, "limit_ticks": 0, "stop_ticks": 0,
        }  # fmt: skip
        await self._ask("POST", "/orders", wanted)

    async def positions(self) -> dict[str, Decimal]:
        held = (await self._ask("GET", "/book", None))["positions"]
        return {symbol: qty * self._lot(symbol) for symbol, qty in held.items() if qty}

    async def sell(self, sale: Sale) -> None:
        raise Rejected(501, 0, "a simulated exchange has one customer: let the daemon sell (avwapd ctl flatten)", None)

    async def outcome(self, sale: Sale) -> Outcome | None:
        return None

    async def _ask(self, method: str, path: str, body: Any) -> dict[str, Any]:
        status, content = await self._calls.run(lambda: self._call(method, path, body), CALL_S)
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise NoAnswer("the answer is no JSON") from error
        if status >= 400:
            raise Rejected(status, 0, str(answer.get("refused", status)), answer)
        found: dict[str, Any] = answer
        return found

    def _call(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        connection = _Connection(self._address)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException, ValueError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()


class _Connection(HTTPConnection):
    def __init__(self, address: str) -> None:
        self._path = address.removeprefix("unix:") if address.startswith("unix:") else ""
        super().__init__("venue" if self._path else address.removeprefix("tcp:"), timeout=CALL_S)

    def connect(self) -> None:
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
