"""`avwapd bars`: what it prints, its exit codes and its JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from avwapd import cli
from tests.store_archive.bars import STEP, columns, write

Run = Any


@pytest.fixture
def bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `avwapd bars …` on a state folder of its own: (exit code, out, err)."""

    def run(*words: object) -> tuple[int, str, str]:
        code = cli.main(["--state-dir", str(tmp_path / "state"), "bars", *map(str, words)])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return run


def spy(path: Path) -> list[object]:
    return ["import", path, "--exchange", "us", "--symbol", "SPY", "--timeframe", "5m"]


def test_in_seen_and_out_again(bars: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", columns(10))
    code, out, err = bars(*spy(path))
    assert (code, err) == (0, "")
    assert "us SPY 5m: 10 of 10 bars added" in out
    assert "tick 0.01" in out
    assert "10 were there already" in bars(*spy(path))[1]
    code, out, _ = bars("list")
    assert code == 0
    assert "SPY" in out
    assert "2024-01-02T14:50:00Z" in out
    for suffix in (".csv", ".feather", ".parquet"):
        target = tmp_path / f"out{suffix}"
        code, out, _ = bars("export", "--exchange", "us", "--timeframe", "5m", "--out", target)
        assert (code, out) == (0, f"10 bars to {target}\n")
        assert "10 were there already" in bars("import", target, "--exchange", "us", "--timeframe", "5m")[1]
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 10


def test_a_refused_row_is_named_and_the_code_is_one(bars: Run, tmp_path: Path) -> None:
    given = columns(5)
    given["low"][2] = -1.0
    code, out, err = bars(*spy(write(tmp_path / "a.csv", given)))
    assert code == 1
    assert "4 of 5 bars added, 1 refused" in out
    assert f"refused row 2, ts_ms {given['ts_ms'][2]}: not_positive (a price is zero or negative)" in err
    assert "1 not_positive" in err
    assert "next:" in err


def test_prices_beside_the_tick_are_a_warning_and_the_code_is_two(bars: Run, tmp_path: Path) -> None:
    bars(*spy(write(tmp_path / "a.csv", columns(5))))
    finer = columns(5, start=columns(1)["ts_ms"][0] + 5 * STEP, price=100.0625)
    code, out, err = bars(*spy(write(tmp_path / "b.csv", finer)))
    assert (code, "5 of 5 bars added" in out) == (2, True)
    assert "warning: SPY: 100.00% of the prices do not fit its tick 0.01" in err
    assert "--tick 0.0001" in err


def test_a_file_where_the_state_folder_should_be(bars: Run, tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    code, _, err = bars(*spy(write(tmp_path / "a.csv", columns(5))))
    assert code == 1
    assert "archive folder cannot be made or written" in err
    assert "next: give it to this user" in err


def test_strict_refuses_all(bars: Run, tmp_path: Path) -> None:
    given = columns(5)
    given["low"][2] = math.nan
    code, out, _ = bars(*spy(write(tmp_path / "a.csv", given)), "--strict")
    assert code == 1
    assert "0 of 5 bars added" in out
    assert "no bars" in bars("list")[1]


def test_one_bad_file_does_not_stop_the_next(bars: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.touch()
    words = spy(bad)
    words.insert(2, write(tmp_path / "good.csv", columns(3)))
    code, out, err = bars(*words)
    assert code == 1
    assert "3 of 3 bars added" in out
    assert err.splitlines() == [
        "avwapd: the file is empty (0 bytes)",
        f"  where: {bad}",
        "  next: check how it was made; nothing was imported",
    ]
    code, out, _ = bars(*words, "--json")
    facts = json.loads(out)
    assert code == 1
    assert facts["imported"][0]["unchanged"] == 3
    assert facts["errors"][0]["where"] == str(bad)


def test_json_facts(bars: Run, tmp_path: Path) -> None:
    given = columns(5)
    given["high"][4] = math.inf
    code, out, _ = bars(*spy(write(tmp_path / "a.parquet", given)), "--json")
    (facts,) = json.loads(out)["imported"]
    assert code == 1
    assert facts["refused"] == [[4, int(given["ts_ms"][4]), "not_finite"]]
    assert facts["reasons"] == {"not_finite": 1}
    assert json.loads(bars("list", "--json")[1])["bars"][0]["bars"] == 4


def test_check_says_ok_warn_and_fail(bars: Run, tmp_path: Path) -> None:
    assert bars("check")[0] == 0
    bars(*spy(write(tmp_path / "a.csv", columns(10))))
    code, out, _ = bars("check")
    assert (code, out) == (0, "us SPY 5m: nothing odd\n")
    bars(*spy(write(tmp_path / "b.csv", columns(10, start=columns(1)["ts_ms"][0] + 30 * STEP))))
    code, out, _ = bars("check")
    assert code == 2
    assert "1 gap" in out
    assert "20 missing" in out
    assert bars("check", "--strict")[0] == 1
    code, out, _ = bars("check", "--json")
    facts = json.loads(out)
    assert (code, facts["result"], facts["checked"][0]["kinds"]) == (2, "warn", {"gap": 1})
    assert bars("check", "--exchange", "elsewhere")[0] == 0
    (path,) = (tmp_path / "state/archive/us/5m").glob("*.parquet")
    path.write_bytes(b"PAR1")
    code, out, _ = bars("check")
    assert code == 1
    assert f"{path}: 1 damaged" in out


def test_export_of_nothing_and_of_a_window(bars: Run, tmp_path: Path) -> None:
    bars(*spy(write(tmp_path / "a.csv", columns(10))))
    target = tmp_path / "out.csv"
    words = ["export", "--exchange", "us", "--timeframe", "5m", "--out", target]
    code, _, err = bars(*words, "--symbols", "IBM")
    assert code == 1
    assert "no bars of that kind" in err
    assert not target.exists()
    first = int(columns(1)["ts_ms"][0])
    code, out, _ = bars(*words, "--from", first + STEP, "--to", first + 3 * STEP, "--json")
    assert (code, json.loads(out)) == (0, {"out": str(target), "bars": 3})
    assert bars(*words[:-1], tmp_path / "x.xlsx")[0] == 1
    assert bars(*words[:-1], tmp_path / "no/such/x.csv")[0] == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fetch"],
        ["import", "a.csv"],
        ["import", "a.csv", "--exchange", "us", "--timeframe", "7m"],
        ["export", "--exchange", "us", "--timeframe", "5m", "--out", "a.csv", "--from", "soon"],
    ],
)
def test_usage_errors_are_64(bars: Run, words: list[str]) -> None:
    assert bars(*words)[0] == 64


@pytest.mark.parametrize("act", ["import", "list", "check", "export"])
def test_help_has_an_example(bars: Run, act: str) -> None:
    code, out, _ = bars(act, "--help")
    assert code == 0
    assert f"avwapd bars {act}" in out.split("examples:")[1]
