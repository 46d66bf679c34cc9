"""A copy of a ledger that is being written: the writer is not held up, and every copy is a moment of the truth."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from avwapd.store import ledger
from avwapd.store.database import open_database, open_sync
from avwapd.store.rows import StepRows
from avwapd.store.sql import transact
from avwapd.store.writer import Writer
from tests.store import story

SYMBOLS = 50
PAIRS = """
import sys, time
from pathlib import Path
from avwapd.ops.backup import backup
shelf, done = Path(sys.argv[2]), 0
print("ready", flush=True)
while not (shelf / "stop").exists():
    backup(Path(sys.argv[1]), shelf / f"{done}.db", now_ms=1)
    done += 1
print(done, flush=True)
"""


@contextmanager
def copying(path: Path, shelf: Path) -> Iterator[list[int]]:
    """Another process that takes one copy after the other; at the end how many they were."""
    copier = subprocess.Popen([sys.executable, "-c", PAIRS, str(path), str(shelf)], stdout=subprocess.PIPE, text=True)
    assert copier.stdout is not None
    made: list[int] = []
    try:
        assert copier.stdout.readline() == "ready\n"
        yield made
        (shelf / "stop").touch()
        made.append(int(copier.stdout.readline()))
        assert copier.wait(30) == 0
    finally:
        copier.kill()
        copier.wait(10)
        copier.stdout.close()


async def latencies(writer: Writer, seq: int, count: int) -> list[float]:
    """Seconds from posting a barrier of fifty symbols until it is on the disk, each followed by a short rest."""
    found = []
    for number in range(seq, seq + count):
        ts_ms = 60_000 * number
        bars, decisions = story.bars(ts_ms, SYMBOLS), story.decisions(ts_ms, SYMBOLS)
        step = StepRows(number, "bars", ts_ms, bars=bars, decisions=decisions)
        begun = time.perf_counter()
        await writer.submit(partial(ledger.record_step, rows=step))
        found.append(time.perf_counter() - begun)
    return sorted(found)


@pytest.mark.crash
async def test_copies_do_not_hold_the_writer_up(tmp_path: Path, house_report: list[str]) -> None:
    path, shelf = tmp_path / "avwapd.db", tmp_path / "shelf"
    shelf.mkdir()
    with closing(open_sync(path)) as conn:
        epoch = transact(lambda c: ledger.begin_epoch(c, 1, 2, "h", "b"))(conn)
        transact(lambda c: ledger.register_instruments(c, story.instruments(SYMBOLS)))(conn)
    async with await open_database(path) as db:
        writer = Writer(db, epoch)
        async with anyio.create_task_group() as group:
            await group.start(writer.run)
            alone = await latencies(writer, 1, 600)
            with copying(path, shelf) as copies:
                beside = await latencies(writer, 601, 1200)
            writer.close()
    figures = {"alone": alone, "beside": beside}
    told = {name: [1000 * each[len(each) * share // 100] for share in (50, 99)] for name, each in figures.items()}
    words = "; ".join(f"{name} p50 {p50:.2f} ms, p99 {p99:.2f} ms" for name, (p50, p99) in told.items())
    house_report.append(f"commits of 50 symbols {words}, worst {1000 * beside[-1]:.1f} ms, beside {copies[0]} backups")
    assert copies[0] >= 2, "the copies have to be taken meanwhile"
    assert told["beside"][1] < max(5 * told["alone"][1], 100.0)
    assert beside[-1] < 2.0, "no commit waits for a copy"
    for copy in shelf.glob("*.db"):
        with closing(sqlite3.connect(copy)) as conn:
            newest = conn.execute("SELECT max(seq) FROM inputs").fetchone()[0]
            assert conn.execute("SELECT count(*) FROM decisions").fetchone()[0] == newest * SYMBOLS, "no half barrier"
