"""A scan of bad input: told by name, counted, gone on with where that is right."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avwapd.feeds.calendar import BELL, all_sessions, stamps_of
from avwapd.feeds.daily import DailyRequest
from avwapd.store import daily
from avwapd.store.archive import Archive
from avwapd.store.archive_file import SCHEMA, ArchiveError, load
from avwapd.store.lists import save as save_list
from avwapd.store.universe import Member, save
from tests.scan_verb.market import LAST, SECTORS, TICKERS, Run, bars, fill, members

ISO = "2024-05-02"


def own_archive(state: Path, symbols: tuple[str, ...] = (*TICKERS, "SPY")) -> Path:
    """The state's archive as a folder of its own, which a test may spoil."""
    (state / "archive").unlink(missing_ok=True)
    fill(state / "archive", symbols)
    derived(state / "archive")
    return state / "archive"


def derived(root: Path) -> None:
    """What a child would make of the archive, in this process, for speed."""
    daily.main(DailyRequest(root, "us").command()[3:])


def live(state: Path) -> bytes:
    return (state / "watchlist.json").read_bytes()


def fallen(state: Path) -> dict[str, tuple[str, str]]:
    with (state / "scan" / ISO / "scan_fallen.csv").open(newline="") as file:
        return {row["symbol"]: (row["step"], row["reason"]) for row in csv.DictReader(file)}


def facts(run: Run, *words: object) -> Any:
    code, out, err = run("scan", "--json", *words)
    assert (code, err) == (0, "")
    return json.loads(out)


# ------------------------------------------------------------------- the archive


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def other_columns(content: bytes) -> bytes:
    del content
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"date": [1], "price": [2.0]}), sink)
    return bytes(sink.getvalue().to_pybytes())


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "half written": half,
    "empty": lambda content: b"",
    "its end is missing": lambda content: content[:-9],
    "zeros from a crash": lambda content: content[:2000] + bytes(len(content) - 2000),
    "a web page": lambda content: b"<html>404</html>",
    "another table": other_columns,
}


def test_a_damaged_archive_is_named_and_the_old_list_stays(run: Run, state: Path) -> None:
    root = own_archive(state)
    facts(run)
    before, path = live(state), root / "us/1d/2024.parquet"
    content = path.read_bytes()
    for how, spoil in SPOILED.items():
        path.write_bytes(spoil(content))
        code, out, err = run("scan")
        assert (code, out) == (1, ""), how
        assert str(path) in err, how
        assert "\n  next: " in err, how
        assert live(state) == before, how
    code, out, err = run("backtest", "--mode", "historical_scan", "--out", "walk")
    assert (code, out) == (1, "")
    assert str(path) in err
    assert not (state.parent / "walk/historical_candidates.parquet").exists()
    path.write_bytes(content)
    assert facts(run)["watchlist_kept"] == ""
    assert live(state) == before


def test_a_bit_that_has_flipped_never_passes_for_a_price(state: Path) -> None:
    path, rng = own_archive(state) / "us/1d/2024.parquet", random.Random(1)
    content, good, refused = path.read_bytes(), load(path), 0
    for _ in range(200):
        spoiled = bytearray(content)
        spoiled[rng.randrange(len(spoiled))] ^= 1 << rng.randrange(8)
        path.write_bytes(spoiled)
        try:
            found = load(path)
        except ArchiveError as error:
            refused += str(path) in str(error.where)
        else:
            assert found.equals(good)
    assert refused > 180


def test_what_an_import_left_half_written_beside_is_no_bar(run: Run, state: Path) -> None:
    root = own_archive(state)
    first = facts(run)
    for name in (".2024.parquet.123", "2024.parquet.tmp", "notes.txt"):
        (root / "us/1d" / name).write_bytes(b"PAR1")
    assert facts(run) == first


def test_a_table_without_a_row_is_no_damage(run: Run, state: Path) -> None:
    root = own_archive(state)
    first = facts(run)["candidates"]
    pq.write_table(SCHEMA.empty_table(), root / "us/1d/2021.parquet")
    derived(root)
    assert facts(run)["candidates"] == first


def test_damaged_actions_are_named(run: Run, state: Path) -> None:
    root = own_archive(state)
    facts(run)
    before = live(state)
    for text in ("symbol,ex_date\n", "symbol,ex_date,price_ratio,split_ratio\nRA,2024-02-30,0.5,0.5\n", "\0\1"):
        (root / "us/actions.csv").write_text(text)
        code, out, err = run("scan")
        assert (code, out) == (1, "")
        assert "actions.csv" in err
        assert live(state) == before


def test_no_bars_of_the_index_is_a_warning(run: Run, state: Path) -> None:
    own_archive(state, TICKERS)
    found = facts(run)
    (warning,) = found["warnings"]
    assert warning == f"regime: SPY has no bar of {ISO}; candidates are let through"
    assert found["candidates"]
    assert json.loads(live(state))["rows"]


def test_only_the_index_is_there_for_the_last_day(run: Run, state: Path) -> None:
    """Its bars came first: yesterday's candidates are not to pass for today's."""
    root = own_archive(state)
    facts(run)
    before, table = live(state), all_sessions(BELL)
    after = table[table["date"] > LAST][:1]
    bar = bars("SPY", len(TICKERS)).slice(0, 1)
    at = bar.schema.get_field_index("ts_ms")
    Archive(root).write("us", "1d", bar.set_column(at, "ts_ms", [stamps_of(BELL, after)]))
    derived(root)
    code, out, err = run("scan")
    assert (code, out) == (1, "")
    assert "27 of 27 symbols have no bar of 2024-05-03: 27 end earlier, 0 have no daily bars" in err
    assert live(state) == before
    assert facts(run, "--as-of", ISO)["scan_date"] == ISO


# ------------------------------------------------------------------- the calendar


def test_a_day_behind_the_calendars_end_is_the_newest(run: Run) -> None:
    assert facts(run, "--as-of", "2199-12-31")["scan_date"] == ISO


def test_bars_behind_the_calendars_end_are_counted_and_left_out(run: Run, state: Path) -> None:
    root = own_archive(state)
    first = facts(run)["candidates"]
    late = bars("RA", 0).slice(0, 3)
    at = late.schema.get_field_index("ts_ms")
    Archive(root).write("us", "1d", late.set_column(at, "ts_ms", [[day * 86_400_000 for day in range(60_000, 60_003)]]))
    derived(root)
    found = facts(run)
    assert (found["candidates"], found["scan_date"]) == (first, ISO)
    (warning,) = found["warnings"]
    assert warning == "3 bars of RA left out: its time is no session's close"


def test_an_archive_of_days_that_no_calendar_knows(run: Run, state: Path) -> None:
    (state / "archive").unlink()
    late = bars("RA", 0).slice(0, 3)
    at = late.schema.get_field_index("ts_ms")
    days = late.set_column(at, "ts_ms", [[day * 86_400_000 for day in range(60_000, 60_003)]])
    Archive(state / "archive").write("us", "1d", days)
    code, out, err = run("scan")
    assert (code, out) == (1, "")
    assert "no usable daily bars of any symbol at us" in err
    assert not (state / "watchlist.json").exists()


# ------------------------------------------------------------------- the universe


def many(path: Path, count: int) -> Path:
    """A universe of the market's symbols and of others, as people keep it."""
    others = [f"Z{number:05}" for number in range(count - len(TICKERS))]
    lines = [f"{symbol},{symbol} CO,{SECTORS[n % 3]},0.1" for n, symbol in enumerate((*TICKERS, *others))]
    path.write_text("\n".join(["Ticker,Name,Sector,WeightPct", *lines]) + "\n")
    return path


def test_a_universe_of_50_000_with_an_archive_of_few(run: Run, state: Path, tmp_path: Path) -> None:
    facts(run)
    before = live(state)
    words = ("--file", many(tmp_path / "u.csv", 50_000), "--date", "2024-05-01")
    assert run("universe", "refresh", *words)[0] == 0
    code, out, err = run("scan")
    assert (code, out) == (1, "")
    assert "49,972 of 49,999 symbols have no bar of 2024-05-02" in err
    assert f"0 end earlier, {50_000 - len(TICKERS):,} have no daily bars (Z00000, Z00001, " in err
    assert "scan.stale_fraction allows 5%" in err
    assert len(err) < 1_000
    assert live(state) == before
    (state / "universe/2024-04-01.csv").unlink()
    found = facts(run, "--as-of", "2024-04-30")  # where it stands in for an older one, they may not have been listed
    assert found["fell"]["1"]["no_bars"] == 50_000 - len(TICKERS)
    assert found["warnings"][0].startswith("no universe of 2024-04-30 or before")


def test_a_symbol_without_bars_is_counted(run: Run, state: Path) -> None:
    save(state / "universe", 20240402, sorted([*members(), Member("NONE", "", "Energy", 0.1)]))
    found = facts(run)
    assert found["fell"]["1"]["no_bars"] == 1
    assert fallen(state)["NONE"] == ("1", "no_bars")
    code, out, _ = run("why", "NONE", ISO, "--scan")
    assert code == 0
    assert "no bars" in out.replace("_", " ")


NAMED = {"BRK.B": "BRKB", "BF.B": "BF-B", "HEI.A": "HEI/A"}  # as the archive has them, as the universe's file


def renamed(symbol: str, number: int) -> pa.Table:
    found = bars("RA", number)
    return found.set_column(found.schema.get_field_index("symbol"), "symbol", [[symbol] * len(found)])


def test_symbols_with_dots_and_dashes(run: Run, state: Path, tmp_path: Path) -> None:
    root = own_archive(state)
    for symbol in NAMED:
        Archive(root).write("us", "1d", renamed(symbol, 0))  # the bars of RA, which passes
    derived(root)
    lines = [f"{given},A “name” – Ü,Energy,0.1" for given in (*TICKERS, *NAMED.values())]
    (tmp_path / "u.csv").write_text("\n".join(["Ticker,Name,Sector,WeightPct", *lines]), encoding="utf-8")
    assert run("universe", "refresh", "--file", tmp_path / "u.csv", "--date", "2024-05-01")[0] == 0
    save_list(state / "lists", "listings", [("BRK.B", "NYSE", "")], "2024-04-30")
    found = facts(run)
    rows = {row["symbol"]: row for row in found["candidates"]}
    assert {"RA", *NAMED} <= rows.keys()
    assert {rows[symbol]["level"] for symbol in NAMED} == {rows["RA"]["level"]}
    words = (state / "scan" / ISO / "tradingview_watchlist.txt").read_text().strip().split(",")
    assert {"NYSE:BRK.B", "BF.B", "HEI.A"} <= {*words}
    assert {*NAMED} <= {row["symbol"] for row in json.loads(live(state))["rows"]}


def test_symbols_of_other_alphabets(run: Run, state: Path, tmp_path: Path) -> None:
    """The archive and a snapshot may hold any; a file of holdings only tickers, the others are told."""
    root = own_archive(state)
    odd = ["株式", "ÄÖ-1"]
    for symbol in odd:
        Archive(root).write("us", "1d", renamed(symbol, 0))
    derived(root)
    found = sorted([*members(), *(Member(symbol, "Ünï", "Energy", 0.1) for symbol in odd)])
    save(state / "universe", 20240402, found)
    assert {*odd} <= {row["symbol"] for row in facts(run)["candidates"]}
    text = (state / "scan" / ISO / "daily_candidates.csv").read_bytes().decode("utf-8")
    assert all(f",{symbol},Long," in text for symbol in odd)
    assert {*odd} <= {row["symbol"] for row in json.loads(live(state))["rows"]}
    lines = [f"{symbol},x,Energy,0.1" for symbol in (*TICKERS, *(f"Z{n}" for n in range(200)), odd[0])]
    (tmp_path / "u.csv").write_text("\n".join(["Ticker,Name,Sector,WeightPct", *lines]), encoding="utf-8")
    code, _, err = run("universe", "refresh", "--file", tmp_path / "u.csv", "--date", "2024-05-01")
    assert code == 0
    assert f"'{odd[0]}' is no ticker of letters and digits" in err


@pytest.mark.parametrize("line", ["RA,2024-02-30,2024-02-01,", "RA,2024-13-01,2024-02-01,", "RA,20240502,2024-02-01,"])
def test_a_list_that_was_edited_by_hand_is_named(run: Run, state: Path, line: str) -> None:
    facts(run)
    before = live(state)
    path = state / "lists/earnings.csv"
    path.write_text(f"# imported 2024-04-30\nsymbol,date,known_date,when\n{line}\n")
    code, out, err = run("scan")
    assert (code, out) == (1, "")
    assert str(path) in err
    assert "avwapd lists import earnings FILE" in err
    assert live(state) == before
