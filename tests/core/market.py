"""Instruments, sessions, parameters and bars for the core's tests, small enough to compute by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from avwapd import config, settings
from avwapd.core.codes import ANCHORS, CRYPTO, EQUITY
from avwapd.core.records import ANCHOR_RULE, BAR, INSTRUMENT, MAX_ANCHORS, SESSION
from avwapd.feeds.calendar import ALWAYS, BELL, sessions

MINUTE_MS, DAY_MS = 60_000, 86_400_000
JANUARY_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z, a Monday
DATA = Path(__file__).parents[2] / "../shared/data"


@cache
def defaults() -> config.Config:
    return config.load(folder=Path("/nonexistent"), environ={})


def params(timeframe_ms: int = 5 * MINUTE_MS, bell: bool = True, unattended: bool = True, **changes: float) -> Any:
    """The shipped defaults as PARAMS [1], with changes by name."""
    record = settings.params(defaults(), currency="USD", timeframe_ms=timeframe_ms, bell=bell, unattended=unattended)
    for name, value in changes.items():
        record[name] = value
    return record


# Nothing in the way of an entry and no costs: what a test looks at, it switches on.
PLAIN = {
    "min_bars": 0,
    "open_delay_ms": 0,
    "last_entry_ms": 0,
    "entry_delay_min_ms": 0,
    "entry_delay_max_ms": 0,
    "min_position": 0.0,
    "volume_share": 1.0,
    "invalidation_pct": -1.0,
    "time_stop_sessions": 0,
    "min_hold_ms": 0,
}


def equity(first: int, count: int, timeframe_ms: int = 5 * MINUTE_MS, **changes: float) -> Any:
    """An INSTRUMENT record: cents, whole shares, no costs."""
    record = np.zeros(1, INSTRUMENT)
    record["tick"], record["lot"], record["unit_value"] = 0.01, 1.0, 0.01
    record["timeframe_ms"] = timeframe_ms
    record["min_qty"] = 1
    record["hash"] = 12_345
    record["session_first"], record["session_count"] = first, count
    record["convert_symbol"] = -1
    record["asset"], record["bell"], record["shortable"], record["tradable"] = EQUITY, 1, 1, 1
    record["daily"] = timeframe_ms >= DAY_MS
    for name, value in changes.items():
        record[name] = value
    return record


def crypto(first: int, count: int, timeframe_ms: int = 5 * MINUTE_MS, **changes: float) -> Any:
    """An INSTRUMENT record: cents, lots of 1/10,000, no costs, open all day."""
    terms: dict[str, float] = {"lot": 0.0001, "unit_value": 1e-6, "asset": CRYPTO, "bell": 0, **changes}
    return equity(first, count, timeframe_ms, **terms)


def bell_sessions(first_ms: int = JANUARY_MS, days: int = 30) -> Any:
    """SESSION records of New York; the first begins on or after first_ms."""
    table = sessions(BELL, first_ms, first_ms + days * DAY_MS)
    return table[(table["open_ms"] >= first_ms) & (table["open_ms"] < first_ms + days * DAY_MS)]


def utc_days(first_ms: int = JANUARY_MS, days: int = 30) -> Any:
    table = sessions(ALWAYS, first_ms, first_ms + days * DAY_MS)
    return table[(table["open_ms"] >= first_ms) & (table["open_ms"] < first_ms + days * DAY_MS)]


def one_session(minutes: int, date: int = 20240102) -> Any:
    """A single session that opens at 14:30 UTC."""
    record = np.zeros(1, SESSION)
    opens = JANUARY_MS + DAY_MS + 870 * MINUTE_MS
    record[0] = (opens, opens + minutes * MINUTE_MS, date, 2818, 202401, 2024)
    return record


def rules(symbols: int, *kinds: str, k: int = 2, from_ms: int = 0) -> Any:
    """ANCHOR_RULE [symbols, MAX_ANCHORS]; the first kind is the level."""
    table = np.zeros((symbols, MAX_ANCHORS), ANCHOR_RULE)
    for symbol in range(symbols):
        for slot, kind in enumerate(kinds):
            table[symbol, slot] = (ANCHORS.index(kind), symbol, from_ms, k, slot)
    return table


def grid(table: Any, timeframe_ms: int) -> Any:
    """Every close of a session table's intraday bars, int64."""
    parts = [np.arange(row["open_ms"] + timeframe_ms, row["close_ms"] + 1, timeframe_ms) for row in table]
    return np.concatenate(parts)


def walk(stamps: Any, symbol: int, start: float, seed: int, step: float = 0.004, lots: float = 5_000.0) -> Any:
    """BAR records of a random walk in whole cents; some bars trade nothing."""
    rng = np.random.default_rng(seed)
    bars = np.zeros(len(stamps), BAR)
    close = np.round(start * np.exp(np.cumsum(rng.normal(0.0, step, len(stamps)))), 2)
    opens = np.round(np.concatenate([[start], close[:-1]]) * (1.0 + rng.normal(0.0, step / 4, len(stamps))), 2)
    reach = np.abs(rng.normal(0.0, step / 2, (2, len(stamps))))
    bars["ts_ms"], bars["symbol"], bars["open"], bars["close"] = stamps, symbol, opens, close
    bars["high"] = np.round(np.maximum(opens, close) * (1.0 + reach[0]), 2)
    bars["low"] = np.round(np.minimum(opens, close) * (1.0 - reach[1]), 2)
    volume = np.round(lots * rng.gamma(2.0, 0.5, len(stamps)))
    bars["volume"] = np.where(rng.random(len(stamps)) < 0.03, 0.0, volume)
    return bars


def merged(*parts: Any) -> Any:
    """BAR records of several symbols, sorted as `run` wants them."""
    bars = np.concatenate(parts)
    return bars[np.lexsort((bars["symbol"], bars["ts_ms"]))]


def real_bars(path: str, symbol: int = 0) -> Any:
    """BAR records of a file of the shared data; the test is skipped where it is missing."""
    file = DATA / "bars" / path
    if not file.exists():
        pytest.skip("no ../shared/data beside this checkout")
    table = pq.read_table(file)
    bars = np.zeros(len(table), BAR)
    bars["symbol"] = symbol
    for name in ("ts_ms", "open", "high", "low", "close", "volume"):
        bars[name] = table[name].to_numpy()
    return bars
