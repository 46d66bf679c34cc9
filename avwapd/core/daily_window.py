"""A symbol's window: its last daily bars up to a session, adjusted as known on that day."""

from __future__ import annotations

from avwapd.compiled import compiled
from avwapd.core.daily import ADJUST_ALL, ADJUST_NONE


@compiled
def end_of(days, s, last):
    """One past symbol `s`'s newest row at or before session `last`; its first row where there is none."""
    below, above = days.offsets[s], days.offsets[s + 1]
    while below < above:
        middle = (below + above) // 2
        if days.session[middle] <= last:
            below = middle + 1
        else:
            above = middle
    return below


@compiled
def start_of(days, s, end, p):
    """(first row, listing begins there) of the window that ends before row `end`.

    A hole of more than `listing_gap_sessions` missing sessions means that the ticker changed hands: the bars before it
    are another company's. Whether a listing begins with the symbol's very first row cannot be told from bars alone.
    """
    floor = max(days.offsets[s], end - p["window_bars"])
    longest = p["listing_gap_sessions"] + 1
    for i in range(end - 1, floor, -1):
        if days.session[i] - days.session[i - 1] > longest:
            return i, 1
    hole = floor > days.offsets[s] and days.session[floor] - days.session[floor - 1] > longest
    return floor, 1 if hole else 0


@compiled
def copy_window(days, first, end, p, work):
    """Copy rows first to end into `work`, each adjusted by what took effect after it and up to the last row's session.

    Ratios of later rows are never read, so that nothing after the last session can change a bit. Prices and volumes of
    equal ratio 1 keep their bits.
    """
    price, split = 1.0, 1.0
    adjust = p["adjust"]
    for i in range(end - 1, first - 1, -1):
        to = i - first
        work.session[to] = days.session[i]
        work.open[to] = days.open[i] * price
        work.high[to] = days.high[i] * price
        work.low[to] = days.low[i] * price
        work.close[to] = days.close[i] * price
        work.volume[to] = days.volume[i] / split if split != 1.0 else days.volume[i]  # a division is dear
        if adjust != ADJUST_NONE:
            split *= days.split_ratio[i]
            price *= days.price_ratio[i] if adjust == ADJUST_ALL else days.split_ratio[i]


@compiled
def adjusted_close(days, end, back, p):
    """Close `back` rows before row end - 1, adjusted as known on that row's session."""
    price = 1.0
    if p["adjust"] != ADJUST_NONE:
        for i in range(end - 1, end - 1 - back, -1):
            price *= days.price_ratio[i] if p["adjust"] == ADJUST_ALL else days.split_ratio[i]
    return days.close[end - 1 - back] * price
