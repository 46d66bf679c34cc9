"""What a backtest is held against: the symbols held, the index held, and entries at random with the same exits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from avwapd.feeds.world import Setup
from avwapd.research.backtest import replay
from avwapd.research.control import against, buy_and_hold, closes_of, random_lists
from avwapd.research.equity import History
from avwapd.research.lists import Lists, starts_of
from avwapd.research.portfolio import Calendar, Curve, Floats, Ints, calendar_of
from avwapd.research.portfolio_trades import expectancy_r, trips
from avwapd.research.trades import Trade, trades


def holds(setup: Setup, bars: Any, begin: int) -> dict[str, Curve]:
    """The market's symbols bought in equal parts and held, splits and dividends included; the scan's index likewise."""
    calendar = calendar_of(setup, bars, begin)
    symbols = np.flatnonzero(setup.instruments["tradable"]).tolist()
    closes = held_closes(setup, bars, calendar, symbols)
    start = float(setup.params["start_equity"][0])
    if not np.isfinite(closes).any():
        return {}
    found = {"buy_and_hold": buy_and_hold(closes, calendar.dates, start)}
    index = setup.config.scan.index
    if index in setup.market.symbols:
        column = held_closes(setup, bars, calendar, [setup.market.symbols.index(index)])
        found["index"] = buy_and_hold(column, calendar.dates, start)
    return found


def held_closes(setup: Setup, bars: Any, calendar: Calendar, symbols: Sequence[int]) -> Floats:
    """Closes in the money of the first session, as if every split and dividend stayed invested; [sessions, symbols]."""
    closes = closes_of(setup, bars, calendar, symbols)
    for column, symbol in enumerate(symbols):
        for action in setup.market.actions[setup.market.actions["symbol"] == symbol]:
            # The close before it was raw: an action within the window lifts all that follow.
            if len(bars) and action["ts_ms"] >= bars["ts_ms"][0]:
                closes[calendar.ends > action["ts_ms"], column] /= action["price_ratio"]
    return closes


def random_entry(setup: Setup, bars: Any, begin: int, lists: Lists, found: Sequence[Trade]) -> dict[str, Any]:
    """Where the run's expectancy lies among runs whose candidates came on random days: same engine, same exits."""
    calendar = calendar_of(setup, bars, begin)
    names = setup.market.symbols
    closes = session_closes(setup, bars, calendar)
    within = drawable(lists, closes, calendar.dates, names)
    draws = []
    for draw in range(setup.config.portfolio.random_entry_draws):
        made = random_lists(within, closes, calendar.dates, names, setup.config.run.seed, draw)
        result = replay(setup, bars, begin, lists=starts_of(setup, bars, made))
        market = setup.market
        legs = trades(
            result.fills, names, market.instruments, exchange=market.exchange, timeframe=market.timeframe, setups={}
        )
        draws.append(expectancy_r(trips(legs)))
    return against(expectancy_r(trips(found)), draws)


def drawable(lists: Lists, closes: Floats, dates: Ints, names: Sequence[str]) -> Lists:
    """The rows that a random day could stand for: the symbol has a bar of their session, and a session comes after it.

    closes: float64 [sessions, symbols], NaN where a symbol has no bar; dates: yyyymmdd of the sessions.
    """
    place = {int(date): at for at, date in enumerate(dates[:-1].tolist())}
    column = {name: at for at, name in enumerate(names)}
    return {
        date: [row for row in rows if row["symbol"] in column and closes[place[date], column[row["symbol"]]] > 0.0]
        for date, rows in lists.items()
        if date in place
    }


def session_closes(setup: Setup, bars: Any, calendar: Calendar) -> Floats:
    """Raw closes of the sessions in which a symbol has a bar, NaN in others; float64 [sessions, symbols]."""
    symbols = range(len(setup.market.symbols))
    closes = closes_of(setup, bars, calendar, list(symbols))
    history = History(setup, bars)
    for symbol in symbols:
        seen = np.searchsorted(history.session_bars(symbol)["ts_ms"], calendar.ends, side="right")
        closes[np.diff(seen, prepend=seen[0]) == 0, symbol] = np.nan
    return closes
