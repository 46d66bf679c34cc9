"""Drawn again: the same seed gives the same bytes, and each draw has the figures of a curve of its returns."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.research import ResearchError
from avwapd.research.bootstrap import of_curve, of_trades, stationary
from avwapd.research.portfolio import Curve, Missing, measures, quantiles
from tests.research.test_portfolio import DATES, YEAR, curve

RISING = np.arange(1.0, 41.0) / 1000


def wandering(count: int, seed: int = 5) -> Curve:
    moves = 1.0 + (np.random.default_rng(seed).random(count) - 0.48) / 20
    return Curve(np.array(DATES[:count], np.int64), 100.0 * np.cumprod(moves), 100.0)


def drawn(returns: np.ndarray, draws: int, block: float, seed: int) -> np.ndarray:
    """float64 [sessions, draws]"""
    return np.array(list(stationary(returns, draws, block, seed)))


def test_without_a_jump_a_draw_is_a_rotation() -> None:
    table = drawn(RISING, 50, 1e12, 3)
    rotations = {tuple(np.roll(RISING, k)) for k in range(len(RISING))}
    found = {tuple(column) for column in table.T}
    assert found <= rotations
    assert len(found) > 20


def test_blocks_have_the_mean_length() -> None:
    """A jump is seen where a return is not the one after the last, so 1 in 40 jumps is not."""
    table = drawn(RISING, 4000, 10.0, 3)
    place = np.rint(table * 1000).astype(int) - 1
    jumps = (place[1:] != (place[:-1] + 1) % 40).mean()
    assert jumps == pytest.approx(0.1 * 39 / 40, rel=0.03)


def test_every_return_is_drawn_alike() -> None:
    table = drawn(RISING, 4000, 10.0, 3)
    for t in (0, 20, 39):
        counts = np.unique(table[t], return_counts=True)[1]
        assert len(counts) == 40
        assert (abs(counts - 100) < 50).all(), t


@settings(max_examples=25)
@given(count=st.integers(2, 30), seed=st.integers(0, 2**31 - 1), block=st.floats(1, 20))
def test_each_draw_has_the_figures_of_its_curve(count: int, seed: int, block: float) -> None:
    """The spread over all draws equals the one that `measures` gives, draw by draw."""
    real = wandering(count, seed % 97)
    free = 0.02
    got = of_curve(real, YEAR, draws=40, block=block, seed=seed, risk_free=free)
    each = [
        measures(Curve(real.dates, 100.0 * np.cumprod(1.0 + column), 100.0), YEAR, free)
        for column in drawn(real.returns(), 40, block, seed).T
    ]
    for name in ("cagr", "max_drawdown", "sharpe"):
        known = [figures[name] for figures in each if not isinstance(figures[name], Missing)]
        assert got[name]["left_out"] == 40 - len(known), name
        for level, value in zip(("p5", "p50", "p95"), quantiles(known or [0.0], [0.05, 0.5, 0.95]), strict=True):  # type: ignore[arg-type]
            if known:
                assert math.isclose(got[name][level], value, rel_tol=1e-6, abs_tol=1e-9), (name, level)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    def text(seed: int) -> str:
        returns = of_curve(wandering(80), YEAR, draws=100, block=10.0, seed=seed)
        return json.dumps([returns, of_trades([1.0, -1.0, 0.3], draws=100, seed=seed)])

    texts = [text(seed) for seed in (4, 4, 5)]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])[0]["cagr"] != json.loads(texts[2])[0]["cagr"]


def test_the_real_figure_lies_inside() -> None:
    real = wandering(500)
    got, figures = of_curve(real, YEAR, draws=500, block=10.0, seed=1), measures(real, YEAR)
    for name in ("cagr", "sharpe"):
        assert got[name]["p5"] < figures[name] < got[name]["p95"], name
    assert 0 < got["max_drawdown"]["p5"] < got["max_drawdown"]["p50"] < got["max_drawdown"]["p95"] < 1


def test_the_mean_of_trades() -> None:
    results = [2.0] * 30 + [-1.0] * 70
    got = of_trades(results, draws=2000, seed=9)["expectancy_r"]
    error = math.sqrt(0.3 * 0.7) * 3 / 10  # of the mean of 100 trades of two values 3 apart
    assert got["p50"] == pytest.approx(-0.1, abs=0.04)
    assert got["p95"] - got["p5"] == pytest.approx(2 * 1.645 * error, rel=0.1)
    assert of_trades([0.5], draws=3, seed=9)["expectancy_r"] == {"p5": 0.5, "p50": 0.5, "p95": 0.5, "left_out": 0}


def test_what_cannot_be_drawn_says_why() -> None:
    assert of_trades([], draws=10, seed=1)["undefined"] == {"expectancy_r": "no trade with a stop behind its entry"}
    for real, why in ((curve(110.0), "fewer than 2 sessions"), (curve(50.0, -1.0), "equity fell to zero or below")):
        got = of_curve(real, YEAR, draws=10, block=10.0, seed=1)
        assert (got["cagr"], got["undefined"]["sharpe"]) == (None, why)
    flat = of_curve(curve(100.0, 100.0, 100.0), YEAR, draws=10, block=2.0, seed=1)
    assert flat["sharpe"] == {"p5": None, "p50": None, "p95": None, "left_out": 10}
    assert flat["cagr"] == {"p5": 0.0, "p50": 0.0, "p95": 0.0, "left_out": 0}


@pytest.mark.parametrize(("count", "draws", "block"), [(0, 1, 1.0), (3, 0, 1.0), (3, 1, 0.5), (3, 1, math.nan)])
def test_bad_terms_are_refused(count: int, draws: int, block: float) -> None:
    with pytest.raises(ResearchError, match="bootstrap"):
        next(stationary(np.ones(count), draws, block, 1))
    with pytest.raises(ResearchError, match="bootstrap"):
        of_trades([1.0], draws=0, seed=1)
