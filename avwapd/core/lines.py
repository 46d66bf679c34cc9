"""What several anchored lines of one symbol say together: confluence, pinch, handoff.

The functions take the lines' values at one bar, so daily and intraday bars share them: lines: float64 [count or more],
NaN where a line is unknown or does not count; anchors: int64, where each line begins (bar index or ts_ms, only their
order matters). Those named `..._step` move what is remembered from one close to the next.
"""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.avwap import advance, typical

# Where locate_handoff keeps its running lines in its work space, `count` values each.
_SHIFT, _WEIGHT, _MEAN, _SPREAD, _LINE = range(5)
HANDOFF_SCRATCH = 5


@compiled
def near(line, other, pct):
    """True where `line` lies within `pct` percent of `other`, the limit included; never for an unknown line."""
    return other > 0.0 and abs(line - other) / other <= pct / 100.0


@compiled
def confluence(lines, count, winner, pct):
    """How many of the lines, the winner's included, lie within `pct` percent of the winner's; 0 without a winner."""
    total = 0
    if winner >= 0:
        for a in range(count):
            if near(lines[a], lines[winner], pct):
                total += 1
    return total


@compiled
def outside(line, other, close):
    """1 where a close is above both lines, -1 below both, 0 on or between them and where one is unknown."""
    if close > line and close > other:
        return 1
    if close < line and close < other:
        return -1
    return 0


@compiled
def apart(line, other):
    """How far two lines lie from each other, a fraction of the lower; infinite where one is unknown."""
    if not (line > 0.0 and other > 0.0):
        return math.inf
    return abs(line - other) / min(line, other)


@compiled
def pinched(lines, count, pct):
    """(first, second): slots of the two lines nearest to each other, within `pct` percent of the lower; else (-1, -1).

    A tie goes to the earlier slots.
    """
    first, second, best = -1, -1, math.inf
    for a in range(count):
        for b in range(a + 1, count):
            distance = apart(lines[a], lines[b])
            if distance <= pct / 100.0 and distance < best:
                first, second, best = a, b, distance
    return first, second


@compiled
def pinch_step(lines, count, before, close, pct, cross, first, second, run):
    """(first, second, run) after one more close.

    first, second: the pinched lines' slots, -1 for none; run: closes in a row outside both, positive above, negative
    below, 0 while the price is held between them. before: the close before, NaN for none. cross: a run begins only
    where the close before was not beyond both lines already, judged by this bar's lines. A run lives until a close
    comes back, also where the two lines part meanwhile. Begin with (-1, -1, 0), and again where a line is re-anchored.
    """
    if run != 0:
        side = outside(lines[first], lines[second], close)
        if side * run > 0:
            return first, second, run + side
    first, second = pinched(lines, count, pct)
    if first < 0:
        return -1, -1, 0
    side = outside(lines[first], lines[second], close)
    if cross and (math.isnan(before) or outside(lines[first], lines[second], before) == side):
        side = 0
    return first, second, side


@compiled
def supporter(lines, anchors, count, close, side):
    """Slot of the line that carries the price: for long (side 1) the highest below the close, for short (-1) the lowest
    above it; -1 where there is none. Of equal lines the older anchor's, then the earlier slot."""
    best = -1
    for a in range(count):
        if not side * (close - lines[a]) > 0.0:
            continue
        ahead = side * (lines[a] - lines[best]) if best >= 0 else 1.0
        if ahead > 0.0 or (ahead == 0.0 and anchors[a] < anchors[best]):
            best = a
    return best


@compiled
def handoff_step(lines, anchors, count, close, side, hold, holder, rival, run):
    """(holder, rival, run, passed) after one more close.

    holder: slot of the line that carries the price, -1 for none; rival: slot of a younger line that has come between
    it and the price; run: closes in a row that the rival was the nearest. passed: with this close the rival has been
    it for `hold` closes and is the holder now, a handoff. No handoff: the holder broke, the nearest line is not of a
    later anchor (an older line was won back), or there was no holder. Begin with (-1, -1, 0).
    """
    now = supporter(lines, anchors, count, close, side)
    if now < 0 or now == holder:
        return now, -1, 0, False
    if holder < 0 or not side * (close - lines[holder]) > 0.0 or anchors[now] <= anchors[holder]:
        return now, -1, 0, False
    run = run + 1 if now == rival else 1
    if run >= hold:
        return now, -1, 0, True
    return holder, now, run, False


@compiled
def locate_handoff(count, starts, knowns, n, source, open_, high, low, close, volume, side, hold, scratch):
    """(bar, older, younger): where the newest handoff in a window of n bars began, and the slots between which; -1s.

    starts, knowns: int64 [count], each line's anchor bar and the bar at whose close it was known, negative for unknown
    lines; open_ to volume: float64 [n]; scratch: float64 [HANDOFF_SCRATCH * count], work space. `bar` is the
    first of the `hold` closes; the handoff is known hold - 1 bars later. Nothing at a bar is judged by later bars.
    """
    found, older, younger = -1, -1, -1
    holder, rival, run = -1, -1, 0
    values = scratch[_LINE * count : (_LINE + 1) * count]
    begin = n
    for a in range(count):
        values[a] = math.nan
        if starts[a] >= 0:
            begin = min(begin, starts[a])
    for t in range(begin, n):
        for a in range(count):
            if starts[a] < 0 or t < starts[a]:
                continue
            if t == starts[a]:
                scratch[_SHIFT * count + a] = close[t]
                for field in range(_WEIGHT, _LINE):
                    scratch[field * count + a] = 0.0
            shift = scratch[_SHIFT * count + a]
            x = typical(source, open_[t], high[t], low[t], close[t], shift)
            weight, mean, spread = advance(
                scratch[_WEIGHT * count + a],
                scratch[_MEAN * count + a],
                scratch[_SPREAD * count + a],
                x,
                volume[t],
            )
            scratch[_WEIGHT * count + a] = weight
            scratch[_MEAN * count + a] = mean
            scratch[_SPREAD * count + a] = spread
            values[a] = shift + mean if weight > 0.0 and t >= knowns[a] else math.nan
        held = holder
        holder, rival, run, passed = handoff_step(values, starts, count, close[t], side, hold, holder, rival, run)
        if passed:
            found, older, younger = t - hold + 1, held, holder
    return found, older, younger
