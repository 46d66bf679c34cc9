"""What goes into the archive comes out again, once, in order, and its files are whole or not there."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.store import archive as archive_module
from avwapd.store.archive import Archive, ArchiveError
from avwapd.store.archive_file import SCHEMA, VALUES, Conflict, as_table
from tests.store_archive.bars import START, columns

DAY = 86_400_000
MIDNIGHT = 1_704_240_000_000  # 2024-01-03 00:00 UTC


def names(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*.parquet"))


def test_a_file_holds_a_day_of_minutes_a_month_of_hours_a_year_of_days(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.write("x", "1m", as_table("A", columns(2, MIDNIGHT, 60_000)))
    archive.write("x", "1h", as_table("A", columns(2, MIDNIGHT - DAY * 2, DAY * 40)))
    archive.write("x", "1d", as_table("A", columns(2, MIDNIGHT - DAY * 2, DAY)))
    assert names(tmp_path) == [
        "x/1d/2023.parquet",  # ends at 00:00 on New Year's Day
        "x/1d/2024.parquet",
        "x/1h/2023-12.parquet",
        "x/1h/2024-02.parquet",
        "x/1m/2024-01-02.parquet",  # closes at midnight: of the day that ends
        "x/1m/2024-01-03.parquet",
    ]


def test_symbols_lie_together_sorted_and_come_out_alone(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for symbol in ("ZZ", "BRK.B", "BTC/USD", "BTC-USD"):
        archive.write("x", "5m", as_table(symbol, columns(3)))
    (path,) = archive.files("x", "5m")
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    assert table["symbol"].to_pylist()[:4] == ["BRK.B", "BTC-USD", "BTC/USD", "ZZ"]
    assert table["ts_ms"].to_pylist() == sorted(table["ts_ms"].to_pylist())
    assert archive.read("x", "5m", ["BTC/USD"])["symbol"].to_pylist() == ["BTC/USD"] * 3
    assert len(archive.read("x", "5m")) == 12
    assert [(held.symbol, held.bars) for held in archive.holdings()] == [
        ("BRK.B", 3),
        ("BTC-USD", 3),
        ("BTC/USD", 3),
        ("ZZ", 3),
    ]


def test_both_ends_of_a_time_are_included(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    bars = columns(2000, step=60_000)
    archive.write("x", "1m", as_table("A", bars))
    low, high = int(bars["ts_ms"][700]), int(bars["ts_ms"][1500])
    assert archive.read("x", "1m", (), low, high)["ts_ms"].to_pylist() == bars["ts_ms"][700:1501].tolist()
    assert len(archive.files("x", "1m", low, low)) == 1
    assert len(archive.read("x", "1m", (), None, low)) == 701
    assert len(archive.read("x", "1m", ("B",))) == 0
    assert len(archive.read("y", "1m")) == 0


def test_an_equal_bar_is_counted_and_a_different_one_refused_by_name(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.write("x", "5m", as_table("A", columns(5)))
    (path,) = archive.files("x", "5m")
    before = path.read_bytes()
    again = columns(5)
    again["close"][3] += 0.01
    done = archive.write("x", "5m", as_table("A", again))
    assert (done.added, done.unchanged, done.files) == (0, 4, 0)
    assert done.conflicts == [Conflict(3, "A", START + 3 * 300_000)]
    assert path.read_bytes() == before
    more = columns(7)
    more["volume"][0] = 1.0
    dry = archive.write("x", "5m", as_table("A", more), dry_run=True)
    assert (dry.added, dry.unchanged, len(dry.conflicts)) == (2, 4, 1)
    assert path.read_bytes() == before
    assert archive.write("x", "5m", as_table("A", more)).added == 2
    assert archive.read("x", "5m")["volume"].to_pylist() == [1000.0] * 7


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 700), st.sampled_from("AB")), max_size=25), max_size=4))
def test_any_order_of_writing_gives_the_same_bars(tmp_path_factory: Any, writes: list[list[Any]]) -> None:
    archive = Archive(tmp_path_factory.mktemp("any"))
    everything: set[tuple[int, str]] = set()
    for rows in writes:
        ts_ms = np.array([START + place * 60_000 for place, _ in rows], np.int64)
        values = dict.fromkeys(VALUES, ts_ms / 1e9)
        given_rows = as_table([symbol for _, symbol in rows], {"ts_ms": ts_ms, **values})
        done = archive.write("x", "1m", given_rows)
        fresh = {(START + place * 60_000, symbol) for place, symbol in rows} - everything
        everything |= fresh
        assert done.added == len(fresh)
        assert done.added + done.unchanged == len(rows)
    table = archive.read("x", "1m")
    assert list(zip(table["ts_ms"].to_pylist(), table["symbol"].to_pylist(), strict=True)) == sorted(everything)


DAMAGE = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "no_end": lambda content: content[:-4] + b"XXXX",
    "text": lambda content: b"ts_ms,open\n1,2\n",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_archive_file_is_named_and_never_overwritten(tmp_path: Path, kind: str) -> None:
    archive = Archive(tmp_path)
    archive.write("x", "5m", as_table("A", columns(50)))
    (path,) = archive.files("x", "5m")
    damaged = DAMAGE[kind](path.read_bytes())
    path.write_bytes(damaged)
    acts = (
        lambda: archive.read("x", "5m"),
        lambda: archive.write("x", "5m", as_table("B", columns(2))),
        lambda: archive.holdings(),
    )
    for act in acts:
        with pytest.raises(ArchiveError, match="damaged") as caught:
            act()
        assert caught.value.where == str(path)
        assert "import or fetch" in caught.value.next_step
    assert path.read_bytes() == damaged
    assert [error.where for error in archive.damaged()] == [str(path)]


def test_a_file_with_other_columns_is_named(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    path = tmp_path / "x/5m/2024-01-02.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"ts_ms": [1], "price": [2.0]}), path)
    with pytest.raises(ArchiveError, match=r"other columns than ours \(ts_ms, price\)"):
        archive.read("x", "5m")


@pytest.mark.parametrize("exchange", ["", "..", "a/b", ".matrix", "a b"])
def test_an_exchange_is_no_path(tmp_path: Path, exchange: str) -> None:
    with pytest.raises(ArchiveError, match="cannot name an exchange"):
        Archive(tmp_path).folder(exchange, "5m")


@pytest.mark.parametrize("symbol", ["", "A,B", "A B", "A\n", "A" * 33])
def test_a_symbol_has_no_space_or_comma(tmp_path: Path, symbol: str) -> None:
    with pytest.raises(ArchiveError, match="cannot name a symbol"):
        Archive(tmp_path).write("x", "5m", as_table(symbol, columns(1)))
    assert names(tmp_path) == []


def test_an_unknown_timeframe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no timeframe '7m'"):
        Archive(tmp_path).read("x", "7m")


def test_two_writers_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "LOCK_TRIES", 2)
    monkeypatch.setattr(archive_module, "LOCK_PAUSE_S", 0.001)
    with (tmp_path / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ArchiveError, match="another process is writing"):
            Archive(tmp_path).write("x", "5m", as_table("A", columns(1)))
    assert Archive(tmp_path).write("x", "5m", as_table("A", columns(1))).added == 1
