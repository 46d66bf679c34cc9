"""Seeded daily bars: random walks with volume, gaps and drifts, so that every rule meets both of its sides."""

from __future__ import annotations

import numpy as np

from tests.scan.market import Bars, sessions

LAST_DATE = 20_190_612  # of generated bars, a Wednesday


def last_session() -> int:
    return int(np.searchsorted(sessions()["date"], LAST_DATE))


def walk(seed: int, n: int, *, price: float = 60.0, drift: float = 0.0006, shares: float = 2e6, end: int = -1) -> Bars:
    """One symbol of n bars that end with session `end`."""
    random = np.random.default_rng(seed)
    end = last_session() if end < 0 else end
    moves = random.normal(drift, 0.012, n)
    jumps = np.where(random.random(n) < 0.01, random.normal(0.0, 0.05, n), 0.0)
    close = price * np.exp(np.cumsum(moves + jumps))
    before = np.concatenate([[price], close[:-1]])
    open_ = before * np.exp(jumps + random.normal(0.0, 0.003, n))
    high = np.maximum(open_, close) * (1.0 + np.abs(random.normal(0.0, 0.006, n)))
    low = np.minimum(open_, close) * (1.0 - np.abs(random.normal(0.0, 0.006, n)))
    volume = np.round(shares * np.exp(random.normal(0.0, 0.4, n)))
    session = np.arange(end - n + 1, end + 1, dtype=np.int32)
    return Bars(session, *(np.round(x, 2) for x in (open_, high, low, close)), volume, np.ones(n), np.ones(n))
