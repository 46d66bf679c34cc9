"""A paper run without a daemon: journal, ledger and simulated exchange, driven in the daemon's order, synchronously."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from avwapd.actors.router_doubt import as_request
from avwapd.config import Config, load
from avwapd.core import engine
from avwapd.feeds.demo import generate
from avwapd.feeds.market import Market
from avwapd.feeds.replay import ReplayFeed
from avwapd.feeds.source import market_of
from avwapd.feeds.world import Setup, build, in_window
from avwapd.runs import instrument_rows, run_row
from avwapd.store import ledger
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from avwapd.store.database import open_sync
from avwapd.store.instruments import Instrument, Instruments
from avwapd.store.journal import Act, Journal, Names
from avwapd.store.rows import StepRows
from avwapd.venues.book import Exchange

EXCHANGE, TIMEFRAME = "demo", "5m"
SYMBOLS = ("ASH", "ELM", "FIR", "OAK", "YEW")
SETTINGS = """\
[run]
account = "paper-1"
exchange = "demo"
timeframe = "5m"

[size]
method = "risk_per_trade"
risk_fraction = 0.01
"""


def market(session_count: int = 9) -> Market:
    return generate(SYMBOLS, session_count, TIMEFRAME, seed=11)


def archive_of(market: Market, root: Path) -> Path:
    """An archive with the market's bars."""
    columns = {name: market.bars[name] for name in ("ts_ms", "open", "high", "low", "close", "volume")}
    table = as_table([market.symbols[i] for i in market.bars["symbol"]], columns)
    Instruments(root).add({(row["exchange"], row["symbol"]): Instrument(**row) for row in market.instruments})
    Archive(root).write(market.exchange, market.timeframe, table)
    return root


def settings(folder: Path, extra: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "paper.toml"
    path.write_text(SETTINGS + extra)
    return path


def setup_of(config_file: Path, archive: Path) -> Setup:
    config: Config = load(config_file, environ={})
    return build(config, market_of(config, archive))


class Live:
    """The run and its state folder. Plants bend this side only.

    bars: what becomes of each barrier on its way in; close_early: the venue forgets the running bar; killed: which
    entries the kill switch stops, by symbol and ts_ms; mode: what the ledger says the run was.
    """

    def __init__(
        self,
        setup: Setup,
        state: Path,
        *,
        mode: str = "replay",
        journal: type[Journal] = Journal,
        bars: Callable[[Any], Any] = lambda barrier: barrier,
        close_early: bool = False,
        killed: Callable[[str, int], bool] = lambda symbol, ts_ms: False,
    ) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.setup = setup
        self.conn = open_sync(state / "avwapd.db", synchronous="NORMAL")
        config = setup.config
        share = config.fills.volume_share
        self.venue = Exchange(state / "venue.db", setup.instruments, setup.market.symbols, volume_share=share)
        names = Names(config.run.account, config.run.strategy, setup.market.symbols)
        self.journal = journal(setup.fresh(), names, fingerprint=setup.fingerprint, fresh_ms=config.order.fresh_ms)
        self._bars = bars
        self._close_early = close_early
        self._killed = killed
        self._asked: deque[Any] = deque()
        self.conn.execute("BEGIN IMMEDIATE")
        epoch = ledger.begin_epoch(self.conn, 1, 1, "host", "boot")
        ledger.register_instruments(self.conn, instrument_rows(setup))
        ledger.begin_run(self.conn, run_row(setup, epoch, 1)._replace(mode=mode))

    def run(self, *, until: int = 2**62, after: Callable[[Live, int], None] = lambda live, ts_ms: None) -> None:
        """Feed everything; after(live, ts_ms) is called behind every barrier."""
        for barrier in self.barriers(until):
            ts_ms = int(barrier[0]["ts_ms"])
            if not self.journal.quiet:
                self.venue.open_bar(ts_ms, barrier)
                if self._close_early:
                    self.venue.close_bar(ts_ms)
                self.settle()
                self.venue.close_bar(ts_ms)
            self.take(self.journal.bars(barrier))
            self.settle()
            after(self, ts_ms)
        self.conn.execute("COMMIT")

    def barriers(self, until: int) -> Iterator[Any]:
        feed = ReplayFeed(*in_window(self.setup.market.bars, self.setup.config))
        while (barrier := feed.next()) is not None and barrier[0]["ts_ms"] <= until:
            barrier = self._bars(barrier)
            if len(barrier):
                yield barrier

    def act(self, act: Act) -> None:
        self.take(self.journal.act(act, self.journal.last_ms))

    def settle(self) -> None:
        """Until the venue has answered all."""
        while True:
            heard = self.venue.words(self.journal.cursor)
            for word in heard:
                rows = self.journal.word(word)
                if rows is not None:
                    self.take(rows)
            if not heard and not self._asked:
                return
            for _ in range(len(self._asked)):
                self._send(self._asked.popleft())

    def take(self, rows: StepRows) -> None:
        ledger.record_step(self.conn, rows)
        self._asked.extend(rows.effects)

    def _send(self, effect: Any) -> None:
        symbol = self.setup.market.symbols[effect.symbol_id]
        if effect.purpose == 1 and effect.kind == 1 and self._killed(symbol, effect.ts_ms):
            self.take(self.journal.refused(effect.cid, "rejected", "DENIED", "the kill switch is on"))
            return
        row = ledger.request(self.conn, effect.symbol_id, effect.intent)
        assert row is not None
        if row.kind == "cancel" and row.state == "STALE":
            return  # its order ended before it left, as the router has it
        ledger.mark_sending(self.conn, effect.symbol_id, effect.intent, 1)
        self.venue.take(as_request(row))

    def close(self) -> None:
        self.venue.close()
        self.conn.close()


class ByArrival(Journal):
    """A plant: entries are ranked by when their bars arrived, the last symbol first."""

    def bars(self, bars: Any) -> StepRows:
        whole, step_many = bars, engine.step_many

        def one_by_one(world: Any, out: Any, bars: Any) -> None:
            for i in reversed(range(len(bars))):
                step_many(world, out, bars[i : i + 1])

        engine.step_many = one_by_one
        try:
            return super().bars(whole)
        finally:
            engine.step_many = step_many


def ran(setup: Setup, state: Path, **options: Any) -> Path:
    """A finished run's state folder."""
    after = options.pop("after", lambda live, ts_ms: None)
    until = options.pop("until", 2**62)
    with closing(Live(setup, state, **options)) as live:
        live.run(after=after, until=until)
    return state


def changed(market: Market, ts_ms: int, symbol: int, **values: float) -> Market:
    """The market with some values of one bar replaced."""
    bars = np.array(market.bars)
    at = int(np.flatnonzero((bars["ts_ms"] == ts_ms) & (bars["symbol"] == symbol))[0])
    for name, value in values.items():
        bars[name][at] = value
    return replace(market, bars=bars)


def execute(state: Path, sql: str, *values: Any) -> None:
    """Tamper with a ledger; triggers that forbid it are taken away first."""
    with closing(sqlite3.connect(state / "avwapd.db", isolation_level=None)) as conn:
        for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            conn.execute(f"DROP TRIGGER {name}")
        assert conn.execute(sql, values).rowcount
