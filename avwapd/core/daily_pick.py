"""A symbol's anchored lines, the best of them for a side, and the levels that follow from it."""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.avwap import HLC3, advance, typical
from avwapd.core.codes import DAILY_EARNINGS, DAILY_HANDOFF, DAILY_USER
from avwapd.core.daily import FELL_DISTANCE, FELL_NO_ANCHOR, FELL_NONE, FELL_SLOPE, FELL_WRONG_SIDE
from avwapd.core.daily_anchor import known_at, locate
from avwapd.core.daily_features import extreme_ending, mean_ending, swing_ending
from avwapd.core.lines import confluence, locate_handoff
from avwapd.core.risk import initial_stop

# Rows of Work.lines. RUN: closes in a row above (positive) or below (negative) the line, among the last that count.
SHIFT, WEIGHT, MEAN, SPREAD, LINE, THEN, RUN, KEPT = range(8)


@compiled
def locate_anchors(n, sessions, given, p, work, row):
    """Write where the configured anchors lie into a SCAN record, highest priority first, one a bar.

    given: int64 [2], session of the newest earnings day and of the newest date the user names, -1 for none.
    """
    handoff = -1
    for k in range(p["anchor_count"]):
        kind = p["anchor_kinds"][k]
        work.starts[k] = -1
        work.knowns[k] = -1
        if kind == DAILY_HANDOFF:
            handoff = k
            continue
        named = given[0] if kind == DAILY_EARNINGS else (given[1] if kind == DAILY_USER else -1)
        at = locate(
            kind,
            n,
            work.session,
            work.open,
            work.high,
            work.low,
            work.close,
            work.volume,
            sessions,
            p,
            row["begins"] != 0,
            named,
        )
        work.starts[k] = at
        work.knowns[k] = known_at(kind, at, n, p)
    if handoff >= 0:
        locate_handoff_anchor(n, handoff, p, work)
    keep_anchors(p, work, row)


@compiled
def locate_handoff_anchor(n, slot, p, work):
    """The handoff among the lines of the other kinds, on the side that is traded (long where both are)."""
    side = 1 if p["allow_long"] else -1
    at, _, _ = locate_handoff(
        p["anchor_count"],
        work.starts,
        work.knowns,
        n,
        HLC3,
        work.open,
        work.high,
        work.low,
        work.close,
        work.volume,
        side,
        p["acceptance_closes"],
        work.handoff,
    )
    work.starts[slot] = at
    work.knowns[slot] = known_at(DAILY_HANDOFF, at, n, p)


@compiled
def keep_anchors(p, work, row):
    """Of several anchors on one bar the first, which has the highest priority, names it."""
    count = 0
    for k in range(p["anchor_count"]):
        at = work.starts[k]
        if at < 0:
            continue
        new = True
        for a in range(count):
            if row["anchor_row"][a] == row["first"] + at:
                new = False
        if new:
            row["anchor_kind"][count] = k
            row["anchor_row"][count] = row["first"] + at
            row["known_row"][count] = row["first"] + work.knowns[k]
            count += 1
    row["anchor_count"] = count


@compiled
def fold_lines(n, p, work, row):
    """Move all lines of a symbol through its window in one pass, from the oldest anchor on."""
    count, lines, begin = row["anchor_count"], work.lines, n
    for a in range(count):
        work.starts[a] = row["anchor_row"][a] - row["first"]
        begin = min(begin, work.starts[a])
        lines[SHIFT, a] = work.close[work.starts[a]]
        for field in range(WEIGHT, LINE):
            lines[field, a] = 0.0
        lines[LINE, a] = math.nan
        lines[THEN, a] = math.nan
        lines[RUN, a] = 0.0
    then, labelled = n - 1 - p["avwap_slope_bars"], n - p["acceptance_closes"]
    for t in range(begin, n):
        high, low, close, volume = work.high[t], work.low[t], work.close[t], work.volume[t]
        for a in range(count):
            if t < work.starts[a]:
                continue
            shift = lines[SHIFT, a]
            x = typical(HLC3, 0.0, high, low, close, shift)
            weight, mean, spread = advance(lines[WEIGHT, a], lines[MEAN, a], lines[SPREAD, a], x, volume)
            lines[WEIGHT, a] = weight
            lines[MEAN, a] = mean
            lines[SPREAD, a] = spread
            if t == then and weight > 0.0:
                lines[THEN, a] = shift + mean
            if t >= labelled and weight > 0.0:
                lines[RUN, a] = one_more(lines[RUN, a], close, shift + mean)
    for a in range(count):
        lines[LINE, a] = lines[SHIFT, a] + lines[MEAN, a] if lines[WEIGHT, a] > 0.0 else math.nan


@compiled
def one_more(run, close, line):
    """Closes in a row above or below a line after one more close; one on the line ends the row."""
    if close > line:
        return max(run, 0.0) + 1.0
    if close < line:
        return min(run, 0.0) - 1.0
    return 0.0


@compiled
def label(close, before, line, run, p):
    """(control, reclaim, acceptance) of a line, each 1 bullish, -1 bearish, 0 neither."""
    away = (close - line) / line * 100.0
    control = 1 if away > p["control_pct"] else (-1 if away < -p["control_pct"] else 0)
    reclaim = 1 if before <= line < close else (-1 if before >= line > close else 0)
    closes = p["acceptance_closes"]
    acceptance = 1 if run >= closes else (-1 if run <= -closes else 0)
    return control, reclaim, acceptance


@compiled
def judge_line(line, then, close, before, side, p):
    """(reason, value, limit, slope, distance %, reclaim) of one line for a side; reason FELL_NONE where it is kept."""
    if math.isnan(line) or math.isnan(then) or not line > 0.0 or not then > 0.0:
        return FELL_NO_ANCHOR, math.nan, math.nan, 0.0, 0.0, False
    slope = (line - then) / then
    distance = side * (close - line) / line * 100.0
    if not side * (close - line) > 0.0:
        return FELL_WRONG_SIDE, close, line, slope, distance, False
    reclaim = side * (before - line) <= 0.0
    limit = p["min_slope"] if side > 0 else p["max_short_slope"]
    if not reclaim and side * (slope - limit) < 0.0:
        return FELL_SLOPE, slope, limit, slope, distance, reclaim
    if distance > p["max_distance_pct"]:
        return FELL_DISTANCE, distance, p["max_distance_pct"], slope, distance, reclaim
    return FELL_NONE, math.nan, math.nan, slope, distance, reclaim


@compiled
def longest(n, work, row):
    """Bars of the oldest line; 0 without any."""
    most = 0
    for a in range(row["anchor_count"]):
        most = max(most, n - work.starts[a])
    return most


@compiled
def best_line(n, side, p, work, row, pick):
    """Choose the side's anchor and write it into a PICK record, or why the line that came furthest fell.

    A tie of scores goes to the higher priority, which comes first. Writes Work.lines[KEPT]: each kept line, else NaN.
    """
    close, before = work.close[n - 1], work.close[n - 2] if n > 1 else math.nan
    winner, best = -1, -math.inf
    pick["reason"] = FELL_NO_ANCHOR
    pick["value"] = longest(n, work, row)
    pick["limit"] = p["avwap_slope_bars"] + 1
    for a in range(row["anchor_count"]):
        line, then = work.lines[LINE, a], work.lines[THEN, a]
        reason, value, limit, slope, distance, reclaim = judge_line(line, then, close, before, side, p)
        work.lines[KEPT, a] = line if reason == FELL_NONE else math.nan
        if reason != FELL_NONE:
            if winner < 0 and reason > pick["reason"]:
                pick["reason"] = reason
                pick["value"] = value
                pick["limit"] = limit
            continue
        near = p["near_low_pct"] <= distance <= p["near_high_pct"]
        score = p["anchor_priorities"][row["anchor_kind"][a]] + p["trend_weight"] * pick["trend_score"] - distance
        score += (p["near_bonus"] if near else 0.0) + (p["reclaim_bonus"] if reclaim else 0.0)
        if winner < 0 or score > best:
            winner, best = a, score
            pick["reason"] = FELL_NONE
            pick["anchor"] = a
            pick["line"] = line
            pick["slope"] = slope
            pick["distance_pct"] = distance
            pick["score"] = score
    pick["confluence"] = confluence(work.lines[KEPT], row["anchor_count"], winner, p["confluence_pct"])
    if winner >= 0:
        control, back, acceptance = label(close, before, pick["line"], work.lines[RUN, winner], p)
        pick["control"] = control
        pick["reclaim"] = back
        pick["acceptance"] = acceptance


@compiled
def level_features(n, p, work, row):
    """Write daily swings, the floor's mean and extreme, and the floor pivots of the last bar into a SCAN record."""
    row["swing_low"] = swing_ending(work.low, n, p["stop_swing_days"], 1.0)
    row["swing_high"] = swing_ending(work.high, n, p["stop_swing_days"], -1.0)
    days = p["floor_days"]
    mean = mean_ending(work.close, n, days)
    row["floor_low"] = min(mean, extreme_ending(work.low, n, days, 1.0))
    row["ceiling_high"] = max(mean, extreme_ending(work.high, n, days, -1.0))
    high, low, close = work.high[n - 1], work.low[n - 1], work.close[n - 1]
    pivot = (high + low + close) / 3.0
    row["r1"] = 2.0 * pivot - low
    row["r2"] = pivot + high - low
    row["s1"] = 2.0 * pivot - high
    row["s2"] = pivot - high + low


@compiled
def write_levels(side, p, row, pick):
    """Stop and targets of a candidate; the stop's formula is the intraday machine's."""
    pick["stop"] = initial_stop(row, p, side, pick["line"], pick["line"])
    pick["target1"] = row["r1"] if side > 0 else row["s1"]
    pick["target2"] = row["r2"] if side > 0 else row["s2"]
