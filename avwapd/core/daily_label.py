"""Labels of a candidate's surroundings: they name context and decide nothing."""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.avwap import HLC3, advance, typical
from avwapd.core.daily_anchor import gap
from avwapd.core.daily_features import mean_ending
from avwapd.core.daily_pick import label, one_more


@compiled
def rolling_vwap(end, work, size):
    """VWAP of the `size` bars before index `end`: a line anchored at the first of them; NaN without bars or volume."""
    if end < size:
        return math.nan
    shift = work.close[end - size]
    weight, mean, spread = 0.0, 0.0, 0.0
    for t in range(end - size, end):
        x = typical(HLC3, 0.0, work.high[t], work.low[t], work.close[t], shift)
        weight, mean, spread = advance(weight, mean, spread, x, work.volume[t])
    return shift + mean if weight > 0.0 else math.nan


@compiled
def write_labels(n, p, work, row):
    """Write the rolling VWAP's labels, the newest gap's age and the trend's structure into a SCAN record."""
    run = 0.0
    vwap = math.nan
    for end in range(max(n - p["acceptance_closes"], 0) + 1, n + 1):
        vwap = rolling_vwap(end, work, p["volume_days"])
        if not math.isnan(vwap):
            run = one_more(run, work.close[end - 1], vwap)
    row["vwap"] = vwap
    control, reclaim, acceptance = 0, 0, 0
    if vwap > 0.0 and n > 1:
        control, reclaim, acceptance = label(work.close[n - 1], work.close[n - 2], vwap, run, p)
    row["vwap_control"] = control
    row["vwap_reclaim"] = reclaim
    row["vwap_acceptance"] = acceptance
    at = gap(n, work.open, work.close, p)
    row["gap_age"] = n - 1 - at if at >= 0 else -1
    row["structure"] = structure(n, p, work, row)


@compiled
def structure(n, p, work, row):
    """1: the fast mean lies above the slow one, which rises over `avwap_slope_bars` bars; -1 mirrored; else 0."""
    fast, slow = row["sma_fast"], row["sma_slow"]
    then = mean_ending(work.close, n - p["avwap_slope_bars"], p["slow_days"])
    if fast > slow and slow > then:
        return 1
    if fast < slow and slow < then:
        return -1
    return 0
