"""`avwapd lists`: earnings, bad tickers and listings, whole or not at all, as known on a day."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from avwapd.store.lists import BadTicker, Earning, ListError, load
from avwapd.verbs.days import today
from tests.universe.holdings import Run


def take(run: Run, tmp_path: Path, kind: str, text: str, *words: object) -> tuple[int, str, str]:
    path = tmp_path / "given.csv"
    path.write_text(text)
    return run("lists", "import", kind, path, *words)


def facts(run: Run, tmp_path: Path, kind: str, text: str, *words: object) -> tuple[int, Any]:
    code, out, _ = take(run, tmp_path, kind, text, "--json", *words)
    return code, json.loads(out)


def test_earnings_as_known_on_a_day(run: Run, tmp_path: Path) -> None:
    text = (
        "symbol,date,known_date,when\naapl,2024-05-02,2024-04-10,AMC\nAAPL,20240801,2024-07-01,\nBRKB,2024-05-04,,bmo\n"
    )
    code, found = facts(run, tmp_path, "earnings", text, "--known", "2024-05-01")
    assert (code, found["rows"], found["symbols"], found["known_assumed"], found["bad"]) == (0, 3, 2, 1, [])
    lists = load(tmp_path / "state/lists")
    assert lists.earnings["AAPL"] == (Earning(20240502, 20240410, "amc"), Earning(20240801, 20240701, ""))
    assert lists.earnings["BRK.B"] == (Earning(20240504, 20240501, "bmo"),)
    assert lists.known_on(20240409) == {}
    assert lists.known_on(20240410) == {"AAPL": (Earning(20240502, 20240410, "amc"),)}
    assert set(lists.known_on(20240501)) == {"AAPL", "BRK.B"}


def test_a_report_without_a_known_date_is_known_from_the_import_on(run: Run, tmp_path: Path) -> None:
    first = today()
    code, out, _ = take(run, tmp_path, "earnings", "Ticker,Date,Time\nIBM,2012-03-09,bmo\n")
    assert code == 0
    assert "1 without a known_date count as known from" in out
    (report,) = load(tmp_path / "state/lists").earnings["IBM"]
    assert first <= report.known_date <= today()
    assert report.when == "bmo"


def test_bad_tickers_hold_between_their_days(run: Run, tmp_path: Path) -> None:
    code, found = facts(run, tmp_path, "bad-tickers", "symbol,reason,from,to\nGME,meme,2021-01-04,2021-02-26\nXYZ,,,\n")
    assert (code, found["rows"]) == (0, 2)
    lists = load(tmp_path / "state/lists")
    assert lists.bad_tickers[0] == BadTicker("GME", "meme", 20210104, 20210226)
    on = {day: sorted(lists.bad_on(day)) for day in (20210103, 20210104, 20210226, 20210227)}
    assert on == {20210103: ["XYZ"], 20210104: ["GME", "XYZ"], 20210226: ["GME", "XYZ"], 20210227: ["XYZ"]}
    assert lists.bad_on(20210104)["GME"] == "meme"


def test_a_list_of_symbols_alone_is_enough(run: Run, tmp_path: Path) -> None:
    assert facts(run, tmp_path, "bad-tickers", "symbol\nGME\nGME\n") == (
        0,
        {
            "list": "bad-tickers",
            "file": str(tmp_path / "state/lists/bad_tickers.csv"),
            "rows": 1,
            "symbols": 1,
            "doubles": 1,
            "bad": [],
        },
    )


def test_listings_by_short_name_and_never_two(run: Run, tmp_path: Path) -> None:
    rows = ("AAPL,Nasdaq", "IBM,New York Stock Exchange Inc.,", "VOD,LSE,2024-03-21", "X,NYSE", "X,NASDAQ", "Y,")
    text = "\n".join(("symbol,exchange,listed", *rows, ""))
    code, found = facts(run, tmp_path, "listings", text)
    assert code == 1
    assert [(bad["text"], bad["line"]) for bad in found["bad"]] == [("Y", 7), ("X", 0)]
    kept = load(tmp_path / "state/lists")
    assert kept.listing == {"AAPL": "NASDAQ", "IBM": "NYSE", "VOD": "LSE"}
    assert kept.listed == {"VOD": 20240321}


def test_a_first_day_that_is_none_is_refused(run: Run, tmp_path: Path) -> None:
    text = "symbol,exchange,ipo_date\nAAPL,NASDAQ,1980-12-12\nIBM,NYSE,long ago\n"
    code, found = facts(run, tmp_path, "listings", text)
    assert code == 1
    assert [(bad["text"], bad["line"]) for bad in found["bad"]] == [("IBM", 3)]
    assert load(tmp_path / "state/lists").listed == {"AAPL": 19801212}


def test_bad_rows_are_named_and_counted_and_the_rest_goes_in(run: Run, tmp_path: Path) -> None:
    rows = ["AAPL,2024-02-30,,", "IBM,2024-05-02,soon,", "GE,2024-05-02,,noon", "Ä,2024-05-02,,", "F,2024-05-02,,"]
    code, out, err = take(run, tmp_path, "earnings", "\n".join(["symbol,date,known_date,when", *rows]))
    assert code == 1
    assert "earnings: 1 row, 1 symbol" in out
    said = (
        "4 rows refused",
        "line 2: 'AAPL' has the date '2024-02-30'",
        "line 3: 'IBM' has the known_date 'soon'",
        "line 4: 'GE' has 'noon' for when",
        "line 5: 'Ä' is no ticker",
    )
    for words in said:
        assert words in err
    assert list(load(tmp_path / "state/lists").earnings) == ["F"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbol,date\nAAPL,never\n", ()),
        ("symbol,date\nAAPL,2024-05-02\nIBM,never\n", ("--strict",)),
        ("symbol\nAAPL\n", ()),
        ("symbol;date\nAAPL;2024-05-02\n", ()),
        ("", ()),
    ],
)
def test_a_refused_file_leaves_the_old_list(run: Run, tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    assert take(run, tmp_path, "earnings", "symbol,date\nF,2024-05-02\n")[0] == 0
    before = (tmp_path / "state/lists/earnings.csv").read_bytes()
    code, out, err = take(run, tmp_path, "earnings", text, *words)
    assert (code, out) == (1, "")
    assert "next:" in err
    assert (tmp_path / "state/lists/earnings.csv").read_bytes() == before


def test_a_new_file_replaces_the_whole_list_even_by_none(run: Run, tmp_path: Path) -> None:
    assert take(run, tmp_path, "bad-tickers", "symbol\nGME\n")[0] == 0
    assert take(run, tmp_path, "bad-tickers", "symbol\nAMC\n")[0] == 0
    assert list(load(tmp_path / "state/lists").bad_on(20240502)) == ["AMC"]
    assert take(run, tmp_path, "bad-tickers", "symbol\n")[0] == 0
    lists = load(tmp_path / "state/lists")
    assert (lists.bad_tickers, lists.facts["bad-tickers"].rows) == ((), 0)
    assert [path.name for path in (tmp_path / "state/lists").iterdir()] == ["bad_tickers.csv"]


def test_a_folder_without_rights_is_told_and_keeps_the_old_list(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert take(run, tmp_path, "bad-tickers", "symbol\nGME\n")[0] == 0
    folder = tmp_path / "state/lists"
    (folder / "earnings.csv").mkdir()  # refuses the rename, whoever runs this
    code, _, err = take(run, tmp_path, "earnings", "symbol,date\nF,2024-05-02\n")
    assert code == 1
    assert "the file cannot be written" in err
    assert sorted(path.name for path in folder.iterdir()) == ["bad_tickers.csv", "earnings.csv"]
    assert stat.S_ISDIR((folder / "earnings.csv").stat().st_mode)


def test_show_has_rows_and_ages(run: Run, tmp_path: Path) -> None:
    assert take(run, tmp_path, "earnings", "symbol,date\nF,2024-05-02\n")[0] == 0
    code, out, _ = run("lists", "show", "--json")
    earnings, bad, listings = json.loads(out)["lists"]
    assert (code, earnings["rows"], earnings["age_days"] in (0, 1)) == (0, 1, True)
    assert (bad["rows"], listings["age_days"]) == (None, None)
    code, out, _ = run("lists", "show")
    assert code == 0
    assert "no listings: avwapd lists import listings FILE" in out
    written = tmp_path / "state/lists/earnings.csv"
    written.write_text(written.read_text().replace(written.read_text()[11:21], "2020-01-01", 1))
    assert "days old" in run("lists", "show")[1]


@pytest.mark.parametrize("text", ["symbol\nA\n", "symbol,date,known_date,when\nA,2024-05-02,x,\n",
                                  "symbol,date,known_date,when\nA\n", '# imported 2024-05-02\nsymbol,"da'])  # fmt: skip
def test_a_list_that_somebody_broke_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "earnings.csv").write_text(text)
    with pytest.raises(ListError) as caught:
        load(tmp_path)
    assert "avwapd lists import earnings FILE" in caught.value.next_step


def test_no_folder_is_no_lists(tmp_path: Path) -> None:
    lists = load(tmp_path / "none")
    assert (lists.earnings, lists.bad_on(20240502), lists.listing, lists.facts) == ({}, {}, {}, {})
