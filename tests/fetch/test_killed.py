"""A download that is killed: whole pieces stay, the next one goes on, and the archive is as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from avwapd import cli
from avwapd.verbs.fetch_source import AlpacaSource
from tests.cli.process import clean_environ
from tests.fetch import kit
from tests.fetch.kit import Served, environ, expected, files, pointed

SHARES = kit.market_of(("AAA", "BBB"), days=25)
WORDS = "bars fetch --json --exchange alpaca --symbols AAA,BBB --timeframe 1m --from 2024-01-01 --to 2024-01-24"
# The same program with small pieces: what a kill in the middle of a long download is, in a short one.
CODE = """
import sys
from avwapd.verbs import fetch_source
fetch_source.AlpacaSource.chunk_bars = 900
from avwapd.cli import main
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def begun(served: Served, state: Path) -> Iterator[subprocess.Popen[str]]:
    """The download as a process, which does not outlive the block."""
    state.mkdir(exist_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-c", CODE, *WORDS.split(), "--state-dir", str(state)],
        env={**clean_environ(state.parent), **environ(served, "alpaca"), "PYTHONWARNINGS": kit.WARNINGS},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def ended_when(child: subprocess.Popen[str], state: Path, count: int, signal_: int) -> None:
    """Send the signal as soon as so many files of bars are there."""
    until = time.monotonic() + 60
    while len(files_there(state)) < count and child.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.002)
    os.kill(child.pid, signal_)


def files_there(state: Path) -> list[Path]:
    return sorted(state.glob("archive/alpaca/1m/[0-9]*.parquet"))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The venue; also for downloads in this process, with pieces as small as the child's."""
    monkeypatch.setattr(AlpacaSource, "chunk_bars", 900)
    with Served(kit.played(SHARES, tmp_path / "sim", "alpaca")) as served, pointed(monkeypatch, served, "alpaca"):
        yield served


def finished(capsys: pytest.CaptureFixture[str], state: Path) -> dict[str, Any]:
    """The download in this process, to its end."""
    capsys.readouterr()
    assert cli.main([*WORDS.split(), "--state-dir", str(state)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.crash
@pytest.mark.parametrize("counts", [(4,), pytest.param((1, 2, 4, 5, 9, 13), marks=pytest.mark.campaign)])
def test_kill_9_leaves_the_same_archive(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], counts: tuple[int, ...]
) -> None:
    """counts: files of bars that were there when it was killed, time after time."""
    finished(capsys, tmp_path / "whole")
    want, mine = files(tmp_path / "whole"), tmp_path / "mine"
    assert len(want) > 12
    for count in counts:
        with begun(served, mine) as child:
            ended_when(child, mine, count, signal.SIGKILL)
            child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
        assert files(mine).items() <= want.items()  # each file is there whole, or not at all
    left = len(want) - len(files(mine))
    facts = finished(capsys, mine)
    assert files(mine) == want
    assert facts["pieces"]["done"] <= left + 10  # days without a session among them, and the piece that was lost
    served.requests.clear()
    facts = finished(capsys, mine)
    assert (facts["questions"], served.asked("/stocks/bars")) == (0, 0)
    assert kit.archived(mine, "alpaca") == expected(SHARES, kit.START + 24 * kit.DAY)


@pytest.mark.crash
def test_ctrl_c_ends_clean_and_says_how_to_go_on(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    with begun(served, mine) as child:
        ended_when(child, mine, 3, signal.SIGINT)
        out, err = child.communicate(timeout=10)
    assert (child.returncode, out) == (130, "")
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    finished(capsys, mine)
    assert kit.archived(mine, "alpaca") == expected(SHARES, kit.START + 24 * kit.DAY)


@pytest.mark.crash
def test_ctrl_c_while_the_venue_is_mute(served: Served, tmp_path: Path) -> None:
    """A call under way does not hold the process."""
    served.fault("lose_answer", on="bars", skip=1)
    with begun(served, tmp_path / "mine") as child:
        until = time.monotonic() + 30
        while not served.sim.faults.fired["lose_answer"]:
            assert time.monotonic() < until
            time.sleep(0.01)
        begun_s = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=10)
    assert time.monotonic() - begun_s < 3
    assert child.returncode == 130, err
