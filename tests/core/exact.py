"""AVWAP and sigma in rational arithmetic on the float64 inputs: what the engine is measured against."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numba
import numpy as np

from avwapd.core import avwap
from avwapd.core.records import AVWAP

LINE_LIMIT, SIGMA_LIMIT, RESOLVED = Fraction(1, 10**12), Fraction(1, 10**9), 0.01


def exact(high: Any, low: Any, close: Any, volume: Any) -> tuple[Fraction, Fraction]:
    """(AVWAP, variance) of all bars, exactly."""
    weight = first = second = Fraction(0)
    for h, low_, c, v in zip(high.tolist(), low.tolist(), close.tolist(), volume.tolist(), strict=True):
        p, v = (Fraction(h) + Fraction(low_) + Fraction(c)) / 3, Fraction(v)
        weight, first, second = weight + v, first + p * v, second + p * p * v
    mean = first / weight
    return mean, second / weight - mean * mean


@numba.njit(error_model="numpy")
def fold_all(line: Any, high: Any, low: Any, close: Any, volume: Any) -> None:
    """Fold whole columns into an anchored line."""
    for i in range(len(close)):
        avwap.fold(line, avwap.HLC3, close[i], high[i], low[i], close[i], volume[i])


def anchored(close: float) -> Any:
    """AVWAP [1], anchored at a bar that closed at `close`."""
    line = np.zeros(1, AVWAP)
    avwap.begin(line[0], 1, 1, close)
    return line


def assert_close(line: Any, mean: Fraction, variance: Fraction) -> None:
    """The line is within the promised distance of the exact values."""
    price, deviation = float(avwap.level(line)), float(avwap.sigma(line))
    assert abs(Fraction(price) - mean) / mean <= LINE_LIMIT
    offset = abs(mean - Fraction(float(line["shift"])))
    if variance > 0 and (not offset or variance / offset**2 >= RESOLVED**2):
        # (s - sigma) / sigma, without leaving the rationals: half the relative error of the square.
        assert abs(Fraction(deviation) ** 2 - variance) / (2 * variance) <= SIGMA_LIMIT
