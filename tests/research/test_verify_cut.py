"""A record that ends inside a catch-up: believed where the record says where it began, and nowhere else."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from avwapd.core.codes import BAR_LATE, BAR_MISSING
from avwapd.store import notes
from avwapd.store.database import open_sync
from avwapd.store.sql import transact
from tests.research import paper
from tests.research.conftest import Base, Verify


@pytest.fixture
def cut(base: Base, tmp_path: Path) -> Path:
    """A run whose last twenty barriers are late and without an end."""
    down = np.unique(base.market.bars["ts_ms"])[-21]

    def late_at_last(barrier: np.ndarray) -> np.ndarray:
        if barrier[0]["ts_ms"] > down:
            barrier["flags"] |= BAR_LATE
        return barrier

    return paper.ran(base.setup, base.state(tmp_path), bars=late_at_last, mode="paper")


def down_and_late(base: Base, state: Path) -> Path:
    """A run whose last barriers are late, and of whose first late one a bar could not be had."""
    down = np.unique(base.market.bars["ts_ms"])[-21]
    failed: list[int] = []

    def late_at_last(barrier: np.ndarray) -> np.ndarray:
        if barrier[0]["ts_ms"] > down:
            barrier["flags"] |= BAR_LATE
            if not failed:
                failed.append(int(barrier[0]["ts_ms"]))
                barrier[0]["flags"] |= BAR_MISSING
                for price in ("open", "high", "low", "close", "volume"):
                    barrier[0][price] = np.nan
        return barrier

    ran = paper.ran(base.setup, base.state(state), bars=late_at_last, mode="paper")
    assert failed
    return ran


def say(state: Path) -> None:
    """As an orderly end inside a catch-up does."""
    with closing(open_sync(state / "avwapd.db")) as conn:
        transact(lambda c: notes.cut_short(c, ts_ms=1))(conn)


def test_a_record_may_end_inside_a_catch_up_and_says_so(base: Base, cut: Path, verify: Verify) -> None:
    say(cut)
    code, _, text = verify(cut)
    assert code == 0, text
    assert f"{20 * len(base.market.symbols)} late marks of a catch-up that has not ended" in text


def test_late_marks_that_nobody_spoke_of_fail(cut: Path, verify: Verify) -> None:
    code, block, text = verify(cut)
    assert (code, block["Layer"]) == (1, "decisions"), text
    assert "no recorded downtime" in block["Hypothesis"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alerts SET what = replace(what, 'input ', 'input 1')",
        "UPDATE bars SET flags = flags | 1 WHERE seq = (SELECT max(seq) FROM bars WHERE flags & 1 = 0)",
        "UPDATE bars SET flags = flags & ~1 WHERE seq = (SELECT min(seq) FROM bars WHERE flags & 1)",
    ],
)
def test_another_beginning_than_the_one_it_names_fails(cut: Path, verify: Verify, change: str) -> None:
    say(cut)
    paper.execute(cut, change)
    code, _, text = verify(cut)
    assert code == 1, text


def test_an_interval_that_was_late_and_could_not_be_had(base: Base, tmp_path: Path, verify: Verify) -> None:
    state = down_and_late(base, tmp_path)
    say(state)
    code, _, text = verify(state)
    assert code == 0, text
    assert "1 failed intervals" in text
    paper.execute(state, f"UPDATE bars SET flags = flags & ~{BAR_LATE} WHERE flags & {BAR_MISSING}")
    code, _, text = verify(state)
    assert code == 1, text
