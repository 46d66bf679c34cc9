"""What a symbol remembers of its days and of the running session: ATR, means, swings, five-minute structure."""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.records import PROFILE_COLUMNS, PROFILE_SESSIONS, RING_DAYS

ATR_DAYS = 14
SWING_DAYS = 20
FLOOR_DAYS = 5
FIVE_MINUTES_MS = 300_000


@compiled
def mean_last(ring, count, size):
    """Mean of the newest `size` of `count` values in a ring, summed oldest first; NaN while there are fewer."""
    if count < size:
        return math.nan
    total = 0.0
    for i in range(count - size, count):
        total += ring[i % RING_DAYS]
    return total / size


@compiled
def last_swing(ring, count, sign):
    """Newest value of the last 20 days below (sign 1) or above (sign -1) both neighbours; NaN where none is."""
    oldest = max(count - SWING_DAYS, 0)
    for i in range(count - 2, oldest, -1):
        x = ring[i % RING_DAYS]
        if sign * (ring[(i - 1) % RING_DAYS] - x) > 0.0 and sign * (ring[(i + 1) % RING_DAYS] - x) > 0.0:
            return x
    return math.nan


@compiled
def extreme_last(ring, count, size, sign):
    """Lowest (sign 1) or highest (sign -1) of the newest `size` values; NaN while there are fewer."""
    if count < size:
        return math.nan
    best = ring[(count - 1) % RING_DAYS]
    for i in range(count - size, count - 1):
        x = ring[i % RING_DAYS]
        if sign * (best - x) > 0.0:
            best = x
    return best


@compiled
def push_day(st, high, low, close):
    """Add a complete day and renew what the rules read of days."""
    count = st["day_count"]
    spread = high - low
    if count > 0:
        before = st["day_closes"][(count - 1) % RING_DAYS]
        spread = max(spread, abs(high - before), abs(low - before))
    at = count % RING_DAYS
    st["day_highs"][at] = high
    st["day_lows"][at] = low
    st["day_closes"][at] = close
    st["day_ranges"][at] = spread
    count += 1
    st["day_count"] = count
    st["atr"] = mean_last(st["day_ranges"], count, ATR_DAYS)
    st["swing_low"] = last_swing(st["day_lows"], count, 1.0)
    st["swing_high"] = last_swing(st["day_highs"], count, -1.0)
    average = mean_last(st["day_closes"], count, FLOOR_DAYS)
    st["floor_low"] = (
        min(average, extreme_last(st["day_lows"], count, FLOOR_DAYS, 1.0)) if count >= FLOOR_DAYS else math.nan
    )
    st["ceiling_high"] = (
        max(average, extreme_last(st["day_highs"], count, FLOOR_DAYS, -1.0)) if count >= FLOOR_DAYS else math.nan
    )


@compiled
def start_day(st, bar, complete):
    """The session's first bar; complete: nothing of the session is missing before it."""
    st["day_complete"] = 1 if complete else 0
    st["day_open"] = bar["open"]
    st["day_high"] = bar["high"]
    st["day_low"] = bar["low"]
    st["day_close"] = bar["close"]
    st["session_bars"] = 0
    st["session_volume"] = 0.0
    st["five_ms"] = 0
    st["five_count"] = 0
    st["structure_low"] = math.nan
    st["structure_low_before"] = math.nan
    st["structure_high"] = math.nan
    st["structure_high_before"] = math.nan


@compiled
def grow_day(st, bar):
    """One more bar of the running session."""
    if bar["high"] > st["day_high"]:
        st["day_high"] = bar["high"]
    if bar["low"] < st["day_low"]:
        st["day_low"] = bar["low"]
    st["day_close"] = bar["close"]
    st["session_bars"] += 1
    st["session_volume"] += bar["volume"]


@compiled
def close_five(st):
    """A five-minute bar is complete: look whether the one before it was a swing."""
    if st["five_count"] >= 2:
        low = st["five_lows"][1]
        if low < st["five_lows"][0] and low < st["five_low"]:
            st["structure_low_before"] = st["structure_low"]
            st["structure_low"] = low
        high = st["five_highs"][1]
        if high > st["five_highs"][0] and high > st["five_high"]:
            st["structure_high_before"] = st["structure_high"]
            st["structure_high"] = high
    st["five_lows"][0] = st["five_lows"][1]
    st["five_lows"][1] = st["five_low"]
    st["five_highs"][0] = st["five_highs"][1]
    st["five_highs"][1] = st["five_high"]
    st["five_count"] += 1


@compiled
def grow_five(st, bar, timeframe_ms):
    """Build five-minute bars of smaller ones; a bucket ends with the bar that closes on its boundary or after it."""
    bucket = (bar["ts_ms"] + FIVE_MINUTES_MS - 1) // FIVE_MINUTES_MS * FIVE_MINUTES_MS
    if st["five_ms"] != bucket:
        if st["five_ms"] != 0:
            close_five(st)
        st["five_ms"] = bucket
        st["five_low"] = bar["low"]
        st["five_high"] = bar["high"]
    else:
        st["five_low"] = min(st["five_low"], bar["low"])
        st["five_high"] = max(st["five_high"], bar["high"])
    if bar["ts_ms"] == bucket:
        close_five(st)
        st["five_ms"] = 0


@compiled
def profile_slot(ts_ms, open_ms, timeframe_ms, slots):
    """Number of the bar within its session, 0 first, bounded by the profile's size."""
    slot = math.ceil((ts_ms - open_ms) / timeframe_ms) - 1  # exact below 2**53, and faster than whole division
    return min(max(slot, 0), slots - 1)


@compiled
def grow_profile(st, profile, counts, row, slot):
    """Write the session's volume so far at this time of day, and over a hole before it.

    profile: float64 [slots, PROFILE_COLUMNS, rows]; counts: int64 [rows] complete sessions; st["profile_at"]: the slots
    of the running session already written.
    """
    column = counts[row] % PROFILE_COLUMNS
    for i in range(st["profile_at"], slot):
        profile[i, column, row] = st["profile_last"]
    profile[slot, column, row] = st["session_volume"]
    st["profile_last"] = st["session_volume"]
    st["profile_at"] = slot + 1


@compiled
def end_profile(st, profile, counts, row):
    """The session is over: fill its rest, and count it where it was complete."""
    if st["day_complete"]:
        column = counts[row] % PROFILE_COLUMNS
        for i in range(st["profile_at"], profile.shape[0]):
            profile[i, column, row] = st["profile_last"]
        counts[row] += 1
    st["profile_at"] = 0
    st["profile_last"] = 0.0


@compiled
def usual_volume(profile, counts, row, slot):
    """Mean of the last 20 complete sessions' volume at this time of day; NaN while there are fewer."""
    if counts[row] < PROFILE_SESSIONS:
        return math.nan
    running = counts[row] % PROFILE_COLUMNS
    total = 0.0
    for i in range(PROFILE_COLUMNS):
        if i != running:
            total += profile[slot, i, row]
    return total / PROFILE_SESSIONS
