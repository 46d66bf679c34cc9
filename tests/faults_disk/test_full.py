"""Rows 9 and 14: a disk that is really full, or really read-only, under a real daemon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avwapd.ops import ballast
from avwapd.ops.ballast import MB, Room, prepare
from avwapd.verbs.client import ask
from tests.faults_disk import kit

pytestmark = pytest.mark.crash

SMALL = {"AVWAPD_DISK__BALLAST_MB": "6", "AVWAPD_HEALTH__FAIL_DISK_MB": "3"}


def closed(world: kit.FaultyWorld) -> set[str]:
    return {row["gate"] for row in ask(world.short / "control.sock", "GET", "/v1/gates", None, 10) if row["closed"]}


def fill(path: Path) -> None:
    """Another program takes what is left."""
    with path.open("wb", buffering=0) as file:
        chunk = bytes(65_536)
        try:
            while file.write(chunk) == len(chunk):
                pass
        except OSError:
            return


def test_a_full_disk_ends_it_and_the_next_start_makes_room_and_opens_nothing(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not kit.mounts_here(request):
        return
    with kit.opened(tmp_path / "w", kit.endless()) as world, kit.small_disk(world.state, "20m"):
        world.settings = SMALL
        file, filler = world.state / ballast.NAME, world.state / "other.bin"
        with kit.running(world) as process:
            assert file.stat().st_size == 6 * MB
            kit.until(lambda: kit.holds_something(world), world.tail)
            at = len(world.said())
            fill(filler)
            assert process.wait(kit.LIMIT_S) == 1, world.tail()
        assert "database or disk is full" in world.said(at) or "disk I/O error" in world.said(at), world.said(at)
        assert "if it repeats, check the disk" in world.said(at)
        assert kit.stops(world), "what protects stays at the venue"

        epoch = kit.question(world, "SELECT max(epoch) FROM instance")[0][0]
        with kit.running(world):
            assert not file.exists(), "the ballast is what it starts on"
            assert "disk" in closed(world)
            alerts = [what for (what,) in kit.question(world, "SELECT what FROM alerts WHERE level = 'critical'")]
            assert any(
                "exits only: the disk has" in what and "ballast of 6 MB was given free" in what for what in alerts
            )
            exits = "SELECT count(*) FROM fills WHERE purpose <> 'entry' AND seq > ?"
            seq = kit.question(world, "SELECT max(seq) FROM inputs WHERE kind = 'act'")[0][0]
            kit.until(lambda: kit.question(world, exits, seq)[0][0] > 0, world.tail)
            opened = "SELECT count(*) FROM orders JOIN outbox USING (cid) WHERE purpose = 'entry' AND created_seq > ?"
            assert kit.question(world, opened, seq)[0][0] == 0, "exits only"
        assert kit.question(world, "SELECT max(epoch) FROM instance")[0][0] == epoch + 1
        filler.unlink()
        with kit.running(world):
            assert file.stat().st_size == 6 * MB
            assert "disk" not in closed(world)
            told = kit.question(world, "SELECT closed, reason FROM gates WHERE gate = 'disk' ORDER BY id")
            assert [shut for shut, _ in told] == [1, 0]
        assert kit.sound(world, world.play) == []


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_mounted_read_only_is_refused_in_plain_words(
    what: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not kit.mounts_here(request):
        return
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        with kit.running(world) as process:
            process.terminate()
            assert process.wait(30) == 0
        before, at = world.ledger.read_bytes(), len(world.said())
        with kit.read_only(world.state if what == "folder" else world.ledger):
            with pytest.raises(OSError, match="Read-only"):
                world.ledger.open("r+b")
            process = world.spawn()
            try:
                assert process.wait(kit.LIMIT_S) == 78, world.said(at)
            finally:
                kit.end(process)
            said = world.said(at)
            assert ("state folder cannot be used (Read-only file system)" if what == "folder" else
                    "the file cannot be written") in said  # fmt: skip
            assert "Traceback" not in said
            assert "next: " in said
        assert world.ledger.read_bytes() == before
        with kit.running(world):
            pass  # nothing else was in its way


# -------------------------------------------------------------------------------------------------- ballast


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the disk says it has, in MB."""
    told = {"mb": 1000}
    monkeypatch.setattr(ballast, "free_bytes", lambda folder: told["mb"] * MB)
    return told


def test_the_ballast_takes_room_and_gives_it(tmp_path: Path, free: dict[str, int]) -> None:
    file = tmp_path / ballast.NAME
    assert prepare(tmp_path, ballast_mb=2, least_mb=10) == Room()
    assert file.stat().st_size == 2 * MB
    assert file.stat().st_blocks * 512 >= 2 * MB, "a sparse file gives nothing back"
    made = file.stat().st_mtime_ns
    free["mb"] = 10
    assert prepare(tmp_path, ballast_mb=2, least_mb=10) == Room()
    assert file.stat().st_mtime_ns == made, "what is there is left alone"
    free["mb"] = 9
    short = prepare(tmp_path, ballast_mb=2, least_mb=10)
    assert short.freed == 2 * MB
    assert "the disk has 9.0 MB left, 10 MB are needed; the ballast of 2 MB was given free" in short.short
    assert not file.exists()
    free["mb"] = 11
    assert "12 MB are needed" in prepare(tmp_path, ballast_mb=2, least_mb=10).short, "not before there is room for both"
    assert not file.exists()
    free["mb"] = 12
    assert prepare(tmp_path, ballast_mb=2, least_mb=10) == Room()
    assert file.exists()


def test_another_size_is_made_anew_and_none_is_removed(tmp_path: Path, free: dict[str, int]) -> None:
    prepare(tmp_path, ballast_mb=2, least_mb=10)
    prepare(tmp_path, ballast_mb=3, least_mb=10)
    assert (tmp_path / ballast.NAME).stat().st_size == 3 * MB
    (tmp_path / "ballast.tmp").write_bytes(b"half, of a start that was killed")
    assert prepare(tmp_path, ballast_mb=0, least_mb=10) == Room()
    assert list(tmp_path.iterdir()) == []


def test_a_ballast_that_cannot_be_made_is_no_reason_to_fall(
    tmp_path: Path, free: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert "cannot be made (No space left on device)" in prepare(tmp_path, ballast_mb=2, least_mb=10).short
    assert list(tmp_path.iterdir()) == []
