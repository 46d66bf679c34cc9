"""AVWAP and sigma of a whole universe: eight anchors of 3,000 symbols over 500 days, into warm buffers, one thread."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from avwapd.core import avwap
from avwapd.core.records import MAX_ANCHORS
from bench.measure import Line, medians, milliseconds


@numba.njit(error_model="numpy")
def store(lines: Any, sigmas: Any, value: float) -> None:
    """The least that anything can do that writes as many bytes."""
    for i in range(lines.shape[0]):
        for j in range(lines.shape[1]):
            for k in range(lines.shape[2]):
                lines[i, j, k] = value
            for k in range(lines.shape[2]):
                sigmas[i, j, k] = value


def cumulative(bars: tuple[Any, ...], starts: Any, lines: Any, sigmas: Any) -> None:
    """The same by NumPy's running sums, as it is usually written (and with the usual loss of digits)."""
    high, low, close, volume = bars
    typical = (high + low + close) / 3.0
    at = np.arange(close.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        for a in range(MAX_ANCHORS):
            weight = np.where(at >= starts[:, a : a + 1], volume, 0.0)
            total = np.cumsum(weight, axis=1)
            mean = np.cumsum(weight * typical, axis=1) / total
            square = np.cumsum(weight * typical * typical, axis=1) / total
            lines[:, :, a] = mean
            sigmas[:, :, a] = np.sqrt(np.maximum(square - mean * mean, 0.0))


def run(quick: bool) -> list[Line]:
    symbols, days = (300 if quick else 3_000), 500
    rng = np.random.default_rng(1)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (symbols, days)), axis=1))
    bars = close * 1.01, close * 0.99, close, rng.integers(1, 10_000, (symbols, days)).astype(float)
    starts = np.zeros((symbols, MAX_ANCHORS), np.int64)  # nothing is saved by anchors that begin late
    lines, sigmas = np.zeros((symbols, days, MAX_ANCHORS)), np.zeros((symbols, days, MAX_ANCHORS))
    scratch = np.zeros(avwap.SCRATCH)
    found = medians(
        {
            "ours": lambda: avwap.fold_matrix(*bars, starts, scratch, lines, sigmas),
            "store": lambda: store(lines, sigmas, 1.0),
            "numpy": lambda: cumulative(bars, starts, lines, sigmas),
        },
        5 if quick else 7,
    )
    ours = milliseconds(found["ours"])
    name = f"lines of {symbols:,} × {days} × {MAX_ANCHORS}"
    return [
        Line(
            name,
            ours,
            f"bare store {milliseconds(found['store'])}",
            f"{found['ours'] / found['store']:.2f} ×",
            "≤ 2.5 ×",
        ),
        Line(
            name,
            ours,
            f"NumPy cumsum {milliseconds(found['numpy'])}",
            f"{found['numpy'] / found['ours']:.1f} ×",
            "≥ 8 ×",
        ),
    ]
