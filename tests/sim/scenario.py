"""What a simulated world is made of: a lively market, settings that trade it, and how bad the line is, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from avwapd.config import load
from avwapd.feeds.demo import generate
from avwapd.feeds.market import hash_of
from avwapd.feeds.world import Setup, build, warm
from avwapd.venues.faults import FaultPlan

NO_FOLDER = Path("/nonexistent")

# Much happens within few bars: early entries, near targets, a stop that is soon moved.
LIVELY = {
    "run.mode": "sim",
    "run.account": "sim",
    "signal.min_bars": "6",
    "gates.open_delay_min": "0",
    "gates.volume_ratio": "0",
    "gates.entries_per_symbol_day": "50",
    "gates.last_entry_min": "10",
    "gates.shortest_entry_delay_s": "0",
    "gates.longest_entry_delay_s": "240",
    "exit.r1_multiple": "0.5",
    "exit.r2_multiple": "1.2",
    "stop.guard_min": "0",
    "stop.guard_bars": "1",
    "stop.guard_pct": "0.2",
    "stop.trail_pct": "0.5",
    "caps.daily_loss_block_fraction": "0.5",
    "size.method": "risk_per_trade",
    "heartbeat.interval_ms": "10000",
    "heartbeat.stall_after_ms": "30000",
    "embedded.settling_ms": "500",
}


@dataclass(frozen=True)
class Plan:
    """One scenario. `options`: settings over LIVELY; `bars`: rows of the market that are played."""

    seed: int
    kind: str = "equity"
    symbols: int = 3
    timeframe: str = "5m"
    sessions: int = 3
    barriers: int = 160
    options: Mapping[str, str] = field(default_factory=dict)
    faults: FaultPlan = field(default_factory=FaultPlan)
    refuses_duplicates: bool = True
    bar_s: float = 0.0  # seconds between the bars of a market that runs by itself; 0: it waits for the daemon

    def without_faults(self) -> Plan:
        """The same world on a perfect line."""
        return replace(self, faults=FaultPlan(), refuses_duplicates=True)

    @property
    def setup(self) -> Setup:
        settings = LIVELY | dict(self.options)
        settings["run.timeframe"] = self.timeframe
        settings["embedded.market_clock"] = "venue" if self.bar_s else "feed"
        settings["embedded.refuses_duplicates"] = str(self.refuses_duplicates).lower()
        words = tuple(sorted(settings.items()))
        return _setup(self.kind, self.symbols, self.timeframe, self.sessions, self.barriers, self.seed, words)


@cache
def _market(kind: str, symbols: int, timeframe: str, sessions: int, barriers: int, seed: int) -> Any:
    names = tuple(f"S{i}-USD" if kind == "crypto" or (kind == "mixed" and i % 2) else f"S{i}" for i in range(symbols))
    market = generate(names, sessions, timeframe, seed, kind)
    times = np.unique(market.bars["ts_ms"])[:barriers]
    bars = market.bars[: int(np.searchsorted(market.bars["ts_ms"], times[-1], side="right"))]
    return replace(market, bars=bars, data_hash=hash_of(bars))


@cache
def _setup(
    kind: str, symbols: int, timeframe: str, sessions: int, barriers: int, seed: int, words: tuple[tuple[str, str], ...]
) -> Setup:
    config = load(None, folder=NO_FOLDER, environ={}, options=dict(words))
    setup = build(config, _market(kind, symbols, timeframe, sessions, barriers, seed))
    warm(setup)
    return setup


def bad_line(rng: Random, seed: int) -> FaultPlan:
    """Some of every fault; the answers that come at all come within the deadline, most of the time."""
    return FaultPlan(
        delay_ms=rng.choice([0.0, 1.0, 20.0]),
        delay_jitter_ms=rng.choice([0.0, 5.0, 90.0]),
        lose_request=rng.choice([0.0, 0.05, 0.2]),
        lose_answer=rng.choice([0.05, 0.2]),
        double_request=rng.choice([0.0, 0.2]),
        late_request=rng.choice([0.0, 0.1, 0.2]),
        late_ms=rng.choice([50.0, 300.0, 2_000.0]),
        double_words=rng.choice([0.0, 0.3]),
        seed=seed,
    )


def mixed(seed: int) -> Plan:
    """A world for the campaigns: any kind of market, partial fills or none, any trouble on the line."""
    rng = Random(f"{seed}/plan")
    kind = rng.choice(["equity", "equity", "crypto", "mixed"])
    options = {
        "run.speed": "20",
        "fills.volume_share": rng.choice(["0.1", "0.002", "0.0005"]),
        "signal.allow_short": rng.choice(["true", "false"]),
        "signal.setup": rng.choice(["breakout_hold", "breakout_hold", "reclaim"]),
        "order.entry_type": rng.choice(["limit", "market"]),
    }
    if kind == "equity":
        options["exit.flatten_before_close"] = rng.choice(["true", "false"])
    return Plan(
        seed=seed,
        kind=kind,
        symbols=rng.choice([2, 3, 4]),
        timeframe="15m" if kind == "crypto" else "5m",
        barriers=rng.choice([70, 110, 160]),
        options=options,
        faults=bad_line(rng, seed),
    )
