"""`avwapd scan`: its files, the live watchlist, and what leaves both alone."""

from __future__ import annotations

import csv
import gc
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from avwapd.store.archive import Archive
from avwapd.store.lists import save as save_list
from avwapd.store.universe import Member, save
from tests.scan_verb.market import (
    BAD,
    CHEAP,
    LAST,
    RISING,
    THIN,
    TICKERS,
    YOUNG,
    Run,
    bars,
    dates,
    fill,
    furnish,
    members,
)

NAMES = ["daily_candidates.csv", "scan_fallen.csv", "scan_manifest.json", "tradingview_watchlist.txt"]
BEFORE = dates()[-10]


def iso(day: int) -> str:
    return f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}"


def facts(run: Run, *words: object) -> Any:
    code, out, err = run("scan", "--json", *words)
    assert (code, err) == (0, "")
    return json.loads(out)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_the_files_of_a_scan(run: Run, state: Path) -> None:
    code, out, err = run("scan")
    assert code == 0
    folder = state / "scan" / iso(LAST)
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    candidates, fallen = rows(folder / NAMES[0]), rows(folder / NAMES[1])
    assert {row["symbol"] for row in fallen} | {row["Symbol"] for row in candidates} == set(TICKERS)
    assert len(fallen) + len(candidates) == len(TICKERS)
    early = {row["symbol"]: (row["step"], row["reason"]) for row in fallen}
    assert early[CHEAP] == ("1", "price")
    assert early[THIN] == ("1", "volume")
    assert early[BAD] == ("1", "bad_ticker")
    assert early["RB"] == ("3", "earnings")
    assert early[YOUNG] == ("4", "min_bars")
    young = next(row for row in fallen if row["symbol"] == YOUNG)
    assert (float(young["value"]), float(young["limit"])) == (40, 80)
    assert 5 < len(candidates) < 20
    assert {row["ScanDate"] for row in candidates} == {iso(LAST)}
    assert "fell at 1   3  universe: bad ticker 1, price 1, volume 1\n" in out
    assert f"candidates  {len(candidates)}, {len(candidates)} marked for execution\n" in out
    assert f"{len(TICKERS)} symbols of 2024-04-01, 31 days older than the scan" in out
    assert "the daemon takes it on `avwapd ctl reload`" in out
    assert candidates[0]["Symbol"] in out.partition("  symbol  side")[2].splitlines()[1]
    assert err.splitlines() == [
        "scan: universe and lists",
        "scan: daily bars of us",
        f"scan: scan of {iso(LAST)}",
        "scan: files",
    ]


def test_the_list_for_charts_knows_exchanges_from_both_sources(run: Run, state: Path) -> None:
    facts(run)
    words = (state / "scan" / iso(LAST) / "tradingview_watchlist.txt").read_text().strip().split(",")
    told = {word.rpartition(":")[2]: word.rpartition(":")[0] for word in words}
    assert told["RA"] == "NASDAQ"  # the imported list,
    assert told["RD"] == "AMEX"  # also over the universe's word
    odd = [symbol for symbol in told if RISING.index(symbol) % 2 and symbol != "RD"]
    assert odd
    assert {told[symbol] for symbol in odd} == {"NYSE"}  # the universe's exchange
    assert {told[symbol] for symbol in told if symbol not in (*odd, "RA", "RD")} == {""}


def test_the_manifest_names_what_went_in_and_hashes_what_came_out(run: Run, state: Path) -> None:
    found = facts(run)
    folder = state / "scan" / iso(LAST)
    manifest = json.loads((folder / "scan_manifest.json").read_text())
    for name, told in manifest["outputs"].items():
        content = (folder / name).read_bytes()
        assert told == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert sorted([*manifest["outputs"], "scan_manifest.json"]) == NAMES
    universe = (state / "universe/2024-04-01.csv").read_bytes()
    assert manifest["universe"] == {
        "date": "2024-04-01",
        "age_days": 31,
        "tickers": len(TICKERS),
        "stand_in": False,
        "sha256": hashlib.sha256(universe).hexdigest(),
    }
    assert manifest["lists"]["earnings"]["age_days"] == 2
    assert manifest["counts"]["candidates"] == len(found["candidates"])
    assert manifest["fell"]["1"] == {"bad_ticker": 1, "price": 1, "volume": 1}
    live = json.loads((state / "watchlist.json").read_bytes())
    assert manifest["watchlist_version"] == live["version"] == found["version"]
    assert {"run_id", "code_version", "config_hash", "data_hash", "calendar_version"} <= manifest.keys()


def test_the_live_watchlist_holds_the_rounded_levels(run: Run, state: Path) -> None:
    facts(run)
    live = json.loads((state / "watchlist.json").read_bytes())
    candidates = rows(state / "scan" / iso(LAST) / "daily_candidates.csv")
    assert live["scan_date"] == LAST
    assert [(row["symbol"], row["level"], row["stop"]) for row in live["rows"]] == [
        (row["Symbol"], float(row["Entry_Level"]), float(row["Stop_Loss"])) for row in candidates
    ]
    assert sorted(path.name for path in state.iterdir()) == ["archive", "lists", "scan", "universe", "watchlist.json"]


def test_the_same_input_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for name, words in (("a", ()), ("b", ()), ("c", ("--as-of", iso(LAST))), ("d", ("--as-of", "2024-05-04"))):
        facts(run, "--out", tmp_path / name, *words)
    for name in NAMES:
        first = (tmp_path / "a" / name).read_bytes()
        assert [(tmp_path / other / name).read_bytes() == first for other in "bcd"] == [True, True, True], name


def test_another_input_has_another_id(run: Run, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_id(name: str, *words: object) -> str:
        facts(run, "--out", tmp_path / name, *words)
        found: str = json.loads((tmp_path / name / "scan_manifest.json").read_text())["run_id"]
        return found

    ids = [run_id("a"), run_id("b", "--as-of", iso(BEFORE)), run_id("c", "--rules-only", "--symbols", "RA")]
    save_list(state / "lists", "earnings", [], "2024-04-30")
    ids.append(run_id("d"))
    save(state / "universe", 20240402, members(20))
    ids.append(run_id("e"))
    monkeypatch.setenv("AVWAPD_SCAN__MAX_ROWS", "3")
    ids.append(run_id("f"))
    assert len(set(ids)) == len(ids)


def test_an_earlier_day_sees_no_later_bar(run: Run, state: Path, tmp_path: Path) -> None:
    """The scan of a day equals the scan of an archive that ends on it."""
    cut = tmp_path / "cut"
    fill(cut / "archive", until=BEFORE)
    furnish(cut / "state", cut / "archive")
    found = facts(run, "--as-of", iso(BEFORE), "--out", tmp_path / "a")
    assert found["candidates"]
    facts(run, "--state-dir", cut / "state", "--out", tmp_path / "b")
    for name in ("daily_candidates.csv", "scan_fallen.csv", "tradingview_watchlist.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


# ---------------------------------------------------- the live watchlist


def test_a_scan_of_the_past_leaves_the_live_watchlist(run: Run, state: Path) -> None:
    found = facts(run, "--as-of", iso(BEFORE))
    assert (found["scan_date"], found["watchlist"]) == (iso(BEFORE), None)
    assert f"this scan is of {iso(BEFORE)}" in found["watchlist_kept"]
    assert not (state / "watchlist.json").exists()
    facts(run)
    live = (state / "watchlist.json").read_bytes()
    facts(run, "--as-of", iso(BEFORE))
    facts(run, "--rules-only", "--symbols", "RA,RC")
    assert (state / "watchlist.json").read_bytes() == live
    assert facts(run, "--as-of", iso(LAST))["watchlist"] == str(state / "watchlist.json")


def test_a_newer_watchlist_is_never_replaced_by_an_older_scan(run: Run, state: Path) -> None:
    for content in ('{"scan_date": 20240503}', '{"scan_date": 20240501}', "{half", "[]"):
        (state / "watchlist.json").write_text(content)
        kept = facts(run)["watchlist_kept"]
        if "503" in content:
            assert kept == "the one there is of 2024-05-03, newer than this scan"
            assert (state / "watchlist.json").read_text() == content
        else:
            assert kept == ""
            assert json.loads((state / "watchlist.json").read_bytes())["scan_date"] == LAST


def refused(run: Run, state: Path, *words: object) -> str:
    """The error of a scan that must leave the watchlist and the files alone."""
    facts(run)
    there = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    code, out, err = run("scan", *words)
    assert (code, out) == (1, "")
    assert "\n  next: " in err
    kept = [path for path in there if path.is_relative_to(state / "scan") or path.name == "watchlist.json"]
    assert len(kept) == 5
    assert [path.read_bytes() == there[path] for path in kept] == [True] * 5
    return err


def test_a_universe_without_bars_fails_the_scan(run: Run, state: Path, tmp_path: Path) -> None:
    facts(run)
    live = (state / "watchlist.json").read_bytes()
    save(state / "universe", 20240402, [*members(), *(Member(f"ZZ{n}", "", "", 0.0) for n in range(10))])
    code, out, err = run("scan", "--out", tmp_path / "out")
    assert (code, out) == (1, "")
    assert "10 of 37 symbols have no bar of 2024-05-02" in err  # the bad ticker is not asked for
    assert (state / "watchlist.json").read_bytes() == live
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_fails_the_scan(run: Run, state: Path, tmp_path: Path) -> None:
    facts(run)
    live = (state / "watchlist.json").read_bytes()
    own = tmp_path / "own"
    shutil.copytree((state / "archive").resolve(), own)
    path = own / "us/1d/2024.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    (state / "archive").unlink()
    (state / "archive").symlink_to(own)
    code, out, err = run("scan")
    assert (code, out) == (1, "")
    assert "2024.parquet" in err
    assert (state / "watchlist.json").read_bytes() == live


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--as-of", "2001-01-02"), "no daily bar of us lies at or before 2001-01-02"),
        (("--rules-only", "--symbols", "RA,NONE"), "no daily bars of NONE"),
        (("--out", "/dev/null/x"), "the file cannot be written"),
    ],
)
def test_a_refused_scan_leaves_everything(run: Run, state: Path, words: tuple[str, ...], what: str) -> None:
    assert what in refused(run, state, *words)


@pytest.mark.parametrize("words", [("--symbols", "RA"), ("--as-of", "soon"), ("--as-of", "2024-02-30")])
def test_a_usage_error_is_64(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run("scan", *words)
    assert (code, out) == (64, "")
    assert "next: avwapd scan --help" in err


def test_without_a_universe_or_an_archive_the_next_step_is_named(run: Run, state: Path) -> None:
    for path in (state / "universe").iterdir():
        path.unlink()
    code, _, err = run("scan")
    assert code == 1
    assert "there is no snapshot of the universe" in err
    assert "avwapd universe refresh --file FILE" in err
    (state / "archive").unlink()
    code, _, err = run("scan", "--rules-only")
    assert code == 1
    assert "bars import" in err


# ------------------------------------------------------------- the inputs


def test_a_day_before_the_first_universe_is_scanned_with_a_warning(run: Run) -> None:
    day = next(day for day in dates()[260:] if day < 20240401)
    (warning,) = facts(run, "--as-of", iso(day))["warnings"]
    assert warning.startswith(f"no universe of {iso(day)} or before: that of 2024-04-01 stands in")
    code, _, err = run("scan", "--as-of", iso(day))
    assert code == 0
    assert f"  warning: {warning}" in err


def test_the_universe_of_the_day_is_used(run: Run, state: Path) -> None:
    save(state / "universe", BEFORE, members(12))
    assert facts(run, "--as-of", iso(BEFORE))["universe"] == {"date": iso(BEFORE), "tickers": 12}
    assert facts(run, "--as-of", iso(dates()[-11]))["universe"] == {"date": "2024-04-01", "tickers": len(TICKERS)}
    assert facts(run)["universe"] == {"date": iso(BEFORE), "tickers": 12}


def test_lists_count_on_their_days_only(run: Run, state: Path) -> None:
    def fallen(*words: object) -> set[tuple[str, str]]:
        out = Path(facts(run, *words)["out"])
        return {(row["symbol"], row["reason"]) for row in rows(out / "scan_fallen.csv")}

    assert {("RB", "earnings"), (BAD, "bad_ticker")} <= fallen()
    save_list(
        state / "lists", "bad-tickers", [(BAD, "", "", iso(dates()[-2])), ("RA", "", iso(LAST), "")], "2024-05-02"
    )
    save_list(state / "lists", "earnings", [("RB", "2024-05-03", "2024-05-03", "")], "2024-05-02")
    assert ("RA", "bad_ticker") in fallen()
    assert not {("RB", "earnings"), (BAD, "bad_ticker")} & fallen()
    before = fallen("--as-of", iso(dates()[-2]))
    assert (BAD, "bad_ticker") in before
    assert ("RA", "bad_ticker") not in before
    (state / "lists/earnings.csv").unlink()
    assert any(warning.startswith("earnings: no list") for warning in facts(run)["warnings"])


def test_rules_alone_need_no_universe(run: Run, state: Path) -> None:
    (state / "universe/2024-04-01.csv").unlink()
    found = facts(run, "--rules-only", "--symbols", "RA, CHEAP,RA")
    assert found["universe"] is None
    assert found["out"] == str(state / "scan" / f"{iso(LAST)}-rules-only")
    assert {row["symbol"] for row in rows(Path(found["out"]) / "scan_fallen.csv")} | {
        row["symbol"] for row in found["candidates"]
    } == {"RA", "CHEAP"}
    code, out, _ = run("scan", "--rules-only")
    assert code == 0
    assert f"{len(TICKERS) + 1} symbols, by rules alone" in out
    assert "left as it is: a scan by rules alone is no watchlist" in out


def test_a_falling_market_gives_an_empty_file_and_list(run: Run, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVWAPD_SCAN__INDEX", "RO")  # closes under its mean
    monkeypatch.setenv("AVWAPD_SCAN__REGIME_DAYS", "20")
    code, out, _ = run("scan")
    assert code == 0
    assert "empty " in out
    assert "regime: RO at" in out
    assert len((state / "scan" / iso(LAST) / "daily_candidates.csv").read_text().splitlines()) == 1
    assert json.loads((state / "watchlist.json").read_bytes())["rows"] == []


def test_progress_is_a_bar_on_a_terminal_and_nothing_with_json(state: Path) -> None:
    from tests.scan_verb.children import child

    leader, follower = os.openpty()
    try:
        done = child("--state-dir", state, "scan", folder=state.parent, stderr=follower)
        shown = os.read(leader, 10_000).decode()
    finally:
        os.close(leader)
        os.close(follower)
    assert done.returncode == 0, shown
    assert "\r\x1b[K[                        ] universe and lists" in shown
    assert shown.endswith("\r\x1b[K")
    assert "\n" not in shown


def test_bars_that_the_archives_reader_left_out_are_told(run: Run, state: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    fill(own)
    saturday = bars("RA", 0).slice(0, 1)
    at = saturday.schema.get_field_index("ts_ms")
    Archive(own).write("us", "1d", saturday.set_column(at, "ts_ms", [[1_714_852_800_000]]))  # 2024-05-04
    (state / "archive").unlink()
    (state / "archive").symlink_to(own)
    found = facts(run)
    assert found["scan_date"] == iso(LAST)
    assert any(warning.startswith("1 bar of RA left out: ") for warning in found["warnings"])


def test_the_collector_works_again_after_a_scan_that_went_without(run: Run) -> None:
    assert gc.isenabled()
    assert run("scan")[0] == 0
    assert gc.isenabled()
    gc.disable()
    try:
        assert run("scan")[0] == 0
        assert not gc.isenabled()
    finally:
        gc.enable()
