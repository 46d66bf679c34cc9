"""`python -m tests.core.bits_probe` runs several markets and prints a digest of everything the engine wrote.

Started with and without numba's compiler, the two must print the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from avwapd.core import engine, machine
from avwapd.core.codes import SETUP_BREAKOUT_HOLD, SETUP_RECLAIM
from tests.core import market

ANCHORS = ("session", "week", "month", "year", "user", "swing_low", "swing_high")
HOUR_MS, FIVE_MS = 60 * market.MINUTE_MS, 5 * market.MINUTE_MS
BUSY = {"anchor_count": 7, "uses_ring": 1, "allow_short": 1, "min_position": 0.0, "max_risk_per_share": 0.0}


class Case(NamedTuple):
    name: str
    instruments: Any
    sessions: Any
    bars: Any
    params: Any


def numbered(bars: Any, symbol: int) -> Any:
    bars = bars.copy()
    bars["symbol"] = symbol
    return bars


def hourly(real: bool) -> Case:
    """Two equities, whole years of hourly bars with extended hours, splits and half days; breakout and hold."""
    if real:
        parts = [market.real_bars(f"us/{s}_1h.parquet")[6_000:18_000] for s in ("AAPL", "IBM")]
    else:
        table = market.bell_sessions(days=2_200)
        parts = [market.walk(market.grid(table, HOUR_MS), 0, 60.0, seed=n, step=0.008)[:12_000] for n in range(2)]
    first = min(int(p["ts_ms"][0]) for p in parts)
    days = (max(int(p["ts_ms"][-1]) for p in parts) - first) // market.DAY_MS + 10
    table = market.bell_sessions(first - 5 * market.DAY_MS, days)
    terms = {"commission_units": 100, "slippage_ppm": 250, "timeframe_ms": HOUR_MS}
    instruments = np.concatenate([market.equity(0, len(table), **terms) for _ in parts])
    params = market.params(HOUR_MS, setup=SETUP_BREAKOUT_HOLD, **BUSY, invalidation_pct=2.0)
    return Case("hourly", instruments, table, market.merged(*map(numbered, parts, range(2))), params)


def pairs(real: bool) -> Case:
    """Crypto around the clock, prices from 0.00003 to 0.1, real holes; reclaim; one pair converts by another."""
    names = ("ADA-BTC", "ETH-BTC", "XMR-BTC", "TRX-BTC")
    if real:
        parts = [market.real_bars(f"binance/{name}_5m.parquet") for name in names]
    else:
        table = market.utc_days(days=20)
        parts = [market.walk(market.grid(table, FIVE_MS), 0, 30.0, seed=n, step=0.01) for n in range(4)]
        for part in parts:
            for name in ("open", "high", "low", "close"):
                part[name] = part[name] / 1024.0
    first = min(int(p["ts_ms"][0]) for p in parts)
    table = market.utc_days(first - 3 * market.DAY_MS, 40)
    terms = {"tick": 1e-8, "lot": 0.01, "unit_value": 1e-10, "commission_ppm": 1_000, "slippage_ppm": 250}
    instruments = np.concatenate([market.crypto(0, len(table), **terms) for _ in parts])
    instruments["convert_symbol"][3] = 1
    params = market.params(FIVE_MS, bell=False, setup=SETUP_RECLAIM, **BUSY, start_equity=10.0)
    return Case("pairs", instruments, table, market.merged(*map(numbered, parts, range(4))), params)


def five_minutes() -> Case:
    """Made-up 5m bars of six equities: five-minute structure, volume profile, break-even, risk sizing, narrow caps."""
    table = market.bell_sessions(days=45)
    stamps = market.grid(table, FIVE_MS)
    parts = [market.walk(stamps, n, 40.0 + 11 * n, seed=n, step=0.003, lots=4_000) for n in range(6)]
    parts[2] = np.delete(parts[2], slice(400, 460))
    parts[3]["flags"][900:1_300] = 1
    parts[4]["flags"][50:80] = 2
    instruments = np.concatenate([market.equity(0, len(table), slippage_ppm=250) for _ in parts])
    changes = {"sizing": 1, "max_positions": 3, "flatten_before_close_ms": FIVE_MS, "cooldown_ms": 3_600_000}
    params = market.params(FIVE_MS, **BUSY, **changes)
    return Case("five_minutes", instruments, table, market.merged(*parts), params)


def cases() -> Iterator[Case]:
    try:
        market.real_bars("us/IBM_1h.parquet")
        real = True
    except pytest.skip.Exception:
        real = False
    yield hourly(real)
    yield pairs(real)
    yield five_minutes()


def world_of(case: Case) -> tuple[Any, int]:
    """A fresh World of a case and how many symbols it has."""
    count = len(case.instruments)
    middle = int(case.bars["ts_ms"][len(case.bars) // 4])
    lines = market.rules(count, *ANCHORS, k=3, from_ms=middle)
    longest = int((case.sessions["close_ms"] - case.sessions["open_ms"]).max())
    slots = longest // int(case.instruments["timeframe_ms"][0]) + 1
    return engine.new_world(case.instruments, case.sessions, lines, case.params, slots), count


def digests(world: Any, out: Any, books: Any) -> dict[str, str]:
    """sha256 of each array the engine writes, by name."""
    limits = {"decisions": machine.DECISIONS, "effects": machine.EFFECTS, "transitions": machine.TRANSITIONS}
    limits["fills"] = machine.FILLS
    arrays = {name: getattr(out, name)[: int(out.n[at])] for name, at in limits.items()}
    arrays |= {name: getattr(world, name) for name in ("portfolio", "profile", "profile_counts", "value")}
    arrays |= {name: np.ascontiguousarray(world.states[name]) for name in world.states.dtype.names}
    arrays |= {"counters": out.n, "books": books["orders"]}
    return {name: hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:20] for name, a in arrays.items()}


def run(case: Case) -> tuple[Any, Any, Any]:
    """(world, output, books) after all bars of a case."""
    world, count = world_of(case)
    out, books = engine.new_output(len(case.bars), len(case.bars) + 1_000), engine.new_books(count)
    row_of = np.full(count, -1, np.int64)
    done = engine.run(world, out, books, engine.reports_room(), case.bars, row_of, 0)
    assert (done, int(out.n[machine.ERROR])) == (len(case.bars), 0)
    return world, out, books


def lines() -> list[str]:
    """What the probe prints."""
    found = []
    for case in cases():
        world, out, books = run(case)
        found.append(f"{case.name}: {len(case.bars)} bars, {int(world.states['trade'].sum())} trades")
        found += [f"{case.name} {name} {digest}" for name, digest in digests(world, out, books).items()]
    return found


if __name__ == "__main__":
    print("\n".join(lines()))
