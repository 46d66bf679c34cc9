"""Rows 9, 10 and 18: writes of a real daemon that fail or take long, as the kernel would answer them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avwapd.store import lost
from tests.faults_disk import kit

pytestmark = pytest.mark.crash

WAL = "avwapd.db-wal"
# The call that fails, and how often it was answered before.
QUICK = [pytest.param("pwrite64:error=ENOSPC:when=40", "disk"),
         pytest.param("pwrite64:error=EIO:when=60+", "disk I/O error", marks=pytest.mark.campaign),
         pytest.param("fdatasync:error=EIO:when=30+", "disk I/O error", marks=pytest.mark.campaign)]  # fmt: skip
MOST_TRIES = 4
LONG = [(f"{call}:error={error}:when={nth}{more}", "disk") for call, error in
        (("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("fdatasync", "EIO"), ("fdatasync", "ENOSPC"))
        for nth in (1, 2, 3, 5, 9, 33, 129) for more in ("", "+")]  # fmt: skip


def stops_and_starts_again(fault: str, words: str, folder: Path) -> None:
    """It ends at once with the reason, the stop stays, and the next start is sound.

    Which commit is the one that fails, the machine's pace decides. It is played again where that was a moment at which
    nothing was protected yet, or any more: an entry's own fill, a stop that was executed.
    """
    with kit.opened(folder, kit.endless()) as world:
        for _ in range(MOST_TRIES):
            with kit.running(world):
                kit.until(lambda: kit.holds_something(world), world.tail)
            assert kit.stops(world)
            ends(fault, words, world)
            world.prefix = ()
            if protects(world):
                break
        assert kit.stops(world), "what protects stays at the venue"
        with kit.running(world):
            before = kit.question(world, "SELECT count(*) FROM inputs")[0][0]
            kit.until(lambda: kit.question(world, "SELECT count(*) FROM inputs")[0][0] > before + 40, world.tail)
        assert kit.sound(world, world.play) == []


def ends(fault: str, words: str, world: kit.FaultyWorld) -> None:
    """A daemon that meets the fault."""
    told, at = world.strace(fault, file=WAL), len(world.said())
    process = world.spawn()
    try:
        assert process.wait(kit.LIMIT_S) == 1, world.said(at)
    finally:
        kit.end(process)
    said = world.said(at)
    calls = told.read_text().splitlines()
    fired = [number for number, line in enumerate(calls) if kit.INJECTED in line]
    assert fired, "the fault never fired"
    assert words in said
    assert "next: " in said
    after = [line for line in calls[fired[0] + 1 :] if re.search(r"pwrite64\(.*= \d", line)]
    assert len(after) <= 2, "nothing is written again in place: " + "\n".join(after[:5])
    newest = kit.question(world, "SELECT ifnull(max(ts_ms), 0) FROM bars")[0][0]
    assert lost.read(world.state / "persist_failed.json") >= newest, "a note says how far memory was ahead"


def protects(world: kit.FaultyWorld) -> bool:
    """By the ledger a stop rests, and the venue has not executed it since."""
    rests = "SELECT cid FROM orders JOIN outbox USING (cid) WHERE purpose = 'stop' AND outbox.state = 'ACKED'"
    return bool({cid for (cid,) in kit.question(world, rests)} - kit.executed(world))


@pytest.mark.parametrize(("fault", "words"), QUICK)
def test_a_write_that_fails_ends_it_and_the_next_start_is_sound(fault: str, words: str, tmp_path: Path) -> None:
    kit.needs_strace()
    stops_and_starts_again(fault, words, tmp_path / "w")


@pytest.mark.campaign
@pytest.mark.parametrize(("fault", "words"), LONG)
def test_whichever_write_fails(fault: str, words: str, tmp_path: Path) -> None:
    kit.needs_strace()
    stops_and_starts_again(fault, words, tmp_path / "w")


def test_a_start_that_the_disk_refuses_leaves_a_note_unless_one_says_more(tmp_path: Path) -> None:
    """Its first transaction fails: memory was as far as the ledger, or as an earlier process that noted it."""
    kit.needs_strace()
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        note = world.state / "persist_failed.json"
        with kit.running(world):
            kit.until(lambda: kit.holds_something(world), world.tail)
        assert not note.exists()
        newest = kit.question(world, "SELECT max(ts_ms) FROM bars")[0][0]
        for until_ms in (newest, newest + 600_000):
            told, at = world.strace("pwrite64:error=ENOSPC:when=1", file=WAL), len(world.said())
            process = world.spawn()
            try:
                assert process.wait(kit.LIMIT_S) == 1, world.said(at)
            finally:
                kit.end(process)
            assert kit.INJECTED in told.read_text(), "the fault never fired"
            assert "the ledger cannot be opened" in world.said(at)
            assert lost.read(note) == until_ms
            lost.note(note, newest + 600_000)
        assert kit.question(world, "SELECT max(epoch) FROM instance")[0][0] == 1, "nothing of it is in the ledger"


def test_what_a_slow_disk_delays_is_not_sent_late(tmp_path: Path) -> None:
    """Row 18. A second a sync is twenty bars of this market: entries come too late and are dropped, it lives on."""
    kit.needs_strace()
    with kit.opened(tmp_path / "w", kit.bundled(), kit.GOING_ON) as world:
        told = world.strace("fdatasync:delay_enter=400000", file=WAL)
        with kit.running(world) as process:
            stale = (
                "SELECT count(*) FROM outbox x JOIN orders USING (cid) WHERE purpose = 'entry' AND x.state = 'STALE'"
            )
            kit.until(lambda: kit.question(world, stale)[0][0] > 0 or process.poll() is not None, world.tail)
            assert process.poll() is None, world.tail()
            sent = "SELECT cid FROM outbox WHERE state = 'STALE' AND attempts > 0"
            assert kit.question(world, sent) == []
            ids = {cid for (cid,) in kit.question(world, "SELECT cid FROM outbox WHERE state = 'STALE'")}
        assert told.read_text().count("DELAYED") > 3, "the fault never fired"
        assert not ids & set(world.posted()), "what is stale never left"
        assert kit.sound(world, world.play) == []
