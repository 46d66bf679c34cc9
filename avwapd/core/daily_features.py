"""Means, ranges and trend of one symbol's daily window: float64 arrays of n bars, oldest first.

Every mean is summed afresh, oldest value first: a running sum would make a figure depend on where the window begins.
What needs more bars than there are is NaN.
"""

from __future__ import annotations

import math

from avwapd.compiled import compiled


@compiled
def mean_ending(values, end, size):
    """Mean of the `size` values before index `end`; NaN while there are fewer."""
    if end < size:
        return math.nan
    total = 0.0
    for i in range(end - size, end):
        total += values[i]
    return total / size


@compiled
def extreme_ending(values, end, size, sign):
    """Lowest (sign 1) or highest (sign -1) of the `size` values before index `end`; NaN while there are fewer."""
    if end < size:
        return math.nan
    best = values[end - size]
    for i in range(end - size + 1, end):
        if sign * (best - values[i]) > 0.0:
            best = values[i]
    return best


@compiled
def swing_ending(values, end, size, sign):
    """Newest of the last `size` values that lies below (sign 1) or above (sign -1) both neighbours; NaN for none.

    Both neighbours lie among the last `size` too, as in the intraday machine's days.
    """
    oldest = max(end - size, 0)
    for i in range(end - 2, oldest, -1):
        if sign * (values[i - 1] - values[i]) > 0.0 and sign * (values[i + 1] - values[i]) > 0.0:
            return values[i]
    return math.nan


@compiled
def true_ranges(start, n, high, low, close, out):
    """Write the true ranges of bars start to n; that of bar 0 is high - low."""
    if start <= 0:
        out[0] = high[0] - low[0]
    for i in range(max(start, 1), n):
        before = close[i - 1]
        out[i] = max(high[i], before) - min(low[i], before)


@compiled
def middle_of(values, n):
    """Median of values[0:n], the mean of the middle two where n is even; puts `values` into another order.

    Hoare's selection (1961).
    """
    k = n // 2
    left, right = 0, n - 1
    while left < right:
        pivot = values[(left + right) // 2]
        i, j = left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                held = values[i]
                values[i] = values[j]
                values[j] = held
                i += 1
                j -= 1
        if k <= j:
            right = j
        elif k >= i:
            left = i
        else:
            break
    upper = values[k]
    if n % 2 == 1:
        return upper
    lower = values[0]
    for i in range(1, k):
        lower = max(lower, values[i])
    return (lower + upper) / 2.0


@compiled
def atr_pct_median(n, spread, close, atr_days, days, sorting):
    """Median of the last `days` values of ATR / close x 100, today's included; NaN while there are fewer."""
    if n < atr_days + days - 1:
        return math.nan
    for back in range(days):
        end = n - back
        if not close[end - 1] > 0.0:
            return math.nan
        sorting[back] = mean_ending(spread, end, atr_days) / close[end - 1] * 100.0
    return middle_of(sorting, days)


@compiled
def average_direction(n, high, low, size):
    """Wilder's ADX (1978) at the last bar, smoothing y += (x - y) / size from the first value on; NaN for none.

    The first bar moves nothing; DX begins with the first bar that any movement has been seen at. The smoothed true
    range stands above and below the line of DX = 100 |+DI - -DI| / (+DI + -DI) and is left out.
    """
    alpha = 1.0 / size
    up, down, adx = 0.0, 0.0, math.nan
    for i in range(1, n):
        rise = high[i] - high[i - 1]
        fall = low[i - 1] - low[i]
        plus = rise if rise > fall and rise > 0.0 else 0.0
        minus = fall if fall > rise and fall > 0.0 else 0.0
        up += (plus - up) * alpha
        down += (minus - down) * alpha
        total = up + down
        if total > 0.0:
            dx = 100.0 * (abs(up - down) / total)
            adx = dx if math.isnan(adx) else adx + (dx - adx) * alpha
    return adx


@compiled
def trend_features(n, work, p, row):
    """Write moving averages, ADX, ATR and the long side's TrendScore of the window into a SCAN record."""
    close = work.close
    slow = p["slow_days"]
    back = p["trend_slope_days"]
    row["sma_fast"] = mean_ending(close, n, p["fast_days"])
    now = mean_ending(close, n, slow)
    then = mean_ending(close, n - back, slow)
    slope = (now - then) / then * 100.0 if then > 0.0 else math.nan
    row["sma_slow"] = now
    row["slow_slope_pct"] = slope
    needed = p["atr_days"] + p["atr_median_days"] - 1
    true_ranges(max(n - needed, 0), n, work.high, work.low, close, work.spread)
    atr = mean_ending(work.spread, n, p["atr_days"])
    atr_pct = atr / close[n - 1] * 100.0 if close[n - 1] > 0.0 else math.nan
    median = atr_pct_median(n, work.spread, close, p["atr_days"], p["atr_median_days"], work.sorting)
    row["atr"] = atr
    row["atr_pct"] = atr_pct
    row["atr_median"] = median
    adx = average_direction(n, work.high, work.low, p["adx_days"])
    row["adx"] = adx
    row["trend_score"] = trend_score(slope, adx, atr_pct, median, 1.0, p)


@compiled
def trend_score(slope_pct, adx, atr_pct, median, side, p):
    """TrendScore of a side (1 or -1); without ADX (no movement at all) that part is 0; NaN without a slope."""
    ratio = atr_pct / median if median > 0.0 and not math.isnan(atr_pct) else 1.0
    signed = side * slope_pct
    sign = 1.0 if signed > 0.0 else (-1.0 if signed < 0.0 else 0.0)
    strength = 0.0 if math.isnan(adx) else adx * sign
    score = p["score_slope_weight"] * signed + p["score_adx_weight"] * strength
    return score - p["score_atr_weight"] * ratio


@compiled
def weekly_means(n, session, close, sessions, fast, slow):
    """(fast mean, slow mean) of the last weekly closes, the running week's included; NaN with fewer than slow weeks.

    A week is the exchange calendar's, Monday first; its close is its last bar's.
    """
    count, total, quick, week = 0, 0.0, math.nan, -1
    for i in range(n - 1, -1, -1):
        now = sessions[session[i]]["week"]
        if now == week:
            continue
        week = now
        total += close[i]
        count += 1
        if count == fast:
            quick = total / fast
        if count == slow:
            return quick, total / slow
    return math.nan, math.nan
