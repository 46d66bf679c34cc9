"""The exchange as a process of its own, that outlives the daemon: python -m avwapd.venues.server --help.

It says where it listens in one JSON line on stdout. A call whose answer the faults swallow ends in a cut connection.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import orjson
from aiohttp import web

from avwapd.core.records import BAR
from avwapd.venues.book import Exchange, warm
from avwapd.venues.embedded import EmbeddedVenue
from avwapd.venues.faults import FaultPlan, FaultyVenue
from avwapd.venues.port import Request, VenueDoubt, VenueRefused
from avwapd.venues.wire import BODY_BYTES, OVER_HEADER, Address, parsed, shaped

BARS_AT_ONCE = 20_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ExchangeServer:
    """`bars`: BAR array sorted by time of a market that runs by itself, `pace` bars a second; pace 0: it is told."""

    def __init__(self, exchange: Exchange, plan: FaultPlan, bars: Any, pace: float) -> None:
        self.exchange = exchange
        self.venue = FaultyVenue(EmbeddedVenue(exchange), plan)
        self._bars = bars
        self._pace = pace
        self._go_on = anyio.Event()
        self._go_on.set()

    @property
    def over(self) -> bool:
        """A market that runs by itself has closed its last bar."""
        return self._pace > 0 and (not len(self._bars) or self.exchange.closed_ms >= int(self._bars[-1]["ts_ms"]))

    def app(self) -> web.Application:
        app = web.Application(middlewares=[clear_answers], client_max_size=BODY_BYTES)
        app.router.add_post("/orders", self.take)
        app.router.add_get("/orders/{cid}", self.look_up)
        app.router.add_get("/words", self.words)
        app.router.add_post("/market/open", self.open_bar)
        app.router.add_post("/market/close", self.close_bar)
        app.router.add_get("/market/bars", self.bars)
        app.router.add_get("/book", self.book)
        app.router.add_post("/control", self.control)
        app.router.add_get("/health", self.health)
        return app

    async def take(self, request: web.Request) -> web.Response:
        order = shaped(Request, parsed(await request.read()))
        await self.venue.send(order)
        return answer({"taken": order.cid})

    async def look_up(self, request: web.Request) -> web.Response:
        return answer({"order": await self.venue.look_up(request.match_info["cid"])})

    async def words(self, request: web.Request) -> web.Response:
        return answer({"words": await self.venue.words(number(request, "after"))})

    async def open_bar(self, request: web.Request) -> web.Response:
        self._only_when_told()
        bars = np.frombuffer(await request.read(), BAR)
        await self.venue.open_bar(number(request, "ts_ms"), bars)
        return answer({})

    async def close_bar(self, request: web.Request) -> web.Response:
        self._only_when_told()
        await self.venue.close_bar(number(request, "ts_ms"))
        return answer({})

    async def bars(self, request: web.Request) -> web.Response:
        """The closed bars after a time, whole barriers, as an .npy file."""
        times = self._bars["ts_ms"]
        first, last = np.searchsorted(times, [number(request, "after"), self.exchange.closed_ms], side="right")
        if last - first > BARS_AT_ONCE:
            last = np.searchsorted(times, times[first + BARS_AT_ONCE], side="left")
        body = BytesIO()
        np.save(body, np.array(self._bars[first : max(first, last)]))
        over = "1" if self.over and last == len(times) else "0"
        return web.Response(body=body.getvalue(), headers={OVER_HEADER: over}, content_type="application/octet-stream")

    async def book(self, _: web.Request) -> web.Response:
        return answer({"orders": self.exchange.orders_rows(), "positions": self.exchange.positions()})

    async def control(self, request: web.Request) -> web.Response:
        """{"pause": true} holds the market that runs by itself."""
        pause = parsed(await request.read()).get("pause")
        if not isinstance(pause, bool):
            raise VenueRefused("pause is true or false")
        if pause and self._go_on.is_set():
            self._go_on = anyio.Event()
        elif not pause:
            self._go_on.set()
        return answer({"pause": pause})

    async def health(self, _: web.Request) -> web.Response:
        state = {"opened_ms": self.exchange.opened_ms, "closed_ms": self.exchange.closed_ms, "over": self.over}
        return answer(state | {"last_word": self.exchange.last_word, "faults": dict(self.venue.counts)})

    def _only_when_told(self) -> None:
        if self._pace > 0:
            raise VenueRefused("this market runs by itself")

    async def free_run(self) -> None:
        """Half a bar's time between open and close, half until the next opens."""
        times = self._bars["ts_ms"]
        first = int(np.searchsorted(times, self.exchange.closed_ms, side="right"))
        while first < len(times):
            await self._go_on.wait()
            ts_ms = int(times[first])
            end = int(np.searchsorted(times, ts_ms, side="right"))
            await self.venue.run_bar(ts_ms, np.array(self._bars[first:end]))
            await anyio.sleep(0.5 / self._pace)
            self.exchange.close_bar(ts_ms)
            await anyio.sleep(0.5 / self._pace)
            first = end


@web.middleware
async def clear_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A refusal in words, a doubt as a cut line."""
    try:
        return await handler(request)
    except VenueDoubt:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)
    except VenueRefused as refused:
        return answer({"refused": refused.reason, "duplicate": refused.duplicate}, status=422)
    except ValueError as error:
        return answer({"refused": str(error)}, status=400)


def answer(body: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def number(request: web.Request, name: str) -> int:
    """A whole number of the query; raises ValueError."""
    return int(request.query.get(name, ""))


async def serve(options: argparse.Namespace) -> None:
    """Until SIGTERM or SIGINT."""
    exchange = Exchange(
        options.book,
        np.load(options.instruments, allow_pickle=False),
        options.symbols.split(","),
        volume_share=options.volume_share,
        refuses_duplicates=not options.no_duplicate_check,
        posts=options.posts,
        eager=options.free_run > 0,
    )
    bars = np.load(options.bars, mmap_mode="r", allow_pickle=False) if options.bars else np.zeros(0, BAR)
    server = ExchangeServer(exchange, fault_plan(options.fault), bars, options.free_run)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1.0)
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as group:
            await group.start(server.venue.run)
            try:
                address = await listen(runner, options.listen)
                sys.stdout.write(orjson.dumps({"address": str(address)}).decode() + "\n")
                sys.stdout.flush()
                if options.free_run > 0:
                    group.start_soon(server.free_run)
                await anext(signals)
            finally:
                with anyio.CancelScope(shield=True):
                    await runner.cleanup()
            group.cancel_scope.cancel()
    await server.venue.close()


async def listen(runner: web.AppRunner, wanted: Address) -> Address:
    """Where it really listens."""
    await runner.setup()
    site = web.UnixSite(runner, wanted.path) if wanted.path else web.TCPSite(runner, wanted.host, wanted.port)
    await site.start()
    return wanted if wanted.path else Address(host=wanted.host, port=runner.addresses[0][1])


def fault_plan(settings: Sequence[str]) -> FaultPlan:
    """From KEY=VALUE; raises ValueError."""
    kinds = {name: type(value) for name, value in asdict(FaultPlan()).items()}
    chosen: dict[str, Any] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in kinds:
            raise ValueError(f"{key} is none of {', '.join(kinds)}")
        chosen[key] = kinds[key](value)
    return FaultPlan(**chosen)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m avwapd.venues.server", description="A simulated exchange.")
    parser.add_argument("--book", type=Path, required=True, help="the exchange's own SQLite file")
    parser.add_argument("--instruments", type=Path, required=True, help=".npy of INSTRUMENT records")
    parser.add_argument("--symbols", required=True, help="A,B,… in the order of the instruments")
    parser.add_argument("--listen", type=Address.parse, required=True, help="unix:PATH or HOST:PORT, port 0: any")
    parser.add_argument("--posts", type=Path, help="gets every request that arrived, one JSON line each")
    parser.add_argument("--volume-share", type=float, default=0.1, help="of a bar's volume that orders may take")
    parser.add_argument("--no-duplicate-check", action="store_true", help="a known order id makes a second order")
    parser.add_argument("--fault", action="append", default=[], metavar="KEY=VALUE", help="a field of FaultPlan")
    parser.add_argument("--free-run", type=float, default=0.0, metavar="PACE", help="bars a second, of --bars")
    parser.add_argument("--bars", type=Path, help=".npy of BAR records, sorted by time and symbol")
    options = parser.parse_args(words)
    warm()
    anyio.run(serve, options)


if __name__ == "__main__":
    main()
