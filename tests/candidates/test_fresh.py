"""Which session a list is fresh in: that after its own, by New York's dates, over weekends, holidays and half days."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from avwapd.actors.lists import scan_date_wanted
from avwapd.feeds.world import Setup
from avwapd.research.historical import as_date
from tests.candidates import market
from tests.candidates.files import avwapd, session_of, table
from tests.candidates.market import DAILY, HOURLY, Place
from tests.candidates.test_controls import setup_of

# scan date, the session it is fresh in, the next one, where it is stale
CASES = {
    "Friday to Monday": (20231117, 20231120, 20231121),
    "over Thanksgiving to the half day": (20231122, 20231124, 20231127),
    "from the half day to Monday": (20231124, 20231127, 20231128),
    "over New Year": (20231229, 20240102, 20240103),
    "over Martin Luther King's day": (20240112, 20240116, 20240117),
    "into summer time": (20240308, 20240311, 20240312),
    "over Good Friday": (20240328, 20240401, 20240402),
}


@pytest.fixture(scope="module", params=[HOURLY, DAILY])
def setup(place: Place, request: pytest.FixtureRequest) -> Setup:
    return setup_of(place, request.param)


def test_the_cases_are_sessions() -> None:
    dates = market.dates()
    for first, second, third in CASES.values():
        at = dates.index(first)
        assert dates[at : at + 3] == [first, second, third]
    half = market.table()[dates.index(20231124)]
    assert half["close_ms"] - half["open_ms"] == 3.5 * 3_600_000


@pytest.mark.parametrize("name", CASES)
def test_the_list_that_is_wanted_at_every_bar(setup: Setup, name: str) -> None:
    """Hourly: from the session's close on its own list. Daily: a close asks for the list of the coming session."""
    times = np.unique(setup.market.bars["ts_ms"])
    dates = market.dates()
    at = dates.index(CASES[name][0])
    seen: dict[int, set[int | None]] = {}
    for ts_ms in times.tolist():
        place = session_of(ts_ms, setup.market.timeframe)
        if at <= place <= at + 2:
            wanted = scan_date_wanted(setup, ts_ms, 0)
            seen.setdefault(dates[place], set()).add(wanted)
            last = ts_ms == times[np.searchsorted(times, market.table()["close_ms"][place], side="right") - 1]
            if setup.market.daily:
                assert wanted == dates[place + 1]
            else:
                assert wanted == (dates[place] if last else dates[place - 1])
    assert len(seen) == 3


def test_before_the_first_bar_the_coming_one_decides(setup: Setup) -> None:
    """A start on Monday before the bell takes Friday's list; on daily bars that of Monday's own close."""
    times = np.unique(setup.market.bars["ts_ms"]).tolist()
    friday, monday, _ = CASES["Friday to Monday"]
    first = next(at for at in times if session_of(at, setup.market.timeframe) == market.dates().index(monday))
    assert scan_date_wanted(setup, 0, first) == (monday if setup.market.daily else friday)


@pytest.mark.parametrize("name", CASES)
def test_the_gate_opens_in_that_session_alone(place: Place, tmp_path: Path, name: str) -> None:
    """One list of one day, traded on hourly bars: nothing before, fresh one session, stale ever after."""
    scan_date, fresh, stale = CASES[name]
    found = pyarrow.parquet.read_table(place.candidates)
    row = next(row for row in found.to_pylist() if row["symbol"] == "OAK")
    one = pa.Table.from_pylist([{**row, "scan_date": as_date(scan_date), "rank": 1}], schema=found.schema)
    pyarrow.parquet.write_table(one, tmp_path / "one.parquet")
    words = ("--candidates", tmp_path / "one.parquet", "--timeframe", HOURLY, "--out", tmp_path / "bt")
    window = ("--start", market.iso(scan_date), "--end", market.iso(stale))
    assert avwapd(place.state, "backtest", *words, *window) == 0
    verdicts: dict[int, set[str]] = {}
    for decision in table(tmp_path / "bt/decisions.csv"):
        day = market.dates()[session_of(int(decision["ts_ms"]), HOURLY)]
        verdicts.setdefault(day, set()).add(decision["gate_watchlist_stale"])
    assert verdicts == {scan_date: {"-"}, fresh: {"pass"}, stale: {"block"}}
