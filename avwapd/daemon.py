"""The daemon on one screen: what starts in which order, who talks to whom, how it ends.

lock -> ledger -> kernels -> memory -> writer -> symbols -> router (reconcile) -> catch-up -> bars -> ready. One start
path after every kind of end. Any actor's error ends the process with its reason; the supervisor starts it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import anyio
from anyio.abc import TaskStatus

from avwapd import __version__
from avwapd.actors.at_venue import AtVenue
from avwapd.actors.bars import FreeBars, ReplayBars
from avwapd.actors.clock import MarketClock
from avwapd.actors.heartbeat import Heartbeat
from avwapd.actors.lists import Lists
from avwapd.actors.live import LiveBars
from avwapd.actors.mail import Acted
from avwapd.actors.router import Router
from avwapd.actors.story import Story
from avwapd.actors.symbols import Symbols
from avwapd.config import Config, config_hash, defaults, rules_of
from avwapd.core.codes import ACT_DRAIN, PHASES
from avwapd.feeds.replay import ReplayFeed
from avwapd.feeds.world import Setup, at_venue, in_window
from avwapd.ports import Clock, Database
from avwapd.settings import CEILING_ORDERS_MINUTE
from avwapd.store import InstrumentsChanged, ledger
from avwapd.store.journal import ALL, RULES_VERSION, Act, Journal, Names
from avwapd.store.rows import InstrumentRow, Request, RunRow, StepRows
from avwapd.store.sql import Connection, transact
from avwapd.store.watchlist import Watchlist
from avwapd.store.writer import Writer
from avwapd.venues.port import Market, Venue

log = logging.getLogger("avwapd")

DRAIN_S = 10.0
TICK_S = 0.25
POLL_S = 0.02
RECONCILE_S = 30.0
LOST_MS = 600_000  # market time for which venues have been seen to deny orders that were live


class EmbeddedVenue(Venue, Market, Protocol):
    """A venue that is also told what the market did."""


class Server(Protocol):
    """A part that serves until canceled."""

    async def run(self, *, task_status: TaskStatus[None]) -> None: ...


@dataclass
class Doors:
    """The world outside, real or simulated."""

    clock: Clock
    open_database: Callable[[], Any]  # coroutine function -> Database
    open_venue: Callable[[Setup], Any]  # coroutine function -> EmbeddedVenue, or RemoteVenue in paper and live
    publish_beat: Callable[[dict[str, Any]], None]
    killed: Callable[[], bool]
    identity: tuple[int, str, str]  # pid, host, boot id
    servers: Callable[[Daemon], list[Server]] = field(default=lambda daemon: [])
    on_ready: Callable[[], None] = field(default=lambda: None)
    read_watchlist: Callable[[], Watchlist | None] = field(default=lambda: None)  # raises WatchlistRefused
    open_feed: Callable[[Setup], Any] | None = None  # -> LiveFeed; only where bars come across a network
    chance: Callable[[], float] = field(default=lambda: 0.5)  # in [0, 1): jitter of what is tried again


class Daemon:
    """One run of one account. `serve` returns when it was stopped, or the finite feed is done under `once`."""

    def __init__(self, setup: Setup, doors: Doors, *, once: bool) -> None:
        config = setup.config
        self.setup = setup
        self.config = config
        self.once = once
        self.ready = False
        self.reason = ""
        self._doors = doors
        self._stop = anyio.Event()
        self.remote = at_venue(config)
        none = setup.market.bars[:0], 0
        self.feed = ReplayFeed(*(none if self.remote else in_window(setup.market.bars, config)))
        self.clock = MarketClock(
            doors.clock,
            speed=config.run.speed,
            longest_ms=2 * setup.market.timeframe_ms,
            tick_s=TICK_S,
            killed=doors.killed,
        )
        names = Names(config.run.account, config.run.strategy, setup.market.symbols)
        self.journal = Journal(setup.fresh(), names, fingerprint=setup.fingerprint, fresh_ms=config.order.fresh_ms)
        self.story = Story(self.journal)
        self.epoch = 0
        self._live: list[Request] = []
        self.writer: Writer
        self.symbols: Symbols
        self.router: Router
        self.lists: Lists
        self.bars: ReplayBars | FreeBars | LiveBars
        self.at_venue: AtVenue | None = None

    # ------------------------------------------------------------------------------------------------- life

    async def serve(self) -> None:
        """Start in order, run, end in order. Raises what ended it."""
        database: Database = await self._doors.open_database()
        try:
            pending = await database.run(transact(self._load))
            venue: EmbeddedVenue = await self._doors.open_venue(self.setup)
            try:
                async with anyio.create_task_group() as outer:
                    self.writer = Writer(database, self.epoch, room=self.config.queues.writer)
                    await outer.start(self.writer.run)
                    await self._run(venue, pending)
                    await self.writer.submit(self._close_epoch)
                    self.writer.close()
            finally:
                with anyio.CancelScope(shield=True):
                    await venue.close()
        finally:
            with anyio.CancelScope(shield=True):
                await database.close()

    async def _run(self, venue: EmbeddedVenue, pending: list[Request]) -> None:
        room = self.config.queues.symbols
        clock = self._doors.clock
        self.symbols = Symbols(self.journal, self.writer, clock, self._publish, self._claim, room=room)
        self.lists = Lists(self.setup, self.symbols, self._doors.read_watchlist, self._decides_ms)
        with closing(self.symbols):
            await self._act(venue, pending)

    async def _act(self, venue: EmbeddedVenue, pending: list[Request]) -> None:
        async with anyio.create_task_group() as group:
            self.router = self._remote_router(venue) if self.remote else self._router(venue)
            self.router.resume(pending, self._live)
            self.bars = self._feeder(venue)
            heartbeat = Heartbeat(
                self.symbols,
                self.router,
                self._doors.clock,
                self.facts,
                self._doors.publish_beat,
                interval_ms=self.config.heartbeat.interval_ms,
                stall_after_ms=self.config.heartbeat.stall_after_ms,
            )
            background = getattr(venue, "run", None)
            if background is not None and self.at_venue is None:
                await group.start(background)
            await group.start(self.clock.run)
            await group.start(self.symbols.run)
            if self.at_venue is not None:
                await self.at_venue.begin()
            await group.start(self.router.run)
            if self.at_venue is not None:
                await self.at_venue.start(group)
            await self._undrain()
            await self.lists.first()
            for server in self._doors.servers(self):
                await group.start(server.run)
            await group.start(heartbeat.run)
            await group.start(self.bars.run)
            self.ready = True
            self._doors.on_ready()
            await self._stop.wait()
            await self._drain()
            group.cancel_scope.cancel()

    def _router(self, venue: EmbeddedVenue) -> Router:
        return Router(
            venue,
            self.writer,
            self.symbols,
            self._doors.clock,
            settling_ms=self.config.embedded.settling_ms,
            reconcile_s=RECONCILE_S,
            killed=self._doors.killed,
            market_ms=lambda: self.clock.market_ms,
        )

    def _remote_router(self, venue: Any) -> Router:
        wanted = self.config.venue
        return Router(
            venue,
            self.writer,
            self.symbols,
            self._doors.clock,
            settling_ms=wanted.settling_ms,
            lost_ms=LOST_MS,
            reconcile_s=RECONCILE_S / wanted.speed,
            killed=self._doors.killed,
            market_ms=self._doors.clock.now_ms,
            speed=wanted.speed,
            at_once=max(1, wanted.threads - 2),  # the others are for questions
            blocked=lambda: self.at_venue.reconciler.entries_blocked() if self.at_venue else "",
            orders_minute=CEILING_ORDERS_MINUTE,
        )

    def _feeder(self, venue: Any) -> ReplayBars | FreeBars | LiveBars:
        """The feed's clock stands still for the venue, or the market runs on its own, near or far."""
        if self.remote:
            assert self._doors.open_feed is not None
            self.at_venue = AtVenue(
                self.setup,
                venue,
                self._doors.open_feed(self.setup),
                self.symbols,
                self.writer,
                self.router,
                self._doors.clock,
                self.clock,
                chance=self._doors.chance,
            )
            return self.at_venue.bars
        source = getattr(venue, "after", None)
        actions = self.setup.market.actions
        if self.config.embedded.market_clock == "venue" and source is not None:
            return FreeBars(
                venue,
                self.symbols,
                self.router,
                self.clock,
                self._fed,
                poll_s=POLL_S,
                actions=actions,
                first_ms=self.feed.first_ms,
            )
        return ReplayBars(self.feed, venue, self.symbols, self.router, self.clock, self._fed, actions=actions)

    def _decides_ms(self) -> int | None:
        return self._doors.clock.now_ms() if self.remote else self.feed.decides_ms

    async def _undrain(self) -> None:
        """A drain lasts until the next start: this one."""
        if self.journal.world.portfolio[0]["drained"]:
            mail = Acted(Act(ACT_DRAIN, ALL, False, "daemon", "started"))
            await self.symbols.put(mail)
            await mail.done.wait()

    async def _drain(self) -> None:
        """No more bars; what is on its way to or from the venue comes to its end, within a limit."""
        self.bars.stop()
        self.clock.wake()
        with anyio.move_on_after(DRAIN_S) as limit:
            await self.router.settle()
            await self.symbols.settled()
        if limit.cancelled_caught:
            log.warning("the venue did not settle within %s s: the next start will look it up", DRAIN_S)
        if self.remote and (held := self._held()):
            log.info("still held: %s; a stop that was placed stays at the venue, the next start takes over", held)

    def _held(self) -> str:
        """Positions in units of the asset."""
        market, states = self.setup.market, self.journal.world.states
        return ", ".join(
            f"{name} {int(state['side']) * int(state['qty']) * Decimal(row['lot']):f}"
            for name, row, state in zip(market.symbols, market.instruments, states, strict=True)
            if state["qty"]
        )

    def stop(self, reason: str) -> None:
        """End in order."""
        if not self._stop.is_set():
            self.reason = reason
            log.info("stopping: %s", reason)
            self._stop.set()

    def _fed(self) -> None:
        log.info("the feed is done: %d decisions, %d fills", self.story.decided, self.story.fills)
        if self.once:
            self.stop("the finite feed is done and everything is settled")

    async def _claim(self, rows: StepRows) -> None:
        await self.router.claim(rows)

    def _publish(self, rows: StepRows) -> None:
        """Committed: now it may leave."""
        self.router.take(rows)
        self.story.tell(rows)
        if self.at_venue is not None:
            self.at_venue.tell(rows)

    # ---------------------------------------------------------------------------------------------- loading

    def _load(self, conn: Connection) -> list[Request]:
        """Take the ledger over and bring the memory to where it was; returns what is unsaid or in doubt."""
        pid, host, boot_id = self._doors.identity
        self.epoch = ledger.begin_epoch(conn, self._doors.clock.now_ms(), pid, host, boot_id)
        ledger.assert_rules(conn, plain_rules(self.config), plain_rules(defaults()))
        ids = ledger.register_instruments(conn, instrument_rows(self.setup))
        wanted = {(self.setup.market.exchange, name): i for i, name in enumerate(self.setup.market.symbols)}
        if ids != wanted:
            raise InstrumentsChanged(
                "this ledger holds other symbols",
                ", ".join(symbol for _, symbol in ids),
                "run with the same symbols, or start a new ledger in another state folder",
            )
        ledger.begin_run(conn, run_row(self.setup, self.epoch, self._doors.clock.now_ms()))
        self.journal.know(ledger.order_ids(conn))
        snapshot = ledger.load_snapshot(conn)
        if snapshot is not None and not self.journal.restore(snapshot.body):
            log.warning("the newest snapshot fits other rules or settings: folding the whole journal")
        folded = 0
        for entry in ledger.inputs_after(conn, self.journal.seq):
            self.journal.load(entry)
            folded += 1
        doubtful = ledger.doubt_sending(conn)
        pending = ledger.pending(conn)
        self._live = ledger.live(conn)
        self.journal.resume(
            (row.symbol_id, row.ref_intent, row.intent)
            for row in pending
            if row.kind == "cancel" and row.ref_intent is not None
        )
        self.feed.seek(self.journal.last_ms)
        self.clock.market_ms = self.journal.last_ms
        if self.journal.seq:
            log.info(
                "recovered at input %d (%d folded since the snapshot), %d requests unsaid, %d in doubt",
                self.journal.seq,
                folded,
                len(pending) - doubtful,
                doubtful,
            )
        return pending

    def _close_epoch(self, conn: Connection) -> None:
        ledger.end_epoch(conn, self.epoch, self._doors.clock.now_ms())

    # ------------------------------------------------------------------------------------------------ facts

    def facts(self) -> dict[str, Any]:
        """What status shows and the heartbeat proves."""
        states = self.journal.world.states
        phases = Counter(PHASES[phase] for phase in states["phase"].tolist())
        names = self.journal.names.symbols
        newest = self.clock.market_ms
        listed = self.lists.facts()
        return {
            "version": __version__,
            "run": run_id(self.setup),
            "mode": self.config.run.mode,
            "account": self.config.run.account,
            "ready": self.ready,
            "epoch": self.epoch,
            "symbols": len(names),
            "phases": {name: phases.get(name, 0) for name in PHASES},
            "last_ts_ms": newest or None,
            "lag_ms": self.clock.lag_ms,
            "bars_left": self.feed.left,
            "waiting_for": self.bars.waiting_for,
            "equity": float(self.journal.world.portfolio[0]["equity"]),
            "decisions": self.story.decided,
            "queues": {
                "symbols": {"size": self.symbols.waiting, "bound": self.symbols.room},
                "writer": {"size": self.writer.waiting, "bound": self.config.queues.writer},
                "router": {"size": self.router.waiting, "bound": self.router.room},
            },
            "in_doubt": [row.cid for row in self.router.in_doubt],
            "halted": [names[i] for i in range(len(names)) if states[i]["halted"]],
            "kill_switch": self.clock.kill_switch,
            "watchlist": None if listed is None else {**listed, "missing": len(listed["missing"])},
            "draining": bool(self.journal.world.portfolio[0]["drained"]),
            "commits": self.writer.commits,
            **(self.at_venue.facts() if self.at_venue is not None else {}),
        }


def plain_rules(config: Config) -> dict[str, Any]:
    """What decides, as the ledger's JSON gives it back."""
    rules: dict[str, Any] = json.loads(json.dumps(rules_of(config)))
    return rules


def instrument_rows(setup: Setup) -> list[InstrumentRow]:
    """The market's instruments as the ledger keeps them."""
    market = setup.market
    return [
        InstrumentRow(
            market.exchange,
            name,
            market.timeframe,
            row["asset"],
            row["quote"],
            str(row["tick"]),
            str(row["lot"]),
            str(row["min_qty"]),
            str(row["min_notional"]),
            row["calendar"],
            setup.config.signal.price_source,
            int(record["tradable"]),
        )
        for name, row, record in zip(market.symbols, market.instruments, setup.instruments, strict=True)
    ]


def run_id(setup: Setup) -> str:
    """The hash of what the run is made of: same bars, same settings, same id. A venue's bars are still to come."""
    bars = "" if at_venue(setup.config) else setup.market.data_hash
    parts = [__version__, RULES_VERSION, setup.fingerprint, bars, config_hash(setup.config)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def run_row(setup: Setup, epoch: int, now_ms: int) -> RunRow:
    """The run as the ledger notes it."""
    config, market = setup.config, setup.market
    return RunRow(
        run_id=run_id(setup),
        epoch=epoch,
        mode="replay" if config.run.mode == "sim" else config.run.mode,
        started_ms=now_ms,
        code_version=__version__,
        config_hash=config_hash(config),
        params_hash=setup.fingerprint,
        calendar_version=market.calendar_version,
        rules_version=RULES_VERSION,
        exchange=market.exchange,
        timeframe=market.timeframe,
        symbols=json.dumps(market.symbols),
        seed=config.run.seed,
        window=json.dumps([config.run.window_from, config.run.window_to]),
        rules=json.dumps(rules_of(config), sort_keys=True),
    )
