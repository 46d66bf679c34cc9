"""LiveBars with a real ledger, writer and symbols actor before a market that the test plays by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
from anyio.abc import TaskStatus

from avwapd.actors.clock import MarketClock
from avwapd.actors.live import LiveBars
from avwapd.actors.standing import Standing
from avwapd.actors.symbols import Symbols
from avwapd.config import load
from avwapd.feeds.alpaca_facts import ActionRow, Change, SessionDifference
from avwapd.feeds.live import FeedDoubt, LiveFeed, Manners, Put, Rows
from avwapd.feeds.live_schedule import Schedule
from avwapd.feeds.market import Market
from avwapd.feeds.standing import Known
from avwapd.feeds.world import Setup, build
from avwapd.ports import SystemClock
from avwapd.runs import instrument_rows, run_row
from avwapd.store import ledger
from avwapd.store.database import open_database
from avwapd.store.journal import Journal, Names
from avwapd.store.sql import Connection, transact
from avwapd.store.writer import Writer
from tests.venue.simulators import market

MINUTE_MS = 60_000
SYMBOLS = ("ALFA", "BRAVO")
LIMIT_S = 10.0


class Hand(SystemClock):
    """Market time stands until the test moves it; waits are real."""

    ms = 0

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Tape:
    """A source: the market's bars up to the clock by REST, and what the test puts on the stream."""

    bars: Rows
    clock: Hand
    down: bool = False
    dead: bool = False  # the stream brings nothing
    silent: set[tuple[int, int]] = field(default_factory=set)
    share: dict[str, float] = field(default_factory=dict)
    actions: list[ActionRow] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    differences: list[SessionDifference] = field(default_factory=list)
    asked_actions: list[tuple[Any, Any]] = field(default_factory=list)
    put: Put | None = None

    async def history(self, symbols: Sequence[str], first_ms: int, last_ms: int) -> Rows:
        await anyio.lowlevel.checkpoint()
        if self.down:
            raise FeedDoubt("the test took it down")
        wanted = [SYMBOLS.index(symbol) for symbol in symbols]
        last_ms = min(last_ms, self.clock.ms)
        rows = self.bars[(self.bars["ts_ms"] >= first_ms) & (self.bars["ts_ms"] <= last_ms)]
        keep = [row["symbol"] in wanted and (int(row["ts_ms"]), int(row["symbol"])) not in self.silent for row in rows]
        return np.array(rows[np.array(keep, bool)])

    async def over_ms(self, ts_ms: int) -> int:
        return self.clock.ms

    async def run(self, put: Put, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        self.put = put
        task_status.started()
        await anyio.sleep_forever()

    def facts(self) -> dict[str, Any]:
        return {"stream": "up", "connects": 1}

    def reconnect(self) -> None:
        pass

    async def volume_share(self, symbols: Sequence[str], now_ms: int) -> dict[str, float]:
        return self.share

    async def corporate_actions(
        self, symbols: Sequence[str], first: Any, last: Any
    ) -> tuple[list[ActionRow], list[Change]]:
        self.asked_actions.append((first, last))
        if self.down:
            raise FeedDoubt("the test took it down")
        return self.actions, self.changes

    async def session_differences(self, first: Any, last: Any) -> list[SessionDifference]:
        return self.differences


class Door:
    """The router's side."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def hold(self) -> None:
        self.said.append("hold")

    def release(self) -> None:
        self.said.append("release")

    async def settle(self) -> None:
        self.said.append("settle")


@dataclass
class Desk:
    """One life of the actor."""

    bars: LiveBars
    feed: LiveFeed
    tape: Tape
    clock: Hand
    door: Door
    symbols: Symbols
    path: Path

    @property
    def states(self) -> Any:
        return self.symbols.journal.world.states

    def minute(self, count: int = 1, *, but: Sequence[int] = ()) -> None:
        """The market closes its next bars, and the stream brings them."""
        times = np.unique(self.tape.bars["ts_ms"])
        for _ in range(count):
            ts_ms = int(times[np.searchsorted(times, self.clock.ms, side="right")])
            self.clock.ms = ts_ms
            if not self.tape.dead:
                assert self.tape.put is not None
                for row in self.tape.bars[self.tape.bars["ts_ms"] == ts_ms].tolist():
                    if row[1] not in but and (row[0], row[1]) not in self.tape.silent:
                        self.tape.put(row[0], row[1], *row[3:])

    async def until(self, holds: Callable[[], Any]) -> None:
        with anyio.fail_after(LIMIT_S):
            while not holds():  # noqa: ASYNC110 - nobody rings for a test
                await anyio.sleep(0.002)

    async def folded(self, ts_ms: int | None = None) -> None:
        """Until everything up to then is folded and on the disk."""
        wanted = self.clock.ms if ts_ms is None else ts_ms
        await self.until(lambda: self.symbols.journal.last_ms >= wanted)
        await self.symbols.settled()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as conn:
            return conn.execute(query).fetchall()

    def flags(self) -> list[tuple[int, int, int]]:
        """(ts_ms, symbol, flags) of every journaled bar, in order."""
        return self.ask("SELECT ts_ms, symbol_id, flags FROM bars ORDER BY seq, symbol_id")

    def alerts(self) -> list[str]:
        return [what for (what,) in self.ask("SELECT what FROM alerts ORDER BY id")]


def setup_of(made: Market) -> Setup:
    config = load(
        folder=Path("/nonexistent"),
        environ={},
        options={
            "run.mode": "paper",
            "venue.name": "alpaca",
            "venue.address": "http://127.0.0.1:1",
            "run.timeframe": "1m",
        },
    )
    return build(config, made)


@asynccontextmanager
async def desk(
    folder: Path,
    *,
    now_ms: int | None = None,
    archive_ms: int | None = None,
    warmup_sessions: int = 2,
    min_share: float = 0.0,
    prepare: Callable[[Tape], None] = lambda tape: None,
    patience: float | None = None,
    known: Callable[[], Awaitable[Known]] | None = None,
    lost_ms: int = 0,
) -> AsyncIterator[Desk]:
    """One life on the ledger in `folder`. archive_ms: where the archive ends; now_ms: what the market's clock says."""
    made = market(3, "1m", SYMBOLS)
    setup = setup_of(made)
    times = np.unique(made.bars["ts_ms"])
    clock = Hand()
    clock.ms = now_ms if now_ms is not None else int(times[400]) + 3_000
    tape = Tape(made.bars, clock)
    prepare(tape)
    path = folder / "avwapd.db"
    names = Names("paper", "avwap", made.symbols)
    journal = Journal(setup.fresh(), names, fingerprint=setup.fingerprint, fresh_ms=60_000)
    database = await open_database(path)
    try:
        epoch = await database.run(transact(lambda conn: remembered(conn, journal, setup)))
        writer = Writer(database, epoch, room=1000)
        symbols = Symbols(journal, writer, clock, lambda rows: None, unclaimed, room=1000)
        feed = LiveFeed(
            tape,
            made.symbols,
            Schedule(made.calendars, made.timeframe_ms),
            clock,
            Manners(
                grace_ms=2_000,
                confirm=True,
                stale_bars=2,
                ask_limit_ms=500,
                reconnects_minute=10,
                room=10_000,
                speed=60_000.0,
            ),
            draw=lambda: 0.0,
        )
        pace = MarketClock(clock, speed=1.0, longest_ms=1, tick_s=1.0, killed=lambda: False)
        door = Door()
        old = made.bars[made.bars["ts_ms"] <= (archive_ms if archive_ms is not None else int(times[200]))]
        bars = LiveBars(
            feed,
            symbols,
            door,
            writer,
            clock,
            pace,
            archive=old,
            warmup_sessions=warmup_sessions,
            min_volume_share=min_share,
            standing=Standing(symbols, known=known),
            lost_ms=lost_ms,
        )
        if patience is not None:
            bars.patience_s = patience
        with closing(symbols):
            async with anyio.create_task_group() as group:
                await group.start(writer.run)
                await group.start(symbols.run)
                await group.start(bars.run)
                try:
                    yield Desk(bars, feed, tape, clock, door, symbols, path)
                finally:
                    bars.stop()
                    with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                        await symbols.settled()
                    group.cancel_scope.cancel()
        writer.close()
    finally:
        with anyio.CancelScope(shield=True):
            await database.close()


async def unclaimed(rows: Any) -> None:
    """No router waits for a decision's own commit."""


def remembered(conn: Connection, journal: Journal, setup: Setup) -> int:
    """As the daemon takes a ledger over."""
    epoch = ledger.begin_epoch(conn, 1, 1, "here", "boot")
    ledger.register_instruments(conn, instrument_rows(setup))
    ledger.begin_run(conn, run_row(setup, epoch, 1))
    journal.know(ledger.order_ids(conn))
    for entry in ledger.inputs_after(conn, 0):
        journal.load(entry)
    journal.resume([])
    return epoch
