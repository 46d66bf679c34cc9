"""Which session a bar belongs to. Times come in with the bar; the calendar is a table of SESSION records."""

from __future__ import annotations

from avwapd.compiled import compiled

# A daily bar carries 16:00 New York also on a half day that closes at 13:00: look it up this much earlier.
DAILY_LOOKBACK_MS = 12_600_000


@compiled
def session_at(sessions, inst, index, ts_ms):
    """Index into `sessions` of the first session at or after `index` that closes at or after `ts_ms`."""
    last = inst["session_first"] + inst["session_count"] - 1
    key = ts_ms - DAILY_LOOKBACK_MS if inst["daily"] else ts_ms
    i = index
    while i < last and sessions[i]["close_ms"] < key:
        i += 1
    return i


@compiled
def inside(sessions, inst, index, ts_ms):
    """True where open < ts_ms <= close of session `index` (a daily bar: of its session date)."""
    key = ts_ms - DAILY_LOOKBACK_MS if inst["daily"] else ts_ms
    return sessions[index]["open_ms"] < key and key <= sessions[index]["close_ms"]
