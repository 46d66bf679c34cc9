"""A commit that was acknowledged outlives a power cut: with FULL always, with NORMAL not (so the test can fail)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from avwapd.store.audit import audit
from avwapd.store.database import Synchronous, open_sync
from tests.store import powercut, story


@dataclass
class Tally:
    cuts: int = 0
    lost: int = 0  # cuts after which an acknowledged commit was gone
    worst: int = 0  # how far back it threw the ledger
    broken: int = 0  # cuts after which a promise about the rows did not hold


def campaign(folder: Path, synchronous: Synchronous, count: int, seed: int) -> Tally:
    """Record once, cut `count` times, open each disk the way the daemon does."""
    rng = Random(f"{seed}/{synchronous}")
    path = folder / "avwapd.db"
    open_sync(path).close()
    start = {path.name: path.read_bytes()}
    log = powercut.record(path, synchronous, rng)
    tally = Tally()
    target = folder / "after"
    target.mkdir()
    for acked, files in powercut.cuts(start, log, count, rng):
        for old in target.iterdir():
            old.unlink()
        for name, data in files.items():
            (target / name).write_bytes(data)
        judge(target / path.name, acked, tally)
    return tally


def judge(path: Path, acked: int, tally: Tally) -> None:
    conn = open_sync(path, create=False)
    try:
        tally.cuts += 1
        gone = acked - powercut.progress(conn)
        tally.lost += gone > 0
        tally.worst = max(tally.worst, gone)
        (verdict,) = conn.execute("PRAGMA integrity_check").fetchone()
        tally.broken += verdict != "ok" or bool(audit(conn, account=story.ACCOUNT, strategy=story.STRATEGY))
    finally:
        conn.close()


def test_full_loses_nothing(tmp_path: Path) -> None:
    tally = campaign(tmp_path, "FULL", 300, seed=1)
    assert (tally.cuts, tally.lost, tally.broken) == (300, 0, 0)


def test_normal_loses_and_the_test_sees_it(tmp_path: Path) -> None:
    tally = campaign(tmp_path, "NORMAL", 100, seed=1)
    assert tally.lost > 20
    assert tally.worst > 1
    assert tally.broken == 0  # commits go missing whole, from the end


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(5))
def test_full_loses_nothing_in_five_thousand_cuts(seed: int, tmp_path: Path) -> None:
    tally = campaign(tmp_path, "FULL", 1_000, seed)
    assert (tally.cuts, tally.lost, tally.broken) == (1_000, 0, 0)


def test_a_sync_settles_only_its_own_file() -> None:
    disk = powercut.Disk({})
    for name in ("a", "b"):
        disk.take(powercut.Event("write", name, 3, b"xyz"))
    disk.take(powercut.Event("sync", "a"))
    assert disk.files == {"a": bytearray(b"\0\0\0xyz")}
    seen = {bytes(disk.cut(Random(seed)).get("b", b"")) for seed in range(40)}
    assert {b"", b"\0\0\0xyz"} <= seen


def test_sectors_tear_at_their_borders() -> None:
    event = powercut.Event("write", "a", 500, bytes(range(256)) * 4)
    parts = list(powercut.sectors(event, Random(3)))
    assert 0 < sum(len(part.data) for part in parts) < 1024
    assert all(part.offset == 500 or part.offset % 512 == 0 for part in parts)
    assert all(part.data == event.data[part.offset - 500 :][: len(part.data)] for part in parts)
