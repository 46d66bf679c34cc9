"""Prometheus' page inside the daemon: on this machine's loopback only, and never in trading's way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
from aiohttp import web
from anyio.abc import TaskStatus

from avwapd.ops import metrics

log = logging.getLogger("avwapd.metrics")

HOST = "127.0.0.1"
NEXT_STEP = "set metrics.port to another, or 0 for none"


class MetricsServer:
    """port: 0 takes any, the attribute says which then; the daemon leaves the server out where it is switched off."""

    def __init__(self, port: int, facts: Callable[[], dict[str, Any]]) -> None:
        self.port = port
        self._facts = facts

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until canceled. A port that is taken is told, and trading goes on without the page."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._page)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=15, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, self.port, backlog=16)
            try:
                await site.start()
                self.port = runner.addresses[0][1]
                log.info("metrics on http://%s:%d/metrics", HOST, self.port)
            except OSError as error:
                log.error("no metrics on port %d (%s); %s", self.port, error.strerror, NEXT_STEP)
            task_status.started()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(self._facts()), headers={"Content-Type": metrics.CONTENT_TYPE})
