"""The control socket: HTTP and JSON over a unix socket, usable with curl; never over TCP.

GET reads, POST acts. Reads of the ledger go over a connection of their own that can only read: a slow question cannot
delay an order. Bodies are small, clients few, time short (control_door); who may do what follows from the peer's uid
(control_peer); each act leaves a row and is done once (control_deeds).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from aiohttp import web
from anyio.abc import TaskStatus

from avwapd.actors.control_act import KEYS, Acts, Powers
from avwapd.actors.control_answer import ROUTES, Refusal, answer
from avwapd.actors.control_deeds import Deeds
from avwapd.actors.control_desk import Desk
from avwapd.actors.control_door import Door
from avwapd.actors.control_peer import Access
from avwapd.actors.control_read import Handler, Reads
from avwapd.actors.symbols import Symbols
from avwapd.ports import Clock
from avwapd.store.writer import Writer

log = logging.getLogger("avwapd.control")

BODY_BYTES = 65_536
END_S = 2.0  # for answers under way when the daemon ends


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
        *,
        writer: Writer,
        clock: Clock,
        difference_of: Callable[[int], str] = lambda symbol: "",
        desk: Desk | None = None,
        access: Access | None = None,
    ) -> None:
        desk, self._access = desk or Desk(), access or Access()
        self._door = Door(path, self._access)
        self._deeds = Deeds(writer, clock)
        self._reads = Reads(database, symbols.journal, facts, desk)
        self._acts = Acts(Powers(symbols, writer, stop, reload, difference_of, desk), self._deeds)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until canceled; the socket file goes with it."""
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            auto_decompress=False,
            handler_cancellation=False,
            lingering_time=0,
            shutdown_timeout=END_S,
        )
        await runner.setup()
        assert runner.server is not None
        try:
            async with anyio.create_task_group() as group:
                self._deeds.open(group)
                await group.start(self._door.run, runner.server)
                task_status.started()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[self._answered])
        self._reads.add_to(app.router)
        for verb in KEYS:
            app.router.add_post(f"/v1/{verb}", partial(self._act, verb))
        return app

    async def _act(self, verb: str, request: web.Request) -> web.StreamResponse:
        caller = self._door.callers[request.protocol]
        return await self._acts.perform(request, verb, await request.read(), caller.peer)

    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """One answer a connection; every refusal is JSON with what, where and the next step."""
        response = await self._answer(request, handler)
        response.force_close()
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        caller = self._door.callers.get(request.protocol)
        if caller is None:
            return answer({"what": "the client is gone", "where": "control socket", "next_step": "ask again"}, 503)
        try:
            await request.read()  # the whole of it, before it takes a place
            with self._door.served(caller, request.method, request.path):
                self._permit(request, caller.peer)
                return await handler(request)
        except Refusal as refusal:
            return answer(refusal.body, refusal.status)
        except web.HTTPException as error:
            where = f"{request.method[:16]} {request.path[:200]}"
            return answer({"what": error.reason, "where": where, "next_step": ROUTES}, error.status)

    def _permit(self, request: web.Request, peer: Any) -> None:
        """Raises Refusal; an act that this user may not do leaves a row."""
        try:
            self._access.assert_may(peer, request.method)
        except Refusal as refusal:
            verb = request.path.removeprefix("/v1/")
            if verb in KEYS:
                self._deeds.refuse(verb, "", peer, refusal)
            raise
