"""A recorded day through the real Alpaca clients, sockets and processes, beside the embedded venue and the backtest."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.wire.world import (
    FAST,
    US,
    US_SETTINGS,
    Trader,
    Venue,
    books_agree,
    embedded_run,
    play,
    same_rows,
    us_archive,
    verified,
)

START = Decimal(100_000)
MINUTE_MS = 60_000


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[Venue, Trader]]:
    """A simulated Alpaca on a recorded archive, not started yet, and a daemon for it."""
    state = tmp_path / "state"
    us_archive(state)
    costs = tmp_path / "costs.toml"
    costs.write_text("[fills]\nslippage_bps = 0.0\n")
    options = ("--config", str(costs))
    venue = Venue(tmp_path / "venue", state / "archive", "us", US, "2013-10-10T12:50:00Z", options=options, speed=240.0)
    trader = Trader(state, venue, US_SETTINGS, venue_lines=FAST)
    yield venue, trader
    for child in (getattr(trader, "child", None), getattr(venue, "child", None)):
        if child is not None:
            child.end(signal.SIGKILL)


@pytest.mark.campaign
def test_a_day_over_the_wire_is_the_day_of_the_embedded_venue(desk: tuple[Venue, Trader], tmp_path: Path) -> None:
    """Entries, stop, R1, R2, flattening; flat at the end; books to the cent; the same decisions; verify, audit."""
    venue, trader = desk
    venue.last = "2013-10-10T20:03:00Z"
    play(venue, trader)
    assert trader.held() == {}
    assert {"stop", "r1", "r2", "flatten"} <= set(trader.exits())
    books_agree(trader, venue, START)
    verified(trader)
    first, last = "2013-10-10T13:31:00Z", "2013-10-10T20:00:00Z"
    embedded_run(trader, tmp_path / "embedded", first, last)
    counts = same_rows(trader.state, tmp_path / "embedded", 1381411860000, 1381435200000)
    assert counts["decisions"] > 1_500
    assert counts["fills"] >= 10


@pytest.mark.campaign
def test_sessions_at_sixty_times_the_pace(desk: tuple[Venue, Trader]) -> None:
    """Two sessions and the night between them, as the issue states it: market time x 60."""
    venue, trader = desk
    venue.first, venue.last, venue.speed = "2013-10-09T13:20:00Z", "2013-10-10T20:03:00Z", 60.0
    play(venue, trader)
    assert trader.held() == {}
    assert {"stop", "r1", "r2"} <= set(trader.exits())
    books_agree(trader, venue, START)
    verified(trader)
