"""What stands about a session before its first bar: the market's regime, earnings ahead, bad tickers.

Everything here is known when the session opens; the same function serves live, replay and backtest. The engine hears
of it as outer gates that close and open (`core.codes.OUTER_*`), before the first bar of a session in which they change.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avwapd.core.codes import OUTER_BAD_TICKER, OUTER_EARNINGS, OUTER_REGIME
from avwapd.core.daily import Days

NORMAL, DEFENSIVE, OFF, UNKNOWN = "NORMAL", "DEFENSIVE", "OFF", "UNKNOWN"
GATES = (OUTER_REGIME, OUTER_EARNINGS, OUTER_BAD_TICKER)
ALL = -1
WHO = "standing"  # who turns these gates, in the journal
MEAN_DAYS, RANGE_DAYS, LOOK_DAYS = 5, 10, 8
LEAST_DAYS = 11
FALL = 0.20  # of the mean, in price units
EXPANSION = 1.5  # of the mean range
MOST_ADVERSE = 3

Place = tuple[int, int]  # symbol (ALL: everybody), outer gate


class Earning(NamedTuple):
    """A report's date and from when on it was known, yyyymmdd."""

    date: int
    known_date: int


class Bad(NamedTuple):
    """A symbol nobody opens from first to last, both included, yyyymmdd."""

    symbol: str
    reason: str
    first: int
    last: int


class Turn(NamedTuple):
    """A gate that is not as it was in the session before."""

    ts_ms: int  # the session's open
    symbol: int
    gate: int
    closed: bool
    reason: str


@dataclass(frozen=True)
class Index:
    """Daily bars of the index as known on each day: split-adjusted only backwards. session: into the calendar's table;
    the prices are raw, ratio as in `core.daily.Days.price_ratio`."""

    symbol: str
    session: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    ratio: NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """What the imported lists and the daily archive say; `index` None: none is configured."""

    index: Index | None = None
    index_wanted: str = ""
    fail_open: bool = True
    earnings: Mapping[str, Sequence[Earning]] = field(default_factory=dict)
    earnings_days: int = 0
    bad: Sequence[Bad] = ()


def index_of(days: Days, place: int, symbol: str) -> Index:
    """One symbol's rows of Days (split-adjusted later on, day by day); place -1: no rows."""
    rows = slice(int(days.offsets[place]), int(days.offsets[place + 1])) if place >= 0 else slice(0, 0)
    return Index(
        symbol,
        np.asarray(days.session[rows], np.int64),
        np.asarray(days.open[rows]),
        np.asarray(days.high[rows]),
        np.asarray(days.low[rows]),
        np.asarray(days.close[rows]),
        np.asarray(days.split_ratio[rows]),
    )


def regime_of(index: Index, before: int) -> tuple[str, str]:
    """(regime, why) for the session at `before` of the calendar, from the sessions before it.

    UNKNOWN where the session just before it has no bar of the index. OFF: the 5-day mean fell by 0.20 or more, or 3 of
    the last 8 days were adverse expansions (range at least 1.5 times the mean of the 10 days before, close below open);
    DEFENSIVE: the mean did not rise, or 1 such day, or fewer than 11 days are known.
    """
    end = int(np.searchsorted(index.session, before, side="left"))
    if end == 0 or index.session[end - 1] != before - 1:
        return UNKNOWN, f"{index.symbol} has no daily bar of the session before"
    begin = max(0, end - LOOK_DAYS - RANGE_DAYS)
    if end - begin < LEAST_DAYS:
        return DEFENSIVE, f"{index.symbol} has {end - begin} daily bars, {LEAST_DAYS} are needed"
    # Prices before a split count in those after it.
    later = index.ratio[begin + 1 : end]
    scale = np.concatenate([np.cumprod(later[::-1])[::-1], [1.0]])
    opened, high, low, close = (
        column[begin:end] * scale for column in (index.open, index.high, index.low, index.close)
    )
    change = float(close[-MEAN_DAYS:].mean() - close[-MEAN_DAYS - 1 : -1].mean())
    spread = high - low
    judged = range(max(RANGE_DAYS, len(close) - LOOK_DAYS), len(close))
    adverse = sum(
        1
        for day in judged
        if spread[day] >= EXPANSION * spread[day - RANGE_DAYS : day].mean() and close[day] < opened[day]
    )
    told = f"{index.symbol}: 5-day mean {change:+.2f}, {adverse} adverse expansions in {LOOK_DAYS} days"
    if change <= -FALL or adverse >= MOST_ADVERSE:
        return OFF, told
    return (DEFENSIVE if change <= 0.0 or adverse else NORMAL), told


def standing(known: Known, symbols: Sequence[str], session: int, date: int) -> dict[Place, str]:
    """The gates that are closed in one session, with their reasons. date: the session's, yyyymmdd."""
    closed: dict[Place, str] = {}
    if known.index_wanted:
        regime, why = regime_of(known.index, session) if known.index else (UNKNOWN, f"no bars of {known.index_wanted}")
        if regime in (OFF, DEFENSIVE) or (regime == UNKNOWN and not known.fail_open):
            closed[ALL, OUTER_REGIME] = f"regime {regime}: {why}"
    place = {symbol: at for at, symbol in enumerate(symbols)}
    today = ordinal(date)
    for symbol, at in place.items():
        ahead = [ordinal(row.date) - today for row in known.earnings.get(symbol, ()) if row.known_date < date]
        coming = [days for days in ahead if 0 <= days <= known.earnings_days]
        if coming:
            closed[at, OUTER_EARNINGS] = f"earnings in {min(coming)} days"
    for row in known.bad:
        if row.symbol in place and row.first <= date <= row.last:
            closed[place[row.symbol], OUTER_BAD_TICKER] = row.reason or "bad ticker"
    return closed


def unknown_regime(known: Known, session: int) -> str:
    """Why the regime of a session cannot be told although an index is configured; "" where it can."""
    if not known.index_wanted:
        return ""
    if known.index is None:
        return f"no daily bars of {known.index_wanted} in the archive"
    regime, why = regime_of(known.index, session)
    return why if regime == UNKNOWN else ""


def changes(before: Mapping[Place, str], now: Mapping[Place, str], ts_ms: int) -> list[Turn]:
    """What differs, gate by gate and symbol by symbol."""
    opened = [Turn(ts_ms, *place, False, "over") for place in before.keys() - now.keys()]
    shut = [Turn(ts_ms, *place, True, now[place]) for place in now.keys() - before.keys()]
    return sorted(opened + shut, key=lambda turn: (turn.gate, turn.symbol))


def turns(known: Known, symbols: Sequence[str], sessions: Any, first_ms: int, last_ms: int) -> tuple[Turn, ...]:
    """Every change in the sessions (SESSION records of the exchange) that are open between two times."""
    found: list[Turn] = []
    before: dict[Place, str] = {}
    first = max(0, int(np.searchsorted(sessions["close_ms"], first_ms)))
    for at in range(first, len(sessions)):
        opens = int(sessions[at]["open_ms"])
        if opens > last_ms:
            break
        now = standing(known, symbols, at, int(sessions[at]["date"]))
        found += changes(before, now, opens)
        before = now
    return tuple(found)


def due(found: Sequence[Turn], after_ms: int, before_ms: int) -> list[Turn]:
    """The turns of sessions that opened at or after one time and before another."""
    return [turn for turn in found if after_ms <= turn.ts_ms < before_ms]


def closed_by(found: Sequence[Turn], before_ms: int) -> dict[Place, str]:
    """The gates that are closed for a bar that closes at `before_ms`, with their reasons."""
    closed: dict[Place, str] = {}
    for turn in found:
        if turn.ts_ms >= before_ms:
            break
        if turn.closed:
            closed[turn.symbol, turn.gate] = turn.reason
        else:
            closed.pop((turn.symbol, turn.gate), None)
    return closed


def ordinal(date: int) -> int:
    """Days since year 1 of a yyyymmdd number."""
    return datetime.date(date // 10_000, date // 100 % 100, date % 100).toordinal()
