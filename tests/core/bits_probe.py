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
from avwapd.core.codes import SETUP_BREAKOUT_HOLD, SETUP_PINCH, SETUP_PULLBACK, SETUP_RECLAIM, SETUPS
from avwapd.core.records import WATCH
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
    lists: tuple[tuple[int, Any], ...] = ()  # WATCH rows and the bar before which they take over


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


def rows_of(case: Case, session: int, rng: Any) -> Any:
    """A list made of one session's bars: some symbols, both sides, levels near the last close, all figures mixed."""
    date = int(case.sessions["date"][session])
    within = (case.bars["ts_ms"] > case.sessions["open_ms"][session]) & (
        case.bars["ts_ms"] <= case.sessions["close_ms"][session]
    )
    found = []
    for symbol in range(len(case.instruments)):
        bars = case.bars[within & (case.bars["symbol"] == symbol)]
        if not len(bars) or rng.random() < 0.25:
            continue
        high, low, close = bars["high"].max(), bars["low"].min(), bars["close"][-1]
        side = 1 if rng.random() < 0.7 else -1
        pivot = (high + low + close) / 3.0
        row = np.zeros(1, WATCH)
        row["symbol"], row["scan_date"], row["side"] = symbol, date, side
        row["tier"], row["execute"] = rng.integers(1, 3), rng.random() < 0.9
        row["level"] = round(close * (1.0 - side * rng.uniform(-0.004, 0.004)), 2)
        row["stop"] = round(close * (1.0 - side * rng.uniform(0.01, 0.03)), 2)
        row["r1"] = round(2 * pivot - (low if side > 0 else high), 2)
        row["r2"] = round(pivot + side * (high - low), 2)
        row["trend_score"], row["dist_pct"] = round(rng.normal(0, 10), 6), round(rng.uniform(0, 2), 2)
        row["slope"], row["atr"] = round(side * rng.uniform(-0.04, 0.05), 4), close * rng.uniform(0.01, 0.03)
        row["swing_low"], row["swing_high"] = low, high if rng.random() < 0.9 else np.nan
        found.append(row)
    return np.concatenate([np.zeros(0, WATCH), *found])


def listed() -> Case:
    """The five-minute market traded on a list a session, one of them forgotten, one without rows."""
    case = five_minutes()
    rng = np.random.default_rng(5)
    lists = []
    for session in range(4, len(case.sessions) - 1):
        if session == 9:
            continue
        at = int(np.searchsorted(case.bars["ts_ms"], case.sessions["close_ms"][session], side="right"))
        rows = rows_of(case, session, rng)
        lists.append((at, rows[:0] if session == 12 else rows))
    params = case.params.copy()
    params["max_drift_pct"], params["watch_required"] = 8.0, 1
    return case._replace(name="listed", params=params, lists=tuple(lists))


def setup_of(setup: int, **changes: float) -> Case:
    """The five-minute market under another setup."""
    case = five_minutes()
    params = case.params.copy()
    for name, value in {"setup": setup, **changes}.items():
        params[name] = value
    return case._replace(name=SETUPS[setup], params=params)


def days() -> Case:
    """Daily bars of eight equities; each day's list is there before its bars."""
    table = market.bell_sessions(days=800)
    stamps = table["open_ms"] + 390 * market.MINUTE_MS
    parts = [market.walk(stamps, n, 30.0 + 9 * n, seed=n, step=0.02, lots=900_000) for n in range(8)]
    instruments = np.concatenate([market.equity(0, len(table), market.DAY_MS, slippage_ppm=250) for _ in parts])
    params = market.params(market.DAY_MS, **{**BUSY, "max_positions": 4, "watch_execute_only": 0})
    case = Case("days", instruments, table, market.merged(*parts), params)
    rng = np.random.default_rng(7)
    lists = [
        (int(np.searchsorted(case.bars["ts_ms"], table["open_ms"][session])), rows_of(case, session, rng))
        for session in range(40, len(table))
    ]
    return case._replace(lists=tuple(lists))


def cases() -> Iterator[Case]:
    try:
        market.real_bars("us/IBM_1h.parquet")
        real = True
    except pytest.skip.Exception:
        real = False
    yield hourly(real)
    yield pairs(real)
    yield five_minutes()
    yield listed()
    yield days()
    yield setup_of(SETUP_PULLBACK, pullback_sigma=0.5)
    yield setup_of(SETUP_PINCH, pinch_anchor=1)


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
    arrays |= {"counters": out.n, "books": books["orders"], "watch": world.watch}
    return {name: hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:20] for name, a in arrays.items()}


def run(case: Case) -> tuple[Any, Any, Any]:
    """(world, output, books) after all bars of a case."""
    world, count = world_of(case)
    out, books = engine.new_output(len(case.bars), len(case.bars) + 1_000), engine.new_books(count)
    row_of = np.full(count, -1, np.int64)
    done = 0
    for end, rows in (*case.lists, (len(case.bars), None)):
        done = engine.run(world, out, books, engine.reports_room(), case.bars[:end], row_of, done)
        assert (done, int(out.n[machine.ERROR])) == (end, 0)
        if rows is not None:
            engine.watch(world, rows)
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
