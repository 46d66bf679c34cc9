"""Noting acts while the ledger does not answer: nothing is done that is not noted, except the kill switch."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd.actors import control_deeds
from avwapd.actors.control_answer import Refusal
from avwapd.actors.control_deeds import REFUSED_A_MINUTE, Deeds, Wish
from avwapd.actors.control_peer import Peer
from avwapd.ports import SystemClock
from avwapd.store import WriterFailed
from avwapd.store.acts import newest
from avwapd.store.database import open_database
from avwapd.store.ledger import begin_epoch
from avwapd.store.sql import transact
from avwapd.store.writer import Writer

PEER = Peer(0, 7, "test")


class Stuck:
    """A database whose disk answers when it is told to."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.free = anyio.Event()
        self.free.set()
        self.broken = False

    async def run(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        await self.free.wait()
        if self.broken:
            raise sqlite3.OperationalError("disk I/O error")
        return await self.inner.run(fn)


class Acted:
    def __init__(self) -> None:
        self.times = 0

    async def do(self) -> dict[str, Any]:
        self.times += 1
        return {"done": self.times}

    def wish(self, verb: str = "halt", body: str = "{}", key: str | None = None) -> Wish:
        return Wish(verb, body, PEER, key, self.do, unheard=verb == "kill")


async def until(seen: Callable[[], bool]) -> None:
    for _ in range(500):
        if seen():
            return
        await anyio.sleep(0.01)
    raise AssertionError("it does not come")


@asynccontextmanager
async def deeds(folder: Path, *, room: int = 16) -> AsyncIterator[tuple[Deeds, Stuck, Path]]:
    path = folder / "avwapd.db"
    database = await open_database(path)
    disk = Stuck(database)
    try:
        epoch = await database.run(transact(partial(begin_epoch, started_ms=1, pid=1, host="h", boot_id="b")))
        writer = Writer(disk, epoch, room=room)  # type: ignore[arg-type]
        found = Deeds(writer, SystemClock())
        async with anyio.create_task_group() as group:
            found.open(group)
            await group.start(writer.run)
            try:
                yield found, disk, path
            finally:
                disk.free.set()  # else a failed test would wait for a disk that never answers
            group.cancel_scope.cancel()
    finally:
        disk.free.set()
        await database.close()


async def test_a_ledger_that_cannot_note_it_means_it_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_deeds, "NOTE_S", 0.1)
    acted = Acted()
    async with deeds(tmp_path) as (found, disk, path):
        disk.free = anyio.Event()
        status, facts = await found.perform(acted.wish(key="k"))
        assert (status, acted.times) == (503, 0)
        assert "is not done" in facts["what"]
        disk.free.set()
        await until(lambda: bool(newest(path)) and newest(path)[0]["status"] != "under way")
        rows = newest(path)
        assert rows[0]["status"] == 503, "the row that came too late says that nothing was done"
        assert (await found.perform(acted.wish(key="k")))[0] == 503, "its key says so too"
        assert acted.times == 0
        assert (await found.perform(acted.wish(key="k2"))) == (200, {"done": 1})


async def test_a_full_queue_is_no_way_around_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_deeds, "NOTE_S", 0.1)
    acted = Acted()
    async with deeds(tmp_path, room=1) as (found, disk, _), anyio.create_task_group() as group:
        disk.free = anyio.Event()
        said: list[int] = []

        async def ask() -> None:
            said.append((await found.perform(acted.wish()))[0])

        for _ in range(6):
            group.start_soon(ask)
        await until(lambda: len(said) == 6)
        assert (set(said), acted.times) == ({503}, 0)
        disk.free.set()


async def test_kill_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    acted = Acted()
    async with deeds(tmp_path) as (found, disk, path):
        disk.free = anyio.Event()
        with anyio.fail_after(1):
            status, facts = await found.perform(acted.wish("kill"))
        assert (status, facts, acted.times) == (200, {"done": 1, "noted": False}, 1)
        disk.free.set()
        await until(lambda: bool(newest(path)) and newest(path)[0]["status"] != "under way")
        rows = newest(path)
        assert (rows[0]["verb"], rows[0]["status"]) == ("kill", 200)


async def test_a_dead_disk_refuses_acts_and_kill_is_done(tmp_path: Path) -> None:
    """The writer raises what ends the process; until then acts are refused, and the switch turns."""
    acted, said = Acted(), []
    database = await open_database(tmp_path / "avwapd.db")
    disk = Stuck(database)
    disk.broken = True
    writer = Writer(disk, 1)  # type: ignore[arg-type]
    found = Deeds(writer, SystemClock())

    async def doomed() -> None:
        with suppress(WriterFailed):
            await writer.run()

    async with anyio.create_task_group() as group:
        found.open(group)
        group.start_soon(doomed)
        for verb in ("halt", "kill", "halt"):
            said.append((await found.perform(acted.wish(verb)))[0])
    await database.close()
    assert (said, acted.times) == ([503, 200, 503], 1)


async def test_after_the_client_hung_up_the_act_and_its_row_are_completed(tmp_path: Path) -> None:
    begun, go = anyio.Event(), anyio.Event()

    async def do() -> dict[str, Any]:
        begun.set()
        await go.wait()
        return {"done": "all of it"}

    async with deeds(tmp_path) as (found, _, path):
        async with anyio.create_task_group() as client:
            client.start_soon(found.perform, Wish("flatten", "{}", PEER, "gone", do))
            await begun.wait()
            client.cancel_scope.cancel()
        go.set()
        again = await found.perform(Wish("flatten", "{}", PEER, "gone", do))
        assert again == (200, {"done": "all of it"})
        assert [row["status"] for row in newest(path)] == [200]


async def test_an_act_that_fails_is_told_and_noted(tmp_path: Path) -> None:
    async def broken() -> dict[str, Any]:
        raise RuntimeError("no such part")

    async with deeds(tmp_path) as (found, _, path):
        status, facts = await found.perform(Wish("drill", "{}", PEER, None, broken))
        assert (status, facts["what"]) == (500, "drill failed: no such part")
        assert newest(path)[0]["status"] == 500


async def test_refusals_are_noted_up_to_a_bound(tmp_path: Path) -> None:
    async with deeds(tmp_path) as (found, _, path):
        for _ in range(REFUSED_A_MINUTE * 3):
            found.refuse("halt", "{}", PEER, Refusal(403, "no", "here", "go"))
        await until(lambda: bool(newest(path)))
        await found.perform(Acted().wish())
        rows = newest(path)
        assert 1 < len(rows) <= 2 * REFUSED_A_MINUTE + 1
        assert rows[-1]["status"] == 403
