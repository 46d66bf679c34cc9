"""The exchange: its answers, its memory, its file."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from avwapd.core import codes
from avwapd.venues.book import Exchange
from avwapd.venues.book_file import BookError
from avwapd.venues.port import VenueRefused
from tests.venues.kit import MINUTE, SHARE, bar, cancel, exchange, instruments, kinds, replace, submit


def test_market_order_works_from_the_next_bar(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.open_bar(MINUTE, bar(1, o=90.0))
    x.close_bar(MINUTE)
    x.take(submit("a"))
    assert [(w.kind, w.ts_ms) for w in x.words(0)] == [("acked", MINUTE)]
    x.open_bar(2 * MINUTE, bar(2, o=100.0))
    fill = x.words(1)[0]
    assert (fill.price_ticks, fill.last_qty, fill.final, fill.ts_ms, fill.exec_id) == (
        10_002,
        10,
        True,
        2 * MINUTE,
        "x2",
    )
    assert fill.fee_units == 100 + 100
    assert x.positions() == {"AAA": 10}
    x.close()


def test_order_born_inside_a_bar_acts_on_what_is_left_of_it(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.take(submit("in", qty=60))
    x.open_bar(MINUTE, bar(1, o=100.0, lo=97.0, volume=1_000))
    x.take(submit("stop", side=-1, type="stop", qty=60, stop=9_800))
    assert [(w.cid, w.kind, w.last_qty) for w in x.words(2)] == [("stop", "acked", 0), ("stop", "filled", 40)]
    x.close_bar(MINUTE)
    x.take(submit("late", side=-1, qty=1))
    assert kinds(x.words(4)) == ["acked"]
    x.close()


def test_first_order_of_a_bar_that_met_an_empty_book_has_that_bars_volume(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.open_bar(MINUTE, bar(1, volume=1_000))
    x.take(submit("a", qty=500))
    assert x.words(0)[1].last_qty == 100
    x.take(submit("b", qty=1))
    assert kinds(x.words(2)) == ["acked"], "the bar has nothing left"
    x.close()


@pytest.mark.parametrize("flag", [codes.BAR_OUTSIDE, codes.BAR_MISSING])
def test_bars_without_a_market_fill_nothing(tmp_path: Path, flag: int) -> None:
    x = exchange(tmp_path)
    x.take(submit("a"))
    x.open_bar(MINUTE, bar(1, flags=flag))
    x.take(submit("b"))
    assert kinds(x.words(0)) == ["acked", "acked"]
    assert {w.ts_ms for w in x.words(0)} == {0}
    x.close()


def test_both_market_words_may_be_said_twice(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.take(submit("a", qty=150))
    for _ in range(2):
        x.open_bar(MINUTE, bar(1))
    assert kinds(x.words(0)) == ["acked", "filled"]
    x.close_bar(MINUTE)
    x.close_bar(MINUTE)
    x.open_bar(MINUTE, bar(1))
    x.close_bar(99 * MINUTE)  # never opened
    assert (x.opened_ms, x.closed_ms, x.last_word) == (MINUTE, MINUTE, 2)
    x.close()


def test_replace_takes_over_and_the_old_order_is_over(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.take(submit("s1", side=-1, type="stop", stop=9_000))
    x.take(replace("s2", "s1", stop=9_500))
    word = x.words(1)[0]
    assert (word.kind, word.cid, word.ref_cid, word.venue_id) == ("replaced", "s2", "s1", "v2")
    old, new = x.look_up("s1"), x.look_up("s2")
    assert old is not None
    assert new is not None
    assert (old.state, new.state, new.stop_ticks) == ("replaced", "live", 9_500)
    x.take(replace("s3", "s1", stop=9_600))
    assert kinds(x.words(2)) == ["rejected"]
    x.close()


def test_cancel_of_what_is_not_live_is_refused_in_the_log(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.take(submit("a", type="limit", limit=9_000))
    x.take(cancel("k1", "a"))
    x.take(cancel("k2", "a"))
    x.take(cancel("k3", "nobody"))
    assert [(w.kind, w.cid, w.venue_id) for w in x.words(0)] == [
        ("acked", "a", "v1"),
        ("canceled", "a", "v1"),
        ("cancel_refused", "a", "v1"),
        ("cancel_refused", "nobody", ""),
    ]
    assert x.look_up("nobody") is None
    assert x.look_up("k1") is None
    x.close()


def test_a_known_id_is_refused_even_after_its_end(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.take(submit("a"))
    x.open_bar(MINUTE, bar(1))
    with pytest.raises(VenueRefused) as refusal:
        x.take(submit("a"))
    assert refusal.value.duplicate
    assert len(x.orders_rows()) == 1
    x.close()


def test_a_venue_that_does_not_check_makes_a_second_order(tmp_path: Path) -> None:
    x = exchange(tmp_path, refuses_duplicates=False)
    x.take(submit("a"))
    x.take(submit("a"))
    assert [(w.cid, w.venue_id) for w in x.words(0)] == [("a", "v1"), ("a", "v2")]
    x.open_bar(MINUTE, bar(1))
    assert x.positions() == {"AAA": 20}, "the danger: twice the position"
    x.close()


@pytest.mark.parametrize(
    "wrong",
    [
        submit("a", "ZZZ"),
        submit("a", qty=0),
        submit("a", qty=1 << 60),
        submit("a", side=0),
        submit("a", type="limit"),
        submit("a", type="limit", limit=-5),
        submit("a", type="stop", limit=5),
        submit("a", type="iceberg"),
        submit(""),
        submit("a" * 49),
        cancel("k", ""),
    ],
)
def test_what_is_no_order_is_refused_without_a_trace(tmp_path: Path, wrong: object) -> None:
    x = exchange(tmp_path)
    with pytest.raises(VenueRefused) as refusal:
        x.take(wrong)  # type: ignore[arg-type]
    assert not refusal.value.duplicate
    assert (x.orders_rows(), x.last_word) == ([], 0)
    x.close()


def test_bars_of_another_market_are_an_error(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    for wrong in (bar(2), bar(1, symbol=3), bar(1, symbol=-1)):
        with pytest.raises(ValueError, match="not all of"):
            x.open_bar(MINUTE, wrong)
    x.close()


def test_posts_are_counted_on_across_lives(tmp_path: Path) -> None:
    for life in range(2):
        x = exchange(tmp_path, posts=tmp_path / "posts.jsonl")
        x.take(submit(f"a{life}"))
        with pytest.raises(VenueRefused):
            x.take(submit(f"a{life}"))
        x.close()
    posts = [json.loads(line) for line in (tmp_path / "posts.jsonl").read_text().splitlines()]
    assert [(post["number"], post["cid"]) for post in posts] == [(1, "a0"), (2, "a0"), (3, "a1"), (4, "a1")]


def pulled_plug(tmp_path: Path) -> Path:
    """What the disk holds while the exchange still runs: the files as a killed process leaves them."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("venue.db", "venue.db-wal"):
        shutil.copy(tmp_path / name, copy / name)
    return copy


def test_a_killed_exchange_still_acts_on_the_running_bar(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.take(submit("in", qty=30))
    x.open_bar(MINUTE, np.concatenate([bar(1, 0), bar(1, 1, o=50.0)]))
    y = exchange(pulled_plug(tmp_path))
    for each in (x, y):
        each.take(submit("stop", side=-1, type="stop", qty=90, stop=20_000))
        each.take(submit("b", "BBB"))
        each.open_bar(MINUTE, bar(1))
        each.close_bar(MINUTE)
    assert x.words(0) == y.words(0)
    assert [w.last_qty for w in y.words(0)] == [0, 30, 0, 70, 0, 10]
    x.close()
    y.close()


def test_a_bar_without_orders_is_told_again_after_a_kill(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.open_bar(MINUTE, bar(1))
    x.close_bar(MINUTE)
    copy = pulled_plug(tmp_path)
    x.close()
    y = exchange(copy)
    assert y.opened_ms == 0
    y.open_bar(MINUTE, bar(1))
    y.close_bar(MINUTE)
    y.take(submit("a"))
    assert y.words(0)[0].ts_ms == MINUTE
    y.close()
    eager = exchange(copy, eager=True)
    eager.open_bar(2 * MINUTE, bar(2, 1))
    eager.close()
    assert exchange_opened(copy) == 2 * MINUTE


def exchange_opened(folder: Path) -> int:
    x = exchange(folder)
    x.close()
    return x.opened_ms


def test_another_list_of_symbols_finds_its_books(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.take(submit("a", "AAA", type="limit", limit=5_000))
    x.take(submit("c", "CCC", qty=30))
    x.open_bar(MINUTE, np.concatenate([bar(1, 1), bar(1, 2, volume=500)]))
    x.close()
    y = Exchange(tmp_path / "venue.db", instruments(2), ("CCC", "AAA"), volume_share=SHARE)
    y.take(submit("c2", "CCC", qty=30))
    assert [(w.cid, w.last_qty, w.ts_ms) for w in y.words(3)] == [("c2", 0, MINUTE), ("c2", 20, MINUTE)]
    y.close_bar(MINUTE)
    y.open_bar(2 * MINUTE, np.concatenate([bar(2, 0), bar(2, 1)]))
    assert y.positions() == {"CCC": 60}
    y.take(cancel("k", "a"))
    assert [(w.kind, w.cid) for w in y.words(6)] == [("canceled", "a")]
    y.close()


def test_a_failed_commit_leaves_memory_as_the_file_is(tmp_path: Path) -> None:
    x = exchange(tmp_path)
    x.take(submit("a", qty=150))
    other = sqlite3.connect(tmp_path / "venue.db", isolation_level=None)
    other.execute("CREATE TRIGGER deaf BEFORE INSERT ON words BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(sqlite3.Error):
        x.open_bar(MINUTE, bar(1))
    with pytest.raises(sqlite3.Error):
        x.take(submit("b"))
    other.execute("DROP TRIGGER deaf")
    other.close()
    x.open_bar(MINUTE, bar(1))
    x.take(submit("c"))
    assert [(w.number, w.cid, w.venue_id) for w in x.words(0)] == [(1, "a", "v1"), (2, "a", "v1"), (3, "c", "v2")]
    assert x.look_up("b") is None
    x.close()


@pytest.mark.parametrize("content", [b"not a database, surely not one" * 40, None])
def test_a_file_that_is_no_book_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "venue.db"
    if content is not None:
        path.write_bytes(content)
    else:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE t (x)")
        other.close()
    with pytest.raises(BookError):
        exchange(tmp_path)
