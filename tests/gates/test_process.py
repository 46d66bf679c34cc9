"""The command line's side: what a run without any setting does, and what it says of its gates afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gates.played import ask

ROOT = Path(__file__).resolve().parents[2]
DEMO = {"AVWAPD_RUN__MARKET": "demo", "AVWAPD_RUN__TIMEFRAME": "5m", "AVWAPD_RUN__WINDOW_TO": "2025-11-14"}


def avwapd(state: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("AVWAPD_")}
    if cache := os.environ.get("AVWAPD_CACHE_DIR"):
        env["AVWAPD_CACHE_DIR"] = cache
    command = [sys.executable, "-m", "avwapd", *words, "--state-dir", str(state)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=env | DEMO | environ | {"PYTHONPATH": str(ROOT)},
        cwd=state,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the demo market without a word about its mode."""
    folder = tmp_path_factory.mktemp("dry")
    done = avwapd(folder, "run", "--once")
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder


def test_a_run_without_a_mode_is_dry(state: Path) -> None:
    said = (state / "said.txt").read_text()
    assert "mode=dry-run" in said
    assert said.count('Gate mode=dry-run status=closed reason="mode: mode dry-run opens nothing"') == 2
    assert ask(state / "avwapd.db", "SELECT mode FROM runs") == [("dry-run",)]
    assert ask(state / "avwapd.db", "SELECT count(*) FROM outbox") == [(0,)]
    assert ask(state / "avwapd.db", "SELECT count(*) FROM decision_words WHERE signal = 'confirmed'")[0][0] > 0


def test_it_verifies_with_what_closed_it_taken_over(state: Path) -> None:
    done = avwapd(state, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "taken from the record: 1 acts" in done.stdout


def test_why_names_the_outer_gate(state: Path) -> None:
    [(symbol, ts_ms)] = ask(
        state / "avwapd.db", "SELECT symbol, ts_ms FROM decision_words WHERE signal = 'confirmed' LIMIT 1"
    )
    done = avwapd(state, "why", symbol, str(ts_ms))
    assert done.returncode == 0, done.stderr
    assert "outer gate" in done.stdout
    assert "mode closed since" in done.stdout
    row = json.loads(avwapd(state, "why", symbol, str(ts_ms), "--json").stdout)
    assert [closed["gate"] for closed in row["outer_closed"]] == ["mode"]


def test_a_replay_is_a_simulation_whatever_the_mode_says(tmp_path: Path) -> None:
    done = avwapd(tmp_path, "run", "--replay", "--once", "--exchange", "us", AVWAPD_RUN__MODE="live")
    assert done.returncode == 1  # no bars there; mode live would have asked for a venue
    assert "us" in done.stderr
