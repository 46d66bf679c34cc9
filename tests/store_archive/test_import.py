"""Files from the world: what is good goes in, what is bad is told with what, where and the next step."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd.feeds.check import VALUES, check_bar
from avwapd.store.archive import Archive, ArchiveError
from avwapd.store.instruments import Instruments
from avwapd.verbs.bars_import import CONFLICT, import_file
from tests.store_archive.bars import NOW, START, STEP, columns, put, snapshot, write

DAY = 86_400_000


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".csv"])
def test_every_kind_of_file_goes_in_bit_for_bit(archive: Archive, tmp_path: Path, suffix: str) -> None:
    given = columns(10, price=0.1 + 0.2)
    outcome = put(archive, write(tmp_path / f"a{suffix}", given))
    assert (outcome.added, outcome.unchanged, outcome.refused) == (10, 0, [])
    stored = archive.read("us", "5m", ["SPY"])
    for name, column in given.items():
        np.testing.assert_array_equal(stored[name].to_numpy(), column)
    assert put(archive, tmp_path / f"a{suffix}").unchanged == 10


def at(name: str, value: float) -> Callable[[dict[str, Any]], None]:
    def change(given: dict[str, Any]) -> None:
        given[name][4] = value

    return change


def swap(given: dict[str, Any]) -> None:
    for column in given.values():
        column[[3, 4]] = column[[4, 3]]


def repeat(given: dict[str, Any]) -> None:
    for column in given.values():
        column[4] = column[3]


def repeat_otherwise(given: dict[str, Any]) -> None:
    repeat(given)
    given["volume"][4] += 1


def invert(given: dict[str, Any]) -> None:
    given["high"][4], given["low"][4] = given["low"][4], given["high"][4]


BAD_ROWS = {
    "nan": (at("close", math.nan), "not_finite"),
    "infinite": (at("volume", math.inf), "not_finite"),
    "zero": (at("low", 0.0), "not_positive"),
    "negative": (at("open", -5.0), "not_positive"),
    "high_below_low": (invert, "high_below_low"),
    "outside": (at("close", 500.0), "outside_range"),
    "negative_volume": (at("volume", -1.0), "negative_volume"),
    "too_dear": (at("high", 1e300), "too_large"),
    "too_many": (at("volume", 2e18), "too_large"),
    "microseconds": (at("ts_ms", START * 1000), "microseconds"),
    "nanoseconds": (at("ts_ms", START * 1_000_000), "nanoseconds"),
    "off_boundary": (at("ts_ms", START + 4 * STEP + 1000), "off_boundary"),
    "seconds": (at("ts_ms", START // 1000), "implausible_time"),
    "future": (at("ts_ms", NOW // STEP * STEP + STEP), "from_future"),
    "out_of_order": (swap, "out_of_order"),
    "duplicate_same": (repeat, "duplicate_same"),
    "duplicate_different": (repeat_otherwise, "duplicate_different"),
}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_named_and_the_rest_goes_in(archive: Archive, tmp_path: Path, kind: str, suffix: str) -> None:
    change, reason = BAD_ROWS[kind]
    given = columns(8)
    change(given)
    path = write(tmp_path / f"bad{suffix}", given)
    strict = put(archive, path, strict=True)
    assert (strict.added, strict.reasons) == (0, {reason: 1})
    assert snapshot(archive.root) == {}
    outcome = put(archive, path)
    assert [(row, why) for row, _, why in outcome.refused] == [(4, reason)]
    assert outcome.refused[0][1] == given["ts_ms"][4]
    assert outcome.reasons == {reason: 1}
    if reason in ("too_large", "microseconds", "nanoseconds"):  # a live bar meets the same rule
        values: Any = tuple(float(given[name][4]) for name in VALUES)
        assert check_bar(int(given["ts_ms"][4]), values, timeframe_ms=STEP) == reason
    assert (outcome.added, outcome.rows) == (7, 8)
    assert len(archive.read("us", "5m")) == 7


def test_a_word_where_a_number_belongs_is_a_bad_row(archive: Archive, tmp_path: Path) -> None:
    given = columns(3) | {"close": ["100.0", "n/a", ""]}
    given["open"] = given["close"]
    outcome = put(archive, write(tmp_path / "a.csv", given))
    assert outcome.reasons == {"not_finite": 2}
    assert outcome.added == 1


def test_a_bar_that_differs_from_the_archive_is_refused_and_strict_keeps_all_out(
    archive: Archive, tmp_path: Path
) -> None:
    put(archive, write(tmp_path / "a.parquet", columns(4)))
    before = snapshot(archive.root)
    later = columns(8)
    later["volume"][2] = 7.0
    path = write(tmp_path / "b.parquet", later)
    strict = put(archive, path, strict=True)
    assert (strict.added, strict.reasons) == (0, {CONFLICT: 1})
    assert snapshot(archive.root) == before
    outcome = put(archive, path)
    assert outcome.refused == [(2, START + 2 * STEP, CONFLICT)]
    assert (outcome.added, outcome.unchanged) == (4, 3)


def make(path: Path, kind: str) -> Path:
    good = write(path.with_name("good.parquet"), columns(400)).read_bytes()
    content = {
        "empty.parquet": b"",
        "empty.csv": b"",
        "half.parquet": good[: len(good) // 2],
        "half.feather": write(path.with_name("good.feather"), columns(400)).read_bytes()[:999],
        "noise.csv": bytes(range(256)) * 4,
        "parquet.csv": good,
        "csv.parquet": b"ts_ms,open,high,low,close,volume\n1,2,3,4,5,6\n",
        "columns.csv": b"time,open,high,low,close\n1,2,3,4,5\n",
        "no_volume.csv": b"ts_ms,open,high,low,close\n1,2,3,4,5\n",
        "no_rows.csv": b"ts_ms,open,high,low,close,volume\n",
        "no_time.csv": b"ts_ms,open,high,low,close,volume\n,2,3,4,5,6\n1,2,3,4,5,6\n",
        "odd_time.csv": b"ts_ms,open,high,low,close,volume\nsoon,2,3,4,5,6\n",
        "start.csv": b"timestamp,open,high,low,close,volume\n2024-01-02T15:00:00Z,2,3,1,2,6\n",
        "bars.xlsx": b"PK",
    }[kind]
    target = path.with_name(kind)
    target.write_bytes(content)
    return target


BAD_FILES = {
    "empty.parquet": "empty",
    "empty.csv": "empty",
    "half.parquet": "damaged",
    "half.feather": "damaged",
    "noise.csv": "damaged|wrong columns",
    "parquet.csv": "damaged|wrong columns",
    "csv.parquet": "damaged",
    "columns.csv": "wrong columns: no ts_ms, volume",
    "no_volume.csv": "wrong columns: no volume",
    "no_rows.csv": "no rows",
    "no_time.csv": "row 0 has no time",
    "odd_time.csv": "time column cannot be read",
    "start.csv": "start or its close",
    "bars.xlsx": "no kind of bar file",
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_told_with_what_where_and_next_step(archive: Archive, tmp_path: Path, kind: str) -> None:
    path = make(tmp_path / "x", kind)
    with pytest.raises(ArchiveError, match=BAD_FILES[kind]) as caught:
        put(archive, path)
    assert caught.value.where == str(path)
    assert len(caught.value.next_step) > 10
    assert "\n" not in str(caught.value)
    assert not archive.root.exists()


@pytest.mark.parametrize("bad_sign", ["A B", "A,B", "", "../../x", "..", "/x", "a\\b", "A/", ".A", "a\x00"])
def test_a_bad_symbol_is_refused_before_anything_is_written(archive: Archive, tmp_path: Path, bad_sign: str) -> None:
    path = write(tmp_path / "a.parquet", columns(2) | {"symbol": ["A", bad_sign]})
    with pytest.raises(ArchiveError, match="cannot name a symbol"):
        put(archive, path, symbol=None)
    assert not archive.root.exists()


@pytest.mark.parametrize(("given", "said"), [(60_000, "2m"), (STEP, "1h"), (7_200_000, "1h"), (420_000, "1m")])
def test_bars_of_another_timeframe_are_refused_whole(archive: Archive, tmp_path: Path, given: int, said: str) -> None:
    path = write(tmp_path / "a.parquet", columns(60, start=1_704_207_600_000, step=given))
    with pytest.raises(ArchiveError, match=f"apart .*, not {said}; nothing was imported"):
        put(archive, path, timeframe=said)
    assert not archive.root.exists()


def test_gaps_and_short_files_have_their_timeframe(archive: Archive, tmp_path: Path) -> None:
    gappy = {name: np.delete(column, range(1, 40, 4)) for name, column in columns(60).items()}
    assert put(archive, write(tmp_path / "a.parquet", gappy)).added == 50
    short = columns(19, step=2 * STEP)
    assert put(archive, write(tmp_path / "b.parquet", short), symbol="IBM").added == 19


def test_a_time_without_a_zone_is_refused_in_text(archive: Archive, tmp_path: Path) -> None:
    given = columns(1)
    del given["ts_ms"]
    path = write(tmp_path / "a.csv", {"timestamp": ["2024-01-02 14:45:00"], **given})
    with pytest.raises(ArchiveError, match=r"has no zone.*ISO 8601 with a zone"):
        put(archive, path, stamp="start")


def test_a_missing_file_and_a_missing_name(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no such file"):
        put(archive, tmp_path / "none.csv")
    with pytest.raises(ArchiveError, match="add --symbol"):
        put(archive, write(tmp_path / "a.csv", columns(2)), symbol=None)


def test_one_file_may_hold_many_symbols_and_strict_means_all_of_them(archive: Archive, tmp_path: Path) -> None:
    given = columns(6) | {"symbol": ["A", "B"] * 3}
    given["close"][5] = math.nan
    path = write(tmp_path / "a.csv", given)
    with pytest.raises(ArchiveError, match="names A, B, not C"):
        put(archive, path, symbol="C")
    options: dict[str, Any] = {"exchange": "us", "timeframe": "5m", "now_ms": NOW}
    assert [o.added for o in import_file(archive, path, strict=True, **options)] == [0, 0]
    assert not archive.holdings()
    both = import_file(archive, path, **options)
    assert [(o.symbol, o.added, o.reasons) for o in both] == [("A", 3, {}), ("B", 2, {"not_finite": 1})]
    assert both[1].refused[0][0] == 5  # the row of the file, not of the symbol
    assert len(archive.files("us", "5m")) == 1


STARTS = {
    "ms": START - STEP,
    "seconds": (START - STEP) // 1000,
    "nanoseconds": (START - STEP) * 1_000_000,
    "iso": "2024-01-02T14:45:00Z",
    "offset": "2024-01-02T09:45:00-05:00",
}


@pytest.mark.parametrize("kind", STARTS)
def test_start_stamps_become_closes(archive: Archive, tmp_path: Path, kind: str) -> None:
    given = columns(1)
    del given["ts_ms"]
    path = write(tmp_path / "a.csv", {"timestamp": [STARTS[kind]], **given})
    assert put(archive, path, stamp="start").added == 1
    assert archive.read("us", "5m")["ts_ms"].to_pylist() == [START]


@pytest.mark.parametrize(
    "text", ["2015-11-27", "2015-11-27T00:00:00-05:00", "2015-11-27T05:00:00Z", "2015-11-27T14:30:00Z"]
)
def test_a_daily_start_becomes_four_in_new_york_of_its_date(archive: Archive, tmp_path: Path, text: str) -> None:
    given = columns(1)
    del given["ts_ms"]
    path = write(tmp_path / "a.csv", {"timestamp": [text], **given})
    assert put(archive, path, stamp="start", timeframe="1d").added == 1
    assert archive.read("us", "1d")["ts_ms"].to_pylist() == [1_448_658_000_000]


def test_a_daily_bar_on_a_holiday_is_refused_and_crypto_ends_at_midnight(archive: Archive, tmp_path: Path) -> None:
    given = columns(1)
    del given["ts_ms"]
    path = write(tmp_path / "a.csv", {"timestamp": ["2015-11-26"], **given})
    assert put(archive, path, stamp="start", timeframe="1d").reasons == {"off_boundary": 1}
    assert put(archive, path, stamp="start", timeframe="1d", exchange="kraken", symbol="BTC-EUR").added == 1
    assert archive.read("kraken", "1d")["ts_ms"].to_pylist() == [1_448_582_400_000]
    assert Instruments(archive.root).load()["kraken", "BTC-EUR"].calendar == "24/7"
