"""Our ccxt venue at a simulated exchange, or at a small server that records what is asked and says what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import anyio
from aiohttp import web

from avwapd.config import load
from avwapd.ports import SystemClock
from avwapd.remote.credentials import Credentials, Secret
from avwapd.remote.terms import Terms, terms_of
from avwapd.store.ids import client_id, is_ours
from avwapd.venues.ccxt import CcxtVenue, open_ccxt
from avwapd.venues.port import KnownOrder, Request, Word
from tests.venue import coins

SYMBOL, WIRE = "BTC-USD", "BTC/USD"
EXCHANGES = ("binance", "kraken")


def cid(number: int, purpose: str = "entry") -> str:
    return client_id("paper", "avwap", SYMBOL, 1_704_067_200_000, purpose, number)


class MarketClock(SystemClock):
    """Stamps of the market, waits of the wall."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms()


def submit(
    number: int, *, side: int = 1, qty: int = 100_000, type_: str = "market", limit: int = 0, stop: int = 0
) -> Request:
    purpose = {"stop": "stop"}.get(type_, "entry" if side > 0 else "exit")
    return Request("submit", cid(number), "", SYMBOL, purpose, side, type_, qty, limit, stop)


def replace(number: int, old: int, *, qty: int, stop: int) -> Request:
    return Request("replace", cid(number), cid(old), SYMBOL, "stop", -1, "stop", qty, 0, stop)


def cancel(number: int, old: int) -> Request:
    return Request("cancel", cid(number), cid(old), SYMBOL, "stop", -1, "", 0, 0, 0)


def told(words: list[Word], *names: str) -> list[tuple[Any, ...]]:
    """(kind, number of the order, …) of words, in short."""
    return [(word.kind, *(getattr(word, name) for name in names)) for word in words]


@dataclass
class Desk:
    """A venue of ours and what it talks to."""

    venue: CcxtVenue
    there: Any
    known: list[KnownOrder] = field(default_factory=list)

    async def words(self, after: int = 0) -> list[Word]:
        return await self.venue.words(after)

    async def until(self, count: int) -> list[Word]:
        """So many words, five seconds at most; no more than those."""
        with anyio.fail_after(5):
            while len(words := await self.words()) < count:  # noqa: ASYNC110 - words are asked for
                await anyio.sleep(0.01)
        return words


@asynccontextmanager
async def opened(
    address: str,
    name: str,
    clock: Any,
    terms: dict[str, Terms],
    *,
    limit_s: float = 3.0,
    begin: bool = True,
    known: tuple[KnownOrder, ...] = (),
    booked: frozenset[str] = frozenset(),
    cursor: int = 0,
    **settings: Any,
) -> AsyncIterator[CcxtVenue]:
    options = {"run.mode": "paper", "venue.name": name, "venue.address": address, "venue.calls_minute": "5000"}
    options |= {"order.answer_limit_ms": str(int(limit_s * 1000))}
    options |= {f"venue.{key}": str(value) for key, value in settings.items()}
    keys = Credentials(Secret(coins.KEY), Secret(coins.SECRET))
    config = load(environ={}, options=options)
    venue = await open_ccxt(config, keys, terms, clock, ours=is_ours, jitter=lambda: 0.0)
    try:
        if begin:
            venue.begin(cursor, known, booked, lambda: None)
        yield venue
    finally:
        await venue.close()


@asynccontextmanager
async def desk(
    folder: Path,
    name: str,
    closes: list[float] | None = None,
    *,
    listen: bool = False,
    venue: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Desk]:
    """The venue at a running simulator; listen: its `run` is on. venue: words of `opened`."""
    async with coins.running(folder, closes or [100.0] * 60, name, **options) as there:
        clock = MarketClock(there.sim.market.now_ms)
        async with opened(there.address, name, clock, terms_at(there), **(venue or {})) as made:
            if not listen:
                yield Desk(made, there)
                return
            async with anyio.create_task_group() as group:
                await group.start(lambda *, task_status: made.run(task_status=task_status))
                yield Desk(made, there)
                group.cancel_scope.cancel()


def terms_at(there: coins.Venue) -> dict[str, Terms]:
    source = there.sim.market.source
    return terms_of(source.symbols, source.instruments, "/")


# ----------------------------------------------------------------------------------------------- a recording server


@dataclass
class Heard:
    """One request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: str
    headers: dict[str, str]

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body, keep_blank_values=True))

    @property
    def text(self) -> str:
        return f"{self.path}?{self.query} {self.body}"


Answer = Callable[[web.Request, Heard], Any]


class Recorder:
    """Says what `answers` has for a request (by "METHOD /path", else by "*"), and remembers every request."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: dict[str, Answer] = {}
        self.address = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        heard = Heard(request.method, request.path, dict(request.query), body, dict(request.headers))
        self.heard.append(heard)
        answer = self.answers.get(f"{request.method} {request.path}") or self.answers.get("*")
        said = answer(request, heard) if answer else {}
        if hasattr(said, "__await__"):
            said = await said
        return said if isinstance(said, web.StreamResponse) else web.json_response(said)

    def of(self, method: str, path: str) -> list[Heard]:
        return [heard for heard in self.heard if (heard.method, heard.path) == (method, path)]


@asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", recorder.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        recorder.address = f"http://{host}:{port}"
        yield recorder
    finally:
        await runner.cleanup()


NOW_MS = 1_704_070_800_000
BTC = {
    "tick": "0.01",
    "lot": "0.00001",
    "min_qty": "0.0001",
    "min_notional": "5",
    "asset": "crypto",
    "quote": "USD",
}


def still() -> MarketClock:
    """The recorder's time: it stands."""
    return MarketClock(lambda: NOW_MS)


def terms_for(name: str) -> dict[str, Terms]:
    return terms_of((SYMBOL,), ({**BTC, "tick": "0.1" if name == "kraken" else "0.01"},), "/")


def binance_answers(recorder: Recorder) -> None:
    """What binance says before the first order."""
    market = {
        "symbol": "BTCUSD",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USD",
        "orderTypes": ["LIMIT", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"],
        "isSpotTradingAllowed": True,
        "permissions": ["SPOT"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.0001", "maxQty": "9000.0", "stepSize": "0.00001"},
            {"filterType": "NOTIONAL", "minNotional": "5.00"},
        ],
    }
    recorder.answers["GET /api/v3/exchangeInfo"] = lambda *_: {"timezone": "UTC", "symbols": [market]}
    recorder.answers["GET /api/v3/time"] = lambda *_: {"serverTime": NOW_MS}


def kraken_answers(recorder: Recorder) -> None:
    """What kraken says before the first order."""
    pair = {
        "altname": "XBTUSD",
        "wsname": "XBT/USD",
        "aclass_base": "currency",
        "base": "XXBT",
        "aclass_quote": "currency",
        "quote": "ZUSD",
        "pair_decimals": 1,
        "lot_decimals": 8,
        "lot_multiplier": 1,
        "fees": [[0, 0.26]],
        "fees_maker": [[0, 0.16]],
        "ordermin": "0.0001",
        "costmin": "0.5",
        "tick_size": "0.1",
        "status": "online",
        "leverage_buy": [],
        "leverage_sell": [],
    }
    coins_ = {
        "XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5, "status": "enabled"},
        "ZUSD": {"aclass": "currency", "altname": "USD", "decimals": 4, "display_decimals": 2, "status": "enabled"},
    }
    recorder.answers["GET /0/public/AssetPairs"] = lambda *_: {"error": [], "result": {"XXBTZUSD": pair}}
    recorder.answers["GET /0/public/Assets"] = lambda *_: {"error": [], "result": coins_}
    recorder.answers["GET /0/public/Time"] = lambda *_: {"error": [], "result": {"unixtime": NOW_MS // 1000}}


PLACE = {"binance": "POST /api/v3/order", "kraken": "POST /0/private/AddOrder"}


@asynccontextmanager
async def recorded(name: str, **words: Any) -> AsyncIterator[tuple[CcxtVenue, Recorder]]:
    """Our venue at a recorder that knows the one market."""
    async with recording() as recorder:
        (binance_answers if name == "binance" else kraken_answers)(recorder)
        async with opened(recorder.address, name, still(), terms_for(name), **words) as venue:
            yield venue, recorder
