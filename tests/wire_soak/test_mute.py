"""A data socket that falls silent in the middle of the market: open, pings answered, no bar any more."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from avwapd.verbs.client import DaemonError, ask
from tests.wire.world import Venue
from tests.wire_faults import market
from tests.wire_faults.play import SETTINGS, VENUE_LINES, Planted, asked, end, toml

pytestmark = pytest.mark.campaign

SPEED = 50.0
MUTE_FROM_MS = market.OPEN_MS + 3 * market.MINUTE_MS + 30_000  # between two closes
MINUTES = 8
GRACE = "grace_ms = 7_500"  # 0.15 s of the wall
LIMIT_MS = 2 * market.MINUTE_MS + 5_000


@dataclass
class Seen:
    """What was observed while one of the daemons ran: market time of the first missed bar and of the new connection."""

    venue: Venue
    trader: Planted
    missed_ms: int = 0
    reconnected_ms: int = 0
    by_rest: int = 0  # bars that the stream kept back and REST had

    def begin(self) -> None:
        """Both processes."""
        self.venue.start()
        self.trader.start()

    def look(self) -> None:
        """One look at both sides; the venue's clock is read after the daemon's word, so that it is never too early."""
        try:
            feed = ask(self.trader.state / "control.sock", "GET", "/v1/status", None, 5.0)["feed"]
        except DaemonError:
            return
        self.by_rest = int(feed["counts"].get("lost_by_stream", 0))
        if self.reconnected_ms:
            return
        now_ms = self.venue.ask("/control")["now_ms"]
        if not self.missed_ms:
            fired = self.venue.ask("/control/log")["log"]
            if fired:
                self.missed_ms = min(one["ts_ms"] for one in fired if one["fault"] == "mute_stream")
        elif int(feed["connects"]) > 1:
            self.reconnected_ms = now_ms


def pair(folder: Path, archive: Path, *, plant: str = "", feed: dict[str, Any] | None = None) -> Seen:
    """A simulator and a daemon beside it, not started."""
    state = folder / "state"
    state.mkdir(parents=True)
    (state / "archive").symlink_to(archive / "archive")
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    first_ms = market.WARM_UP_MS + (market.BARS - 1) * market.MINUTE_MS
    last_ms = market.OPEN_MS + MINUTES * market.MINUTE_MS
    first, last = (time.strftime(stamp, time.gmtime(ms // 1000)) for ms in (first_ms, last_ms))
    venue = Venue(folder / "venue", state / "archive", market.EXCHANGE, market.SYMBOLS, first, last,
                  speed=SPEED, options=("--paused",))  # fmt: skip
    lines = "".join(f"{name} = {value}\n" for name, value in VENUE_LINES.items())
    trader = Planted(state, venue, SETTINGS + toml("feed", feed or {}), venue_lines=lines, run_lines=GRACE)
    trader.plant = plant
    return Seen(venue, trader)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Seen]]:
    """The same silence before two daemons: one as it is, one without its watchdog and without questions to REST."""
    folder = tmp_path_factory.mktemp("mute")
    market.archive(folder / "bars")
    pairs = {
        "sound": pair(folder / "sound", folder / "bars"),
        "deaf": pair(folder / "deaf", folder / "bars", plant="watchdog_off", feed={"confirm_silence": False}),
    }
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Seen.begin, pairs.values()))
        for seen in pairs.values():
            seen.venue.faults(mute_stream={"on": "data_stream", "from_ms": MUTE_FROM_MS, "count": 1})
            seen.venue.go()
        until = time.monotonic() + 60
        while not all(seen.venue.ask("/control")["over"] for seen in pairs.values()):
            assert time.monotonic() < until
            for seen in pairs.values():
                seen.look()
            time.sleep(0.005)
        sound = pairs["sound"]
        sound.trader.wait_decided(sound.venue.ask("/control")["closed_ms"])
        for seen in pairs.values():
            assert seen.trader.child.end(signal.SIGTERM) == 0, seen.trader.child.text()[-3000:]
        yield pairs
    finally:
        for seen in pairs.values():
            end(seen.venue, seen.trader)


def noticed(seen: Seen) -> int:
    """Market ms from the first bar that did not come to the new connection."""
    assert seen.missed_ms, "the stream was never muted"
    assert seen.reconnected_ms, "never made anew"
    took_ms = seen.reconnected_ms - seen.missed_ms
    assert took_ms <= LIMIT_MS, f"noticed after {took_ms} market ms"
    return took_ms


def nothing_lost(seen: Seen) -> int:
    """Every (symbol, minute) of the archive has its decision, from the archive's bar; how many."""
    rows = seen.trader.rows(
        "SELECT i.symbol, d.ts_ms, b.close FROM decisions d JOIN instruments i USING (symbol_id)"
        " JOIN bars b USING (ts_ms, symbol_id) WHERE d.ts_ms > ? AND NOT b.flags & 2",
        market.OPEN_MS,
    )
    played = {
        (symbol, market.OPEN_MS + (at + 1) * market.MINUTE_MS, close)
        for symbol in market.SAWS
        for at, close in enumerate(market.closes(symbol, MINUTES))
    }
    lost = played - set(rows)
    assert not lost, f"{len(lost)} decisions of {len(played)} lost: {sorted(lost)[:5]}"
    return len(played)


def test_silence_is_noticed_and_filled(two: dict[str, Seen], capsys: pytest.CaptureFixture[str]) -> None:
    """Within two intervals and five seconds of market time; by REST; no decision lost; the replay agrees."""
    seen = two["sound"]
    took_ms, decisions = noticed(seen), nothing_lost(seen)
    assert seen.by_rest >= len(market.SAWS), f"{seen.by_rest} bars by REST"
    for verb in ("verify", "audit"):
        code, text = asked(seen.trader, verb)
        assert code == 0, f"{verb}: {text[-2000:]}"
    with capsys.disabled():
        print(f"\nmute data socket: made anew {took_ms / 1000:.1f} market s after the first bar it kept back"
              f" (limit {LIMIT_MS / 1000:.0f}), {seen.by_rest} bars by REST;"
              f" {decisions} decisions, none lost")  # fmt: skip


def test_who_does_not_watch_finds_out_never(two: dict[str, Seen]) -> None:
    """The control: neither promise holds without watchdog and questions."""
    with pytest.raises(AssertionError, match="never made anew"):
        noticed(two["deaf"])
    with pytest.raises(AssertionError, match=r"decisions of .* lost"):
        nothing_lost(two["deaf"])
