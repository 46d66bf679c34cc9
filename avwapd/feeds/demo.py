"""Made-up markets from a seed: for a first run without network or account, for tests and benches.

Each symbol goes through spells of trend, rest and back-and-forth, opens with a gap, trades most at both ends
of its session, and moves partly with the others. Only uniform numbers, + − × / and rounding are used, so that
the same seed gives the same bits on every machine. `python -m avwapd.feeds.demo` writes the bundled market
anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.core.records import BAR
from avwapd.feeds import FeedError
from avwapd.feeds.calendar import ALWAYS, BELL, DAY_MS, calendar_version, sessions, stamps_of
from avwapd.feeds.market import Market, hash_of

Floats = NDArray[np.float64]
EXCHANGE = "demo"
FOLDER = Path(__file__).with_name("demo_market")
BUNDLED: Mapping[str, Any] = {
    "symbols": ("BIRCH", "CEDAR", "HAZEL", "MAPLE", "ROWAN", "WILLOW"),
    "session_count": 25,
    "timeframe": "5m",
    "seed": 7,
    "start": "2025-11-10",  # Thanksgiving and its half day lie inside
}
DECIMALS = {"equity": (2, 0), "crypto": (2, 4)}  # of price and volume
PRICE_RANGE = {"equity": (24.0, 180.0), "crypto": (300.0, 40_000.0)}
VOLUME_A_DAY = {"equity": (600_000.0, 6_000_000.0), "crypto": (2_000.0, 20_000.0)}
DAY_MOVE = {"equity": 0.022, "crypto": 0.035}  # typical size of a day's move
GAP_MOVE, MARKET_SHARE, SPELL_BARS = 0.008, 0.4, 30
SESSIONS_A_WEEK = 4  # fewer than any week but Christmas's, to ask the calendar for enough


@dataclass(frozen=True)
class _Grid:
    """The bars of one calendar: when they close, which open a session, how far through it they are."""

    ts_ms: NDArray[np.int64]
    opening: NDArray[np.bool_]
    through: Floats  # 0 … 1
    day_share: Floats  # of a session's variance that falls on this bar


def generate(
    symbols: Sequence[str],
    session_count: int,
    timeframe: str,
    seed: int,
    kind: str = "equity",
    start: str = "2024-01-02",
) -> Market:
    """`session_count` sessions from `start` on. kind: equity, crypto, or mixed (BASE-QUOTE is crypto)."""
    if kind not in ("equity", "crypto", "mixed"):
        raise ValueError(f"kind {kind!r} is not equity, crypto or mixed")
    ordered = tuple(sorted(symbols))
    if not ordered or len(set(ordered)) != len(ordered):
        raise ValueError("a demo market needs symbols, each once")
    of = {s: kind if kind != "mixed" else ("crypto" if "-" in s else "equity") for s in ordered}
    parts = []
    for asset in sorted(set(of.values())):
        chosen = np.array([i for i, symbol in enumerate(ordered) if of[symbol] == asset], np.int32)
        grid = _grid(BELL if asset == "equity" else ALWAYS, session_count, timeframe, start)
        parts.append(_bars(asset, chosen, grid, np.random.default_rng([seed, int(asset == "crypto")])))
    bars = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(parts) > 1:
        bars = bars[np.lexsort((bars["symbol"], bars["ts_ms"]))]
    instruments = tuple(_instrument(symbol, of[symbol]) for symbol in ordered)
    return Market(EXCHANGE, timeframe, ordered, instruments, bars, hash_of(bars), calendar_version())


def _grid(calendar: str, count: int, timeframe: str, start: str) -> _Grid:
    first_ms = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()) * 1000
    table = sessions(calendar, first_ms, first_ms + (count // SESSIONS_A_WEEK + 1) * 7 * DAY_MS)
    table = table[table["open_ms"] >= first_ms][:count]
    step = TIMEFRAME_MS[timeframe]
    if timeframe.endswith("d"):
        ones = np.ones(len(table))
        return _Grid(stamps_of(calendar, table), ones.astype(bool), ones / 2, ones)
    numbers = [np.arange(row["open_ms"] // step + 1, row["close_ms"] // step + 1) for row in table]
    lengths = np.array([len(n) for n in numbers])
    place = np.concatenate([np.arange(n) for n in lengths])
    through = (place + 0.5) / np.repeat(lengths, lengths)
    return _Grid(np.concatenate(numbers) * step, place == 0, through, 1.0 / np.repeat(lengths, lengths))


def _bell(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Near-normal numbers of variance 1, each the sum of three uniform ones."""
    total = rng.random(shape)
    total += rng.random(shape)
    total += rng.random(shape)
    total -= 1.5
    total *= 2.0
    return total


def _between(rng: np.random.Generator, ends: tuple[float, float], count: int) -> Floats:
    """Spread so that small values are as frequent as large ones are rare."""
    return ends[0] + (ends[1] - ends[0]) * rng.random(count) * rng.random(count)


def _spells(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """(drift, echo): what a spell adds to each move, in deviations, and how much of the last move returns."""
    bars, count = shape
    number = np.cumsum(rng.random(shape) < 1.0 / SPELL_BARS, axis=0)
    most = int(number[-1].max()) + 1 if bars else 1
    mood, side = rng.random((most, count)), rng.random((most, count))
    drift = np.where(mood < 0.45, np.where(side < 0.52, 0.32, -0.32), 0.0)
    echo = np.where(mood < 0.45, 0.1, np.where(mood < 0.75, -0.35, 0.0))
    columns = np.arange(count)
    return drift[number, columns], echo[number, columns]


def _moves(asset: str, grid: _Grid, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(relative move of each bar, relative gap before it); shape (bars, count)."""
    shape = (len(grid.ts_ms), count)
    edge = 2.0 * grid.through - 1.0
    swing = np.sqrt(grid.day_share) * (0.7 + 0.9 * edge * edge) * DAY_MOVE[asset]
    shock = np.sqrt(1.0 - MARKET_SHARE * MARKET_SHARE) * _bell(rng, shape)
    shock += MARKET_SHARE * _bell(rng, (shape[0], 1))
    drift, echo = _spells(rng, shape)
    echo[1:] *= shock[:-1]
    echo[:1] = 0.0
    calm = 0.6 + 0.8 * rng.random(count)
    move = np.clip((shock + echo + drift) * swing[:, None] * calm, -0.2, 0.2)
    gap = np.zeros(shape)
    if asset == "equity":
        overnight = _bell(rng, (int(grid.opening.sum()), count))
        gap[grid.opening] = GAP_MOVE * overnight * np.abs(overnight)
        gap[:1] = 0.0
    return move, gap


def _bars(asset: str, index: NDArray[np.int32], grid: _Grid, rng: np.random.Generator) -> NDArray[np.void]:
    """BAR records of these symbols, sorted by (ts_ms, symbol)."""
    shape = (len(grid.ts_ms), len(index))
    move, gap = _moves(asset, grid, len(index), rng)
    decimals, volume_decimals = DECIMALS[asset]
    price = partial(_rounded, decimals=decimals, least=10.0**-decimals)
    first = _between(rng, PRICE_RANGE[asset], len(index))
    close = first * np.cumprod((1.0 + move) * (1.0 + gap), axis=0)
    start = np.empty(shape)
    start[:1] = first
    start[1:] = close[:-1]
    start *= 1.0 + gap
    bars = np.zeros(shape, BAR)
    bars["ts_ms"], bars["symbol"] = grid.ts_ms[:, None], index
    size = np.abs(move)
    calm = np.sqrt(grid.day_share)[:, None] * DAY_MOVE[asset] * 0.5
    bars["open"], bars["close"] = price(start), price(close)
    bars["high"] = price(np.maximum(start, close) * (1.0 + calm * rng.random(shape) * rng.random(shape)))
    bars["low"] = price(np.minimum(start, close) * (1.0 - calm * rng.random(shape) * rng.random(shape)))
    edge = 2.0 * grid.through - 1.0
    usual = grid.day_share * (0.5 + 1.5 * edge * edge)
    eager = (0.4 + rng.random(shape) + rng.random(shape) * rng.random(shape)) * (0.6 + 0.6 * size / calm)
    traded = _between(rng, VOLUME_A_DAY[asset], len(index)) * usual[:, None] * eager
    bars["volume"] = _rounded(traded, volume_decimals, least=1.0)
    return bars.reshape(-1)


def _rounded(values: Floats, decimals: int, least: float) -> Floats:
    scale = 10.0**decimals
    return np.maximum(np.rint(values * scale) / scale, least)


def _instrument(symbol: str, asset: str) -> dict[str, str]:
    decimals, lots = DECIMALS[asset]
    return {
        "exchange": EXCHANGE,
        "symbol": symbol,
        "asset": asset,
        "quote": symbol.rpartition("-")[2] if asset == "crypto" and "-" in symbol else "USD",
        "tick": f"{10.0**-decimals:.{decimals}f}",
        "lot": f"{10.0**-lots:.{lots}f}",
        "min_qty": f"{10.0**-lots:.{lots}f}",
        "min_notional": "0",
        "calendar": ALWAYS if asset == "crypto" else BELL,
        "price_source": "hlc3",
    }


# ------------------------------------------------------------- the bundled market
# Prices as whole cents in 32 bits, for a third of the size; cents / 100 gives back the very same float.


def bundle() -> None:
    """Write the bundled market from its seed."""
    market = generate(**BUNDLED)
    bars = market.bars
    columns = {name: np.rint(bars[name] * 100).astype("<i4") for name in ("open", "high", "low", "close")}
    minutes = (bars["ts_ms"] // 60_000).astype("<i4")
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "bars.npz").open("wb") as file:
        np.savez_compressed(
            file,
            minute=minutes,
            symbol=bars["symbol"].astype("u1"),
            volume=bars["volume"].astype("<i4"),
            **columns,
        )
    facts = {
        "exchange": market.exchange,
        "timeframe": market.timeframe,
        "symbols": market.symbols,
        "instruments": market.instruments,
        "data_hash": market.data_hash,
        "calendar_version": market.calendar_version,
    }
    (FOLDER / "market.json").write_text(json.dumps(facts, indent=1) + "\n")


def bundled_market() -> Market:
    """The market that travels with the program: six equities, 25 sessions of 5m bars, one a half day."""
    facts = json.loads((FOLDER / "market.json").read_text())
    with np.load(FOLDER / "bars.npz") as columns:
        bars = np.zeros(len(columns["minute"]), BAR)
        bars["ts_ms"] = columns["minute"].astype(np.int64) * 60_000
        for name in ("symbol", "volume"):
            bars[name] = columns[name]
        for name in ("open", "high", "low", "close"):
            bars[name] = columns[name] / 100.0
    if hash_of(bars) != facts["data_hash"]:
        raise FeedError("the bundled market is damaged", FOLDER, "install avwapd again")
    facts["symbols"], facts["instruments"] = tuple(facts["symbols"]), tuple(facts["instruments"])
    return Market(bars=bars, **facts)


if __name__ == "__main__":
    bundle()
    sys.stderr.write(f"wrote {FOLDER}\n")
