"""The proofs hold, and each of them sees the fault that it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd.config import Config, load
from avwapd.research import proof
from avwapd.scan.result import AnchorRow, ScanInputs, ScanResult
from avwapd.scan.run import scan
from tests.tidy.rules import ROOT

NAMES = ["decisions", "candidates", "anchors", "engine warm-up", "scan warm-up", "determinism"]
LIMIT_S = 30
DEVELOPMENT = (
    "pytest",
    "hypothesis",
    "ruff",
    "mypy",
    "_pytest",
    "importlinter",
    "pandas_stubs",
    "coverage",
    "pip_audit",
)


def loading(options: Mapping[str, str]) -> Config:
    return load(folder=Path("/nonexistent"), environ={}, options=options)


def under(**changes: str) -> Callable[[Mapping[str, str]], Config]:
    own = {name.replace("__", "."): value for name, value in changes.items()}
    return lambda options: loading({**options, **own})


@pytest.mark.parametrize("prove", proof.PROOFS, ids=lambda prove: prove.__name__)
def test_every_proof_holds(prove: Callable[..., proof.Proof]) -> None:
    found = prove(loading)
    assert found.ok, found.what
    assert found.name in NAMES
    assert any(character.isdigit() for character in found.what)


# ------------------------------------------------------------------ planted faults


def tomorrow(inputs: ScanInputs, config: Config, **more: Any) -> ScanResult:
    """A scan that already sees the next session's bars."""
    at = int(np.searchsorted(inputs.sessions["date"], inputs.as_of))
    return scan(replace(inputs, as_of=int(inputs.sessions["date"][at + 1])), config, **more)


def of_the_future(inputs: ScanInputs, config: Config, **more: Any) -> ScanResult:
    """The right scan of the day, but a symbol whose newest bar of all is high falls out."""
    told = scan(inputs, config, **more)
    ends = dict(zip(inputs.symbols, inputs.days.close[inputs.days.offsets[1:] - 1], strict=True))
    kept = tuple(row for row in told.rows if ends[row.symbol] < 1.2 * row.price)
    return replace(told, rows=kept)


def early_split(inputs: ScanInputs, config: Config, **more: Any) -> ScanResult:
    """A scan that adjusts for every action of the archive, known on its day or not."""
    days = inputs.days
    price, split = np.ones(len(days.close)), np.ones(len(days.close))
    for begin, end in zip(days.offsets[:-1], days.offsets[1:], strict=True):
        after = slice(begin, end - 1)
        price[after] = np.cumprod(days.price_ratio[begin + 1 : end][::-1])[::-1]
        split[after] = np.cumprod(days.split_ratio[begin + 1 : end][::-1])[::-1]
    ones = np.ones(len(days.close))
    done = {name: getattr(days, name) * price for name in ("open", "high", "low", "close")}
    changed = days._replace(**done, volume=days.volume / split, price_ratio=ones, split_ratio=ones)
    return scan(replace(inputs, days=changed), config, **more)


@pytest.mark.parametrize("fault", [tomorrow, of_the_future, early_split])
def test_a_scan_that_looks_ahead_is_seen(monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    monkeypatch.setattr(proof, "scan", fault)
    found = proof.candidates_know_no_future(loading)
    assert not found.ok
    assert "changes with what comes after it" in found.what


def test_a_market_without_candidates_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "scan", lambda inputs, config: replace(scan(inputs, config), rows=()))
    assert not proof.candidates_know_no_future(loading).ok


def test_a_decision_that_knows_a_later_close_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = proof.replay

    def leaking(setup: Any, bars: Any, begin: int) -> Any:
        told = right(setup, bars, begin)
        decisions = told.decisions.copy()
        ahead = np.minimum(np.searchsorted(bars["ts_ms"], decisions["ts_ms"], side="right"), len(bars) - 1)
        decisions["level"] = bars["close"][ahead]
        return replace(told, decisions=decisions)

    assert proof.decisions_know_no_future(loading).ok
    monkeypatch.setattr(proof, "replay", leaking)
    found = proof.decisions_know_no_future(loading)
    assert not found.ok
    assert "change once later bars exist" in found.what


def from_the_first_bar(inputs: ScanInputs, config: Config, **more: Any) -> ScanResult:
    """A scan whose YTD is the first bar loaded where the year's first session is not."""
    told, days = scan(inputs, config, **more), inputs.days
    known = {row.symbol for row in told.anchors if row.kind == "YTD"}
    added = []
    for symbol, row in zip(inputs.symbols, days.offsets[:-1], strict=True):
        first = int(inputs.sessions["date"][days.session[row]])
        if symbol not in known:
            added.append(AnchorRow(symbol, "YTD", first, first, 1))
    return replace(told, anchors=(*told.anchors, *added))


def test_an_anchor_on_the_first_bar_loaded_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "scan", from_the_first_bar)
    found = proof.anchors_stay(loading)
    assert not found.ok
    assert " YTD on " in found.what


def test_too_short_a_warm_up_is_seen() -> None:
    found = proof.engine_warm_up(under(run__warmup_sessions="3"))
    assert not found.ok
    assert found.what == "more than run.warmup_sessions = 3 sessions are needed"
    needed = int(proof.engine_warm_up(loading).what.split()[0])
    assert proof.engine_warm_up(under(run__warmup_sessions=str(needed))).ok
    assert not proof.engine_warm_up(under(run__warmup_sessions=str(needed - 1))).ok


def test_too_short_a_window_is_seen() -> None:
    found = proof.scan_warm_up(under(scan__window_bars="200"))
    assert not found.ok
    assert "agrees with 200" in found.what
    for figure in ("adx", "trend_score"):
        assert f"{figure} 200" in found.what


# ----------------------------------------------------------------- other processes

SOCKET = """
import avwapd.feeds.demo as demo

right = demo.generate

def generate(*words, **more):
    import socket
    socket.socket()
    return right(*words, **more)

demo.generate = generate
"""
HASHED = """
import avwapd.feeds.demo as demo

right = demo.generate

def generate(*words, **more):
    if "seed" in more:
        more["seed"] += hash("a word") % 1000
    return right(*words, **more)

demo.generate = generate
"""
REFUSING = f"""
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {DEVELOPMENT!r}:
            raise ImportError(name + " is no package of a running daemon")

sys.meta_path.insert(0, Refusing())
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Code that runs first in every Python process that is started from here."""

    def plant(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))

    return plant


def test_a_socket_in_a_run_is_seen(planted: Callable[[str], None]) -> None:
    planted(SOCKET)
    found = proof.same_everywhere(None)
    assert not found.ok
    assert "a socket was asked for: socket.__new__" in found.what


def test_a_result_that_hangs_on_the_hash_seed_is_seen(planted: Callable[[str], None]) -> None:
    planted(HASHED)
    found = proof.same_everywhere(None)
    assert not found.ok
    assert found.what.startswith("runs of the same inputs differ: ")


def self_check(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "avwapd", "check", "--mode", "self", *words]
    environ = {"PYTHONPATH": str(ROOT), **os.environ, "XDG_STATE_HOME": str(folder / "state")}
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=2 * LIMIT_S, check=False
    )


def test_the_command_proves_all_in_time_without_development_packages(
    planted: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    planted(REFUSING)
    refused = subprocess.run([sys.executable, "-c", "import pytest"], capture_output=True, text=True, check=False)
    assert "is no package of a running daemon" in refused.stderr
    folder, begun = tmp_path_factory.mktemp("empty"), time.monotonic()
    done = self_check(folder=folder)
    assert time.monotonic() - begun < LIMIT_S
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert last == f"{len(NAMES)} of {len(NAMES)}"
    assert [line[6:22].strip() for line in lines] == NAMES
    assert {line[:6] for line in lines} == {"ok    "}
    assert list(folder.iterdir()) == []


def test_a_fault_fails_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVWAPD_RUN__WARMUP_SESSIONS", "3")
    done = self_check("--json", folder=tmp_path)
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    assert (facts["ok"], facts["passed"]) == (False, len(NAMES) - 1)
    assert [check["name"] for check in facts["checks"]] == NAMES
    (failed,) = [check for check in facts["checks"] if check["verdict"] != "ok"]
    assert (failed["name"], failed["verdict"]) == ("engine warm-up", "fail")
    assert failed["next_step"]
