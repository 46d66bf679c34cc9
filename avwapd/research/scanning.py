"""What a scan of one day looks at, put together: by `avwapd scan` and by the walk over history alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from avwapd.config import Config
from avwapd.scan.day import shown
from avwapd.scan.errors import ScanError
from avwapd.scan.result import Member, ScanInputs

if TYPE_CHECKING:
    from avwapd.feeds.daily import DailyMarket
    from avwapd.store.lists import Lists


def inputs_of(
    market: DailyMarket,
    members: Mapping[str, Member],
    lists: Lists,
    config: Config,
    day: int,
    *,
    stand_in: bool = False,
) -> ScanInputs:
    """day: yyyymmdd, the session whose close is scanned; of the lists only what was known by then counts."""
    return ScanInputs(
        symbols=market.symbols,
        days=market.days,
        sessions=market.sessions,
        as_of=day,
        members=members,
        earnings=lists.earnings if "earnings" in lists.facts else None,
        bad=lists.bad_on(day),
        listing=lists.listing,
        listed=lists.listed,
        stand_in=stand_in,
        user={symbol: tuple(map(date_of, moments)) for symbol, moments in config.anchors.user.items()},
    )


def holes_in(market: DailyMarket, config: Config, day: int) -> tuple[str, ...]:
    """What to say of sessions in the scan's window that no symbol has a bar of.

    ScanError where there are so many in a row that every symbol would look like a new listing: the archive lost them.
    """
    dates = market.sessions["date"]
    last = int(np.searchsorted(dates, day, side="right")) - 1
    first = max(last - config.scan.window_bars + 1, int(market.seen.argmax()))
    missing = np.flatnonzero(~market.seen[first : last + 1]) + first
    if not len(missing):
        return ()
    runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
    longest = max(runs, key=len)
    span = f"{shown(int(dates[longest[0]]))} to {shown(int(dates[longest[-1]]))}"
    if len(longest) > config.scan.listing_gap_sessions:
        what = f"no symbol has a bar of any of the {len(longest)} sessions from {span}"
        where = f"the archive's {market.exchange}/1d"
        raise ScanError(what, where, "import or fetch these bars again: a file of the archive may be gone")
    return (f"no symbol has a bar of {len(missing)} sessions of the window, most in a row from {span}",)


def moves_in(market: DailyMarket, members: Mapping[str, Member], config: Config, day: int) -> tuple[str, ...]:
    """What to say of closes, in the window, so far from the one before that a split may be missing."""
    days, dates = market.days, market.sessions["date"]
    last = int(np.searchsorted(dates, day, side="right")) - 1
    before = days.close[:-1] * days.price_ratio[1:]
    limit = config.scan.outlier_pct / 100.0
    rows = np.flatnonzero(np.abs(days.close[1:] - before) > limit * before) + 1
    apart = days.session[rows] - days.session[rows - 1]
    inside = (days.session[rows] <= last) & (days.session[rows] > last - config.scan.window_bars)
    # A symbol's first bar has none before it.
    far = rows[inside & (apart <= config.scan.listing_gap_sessions) & ~np.isin(rows, days.offsets)]
    owners = np.searchsorted(days.offsets, far, side="right") - 1
    names = [market.symbols[owner] for owner in owners.tolist()]
    found = [(name, int(row)) for name, row in zip(names, far.tolist(), strict=True) if not members or name in members]
    told = [f"{name} on {shown(int(dates[days.session[row]]))}" for name, row in found]
    if not told:
        return ()
    more = f" and {len(told) - 5} more" if len(told) > 5 else ""
    what = f"closes over {config.scan.outlier_pct:g}% from the one before without a corporate action"
    return (f"{what}: {', '.join(told[:5])}{more}; see `avwapd bars check`",)


def date_of(ts_ms: int) -> int:
    """The UTC date of a moment, yyyymmdd: New York trades inside one UTC day."""
    return int(f"{datetime.fromtimestamp(ts_ms / 1000, UTC):%Y%m%d}")
