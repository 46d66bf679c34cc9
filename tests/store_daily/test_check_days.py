"""`avwapd bars check` and `bars actions` on daily bars: what they name, count and refuse, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd import cli
from avwapd.store.actions import Event
from avwapd.store.survey import Finding
from avwapd.store.survey_daily import Market, split_words, survey_daily
from tests.store_daily.days import REAL, Columns, actions, at, calendar, fill, split_at, walk

Run = Any


@pytest.fixture
def bars(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `avwapd bars …` on a state folder of its own: (exit code, out, err)."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        code = cli.main(["--state-dir", str(tmp_path / "state"), "bars", *map(str, words)])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return run


def archive_of(tmp_path: Path) -> Path:
    return tmp_path / "state" / "archive"


def survey(columns: Columns, *events: Event, newest: int | None = None) -> list[Finding]:
    stamps, dates = calendar()
    last = int(columns["ts_ms"].max()) if newest is None else newest
    return survey_daily(columns, events, Market(stamps, dates, last, 60, 50.0))


def without(columns: Columns, rows: slice) -> Columns:
    kept = np.ones(len(columns["ts_ms"]), bool)
    kept[rows] = False
    return {name: column[kept] for name, column in columns.items()}


def test_holes_are_gaps_up_to_a_limit_and_then_another_company() -> None:
    steady = walk(20130102, 300, 1)
    assert survey(steady) == []
    for count, kind, words in (
        (1, "gap", "1 missing"),
        (60, "gap", "60 missing"),
        (61, "new_listing", "changed hands"),
    ):
        (found,) = survey(without(steady, slice(100, 100 + count)))
        assert (found.kind, words in found.detail) == (kind, True)
        assert (found.from_ms, found.to_ms) == (steady["ts_ms"][99], steady["ts_ms"][100 + count])


def test_a_move_over_the_hole_of_a_new_company_is_none() -> None:
    halved = split_at(walk(20130102, 300, 1), 20130603, 0.2)
    row = at(20130603) - at(20130102)
    assert [f.kind for f in survey(without(halved, slice(row - 61, row)))] == ["new_listing"]
    assert [f.kind for f in survey(without(halved, slice(row - 60, row)))] == ["gap", "split"]


@pytest.mark.parametrize(
    ("ratio", "kind", "words"),
    [
        (1 / 7, "split", "looks like a split 7:1 that no action explains"),
        (1 / 4, "split", "looks like a split 4:1 that no action explains"),
        (2 / 3, "split", "looks like a split 3:2 that no action explains"),
        (10.0, "split", "looks like a split 1:10 that no action explains"),
        (0.44, "outlier", ""),
        (1.75, "outlier", ""),
    ],
)
def test_a_jump_is_named_unless_an_action_explains_it(ratio: float, kind: str, words: str) -> None:
    jumped = split_at(walk(20130102, 300, 1), 20130603, ratio)
    (found,) = survey(jumped)
    assert (found.kind, found.to_ms) == (kind, calendar()[0][at(20130603)])
    assert f"closes {100 * (ratio - 1):+.0f}"[:9] == found.detail[:9]
    assert words in found.detail
    assert ("split" in found.detail) == bool(words)
    assert survey(jumped, Event("A", 20130603, ratio, ratio)) == []
    (wrong,) = survey(jumped, Event("A", 20130603, 1 / ratio, 1 / ratio))
    assert (wrong.kind, "which does not explain it" in wrong.detail) == ("outlier", True)
    assert [f.kind for f in survey(jumped, Event("A", 20130604, ratio, ratio))] == [kind, "outlier"]


def test_a_fall_from_close_to_close_counts_from_the_limit_on() -> None:
    steady = walk(20130102, 50, 1)
    for change, kinds in ((0.52, []), (1.48, []), (0.48, ["outlier"]), (1.55, ["outlier"])):
        moved = {name: column.copy() for name, column in steady.items()}
        start = moved["close"][19]
        opened = start * change**0.487  # about half of the move overnight: neither part is odd alone
        moved["open"][20], moved["close"][20] = opened, start * change
        for name in ("open", "high", "low", "close"):
            moved[name][21:] *= start * change / steady["close"][20]
        moved["high"][20], moved["low"][20] = max(opened, start * change), min(opened, start * change)
        assert [f.kind for f in survey(moved)] == kinds


def test_a_last_bar_that_is_old_is_stale() -> None:
    steady = walk(20130102, 50, 1)
    newest = int(calendar()[0][at(20130102) + 52])
    (found,) = survey(steady, newest=newest)
    assert (found.kind, found.from_ms, found.to_ms) == ("stale", steady["ts_ms"][-1], newest)
    assert "3 sessions behind" in found.detail


def test_bars_that_no_session_or_market_could_make() -> None:
    odd = walk(20130102, 50, 1)
    odd["ts_ms"][10] += 60_000
    odd["close"][20] = odd["low"][20] / 2
    odd["volume"][30] = np.inf
    odd["ts_ms"][40] = odd["ts_ms"][39]
    found = [(f.kind, f.to_ms) for f in survey(odd)]
    assert sorted(found) == sorted(
        [
            ("duplicate", odd["ts_ms"][40]),
            ("no_session", odd["ts_ms"][10]),
            ("unfit", odd["ts_ms"][20]),
            ("unfit", odd["ts_ms"][30]),
            ("gap", odd["ts_ms"][41]),
        ]
    )


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(0.5, "2:1"), (1.96, "1:2"), (0.145, "7:1"), (0.67, "3:2"), (1.5, "2:3"), (0.8, ""), (0.44, "")],
)
def test_words_for_a_ratio(ratio: float, words: str) -> None:
    assert split_words(ratio) == words


def test_check_names_counts_and_judges(bars: Run, tmp_path: Path) -> None:
    root = fill(archive_of(tmp_path), {"GOOD": walk(20130102, 300, 1)}).root
    code, out, _ = bars("check")
    assert (code, out) == (0, "us GOOD 1d: nothing odd\n")
    fill(root, {"OLD": walk(20130102, 290, 2), "SPLIT": split_at(walk(20130102, 300, 3), 20130603, 1 / 7)})
    code, out, _ = bars("check", "--exchange", "us", "--timeframe", "1d")
    assert code == 2
    assert "us OLD 1d: 1 stale" in out
    assert "2013-06-03T20:00:00Z" in out
    assert "looks like a split 7:1 that no action explains" in out
    assert out.splitlines()[-1] == "all 3: 1 split, 1 stale"
    assert bars("check", "--strict")[0] == 1
    code, out, _ = bars("check", "--json", "--symbols", "OLD,SPLIT")
    facts = json.loads(out)
    assert (code, facts["result"], facts["counts"]) == (2, "warn", {"split": 1, "stale": 1})
    assert [held["symbol"] for held in facts["checked"]] == ["OLD", "SPLIT"]
    actions(root, ("SPLIT", "2013-06-03", 1 / 7, 1 / 7))
    assert bars("check", "--symbols", "SPLIT")[:2] == (0, "us SPLIT 1d: nothing odd\n")


def test_the_limits_are_settings(bars: Run, tmp_path: Path) -> None:
    fill(archive_of(tmp_path), {"A": without(split_at(walk(20130102, 300, 1), 20130603, 0.44), slice(200, 210))})
    assert "1 gap, 1 outlier" in bars("check")[1]
    (tmp_path / "own.toml").write_text("[scan]\nlisting_gap_sessions = 9\n")
    assert "1 new_listing, 1 outlier" in bars("check", "--config", tmp_path / "own.toml")[1]
    (tmp_path / "own.toml").write_text("[scan]\noutlier_pct = 5.0\n")
    assert "1 gap, 1 outlier" in bars("check", "--config", tmp_path / "own.toml")[1]


# ------------------------------------------------------------ bars actions

HEAD = "date,price_factor,split_factor,reference_price\n"


def test_actions_go_in_once_and_are_listed(bars: Run, tmp_path: Path) -> None:
    path = tmp_path / "ABC.csv"
    path.write_text(HEAD + "20140606,0.95,0.142857,1\n20150105,0.95,1,1\n20501231,1,1,0\n")
    assert bars("actions", "--list", "--exchange", "us")[:2] == (
        0,
        "no corporate actions\n  next: avwapd bars actions --help\n",
    )
    code, out, err = bars("actions", path, "--exchange", "us")
    assert (code, out, err) == (0, "ABC.csv (ABC): 2 of 2 events added\n", "")
    table = archive_of(tmp_path) / "us/actions.csv"
    written = table.stat()
    code, out, _ = bars("actions", path, "--exchange", "us")
    assert (code, out) == (0, "ABC.csv (ABC): 0 of 2 events added, 2 were there already\n")
    assert (table.stat().st_ino, table.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert bars("actions", path, "--exchange", "us", "--symbol", "XYZ")[0] == 0
    facts = json.loads(bars("actions", "--list", "--exchange", "us", "--symbol", "XYZ", "--json")[1])
    assert facts["actions"] == [
        {"symbol": "XYZ", "ex_date": "2014-06-09", "price_ratio": 1 / 7, "split_ratio": 1 / 7},
        {"symbol": "XYZ", "ex_date": "2015-01-06", "price_ratio": 0.95, "split_ratio": 1.0},
    ]
    assert "2014-06-09" in bars("actions", "--list", "--exchange", "us")[1]


def test_a_bad_file_stays_out_and_the_others_go_in(bars: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "GOOD.csv", tmp_path / "BAD.csv"
    good.write_text(HEAD + "20140606,0.95,1,1\n20501231,1,1,0\n")
    bad.write_text(HEAD + "20140606,0.95,1,1\n20140707,x,1,1\n20140706,0.9,-1,1\n20501231,1,1,0\n")
    code, out, err = bars("actions", bad, good, tmp_path / "none.csv", "--exchange", "us")
    assert code == 1
    assert out == "GOOD.csv (GOOD): 1 of 1 events added\n"
    assert "line 3: price_factor 'x' is no number" in err
    assert "line 4: split_factor -1 is not positive and finite" in err
    assert f"where: {bad}" in err
    assert "the file cannot be read (No such file or directory)" in err
    code, out, _ = bars("actions", bad, "--exchange", "us", "--json")
    facts = json.loads(out)
    assert (code, facts["result"], len(facts["files"][0]["refused"])) == (1, "fail", 2)
    (held,) = json.loads(bars("actions", "--list", "--exchange", "us", "--json")[1])["actions"]
    assert held["symbol"] == "GOOD"


def test_a_contradiction_needs_replace(bars: Run, tmp_path: Path) -> None:
    path = tmp_path / "ABC.csv"
    path.write_text(HEAD + "20140606,0.95,0.5,1\n20150105,0.95,1,1\n20501231,1,1,0\n")
    bars("actions", path, "--exchange", "us")
    path.write_text(HEAD + "20140606,0.95,0.25,1\n20160105,0.95,1,1\n20501231,1,1,0\n")
    table = archive_of(tmp_path) / "us/actions.csv"
    before = table.read_bytes()
    code, _, err = bars("actions", path, "--exchange", "us")
    assert code == 1
    assert "there is ABC 2014-06-09 price x0.5 split x0.5, the file says ABC 2014-06-09 price x0.25 split x0.25" in err
    assert "--replace" in err
    assert table.read_bytes() == before
    code, out, _ = bars("actions", path, "--exchange", "us", "--replace")
    assert (code, out) == (0, "ABC.csv (ABC): 1 of 2 events added, 1 replaced, 1 removed\n")
    path.write_text(HEAD + "20140606,1,0.25,1\n20501231,1,1,0\n")
    code, _, err = bars("actions", path, "--exchange", "us")
    assert code == 0
    assert "warning: ABC 2016-01-06 price x0.95 is there, but not in the file; it stays" in err


def test_coins_have_no_actions_and_names_must_be_names(bars: Run, tmp_path: Path) -> None:
    fill(archive_of(tmp_path), {"BTC-USD": walk(20130102, 5, 1)}, "coinbase")
    path = tmp_path / "BTC-USD.csv"
    path.write_text(HEAD + "20140606,0.95,0.5,1\n20501231,1,1,0\n")
    code, _, err = bars("actions", path, "--exchange", "coinbase")
    assert (code, "a market that never closes" in err) == (1, True)
    code, _, err = bars("actions", path, "--exchange", "us", "--symbol", "A B")
    assert (code, "cannot name a symbol" in err) == (1, True)
    assert bars("actions", path, "--exchange", "../us")[0] == 1


@pytest.mark.parametrize("words", [[], ["--list", "a.csv"], ["a.csv", "b.csv", "--symbol", "A"], ["--nothing"]])
def test_usage_errors_are_64(bars: Run, words: list[str]) -> None:
    assert bars("actions", "--exchange", "us", *words)[0] == 64


def test_help_has_an_example(bars: Run) -> None:
    code, out, _ = bars("actions", "--help")
    assert code == 0
    assert "avwapd bars actions" in out.split("examples:")[1]


@pytest.mark.skipif(not REAL.is_dir(), reason="no real bars in ../shared/data")
def test_the_splits_of_apple_are_named_until_the_factors_are_in(bars: Run) -> None:
    path = REAL / "bars/us/AAPL_1d.parquet"
    assert bars("import", path, "--exchange", "us", "--symbol", "AAPL", "--timeframe", "1d")[0] == 0
    code, out, _ = bars("check", "--exchange", "us", "--timeframe", "1d")
    assert code == 2
    for day, words in (("2014-06-09", "7:1"), ("2020-08-31", "4:1")):
        (line,) = [line for line in out.splitlines() if day in line]
        assert f"looks like a split {words} that no action explains" in line
    factors = sorted((REAL / "factors/us").glob("*.csv"))
    code, out, err = bars("actions", *factors, "--exchange", "us")
    assert (code, err, len(out.splitlines())) == (0, "", len(factors))
    code, out, _ = bars("check", "--exchange", "us", "--timeframe", "1d")
    assert "2014-06-09" not in out
    assert "2020-08-31" not in out
