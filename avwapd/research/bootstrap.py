"""How much of a result is luck: the same returns and trades, drawn again in another order, many times.

Only uniform numbers are taken from the generator: their stream is the same in every version of NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from avwapd.research import ResearchError
from avwapd.research.portfolio import ROUNDING, Curve, Floats, Missing, growth_a_year, plain, quantiles, session_rate

LEVELS = {"p5": 0.05, "p50": 0.5, "p95": 0.95}
RETURNS, TRADES = 1, 2  # a stream of numbers each


def stationary(returns: Floats, draws: int, block: float, seed: int) -> Iterator[Floats]:
    """The t-th return of every draw, for each t; float64 [draws].

    The stationary bootstrap of Politis and Romano (1994): blocks begin anywhere, go on past the end at the beginning,
    and end after each session with probability 1 / block, so their mean length is `block`.
    """
    if not len(returns) or draws < 1 or not block >= 1.0:
        raise ResearchError(
            f"{len(returns)} returns, {draws} draws, blocks of {block}", "bootstrap", "each must be 1 or more"
        )
    rng = np.random.default_rng([seed, RETURNS])
    count = len(returns)
    place = (rng.random(draws) * count).astype(np.int64)
    for t in range(count):
        if t:
            jump = rng.random(draws) < 1.0 / block
            place = np.where(jump, (rng.random(draws) * count).astype(np.int64), (place + 1) % count)
        yield returns[place]


def of_curve(
    curve: Curve, year_sessions: int, *, draws: int, block: float, seed: int, risk_free: float = 0.0
) -> dict[str, Any]:
    """5, 50 and 95% of cagr, max_drawdown and sharpe over draws as long as the curve.

    A draw in which a figure is not defined is left out and counted in `left_out`.
    """
    head: dict[str, Any] = {"draws": draws, "mean_block": block, "sessions": len(curve)}
    names = ("cagr", "max_drawdown", "sharpe")
    if len(curve) < 2 or float(curve.equity.min()) <= 0.0:
        why = "fewer than 2 sessions" if len(curve) < 2 else "equity fell to zero or below"
        return head | plain(dict.fromkeys(names, Missing(why)))
    returns = curve.returns()
    wealth, peak, deepest = np.ones(draws), np.ones(draws), np.zeros(draws)
    total, squares = np.zeros(draws), np.zeros(draws)
    least, most = np.full(draws, np.inf), np.full(draws, -np.inf)
    middle = float(np.median(returns))  # sums about a value near the mean do not cancel
    for drawn in stationary(returns, draws, block, seed):
        wealth *= 1.0 + drawn
        np.maximum(peak, wealth, out=peak)
        np.maximum(deepest, (peak - wealth) / peak, out=deepest)
        away = drawn - middle
        total += away
        squares += away * away
        np.minimum(least, drawn, out=least)
        np.maximum(most, drawn, out=most)
    count = len(returns)
    rates = [growth_a_year(factor, curve.years()) for factor in wealth.tolist()]
    mixed = most - least > ROUNDING
    deviation = np.sqrt((squares[mixed] - total[mixed] ** 2 / count) / (count - 1))
    excess = total[mixed] / count + middle - session_rate(risk_free, year_sessions)
    sharpes = excess / deviation * np.sqrt(year_sessions)
    return head | {
        "cagr": spread([rate for rate in rates if isinstance(rate, float)], draws),
        "max_drawdown": spread(deepest.tolist(), draws),
        "sharpe": spread(sharpes.tolist(), draws),
        "undefined": {},
    }


def of_trades(results: Sequence[float], *, draws: int, seed: int) -> dict[str, Any]:
    """5, 50 and 95% of the mean of `results` (R of each trade), each draw as many of them, with replacement."""
    head: dict[str, Any] = {"draws": draws, "trades": len(results)}
    if not results:
        return head | plain({"expectancy_r": Missing("no trade with a stop behind its entry")})
    if draws < 1:
        raise ResearchError(f"{draws} draws", "bootstrap", "draw at least once")
    rng = np.random.default_rng([seed, TRADES])
    values = np.array(results, np.float64)
    means = [
        float(values[(rng.random(len(values)) * len(values)).astype(np.int64)].sum()) / len(values)
        for _ in range(draws)
    ]
    return head | {"expectancy_r": spread(means, draws), "undefined": {}}


def spread(values: Sequence[float], draws: int) -> dict[str, Any]:
    """The quantiles of the draws in which there was a value."""
    found: list[Any] = quantiles(values, list(LEVELS.values())) if values else [None] * len(LEVELS)
    return {**dict(zip(LEVELS, found, strict=True)), "left_out": draws - len(values)}
