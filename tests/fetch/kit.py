"""A simulator served from a thread of its own, markets made up for it, and the command line against it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from aiohttp import web

from avwapd import cli
from avwapd.core.records import BAR
from avwapd.demo_venue.server import Options, Simulator
from avwapd.feeds.calendar import ALWAYS, BELL, calendar_version, sessions
from avwapd.feeds.market import Market, hash_of
from avwapd.store.archive import Archive
from avwapd.verbs import fetch_work

MINUTE, DAY = 60_000, 86_400_000
START = 19_723 * DAY  # 2024-01-01
# alpaca-py imports the old client of websockets; every other warning is an error.
WARNINGS = "error,ignore:websockets.legacy is deprecated:DeprecationWarning"
VALUES = ("open", "high", "low", "close", "volume")


class Served:
    """address: of the simulator; sim: its insides, which only a paused market lets others touch."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stop: Any = None
        self._token: Any = None
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.address = ""
        self.failure: BaseException | None = None

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(30)
        if self.failure is not None:
            raise self.failure
        return self

    def __exit__(self, *_: object) -> None:
        anyio.from_thread.run_sync(self._stop.set, token=self._token)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            anyio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - told in the test's thread
            self.failure = error
            self._ready.set()

    async def _serve(self) -> None:
        simulator = Simulator(self._options)
        self.sim = simulator.sim
        app = simulator.app()

        @web.middleware
        async def noted(request: web.Request, handler: Any) -> web.StreamResponse:
            if not request.path.startswith("/control"):
                self.requests.append((request.path, dict(request.query)))
            return await handler(request)  # type: ignore[no-any-return]

        app.middlewares.insert(0, noted)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._stop, self._token = anyio.Event(), anyio.lowlevel.current_token()
        self._ready.set()
        async with anyio.create_task_group() as group:
            group.start_soon(simulator.run)
            await self._stop.wait()
            group.cancel_scope.cancel()
        await runner.cleanup()
        simulator.close()

    @property
    def now_ms(self) -> int:
        """Of a paused market: its time, up to which everything has closed."""
        return self.sim.market.now_ms()

    def asked(self, part: str) -> int:
        """How many requests went to paths with this part."""
        return sum(part in path for path, _ in self.requests)

    def fault(self, name: str, **settings: Any) -> None:
        self.sim.faults.set(name, settings)


def market_of(symbols: tuple[str, ...], *, days: int, seed: int = 1) -> Market:
    """Minute bars from 2024-01-01 on: pairs trade always, shares in New York's sessions, with some silent minutes."""
    chance = np.random.Generator(np.random.PCG64(seed))
    parts = []
    for index, symbol in enumerate(symbols):
        pair = "-" in symbol
        ranges = [(START, START + days * DAY)]
        if not pair:
            table = sessions(BELL, START, START + days * DAY)
            ranges = [(int(row["open_ms"]), int(row["close_ms"])) for row in table]
        stamps = np.concatenate(
            [np.arange(a + MINUTE, b + 1, MINUTE) for a, b in ranges if a >= START and b <= START + days * DAY]
        )
        if not pair:
            stamps = stamps[chance.random(len(stamps)) > 0.05 * index]
        rows = np.zeros(len(stamps), BAR)
        close = np.round(100 + np.cumsum(chance.normal(0, 0.02, len(stamps))), 2)
        opened = np.concatenate([close[:1], close[:-1]])
        rows["ts_ms"], rows["symbol"], rows["open"], rows["close"] = stamps, index, opened, close
        rows["high"], rows["low"] = (
            np.round(np.maximum(opened, close) + 0.01, 2),
            np.round(np.minimum(opened, close) - 0.01, 2),
        )
        rows["volume"] = np.round(chance.random(len(stamps)) * 1000 + 1)
        parts.append(rows)
    bars = np.concatenate(parts)
    bars = bars[np.lexsort((bars["symbol"], bars["ts_ms"]))]
    return Market("made", "1m", symbols, tuple(map(described, symbols)), bars, hash_of(bars), calendar_version())


def described(symbol: str) -> dict[str, str]:
    pair = "-" in symbol
    lot = "0.00001" if pair else "1"
    return {
        "exchange": "made",
        "symbol": symbol,
        "asset": "crypto" if pair else "equity",
        "quote": "USD",
        "tick": "0.01",
        "lot": lot,
        "min_qty": lot,
        "min_notional": "5" if pair else "0",
        "calendar": ALWAYS if pair else BELL,
        "price_source": "hlc3",
    }


def played(market: Market, state: Path, wire: str, *, behind: int = 0, paused: bool = True) -> Options:
    """A market that has run but for its last bars; those before are history."""
    times = np.unique(market.bars["ts_ms"])
    first_ms = int(times[-1 - behind])
    return Options(market=market, state=state, wire=wire, first_ms=first_ms, paused=paused, speed=60.0)


def environ(served: Served, wire: str) -> dict[str, str]:
    return {
        "AVWAPD_VENUE__NAME": wire,
        "AVWAPD_VENUE__ADDRESS": served.address,
        "AVWAPD_VENUE__SPEED": "60",
        "AVWAPD_VENUE__CALLS_MINUTE": "100000",
    }


@contextmanager
def pointed(patch: pytest.MonkeyPatch, served: Served, wire: str) -> Iterator[None]:
    """Until `patch` is undone: a test may set more of the same with it."""
    for name, value in environ(served, wire).items():
        patch.setenv(name, value)
    patch.setattr(fetch_work, "REST_S", (0.01, 0.02, 0.03))
    yield


def fetched(capsys: pytest.CaptureFixture[str], state: Path, wire: str, *words: str) -> tuple[int, dict[str, Any]]:
    """`bars fetch --json` in this process."""
    capsys.readouterr()
    code = cli.main(["bars", "fetch", "--json", "--state-dir", str(state), "--exchange", wire, *words])
    return code, json.loads(capsys.readouterr().out)


def archived(state: Path, exchange: str) -> list[tuple[Any, ...]]:
    table = Archive(state / "archive").read(exchange, "1m")
    return list(zip(*(table[name].to_pylist() for name in ("ts_ms", "symbol", *VALUES)), strict=True))


def expected(market: Market, last_ms: int, first_ms: int = 0) -> list[tuple[Any, ...]]:
    """The market's own bars as archive rows, bit for bit."""
    rows = market.bars[(market.bars["ts_ms"] <= last_ms) & (market.bars["ts_ms"] >= first_ms)]
    return [(int(r["ts_ms"]), market.symbols[int(r["symbol"])], *(float(r[name]) for name in VALUES)) for r in rows]


def files(state: Path) -> dict[str, bytes]:
    """Every file of bars, whole."""
    return {
        str(path.relative_to(state)): path.read_bytes() for path in sorted(state.glob("archive/*/*/[0-9]*.parquet"))
    }
