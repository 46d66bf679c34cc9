"""What is over goes, what is the record stays, and nothing goes that avwapd did not write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest

from avwapd.ops.retention import DAY_MS, Housekeeper, forget_daily
from avwapd.store import ledger, notes
from avwapd.store.database import open_database, open_sync
from avwapd.store.mark import Mark
from avwapd.store.sql import transact
from avwapd.store.writer import Writer
from tests.store import story

NOW_MS = 1_767_323_045_000  # 2026-01-02 03:04:05 UTC


def test_only_daily_files_go_and_only_by_their_day(tmp_path: Path) -> None:
    folder = tmp_path / "decisions"
    assert forget_daily(folder, now_ms=NOW_MS, days=2) == 0
    folder.mkdir()
    gone = ["2025-12-30.jsonl", "20251230.jsonl", "decisions-2025-12-30.jsonl"]
    stays = ["2025-12-31.jsonl", "2026-01-02.jsonl", "2025-12-30.jsonl.gz", "notes.jsonl", "2025-12-30.txt"]
    for name in gone + stays:
        (folder / name).write_text("{}")
    (folder / "2025-01-01.jsonl").mkdir()
    assert forget_daily(folder, now_ms=NOW_MS, days=2) == len(gone)
    assert {entry.name for entry in folder.iterdir()} == {*stays, "2025-01-01.jsonl"}


def test_of_a_minutes_beats_the_last_one_stays(conn: sqlite3.Connection) -> None:
    for second in range(180):
        transact(lambda c, at=second: notes.beat(c, ts_ms=60_000_000 + 1000 * at, body=str(at)))(conn)
        assert conn.execute("SELECT body FROM beats ORDER BY ts_ms DESC LIMIT 1").fetchone() == (str(second),)
    assert conn.execute("SELECT body FROM beats ORDER BY ts_ms").fetchall() == [("59",), ("119",), ("179",)]


def test_old_beats_and_settled_notices_go_and_the_record_stays(tmp_path: Path) -> None:
    with closing(story.tell(tmp_path / "avwapd.db")) as conn:
        kept = ("inputs", "bars", "decisions", "orders", "outbox", "fills", "transitions", "alerts")
        before = {name: conn.execute(f"SELECT * FROM {name}").fetchall() for name in kept}
        put = "INSERT INTO notices (ts_ms, event, level, title, body, state) VALUES (?, 'fill', 'info', 't', 'b', ?)"
        for at, state in ((1, "delivered"), (1, "waiting"), (1, "given_up"), (100, "delivered")):
            conn.execute(put, (at, state))
        conn.executemany("INSERT INTO beats VALUES (?, '')", [(1,), (100,)])
        transact(partial(notes.forget, beats_before_ms=50, notices_before_ms=50))(conn)
        assert conn.execute("SELECT ts_ms FROM beats").fetchall() == [(100,)]
        assert conn.execute("SELECT ts_ms, state FROM notices").fetchall() == [(1, "waiting"), (100, "delivered")]
        assert {name: conn.execute(f"SELECT * FROM {name}").fetchall() for name in kept} == before


class Watch:
    """A clock that stands."""

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@pytest.mark.parametrize("broken", [False, True])
async def test_once_a_session_the_mark_is_written_and_the_house_kept(broken: bool, tmp_path: Path) -> None:
    """A disk that refuses the mark costs a warning: the daemon goes on."""
    marks: list[Mark] = []
    asked: list[int] = []
    bell: list[anyio.Event] = []

    async def keep(mark: Mark) -> None:
        if broken:
            raise OSError(28, "No space left on device")
        marks.append(mark)

    async def forget(now_ms: int) -> int:
        asked.append(now_ms)
        bell[-1].set()
        return 0

    with closing(open_sync(tmp_path / "avwapd.db")) as conn:
        epoch = transact(lambda c: ledger.begin_epoch(c, 1, 2, "h", "b"))(conn)
        conn.executemany("INSERT INTO beats VALUES (?, '')", [(NOW_MS - 3 * DAY_MS,), (NOW_MS - DAY_MS,)])
    async with await open_database(tmp_path / "avwapd.db") as db:
        writer = Writer(db, epoch)
        house = Housekeeper(
            writer,
            Watch(),
            beats_days=2,
            notices_days=2,
            keep_mark=keep,
            forget_files=forget,
            market_ms=lambda: NOW_MS - 9 * DAY_MS,
        )
        async with anyio.create_task_group() as group:
            await group.start(writer.run)
            await group.start(house.run)
            assert asked == []
            for number in (1, 2):
                bell.append(anyio.Event())
                house.session_over(7, 100 * number)
                with anyio.fail_after(10):
                    await bell[-1].wait()
            assert marks == ([] if broken else [Mark(7, 100, NOW_MS), Mark(7, 200, NOW_MS)])
            assert asked == [NOW_MS - 9 * DAY_MS] * 2  # by the market, whose days the files carry
            left = await writer.submit(lambda c: c.execute("SELECT ts_ms FROM beats").fetchall())
            assert left == [(NOW_MS - DAY_MS,)]
            group.cancel_scope.cancel()
