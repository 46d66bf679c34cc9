"""What an equity curve earned and risked, session by session.

A figure that is not defined is `Missing` with its reason: never infinity, never a nought that nobody measured.
Sums are exactly rounded (`math.fsum`), so the figures do not depend on how a library orders an addition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.feeds.calendar import ALWAYS, days_of_dates, stamps_of
from avwapd.feeds.world import Setup
from avwapd.research import ResearchError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

YEAR_DAYS = 365.25
# Returns E_i / E_(i-1) - 1 carry a rounding error of about 2e-16: what differs by less does not differ.
ROUNDING = 1e-14


@dataclass(frozen=True)
class Missing:
    """A figure that has no value, and why."""

    why: str


Figure = float | int | str | Missing | None
Figures = dict[str, Figure]


@dataclass(frozen=True)
class Curve:
    """Equity at the close of n sessions, and `base`, what there was before the first of them.

    dates: int64 [n], yyyymmdd, rising; equity: float64 [n], in the equity currency.
    """

    dates: Ints
    equity: Floats
    base: float

    def __post_init__(self) -> None:
        """Raises ResearchError where the curve is no curve."""
        if len(self.dates) != len(self.equity):
            raise ResearchError(
                f"{len(self.dates)} sessions but {len(self.equity)} values", "equity curve", "give one value a session"
            )
        if not (math.isfinite(self.base) and self.base > 0 and np.isfinite(self.equity).all()):
            raise ResearchError(
                "equity must be finite and begin above zero", "equity curve", "see equity.start in the configuration"
            )
        if (np.diff(self.dates) <= 0).any():
            raise ResearchError("sessions must rise and differ", "equity curve", "sort the sessions by date")

    def __len__(self) -> int:
        return len(self.dates)

    def part(self, first: int, end: int) -> Curve:
        """Sessions `first` to `end` (exclusive); it begins with the equity of the session before."""
        base = self.base if first == 0 else float(self.equity[first - 1])
        return Curve(self.dates[first:end], self.equity[first:end], base)

    def returns(self) -> Floats:
        """Each session's return; float64 [n]. Only where equity stayed above zero."""
        before = np.concatenate([[self.base], self.equity[:-1]])
        returns: Floats = self.equity / before - 1.0
        return returns

    def years(self) -> float:
        """From the first session's date to the last's, in years of 365.25 days."""
        return int(np.diff(days_of_dates(self.dates[[0, -1]]))[0]) / YEAR_DAYS if len(self) else 0.0


@dataclass(frozen=True)
class Calendar:
    """The sessions of a backtest's window, all shape (n,) int64: dates yyyymmdd, ts_ms of opening and last bar."""

    dates: Ints
    opens: Ints
    ends: Ints
    always: bool  # UTC days, markets without a bell

    def index(self, ts_ms: Any) -> Any:
        """The session a moment belongs to; what comes after a close belongs to the next, at most to the last."""
        return np.minimum(np.searchsorted(self.ends, ts_ms, side="left"), len(self.ends) - 1)


def calendar_of(setup: Setup, bars: Any, begin: int) -> Calendar:
    """Every session from the first decided bar's to the last's; UTC days where a market has no bell.

    Raises ResearchError where the window has no session.
    """
    tradable = np.flatnonzero(setup.instruments["tradable"])
    calendars = setup.market.calendars
    chosen = next((int(i) for i in tradable if calendars[i] == ALWAYS), int(tradable[0]) if len(tradable) else 0)
    inst = setup.instruments[chosen]
    first = int(inst["session_first"])
    table = setup.sessions[first : first + int(inst["session_count"])]
    ends = stamps_of(calendars[chosen], table) if inst["daily"] else table["close_ms"].astype(np.int64)
    low = high = 0
    if begin < len(bars):
        low = int(np.searchsorted(ends, int(bars["ts_ms"][begin]), side="left"))
        high = int(np.searchsorted(table["open_ms"], int(bars["ts_ms"][-1]), side="left"))
    if high <= low:
        raise ResearchError("no session lies in that window", setup.market.exchange, "see `avwapd bars list`")
    part = slice(low, high)
    dates, opens = table["date"][part].astype(np.int64), table["open_ms"][part].astype(np.int64)
    return Calendar(dates, opens, ends[part], calendars[chosen] == ALWAYS)


def by_session(ts_ms: Ints, money: Floats, start: float, calendar: Calendar) -> Curve:
    """The curve of `equity.curve` (values where it changed) at each session's end.

    A value after the last end, from a bar behind the bell, counts with the last session.
    """
    place = np.searchsorted(ts_ms, calendar.ends, side="right") - 1
    place[-1] = len(ts_ms) - 1
    return Curve(calendar.dates, np.concatenate([[start], money])[place + 1].astype(np.float64), start)


def measures(curve: Curve, year_sessions: int, risk_free: float = 0.0) -> Figures:
    """The figures of one curve.

    year_sessions: how many make a year; risk_free: a year's return as a fraction, spread evenly over its sessions.
    Returns are simple, a session each. total_return = last / base - 1; cagr = (last / base) ** (1 / years) - 1.
    volatility = sample deviation of returns x sqrt(year_sessions). sharpe = mean excess over sample deviation, a
    year's (Sharpe 1994, "The Sharpe Ratio"). sortino = mean excess over the root of the mean squared shortfall of all
    sessions, a year's (Sortino and Price 1994). calmar = cagr / max_drawdown (Young 1991, over the whole curve).
    """
    figures: Figures = {"sessions": len(curve), "start_equity": curve.base}
    if not len(curve):
        return figures | dict.fromkeys(RETURN_NAMES, Missing("no session"))
    figures |= {"first_date": int(curve.dates[0]), "last_date": int(curve.dates[-1]), "years": curve.years()}
    figures |= {"end_equity": float(curve.equity[-1]), "total_return": float(curve.equity[-1]) / curve.base - 1.0}
    figures |= drawdown(curve)
    lowest = float(curve.equity.min())
    if lowest <= 0.0:
        return figures | dict.fromkeys(RATIOS, Missing("equity fell to zero or below"))
    figures["cagr"] = growth_a_year(float(curve.equity[-1]) / curve.base, curve.years())
    figures |= _ratios(curve.returns(), year_sessions, risk_free)
    deepest, grown = figures["max_drawdown"], figures["cagr"]
    if isinstance(grown, Missing):
        figures["calmar"] = grown
    elif not deepest:
        figures["calmar"] = Missing("no drawdown")
    else:
        figures["calmar"] = grown / deepest  # type: ignore[operator]  # both known here
    return figures


RATIOS = ("cagr", "volatility", "sharpe", "sortino", "calmar", "best_session", "worst_session")
DRAWDOWN = (
    "max_drawdown",
    "drawdown_from",
    "drawdown_to",
    "drawdown_recovered",
    "drawdown_sessions",
    "longest_under_water",
    "under_water",
)
RETURN_NAMES = ("first_date", "last_date", "years", "end_equity", "total_return", *DRAWDOWN, *RATIOS)


def growth_a_year(factor: float, years: float) -> Figure:
    """factor ** (1 / years) - 1."""
    if years <= 0.0:
        return Missing("fewer than 2 sessions")
    try:
        return float(factor ** (1.0 / years)) - 1.0
    except OverflowError:
        return Missing("too short for a year's rate")


def _ratios(returns: Floats, year_sessions: int, risk_free: float) -> Figures:
    best, worst = float(returns.max()), float(returns.min())
    figures: Figures = {"best_session": best, "worst_session": worst}
    count = len(returns)
    if count < 2:
        return figures | dict.fromkeys(("volatility", "sharpe", "sortino"), Missing("fewer than 2 sessions"))
    mean = math.fsum(returns) / count
    deviation = math.sqrt(math.fsum((returns - mean) ** 2) / (count - 1))
    excess = returns - session_rate(risk_free, year_sessions)
    above = math.fsum(excess) / count
    year = math.sqrt(year_sessions)
    figures["volatility"] = deviation * year
    if best - worst <= ROUNDING:
        figures["sharpe"] = Missing("all sessions return the same")
    else:
        figures["sharpe"] = above / deviation * year
    if float(excess.min()) >= -ROUNDING:
        figures["sortino"] = Missing("no session fell short")
    else:
        figures["sortino"] = above / math.sqrt(math.fsum(np.minimum(excess, 0.0) ** 2) / count) * year
    return figures


def session_rate(risk_free: float, year_sessions: int) -> float:
    """What a session of a riskless year returns."""
    return float((1.0 + risk_free) ** (1.0 / year_sessions)) - 1.0


def drawdown(curve: Curve) -> Figures:
    """The deepest fall from a peak, as a fraction of the peak, and the time below peaks.

    drawdown_from, _to, _recovered: sessions of peak, trough and first return to the peak; from is None where the
    peak is the equity before the first session. drawdown_sessions: peak to recovery, or to the end.
    longest_under_water: sessions in a row below a peak; under_water: their share of all.
    """
    equity = np.concatenate([[curve.base], curve.equity])
    peaks = np.maximum.accumulate(equity)
    below = equity < peaks
    longest = run = 0
    for wet in below.tolist():
        run = run + 1 if wet else 0
        longest = max(longest, run)
    figures: Figures = {"longest_under_water": longest, "under_water": int(below.sum()) / len(curve)}
    falls = (peaks - equity) / peaks
    trough = int(falls.argmax())
    if falls[trough] == 0.0:
        none = Missing("no drawdown")
        dates = dict.fromkeys(("drawdown_from", "drawdown_to", "drawdown_recovered"), none)
        return {"max_drawdown": 0.0, "drawdown_sessions": 0, **dates, **figures}
    peak = int(np.flatnonzero(equity[:trough] == peaks[trough])[-1])
    back = np.flatnonzero(equity[trough:] >= peaks[trough])
    end = trough + int(back[0]) if len(back) else len(curve)
    return {
        "max_drawdown": float(falls[trough]),
        "drawdown_from": int(curve.dates[peak - 1]) if peak else None,
        "drawdown_to": int(curve.dates[trough - 1]),
        "drawdown_recovered": int(curve.dates[end - 1]) if len(back) else Missing("not recovered"),
        "drawdown_sessions": end - peak,
        **figures,
    }


def plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Fit for JSON: None for what is missing, with the reasons under "undefined"."""
    values = {name: None if isinstance(value, Missing) else value for name, value in figures.items()}
    return {**values, "undefined": {name: v.why for name, v in figures.items() if isinstance(v, Missing)}}


def quantiles(values: Sequence[float], at: Sequence[float]) -> list[float]:
    """Linear between order statistics, at (n - 1) q (Hyndman and Fan 1996, type 7)."""
    ordered = sorted(values)
    found = []
    for q in at:
        place = (len(ordered) - 1) * q
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        found.append(ordered[low] + (ordered[high] - ordered[low]) * (place - low))
    return found
