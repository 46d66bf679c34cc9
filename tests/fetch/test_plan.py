"""What is asked: all that is lacking, nothing that is there, in pieces of a bounded size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from avwapd.store.coverage import Asked, Coverage, Stretch, joined, lacking, spans
from avwapd.verbs.fetch_plan import CHUNK_BARS, Chunk, planned

MINUTE, DAY = 60_000, 86_400_000
START = 19_723 * DAY  # 2024-01-01


def put(archive: Archive, symbol: str, closes: list[int]) -> None:
    ones = np.ones(len(closes))
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), ones)
    archive.write("x", "1m", as_table(symbol, {"ts_ms": np.array(closes, np.int64), **columns}))


# ---------------------------------------------------------------- stretches

stretches = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda at: (at[0], at[0] + at[1])))


@given(stretches, st.integers(0, 70), st.integers(0, 70))
def test_held_and_lacking_make_the_whole(held: list[Stretch], first: int, last: int) -> None:
    gaps = lacking(joined(held), first, last)
    there = {at for begin, end in held for at in range(begin, end + 1)}
    asked = [at for begin, end in gaps for at in range(begin, end + 1)]
    assert asked == [at for at in range(first, last + 1) if at not in there]


def test_a_span_ends_with_the_bar_that_closes_at_midnight() -> None:
    first, last = START + 1, START + 2 * DAY + MINUTE
    assert spans(first, last, "1m") == [
        ("2024-01-01", START + 1, START + DAY),
        ("2024-01-02", START + DAY + 1, START + 2 * DAY),
        ("2024-01-03", START + 2 * DAY + 1, last),
    ]
    assert [name for name, _, _ in spans(START, START + 1, "1h")] == ["2023-12", "2024-01"]
    assert [name for name, _, _ in spans(START, START + 1, "1d")] == ["2023", "2024"]


# ----------------------------------------------------------------- coverage


def test_what_was_asked_is_held_also_where_there_were_no_bars(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    put(archive, "A", [START + MINUTE, START + 5 * MINUTE])
    Coverage(archive, "x", "1m").add([Asked("A", START + 1, START + DAY + 10), Asked("B", START + 1, START + MINUTE)])
    held = Coverage(archive, "x", "1m").held(["A", "B", "C"], START - DAY, START + 2 * DAY)
    assert held == {"A": [(START + 1, START + DAY + 10)], "B": [(START + 1, START + MINUTE)], "C": []}


def test_a_file_that_is_gone_is_asked_again_and_others_are_not(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    put(archive, "A", [START + MINUTE, START + DAY + MINUTE])
    coverage = Coverage(archive, "x", "1m")
    coverage.add([Asked("A", START + 1, START + 2 * DAY)])
    (tmp_path / "x" / "1m" / "2024-01-01.parquet").unlink()
    assert coverage.held(["A"], START, START + 2 * DAY)["A"] == [(START + DAY + 1, START + 2 * DAY)]


def test_bars_that_came_otherwise_do_not_make_it_ask_again(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    put(archive, "A", [START + MINUTE])
    coverage = Coverage(archive, "x", "1m")
    coverage.add([Asked("A", START + 1, START + DAY)])
    put(archive, "A", [START + 2 * MINUTE])
    assert coverage.held(["A"], START + 1, START + DAY)["A"] == [(START + 1, START + DAY)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"A": 3}', b'{"A": [["x"]]}', b"\xff"])
def test_what_cannot_be_read_says_nothing_and_is_made_anew(tmp_path: Path, content: bytes) -> None:
    archive = Archive(tmp_path)
    put(archive, "A", [START + MINUTE])
    coverage = Coverage(archive, "x", "1m")
    coverage.add([Asked("A", START + 1, START + DAY)])
    (tmp_path / "x" / "1m" / ".2024-01-01.asked").write_bytes(content)
    assert coverage.held(["A"], START + 1, START + DAY)["A"] == []
    coverage.add([Asked("A", START + 1, START + DAY)])
    assert coverage.held(["A"], START + 1, START + DAY)["A"] == [(START + 1, START + DAY)]


def test_the_archive_does_not_see_the_notes(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    put(archive, "A", [START + MINUTE])
    Coverage(archive, "x", "1m").add([Asked("A", START + 1, START + DAY)])
    assert [held.bars for held in archive.holdings()] == [1]
    assert archive.damaged() == []
    assert len(archive.read("x", "1m")) == 1


# ---------------------------------------------------------------- the plan


def plan(held: dict[str, list[Stretch]], first: int, last: int, **options: int) -> list[Chunk]:
    return planned(held, dict.fromkeys(held, "24/7"), "1m", first, last, **options)


def test_nothing_lacking_asks_nothing() -> None:
    assert plan({"A": [(START - 5, START + DAY)]}, START + 1, START + DAY) == []


def test_a_short_gap_is_asked_alone() -> None:
    held = {"A": [(START + 1, START + 100), (START + 201, START + DAY)], "B": [(START + 1, START + DAY)]}
    [chunk] = plan(held, START + 1, START + DAY)
    assert (chunk.symbols, chunk.first_ms, chunk.last_ms) == (("A",), START + 101, START + 200)


@given(
    st.integers(1, 30),
    st.integers(1, 40 * DAY // MINUTE),
    st.integers(0, DAY // MINUTE),
    st.integers(10, 20_000),
)
def test_pieces_cover_all_once_and_are_bounded(symbols: int, minutes: int, begin: int, most: int) -> None:
    names = [f"S{i:03}" for i in range(symbols)]
    first = START + begin * MINUTE + 1
    last = first + minutes * MINUTE - 1
    chunks = plan({name: [] for name in names}, first, last, chunk_bars=most)
    for name in names:
        mine = [(c.first_ms, c.last_ms) for c in chunks if name in c.symbols]
        assert joined(mine) == [(first, last)]
        assert sum(b - a + 1 for a, b in mine) == last - first + 1
    assert [c.first_ms for c in chunks] == sorted(c.first_ms for c in chunks)
    for chunk in chunks:
        alone = len(chunk.symbols) == 1 and len(spans(chunk.first_ms, chunk.last_ms, "1m")) == 1
        assert chunk.bars <= most + 1 or alone


def test_three_thousand_symbols_of_a_year_are_a_sensible_number_of_questions() -> None:
    held: dict[str, list[Stretch]] = {f"S{i:04}": [] for i in range(3000)}
    calendars = dict.fromkeys(held, "XNYS")
    daily = planned(held, calendars, "1d", START + 1, START + 366 * DAY)
    minutes = planned(held, calendars, "1m", START + 1, START + 30 * DAY)
    assert len(daily) <= 3000 // 200 * 2
    assert len(minutes) <= 30 * -(-3000 // int(CHUNK_BARS / (1440 * 0.3)))
