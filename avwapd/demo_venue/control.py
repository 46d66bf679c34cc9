"""What stands beside the exchange's wire, for tests and for the curious: market, faults, the whole book."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from avwapd.demo_venue.market import STANDS_MS
from avwapd.demo_venue.sim import Sim
from avwapd.remote.terms import plain


def add_control(app: web.Application, sim: Sim) -> None:
    """Routes below /control. The wire's own middlewares have to let them pass."""
    control = Control(sim)
    app.add_routes(
        [
            web.post("/control", control.act),
            web.get("/control", control.state),
            web.get("/control/clock", control.state),
            web.get("/control/faults", control.faults),
            web.post("/control/faults", control.set_faults),
            web.get("/control/log", control.log),
            web.get("/control/book", control.book),
        ]
    )


def answer(body: Any, *, status: int = 200) -> web.Response:
    content = orjson.dumps(body, default=lambda value: plain(value) if hasattr(value, "quantize") else str(value))
    return web.Response(body=content, status=status, content_type="application/json")


class Control:
    def __init__(self, sim: Sim) -> None:
        self._sim = sim

    def _facts(self) -> dict[str, Any]:
        market = self._sim.market
        return {
            "now_ms": market.now_ms(),
            "closed_ms": market.closed_ms,
            "bars_left": market.bars_left,
            "over": market.over,
            "paused": market.paused,
            "speed": market.speed,
        }

    async def state(self, _: web.Request) -> web.Response:
        return answer(self._facts())

    async def act(self, request: web.Request) -> web.Response:
        """{"pause": bool} | {"go": bars, then pause} | {"half": openings and closings at once} | {"speed": n}."""
        market = self._sim.market
        try:
            wanted = orjson.loads(await request.read())
            for name, value in wanted.items():
                if name == "pause" and isinstance(value, bool):
                    market.pause(value)
                elif name == "go" and isinstance(value, int):
                    market.go(value)
                elif name == "half" and isinstance(value, int):
                    market.half(value)
                    market.idle(STANDS_MS)
                elif name == "speed" and isinstance(value, int | float) and value > 0:
                    market.set_speed(float(value))
                else:
                    raise ValueError(f"{name}: {value} is no such act")
        except (ValueError, AttributeError) as error:
            return answer({"error": str(error)}, status=400)
        return answer(self._facts())

    async def faults(self, _: web.Request) -> web.Response:
        return answer(self._sim.faults.facts())

    async def set_faults(self, request: web.Request) -> web.Response:
        """{"set": {NAME: chance or settings}, "clear": [NAME, …] or "all"}."""
        try:
            wanted = orjson.loads(await request.read())
            cleared = wanted.get("clear", [])
            self._sim.faults.clear(None if cleared == "all" else cleared)
            for name, setting in wanted.get("set", {}).items():
                self._sim.faults.set(name, setting)
        except (ValueError, AttributeError) as error:
            return answer({"error": str(error)}, status=400)
        return answer(self._sim.faults.facts())

    async def log(self, request: web.Request) -> web.Response:
        """Every firing, the oldest first; ?after=N leaves out the first N."""
        return answer({"log": list(self._sim.faults.log)[int(request.query.get("after", "0")) :]})

    async def book(self, _: web.Request) -> web.Response:
        """The truth, whatever profile and faults make of it elsewhere."""
        desk = self._sim.desk
        return answer(
            {
                "orders": [asdict(order) for order in desk.all_orders()],
                "executions": [asdict(execution) for execution in desk.executions()],
                "positions": desk.true_positions(),
                "cash": desk.cash,
                "equity": desk.equity(),
                **self._facts(),
            }
        )
