"""Rows 11 and 17: somebody else has the ledger locked, or reads it for ever."""

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

from avwapd.store import ledger, notes
from avwapd.store.database import open_database, open_sync
from avwapd.store.sql import transact
from avwapd.store.writer import BUSY_TOLD, Writer
from tests.faults_disk import kit

WRITER = """
import sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
conn.execute("BEGIN IMMEDIATE")
conn.execute("DELETE FROM beats WHERE ts_ms = -1")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
conn.execute("ROLLBACK")
print("given back", flush=True)
time.sleep(60)
"""
READER = """
import sqlite3, sys, time
conn = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
conn.execute("BEGIN")
conn.execute("SELECT count(*) FROM beats").fetchall()
print("held", flush=True)
time.sleep(120)
"""


@contextmanager
def other(code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Another program that has done the first thing it says."""
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.crash
def test_a_writer_of_a_second_is_waited_for(tmp_path: Path) -> None:
    with kit.opened(tmp_path / "w", kit.endless()) as world, kit.running(world) as process:
        count = "SELECT count(*) FROM inputs"
        kit.until(lambda: kit.question(world, count)[0][0] > 10, world.tail)
        with other(WRITER, str(world.ledger), "1.0") as foreign:
            before = kit.question(world, count)[0][0]
            assert foreign.stdout is not None
            assert kit.question(world, count)[0][0] == before, "the lock is really held: nothing is committed"
            assert foreign.stdout.readline() == "given back\n"
            kit.until(lambda: kit.question(world, count)[0][0] > before + 20, world.tail)
        assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 0
        assert kit.sound(world, world.play) == []


@pytest.mark.crash
def test_a_writer_that_never_ends_stops_it_within_the_limit_and_nothing_is_half(tmp_path: Path) -> None:
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        with kit.running(world) as process:
            kit.until(lambda: kit.question(world, "SELECT count(*) FROM inputs")[0][0] > 10, world.tail)
            at = len(world.said())
            with other(WRITER, str(world.ledger), "60"):
                begun = time.monotonic()
                assert process.wait(40) == 1, world.said(at)
                assert time.monotonic() - begun >= 4.0, "it waits for five seconds first"
        assert "database is locked" in world.said(at)
        assert kit.sound(world, world.play) == []
        with kit.running(world):
            pass


def beat(conn: sqlite3.Connection, number: int) -> None:
    conn.execute("INSERT OR REPLACE INTO beats VALUES (?, printf('%.*c', 20000, 'x'))", (number,))


async def test_a_reader_that_never_ends_calls_a_human_once_and_the_writer_goes_on(tmp_path: Path) -> None:
    """The WAL grows while it reads, and is folded when it has gone; a second one is told again."""
    path = tmp_path / "avwapd.db"
    with closing(open_sync(path)) as conn:
        epoch = transact(lambda c: ledger.begin_epoch(c, 1, 2, "h", "b"))(conn)
    alerts = "SELECT what FROM alerts"
    async with await open_database(path) as db:
        writer = Writer(
            db,
            epoch,
            checkpoint_rows=1,
            alarm=lambda what: partial(notes.alert, ts_ms=1, level="critical", what=what),
        )
        async with anyio.create_task_group() as group:
            await group.start(writer.run)
            await writer.submit(partial(beat, number=0))
            for spell in (1, 2):
                with other(READER, str(path)):
                    for number in range(20):
                        await writer.submit(partial(beat, number=spell * 100 + number))
                    assert writer.busy > BUSY_TOLD
                    assert writer.wal_pages > 40
                    told = await db.run(lambda c: c.execute(alerts).fetchall())
                    assert len(told) == spell
                    assert "a reader holds back the checkpoint" in told[-1][0]
                with anyio.fail_after(10):  # a receipt comes before the checkpoint that its rows bring
                    while writer.busy or writer.wal_pages:
                        await anyio.sleep(0.01)
                        await writer.submit(partial(beat, number=spell * 100 + 90))
            writer.close()
    assert path.with_name("avwapd.db-wal").exists() is False


async def test_without_a_reader_nobody_is_called(tmp_path: Path) -> None:
    path = tmp_path / "avwapd.db"
    with closing(open_sync(path)) as conn:
        epoch = transact(lambda c: ledger.begin_epoch(c, 1, 2, "h", "b"))(conn)
    called: list[str] = []
    async with await open_database(path) as db:
        writer = Writer(db, epoch, checkpoint_rows=1, alarm=lambda what: called.append(what))  # type: ignore[arg-type, func-returns-value]
        async with anyio.create_task_group() as group:
            await group.start(writer.run)
            for number in range(20):
                await writer.submit(partial(beat, number=number))
            writer.close()
    assert called == []
