"""The whole daemon, stopped in order while the bars of its downtime go in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd.actors.live import LiveBars
from avwapd.store import notes
from avwapd.store.reader import open_reader
from tests.gates.living import life, venue

PAPER: dict[str, Any] = {"mode": "paper", "size__risk_fraction": "0.01"}
DOWN = 5  # bars


def told(folder: Path) -> tuple[list[str], int, int]:
    """What was said of a catch-up; the newest input in time; how many catch-ups ended."""
    conn = open_reader(folder / "avwapd.db")
    try:
        said = [what for (what,) in conn.execute("SELECT what FROM alerts WHERE what LIKE 'ended inside%'")]
        in_time = conn.execute("SELECT max(seq) FROM bars WHERE flags & 11 = 0").fetchone()[0]
        return said, in_time, conn.execute("SELECT count(*) FROM inputs WHERE kind = 'caught_up'").fetchone()[0]
    finally:
        conn.close()


async def test_an_orderly_stop_inside_a_catch_up_names_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(self: LiveBars) -> None:
        self._router.release()  # what the test waits for
        await anyio.sleep_forever()

    async with venue(tmp_path) as at:
        async with life(at, tmp_path, **PAPER) as there:
            await there.bar(8)
        said, in_time, ends = told(tmp_path)
        assert (said, ends) == ([], 0), "an end with nothing to catch up says nothing"
        at.sim.market.half(2 * DOWN)
        with monkeypatch.context() as patch:
            patch.setattr(LiveBars, "_caught_up", never)
            async with life(at, tmp_path, **PAPER) as there:
                assert there.daemon.bars.catching_up
        assert told(tmp_path) == ([notes.CUT_SHORT.format(in_time)], in_time, 0)
        async with life(at, tmp_path, **PAPER) as there:
            await there.bar(2)
        said, newest, ends = told(tmp_path)
        assert (said, ends) == ([notes.CUT_SHORT.format(in_time)], 1), "the next start ends it, and says nothing more"
        assert newest > in_time
