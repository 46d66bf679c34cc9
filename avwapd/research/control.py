"""What a strategy is measured against: holding the same symbols, holding the index, and entering at random.

Random entry keeps everything but the choice of the bar: lists of rows for the same engine, with as many rows, the
same symbols and sides, each at a random session, with the distances of a real candidate of that side. What differs
between the two runs is then the choice of moment (the scan's filters and its regime among it), not the exits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from avwapd.core.daily import Days
from avwapd.feeds.world import Setup
from avwapd.research import ResearchError
from avwapd.research.bootstrap import LEVELS
from avwapd.research.equity import History
from avwapd.research.portfolio import Calendar, Curve, Floats, Ints, Missing, plain, quantiles

Row = Mapping[str, Any]
Lists = Mapping[int, Sequence[Row]]  # scan date (yyyymmdd) -> rows of the watchlist

ENTRIES = 3  # the stream of numbers of random entries
DECIMALS = 2  # of a list's prices
ROUNDED = ("level", "stop", "r1", "r2")
SCALED = ("atr", "swing_low", "swing_high")


# ----------------------------------------------------------------- holding


def closes_of(setup: Setup, bars: Any, calendar: Calendar, symbols: Sequence[int]) -> Floats:
    """The last close known at each session's end, NaN before the first; float64 [sessions, symbols], raw prices."""
    history = History(setup, bars)
    found = np.full((len(calendar.dates), len(symbols)), np.nan)
    for column, symbol in enumerate(symbols):
        rows = history.session_bars(symbol)
        seen = np.searchsorted(rows["ts_ms"], calendar.ends, side="right") - 1
        if len(rows):
            found[:, column] = np.where(seen >= 0, rows["close"][seen], np.nan)
    return found


def total_return(days: Days, symbol: int, sessions: Ints) -> Floats:
    """A symbol's close with splits and dividends in it, in the money of its first bar; float64 [sessions].

    sessions: indices into the exchange's sessions, rising. NaN before the first bar; a session without a bar carries
    the last one on. A ratio applies to all earlier rows, so the rows up to t are divided by the ratios up to t.
    """
    first, end = int(days.offsets[symbol]), int(days.offsets[symbol + 1])
    if first == end:
        return np.full(len(sessions), np.nan)
    value = days.close[first:end] / np.cumprod(days.price_ratio[first:end])
    seen = np.searchsorted(days.session[first:end], sessions, side="right") - 1
    return np.where(seen >= 0, value[seen], np.nan)


def buy_and_hold(closes: Floats, dates: Ints, start: float) -> Curve:
    """`start` in equal parts on every column, bought at its first close and held, without costs.

    closes: float64 [sessions, symbols]; the part of a symbol without a close yet waits as money, one that never has
    a close has no part. Raises ResearchError where there is nothing to hold.
    """
    known = np.isfinite(closes) & (closes > 0.0)
    columns = np.flatnonzero(known.any(axis=0))
    if not len(columns) or not len(dates):
        raise ResearchError("no close lies in that window", "buy and hold", "see `avwapd bars list`")
    total = np.zeros(len(dates))
    for column in columns.tolist():
        here = known[:, column]
        last = np.maximum.accumulate(np.where(here, np.arange(len(dates)), -1))
        prices = closes[:, column]
        total += np.where(last >= 0, prices[last] / prices[int(here.argmax())], 1.0)
    return Curve(dates, total * (start / len(columns)), start)


# ------------------------------------------------------------ random entry


def random_lists(lists: Lists, closes: Floats, dates: Ints, symbols: Sequence[str], seed: int, draw: int) -> Lists:
    """As many rows as `lists` has, each at a random session of its symbol; the same draw gives the same lists.

    closes: float64 [sessions, symbols], the raw closes that the engine's bars have, NaN where a symbol has no bar;
    dates: yyyymmdd of the sessions. A row trades in the session after its own, so the last session has none, and a
    symbol has one row a session. level, stop and targets stand as far from the close, in percent, as those of a real
    candidate of the same side, drawn without replacement, whose other figures the row has too.
    Raises ResearchError where a symbol has fewer bars than rows, or none.
    """
    rows = [row for date in sorted(lists) for row in sorted(lists[date], key=lambda row: str(row["symbol"]))]
    rng = np.random.default_rng([seed, ENTRIES, draw])
    column = {symbol: i for i, symbol in enumerate(symbols)}
    shapes = _shuffled_by_side(rows, rng)
    places = _places(rows, closes, column, rng)
    made: dict[int, list[dict[str, Any]]] = {}
    for row, shape, place in zip(rows, shapes, places, strict=True):
        close = float(closes[place, column[str(row["symbol"])]])
        made.setdefault(int(dates[place]), []).append(moved(shape, row, close, int(dates[place])))
    return {date: ranked(made[date]) for date in sorted(made)}


def _shuffled_by_side(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    """For each row a row of its side, every row once."""
    keys = rng.random(len(rows))
    found: list[Row] = list(rows)
    for side in (1, -1):
        mine = [i for i, row in enumerate(rows) if row["side"] == side]
        for i, other in zip(mine, sorted(mine, key=lambda i: (keys[i], i)), strict=True):
            found[i] = rows[other]
    return found


def _places(rows: Sequence[Row], closes: Floats, column: Mapping[str, int], rng: np.random.Generator) -> list[int]:
    """A session for each row, none twice for one symbol."""
    wanted: dict[str, int] = {}
    for row in rows:
        wanted[str(row["symbol"])] = wanted.get(str(row["symbol"]), 0) + 1
    chosen: dict[str, Iterator[int]] = {}
    for symbol in sorted(wanted):
        if symbol not in column:
            raise ResearchError("a candidate without bars", symbol, "import its bars, or leave it out")
        prices = closes[:-1, column[symbol]]
        usable = np.flatnonzero(np.isfinite(prices) & (prices > 0.0))
        if len(usable) < wanted[symbol]:
            what = f"{wanted[symbol]} candidates but {len(usable)} sessions to draw from"
            raise ResearchError(what, symbol, "import more bars, or shorten the window of the candidates")
        order = np.argsort(rng.random(len(usable)), kind="stable")[: wanted[symbol]]
        chosen[symbol] = iter(usable[order].tolist())
    return [next(chosen[str(row["symbol"])]) for row in rows]


def moved(shape: Row, row: Row, close: float, date: int) -> dict[str, Any]:
    """`shape` on the symbol and sector of `row`, at another price: every distance in percent stays."""
    price = float(shape["price"])
    if not (math.isfinite(price) and price > 0.0):
        raise ResearchError(f"a candidate's price is {price}", str(shape["symbol"]), "make the candidates again")
    made = {**shape, "symbol": row["symbol"], "sector": row["sector"], "price": close, "anchor_date": date}
    for name in ROUNDED:
        made[name] = round(close * (float(shape[name]) / price), DECIMALS)
    for name in SCALED:
        made[name] = None if shape[name] is None else close * (float(shape[name]) / price)
    return made


def ranked(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A list's order: by tier, then trend score falling, then symbol; the rank says the place."""
    order = sorted(rows, key=lambda row: (row["tier"], -row["trend_score"], row["symbol"]))
    return [{**row, "rank": place} for place, row in enumerate(order, start=1)]


def against(real: float | Missing, drawn: Sequence[float | Missing]) -> dict[str, Any]:
    """Where the real expectancy lies among those of random entries.

    percentile: share of draws below the real one, ties half, x 100. p_value: (1 + draws at or above it) / (1 + draws),
    the chance to see as much by random entry (Phipson and Smyth 2010). A draw without a value is left out, counted.
    """
    known = [value for value in drawn if not isinstance(value, Missing)]
    head: dict[str, Any] = {"draws": len(drawn), "left_out": len(drawn) - len(known)}
    if isinstance(real, Missing) or not known:
        why = real if isinstance(real, Missing) else Missing("no draw made a trade")
        return head | plain(dict.fromkeys(("real", "mean", *LEVELS, "percentile", "p_value"), why))
    below, level = sum(value < real for value in known), sum(value == real for value in known)
    return {
        **head,
        "real": real,
        "mean": math.fsum(known) / len(known),
        **dict(zip(LEVELS, quantiles(known, list(LEVELS.values())), strict=True)),
        "percentile": 100.0 * (below + level / 2) / len(known),
        "p_value": (1 + len(known) - below) / (1 + len(known)),
        "undefined": {},
    }
