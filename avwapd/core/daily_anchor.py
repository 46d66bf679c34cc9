"""Where the anchored lines of a stock begin, on its daily bars.

All functions take the adjusted window of one symbol as known on its last day: arrays of n bars, oldest first, where
the first is the first loaded bar of this listing. They return an index into the window, UNKNOWN where the anchor lies
before it, is not there or cannot be told from these bars. No answer depends on how much more than needed is loaded:
with fewer bars it is the same or unknown.

session: int32 [n], each bar's index into `sessions` (SESSION records of the exchange's calendar), rising; open_, high,
low, close, volume: float64 [n]; p: a SCAN_PARAMS record.
"""

from __future__ import annotations

from avwapd.compiled import compiled
from avwapd.core.anchor import period_of
from avwapd.core.codes import (
    ANCHOR_MONTH,
    ANCHOR_QUARTER,
    ANCHOR_WEEK,
    ANCHOR_YEAR,
    DAILY_ALL_TIME_HIGH,
    DAILY_CONFIRMED_HIGH,
    DAILY_CONFIRMED_LOW,
    DAILY_EARNINGS,
    DAILY_GAP,
    DAILY_HANDOFF,
    DAILY_HIGHEST_VOLUME,
    DAILY_IPO,
    DAILY_MTD,
    DAILY_PRIOR_HIGH,
    DAILY_PRIOR_LOW,
    DAILY_QTD,
    DAILY_SWING_HIGH,
    DAILY_SWING_LOW,
    DAILY_USER,
    DAILY_VOL_BREAKOUT,
    DAILY_WTD,
    DAILY_YEAR_HIGH,
    DAILY_YEAR_LOW,
    DAILY_YTD,
)

UNKNOWN = -1


@compiled
def locate(kind, n, session, open_, high, low, close, volume, sessions, p, begins, given):
    """Index of the bar that an anchor of `kind` (DAILY_*) lies on, UNKNOWN where there is none.

    begins: True where the listing is known to begin with the window's first bar; given: index into `sessions` that the
    caller names for DAILY_EARNINGS and DAILY_USER, -1 for none. DAILY_HANDOFF needs lines, not bars: see core.lines.
    """
    if n < 1:
        return UNKNOWN
    if kind == DAILY_YTD or kind == DAILY_QTD or kind == DAILY_MTD or kind == DAILY_WTD:
        return calendar_anchor(kind, n, session, sessions)
    if kind == DAILY_GAP:
        return gap(n, open_, close, p)
    if kind == DAILY_VOL_BREAKOUT:
        return volume_breakout(n, high, low, close, volume, p)
    if kind == DAILY_SWING_LOW:
        return lowest(low, n - p["swing_days"], n)
    if kind == DAILY_SWING_HIGH:
        return highest(high, n - p["swing_days"], n)
    if kind == DAILY_CONFIRMED_LOW or kind == DAILY_CONFIRMED_HIGH:
        return confirmed(kind, n, high, low, p["swing_k"])
    if kind == DAILY_YEAR_LOW or kind == DAILY_YEAR_HIGH:
        return year_extreme(kind, n, session, high, low, p["year_days"], begins)
    if kind == DAILY_PRIOR_HIGH or kind == DAILY_PRIOR_LOW:
        return n - 2 if n > 1 and session[n - 2] == session[n - 1] - 1 else UNKNOWN
    if kind == DAILY_HIGHEST_VOLUME:
        return highest(volume, max(n - p["window_bars"], 0) if begins else n - p["window_bars"], n)
    if kind == DAILY_IPO:
        return 0 if begins else UNKNOWN
    if kind == DAILY_ALL_TIME_HIGH:
        return highest(high, 0, n) if begins else UNKNOWN
    if kind == DAILY_EARNINGS or kind == DAILY_USER:
        return first_from(n, session, given)
    return UNKNOWN


@compiled
def known_at(kind, index, n, p):
    """Index of the bar at whose close the anchor on bar `index` was known; UNKNOWN for an unknown anchor."""
    if index < 0 or index >= n:
        return UNKNOWN
    if kind == DAILY_CONFIRMED_LOW or kind == DAILY_CONFIRMED_HIGH:
        return index + p["swing_k"]
    if kind == DAILY_HANDOFF:
        return index + p["acceptance_closes"] - 1
    return index


@compiled
def period(kind, session):
    """Number of the calendar period of a DAILY_* calendar kind that a SESSION record lies in."""
    if kind == DAILY_YTD:
        return period_of(session, ANCHOR_YEAR)
    if kind == DAILY_MTD:
        return period_of(session, ANCHOR_MONTH)
    if kind == DAILY_WTD:
        return period_of(session, ANCHOR_WEEK)
    return period_of(session, ANCHOR_QUARTER)


@compiled
def calendar_anchor(kind, n, session, sessions):
    """First bar of the calendar period that the last bar lies in.

    Known where that bar is the period's first session, or a bar before the period is loaded (then the symbol did not
    trade on the period's first session). The calendar's own first session has none before it that would tell.
    """
    now = period(kind, sessions[session[n - 1]])
    below, at = -1, n - 1  # of bars `below` and `at`, the first lies before the period, the second inside it
    while at - below > 1:
        middle = (below + at) // 2
        if period(kind, sessions[session[middle]]) == now:
            at = middle
        else:
            below = middle
    if at > 0:
        return at
    first = session[0]
    return 0 if first > 0 and period(kind, sessions[first - 1]) != now else UNKNOWN


@compiled
def first_from(n, session, given):
    """First bar at or after session `given`; known where it is that session's, or an earlier bar is loaded."""
    if given < 0 or given > session[n - 1]:
        return UNKNOWN
    below, at = -1, n - 1
    while at - below > 1:
        middle = (below + at) // 2
        if session[middle] >= given:
            at = middle
        else:
            below = middle
    return at if at > 0 or session[0] == given else UNKNOWN


@compiled
def gap(n, open_, close, p):
    """Newest bar of the last `anchor_days` whose open lies `gap_pct` or more from the previous close, either side."""
    limit = p["gap_pct"] / 100.0
    for i in range(n - 1, max(n - p["anchor_days"], 0), -1):
        before = close[i - 1]
        if before > 0.0 and abs(open_[i] - before) / before >= limit:
            return i
    return UNKNOWN


@compiled
def volume_breakout(n, high, low, close, volume, p):
    """Newest bar of the last `anchor_days` that closes strong, above the highs before it and on unusual volume.

    Means and highs are those of bars inside the same window: its first ones have none.
    """
    days = p["breakout_volume_days"]
    highs = p["breakout_high_days"]
    factor = p["breakout_volume_factor"]
    fraction = p["breakout_range_fraction"]
    for i in range(n - 1, max(n - p["anchor_days"], 0) + max(days - 1, highs) - 1, -1):
        spread = high[i] - low[i]
        if not (spread > 0.0 and (close[i] - low[i]) / spread > fraction):
            continue
        above = True
        for j in range(i - highs, i):
            if high[j] >= close[i]:
                above = False
                break
        if not above:
            continue
        total = 0.0
        for j in range(i - days + 1, i + 1):
            total += volume[j]
        if volume[i] > factor * (total / days):
            return i
    return UNKNOWN


@compiled
def lowest(values, start, end):
    """Index of the lowest of values[start:end], a tie goes to the earlier; UNKNOWN where `start` is not loaded."""
    if start < 0:
        return UNKNOWN
    best = start
    for i in range(start + 1, end):
        if values[i] < values[best]:
            best = i
    return best


@compiled
def highest(values, start, end):
    """Index of the highest of values[start:end], a tie goes to the earlier; UNKNOWN where `start` is not loaded."""
    if start < 0:
        return UNKNOWN
    best = start
    for i in range(start + 1, end):
        if values[i] > values[best]:
            best = i
    return best


@compiled
def confirmed(kind, n, high, low, k):
    """Newest bar lower (higher) than the k bars on both its sides; a tie goes to the earlier bar."""
    for i in range(n - 1 - k, k - 1, -1):
        good = True
        for j in range(i - k, i + k + 1):
            if kind == DAILY_CONFIRMED_LOW:
                beaten = low[j] < low[i] or (j < i and low[j] == low[i])
            else:
                beaten = high[j] > high[i] or (j < i and high[j] == high[i])
            if beaten:
                good = False
                break
        if good:
            return i
    return UNKNOWN


@compiled
def year_extreme(kind, n, session, high, low, days, begins):
    """Lowest low or highest high of the last `days` sessions, the last bar's included.

    Known where the window reaches back to the first of them, or the listing begins inside them.
    """
    oldest = session[n - 1] - days + 1
    if session[0] > oldest and not begins:
        return UNKNOWN
    below, start = -1, n - 1
    while start - below > 1:
        middle = (below + start) // 2
        if session[middle] >= oldest:
            start = middle
        else:
            below = middle
    return lowest(low, start, n) if kind == DAILY_YEAR_LOW else highest(high, start, n)
