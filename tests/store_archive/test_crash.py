"""A write that fails or is killed at any point leaves old files or new ones, never half of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from avwapd.store.archive import Archive, ArchiveError
from avwapd.store.archive_file import as_table
from avwapd.store.instruments import Instruments, inferred
from tests.store_archive.bars import columns, put, snapshot, write


@pytest.fixture
def filled(tmp_path: Path) -> Archive:
    archive = Archive(tmp_path / "archive")
    archive.write("x", "1m", as_table("A", columns(3000, step=60_000)))
    return archive


@pytest.mark.parametrize("place", ["fsync", "write", "rename"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_failing_disk_leaves_the_old_files(
    filled: Archive, monkeypatch: pytest.MonkeyPatch, place: str, after: int
) -> None:
    before = snapshot(filled.root)
    owner, name = {"fsync": (os, "fsync"), "write": (pq, "write_table"), "rename": (Path, "replace")}[place]
    real, calls = getattr(owner, name), iter(range(99))

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(calls) >= after:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failing)
        with pytest.raises(ArchiveError, match="No space left"):
            filled.write("x", "1m", as_table("B", columns(3000, step=60_000)))
    now = snapshot(filled.root)
    assert now.keys() == before.keys()
    assert sum(now[file] != before[file] for file in before) == after
    assert len(filled.read("x", "1m", ["A"])) == 3000
    done = filled.write("x", "1m", as_table("B", columns(3000, step=60_000)))
    assert done.added + done.unchanged == len(filled.read("x", "1m", ["B"])) == 3000


def test_every_stored_symbol_is_known_even_if_the_import_dies_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path / "archive")
    path = write(tmp_path / "a.parquet", columns(5))

    def dying(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Archive, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            put(archive, path)
    assert set(Instruments(archive.root).load()) == {("us", "SPY")}
    assert put(archive, path).added == 5


def test_two_imports_at_once_keep_both_instruments(tmp_path: Path) -> None:
    table = Instruments(tmp_path)
    one = inferred("us", "A", np.ones(1), np.ones(1))
    table.add({("us", "A"): one})
    table.add({("us", "B"): replace(one, symbol="B"), ("us", "A"): replace(one, tick="0.5")})
    assert {key: row.tick for key, row in table.load().items()} == {("us", "A"): "0.01", ("us", "B"): "0.01"}


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from tests.store_archive.bars import columns
archive = Archive(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1000):
    archive.write("x", "1m", as_table(f"B{number}", columns(3000, step=60_000)))
"""


@pytest.mark.crash
@pytest.mark.parametrize("wait_s", [0.02, 0.09, 0.17])
def test_a_killed_writer_leaves_whole_files(filled: Archive, wait_s: float) -> None:
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(filled.root)], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout
        child.stdout.readline()
        time.sleep(wait_s)
        child.send_signal(signal.SIGKILL)
    assert filled.damaged() == []
    assert len(filled.read("x", "1m", ["A"])) == 3000
    assert filled.write("x", "1m", as_table("C", columns(3000, step=60_000))).added == 3000  # the lock is free
