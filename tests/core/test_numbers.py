"""AVWAP and sigma against exact arithmetic, on real, made-up and hard bars; the naive formulas fail there."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from avwapd.core import avwap
from avwapd.core.records import MAX_ANCHORS
from tests.core import market
from tests.core.exact import SIGMA_LIMIT, anchored, assert_close, exact, fold_all

REAL = [
    "us/SPY_1h.parquet",
    "us/GOOG_1m.parquet",
    "us/AAPL_1d.parquet",
    "coinbase/BTC-USD_1m.parquet",
    "binance/TRX-BTC_5m.parquet",
    "binance/XRP-ETH_5m.parquet",
]


def columns(bars: Any) -> tuple[Any, Any, Any, Any]:
    high, low, close, volume = (np.ascontiguousarray(bars[n]) for n in ("high", "low", "close", "volume"))
    return high, low, close, volume


def check_from(bars: Any, start: int, count: int) -> None:
    part = columns(bars[start : start + count])
    line = anchored(part[2][0])
    fold_all(line[0], *part)
    if part[3].sum() == 0.0:
        assert np.isnan(avwap.level(line[0]))
        return
    assert_close(line[0], *exact(*part))


@pytest.mark.parametrize("path", REAL)
def test_real_bars(path: str) -> None:
    bars = market.real_bars(path)
    for start in (0, len(bars) // 3, len(bars) - 60):
        check_from(bars, start, 2_500)


@pytest.mark.parametrize("price", [0.05, 3.0, 180.0, 100_000.0])
def test_generated_bars(price: float) -> None:
    stamps = np.arange(1, 3_001) * market.MINUTE_MS
    check_from(market.walk(stamps, 0, price, seed=5, step=0.01 if price < 1 else 0.002), 0, 3_000)


# The hard case: every price is one of three neighbouring cents, so few different bars exist and their exact sums are
# sums over kinds of bar.
CENTS = np.array([99_999.99, 100_000.00, 100_000.01])
HARD_BARS = 10_000_000


@pytest.fixture(scope="module")
def hard() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    kind = rng.integers(0, 27, HARD_BARS, dtype=np.int8)
    volume = rng.integers(1, 10_000, HARD_BARS, dtype=np.int32)
    weights = [int(volume[kind == k].sum(dtype=np.int64)) for k in range(27)]
    prices = [sum(Fraction(float(CENTS[k // by % 3])) for by in (9, 3, 1)) / 3 for k in range(27)]
    total = sum(weights)
    mean = sum(w * p for w, p in zip(weights, prices, strict=True)) / total
    variance = sum(w * (p - mean) ** 2 for w, p in zip(weights, prices, strict=True)) / total
    high, low, close = (CENTS[kind // by % 3] for by in (9, 3, 1))
    return {"bars": (high, low, close, volume.astype(float)), "mean": mean, "variance": variance}


def test_ten_million_bars_at_100_000_with_a_spread_of_a_cent(hard: dict[str, Any]) -> None:
    line = anchored(hard["bars"][2][0])
    fold_all(line[0], *hard["bars"])
    assert_close(line[0], hard["mean"], hard["variance"])


def test_the_naive_formulas_fail_the_hard_case(hard: dict[str, Any]) -> None:
    high, low, close, volume = hard["bars"]
    typical = (high + low + close) / 3
    weight, first = volume.sum(), np.cumsum(typical * volume)[-1]
    second = np.cumsum(typical * typical * volume)[-1]
    variance = second / weight - (first / weight) ** 2
    assert abs(Fraction(variance) - hard["variance"]) / hard["variance"] > 1000 * SIGMA_LIMIT

    unshifted = anchored(0.0)
    fold_all(unshifted[0], *hard["bars"])
    deviation = float(avwap.sigma(unshifted[0]))
    assert abs(Fraction(deviation) ** 2 - hard["variance"]) / (2 * hard["variance"]) > SIGMA_LIMIT


def test_incremental_and_batch_give_the_same_bits() -> None:
    symbols, length = 4, 400
    bars = [
        market.walk(np.arange(1, length + 1), n, price, seed=n) for n, price in enumerate((0.2, 7.0, 120.0, 100_000.0))
    ]
    for part in bars:
        part["volume"][:7] = 0.0
    high, low, close, volume = (np.stack(c) for c in zip(*(columns(b) for b in bars), strict=True))
    starts = np.random.default_rng(2).integers(0, length, (symbols, MAX_ANCHORS))
    starts[:, 0], starts[:, 7] = 0, length
    lines, sigmas = np.empty((symbols, length, MAX_ANCHORS)), np.empty((symbols, length, MAX_ANCHORS))
    avwap.fold_matrix(high, low, close, volume, starts, np.empty(avwap.SCRATCH), lines, sigmas)
    assert np.isnan(lines[:, :7, 0]).all()
    assert np.isnan(lines[:, :, 7]).all()
    for s, a in np.ndindex(symbols, MAX_ANCHORS):
        expected = np.full((2, length), np.nan)
        line = anchored(close[s, min(starts[s, a], length - 1)])
        for t in range(starts[s, a], length):
            avwap.fold(line[0], avwap.HLC3, 0.0, high[s, t], low[s, t], close[s, t], volume[s, t])
            expected[:, t] = avwap.level(line[0]), avwap.sigma(line[0])
        assert expected[0].tobytes() == np.ascontiguousarray(lines[s, :, a]).tobytes()
        assert expected[1].tobytes() == np.ascontiguousarray(sigmas[s, :, a]).tobytes()


def test_a_bar_without_volume_carries_the_line_on() -> None:
    line = anchored(50.0)
    assert np.isnan(avwap.level(line[0]))
    avwap.fold(line[0], avwap.HLC3, 50.0, 51.0, 49.0, 50.0, 0.0)
    assert np.isnan(avwap.level(line[0]))
    assert np.isnan(avwap.sigma(line[0]))
    avwap.fold(line[0], avwap.HLC3, 50.0, 53.0, 50.0, 50.0, 10.0)
    before = line.tobytes()
    avwap.fold(line[0], avwap.HLC3, 50.0, 90.0, 80.0, 85.0, 0.0)
    assert (line.tobytes(), avwap.level(line[0])) == (before, 51.0)


@pytest.mark.parametrize(("source", "expected"), [(avwap.HLC3, 101.0), (avwap.OHLC4, 101.5), (avwap.CLOSE, 100.0)])
def test_price_sources(source: int, expected: float) -> None:
    line = anchored(100.0)
    avwap.fold(line[0], source, 103.0, 104.0, 99.0, 100.0, 5.0)
    assert avwap.level(line[0]) == expected


def test_bands_by_hand() -> None:
    """Prices 100 (weight 1) and 104 (weight 3): mean 103, variance (9 + 3) / 4 = 3."""
    line = anchored(100.0)
    avwap.fold(line[0], avwap.CLOSE, 0.0, 0.0, 0.0, 100.0, 1.0)
    avwap.fold(line[0], avwap.CLOSE, 0.0, 0.0, 0.0, 104.0, 3.0)
    assert avwap.level(line[0]) == 103.0
    assert avwap.sigma(line[0]) == pytest.approx(3.0**0.5, rel=1e-15)
