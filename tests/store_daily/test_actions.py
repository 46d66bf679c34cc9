"""Factor files become events; events are kept whole, once, and never contradicted in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from avwapd.store.action_file import clean, read_actions
from avwapd.store.actions import Actions, ActionsError, Event, Given, events_of, merge, table_of
from tests.store_daily.days import REAL, calendar

DATES = calendar()[1]
HEAD = "date,price_factor,split_factor,reference_price\n"


def factors(path: Path, *rows: str) -> Path:
    path.write_text(HEAD + "\n".join(rows))
    return path


def given(path: Path, *events: Event, whole: bool = True) -> Given:
    return Given(path, events, whole, tuple(sorted({e.symbol for e in events})), 20000101, 20301231)


@pytest.mark.parametrize(
    ("published", "exact"),
    [
        (0.0357143 / 0.25, 1 / 7),
        (0.00892857 / 0.0178571, 1 / 2),
        (0.0178571 / 0.0357143, 1 / 2),
        (7.11111022 / 10.6667, 2 / 3),
        (10.6667 / 13.3333, 4 / 5),
        (0.666667, 2 / 3),
        (1.4999995, 3 / 2),
        (10.00002, 10.0),
        (1 / 100.0002, 1 / 100),
        (20.0, 20.0),
        (1.000002, 1.0),
    ],
)
def test_what_rounding_blurred_is_the_quotient_again(published: float, exact: float) -> None:
    assert clean(published) == exact


@pytest.mark.parametrize("ratio", [0.997307, 0.1428, 1.0003, 0.5001])
def test_other_ratios_stay_as_they_are(ratio: float) -> None:
    assert clean(ratio) == ratio


def test_factors_become_events_at_the_next_session(tmp_path: Path) -> None:
    path = factors(
        tmp_path / "ABC.csv",
        "20140102,0.9,0.0714286,1",  # nothing changes at the first bar
        "20140522,0.9,0.0714286,10",
        "20140606,0.95,0.0714286,20",  # a Friday
        "20140703,0.95,0.5,30",  # before a holiday and a weekend
        "2015-01-02,1,0.5,30",
        "20501231,1,1,0",
    )
    found = read_actions(path, DATES)
    assert [(e.symbol, e.ex_date) for e in found.events] == [
        ("ABC", 20140523), ("ABC", 20140609), ("ABC", 20140707), ("ABC", 20150105),
    ]  # fmt: skip
    dividend, split, other, last = found.events
    assert (dividend.price_ratio, dividend.split_ratio) == (0.9 / 0.95, 1.0)
    assert (split.price_ratio, split.split_ratio) == (1 / 7, 1 / 7)
    assert (other.price_ratio, other.split_ratio) == (0.95, 1.0)
    assert (last.price_ratio, last.split_ratio) == (0.5, 0.5)
    assert found.whole
    assert read_actions(path, DATES, "XYZ").symbols == ("XYZ",)


def test_a_split_and_a_dividend_on_one_day_and_dates_without_a_session_between(tmp_path: Path) -> None:
    rows = ("20140606,0.9,0.25,1", "20140607,0.95,0.5,1", "20501231,1,1,0")
    (event,) = read_actions(factors(tmp_path / "A.csv", *rows), DATES).events
    assert event.ex_date == 20140609
    assert event.split_ratio == 0.25
    assert event.price_ratio == pytest.approx(0.9 * 0.25, rel=1e-12)
    old = ("19600101,0.9,1,1", "20501231,1,1,0")
    found = read_actions(factors(tmp_path / "B.csv", *old), DATES)
    assert (found.events, found.ignored) == ((), 1)


def test_a_list_of_events(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(
        b"\xef\xbb\xbfSymbol,ex_date,price_ratio,split_ratio\r\nB,2020-08-31,0.25,0.25\r\nA,20140609,0.99,1\r\n"
    )
    found = read_actions(path, DATES)
    assert found.events == (Event("A", 20140609, 0.99, 1.0), Event("B", 20200831, 0.25, 0.25))
    assert not found.whole
    with pytest.raises(ActionsError, match="line 2: the symbol is B, not A"):
        read_actions(path, DATES, "A")


GOOD = HEAD + "20140606,0.9,0.5,1\n20501231,1,1,0\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: the file is empty"),
        (b" \n\n", "line 1: the file is empty"),
        (HEAD.encode(), "line 1: the file holds no rows"),
        (GOOD.replace(",", ";").encode(), "line 1: no commas between the columns"),
        (GOOD.replace(",", ";").replace(".", ",").encode(), "line 1: no commas between the columns"),
        (GOOD.encode("utf-16"), "line 1: the file is UTF-16, not UTF-8"),
        (GOOD.encode("utf-16-le"), "line 1: the file is no text, or UTF-16, not UTF-8"),
        (GOOD.replace("0.5,1", "0.5,£").encode("latin-1"), "line 2: the byte 0xa3 is not UTF-8"),
        (b"open,high\n1,2\n", "line 1: wrong columns: no date, price_factor, split_factor among open, high"),
        (GOOD.replace("0.9", '"1,000.9"').encode(), "line 2: price_factor '1,000.9' is no number"),
        (GOOD.replace("0.9", "nan").encode(), "line 2: price_factor nan is not positive and finite"),
        (GOOD.replace("0.9", "-1").encode(), "line 2: price_factor -1 is not positive"),
        (GOOD.replace("0.9", "1_0").encode(), "line 2: price_factor '1_0' is no number"),
        (GOOD.replace("0.5", "0").encode(), "line 2: split_factor 0 is not positive"),
        (GOOD.replace("0.9", "1e-9").encode(), "line 2: the price ratio 5e-10 lies outside"),
        (GOOD.replace("20140606", "20140631").encode(), "line 2: '20140631' is no date"),
        (GOOD.replace("20140606", "06/06/2014").encode(), "line 2: '06/06/2014' is no date"),
        (GOOD.replace("20140606", "20501231").encode(), "line 3: the date 20501231 does not come after 20501231"),
        (GOOD.replace("20140606", "20491231").encode(), "line 2: the factors change behind 20491231"),
        (GOOD.replace("20501231,1,1,0\n", "").encode(), "line 2: the last row's factors are not 1 and 1"),
        (GOOD.replace("20501231,1,1,0\n", "20501231,1").encode(), "line 3: 2 cells, but 4 columns"),
        (GOOD.replace("0.9", '"0.9').encode(), "no CSV"),
        (GOOD.replace("0.9", "x").replace("20501231,1", "20501231,y").encode(), "and 1 more bad lines; nothing"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_by_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "A.csv"
    path.write_bytes(content)
    with pytest.raises(ActionsError) as caught:
        read_actions(path, DATES)
    assert words in caught.value.what
    assert caught.value.where == str(path)
    assert caught.value.next_step
    assert caught.value.lines


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("A,2014-06-08,0.5,0.5", "2014-06-08 is no session"),
        (",2014-06-09,0.5,0.5", "no symbol"),
        ("A,2014-06-09,inf,0.5", "price_ratio inf is not positive and finite"),
        ("A,2014-06-10,0.5,1e7", "the split ratio 1e+07 lies outside"),
        ("Z,2014-06-09,0.5,0.5", "Z has a row of 2014-06-09 already"),
    ],
)
def test_a_bad_event_is_refused_by_line(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text(f"symbol,ex_date,price_ratio,split_ratio\nZ,2014-06-09,0.5,0.5\n{row}\n")
    with pytest.raises(ActionsError) as caught:
        read_actions(path, DATES)
    assert caught.value.what.startswith("line 3: ")
    assert words in caught.value.what


def test_events_are_added_once_and_contradictions_keep_all_out(tmp_path: Path) -> None:
    one, two, new = Event("A", 20140609, 0.5, 0.5), Event("A", 20150105, 0.99, 1.0), Event("A", 20160104, 0.98, 1.0)
    table = table_of([one])
    assert merge(table, given(tmp_path, one, two)).added == 1
    assert merge(table, given(tmp_path, one, two)).unchanged == 2
    rounded = two._replace(price_ratio=0.99 * (1 + 5e-6))
    assert merge(table, given(tmp_path, one, rounded)).unchanged == 2
    other = two._replace(price_ratio=0.97)
    done = merge(table, given(tmp_path, one, other, new))
    assert done.conflicts == [(two, other)]
    assert events_of(table) == [one, two]
    done = merge(table, given(tmp_path, one, other, new), replace=True)
    assert (done.added, done.replaced, done.unchanged) == (1, 1, 1)
    assert events_of(table) == [one, other, new]


def test_an_event_that_a_whole_history_does_not_have_is_told_or_removed(tmp_path: Path) -> None:
    one, two, elsewhere = (
        Event("A", 20140609, 0.5, 0.5),
        Event("A", 20150105, 0.99, 1.0),
        Event("B", 20150105, 0.9, 1.0),
    )
    late = Event("A", 20351231, 0.9, 1.0)
    table = table_of([one, two, elsewhere, late])
    assert merge(table, given(tmp_path, one, whole=False)).missing == []
    assert merge(table, given(tmp_path, one)).missing == [two]
    assert events_of(table) == [one, two, late, elsewhere]
    assert merge(table, given(tmp_path, one), replace=True).removed == [two]
    assert events_of(table) == [one, late, elsewhere]


def test_what_is_saved_is_loaded_with_its_bits(tmp_path: Path) -> None:
    actions = Actions(tmp_path, "us")
    assert actions.load() == []
    events = [
        Event("A", 20140609, 1 / 7, 1 / 7),
        Event("BRK.B", 20150105, 0.1 + 0.2, 1.0),
        Event("É", 20150105, 2.0, 2.0),
    ]
    actions.save(events)
    assert actions.load() == events
    assert [path.name for path in (tmp_path / "us").iterdir()] == ["actions.csv"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("symbol,", "sym,", "first line"),
        ("0.5\n", "x\n", "line 2"),
        ("0.5,0.5\n", "0.5\n", "line 2"),
        ("0.5,0.5\n", "0.5,-1\n", "line 2: the split ratio -1"),
        ("A,2014", "C,2014", "out of order at B 20150105"),
        ("A,2014", ",2014", "no symbol"),
    ],
)
def test_a_table_that_was_touched_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    actions = Actions(tmp_path, "us")
    actions.save([Event("A", 20140609, 0.5, 0.5), Event("B", 20150105, 0.9, 1.0)])
    actions.path.write_text(actions.path.read_text().replace(old, new, 1))
    with pytest.raises(ActionsError, match=words) as caught:
        actions.load()
    assert caught.value.where == str(actions.path)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real factors in ../shared/data")
def test_every_real_factor_file() -> None:
    splits: dict[tuple[str, int], float] = {}
    paths = sorted((REAL / "factors" / "us").glob("*.csv"))
    assert len(paths) > 10
    for path in paths:
        found = read_actions(path, DATES)
        assert (found.symbols, found.ignored) == ((path.stem,), 0)
        splits |= {(e.symbol, e.ex_date): e.split_ratio for e in found.events if e.split_ratio != 1}
        for event in found.events:
            assert 0 < event.price_ratio / event.split_ratio <= 1.0  # a dividend never raises
    assert splits["AAPL", 20000621] == splits["AAPL", 20050228] == 1 / 2
    assert splits["AAPL", 20140609] == 1 / 7
    assert splits["AAPL", 20200831] == 1 / 4
    assert splits["AIG", 19990802] == 4 / 5
    assert splits["AIG", 20090701] == 20
    assert splits["EEM", 20050609] == splits["EEM", 20080724] == 1 / 3
    assert splits["GOOG", 20150427] == 0.997307
