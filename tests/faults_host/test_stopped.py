"""Row 5, with the clock of rows 19 to 22: the machine sleeps while the market and the venue go on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from avwapd.core.codes import BAR_LATE
from tests.wire.world import Trader, Venue, books_agree
from tests.wire_faults import market
from tests.wire_faults.play import ORDER, RECONCILE, SETTINGS, VENUE_LINES, asked, end, toml

pytestmark = pytest.mark.crash

START = Decimal(100_000)
FRESH_MS = 60_000
OLD_MS = 300_000  # two bars, two questions to REST, the grace: what is older is late
WINDOW = "ts_ms > ? AND ts_ms <= ?"
ENTRY = "o.purpose = 'entry' AND x.kind = 'submit' AND x.attempts > 0"
# Pace of the market, seconds of sleep, market minutes that are played in all. The second is ten minutes by the wall.
SLEEPS = [
    pytest.param(240.0, 2.6, 26, id="ten minutes of the market"),
    pytest.param(6.0, 600.0, 90, id="ten minutes by the wall", marks=pytest.mark.campaign),
]


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bars")
    market.archive(folder)
    return folder / "archive"


@contextmanager
def pair(
    folder: Path, bars: Path, speed: float, minutes: int, *, ask_limit_ms: int = 400
) -> Iterator[tuple[Venue, Trader]]:
    state = folder / "state"
    state.mkdir(parents=True)
    (state / "archive").symlink_to(bars)
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    first_ms = market.WARM_UP_MS + (market.BARS - 1) * market.MINUTE_MS
    last_ms = market.OPEN_MS + minutes * market.MINUTE_MS
    first, last = (time.strftime(stamp, time.gmtime(ms // 1000)) for ms in (first_ms, last_ms))
    venue = Venue(folder / "venue", state / "archive", market.EXCHANGE, market.SYMBOLS, first, last,
                  speed=speed, options=("--paused",))  # fmt: skip
    lines = "".join(f"{name} = {value}\n" for name, value in VENUE_LINES.items())
    settings = SETTINGS + toml("order", ORDER | {"fresh_ms": FRESH_MS}) + toml("reconcile", RECONCILE)
    settings += toml("feed", {"ask_limit_ms": ask_limit_ms})
    trader = Trader(state, venue, settings, venue_lines=lines, run_lines=f"grace_ms = {round(speed * 100)}")
    try:
        venue.start()
        trader.start()
        yield venue, trader
    finally:
        end(venue, trader)


def slept(venue: Venue, trader: Trader, sleep_s: float) -> tuple[int, int]:
    """The daemon stands still while the market goes on to its end; market times between which it did."""
    venue.go()
    await_position(trader)
    process = trader.child.process
    process.send_signal(signal.SIGSTOP)
    from_ms = trader.rows("SELECT max(ts_ms) FROM decisions")[0][0]
    time.sleep(sleep_s)
    to_ms = venue.ask("/control")["closed_ms"]
    time.sleep(market.MINUTE_MS / 2000 / venue.speed)  # by half a bar two clocks do not differ: those bars are old
    process.send_signal(signal.SIGCONT)
    assert to_ms - from_ms >= 8 * market.MINUTE_MS, "the market did not go on"
    venue.wait_over(600)
    trader.wait_decided(venue.ask("/control")["closed_ms"])
    return from_ms + market.MINUTE_MS, to_ms


def entries(trader: Trader, window: tuple[int, int]) -> int:
    """Entries decided on minutes that were slept through, but for the newest ones."""
    asked_for = f"SELECT count(*) FROM orders o WHERE o.purpose = 'entry' AND o.{WINDOW}"
    return int(trader.rows(asked_for, window[0], window[1] - OLD_MS)[0][0])


def too_old(trader: Trader, window: tuple[int, int]) -> list[str]:
    """Entries decided on minutes that were slept through, which left all the same."""
    asked_for = f"SELECT o.cid FROM orders o JOIN outbox x USING (cid) WHERE {ENTRY} AND o.{WINDOW}"
    return [cid for (cid,) in trader.rows(asked_for, window[0], window[1] - FRESH_MS)]


@pytest.mark.parametrize(("speed", "sleep_s", "minutes"), SLEEPS)
def test_a_machine_that_slept_sees_the_gap_and_catches_up(
    speed: float, sleep_s: float, minutes: int, bars: Path, tmp_path: Path
) -> None:
    """Every minute is decided once; those that were slept through are late and open nothing; the books agree."""
    with pair(tmp_path, bars, speed, minutes) as (venue, trader):
        window = slept(venue, trader, sleep_s)
        [(count, late)] = trader.rows(
            f"SELECT count(*), sum(flags & {BAR_LATE}) FROM decisions WHERE {WINDOW}", *window
        )
        assert count == (window[1] - window[0]) // market.MINUTE_MS * len(market.SAWS), (count, window)
        assert late > 0, "the gap was not seen"
        assert entries(trader, window) == 0
        assert too_old(trader, window) == []
        assert trader.rows("SELECT count(*) FROM decisions WHERE ts_ms > ?", window[1])[0][0] > 0
        books_agree(trader, venue, START)
        assert trader.child.end() == 0, trader.child.text()[-3000:]
        for verb in ("verify", "audit"):
            code, text = asked(trader, verb)
            assert code == 0, f"{verb}: {text[-2000:]}"


@pytest.mark.campaign
def test_bars_that_never_grow_old_would_be_seen(bars: Path, tmp_path: Path) -> None:
    """The control: what is half an hour old counts as on time. Then entries are decided on it, and nothing is late.

    Even so none leaves: the orders have a time of their own, which is over before it is their turn.
    """
    with pair(tmp_path, bars, 90.0, 26, ask_limit_ms=10_000) as (venue, trader):
        window = slept(venue, trader, 6.0)
        assert entries(trader, window) > 0
        assert trader.rows(f"SELECT sum(flags & {BAR_LATE}) FROM decisions WHERE {WINDOW}", *window) == [(0,)]
        assert too_old(trader, window) == []


def await_position(trader: Trader, limit_s: float = 300.0) -> None:
    until = time.monotonic() + limit_s
    """In the session, some minutes after its begin."""
    begun = (
        f"SELECT 1 FROM positions, decisions WHERE phase = 'OPEN' AND ts_ms > {market.OPEN_MS + 7 * market.MINUTE_MS}"
    )
    while not trader.rows(begun + " LIMIT 1"):
        assert time.monotonic() < until, trader.child.text()[-3000:]
        time.sleep(0.02)
