"""The real router, machines, writer and ledger over the unmodified Alpaca client against a simulator on loopback.

The market stands still until a test lets it go on, half a bar at a time, so that every test meets the same bars.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from avwapd.actors.at_venue import trading
from avwapd.actors.mail import Acted, BarsClosed
from avwapd.actors.naked import Naked
from avwapd.actors.reconcile import Reconciler
from avwapd.actors.router import Router
from avwapd.actors.symbols import Symbols
from avwapd.config import Config, load
from avwapd.demo_venue.desk_shapes import PROFILES
from avwapd.demo_venue.sim import Sim
from avwapd.feeds.world import Setup, build, warm
from avwapd.ports import SystemClock
from avwapd.remote.terms import terms_of
from avwapd.runs import instrument_rows, run_row
from avwapd.store import ledger
from avwapd.store.audit import audit
from avwapd.store.database import LedgerDatabase, open_database
from avwapd.store.ids import is_ours
from avwapd.store.journal import ALL, Act, Journal, Names
from avwapd.store.rows import StepRows
from avwapd.store.sql import Connection, transact
from avwapd.store.writer import Writer
from avwapd.venues.alpaca import AlpacaVenue, alpaca_venue
from avwapd.venues.port import KnownOrder, VenueDoubt
from tests.sim.scenario import LIVELY, Plan
from tests.venue.simulators import Running, running

SPEED = 60.0
PLAN = Plan(seed=3, kind="equity", symbols=2, barriers=50)
LIMIT_S = 20.0
SETTINGS = {
    "run.mode": "paper",
    "run.timeframe": PLAN.timeframe,
    "venue.name": "alpaca",
    "venue.speed": str(SPEED),
    "venue.skew_limit_ms": "600000",  # the market stands, and then a bar is over at once
    "venue.settling_ms": "6000",  # 0.1 s by the wall
    "venue.calls_minute": "100000",
    "venue.reserve_calls": "1000",
    "venue.breaker_failures": "100",
    "order.answer_limit_ms": "300",
    "reconcile.every_s": "60",
    "reconcile.settle_s": "6",
    "fills.commission_usd": "0",
    "fills.commission_bps": "0",
    "fills.slippage_bps": "0",
}


class MarketTime(SystemClock):
    """Stamps are the simulated market's; waits are the machine's own."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim

    def now_ms(self) -> int:
        return self._sim.market.now_ms()


@dataclass
class Bench:
    """What a test reaches for. killed, blocked: what the doors say now."""

    there: Running
    config: Config
    setup: Setup
    clock: MarketTime
    venue: AlpacaVenue
    path: Path
    killed: bool = False
    blocked: str = ""
    router: Router = field(init=False)
    symbols: Symbols = field(init=False)
    writer: Writer = field(init=False)
    reconciler: Reconciler = field(init=False)
    naked: Naked = field(init=False)
    journal: Journal = field(init=False)
    market_ms: int = 0
    lost_ms: int = 0  # of the router
    epoch: int = 0

    @property
    def sim(self) -> Sim:
        return self.there.sim

    @property
    def states(self) -> Any:
        return self.journal.world.states

    # ---------------------------------------------------------------------------------------------- market

    async def open(self, *, quiet: bool = True) -> None:
        """The next bar opens at the venue; whatever it fills is heard and answered, where the test can wait for it."""
        self.sim.market.half(1)
        if quiet:
            await self.quiet()

    async def close(self, *, quiet: bool = True) -> None:
        """It closes, and is decided."""
        self.sim.market.half(1)
        rows = self.sim.market.bar_rows(self.sim.market._next - 1)
        mail = BarsClosed(rows)
        await self.symbols.put(mail)
        await mail.folded.wait()
        self.market_ms = int(rows[0]["ts_ms"])
        await self.symbols.settled()
        if quiet:
            await self.quiet()

    async def bar(self, count: int = 1) -> None:
        for _ in range(count):
            await self.open()
            await self.close()

    async def until(self, seen: Callable[[], bool], *, bars: int = 50, quiet: bool = True) -> None:
        """Bars until it is seen, after an opening or a close."""
        for _ in range(bars):
            if seen():
                return
            await self.open(quiet=quiet)
            if seen():
                return
            await self.close(quiet=quiet)
        assert seen(), f"not seen within {bars} bars"

    async def until_sent(self) -> None:
        """The first order leaves; what becomes of it is the test's."""
        await self.until(lambda: bool(self.states["entry"]["status"].any()), quiet=False)
        await self.wait(lambda: self.router.sent > 0)

    async def quiet(self) -> None:
        """Everything that can be said was said, heard and answered."""
        with anyio.fail_after(LIMIT_S):
            while True:
                before = (self.journal.seq, self.router.sent)
                await self.router.settle()
                try:
                    await self.venue.recheck()
                except VenueDoubt:
                    continue
                await self.router.listened()
                await self.symbols.settled()
                if before == (self.journal.seq, self.router.sent):
                    return

    async def act(self, kind: int, symbol: int = ALL) -> None:
        """What an operator does."""
        mail = Acted(Act(kind, symbol, False, "test", "an operator"))
        await self.symbols.put(mail)
        await mail.done.wait()

    def fault(self, name: str, **how: Any) -> None:
        """Switch a fault of the venue on."""
        self.sim.faults.set(name, how or 1.0)

    async def wait(self, seen: Callable[[], Any], limit_s: float = 5.0) -> None:
        with anyio.fail_after(limit_s):
            while not seen():  # noqa: ASYNC110 - it looks at what has no event of its own
                await anyio.sleep(0.01)

    # ----------------------------------------------------------------------------------------------- facts

    def held(self) -> dict[str, int]:
        names = self.setup.market.symbols
        return {name: int(row["qty"] * row["side"]) for name, row in zip(names, self.states, strict=True) if row["qty"]}

    def at_venue(self) -> dict[str, int]:
        return {name: int(qty) for name, qty in self.sim.desk.true_positions().items() if qty}

    def sent_twice(self) -> list[str]:
        """Ids that name two orders at the venue."""
        cids = [order.client_id for order in self.sim.desk.all_orders()]
        return [cid for cid in set(cids) if cids.count(cid) > 1]

    async def rows(self, query: str, *given: Any) -> list[tuple[Any, ...]]:
        return await self.writer.submit(lambda conn: conn.execute(query, given).fetchall())

    async def alerts(self) -> list[tuple[str, str]]:
        return await self.rows("SELECT level, what FROM alerts ORDER BY id")

    async def sound(self) -> None:
        """The ledger's own audit, one order an id, and the venue's positions."""
        run = self.config.run
        found = await self.writer.submit(lambda conn: audit(conn, account=run.account, strategy=run.strategy))
        assert found == []
        assert self.sent_twice() == []
        assert self.held() == self.at_venue()


def config_of(url: str, settings: dict[str, str]) -> Config:
    options = LIVELY | SETTINGS | {"venue.address": url} | settings
    return load(None, folder=Path("/nonexistent"), environ={}, options=options)


@asynccontextmanager
async def bench(folder: Path, *, profile: str = "strict", **options: Any) -> AsyncIterator[Bench]:
    """A simulator, and a daemon's middle beside it; options: of `life`."""
    async with (
        market(folder, profile=profile) as there,
        life(there, folder, refuses_duplicates=profile != "lenient", **options) as made,
    ):
        yield made


@asynccontextmanager
async def market(folder: Path, *, profile: str = "strict") -> AsyncIterator[Running]:
    """The simulator alone."""
    source = PLAN.setup.market
    first_ms = int(source.bars["ts_ms"][0])
    async with running(folder / "venue", market=source, first_ms=first_ms, profile=PROFILES[profile]) as there:
        yield there


@asynccontextmanager
async def life(
    there: Running,
    folder: Path,
    *,
    refuses_duplicates: bool = True,
    reconciling: bool = False,
    orders_minute: int = 0,
    at_once: int = 4,
    **settings: str,
) -> AsyncIterator[Bench]:
    """One life on the ledger in the folder; settings: names with two underscores for the point."""
    source = PLAN.setup.market
    config = config_of(there.url, {name.replace("__", "."): value for name, value in settings.items()})
    setup = build(config, source)
    warm(setup)
    clock = MarketTime(there.sim)
    terms = terms_of(source.symbols, source.instruments)
    venue = alpaca_venue(
        config,
        terms,
        clock,
        ours=is_ours,
        chance=lambda: 0.5,
        environment={},
        refuses_duplicates=refuses_duplicates,
    )
    made = Bench(there, config, setup, clock, venue, folder / "avwapd.db")
    try:
        async with living(made, terms, reconciling=reconciling, orders_minute=orders_minute, at_once=at_once):
            yield made
    finally:
        with anyio.CancelScope(shield=True):
            await venue.close()


@asynccontextmanager
async def living(
    made: Bench, terms: Any, *, reconciling: bool, orders_minute: int, at_once: int
) -> AsyncIterator[None]:
    """One life on the ledger."""
    config, setup = made.config, made.setup
    database: LedgerDatabase = await open_database(made.path, create=True)
    names = Names(config.run.account, config.run.strategy, setup.market.symbols)
    made.journal = Journal(setup.fresh(), names, fingerprint=setup.fingerprint, fresh_ms=config.order.fresh_ms)
    try:
        pending, live, known, booked = await database.run(transact(partial(take_over, made)))
        async with anyio.create_task_group() as outer:
            made.writer = Writer(database, made.epoch, room=config.queues.writer)
            await outer.start(made.writer.run)

            async def claim(rows: StepRows) -> None:
                await made.router.claim(rows)

            def publish(rows: StepRows) -> None:
                made.router.take(rows)
                made.naked.tell(rows)

            made.symbols = Symbols(made.journal, made.writer, made.clock, publish, claim, room=64)
            with closing(made.symbols):
                async with anyio.create_task_group() as group:
                    made.router = Router(
                        made.venue,
                        made.writer,
                        made.symbols,
                        made.clock,
                        settling_ms=config.venue.settling_ms,
                        lost_ms=made.lost_ms,
                        reconcile_s=1.0,
                        killed=lambda: made.killed,
                        market_ms=lambda: made.market_ms,
                        speed=SPEED,
                        at_once=at_once,
                        blocked=lambda: made.blocked,
                        orders_minute=orders_minute,
                    )
                    made.naked = Naked(
                        made.journal,
                        made.clock,
                        limit_s=config.reconcile.naked_limit_s,
                        speed=SPEED,
                        alert=partial(made.router.alert, "critical"),
                        opened=trading(setup),
                        bar_ms=setup.market.timeframe_ms,
                    )
                    made.symbols.on_folded = made.naked.fold
                    made.router.resume(pending, live)
                    made.venue.begin(made.journal.cursor, known, booked, made.router.ring)
                    since = partial(ledger.unprotected_since, symbol_ids=made.naked.held())
                    made.naked.start(await made.writer.submit(since))
                    await group.start(made.symbols.run)
                    if reconciling:
                        made.reconciler = Reconciler(
                            made.venue, made.symbols, made.writer, made.router, made.clock, config, terms
                        )
                    await group.start(made.router.run)
                    await group.start(made.venue.run)
                    if reconciling:
                        await group.start(made.reconciler.run)
                    yield
                    group.cancel_scope.cancel()
            made.writer.close()
    finally:
        with anyio.CancelScope(shield=True):
            await database.close()


def take_over(made: Bench, conn: Connection) -> Any:
    """What a start reads."""
    made.epoch = ledger.begin_epoch(conn, 1, 1, "test", "boot")
    ledger.register_instruments(conn, instrument_rows(made.setup))
    ledger.begin_run(conn, run_row(made.setup, made.epoch, 1))
    made.journal.know(ledger.order_ids(conn))
    for entry in ledger.inputs_after(conn, 0):
        made.journal.load(entry)
    ledger.doubt_sending(conn)
    pending = ledger.pending(conn)
    made.journal.resume(
        (row.symbol_id, row.ref_intent, row.intent)
        for row in pending
        if row.kind == "cancel" and row.ref_intent is not None
    )
    known = [KnownOrder(*row) for row in ledger.known_orders(conn)]
    return pending, ledger.live(conn), known, ledger.exec_ids(conn)
