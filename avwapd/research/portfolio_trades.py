"""What the trades of a backtest earned, and how much of the time and money they used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from avwapd.feeds.world import Setup
from avwapd.research.equity import History
from avwapd.research.portfolio import Calendar, Curve, Figure, Figures, Floats, Missing
from avwapd.research.trades import Trade

DAY_MS = 86_400_000
QUOTED_IN_EQUITY = -1  # of an instrument's convert_symbol


class Trip(NamedTuple):
    """A position from its first fill to its last leg, in exact money of its quote currency."""

    symbol: str
    number: int
    quote: str
    entry_ts_ms: int
    exit_ts_ms: int
    pnl: Fraction
    fees: Fraction
    r: Fraction | None  # pnl over the money at risk between entry and first stop


def trips(trades: Sequence[Trade]) -> list[Trip]:
    """Legs of one (symbol, trade) together, sorted by exit, symbol, number.

    The risk of a leg is its quantity x one distance, so a trip's R is the mean of its legs' weighted by quantity.
    What a position that is still open has realised counts as a trip.
    """
    legs: dict[tuple[str, int], list[Trade]] = {}
    for trade in trades:
        legs.setdefault((trade.symbol, trade.trade), []).append(trade)
    found = []
    for (symbol, number), parts in legs.items():
        r = None
        if all(leg.r_multiple for leg in parts):
            qty = sum((Fraction(leg.qty) for leg in parts), Fraction(0))
            r = sum((Fraction(leg.r_multiple) * Fraction(leg.qty) for leg in parts), Fraction(0)) / qty
        pnl = sum((Fraction(leg.pnl) for leg in parts), Fraction(0))
        fees = sum((Fraction(leg.fees) for leg in parts), Fraction(0))
        times = parts[0].entry_ts_ms, max(leg.exit_ts_ms for leg in parts)
        found.append(Trip(symbol, number, parts[0].quote, *times, pnl, fees, r))
    return sorted(found, key=lambda t: (t.exit_ts_ms, t.symbol, t.number))


def trade_measures(found: Sequence[Trip], calendar: Calendar) -> Figures:
    """Counts, money and time of round trips.

    win_rate = trips above zero / all; expectancy = mean profit of a trip after fees, in money and in R;
    profit_factor = sum of profits / sum of losses; payoff = average win / average loss. Hold: in sessions, 0 within
    one, and in days of 24 hours.
    """
    figures: Figures = {"trades": len(found)}
    if not found:
        return figures | dict.fromkeys(TRADE_NAMES, Missing("no trade"))
    held = calendar.index([t.exit_ts_ms for t in found]) - calendar.index([t.entry_ts_ms for t in found])
    figures["average_hold_sessions"] = int(held.sum()) / len(found)
    figures["average_hold_days"] = sum(t.exit_ts_ms - t.entry_ts_ms for t in found) / (len(found) * DAY_MS)
    wins = [t.pnl for t in found if t.pnl > 0]
    losses = [-t.pnl for t in found if t.pnl < 0]
    figures |= {"wins": len(wins), "losses": len(losses), "win_rate": len(wins) / len(found)}
    known = [t.r for t in found if t.r is not None]
    figures |= {"trades_with_r": len(known), "expectancy_r": expectancy_r(found)}
    quotes = sorted({t.quote for t in found})
    if len(quotes) > 1:
        return figures | dict.fromkeys(MONEY, Missing(f"trades in several currencies: {', '.join(quotes)}"))
    return figures | _money(found, wins, losses)


def expectancy_r(found: Sequence[Trip]) -> float | Missing:
    """The mean R of the trips that have one: what `control.against` compares."""
    known = [t.r for t in found if t.r is not None]
    return float(_mean(known)) if known else Missing("no trade with a stop behind its entry")


def _money(found: Sequence[Trip], wins: Sequence[Fraction], losses: Sequence[Fraction]) -> Figures:
    won, lost = sum(wins, Fraction(0)), sum(losses, Fraction(0))
    no_win, no_loss = Missing("no winning trade"), Missing("no losing trade")
    payoff: Figure = float(_mean(wins) / _mean(losses)) if wins and losses else no_loss if wins else no_win
    return {
        "quote": found[0].quote,
        "net_profit": float(won - lost),
        "fees": float(sum((t.fees for t in found), Fraction(0))),
        "expectancy": float((won - lost) / len(found)),
        "profit_factor": float(won / lost) if losses else no_loss,
        "average_win": float(_mean(wins)) if wins else no_win,
        "average_loss": float(_mean(losses)) if losses else no_loss,
        "payoff": payoff,
        "largest_win": float(max(wins)) if wins else no_win,
        "largest_loss": float(max(losses)) if losses else no_loss,
    }


MONEY = (
    "quote",
    "net_profit",
    "fees",
    "expectancy",
    "profit_factor",
    "average_win",
    "average_loss",
    "payoff",
    "largest_win",
    "largest_loss",
)
TRADE_NAMES = (
    *("average_hold_sessions", "average_hold_days", "wins", "losses", "win_rate", "trades_with_r", "expectancy_r"),
    *MONEY,
)


def _mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def use_measures(setup: Setup, bars: Any, fills: Any, calendar: Calendar, curve: Curve) -> Figures:
    """How much was in the market, open positions included.

    time_exposure: share of sessions with a position at some moment; gross_exposure: mean over sessions of positions'
    value at the close / equity; turnover: half of all that was bought and sold / mean equity, a year.
    """
    figures: Figures = {"time_exposure": int(held_sessions(fills, calendar).sum()) / len(curve)}
    symbols = np.unique(fills["symbol"])
    if (setup.instruments["convert_symbol"][symbols] != QUOTED_IN_EQUITY).any():
        why = Missing("positions are quoted in another currency than the equity")
        return figures | dict.fromkeys(("gross_exposure", "turnover"), why)
    if float(curve.equity.min()) <= 0.0:
        return figures | dict.fromkeys(("gross_exposure", "turnover"), Missing("equity fell to zero or below"))
    value = gross(setup, bars, fills, calendar)
    figures["gross_exposure"] = math.fsum(value / curve.equity) / len(curve)
    traded = math.fsum(
        fills["qty"].astype(np.float64) * fills["price"] * setup.instruments["unit_value"][fills["symbol"]]
    )
    years = curve.years()
    figures["turnover"] = (
        traded / 2.0 / (math.fsum(curve.equity) / len(curve)) / years if years else Missing("fewer than 2 sessions")
    )
    return figures


def held_sessions(fills: Any, calendar: Calendar) -> Any:
    """True for each session in which a position was held at some moment; bool [sessions]."""
    change = np.zeros(len(calendar.dates) + 1, np.int64)
    for symbol in np.unique(fills["symbol"]).tolist():
        mine = fills[fills["symbol"] == symbol]
        flat = mine["held"] == 0
        opened = np.flatnonzero(np.concatenate([[True], flat[:-1]]) & ~flat)
        place = calendar.index(mine["ts_ms"])
        # One that a single fill opened and closed leaves no open row.
        np.add.at(change, place, 1)
        np.add.at(change, place + 1, -1)
        for start in opened.tolist():
            closing = np.flatnonzero(flat[start:])
            end = int(place[start + closing[0]]) if len(closing) else len(calendar.dates) - 1
            change[int(place[start])] += 1
            change[end + 1] -= 1
    return np.cumsum(change[:-1]) > 0


def gross(setup: Setup, bars: Any, fills: Any, calendar: Calendar) -> Floats:
    """Value of all positions, long or short, at the last close known at each session's end; float64 [sessions]."""
    history = History(setup, bars)
    total = np.zeros(len(calendar.dates))
    for symbol in np.unique(fills["symbol"]).tolist():
        mine = fills[fills["symbol"] == symbol]
        last = np.searchsorted(mine["ts_ms"], calendar.ends, side="right") - 1
        lots = np.where(last >= 0, np.abs(mine["held"])[last], 0)
        rows = history.session_bars(symbol)
        seen = np.searchsorted(rows["ts_ms"], calendar.ends, side="right") - 1
        close = np.where(seen >= 0, rows["close"][seen], 0.0)
        total += lots * close * float(setup.instruments["lot"][symbol])
    return total
