"""The control socket: HTTP and JSON over a unix socket, usable with curl.

GET reads, POST acts. Reads of the ledger go over a connection of their own that can only read: a slow question cannot
delay an order. Bodies are small, clients few, and a client that does not read is dropped.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import orjson
from aiohttp import web
from anyio.abc import TaskStatus

from avwapd.actors.mail import Acted
from avwapd.actors.symbols import Symbols
from avwapd.core import codes
from avwapd.core.machine import FROZEN
from avwapd.store import StoreError, questions
from avwapd.store.journal import ALL, Act

log = logging.getLogger("avwapd.control")

BODY_BYTES = 65_536
ANSWER_S = 10.0
ACTS = {
    "halt": (codes.ACT_HALT, "no new entries; stops and exits go on"),
    "resume": (codes.ACT_RESUME, "entries are allowed again; without a symbol a drain ends too"),
    "flatten": (codes.ACT_FLATTEN, "positions are sold at market"),
    "drain": (codes.ACT_DRAIN, "no new entries until resume or the next start"),
}
KEYS = {"drain": ("reason",), "resume": ("symbol", "reason", "force")}
NAMED = 4
IN_DOUBT = "halted: see its alert, and halt_reason in avwapd ctl positions"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """An answer with status >= 400: what, where, next step."""

    def __init__(self, status: int, what: str, where: str, next_step: str) -> None:
        super().__init__(what)
        self.status = status
        self.body = {"what": what, "where": where, "next_step": next_step}


class Control:
    """facts: what status shows; stop: ends the daemon in order; reload: takes the scan's newest list.

    difference_of: how the venue's books differ about a symbol's index (ALL: about none of ours), "" where they do not.
    """

    def __init__(
        self,
        path: Path,
        database: Path,
        symbols: Symbols,
        facts: Callable[[], dict[str, Any]],
        stop: Callable[[str], None],
        reload: Callable[[], Awaitable[dict[str, Any]]],
        difference_of: Callable[[int], str] = lambda symbol: "",
    ) -> None:
        self._path = path
        self._database = database
        self._symbols = symbols
        self._facts = facts
        self._stop = stop
        self._reload = reload
        self._difference_of = difference_of
        self._room = anyio.CapacityLimiter(8)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until canceled; the socket file goes with it."""
        runner = web.AppRunner(self._application(), access_log=None, keepalive_timeout=15, handler_cancellation=True)
        await runner.setup()
        try:
            self._path.unlink(missing_ok=True)
            site = web.UnixSite(runner, str(self._path))
            await site.start()
            self._path.chmod(0o660)
            task_status.started()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()
                self._path.unlink(missing_ok=True)

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[answered])
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/gates", self._gates)
        for name in ("positions", "orders"):
            app.router.add_get(f"/v1/{name}", self._table(name))
        app.router.add_get("/v1/why", self._why)
        for name in ACTS:
            app.router.add_post(f"/v1/{name}", self._act(name))
        app.router.add_post("/v1/reload", self._reloading)
        app.router.add_post("/v1/stop", self._stopping)
        return app

    # ------------------------------------------------------------------------------------------------ reading

    async def _status(self, request: web.Request) -> web.Response:
        return answer(self._facts())

    async def _gates(self, request: web.Request) -> web.Response:
        """What blocks entries now, whatever the signal."""
        facts, port = self._facts(), self._symbols.journal.world.portfolio[0]
        closed = {
            "kill_switch": (facts["kill_switch"], "the file KILL_SWITCH exists"),
            "drain": (facts["draining"], "until resume or the next start"),
            "drawdown": (bool(port["drawdown_blocked"]), "equity fell too far from its peak"),
            "daily_loss": (bool(port["daily_blocked"]), "equity fell too far today"),
        }
        rows = [{"gate": name, "closed": int(shut), "reason": why} for name, (shut, why) in closed.items() if shut]
        listed = facts["watchlist"]
        if listed is not None and not listed["fresh"]:
            why = f"the list of {listed['scan_date']}: run avwapd scan, then avwapd ctl reload"
            rows.append({"gate": "watchlist_stale", "closed": 1, "reason": why})
        rows += [{"gate": "halted", "closed": 1, "reason": symbol} for symbol in facts["halted"]]
        return answer(rows)

    def _table(self, name: str) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            return answer(await self._read(lambda: questions.table(self._database, name)))

        return handler

    async def _why(self, request: web.Request) -> web.Response:
        symbol, ts_ms = request.query.get("symbol", ""), request.query.get("ts_ms", "")
        names = self._symbols.journal.names.symbols
        if symbol not in names:
            raise Refusal(404, f"no symbol {symbol!r} in this run", "symbol", f"one of {', '.join(names[:8])}")
        if not ts_ms.isdecimal():
            raise Refusal(400, f"{ts_ms!r} is no time", "ts_ms", "give the bar's close in milliseconds UTC")
        row = await self._read(lambda: questions.decision(self._database, symbol, int(ts_ms)))
        if row is None:
            raise Refusal(404, f"no decision on {symbol} at {ts_ms}", "decisions", "the bar may not have closed yet")
        return answer(row)

    async def _read(self, question: Callable[[], Any]) -> Any:
        try:
            with anyio.fail_after(ANSWER_S):
                return await anyio.to_thread.run_sync(question, limiter=self._room, abandon_on_cancel=True)
        except TimeoutError:
            raise Refusal(503, "the ledger did not answer in time", "database", "ask again") from None
        except StoreError as error:
            raise Refusal(500, error.what, error.where, error.next_step) from None

    # ------------------------------------------------------------------------------------------------- acting

    def _act(self, name: str) -> Handler:
        kind, effect = ACTS[name]

        async def handler(request: web.Request) -> web.Response:
            body = await self._body(request, KEYS.get(name, ("symbol", "reason")))
            symbol = self._symbol(body.get("symbol"))
            if name == "resume" and not forced(body, request.path):
                self._refuse_difference(symbol)
            reason = str(body.get("reason") or "operator")[:200]
            freeze = kind == codes.ACT_DRAIN
            await self._do(Act(kind, symbol, freeze, peer(request), reason))
            if name == "resume" and symbol == ALL:
                await self._do(Act(codes.ACT_DRAIN, ALL, False, peer(request), reason))
            log.info("operator: %s %s (%s)", name, body.get("symbol") or "all", reason)
            waits = self._waits(symbol) if name == "flatten" else {}
            return answer({"done": name, "symbol": body.get("symbol"), "effect": effect} | waits)

        return handler

    def _concerned(self, symbol: int) -> list[int]:
        return [symbol] if symbol != ALL else list(range(len(self._symbols.journal.names.symbols)))

    def _refuse_difference(self, symbol: int) -> None:
        """What was halted and differs would open entries on books that are wrong."""
        states = self._symbols.journal.world.states
        halted = [each for each in self._concerned(symbol) if states[each]["halted"]]
        said = [words for each in ([*halted, ALL] if symbol == ALL else halted) if (words := self._difference_of(each))]
        if said:
            more = f" (and {len(said) - NAMED} more)" if len(said) > NAMED else ""
            raise Refusal(
                409,
                f"the newest reading of the venue's books differs: {'; '.join(said[:NAMED])}{more}",
                "reconcile",
                "repair it at the venue, or set reconcile.on_foreign, then resume again after the next reading; "
                "avwapd ctl resume --force goes on all the same",
            )

    def _waits(self, symbol: int) -> dict[str, Any]:
        """Of a flatten: the positions for which nothing leaves, why, and what to do."""
        states, names = self._symbols.journal.world.states, self._symbols.journal.names.symbols
        held = [each for each in self._concerned(symbol) if states[each]["qty"] or states[each]["entry"]["status"]]
        stuck = [each for each in held if states[each]["halted"] == FROZEN]
        if not stuck:
            return {}
        named, first = ", ".join(names[each] for each in stuck), names[stuck[0]]
        sold = "the other positions are sold at market; " if len(held) > len(stuck) else ""
        return {
            "effect": f"{sold}NOTHING LEAVES for {named} until resumed",
            "waits": {names[each]: self._difference_of(each) or IN_DOUBT for each in stuck},
            "next_step": f"look at the venue, put it right, then avwapd ctl resume {first}: the exit leaves then",
        }

    async def _do(self, act: Act) -> None:
        """Put an act and wait until it is durable."""
        mail = Acted(act)
        await self._symbols.put(mail)
        await mail.done.wait()

    async def _reloading(self, request: web.Request) -> web.Response:
        await self._body(request, ())
        try:
            facts = await self._reload()
        except StoreError as error:
            raise Refusal(409, error.what, error.where, error.next_step) from None
        return answer({"done": "reload", **facts})

    async def _stopping(self, request: web.Request) -> web.Response:
        await self._body(request, ())
        self._stop("operator: stop")
        return answer({"done": "stop", "effect": "settling, then the process ends with 0"})

    async def _body(self, request: web.Request, known: tuple[str, ...]) -> dict[str, Any]:
        """The request's object. A misspelt key must not widen an act to every symbol."""
        raw = await request.read()
        try:
            body = orjson.loads(raw) if raw else {}
        except orjson.JSONDecodeError:
            raise Refusal(400, "the body is no JSON", request.path, 'send {} or {"symbol": "AAPL"}') from None
        if not isinstance(body, dict):
            raise Refusal(400, "the body is no JSON object", request.path, 'send {} or {"symbol": "AAPL"}')
        unknown = [*(set(body) - set(known)), *request.query]
        if unknown:
            keys = " and ".join(known) or "no keys"
            raise Refusal(400, f"unknown {unknown[0]!r}", request.path, f"the JSON body takes {keys}; no query")
        return body

    def _symbol(self, name: object) -> int:
        if name is None:
            return ALL
        names = self._symbols.journal.names.symbols
        if name not in names:
            raise Refusal(404, f"no symbol {name!r} in this run", "symbol", f"one of {', '.join(names[:8])}")
        return names.index(str(name))


def forced(body: dict[str, Any], path: str) -> bool:
    """Whether an act is wanted in spite of what speaks against it. Raises Refusal."""
    force = body.get("force", False)
    if not isinstance(force, bool):
        raise Refusal(400, f"force is {force!r}", path, "give true or false")
    return force


def answer(facts: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(facts, default=str) + b"\n", status=status, content_type="application/json")


def peer(request: web.Request) -> str:
    """Who asks, as far as a unix socket tells."""
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None:
        return "socket"
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"uid {uid} pid {pid}"


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is JSON with what, where and the next step."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return answer(refusal.body, refusal.status)
    except web.HTTPException as error:
        where = f"{request.method} {request.path}"
        next_step = "GET /v1/status positions orders gates why; POST /v1/halt resume flatten drain reload stop"
        return answer({"what": error.reason, "where": where, "next_step": next_step}, error.status)
