"""What a scan of one day looks at, put together: by `avwapd scan` and by the walk over history alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from avwapd.config import Config
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
        stand_in=stand_in,
        user={symbol: tuple(map(date_of, moments)) for symbol, moments in config.anchors.user.items()},
    )


def date_of(ts_ms: int) -> int:
    """The UTC date of a moment, yyyymmdd: New York trades inside one UTC day."""
    return int(f"{datetime.fromtimestamp(ts_ms / 1000, UTC):%Y%m%d}")
