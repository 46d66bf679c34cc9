"""A barrier of 3,000 symbols, decided and durable, beside the bare executemany and commit of the same rows."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import anyio

from avwapd.config import load
from avwapd.feeds.demo import generate
from avwapd.feeds.replay import ReplayFeed
from avwapd.feeds.world import Setup, build
from avwapd.runs import instrument_rows
from avwapd.store import ledger
from avwapd.store.database import open_database
from avwapd.store.journal import Journal, Names
from avwapd.store.rows import StepRows
from avwapd.store.sql import load as load_sql
from avwapd.store.sql import transact
from avwapd.store.writer import Writer
from bench.measure import Line

SYMBOLS, WARM, COUNTED = 3000, 8, 30
SQL = load_sql("queries.sql")


def setup_of(symbols: int = SYMBOLS, sessions: int = 2) -> Setup:
    market = generate([f"S{i:04d}" for i in range(symbols)], sessions, "10m", 3)
    return build(load(None, options={"size.method": "risk_per_trade"}), market)


def journal_of(setup: Setup) -> Journal:
    return Journal(setup.fresh(), Names("bench", "avwap", setup.market.symbols), fingerprint="", fresh_ms=60_000)


async def durable(setup: Setup, path: Path) -> tuple[list[float], list[StepRows]]:
    """Seconds from a barrier's arrival to its receipt, and the rows."""
    journal = journal_of(setup)
    feed = ReplayFeed(setup.market.bars, 0)
    took: list[float] = []
    kept: list[StepRows] = []
    database = await open_database(path)

    def begin(conn: sqlite3.Connection) -> int:
        ledger.register_instruments(conn, instrument_rows(setup))
        return ledger.begin_epoch(conn, 0, 1, "bench", "")

    epoch = await database.run(transact(begin))
    writer = Writer(database, epoch, checkpoint_rows=10**9)
    async with anyio.create_task_group() as group:
        await group.start(writer.run)
        for _ in range(WARM + COUNTED):
            barrier = feed.next()
            start = time.perf_counter()
            rows = journal.bars(barrier)
            await writer.submit(partial(ledger.record_step, rows=rows))
            took.append(time.perf_counter() - start)
            kept.append(rows)
        writer.close()
    await database.close()
    return took[WARM:], kept


def bare(kept: list[StepRows], path: Path, setup: Setup) -> list[float]:
    """The same bars and decisions into the same tables by executemany, one commit a barrier, FULL."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("PRAGMA wal_autocheckpoint = 0")
    conn.execute(
        "CREATE TABLE bars (ts_ms INTEGER, symbol_id INTEGER, flags INTEGER, open REAL, high REAL, low REAL,"
        " close REAL, volume REAL, PRIMARY KEY (ts_ms, symbol_id)) STRICT, WITHOUT ROWID"
    )
    columns = ", ".join(f"c{i} {'REAL' if i == 13 else 'INTEGER'}" for i in range(2, 19))
    conn.execute(
        f"CREATE TABLE decisions (ts_ms INTEGER, symbol_id INTEGER, {columns}, PRIMARY KEY (ts_ms, symbol_id))"
        " STRICT, WITHOUT ROWID"
    )
    marks = ", ".join("?" * 19)
    took = []
    for rows in kept:
        start = time.perf_counter()
        conn.execute("BEGIN IMMEDIATE")
        conn.executemany("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.bars)
        conn.executemany(f"INSERT INTO decisions VALUES ({marks})", rows.decisions)
        conn.execute("COMMIT")
        took.append(time.perf_counter() - start)
    conn.close()
    return took[WARM:]


def measure(symbols: int) -> tuple[float, float]:
    """(median ms of ours, of the bare one), in one run."""
    setup = setup_of(symbols)
    with tempfile.TemporaryDirectory() as folder:
        ours, kept = anyio.run(durable, setup, Path(folder) / "ours.db")
        peer = bare(kept, Path(folder) / "bare.db", setup)
    assert len(kept[-1].decisions) == symbols
    return statistics.median(ours) * 1000, statistics.median(peer) * 1000


def run(quick: bool) -> list[Line]:
    ours, peer = measure(300 if quick else SYMBOLS)
    ratio = f"{ours / peer:.2f} ×"
    return [Line("barrier, decided and durable", f"{ours:.1f} ms", f"bare {peer:.1f} ms", ratio, "≤ 3 ×")]
