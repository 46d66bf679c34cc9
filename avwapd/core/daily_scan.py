"""The scan's rules over many symbols, in two passes.

`measure_many` looks at liquidity and trend; between the passes the caller ranks sectors and dollar volume, which needs
the TrendScore of all; `judge_many` applies the rest to those that are left.
"""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.daily import (
    FELL_ATR,
    FELL_ATR_MEDIAN,
    FELL_ATR_PCT,
    FELL_ATR_UNKNOWN,
    FELL_BARS,
    FELL_DOLLAR_VOLUME,
    FELL_NO_BARS,
    FELL_NONE,
    FELL_PRICE,
    FELL_STALE,
    FELL_TREND,
    FELL_VOLUME,
    FELL_WEEKS,
    TIER_A,
    TIER_B,
    TIER_NONE,
)
from avwapd.core.daily_features import trend_features, trend_score, weekly_means
from avwapd.core.daily_label import write_labels
from avwapd.core.daily_pick import best_line, fold_lines, level_features, locate_anchors, write_levels
from avwapd.core.daily_window import adjusted_close, copy_window, end_of, start_of


@compiled
def newest_session(days, chosen, last):
    """The newest session at or before `last` that any of the chosen symbols has a bar of; -1 for none.

    chosen: int64 [m], symbol numbers, negative ones left out.
    """
    newest = -1
    for k in range(chosen.shape[0]):
        s = chosen[k]
        if s < 0:
            continue
        end = end_of(days, s, last)
        if end > days.offsets[s] and days.session[end - 1] > newest:
            newest = days.session[end - 1]
    return newest


@compiled
def present_many(days, chosen, last, gap, present):
    """Write present: int8 [m], 1 for a bar of session `last`, 0 for an older newest bar, -1 for none by then.

    gap: sessions; a newest bar further back than that is -2: the listing has ended.
    """
    for k in range(chosen.shape[0]):
        s = chosen[k]
        present[k] = -1
        if s >= 0:
            end = end_of(days, s, last)
            if end > days.offsets[s]:
                missing = last - days.session[end - 1]
                present[k] = 1 if missing == 0 else (-2 if missing > gap else 0)


@compiled
def fall(record, reason, value, limit):
    record["reason"] = reason
    record["value"] = value
    record["limit"] = limit


@compiled
def liquid(days, p, row):
    """Step 1's figures of a SCAN record; False where one is too low. Dollars are those that were paid: raw."""
    first, end = row["first"], row["end"]
    row["close"] = days.close[end - 1]
    size = p["volume_days"]
    shares, dollars = math.nan, math.nan
    if end - first >= size:
        shares, dollars, split = 0.0, 0.0, 1.0
        for i in range(end - 1, end - 1 - size, -1):
            shares += days.volume[i] / split
            dollars += days.close[i] * days.volume[i]
            if p["adjust"] != 0:
                split *= days.split_ratio[i]
        shares /= size
        dollars /= size
    row["volume"] = shares
    row["dollar_volume"] = dollars
    if not p["liquidity"]:
        return True
    if not row["close"] >= p["min_price"]:
        fall(row, FELL_PRICE, row["close"], p["min_price"])
    elif not shares >= p["min_volume"]:
        fall(row, FELL_VOLUME, shares, p["min_volume"])
    elif not dollars >= p["min_dollar_volume"]:
        fall(row, FELL_DOLLAR_VOLUME, dollars, p["min_dollar_volume"])
    return row["reason"] == FELL_NONE


@compiled
def measure_many(days, chosen, last, p, work, rows):
    """Fill rows: SCAN [m] for the chosen symbols as of session `last`: liquidity, then trend and volatility."""
    for k in range(chosen.shape[0]):
        row, s = rows[k], chosen[k]
        fall(row, FELL_NONE, math.nan, math.nan)
        row["trend_score"] = math.nan
        row["anchor_count"] = 0
        end = end_of(days, s, last) if s >= 0 else -1
        if s < 0 or end == days.offsets[s]:
            fall(row, FELL_NO_BARS, 0.0, 1.0)
            continue
        missing = last - days.session[end - 1]
        if missing != 0:
            fall(row, FELL_STALE, missing, 0.0)
            continue
        first, begins = start_of(days, s, end, p)
        row["first"] = first
        row["end"] = end
        row["begins"] = begins
        if liquid(days, p, row):
            copy_window(days, first, end, p, work)
            trend_features(end - first, work, p, row)


@compiled
def judge_many(days, sessions, chosen, alive, given, p, work, rows, picks):
    """Fill picks: PICK [m, SIDES] for the symbols that are alive (uint8 [m]) from their measured rows: SCAN [m].

    given: int64 [m, 2], see locate_anchors. A side that is not traded stays as it is.
    """
    for k in range(chosen.shape[0]):
        if not alive[k]:
            continue
        row = rows[k]
        n = row["end"] - row["first"]
        copy_window(days, row["first"], row["end"], p, work)
        fast, slow = math.nan, math.nan
        if n >= p["weekly_min_days"]:
            fast, slow = weekly_means(
                n, work.session, work.close, sessions, p["weekly_fast_weeks"], p["weekly_slow_weeks"]
            )
        folded = False
        for j in range(2):
            side = 1 if j == 0 else -1
            if not (p["allow_long"] if side > 0 else p["allow_short"]):
                continue
            pick = picks[k, j]
            fall(pick, FELL_NONE, math.nan, math.nan)
            if not trending(n, side, fast, slow, p, row, pick):
                continue
            if not folded:
                locate_anchors(n, sessions, given[k], p, work, row)
                fold_lines(n, p, work, row)
                folded = True
            best_line(n, side, p, work, row, pick)
            if pick["reason"] == FELL_NONE:
                level_features(n, p, work, row)
                write_labels(n, p, work, row)
                write_levels(side, p, row, pick)


@compiled
def trending(n, side, weekly_fast, weekly_slow, p, row, pick):
    """Steps 4 to 6 of a side: history, weekly alignment, tier, volatility; False where one drops it."""
    if n < p["min_bars"]:
        fall(pick, FELL_BARS, n, p["min_bars"])
        return False
    if not math.isnan(weekly_slow) and not side * (weekly_fast - weekly_slow) > 0.0:
        fall(pick, FELL_WEEKS, weekly_fast, weekly_slow)
        return False
    pick["tier"] = tier_of(side, row)
    pick["trend_score"] = trend_score(row["slow_slope_pct"], row["adx"], row["atr_pct"], row["atr_median"], side, p)
    if pick["tier"] == TIER_NONE:
        fall(pick, FELL_TREND, row["close"], row["sma_slow"])
        return False
    most = p["atr_median_factor"] * row["atr_median"]
    if not row["atr"] >= p["min_atr"]:
        fall(pick, FELL_ATR, row["atr"], p["min_atr"])
    elif not row["atr_pct"] <= p["max_atr_pct"]:
        fall(pick, FELL_ATR_PCT, row["atr_pct"], p["max_atr_pct"])
    elif math.isnan(most):
        fall(pick, FELL_ATR_UNKNOWN, n, p["atr_days"] + p["atr_median_days"] - 1)
    elif not row["atr_pct"] <= most:
        fall(pick, FELL_ATR_MEDIAN, row["atr_pct"], most)
    return pick["reason"] == FELL_NONE


@compiled
def tier_of(side, row):
    """A: close beyond the fast mean, that at or beyond the slow one; B: close beyond a slow mean that moves along."""
    close, fast, slow = row["close"], row["sma_fast"], row["sma_slow"]
    if side * (close - fast) > 0.0 and side * (fast - slow) >= 0.0:
        return TIER_A
    if side * (close - slow) > 0.0 and side * row["slow_slope_pct"] > 0.0:
        return TIER_B
    return TIER_NONE


@compiled
def glance(days, s, last, p, out):
    """Write out: float64 [3] of an index or fund: close, mean of `regime_days` closes, return over `sector_days`.

    NaN where there are too few bars, all where the symbol has none of session `last`.
    """
    out[0] = math.nan
    out[1] = math.nan
    out[2] = math.nan
    if s < 0:
        return
    end = end_of(days, s, last)
    if end == days.offsets[s] or days.session[end - 1] != last:
        return
    first, _ = start_of(days, s, end, p)
    out[0] = days.close[end - 1]
    size = p["regime_days"]
    if end - first >= size:
        total = 0.0
        for i in range(size):
            total += adjusted_close(days, end, size - 1 - i, p)
        out[1] = total / size
    if end - first > p["sector_days"]:
        before = adjusted_close(days, end, p["sector_days"], p)
        if before > 0.0:
            out[2] = out[0] / before - 1.0
