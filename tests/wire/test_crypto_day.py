"""Recorded hours of BTC-USD through the real ccxt clients: binance with websockets, kraken by REST, side by side."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.wire.world import FAST, SHARED, Trader, Venue, books_agree, import_bars, need, play, verified

START = Decimal(100_000)
TERMS = ("--tick", "0.01", "--lot", "0.00001", "--min-qty", "0.00001", "--min-notional", "5")
# Chosen because their backtest shows entries, a stop, an R1 trim and R2 within these hours of 2017-09-03.
SETTINGS = """
[signal]
setup = "breakout_hold"
[gates]
volume_ratio = 0
entries_per_symbol_day = 20
open_delay_min = 10
[stop]
percent_stop_factor = 0.997
avwap_stop_factor = 0.997
swing_low_factor = 0.999
atr_stop_multiple = 0.0
[exit]
invalidation = false
r2_multiple = 1.5
[size]
method = "risk_per_trade"
risk_fraction = 0.001
[fills]
slippage_bps = 0.0
"""


@pytest.fixture
def desks(tmp_path: Path) -> Iterator[dict[str, tuple[Venue, Trader]]]:
    """A simulated exchange and a daemon of each kind, not started yet."""
    bars = SHARED / "coinbase" / "BTC-USD_1m.parquet"
    need([bars])
    found = {}
    for name in ("binance", "kraken"):
        state = tmp_path / name
        state.mkdir()
        import_bars(state, "coinbase", {"BTC-USD": bars}, "1m", *TERMS)
        venue = Venue(
            tmp_path / f"{name}-venue",
            state / "archive",
            "coinbase",
            "BTC-USD",
            "2017-09-03T02:50:00Z",
            "2017-09-03T06:50:00Z",
            exchange=name,
            speed=200.0,
        )
        found[name] = (venue, Trader(state, venue, SETTINGS, venue_lines=FAST))
    yield found
    for venue, trader in found.values():
        for child in (getattr(trader, "child", None), getattr(venue, "child", None)):
            if child is not None:
                child.end(signal.SIGKILL)


def shown(venue: Venue, trader: Trader) -> None:
    """Entries, a stop, an R1 trim and an R2; flat; the books agree; verify and audit."""
    assert trader.held() == {}, trader.child.text()[-3000:]
    assert {"stop", "r1", "r2"} <= set(trader.exits())
    books_agree(trader, venue, START)
    verified(trader)


@pytest.mark.campaign  # what trades depends on when the daemon is ready, which beside other tests is too late
def test_hours_of_bitcoin_at_two_exchanges(desks: dict[str, tuple[Venue, Trader]]) -> None:
    for venue, trader in desks.values():
        venue.start()
        trader.start()
    for venue, trader in desks.values():
        play(venue, trader, started=True)
    for venue, trader in desks.values():
        shown(venue, trader)


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["binance", "kraken"])
def test_hours_of_bitcoin_at_sixty_times_the_pace(desks: dict[str, tuple[Venue, Trader]], name: str) -> None:
    venue, trader = desks[name]
    venue.speed = 60.0
    play(venue, trader)
    shown(venue, trader)
