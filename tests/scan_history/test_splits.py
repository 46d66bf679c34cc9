"""A split inside the window: everything goes on as if the shares had always been the new ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avwapd.core.daily import Days
from avwapd.feeds.daily import load_daily
from avwapd.store.actions import Actions, Event
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from tests.scan.market import DATA, Bars, inputs, joined
from tests.scan_history.conftest import Run
from tests.scan_history.looked import equal, look, settings
from tests.scan_history.market import iso
from tests.store_daily.days import Columns, at, split_at, walk

PRICES = ("open", "high", "low", "close")
SPLIT, DIVIDEND = 20130603, 20130412
COUNT, FIRST = 700, 20110705


def rising(seed: int) -> Columns:
    """A symbol that climbs day after day: always a candidate of tier A, with volume that varies."""
    bars = walk(FIRST, COUNT, seed, 80.0)
    climb = np.exp(np.arange(COUNT) * 0.004)
    return {name: column * climb if name in PRICES else column for name, column in bars.items()}


def written(root: Path, columns: Columns, *events: Event) -> Days:
    """The product's own way from bars and actions to what is scanned."""
    Archive(root).write("us", "1d", as_table("A", columns))
    if events:
        Actions(root, "us").save(events)
    return load_daily(root, "us").days


def by_hand(columns: Columns, *events: Event, until: int) -> Days:
    """Days whose prices and volumes were adjusted in the file itself, by events up to `until`; without actions."""
    done = {name: column.copy() for name, column in columns.items()}
    session = np.searchsorted(at_ms(), done["ts_ms"]).astype(np.int32)
    for event in events:
        if event.ex_date <= until:
            before = session < at(event.ex_date)
            for name in PRICES:
                done[name][before] *= event.price_ratio
            done["volume"][before] /= event.split_ratio
    ones = np.ones(len(session))
    return joined([Bars(session, *(done[name] for name in (*PRICES, "volume")), ones, ones)])


def at_ms() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    from tests.store_daily.days import calendar

    stamps: np.ndarray[tuple[int], np.dtype[np.int64]] = calendar()[0]
    return stamps


def upto(columns: Columns, session: int) -> Columns:
    kept = columns["ts_ms"] <= at_ms()[session]
    return {name: column[kept] for name, column in columns.items()}


@pytest.mark.parametrize(("ratio", "seed"), [(0.5, 1), (1 / 7, 2), (0.25, 3), (4.0, 4)])
def test_levels_go_on_over_a_split(tmp_path: Path, ratio: float, seed: int) -> None:
    whole = rising(seed)
    raw = split_at(whole, SPLIT, ratio)
    split = Event("A", SPLIT, ratio, ratio)
    days, config = written(tmp_path, raw, split), settings()
    for ahead in (0, 1, 7, 60):
        session = at(SPLIT) + ahead
        found = look(days, session, config)
        assert equal(found, look(by_hand(raw, split, until=SPLIT), session, config)), ahead
        assert equal(found, look(by_hand(whole, until=SPLIT), session, config), ratio), ahead
        assert len(found.anchors) > 2
    before = look(days, at(SPLIT) - 1, config)
    assert equal(before, look(by_hand(whole, until=SPLIT), at(SPLIT) - 1, config))


def test_a_coming_split_changes_no_bit(tmp_path: Path) -> None:
    raw = split_at(rising(5), SPLIT, 0.5)
    dividend, split = Event("A", DIVIDEND, 0.99, 1.0), Event("A", SPLIT, 0.495, 0.5)
    told, config = written(tmp_path / "told", raw, dividend, split), settings()
    never = written(tmp_path / "never", upto(raw, at(SPLIT) - 1), dividend)
    for ago in (1, 2, 40, 120):
        session = at(SPLIT) - ago
        assert look(told, session, config).bits() == look(never, session, config).bits(), ago
    assert look(told, at(SPLIT), config).anchors
    with pytest.raises(AssertionError):  # untold, it halves the price on its day
        look(written(tmp_path / "untold", raw, dividend), at(SPLIT), config)


def test_dividends_are_left_alone_where_only_splits_count(tmp_path: Path) -> None:
    raw = split_at(rising(6), SPLIT, 0.5)
    both = (Event("A", DIVIDEND, 0.96, 1.0), Event("A", SPLIT, 0.5, 0.5))
    days, session = written(tmp_path, raw, *both), at(SPLIT) + 3
    splits = settings(scan__adjust="splits")
    assert equal(look(days, session, splits), look(by_hand(raw, both[1], until=SPLIT), session, splits))
    assert equal(look(days, session, settings()), look(by_hand(raw, *both, until=SPLIT), session, settings()))
    assert not equal(look(days, session, splits), look(days, session, settings()))


def test_raw_prices_break_and_the_check_names_the_split(tmp_path: Path, avwapd: Run) -> None:
    whole = rising(7)
    raw = split_at(whole, SPLIT, 1.5)  # a reverse split: it still looks like a rise
    days = written(tmp_path / "state/archive", raw, Event("A", SPLIT, 1.5, 1.5))
    session, none = at(SPLIT) + 3, settings(scan__adjust="none")
    good, broken = look(days, session, settings()), look(days, session, none)
    assert broken.bits() == look(by_hand(raw, until=0), session, none).bits()
    assert broken.prices["sma_slow"] < 0.75 * good.prices["sma_slow"]
    assert broken.prices["line"] < 0.95 * good.prices["line"]
    assert broken.prices["atr"] > 2 * good.prices["atr"]
    assert ("Gap", SPLIT, SPLIT) in {*broken.anchors} - {*good.anchors}  # it passes for one
    assert avwapd("--state-dir", tmp_path / "state", "bars", "check")[:2] == (0, "us A 1d: nothing odd\n")
    (tmp_path / "state/archive/us/actions.csv").unlink()
    code, out, _ = avwapd("--state-dir", tmp_path / "state", "bars", "check")
    assert code == 2
    assert iso(SPLIT) in out
    assert "looks like a split 2:3 that no action explains" in out


# ------------------------------------------------------------------ real prices

REAL = ((20140609, 7), (20200831, 4))
CALENDAR = ("YTD", "MTD")
STAYING = (*CALENDAR, "Gap", "VolBreakout")  # the others move with every new extreme


@pytest.fixture(scope="module")
def apple(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the real bars and actions of AAPL, imported by the commands."""
    from avwapd import cli

    if not DATA.is_dir():
        pytest.skip("no ../shared/data beside this checkout")
    state = tmp_path_factory.mktemp("apple")
    words = ["--state-dir", str(state), "bars"]
    file = DATA / "bars" / "us" / "AAPL_1d.parquet"
    assert cli.main([*words, "import", str(file), "--exchange", "us", "--symbol", "AAPL", "--timeframe", "1d"]) == 0
    assert cli.main([*words, "actions", str(DATA / "factors" / "us" / "AAPL.csv"), "--exchange", "us"]) == 0
    return state


@pytest.mark.parametrize(("day", "count"), REAL)
def test_apple_goes_on_over_its_splits(apple: Path, day: int, count: int) -> None:
    days = load_daily(apple / "archive", "us").days
    columns = raw_columns(days)
    events = [event for event in Actions(apple / "archive", "us").load() if event.symbol == "AAPL"]
    (split,) = [event for event in events if event.ex_date == day]
    assert split.split_ratio == 1 / count
    for adjust, taken in (("splits_and_dividends", events), ("splits", splits_of(events))):
        config = settings(scan__adjust=adjust)
        for session in (at(day), at(day) + 1, at(day) + 20):
            today = int(days.session[-1]) if session > days.session[-1] else session
            until = date_of(today)
            assert equal(look(days, today, config), look(by_hand(columns, *taken, until=until), today, config)), until
        before = look(days, at(day) - 1, config)
        cut = by_hand(upto(columns, at(day) - 1), *taken, until=date_of(at(day) - 1))
        assert equal(before, look(cut, at(day) - 1, config))
        # Yesterday's levels in today's shares: nothing jumps, and no anchor appears but on the day itself.
        after = look(days, at(day), config)
        for name in ("sma_fast", "sma_slow", "atr", "swing_low", "vwap"):
            assert after.prices[name] == pytest.approx(before.prices[name] / count, rel=0.1), name
        held, now = ({a for a in found.anchors if a[0] in STAYING} for found in (before, after))
        assert {a for a in now if a[1] != day} <= held
        assert {a for a in now if a[0] in CALENDAR} == {a for a in held if a[0] in CALENDAR}
    raw = settings(scan__adjust="none")
    with pytest.raises(AssertionError):  # a fall of three quarters is no rising symbol
        look(days, at(day), raw)


@pytest.mark.parametrize(("day", "count"), REAL)
def test_the_scan_of_apple_the_day_before_knows_nothing_of_it(apple: Path, day: int, count: int) -> None:
    from avwapd.scan.run import scan

    days, config = load_daily(apple / "archive", "us").days, settings()
    columns, session = raw_columns(days), at(day) - 1
    known = [event for event in Actions(apple / "archive", "us").load() if event.ex_date < day]
    assert len(known) < len(Actions(apple / "archive", "us").load())
    cut = upto(columns, session)
    ratios = [np.ones(len(cut["ts_ms"])) for _ in range(2)]
    rows = np.searchsorted(at_ms(), cut["ts_ms"]).astype(np.int32)
    for event in known:
        for ratio, name in zip(ratios, ("price_ratio", "split_ratio"), strict=True):
            ratio[rows == at(event.ex_date)] *= getattr(event, name)
    past = Bars(rows, *(cut[name] for name in (*PRICES, "volume")), *ratios)
    whole = Bars(*(column for column in days[1:]))
    told = [scan(inputs({"AAPL": bars}, date_of(session)), config) for bars in (past, whole)]
    assert repr(told[0]) == repr(told[1])
    assert told[0].rows


def test_the_check_names_the_splits_of_apple(apple: Path, avwapd: Run) -> None:
    words = ("--state-dir", apple, "bars", "check", "--exchange", "us", "--timeframe", "1d")
    _, out, _ = avwapd(*words)
    assert not [day for day, _ in REAL if iso(day) in out]
    table = apple / "archive/us/actions.csv"
    kept = table.read_bytes()
    try:
        table.unlink()
        code, out, _ = avwapd(*words)
    finally:
        table.write_bytes(kept)
    assert code == 2
    for day, count in REAL:
        (line,) = [line for line in out.splitlines() if iso(day) in line]
        assert f"looks like a split {count}:1 that no action explains" in line


def raw_columns(days: Days) -> Columns:
    return {"ts_ms": at_ms()[days.session], **{name: getattr(days, name).copy() for name in (*PRICES, "volume")}}


def splits_of(events: list[Event]) -> list[Event]:
    return [event._replace(price_ratio=event.split_ratio) for event in events if event.split_ratio != 1.0]


def date_of(session: int) -> int:
    from tests.store_daily.days import calendar

    return int(calendar()[1][session])
