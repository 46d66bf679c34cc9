"""Candidates that cannot be traded are refused with what, where and what to do; nothing is written."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.candidates import market
from tests.candidates.files import avwapd
from tests.candidates.market import Place

Rows = list[dict[str, Any]]


def told(place: Place, candidates: Path, folder: Path, capsys: Any, *words: object) -> tuple[int, list[str]]:
    """(exit code, lines of the error) of a backtest that must leave no file."""
    capsys.readouterr()
    given = ("--candidates", candidates, "--start", market.iso(market.traded()[0]), "--out", folder / "bt")
    code = avwapd(place.state, "backtest", *given, *words)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert not (folder / "bt").exists()
    return code, seen.err.splitlines()


def rewritten(place: Place, folder: Path, change: Callable[[Rows], Rows]) -> Path:
    found = pyarrow.parquet.read_table(place.candidates)
    path = folder / "candidates.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(change(found.to_pylist()), schema=found.schema), path)
    return path


def with_values(**values: Any) -> Callable[[Rows], Rows]:
    """The sixth row with other values."""
    return lambda rows: [*rows[:5], {**rows[5], **values}, *rows[6:]]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (with_values(scan_date=None), "row 6 has a date or direction"),
        (with_values(anchor_date=None), "row 6 has a date or direction"),
        (with_values(direction="Sideways"), "row 6 has a date or direction"),
        (with_values(atr=None), "row 6 has a date or direction"),
        (with_values(symbol=None), "symbol is missing"),
        (with_values(symbol=""), "no symbol"),
        (with_values(entry_level=math.nan), "level nan is no finite number"),
        (with_values(avwap_slope=None), "slope None is no finite number"),
        (with_values(stop_loss=1e6), "is not behind its level"),
        (with_values(target_r1=0.01), "is not beyond its level"),
        (with_values(trend_tier="C"), "tier 'C' is neither A nor B"),
        (with_values(execute=None), "execute None is neither true nor false"),
        (lambda rows: [*rows, rows[0]], "is there twice"),
    ],
)
def test_a_row_that_no_scan_writes(
    place: Place, tmp_path: Path, change: Callable[[Rows], Rows], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewritten(place, tmp_path, change)
    code, lines = told(place, path, tmp_path, capsys)
    assert code == 1
    assert len(lines) == 3
    assert lines[0].startswith("avwapd: the candidates are refused: ")
    assert what in lines[0]
    assert lines[1] == f"  where: {path}"
    assert lines[2] == "  next: make them anew: avwapd backtest --mode historical_scan --out DIR"


def damaged(path: Path, place: Place) -> None:
    path.write_bytes(place.candidates.read_bytes()[:-50])


def a_text(path: Path, place: Place) -> None:
    path.write_text("Symbol,ScanDate\nOAK,2024-03-14\n")


def other_columns(path: Path, place: Place) -> None:
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(place.candidates).drop_columns(["rank"]), path)


def other_kinds(path: Path, place: Place) -> None:
    found = pyarrow.parquet.read_table(place.candidates)
    at = found.schema.get_field_index("entry_level")
    pyarrow.parquet.write_table(found.set_column(at, "entry_level", found["entry_level"].cast(pa.string())), path)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (damaged, "the candidates cannot be read"),
        (a_text, "the candidates cannot be read"),
        (other_columns, "the candidates have other columns"),
        (other_kinds, "the candidates have other columns"),
        (lambda path, place: None, "the candidates cannot be read"),
        (lambda path, place: path.mkdir(), "the candidates cannot be read"),
    ],
)
def test_a_file_of_another_kind(
    place: Place, tmp_path: Path, make: Callable[[Path, Place], None], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "candidates.parquet", place)
    code, lines = told(place, tmp_path / "candidates.parquet", tmp_path, capsys)
    assert (code, len(lines)) == (1, 3), lines
    assert what in lines[0]
    assert lines[1] == f"  where: {tmp_path / 'candidates.parquet'}"
    assert "avwapd backtest --mode historical_scan" in lines[2]


def test_no_row_and_no_row_of_the_named_symbols(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = told(place, rewritten(place, tmp_path, lambda rows: []), tmp_path, capsys)
    assert (code, len(lines), lines[0]) == (1, 3, "avwapd: the candidates' file has no row")
    code, lines = told(place, place.candidates, tmp_path, capsys, "--symbols", "SPY,ZZZ")
    assert (code, len(lines), lines[0]) == (1, 3, "avwapd: the candidates' file has no row of SPY, ZZZ")


def test_symbols_without_bars(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some missing: told, the others trade. All missing: refused."""
    path = rewritten(place, tmp_path, lambda rows: [{**row, "symbol": "Z" + row["symbol"]} for row in rows])
    code, lines = told(place, path, tmp_path, capsys)
    assert (code, len(lines)) == (1, 3)
    assert lines[0] == "avwapd: none of the candidates' 10 symbols has 1d bars of us"
    assert "avwapd bars list" in lines[2]
    code, lines = told(place, place.candidates, tmp_path, capsys, "--timeframe", "5m")
    assert (code, lines[0]) == (1, "avwapd: none of the candidates' 10 symbols has 5m bars of us")
    path = rewritten(
        place, tmp_path, lambda rows: [{**row, "symbol": row["symbol"].replace("OAK", "ZOAK")} for row in rows]
    )
    words = ("--candidates", path, "--start", market.iso(market.traded()[0]), "--out", tmp_path / "some")
    assert avwapd(place.state, "backtest", *words) == 0
    assert capsys.readouterr().err == "  warning: no 1d bars of 1 candidates: ZOAK\n"


@pytest.mark.parametrize("words", [("--mode", "historical_scan"), ("--mode", "historical_scan", "--symbols", "OAK")])
def test_a_historical_scan_takes_no_candidates(
    place: Place, tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = told(place, place.candidates, tmp_path, capsys, *words)
    assert (code, len(lines)) == (64, 2)
    assert lines[1] == "  next: avwapd backtest --help"


def test_a_scan_date_that_is_no_session(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saturday = datetime.date(2024, 3, 16)
    path = rewritten(place, tmp_path, with_values(scan_date=saturday))
    capsys.readouterr()
    code = avwapd(place.state, "backtest", "--candidates", path, "--out", tmp_path / "bt")
    lines = capsys.readouterr().err.splitlines()
    assert (code, len(lines)) == (1, 3)
    assert lines[0] == "avwapd: 20240316 is no session of the exchange"
