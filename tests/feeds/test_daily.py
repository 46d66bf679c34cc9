"""Daily bars for the scan: what the archive holds, symbol after symbol, adjusted as known on a day."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avwapd.core.daily import Days
from avwapd.feeds import FeedError
from avwapd.feeds.calendar import calendar_version
from avwapd.feeds.daily import DailyMarket, DailyRequest, load_daily
from avwapd.store import daily
from avwapd.store.archive_file import as_table
from avwapd.store.instruments import Instruments, inferred
from tests.store_daily.days import REAL, Columns, actions, at, calendar, fill, seen_on, split_at, walk
from tests.tidy.rules import ROOT


def here(root: Path, exchange: str = "us") -> DailyMarket:
    """The same as a child would make, in this process, for speed."""
    request = DailyRequest(root, exchange)
    daily.main(request.command()[3:])
    market = request.load()
    assert market is not None
    return market


def raw(days: Days, symbol: int) -> Columns:
    rows = slice(days.offsets[symbol], days.offsets[symbol + 1])
    names = ("open", "high", "low", "close", "volume")
    return {"ts_ms": calendar()[0][days.session[rows]], **{name: getattr(days, name)[rows] for name in names}}


def test_a_child_makes_it_and_every_bar_is_there_with_its_bits(tmp_path: Path) -> None:
    given_bars = {"SPY": walk(20110103, 600, 1), "BRK.B": walk(20120601, 3, 2), "Ä-1": walk(20131230, 4, 3)}
    market = load_daily(fill(tmp_path, given_bars).root, "us")
    assert (market.exchange, market.symbols, market.problems) == ("us", ("BRK.B", "SPY", "Ä-1"), ())
    assert market.calendar_version == calendar_version()
    for index, symbol in enumerate(market.symbols):
        held = raw(market.days, index)
        for name, column in given_bars[symbol].items():
            np.testing.assert_array_equal(held[name], column)
    types = {name: column.dtype.str for name, column in market.days._asdict().items()}
    assert (types.pop("offsets"), types.pop("session"), set(types.values())) == ("<i8", "<i4", {"<f8"})
    assert not any(column.flags.writeable for column in market.days)
    assert not any(isinstance(column, np.memmap) for column in market.days)
    assert (market.days.price_ratio == 1.0).all()
    assert (market.sessions["date"][market.days.session[:3]] == [20120601, 20120604, 20120605]).all()


def test_the_same_bars_have_the_same_hash_in_whatever_order_they_came(tmp_path: Path) -> None:
    bars = {symbol: walk(20111101, 80, seed) for seed, symbol in enumerate(("C", "A", "B"))}
    one = here(fill(tmp_path / "one", bars).root)
    two = here(fill(tmp_path / "two", dict(sorted(bars.items()))).root)
    assert one.data_hash == two.data_hash
    bars["A"]["close"][40] = np.nextafter(bars["A"]["close"][40], 1e9)
    assert here(fill(tmp_path / "three", bars).root).data_hash != one.data_hash
    renamed = {{"A": "AA"}.get(name, name): columns for name, columns in bars.items()}
    assert here(fill(tmp_path / "four", renamed).root).data_hash != one.data_hash


def test_it_is_made_anew_when_the_archive_has_changed(tmp_path: Path) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 80, 1)}).root
    first = load_daily(root, "us")
    made = (root / ".daily/us/days.bin").stat().st_ino
    assert load_daily(root, "us").data_hash == first.data_hash
    assert (root / ".daily/us/days.bin").stat().st_ino == made
    actions(root, ("A", "2012-01-05", 0.5, 0.5))
    split = load_daily(root, "us")
    assert np.flatnonzero(split.days.split_ratio != 1.0).tolist() == [at(20120105) - at(20111101)]
    assert split.data_hash != first.data_hash
    fill(tmp_path, {"A": walk(20120301, 5, 2)})
    assert len(load_daily(root, "us").days.session) == 85
    assert len(first.days.session) == 80
    assert (first.days.split_ratio == 1.0).all()  # whoever has the old one mapped keeps it


def test_only_the_year_that_has_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 300, 1), "B": walk(20120301, 300, 2)}).root
    before = here(root)
    read: list[str] = []
    monkeypatch.setattr(daily, "load", lambda path, load=daily.load: (read.append(path.name), load(path))[1])
    fill(tmp_path, {"C": walk(20130603, 10, 3)})
    after = here(root)
    assert read == ["2013.parquet"]
    assert after.symbols == ("A", "B", "C")
    for index in (0, 1):
        for name, column in raw(before.days, index).items():
            np.testing.assert_array_equal(raw(after.days, index)[name], column)
    assert len(list((root / ".daily/us/pieces").glob("*.npz"))) == 3
    (root / "us/1d/2011.parquet").unlink()
    here(root)
    assert len(list((root / ".daily/us/pieces").glob("*.npz"))) == 2


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.9, 0.999, 1.0])
def test_a_damaged_file_is_seen_and_made_anew(tmp_path: Path, place: float) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 300, 1)}).root
    good = here(root)
    good_hash = good.data_hash
    request, path = DailyRequest(root, "us"), root / ".daily/us/days.bin"
    content = bytearray(path.read_bytes())
    byte = min(int(len(content) * place), len(content) - 1)
    content[byte] ^= 1
    path.write_bytes(content)
    assert request.load() is None
    path.write_bytes(path.read_bytes()[: byte // 2])
    assert request.load() is None
    assert load_daily(root, "us").data_hash == good_hash


def test_a_head_that_still_reads_but_is_another_is_seen(tmp_path: Path) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 300, 1)}).root
    here(root)
    path = root / ".daily/us/days.bin"
    content = path.read_bytes()
    assert content.count(b'"exchange": "us"') == 1
    path.write_bytes(content.replace(b'"exchange": "us"', b'"exchange": "uk"'))
    assert DailyRequest(root, "us").load() is None


def test_a_damaged_piece_is_made_anew(tmp_path: Path) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 300, 1)}).root
    good = here(root).data_hash
    for path in (root / ".daily/us/pieces").glob("*.npz"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    (root / ".daily/us/days.bin").unlink()
    assert here(root).data_hash == good


def test_leftovers_of_killed_children_go(tmp_path: Path) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 30, 1)}).root
    here(root)
    dead, alive = (root / f".daily/us/.days.bin.{pid}" for pid in (2**22 + 1, os.getppid()))
    dead.write_bytes(b"x")
    alive.write_bytes(b"x")
    (root / "us/1d/2011.parquet").touch()
    here(root)
    assert (dead.exists(), alive.exists()) == (False, True)


# ------------------------------------------------------- corporate actions


def test_a_split_leaves_no_step_and_before_its_day_nothing_changes(tmp_path: Path) -> None:
    real = walk(20140102, 250, 7, price=90.0)
    root = fill(tmp_path, {"A": split_at(real, 20140609, 1 / 7)}).root
    plain = here(root).days
    actions(root, ("A", "2014-06-09", 1 / 7, 1 / 7))
    days = here(root).days
    day = at(20140609)
    for session in (day - 1, day - 30):
        for name, column in seen_on(plain, 0, session).items():
            np.testing.assert_array_equal(seen_on(days, 0, session)[name], column)
    for session in (day, day + 1, day + 90):
        seen = seen_on(days, 0, session)
        count = len(seen["close"])
        assert seen["session"][-1] == session
        np.testing.assert_allclose(seen["close"], real["close"][:count] / 7, rtol=1e-14)
        np.testing.assert_allclose(seen["low"], real["low"][:count] / 7, rtol=1e-14)
        np.testing.assert_allclose(seen["volume"], real["volume"][:count] * 7, rtol=1e-14)
        assert np.abs(np.diff(np.log(seen["close"]))).max() < 0.05
    assert np.abs(np.diff(np.log(seen_on(plain, 0, day)["close"]))).max() > 1.8


def test_a_dividend_moves_prices_and_no_volume(tmp_path: Path) -> None:
    bars = walk(20140102, 60, 7)
    root = fill(tmp_path, {"A": bars, "B": bars}).root
    actions(root, ("A", "2014-02-03", 0.98, 1.0))
    days = here(root).days
    row = at(20140203) - at(20140102)
    seen = seen_on(days, 0, at(20140310))
    np.testing.assert_array_equal(seen["volume"], bars["volume"][: len(seen["volume"])])
    np.testing.assert_array_equal(seen["close"][:row], bars["close"][:row] * 0.98)
    np.testing.assert_array_equal(seen["close"][row:], bars["close"][row : len(seen["close"])])
    assert (days.price_ratio[60:] == 1.0).all()


def test_an_action_acts_at_the_next_bar_there_is(tmp_path: Path) -> None:
    bars = walk(20140102, 60, 7)
    kept = np.ones(60, bool)
    kept[20:25] = False
    root = fill(tmp_path, {"A": {name: column[kept] for name, column in bars.items()}}).root
    dates = [f"{d // 10000}-{d // 100 % 100:02}-{d % 100:02}" for d in calendar()[1][at(20140102) :][:80].tolist()]
    rows = [("A", dates[0], 0.1, 0.1), ("A", dates[70], 0.1, 0.1)]  # no earlier price; no bar behind it yet
    actions(root, *rows, ("A", dates[22], 0.5, 0.5), ("A", dates[24], 0.9, 1.0), ("B", dates[30], 0.3, 0.3))
    days = here(root).days
    assert np.flatnonzero(days.price_ratio != 1.0).tolist() == [20]
    assert (days.price_ratio[20], days.split_ratio[20]) == (0.5 * 0.9, 0.5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from("AB"), st.integers(0, 150), st.sampled_from([0.5, 1 / 7, 10.0, 1.0]), st.floats(0.9, 1)
        ),
        max_size=12,
        unique_by=lambda row: row[:2],
    ),
    st.integers(0, 119),
)
def test_what_comes_later_never_changes_a_bit_of_what_was_seen(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, float, float]], cut: int
) -> None:
    root = tmp_path_factory.mktemp("cut")
    first = at(20131001)
    bars = {"A": walk(20131001, 120, 1), "B": walk(20131101, 90, 2)}
    dates = calendar()[1][first:].tolist()
    rows = [
        (s, f"{dates[n] // 10000}-{dates[n] // 100 % 100:02}-{dates[n] % 100:02}", r * d, r) for s, n, r, d in events
    ]
    actions(root, *rows)
    whole = here(fill(root, bars).root)
    short = root / "short"
    upto = calendar()[0][first + cut]
    actions(short, *(row for row in rows if int(row[1].replace("-", "")) <= dates[cut]))
    kept = {s: {name: column[c["ts_ms"] <= upto] for name, column in c.items()} for s, c in bars.items()}
    part = here(fill(short, {s: c for s, c in kept.items() if len(c["ts_ms"])}).root)
    for index, symbol in enumerate(part.symbols):
        now, then = (seen_on(m.days, m.symbols.index(symbol), first + cut) for m in (whole, part))
        assert len(then["close"]) == part.days.offsets[index + 1] - part.days.offsets[index]
        for name in then:
            assert now[name].tobytes() == then[name].tobytes()


# ------------------------------------------------------------- bad archives


def test_bars_that_no_scan_could_use_are_left_out_and_told(tmp_path: Path) -> None:
    bars = walk(20111101, 60, 1)
    odd = {name: column.copy() for name, column in bars.items()}
    odd["ts_ms"][3] += 3_600_000
    odd["ts_ms"][4] += 3_600_000
    odd["low"][5] = -1.0
    odd["volume"][6] = np.nan
    odd["open"][7] = odd["high"][7] * 2
    archive = fill(tmp_path, {"A": odd, "B": bars})
    path = archive.root / "us/1d/2011.parquet"
    table = daily.load(path)
    daily.pa.parquet.write_table(daily.pa.concat_tables([table, table.slice(0, 2)]), path)
    strange = as_table("C", {name: column[:1] for name, column in walk(20140602, 1, 1).items()})
    daily.pa.parquet.write_table(strange, archive.root / "us/1d/2010.parquet")
    market = here(archive.root)
    assert market.symbols == ("A", "B")
    kinds = {(p.kind, p.symbol): (p.bars, p.first_ms) for p in market.problems}
    assert kinds == {
        ("duplicate", "A"): (1, bars["ts_ms"][0]),
        ("duplicate", "B"): (1, bars["ts_ms"][0]),
        ("misplaced", "C"): (1, calendar()[0][at(20140602)]),
        ("no_session", "A"): (2, odd["ts_ms"][3]),
        ("unfit", "A"): (3, bars["ts_ms"][5]),
    }
    assert all(problem.detail for problem in market.problems)
    good = [row for row in range(60) if row not in (3, 4, 5, 6, 7)]
    np.testing.assert_array_equal(raw(market.days, 0)["close"], bars["close"][good])
    np.testing.assert_array_equal(raw(market.days, 1)["close"], bars["close"])


@pytest.mark.parametrize("damage", ["half", "flipped", "empty", "text", "columns"])
def test_a_damaged_archive_file_is_named_and_nothing_is_loaded(tmp_path: Path, damage: str) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 300, 1)}).root
    load_daily(root, "us")
    path = root / "us/1d/2012.parquet"
    content = path.read_bytes()
    broken = {
        "half": content[: len(content) // 2],
        "flipped": content[:-4] + b"PAR2",
        "empty": b"",
        "text": b"a,b\n1,2\n",
    }
    path.write_bytes(broken.get(damage, content))
    if damage == "columns":
        daily.pa.parquet.write_table(daily.load(path).drop_columns(["volume"]), path)
    with pytest.raises(FeedError) as caught:
        load_daily(root, "us")
    assert caught.value.where == str(path)
    assert "archive file" in caught.value.what
    assert caught.value.next_step
    path.write_bytes(content)
    assert len(load_daily(root, "us").days.session) == 300


def test_damaged_actions_and_strange_names_are_told(tmp_path: Path) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 30, 1)}).root
    (root / "us/actions.csv").write_text("symbol,ex_date,price_ratio,split_ratio\nA,2012-01-03,zero,1\n")
    with pytest.raises(FeedError, match=r"the corporate actions are damaged \(line 2") as caught:
        load_daily(root, "us")
    assert caught.value.where.endswith("actions.csv")
    (root / "us/actions.csv").unlink()
    (root / "us/1d/2011.parquet").rename(root / "us/1d/2011-copy.parquet")
    with pytest.raises(FeedError, match="not named by a year"):
        load_daily(root, "us")


@pytest.mark.parametrize("exchange", ["nowhere", "", "../us", ".daily"])
def test_no_bars_at_all(tmp_path: Path, exchange: str) -> None:
    fill(tmp_path, {"A": walk(20111101, 30, 1)})
    with pytest.raises(FeedError, match="there are no daily bars") as caught:
        load_daily(tmp_path, exchange)
    assert "bars import" in caught.value.next_step


def test_a_market_that_never_closes_is_refused_and_a_coin_among_shares_left_out(tmp_path: Path) -> None:
    coins = {"BTC-USD": walk(20111101, 30, 1)}
    with pytest.raises(FeedError, match="coinbase are of a market that never closes"):
        load_daily(fill(tmp_path, coins, "coinbase").root, "coinbase")
    root = fill(tmp_path, {"A": walk(20111101, 30, 1), "XYZ": walk(20111101, 30, 1), **coins}).root
    nothing = np.zeros(0)
    rows = [inferred("us", "A", nothing, nothing), inferred("us", "XYZ", nothing, nothing, "crypto")]
    Instruments(root).add({(row.exchange, row.symbol): row for row in rows})
    market = here(root)
    assert market.symbols == ("A",)
    assert [problem[:3] for problem in market.problems] == [("no_bell", "BTC-USD", 30), ("no_bell", "XYZ", 30)]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 30, 1)}).root
    (root / ".daily").write_text("in the way")
    with pytest.raises(FeedError, match="cannot be written"):
        load_daily(root, "us")


def test_the_loader_needs_no_heavy_library(tmp_path: Path) -> None:
    root = fill(tmp_path, {"A": walk(20111101, 30, 1)}).root
    code = (
        "import sys; from pathlib import Path; from avwapd.feeds.daily import load_daily\n"
        "for _ in range(2): load_daily(Path(sys.argv[1]), 'us')\n"
        "print(sorted({'pandas', 'pyarrow', 'numba', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_loading_maps_and_copies_nothing(tmp_path: Path) -> None:
    root = fill(tmp_path, {f"S{n}": walk(20110103, 500, n) for n in range(60)}).root
    here(root)
    tracemalloc.start()
    market = DailyRequest(root, "us").load()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert market is not None
    columns = sum(column.nbytes for column in market.days)
    assert columns > 1_700_000
    assert held - market.sessions.nbytes < columns / 4


# ---------------------------------------------------------------- real bars


@pytest.mark.skipif(not REAL.is_dir(), reason="no real bars in ../shared/data")
@pytest.mark.parametrize(("date", "ratio"), [(20140609, 7.0), (20200831, 4.0)])
def test_apple_over_its_splits(tmp_path: Path, date: int, ratio: float) -> None:
    from avwapd.store.archive import Archive
    from avwapd.verbs.bars_actions import import_files
    from avwapd.verbs.bars_import import import_file

    archive = Archive(tmp_path)
    import_file(archive, REAL / "bars/us/AAPL_1d.parquet", exchange="us", timeframe="1d", symbol="AAPL")
    plain = here(tmp_path).days
    (outcome,) = import_files(archive, "us", [REAL / "factors/us/AAPL.csv"], None, replace=False)
    assert (outcome.error, outcome.added) == (None, outcome.events)
    days = here(tmp_path).days
    day = at(date)
    raw_day, seen = seen_on(plain, 0, day), seen_on(days, 0, day)
    assert raw_day["close"][-2] / raw_day["close"][-1] > 0.9 * ratio
    assert abs(seen["close"][-1] / seen["close"][-2] - 1) < 0.05
    assert seen["close"][-2] == pytest.approx(raw_day["close"][-2] / ratio, rel=1e-12)
    assert seen["volume"][-2] == pytest.approx(raw_day["volume"][-2] * ratio, rel=1e-12)
    before, raw_before = seen_on(days, 0, day - 1), seen_on(plain, 0, day - 1)
    assert before["close"][-1] == raw_before["close"][-1]
    assert before["volume"][-1] == raw_before["volume"][-1]
    for session in (day - 1, day + 100):
        assert np.abs(np.diff(np.log(seen_on(days, 0, session)["close"][-120:]))).max() < 0.15
