"""What a scan says of bars that the whole archive lacks, and of moves that no split explains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avwapd import config
from avwapd.core.daily import Days
from avwapd.feeds.daily import DailyMarket
from avwapd.research.proof import InSector, Made, made_market, newest_bars
from avwapd.research.scanning import holes_in, inputs_of, moves_in
from avwapd.scan.errors import ScanError
from avwapd.scan.run import scan
from avwapd.store.lists import Lists

DEFAULTS = config.load(folder=Path("/nonexistent"), environ={})


@pytest.fixture(scope="module")
def made() -> Made:
    return made_market()


def market_of(made: Made, days: Days) -> DailyMarket:
    return DailyMarket("us", made.symbols, days, made.sessions, "hash", "calendar", ())


def without(made: Made, first: int, count: int) -> DailyMarket:
    """Every symbol lacks `count` sessions, from the first-last before the end."""
    last = made.last_sessions(1)[0]
    lost = (made.days.session > last - first) & (made.days.session <= last - first + count)
    counts = np.concatenate([[0], np.cumsum(~lost)])
    columns = {name: getattr(made.days, name)[~lost] for name in made.days._fields[1:]}
    return market_of(made, Days(offsets=counts[made.days.offsets].astype(np.int64), **columns))


def newest(made: Made) -> int:
    return int(made.sessions["date"][made.last_sessions(1)[0]])


def test_a_whole_archive_has_no_holes(made: Made) -> None:
    assert holes_in(market_of(made, made.days), DEFAULTS, newest(made)) == ()


def test_some_lost_sessions_are_told(made: Made) -> None:
    (told,) = holes_in(without(made, 30, 3), DEFAULTS, newest(made))
    assert told.startswith("no symbol has a bar of 3 sessions of the window")


def test_a_lost_year_is_refused(made: Made) -> None:
    with pytest.raises(ScanError, match="no symbol has a bar of any of the 61 sessions"):
        holes_in(without(made, 100, 61), DEFAULTS, newest(made))
    assert len(holes_in(without(made, 100, 60), DEFAULTS, newest(made))) == 1


def test_what_lies_before_the_window_or_the_first_bar_is_no_hole(made: Made) -> None:
    assert holes_in(without(made, 600, 90), DEFAULTS, newest(made)) == ()


def test_splits_that_no_action_explains_are_told(made: Made) -> None:
    market = market_of(made, made.days)
    assert moves_in(market, {}, DEFAULTS, newest(made)) == ()
    ones = np.ones(len(made.days.close))
    raw = made.days._replace(price_ratio=ones, split_ratio=ones)
    lower = replace(DEFAULTS, scan=replace(DEFAULTS.scan, outlier_pct=40.0))  # the made-up splits are 2:1
    (told,) = moves_in(market_of(made, raw), {}, lower, newest(made))
    assert told.startswith("closes over 40% from the one before without a corporate action: S00 on ")
    assert "S03 on " in told
    assert "S01" not in told


def test_the_first_day_of_a_listing_makes_its_anchor_known(made: Made) -> None:
    """IPO and AllTimeHigh lie inside a listing that is known to begin in the window, and are unknown elsewhere."""
    young = market_of(made, newest_bars(made.days, 300))
    begun = int(made.sessions["date"][young.days.session[young.days.offsets[3]]])
    anchors = {"IPO": 90, "AllTimeHigh": 80, "MTD": 70}
    wide = replace(DEFAULTS, scan=replace(DEFAULTS.scan, anchors=anchors, regime=False))
    members = {symbol: InSector("Energy") for symbol in made.symbols}
    seen: set[str] = set()
    for session in made.last_sessions(40):
        day = int(made.sessions["date"][session])
        for listed in ({}, dict.fromkeys(made.symbols, begun)):
            found = scan(inputs_of(young, members, Lists(listed=listed), wide, day), wide).anchors
            born = {row.anchor_date for row in found if row.kind == "IPO"}
            assert born <= {begun} if listed else not born
            kinds = {row.kind for row in found}
            assert listed or kinds <= {"MTD"}
            seen |= kinds
    assert seen == {"IPO", "AllTimeHigh", "MTD"}
