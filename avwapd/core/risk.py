"""Stops, sizes and caps."""

from __future__ import annotations

import math

from avwapd.compiled import compiled
from avwapd.core.price import to_lots


@compiled
def widest(stop, candidate, side):
    """The one further from the price of two stops, the unknown (NaN) ones left out."""
    if math.isnan(candidate):
        return stop
    if math.isnan(stop):
        return candidate
    return min(stop, candidate) if side > 0 else max(stop, candidate)


@compiled
def behind(price, entry, side):
    """`price` where it lies behind the entry, else NaN."""
    return price if side * (entry - price) > 0.0 else math.nan


@compiled
def initial_stop(st, p, side, entry, level):
    """The widest known of: daily swing, line, ATR and percent stops; float64 price."""
    up = side > 0
    swing = st["swing_low"] if up else st["swing_high"]
    swing = behind(swing * (p["swing_low_factor"] if up else 2.0 - p["swing_low_factor"]), entry, side)
    line = behind(level * (p["avwap_stop_factor"] if up else 2.0 - p["avwap_stop_factor"]), entry, side)
    stop = widest(swing, line, side)
    if math.isnan(stop):
        floor = st["floor_low"] if up else st["ceiling_high"]
        stop = floor * (p["avwap_stop_factor"] if up else 2.0 - p["avwap_stop_factor"])
    stop = widest(stop, entry - side * p["atr_stop_multiple"] * st["atr"], side)
    return widest(stop, entry * (p["percent_stop_factor"] if up else 2.0 - p["percent_stop_factor"]), side)


@compiled
def notional_target(p, equity, entry, stop, distance, atr):
    """Equity-currency value to buy, before rounding to lots; distance: percent from the level."""
    cap = equity * p["max_position_fraction"]
    if p["sizing"] == 1:
        return min(equity * p["risk_fraction"] / abs(entry - stop) * entry, cap)
    if math.isnan(atr):
        share = p["proxy_floor"]
    else:
        stretch = max(distance, atr / entry * 100.0)
        share = max(p["proxy_floor"], 1.0 - min(stretch / p["proxy_full_pct"], 1.0))
    return min(equity * p["proxy_fraction"] * share, cap)


@compiled
def lots_for(notional, price, rate, inst):
    """Whole lots worth at most `notional` equity currency at `price` quote currency a unit; rate: equity per quote."""
    return to_lots(notional / (price * rate), inst["lot"])


@compiled
def quote_rate(states, inst):
    """Equity currency per quote currency by the conversion pair's last close; NaN where none is known."""
    pair = inst["convert_symbol"]
    if pair == -1:
        return 1.0
    if pair < 0:
        return math.nan
    close = states[pair]["last_close"]
    if not close > 0.0:
        return math.nan
    return 1.0 / close if inst["convert_inverse"] else close


@compiled
def ratchet(st, side, candidate_ticks):
    """Move the wanted stop only in the trade's favour; True where it moved."""
    if side * (candidate_ticks - st["stop"]) <= 0:
        return False
    st["stop"] = candidate_ticks
    return True
