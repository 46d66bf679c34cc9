"""The note of a failed commit: whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from avwapd.store import lost
from avwapd.store.whole import NotWritten


def test_what_was_noted_is_read_and_the_newest_stands(tmp_path: Path) -> None:
    path = tmp_path / "persist_failed.json"
    assert lost.read(path) == 0
    lost.note(path, 1_704_378_660_000)
    lost.note(path, 1_704_378_720_000)
    assert lost.read(path) == 1_704_378_720_000
    assert [each.name for each in tmp_path.iterdir()] == ["persist_failed.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"until_ms": "1"}', b"\xff\xfe"])
def test_what_is_not_whole_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "note").write_bytes(content)
    assert lost.read(tmp_path / "note") == 0


def test_no_place_for_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritten):
        lost.note(tmp_path / "file" / "note", 1)
