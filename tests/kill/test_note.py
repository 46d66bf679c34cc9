"""The file: its being there is the switch, its words are for people and for the daemon that books a sale."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from avwapd.store import kill_note
from avwapd.store.kill_note import KillNote, Sale, Watched

NOTE = KillNote("why", "who", 7, True, False, (Sale("ASH", "av-kill-x", -1, "10", "4", "50.25"),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "KILL_SWITCH"
    assert kill_note.read(path) is None
    kill_note.close(path, NOTE)
    assert kill_note.read(path) == NOTE
    assert [name.name for name in tmp_path.iterdir()] == ["KILL_SWITCH"]


def test_it_is_on_the_disk_with_its_folder_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def noted(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        real(fd)

    monkeypatch.setattr(os, "fsync", noted)
    path = tmp_path / "KILL_SWITCH"
    kill_note.close(path, NOTE)
    assert synced[:2] == [str(path), str(tmp_path)]
    assert synced[-1] == str(tmp_path)
    synced.clear()
    assert kill_note.release(path)
    assert synced == [str(tmp_path)]
    assert not kill_note.release(path)


def test_a_full_disk_keeps_the_words_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    path = tmp_path / "KILL_SWITCH"
    kill_note.close(path, NOTE)
    assert path.exists()
    assert kill_note.read(path) == KillNote()


@pytest.mark.parametrize(
    "body",
    [b"", b"stop it", b"[]", b'{"sales": 3}', b'{"flatten": "no"}', b'{"sales": [{"symbol": "A"}]}', b"\xff" * 9,
     b"[" * 100_000, json.dumps({"unknown": 1}).encode()],
)  # fmt: skip
def test_any_file_is_a_kill_and_sells_nothing(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "KILL_SWITCH"
    path.write_bytes(body)
    note = kill_note.read(path)
    assert note is not None
    assert (note.flatten, note.sales) == (False, ())
    assert Watched(path).exists()


def test_watched_sees_every_change(tmp_path: Path) -> None:
    path = tmp_path / "KILL_SWITCH"
    watched = Watched(path)
    assert (watched.exists(), watched.note()) == (False, None)
    kill_note.close(path, KillNote("one"))
    assert (watched.exists(), watched.note()) == (True, KillNote("one"))
    kill_note.replace(path, NOTE)
    assert watched.note() == NOTE
    kill_note.release(path)
    assert (watched.exists(), watched.note()) == (False, None)


def test_who_cannot_look_takes_it_for_closed(tmp_path: Path) -> None:
    blocker = tmp_path / "loop"
    blocker.symlink_to(blocker)
    assert Watched(blocker / "KILL_SWITCH").exists()
