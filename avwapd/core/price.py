"""Prices, quantities and money between float64 (what rules compute) and integers (what orders and books hold)."""

from __future__ import annotations

import math

from avwapd.compiled import compiled

PPM = 1_000_000


@compiled
def to_ticks(price, tick):
    """Nearest whole number of ticks, half to even."""
    ratio = price / tick
    whole = math.floor(ratio)
    part = ratio - whole
    n = int(whole)
    if part > 0.5 or (part == 0.5 and n % 2 == 1):
        n += 1
    return n


@compiled
def to_lots(quantity, lot):
    """Whole lots, floored; a quantity within one part in 1e9 below a lot counts as that lot."""
    return math.floor(quantity / lot * (1.0 + 1e-9))


@compiled
def too_small(inst, qty, price):
    """True where the venue takes no order of so few lots; price: quote currency, NaN where none is known."""
    return qty < inst["min_qty"] or qty * inst["lot"] * price < inst["min_notional"]


@compiled
def scaled(units, ppm):
    """units x ppm / 1,000,000 in whole units, half to even; units may be negative.

    Whole millions first: the product of a large notional and a fee would leave int64.
    """
    millions = units // PPM
    product = (units - millions * PPM) * ppm
    rest = product % PPM
    whole = millions * ppm + product // PPM
    if 2 * rest > PPM or (2 * rest == PPM and whole % 2 == 1):
        whole += 1
    return whole
