"""Setup labels against plain computations on the same bars."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from avwapd.scan.run import scan
from tests.scan.generated import walk
from tests.scan.market import Bars, defaults, inputs

WORDS = {1: "bullish", -1: "bearish", 0: "neutral"}


def rolling(bars: Bars, end: int) -> float:
    part = slice(end - 20, end)
    typical = (bars.high[part] + bars.low[part] + bars.close[part]) / 3.0
    return float(np.sum(typical * bars.volume[part]) / np.sum(bars.volume[part]))


def plain(bars: Bars) -> dict[str, Any]:
    n, close = len(bars.close), bars.close
    vwap = rolling(bars, n)
    away = (close[-1] - vwap) / vwap * 100
    above = [close[end - 1] > rolling(bars, end) for end in (n, n - 1, n - 2)]
    gaps = [i for i in range(n - 59, n) if abs(bars.open[i] - close[i - 1]) / close[i - 1] >= 0.04]
    fast, slow, then = np.mean(close[-20:]), np.mean(close[-50:]), np.mean(close[-55:-5])
    return {
        "setup_vwap_control": WORDS[int(away > 0.2) - int(away < -0.2)],
        "setup_vwap_reclaim": (
            "bullish" if close[-2] <= vwap < close[-1] else "bearish" if close[-2] >= vwap > close[-1] else "none"
        ),
        "setup_vwap_acceptance": "bullish" if all(above) else "none" if any(above) else "bearish",
        "setup_vwap_dist_pct": round(away, 2),
        "setup_gap_reset": "none" if not gaps else "recent" if n - gaps[-1] <= 5 else "stale",
        "setup_structure_state": WORDS[int(fast > slow > then) - int(fast < slow < then)],
    }


@pytest.mark.parametrize("drift", [0.0, 0.002])
def test_labels_of_many_candidates(drift: float) -> None:
    config = replace(
        defaults(), scan=replace(defaults().scan, allow_short=True, atr_median_factor=5.0, max_atr_pct=20.0)
    )
    bars = {f"S{i:03}": walk(i, 300, drift=drift) for i in range(600)}
    rows = scan(inputs(bars), config, rules_only=True).rows
    assert len(rows) > 30
    seen: dict[str, set[Any]] = {}
    for row in rows:
        wanted = plain(bars[row.symbol])
        assert {name: getattr(row, name) for name in wanted} == wanted
        away = row.entry_dist_pct
        if away not in (1.0, 6.0):
            extension = "balanced" if away < 1 else "extended" if away > 6 else "moderate"
            assert row.setup_extension_state == extension
        for name in (*wanted, "setup_extension_state", "setup_avwap_reclaim", "setup_avwap_acceptance"):
            seen.setdefault(name, set()).add(getattr(row, name))
    if drift == 0.0:
        assert all(len(words) > 1 for words in seen.values())
        assert seen["setup_gap_reset"] == {"none", "recent", "stale"}
        assert seen["setup_extension_state"] == {"balanced", "moderate", "extended"}
