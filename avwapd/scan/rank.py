"""Figures that compare symbols with one another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def zscores(values: Sequence[float]) -> list[float]:
    """Distance from the mean in population standard deviations; 0 where there is no spread."""
    if not values:
        return []
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return [(value - mean) / spread if spread > 0.0 else 0.0 for value in values]


def percentiles(values: Sequence[float]) -> list[float]:
    """Mean rank (1 for the lowest, equal values share theirs) over the count, times 100."""
    if not values:
        return []
    order = np.sort(np.asarray(values, np.float64))
    below = np.searchsorted(order, values, "left")
    upto = np.searchsorted(order, values, "right")
    return [float((first + 1 + last) / 2 / len(values) * 100) for first, last in zip(below, upto, strict=True)]


def sector_ranks(sectors: Sequence[str], scores: NDArray[np.float64]) -> dict[str, int]:
    """Rank (1 the best) of each named sector by mean TrendScore; ties by name. "" is no sector and has no rank.

    scores: float64 [m], NaN where unknown. A sector without any score comes last.
    """
    found: dict[str, list[float]] = {}
    for sector, score in zip(sectors, scores.tolist(), strict=True):
        if sector:
            known = found.setdefault(sector, [])
            if not math.isnan(score):
                known.append(score)
    means = {name: math.fsum(known) / len(known) if known else -math.inf for name, known in found.items()}
    return {name: rank for rank, name in enumerate(sorted(means, key=lambda name: (-means[name], name)), 1)}
