"""What readers cost the writer: 1,000 commits alone, and 1,000 with a long question and a stuck reader beside them.

The long question scans every decision again and again in a process of its own, as a web page's would; the stuck reader
holds a snapshot open from before the first commit and never lets go, so that the WAL cannot shrink.
"""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import anyio
import numpy as np

from avwapd.store import notes
from avwapd.store.database import open_database
from avwapd.store.ledger import begin_epoch
from avwapd.store.sql import transact
from avwapd.store.writer import Writer
from bench.measure import Line

ROWS = 300_000  # that the long question goes through
LIMIT = 2.0
ASKER = """
import sys, time
from avwapd.store.reader import open_reader
until = time.monotonic() + float(sys.argv[2])
conn = open_reader(sys.argv[1])
print("asking", flush=True)
count = 0
while time.monotonic() < until:
    conn.execute("SELECT level, count(*), max(what) FROM alerts GROUP BY what ORDER BY 3 LIMIT 5").fetchall()
    count += 1
"""
HOLDER = """
import sys, time
from avwapd.store.reader import open_reader
conn = open_reader(sys.argv[1])
conn.execute("BEGIN")
conn.execute("SELECT count(*) FROM alerts").fetchall()
print("holding", flush=True)
time.sleep(float(sys.argv[2]))
"""
LONGEST_S = 120.0


@contextmanager
def process(code: str, path: Path) -> Iterator[None]:
    """A reader that has begun; ended with the block."""
    command = [sys.executable, "-c", code, str(path), str(LONGEST_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            if not child.stdout.readline():
                raise RuntimeError("a reader did not start")
            yield
        finally:
            child.kill()


def filled(path: Path) -> None:
    """Something to ask about."""
    with closing(sqlite3.connect(path)) as conn:
        rows = ((number, "info", f"filler {number % 997} {'x' * 60}") for number in range(ROWS))
        conn.executemany("INSERT INTO alerts (ts_ms, level, what) VALUES (?, ?, ?)", rows)
        conn.commit()


async def commits(path: Path, count: int) -> list[float]:
    """Seconds of each commit, one behind the other through the daemon's own writer."""
    took = []
    database = await open_database(path)
    try:
        begin = partial(begin_epoch, started_ms=1, pid=1, host="bench", boot_id="")
        writer = Writer(database, await database.run(transact(begin)))
        async with anyio.create_task_group() as group:
            await group.start(writer.run)
            for number in range(count):
                start = time.perf_counter()
                await writer.submit(partial(notes.beat, ts_ms=number, body="x" * 400))
                took.append(time.perf_counter() - start)
            writer.close()
    finally:
        await database.close()
    return took


def run(quick: bool) -> list[Line]:
    count, turns = (200, 2) if quick else (1_000, 5)
    found: dict[str, list[float]] = {"alone": [], "read": []}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "avwapd.db"
        anyio.run(commits, path, 10)
        filled(path)
        for _ in range(turns):
            found["alone"].append(p99(anyio.run(commits, path, count)))
            with ExitStack() as readers:
                for code in (HOLDER, ASKER):
                    readers.enter_context(process(code, path))
                found["read"].append(p99(anyio.run(commits, path, count)))
    alone, read = statistics.median(found["alone"]), statistics.median(found["read"])
    shown = f"p99 {read * 1e3:.1f} ms"
    beside = f"{count} commits without readers: p99 {alone * 1e3:.1f} ms, medians of {turns}"
    ratio = f"{read / alone:.2f} ×"
    return [Line("commit beside a long query and a stuck reader", shown, beside, ratio, f"{LIMIT:g} ×")]


def p99(took: list[float]) -> float:
    return float(np.percentile(took, 99))
