"""10,000 mutated configurations, watchlists, and universe files and lists each; a tenth of them always.

Each target runs in a process of its own, with bounded memory and a limit for every case. A case that went wrong is
named by its seed: random.Random("20261121/479") makes it again.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from avwapd.config import ConfigError, load
from avwapd.scan.sheet import SheetError, read_sheet
from avwapd.store import lists, universe, watchlist
from tests.fuzz import judge
from tests.fuzz.targets import TARGETS, whole_list
from tests.tidy.rules import ROOT

WHOLE = 10_000
LEAST_TAKEN = 0.05  # where nothing is ever taken, the checks behind the first one were never reached


def fuzzed(target: str, cases: int, seed: int = judge.SEED) -> dict[str, Any]:
    command = [sys.executable, "-W", "error", "-m", "tests.fuzz.targets", target, str(cases), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120 + cases * 0.1, check=False)
    assert done.stdout, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_a_tenth(target: str) -> None:
    found = fuzzed(target, WHOLE // 10)
    assert found["wrong"] == []
    assert found["taken"] + found["refused"] == WHOLE // 10
    assert found["taken"] > LEAST_TAKEN * WHOLE / 10


@pytest.mark.campaign
@pytest.mark.parametrize("target", TARGETS)
def test_all(target: str) -> None:
    found = fuzzed(target, WHOLE, judge.SEED + 1)
    assert found["wrong"] == []
    assert found["taken"] + found["refused"] == WHOLE


# ---------------------------------------------------- can the judge fail?


def test_another_exception_a_hang_and_a_bare_word_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "CASE_S", 0.2)

    def target(dice: random.Random) -> str:
        match next(turn):
            case 0:
                return "taken"
            case 1:
                raise KeyError("x")
            case 2:
                while True:
                    pass
            case 3:
                return judge.refused(ConfigError("what", "where", " "), (78,))
            case 4:
                return judge.refused(ConfigError(f"it was {judge.PLANTED}", "where", "next"), (78,))
            case _:
                return judge.refused(ConfigError("a\x1b[2J", "where", "next"), (78,))

    turn = iter(range(6))
    counts, wrong = judge.judged(target, 6)
    assert counts == {"taken": 1}
    assert [line.split(": ")[1] for line in wrong] == ["KeyError", "Hung", *["AssertionError"] * 3]


def test_memory_is_bounded() -> None:
    code = "from tests.fuzz.judge import *; limit_memory(); print(judged(lambda dice: str(len(bytes(2**30))), 1)[1])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "MemoryError" in done.stdout


# --------------------------------------- what would have hung, or come out


def test_a_key_of_a_hundred_thousand_parts_is_refused_at_once(tmp_path: Path) -> None:
    """The standard library's parser would take minutes."""
    file = tmp_path / "given.toml"
    for text in ("a." * 100_000 + "a = 1", '"a" . ' * 100_000 + "a = 1", "[run]\nx = {" + "a." * 100_000 + "a = 1}"):
        file.write_text(text)
        began = time.monotonic()
        with pytest.raises(ConfigError, match="not TOML: a key of more than 16 parts"):
            load(file, environ={})
        with pytest.raises(ConfigError, match="must be a whole number"):
            load(None, folder=tmp_path, environ={"AVWAPD_RUN__SEED": text})
        assert time.monotonic() - began < 10


def test_of_a_hundred_thousand_unknown_keys_the_first_are_told(tmp_path: Path) -> None:
    file = tmp_path / "given.toml"
    file.write_text("[run]\n" + "".join(f"windo_from{n} = 1\n" for n in range(100_000)))
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    assert caught.value.what.startswith("100000 problems")
    assert caught.value.what.endswith("and 99950 more")
    assert len(caught.value.problems) == 50


@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_what_has_no_end_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "earnings.csv"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="no regular file"):
        load(path, environ={})
    with pytest.raises(watchlist.WatchlistRefused, match="no regular file"):
        watchlist.read(path)
    with pytest.raises(lists.ListError, match="no regular file"):
        lists.load(tmp_path)
    with pytest.raises(universe.UniverseError, match="no regular file"):
        universe.load(path, 20240502)


def named(found: dict[str, Any]) -> bytes:
    found["version"] = watchlist.version_of(found["scan_date"], found["rows"], found["anchors"])
    return json.dumps(found).encode()


@pytest.mark.parametrize("symbol", ["\ud800", "A\nB", "\x1b[2J", "../x", "A" * 100, ""])
def test_a_symbol_that_no_log_could_hold_is_refused(symbol: str) -> None:
    found = whole_list(random.Random(1))
    found["rows"][0]["symbol"] = symbol
    with pytest.raises(watchlist.WatchlistRefused, match=r"symbol .* is no symbol") as caught:
        watchlist.parse(named(found), "here")
    assert caught.value.what.isprintable()


@pytest.mark.parametrize("word", ["\ud800", "A\nB", "\x1b[2J", "A" * 201])
@pytest.mark.parametrize("name", ["sector", "anchor"])
def test_a_word_that_no_terminal_should_see_is_refused(name: str, word: str) -> None:
    found = whole_list(random.Random(1))
    found["rows"][0][name] = word
    with pytest.raises(watchlist.WatchlistRefused, match=rf"{name} .* is no {name}") as caught:
        watchlist.parse(named(found), "here")
    assert caught.value.what.isprintable()


def test_a_figure_beyond_all_bounds_is_refused_where_nobody_looks() -> None:
    text = named(whole_list(random.Random(1))).replace(b'"format"', b'"extra": 1e999, "format"')
    with pytest.raises(watchlist.WatchlistRefused, match="1e999 is no number"):
        watchlist.parse(text, "here")


def test_fifty_thousand_rows_are_looked_through_in_seconds() -> None:
    found = whole_list(random.Random(2))
    one = found["rows"][0]
    found |= {"rows": [one | {"symbol": f"S{n}", "rank": n} for n in range(1, 30_001)], "anchors": []}
    began = time.monotonic()
    assert len(watchlist.parse(named(found), "here").rows) == 30_000
    assert time.monotonic() - began < 20


def test_a_header_of_a_hundred_thousand_columns_is_looked_through_in_seconds() -> None:
    began = time.monotonic()
    with pytest.raises(SheetError, match="twice"):
        read_sheet(",".join(["ticker", *(f"c{n}" for n in range(200_000)), "c7"]).encode(), "here", ("ticker",))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf"])
def test_a_snapshot_with_a_weight_that_is_none_is_damaged(tmp_path: Path, weight: str) -> None:
    (tmp_path / "2024-05-02.csv").write_text(f"Ticker,Name,Sector,WeightPct,Exchange\nA,N,S,{weight},\n")
    with pytest.raises(universe.UniverseError, match="damaged"):
        universe.newest(tmp_path)


def test_a_snapshot_of_a_day_that_never_was_is_none(tmp_path: Path) -> None:
    (tmp_path / "2024-02-31.csv").write_text("Ticker,Name,Sector,WeightPct,Exchange\nA,N,S,1,\n")
    assert universe.newest(tmp_path) is None


def test_a_list_imported_on_a_day_that_never_was_has_no_age(tmp_path: Path) -> None:
    (tmp_path / "bad_tickers.csv").write_text("# imported 2024-02-31\nsymbol,reason,from,to\nA,r,,\n")
    assert lists.load(tmp_path).facts["bad-tickers"].imported == 0
