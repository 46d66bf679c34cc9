"""Anchored VWAP and its volume-weighted deviation, bar by bar.

Each line averages x = typical price - shift, shift being the anchor bar's close: on a price of 100,000 with a spread of
0.01 the digits that matter would otherwise drown. West's update (1979) of a weighted mean and sum of squared deviations
follows; live, scan and backtest all go through `advance`, so incremental and batch give the same bits.
"""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.records import MAX_ANCHORS

HLC3, OHLC4, CLOSE = 0, 1, 2

# Where fold_matrix keeps its running lines, MAX_ANCHORS values each.
START, SHIFT, WEIGHT, MEAN, SPREAD, LINE, SIGMA = (n * MAX_ANCHORS for n in range(7))
SCRATCH = 7 * MAX_ANCHORS


@compiled
def typical(source, open_, high, low, close, shift):
    """Price of a bar less `shift`, subtracted first so that no digit is lost in the sum."""
    if source == OHLC4:
        return ((open_ - shift) + (high - shift) + (low - shift) + (close - shift)) / 4.0
    if source == CLOSE:
        return close - shift
    return ((high - shift) + (low - shift) + (close - shift)) / 3.0


@compiled
def advance(weight, mean, spread, x, volume):
    """(weight, mean, spread) after one more observation x of weight `volume`; zero volume changes nothing."""
    total = weight + volume
    safe = total if total > 0.0 else 1.0
    delta = x - mean
    moved = mean + delta * (volume / safe)
    return total, moved, spread + volume * (delta * (x - moved))


@compiled
def begin(line, ts_ms, known_ms, close):
    """Anchor `line` (an AVWAP record) at the bar closing at `ts_ms`."""
    line["shift"] = close
    line["weight"] = 0.0
    line["mean"] = 0.0
    line["spread"] = 0.0
    line["anchor_ms"] = ts_ms
    line["known_ms"] = known_ms


@compiled
def forget(line):
    """An anchor that lies before the first bar we have, or in a hole, is unknown: never the next bar."""
    begin(line, 0, 0, 0.0)


@compiled
def fold(line, source, open_, high, low, close, volume):
    """Move an anchored line by one bar."""
    if line["anchor_ms"] == 0:
        return
    x = typical(source, open_, high, low, close, line["shift"])
    weight, mean, spread = advance(line["weight"], line["mean"], line["spread"], x, volume)
    line["weight"] = weight
    line["mean"] = mean
    line["spread"] = spread


@compiled
def level(line):
    """The line's price; NaN while not anchored or before any volume."""
    if line["anchor_ms"] == 0 or line["weight"] <= 0.0:
        return math.nan
    return line["shift"] + line["mean"]


@compiled
def sigma(line):
    """Volume-weighted standard deviation of price around the line, in price; NaN where the line is unknown."""
    if line["anchor_ms"] == 0 or line["weight"] <= 0.0:
        return math.nan
    variance = line["spread"] / line["weight"]
    return math.sqrt(variance) if variance > 0.0 else 0.0


@compiled
def fold_matrix(high, low, close, volume, starts, scratch, lines, sigmas):
    """AVWAP and sigma of many symbols and anchors in one pass (scan, research).

    high, low, close, volume: float64 [symbols, bars]; starts: int64 [symbols, MAX_ANCHORS], the anchor bar's column or
    a column past the end for "unknown"; scratch: float64 [SCRATCH], work space; lines, sigmas: float64 [symbols, bars,
    MAX_ANCHORS], written, NaN before the anchor and before any volume.
    """
    # The loop over anchors reads and writes one array only and counts to what the compiler does not know: so it becomes
    # wide instructions, where known bounds would be unrolled and several arrays be checked for overlap at every bar.
    anchors = starts.shape[1]
    for s in range(close.shape[0]):
        for a in range(anchors):
            first = starts[s, a]
            scratch[START + a] = first
            scratch[SHIFT + a] = close[s, first] if 0 <= first < close.shape[1] else 0.0
            scratch[WEIGHT + a] = 0.0
            scratch[MEAN + a] = 0.0
            scratch[SPREAD + a] = 0.0
        for t in range(close.shape[1]):
            now = float(t)
            high_, low_, close_, volume_ = high[s, t], low[s, t], close[s, t], volume[s, t]
            for a in range(anchors):
                shift = scratch[SHIFT + a]
                begun = now >= scratch[START + a]
                x = typical(HLC3, 0.0, high_, low_, close_, shift)
                weight, mean, spread = advance(
                    scratch[WEIGHT + a],
                    scratch[MEAN + a],
                    scratch[SPREAD + a],
                    x if begun else 0.0,
                    volume_ if begun else 0.0,
                )
                scratch[WEIGHT + a] = weight
                scratch[MEAN + a] = mean
                scratch[SPREAD + a] = spread
                known = weight > 0.0
                variance = spread / (weight if known else 1.0)
                price = shift + mean
                deviation = math.sqrt(variance if variance > 0.0 else 0.0)
                scratch[LINE + a] = price if known else math.nan
                scratch[SIGMA + a] = deviation if known else math.nan
            for a in range(anchors):
                lines[s, t, a] = scratch[LINE + a]
            for a in range(anchors):
                sigmas[s, t, a] = scratch[SIGMA + a]
