"""The daemon on one screen: what starts in which order, who talks to whom, how it ends.

lock -> ledger -> kernels -> memory -> writer -> symbols -> router (reconcile) -> catch-up -> bars -> ready. One start
path after every kind of end. Any actor's error ends the process with its reason; the supervisor starts it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from avwapd.actors.at_venue import AtVenue
from avwapd.actors.bars import FreeBars, ReplayBars
from avwapd.actors.clock import MarketClock
from avwapd.actors.daily import Daily
from avwapd.actors.drill import Drill
from avwapd.actors.facts import facts_of, health_of
from avwapd.actors.gate_build import gates_of
from avwapd.actors.gates import Gates
from avwapd.actors.health_watch import HealthWatch
from avwapd.actors.heartbeat import Heartbeat
from avwapd.actors.kill import Kill, Switch
from avwapd.actors.lists import Lists
from avwapd.actors.live import LiveBars
from avwapd.actors.mail import Acted
from avwapd.actors.notices import Notices
from avwapd.actors.older import Older
from avwapd.actors.pulse import Pulse
from avwapd.actors.router import Router
from avwapd.actors.standing import Standing
from avwapd.actors.story import Story
from avwapd.actors.symbols import Symbols
from avwapd.config import defaults, recorded
from avwapd.core.codes import ACT_DRAIN, ACT_GATE, OUTER_DISK
from avwapd.doors import Doors, EmbeddedVenue
from avwapd.feeds.replay import ReplayFeed
from avwapd.feeds.world import Setup, at_venue, in_window
from avwapd.ops import metrics
from avwapd.ops.health import judge
from avwapd.ops.retention import Housekeeper
from avwapd.ports import Database
from avwapd.runs import instrument_rows, plain_rules, run_id, run_row
from avwapd.settings import CEILING_ORDERS_MINUTE
from avwapd.store import InstrumentsChanged, ledger, notes
from avwapd.store import mark as marks
from avwapd.store.database import DiskRefused, beginning
from avwapd.store.gates import Outer, gates_now
from avwapd.store.journal import ALL, Act, Journal, Names
from avwapd.store.rows import Request, StepRows
from avwapd.store.sql import Connection
from avwapd.store.writer import Writer

log = logging.getLogger("avwapd")

DRAIN_S = 10.0
FAREWELL_S = 5.0  # for the notice that it stopped; only where a channel is configured
TICK_S = 0.25
POLL_S = 0.02
RECONCILE_S = 30.0
LOST_MS = 600_000  # market time for which venues have been seen to deny orders that were live


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
        self.switch = Switch(doors.killed, doors.clock, forced=doors.kill_forced, read=doors.read_kill)
        self.clock = MarketClock(
            doors.clock,
            speed=config.run.speed,
            longest_ms=2 * setup.market.timeframe_ms,
            tick_s=TICK_S,
            killed=self.switch.on,
        )
        names = Names(config.run.account, config.run.strategy, setup.market.symbols)
        self.journal = Journal(setup.fresh(), names, fingerprint=setup.fingerprint, fresh_ms=config.order.fresh_ms)
        self.notices = Notices(
            doors.clock,
            config.notify,
            deliver=doors.deliver,
            sender=f"avwapd {config.run.account} {config.run.mode}",
            draw=doors.chance,
            clean=doors.clean,
        )
        self.story = Story(self.journal, self.notices.say)
        self.daily = Daily(self.journal, setup.market.calendars, config.equity.currency, self.notices.say)
        self.pulse = Pulse(doors.clock, wanted=config.health.clean_bars)
        free = config.embedded.market_clock == "venue" and not self.remote
        self.drill = Drill(config.run.mode, "the venue's clock goes on by itself" if free else "")
        self.beside: dict[str, Callable[[], Any]] = {}  # more sections of the facts, by whoever runs beside trading
        self.listeners: list[Callable[[StepRows], None]] = []  # told of every committed input; they must not wait
        self.epoch = 0
        self._live: list[Request] = []
        self._closed_before: list[Outer] = []
        self.gates: Gates
        self._behind = ""  # why the ledger is an older one
        self.older: Older
        self.housekeeper: Housekeeper
        self.writer: Writer
        self.symbols: Symbols
        self.router: Router
        self.heartbeat: Heartbeat
        self.kill_switch: Kill
        self.lists: Lists
        self.bars: ReplayBars | FreeBars | LiveBars
        self.at_venue: AtVenue | None = None

    # ------------------------------------------------------------------------------------------------- life

    async def serve(self) -> None:
        """Start in order, run, end in order. Raises what ended it."""
        database: Database = await self._doors.open_database()
        try:
            pending = await self._loaded(database)
            venue: EmbeddedVenue = await self._doors.open_venue(self.setup)
            try:
                async with anyio.create_task_group() as outer:
                    self.writer = Writer(database, self.epoch, room=self.config.queues.writer, alarm=self._alarm)
                    await outer.start(self.writer.run)
                    self.notices.attach(self.writer)
                    await self._run(venue, pending)
                    await self.writer.submit(self._close_epoch)
                    await self.housekeeper.mark(self.epoch, self.journal.seq, clean=True)
                    self.writer.close()
            finally:
                if self.writer.failed:
                    self._note_lost()
                with anyio.CancelScope(shield=True):
                    await venue.close()
        finally:
            with anyio.CancelScope(shield=True):
                await database.close()

    async def _loaded(self, database: Database) -> list[Request]:
        """The start's first transaction; where the disk refuses it, a note says how far memory was."""
        try:
            return await database.run(beginning(self._load))
        except DiskRefused:
            self._note_lost()
            raise

    def _note_lost(self) -> None:
        """A commit failed: how far memory was. An earlier process's note stands where this one never came so far."""
        if self.journal.last_ms > self._doors.lost_ms:
            self._doors.note_lost(self.journal.last_ms)

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
            self.kill_switch = Kill(self.switch, self.symbols, self.router.alert, keep=self._doors.keep_kill)
            self.clock.on_kill = self.kill_switch.noticed
            self.bars = self._feeder(venue)
            self.gates = self._gates(venue)
            self.listeners.append(self.gates.tell)
            self.heartbeat = heartbeat = Heartbeat(
                self.symbols,
                self.router,
                self._doors.clock,
                self.health,
                self._doors.publish_beat,
                interval_ms=self.config.heartbeat.interval_ms,
                stall_after_ms=self.config.heartbeat.stall_after_ms,
                clock_turns=lambda: self.clock.turns,
            )
            background = getattr(venue, "run", None)
            if background is not None and self.at_venue is None:
                await group.start(background)
            await group.start(self.clock.run)
            await group.start(self.symbols.run)
            await group.start(self.notices.run)
            await group.start(self.kill_switch.run)
            if self.at_venue is not None:
                await self.at_venue.begin()
            await self._stand(group)
            await group.start(self.router.run)
            if self.at_venue is not None:
                await self.at_venue.start(group)
            await self.older.heard(reconciled=self.at_venue is not None)
            await self._undrain()
            await self.lists.first()
            await self.gates.first()
            await group.start(self.gates.run)
            await group.start(HealthWatch(self._findings, self.notices.say, self._doors.clock).run)
            for server in self._doors.servers(self):
                await group.start(server.run)
            await group.start(heartbeat.run)
            await group.start(self.bars.run)
            self.ready = True
            self._doors.on_ready()
            self.notices.say("start", "info", "started", self._held() and f"holds {self._held()}")
            await self._stop.wait()
            await self._drain()
            self.notices.say("stop", "info", f"stopped: {self.reason}", self._held() and f"still holds {self._held()}")
            await self.notices.finish(FAREWELL_S)
            group.cancel_scope.cancel()

    async def _stand(self, group: TaskGroup) -> None:
        """What this start stands on: whether the ledger is the newest, whether the disk has room; then the mark."""
        clock, disk = self._doors.clock, self.config.disk
        self.older = Older(self._behind, self.symbols, self.writer, self.router, clock, turn=self._turn)
        self.housekeeper = Housekeeper(
            self.writer,
            clock,
            beats_days=disk.beats_days,
            notices_days=disk.notices_days,
            keep_mark=self._doors.keep_mark,
            forget_files=self._doors.forget_files,
            market_ms=lambda: self.journal.last_ms,
        )
        if self.at_venue is not None:
            self.at_venue.reconciler.on_unknown(self.older.unknown_at_venue)
        await self.older.begin()
        short = self._doors.no_room
        if await self._turn(OUTER_DISK, bool(short), short or "there is room again") and short:
            await self.router.alert("critical", f"exits only: {short}")
        await self.housekeeper.mark(self.epoch, self.journal.seq)
        await group.start(self.housekeeper.run)
        self.listeners.append(self._session_over)

    def _session_over(self, rows: StepRows) -> None:
        if rows.snapshot is not None:
            self.housekeeper.session_over(self.epoch, rows.seq)

    async def _turn(self, gate: int, closed: bool, reason: str) -> bool:
        """An outer gate of all symbols; True where it changed."""
        outer = int(self.journal.world.portfolio[0]["outer_closed"])
        if bool(outer >> gate & 1) == closed:
            return False
        mail = Acted(Act(ACT_GATE + gate, ALL, closed, "daemon", reason))
        await self.symbols.put(mail)
        await mail.done.wait()
        return True

    def _alarm(self, what: str) -> Callable[[Connection], None]:
        log.error("%s", what)
        return partial(notes.alert, ts_ms=self._doors.clock.now_ms(), level="critical", what=what)

    def _router(self, venue: EmbeddedVenue) -> Router:
        return Router(
            venue,
            self.writer,
            self.symbols,
            self._doors.clock,
            settling_ms=self.config.embedded.settling_ms,
            reconcile_s=RECONCILE_S,
            killed=self.switch.on,
            leaves=self._leaves,
            market_ms=lambda: self.clock.market_ms,
            blocked=lambda: self.gates.blocked(),
        )

    def _gates(self, venue: Any) -> Gates:
        return gates_of(
            self.setup,
            self.symbols,
            self.writer,
            self._doors.clock,
            self.lists,
            at_venue=self.at_venue,
            venue=venue,
            keys=self._doors.live_keys,
            integrity=self._doors.integrity,
            before=self._closed_before,
            deaf=lambda: self.notices.deaf,
        )

    def _leaves(self, symbol: int) -> bool:
        """The kill program sells what is held of it."""
        return self.switch.leaves(self.setup.market.symbols[symbol])

    def _remote_router(self, venue: Any) -> Router:
        wanted = self.config.venue
        venue.stopped = self.switch.on
        return Router(
            venue,
            self.writer,
            self.symbols,
            self._doors.clock,
            settling_ms=wanted.settling_ms,
            lost_ms=LOST_MS,
            reconcile_s=RECONCILE_S / wanted.speed,
            killed=self.switch.on,
            leaves=self._leaves,
            market_ms=self._doors.clock.now_ms,
            speed=wanted.speed,
            at_once=max(1, wanted.threads - 2),  # the others are for questions
            blocked=lambda: (
                self.gates.blocked() or (self.at_venue.reconciler.entries_blocked() if self.at_venue else "")
            ),
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
                sales=self.switch.sales,
                standing=Standing(self.symbols, known=self._doors.read_known),
                lost_ms=self._doors.lost_ms,
                drill=self.drill,
            )
            return self.at_venue.bars
        source = getattr(venue, "after", None)
        actions = self.setup.market.actions
        standing = Standing(self.symbols, turns=self.setup.market.turns)
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
                standing=standing,
            )
        return ReplayBars(
            self.feed,
            venue,
            self.symbols,
            self.router,
            self.clock,
            self._fed,
            actions=actions,
            standing=standing,
            drill=self.drill,
        )

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
            log.info("stopping: %s", reason, extra={"fields": {"EVENT": "stop"}})
            self._doors.on_stop(reason)
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
        self.daily.tell(rows)
        self.pulse.tell(rows)
        for listener in self.listeners:
            listener(rows)
        if self.at_venue is not None:
            self.at_venue.tell(rows)

    # ---------------------------------------------------------------------------------------------- loading

    def _load(self, conn: Connection) -> list[Request]:
        """Take the ledger over and bring the memory to where it was; returns what is unsaid or in doubt."""
        pid, host, boot_id = self._doors.identity
        copy, now_ms = marks.is_copy(conn), self._doors.clock.now_ms()
        self._behind = marks.behind(self._doors.read_mark(), marks.reach_of(conn), copy=copy)
        if copy and not self._behind:
            marks.found(conn, ts_ms=now_ms)
        self.epoch = ledger.begin_epoch(conn, now_ms, pid, host, boot_id)
        ledger.assert_mode(conn, recorded(self.config.run.mode))
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
            self._doors.on_folding(folded)
        if self._behind:
            ledger.doubt_unsaid(conn, now_ms)
        doubtful = ledger.doubt_sending(conn)
        pending = ledger.pending(conn) + ledger.denied_unheard(conn)
        self._closed_before = gates_now(conn)
        self._live = ledger.live(conn)
        self.journal.resume(
            (row.symbol_id, row.ref_intent, row.intent)
            for row in pending
            if row.kind == "cancel" and row.ref_intent is not None
        )
        self.feed.seek(self.journal.last_ms)
        if self.journal.last_ms:
            self.pulse.resumed(self.journal.last_ms)
        if not self.remote:
            for ts_ms in ledger.drilled(conn):
                self.drill.hold(self.feed.at(ts_ms))
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
        now_ms = self._doors.clock.now_ms()
        if self.at_venue is not None and self.at_venue.bars.catching_up:
            notes.cut_short(conn, ts_ms=now_ms)
        ledger.end_epoch(conn, self.epoch, now_ms)

    # ------------------------------------------------------------------------------------------------ facts

    def facts(self) -> dict[str, Any]:
        """What status shows and the heartbeat proves."""
        return facts_of(self, run_id(self.setup))

    def health(self) -> dict[str, Any]:
        """What `check --mode health` judges, and heartbeat.json holds."""
        return health_of(self, self._doors.clock.now_ms(), self._doors.identity, self._doors.measure())

    def _findings(self) -> list[tuple[str, str, str]]:
        return [(found.verdict, found.name, found.what) for found in judge(self.health())]

    def metrics(self) -> str:
        """The same facts in Prometheus' format."""
        return metrics.text(self.health()).decode()
