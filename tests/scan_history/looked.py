"""All that a scan works out about one symbol, exact: what the file rounds and what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from avwapd.config import Config, load
from avwapd.core.daily import PICK, SCAN, SIDES, Days, work_space
from avwapd.core.daily_scan import judge_many, measure_many
from avwapd.scan.day import frozen
from avwapd.scan.rows import kinds_of
from avwapd.settings import scan_params
from tests.scan.market import sessions

# So wide that no line of a rising symbol falls out.
OPEN = {
    "scan.min_atr_usd": "0",
    "scan.max_atr_pct": "100",
    "scan.atr_median_factor": "100",
    "scan.max_distance_pct": "100",
    "scan.min_slope_fraction": "-1",
    "scan.regime": "false",
    "scan.min_volume": "0",
    "scan.min_dollar_volume_usd": "0",
    "scan.weekly_min_days": "2000",
}
PRICES = ("close", "sma_fast", "sma_slow", "atr", "swing_low", "swing_high", "floor_low", "ceiling_high")
PRICES += ("r1", "r2", "s1", "s2", "vwap")
FIGURES = ("slow_slope_pct", "adx", "atr_pct", "atr_median", "trend_score")
LEVELS = ("line", "stop", "target1", "target2")
SHAPES = ("slope", "distance_pct", "score", "trend_score", "confluence", "tier", "control", "reclaim", "acceptance")


def settings(**options: str) -> Config:
    changes = {name.replace("__", "."): value for name, value in options.items()}
    return load(folder=Path("/nonexistent"), environ={}, options={**OPEN, **changes})


class Looked(NamedTuple):
    """prices: in the day's money; figures: without a unit; anchors: (kind, date of the bar, date it was known)."""

    prices: dict[str, float]
    figures: dict[str, float]
    anchors: list[tuple[str, int, int]]

    def bits(self) -> bytes:
        return repr(self).encode()


def look(days: Days, session: int, config: Config, symbol: int = 0) -> Looked:
    """A long candidate's figures, as of a session; an AssertionError where it is none."""
    days = Days(*map(frozen, days))
    rows, picks = np.zeros(1, SCAN), np.zeros((1, SIDES), PICK)
    p, work, chosen = scan_params(config)[0], work_space(config.scan.window_bars), np.array([symbol])
    measure_many(days, chosen, session, p, work, rows)
    assert rows["reason"][0] == 0, rows["reason"]
    given, alive = np.full((1, 2), -1, np.int64), np.ones(1, np.uint8)
    judge_many(days, frozen(sessions()), chosen, alive, given, p, work, rows, picks)
    row, pick = rows[0], picks[0, 0]
    assert pick["reason"] == 0, pick["reason"]
    return Looked(prices_of(row, pick), figures_of(row, pick), anchors_of(row, days, kinds_of(config.scan.anchors)))


def prices_of(row: Any, pick: Any) -> dict[str, float]:
    return {name: float(row[name]) for name in PRICES} | {name: float(pick[name]) for name in LEVELS}


def figures_of(row: Any, pick: Any) -> dict[str, float]:
    own = {name: float(row[name]) for name in (*FIGURES, "structure", "gap_age")}
    return own | {f"pick_{name}": float(pick[name]) for name in SHAPES}


def anchors_of(row: Any, days: Days, kinds: Sequence[str]) -> list[tuple[str, int, int]]:
    def date(at: int) -> int:
        return int(sessions()["date"][days.session[at]])

    slots = range(int(row["anchor_count"]))
    return [(kinds[row["anchor_kind"][k]], date(row["anchor_row"][k]), date(row["known_row"][k])) for k in slots]


def equal(one: Looked, other: Looked, ratio: float = 1.0, within: float = 1e-9) -> bool:
    """Whether the second's prices times the ratio and all else of it are the first's."""
    prices = [(one.prices[name], other.prices[name] * ratio) for name in one.prices]
    figures = [(one.figures[name], other.figures[name]) for name in one.figures]
    near = all(np.isclose(a, b, rtol=within, atol=1e-12, equal_nan=True) for a, b in prices + figures)
    return near and one.anchors == other.anchors
