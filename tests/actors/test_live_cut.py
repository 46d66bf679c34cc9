"""A catch-up that does not come to its end: it says so while it lasts, and the next start ends it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import anyio
import pytest

from avwapd.actors.live import LiveBars
from avwapd.store import notes
from avwapd.store.database import open_sync
from avwapd.store.sql import transact
from tests.actors.live_desk import MINUTE_MS, Desk, desk

pytestmark = pytest.mark.anyio

ENDS = "SELECT count(*) FROM inputs WHERE kind = 'caught_up'"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def stopped_at(folder: Path) -> int:
    """One life of two minutes in time; when it ended."""
    async with desk(folder) as found:
        await found.until(lambda: "release" in found.door.said)
        found.minute(2)
        await found.folded()
        assert not found.bars.catching_up
        return found.clock.ms


async def cut(folder: Path, now_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A life that ends behind its last late bar and before the end of its catch-up."""

    async def never(self: LiveBars) -> None:
        await anyio.sleep_forever()

    with monkeypatch.context() as patch:
        patch.setattr(LiveBars, "_caught_up", never)
        async with desk(folder, now_ms=now_ms) as found:
            await found.until(lambda: late(found) == 10)
            assert found.bars.catching_up


def late(found: Desk) -> int:
    return sum(1 for _, _, flags in found.flags() if flags & 1)


async def test_the_next_start_ends_it_though_nothing_more_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = await stopped_at(tmp_path) + 5 * MINUTE_MS + 2_000
    await cut(tmp_path, now_ms, monkeypatch)
    async with desk(tmp_path, now_ms=now_ms) as found:
        await found.until(lambda: "release" in found.door.said)
        assert (late(found), found.ask(ENDS)) == (10, [(1,)])
        assert not found.bars.catching_up
    async with desk(tmp_path, now_ms=now_ms) as found:
        await found.until(lambda: "release" in found.door.said)
        assert found.ask(ENDS) == [(1,)], "it is ended once"


async def test_what_an_orderly_end_says_of_it_holds_for_that_beginning_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = await stopped_at(tmp_path) + 5 * MINUTE_MS + 2_000
    with closing(open_sync(tmp_path / "avwapd.db")) as conn:
        transact(lambda c: notes.cut_short(c, ts_ms=now_ms))(conn)
        assert conn.execute("SELECT count(*) FROM alerts").fetchone() == (0,), "nothing is open, nothing is said"
        in_time = conn.execute("SELECT max(seq) FROM bars WHERE flags = 0").fetchone()[0]
    await cut(tmp_path, now_ms, monkeypatch)
    with closing(open_sync(tmp_path / "avwapd.db")) as conn:
        assert (notes.open_catch_up(conn), notes.told_short(conn)) == (in_time, 0)
        transact(lambda c: notes.cut_short(c, ts_ms=now_ms))(conn)
        assert notes.told_short(conn) == in_time
        assert conn.execute("SELECT level, what FROM alerts").fetchall() == [("info", notes.CUT_SHORT.format(in_time))]
        conn.execute("DROP TRIGGER bars_stand")
        conn.execute("UPDATE bars SET flags = flags | 1 WHERE seq = ?", (in_time,))
        assert 0 < notes.open_catch_up(conn) < in_time
        assert notes.told_short(conn) == 0, "one barrier more is late than was said"
