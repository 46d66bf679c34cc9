"""With the network off no socket of any kind is made, nor is anything heavy loaded, on the way to a scan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scan_verb.children import child
from tests.scan_verb.market import members

# Runs first in every Python process below, children of children included; sees sockets that C code makes as well.
GUARD = """
import sys

def guard(event, args):
    if event.startswith("socket."):
        raise RuntimeError(f"forbidden: {event} {args[1:]}")

sys.addaudithook(guard)
"""
HEAVY = ("aiohttp", "alpaca", "ccxt", "exchange_calendars", "pandas", "pyarrow")


@pytest.fixture
def guarded(state: Path) -> Any:
    """avwapd where sockets are forbidden: (exit code, out, err)."""
    folder = state.parent / "guard"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(GUARD)

    def run(*words: object, **options: Any) -> tuple[int, str, str]:
        done = child("--state-dir", state, *words, folder=state.parent, first=folder, **options)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX"])
def test_the_guard_forbids_every_socket(guarded: Any, family: str) -> None:
    code, _, err = guarded(code=f"import socket; socket.socket(socket.{family})")
    assert code == 1
    assert "forbidden: socket.__new__" in err


def test_the_guard_would_see_a_download(guarded: Any) -> None:
    environ = {"AVWAPD_NETWORK__ALLOWED": "true", "AVWAPD_UNIVERSE__URL": "http://127.0.0.1:9/x"}
    code, _, err = guarded("universe", "refresh", environ=environ)
    assert code == 1
    assert "forbidden: socket." in err


def test_a_universe_from_a_file_makes_no_socket(guarded: Any, tmp_path: Path) -> None:
    lines = ["Ticker,Name,Sector,WeightPct", *(f"{m.symbol},{m.name},{m.sector},0.1" for m in members())]
    (tmp_path / "u.csv").write_text("\n".join(lines))
    code, out, err = guarded("universe", "refresh", "--file", tmp_path / "u.csv", "--date", "2024-04-30", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["tickers"] == len(members())


def test_a_scan_makes_no_socket_not_even_while_it_derives_its_bars(guarded: Any, state: Path) -> None:
    for derived in (state / "archive/.daily").rglob("*"):
        if derived.is_file():
            derived.unlink()
    code, out, err = guarded("scan", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["candidates"]
    code, out, err = guarded("why", "RA", "2024-05-02", "--scan")
    assert (code, err) == (0, "")


def test_a_backtest_makes_no_socket(guarded: Any, tmp_path: Path) -> None:
    words = ("--exchange", "us", "--symbols", "RA,RC", "--timeframe", "1d", "--start", "2024-01-02", "--end")
    code, out, err = guarded("backtest", *words, "2024-04-30", "--out", tmp_path / "bt", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["counts"]["decisions"] > 100


def test_a_scan_loads_nothing_heavy(state: Path) -> None:
    code = (
        "import sys\nfrom avwapd.cli import main\nassert main() == 0\n"
        f"print(*(set(sys.modules) & set({HEAVY!r})), 'end', file=sys.stderr)"
    )
    for words in (("scan",), ("why", "RA", "2024-05-02", "--scan"), ("universe", "show"), ("lists", "show")):
        done = child("--state-dir", state, *words, folder=state.parent, code=code)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "end"


def test_locale_and_time_zone_change_no_byte(state: Path, tmp_path: Path) -> None:
    worlds = ({"TZ": "UTC", "LC_ALL": "C"}, {"TZ": "Pacific/Auckland", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7"})
    for name, environ in zip("ab", worlds, strict=True):
        done = child("--state-dir", state, "scan", "--out", tmp_path / name, folder=tmp_path, environ=environ)
        assert done.returncode == 0, done.stderr
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
