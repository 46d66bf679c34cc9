"""The issuer's file and the plain one, as members; and what is refused, by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwapd.config import load
from avwapd.scan.sheet import SheetError, symbol_of
from avwapd.scan.universe import Holding, Parsed, exchange_of, parse_universe, weight_of, written_date
from tests.universe.holdings import LEGAL, OTHERS, SHARES, issuer, many, plain

CLASSES = dict(load(environ={}).universe.class_shares)


def parsed(data: bytes) -> Parsed:
    return parse_universe(data, "f.csv", CLASSES)


def refusal(data: bytes) -> str:
    with pytest.raises(SheetError) as caught:
        parsed(data)
    assert caught.value.where == "f.csv"
    assert caught.value.next_step
    return caught.value.what


def test_the_issuers_file() -> None:
    found = parsed(issuer())
    assert found.date == 20241120
    assert [member.symbol for member in found.members] == ["AAPL", "BRK.B", "NVDA", "SPAM", "UAMY"]
    assert found.members[3] == Holding("SPAM", 'SPAM "N" EGGS, INC', "Consumer Staples", 0.01, "CBOE")
    assert [member.exchange for member in found.members] == ["NASDAQ", "NYSE", "NASDAQ", "CBOE", "AMEX"]
    assert found.dropped == {"Money Market": 1, "Cash": 1, "Futures": 1, "no ticker": 1}
    assert (found.odd, found.tail) == ([], 2)
    assert found.sectors == {"Information Technology": 2, "Consumer Staples": 1, "Financials": 1, "Materials": 1}


def test_a_plain_file_names_the_kinds_by_its_sector_and_tickers() -> None:
    rows = [(t, n.replace(",", ""), s, w) for t, n, s, _, _, w, _ in (*SHARES, *OTHERS)]
    found = parsed(plain([*rows, ("RTYH6", "EMINI", "", "0")]))
    assert found.date is None
    assert len(found.members) == 5
    assert found.dropped == {"Cash": 2, "Futures": 2, "no ticker": 1}


@pytest.mark.parametrize("spelled", ["BRKB", "BRK.B", "BRK-B", "BRK/B", "brk.b", " BRK.B\xa0"])
def test_a_class_share_however_spelled(spelled: str) -> None:
    assert [m.symbol for m in parsed(plain([(spelled, "B", "Financials", 1)])).members] == ["BRK.B"]


def test_only_ticker_is_needed_and_columns_may_stand_in_any_order() -> None:
    found = parsed(b"WEIGHTPCT,ticker,Exchange,,\n 2.5%,aapl,NYSE Arca,,\n,IBM,Nowhere,,\n")
    assert found.members == [Holding("AAPL", "", "", 2.5, "AMEX"), Holding("IBM", "", "", 0.0, "")]


def test_crlf_and_a_blank_line_in_the_table() -> None:
    assert len(parsed(b"Ticker,Name\r\nA,a\r\n\r\nB,b\r\n").members) == 2


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Nov 20, 2026", 20261120),
        ("September 3, 2024", 20240903),
        ("20-Nov-2026", 20261120),
        ("20/Nov/2026", 20261120),
        ("2026-11-20", 20261120),
        ("Feb 30, 2026", None),
        ("Brumaire 3, 2026", None),
        ("11/20/2026", None),
    ],
)
def test_a_date_as_the_issuer_writes_it(text: str, day: int | None) -> None:
    assert written_date(text) == day


@pytest.mark.parametrize(
    ("text", "weight"),
    [("6.44", 6.44), ("1,234.5", 1234.5), ("-0.05", -0.05), ("-", 0.0), ("5%", 5.0), (".5", 0.5), ("5.", None),
     ("6,44", None), ("1,23,4", None), ("nan", None), ("1e3", None), ("inf", None), ("٣", None)],
)  # fmt: skip
def test_a_weight(text: str, weight: float | None) -> None:
    assert weight_of(text) == weight


@pytest.mark.parametrize(
    ("name", "short"),
    [("NASDAQ", "NASDAQ"), ("New York Stock Exchange Inc.", "NYSE"), ("Cboe BZX", "CBOE"), ("NYSE American", "AMEX"),
     ("NYSE", "NYSE"), ("Xetra", ""), ("-", "")],
)  # fmt: skip
def test_an_exchange_by_its_short_name(name: str, short: str) -> None:
    assert exchange_of(name) == short


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty"),
        (b" \n\xc2\xa0\n,,\n", "the file is empty"),
        (b"AAPL,Apple\nIBM,Ibm\n", "no header line: none of the first 2 names ticker"),
        (b"Ticker;Name;Sector\nAAPL;a;b\n", "line 1 is separated by semicolons"),
        (b'Fund,x\n"Ticker";"Name, full"\nAAPL;a;b\n', "line 2 is separated by semicolons"),
        (b"Ticker\tName\nAAPL\ta\n", "line 1 is separated by tabs"),
        ("Ticker,Name\nAAPL,Caf\xe9\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xe9)"),
        ("Ticker,Name\nAAPL,a\n".encode("utf-16"), "the text is UTF-16"),
        (b"Ticker,Name\nAAPL,a\0b\n", "line 2 holds a zero byte"),
        (b"PK\x03\x04rest", "a spreadsheet's own format"),
        (b"\n<!DOCTYPE html><html>", "a web page, not CSV"),
        (b'Ticker,Name\nAAPL,"Apple\nIBM,Ibm\nGE,Ge\n', "a quote that opens in line 2"),
        (b"Ticker,Name,Ticker\nAAPL,a,b\n", "line 1 names the column 'ticker' twice"),
        (b"Ticker,Name\n", "no shares in it (dropped: nothing)"),
        (issuer(OTHERS), "no shares in it (dropped: 1 Cash, 1 Futures, 1 Money Market, 1 no ticker)"),
        (issuer(day="-"), "line 2: the issuer has no holdings of that day"),
        (issuer(day="soon"), "line 2: 'soon' is no date"),
        (b"Ticker,Name\n" + b"A,a\n" * 100_001, "100,001 rows are no universe: 100,000 are the most"),
    ],
)  # fmt: skip
def test_what_is_no_universe_is_told_by_its_line(data: bytes, what: str) -> None:
    assert what in refusal(data)


def test_duplicates_are_named_with_their_lines_however_spelled() -> None:
    said = refusal(plain([("AAPL", "a", "x", 1), ("BRKB", "b", "x", 1), ("BRK/B", "b", "x", 1), ("AAPL", "a", "x", 1)]))
    assert "2 duplicate tickers: AAPL (lines 2, 5), BRK.B (lines 3, 4)" in said


@pytest.mark.parametrize("odd", ["ÄAPL", "AA PL", "A&B", "TOOLONGFORANYTHING", "..", "ＡＡＰＬ"])
def test_few_odd_tickers_are_left_out_and_many_refuse(odd: str) -> None:
    found = parsed(plain([*many(200), (odd, "x", "x", 1), (odd, "x", "x", 1)]))
    assert len(found.members) == 200
    assert [(bad.line, bad.text) for bad in found.odd] == [(202, odd), (203, odd)]
    said = refusal(plain([*many(200), *[(odd, "x", "x", 1)] * 3]))
    assert "3 of 203 rows cannot be read: line 202" in said


def test_a_row_with_too_many_or_too_few_columns_is_odd() -> None:
    found = parsed(plain([*many(300), ("SPAM", "SPAM", " INC", "Energy", 1), ("HAM", "x")]))
    assert [(bad.line, bad.why) for bad in found.odd] == [
        (302, "has 5 columns, not 4"),
        (303, "has 2 columns, not 4"),
    ]


def test_legal_text_is_no_row_whatever_its_commas() -> None:
    assert parsed(issuer(tail=LEGAL * 40)).tail == 80
    assert "has 3 columns" in parsed(plain([*many(300), ("x", "y", "z")])).odd[0].why


def test_fifty_thousand_rows_are_read() -> None:
    assert len(parsed(plain(many(50_000))).members) == 50_000


def test_a_plain_dash_in_front_is_no_class() -> None:
    assert [symbol_of(raw) for raw in ("BTC-USD", "-B", "BRK-", "A.B.C", "P5N994", "BF.B")] == [
        None, None, None, None, "P5N994", "BF.B"
    ]  # fmt: skip


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_break_it(data: bytes) -> None:
    """Whatever a file holds, it is members or a SheetError."""
    try:
        found = parsed(b"Ticker,Name\n" + data)
    except SheetError:
        return
    assert found.members
    assert all(symbol_of(member.symbol) == member.symbol for member in found.members)
