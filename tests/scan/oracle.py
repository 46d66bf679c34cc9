"""Steps 4 to 8 of the daily scan and its labels, written down a second time: slow, plain, nothing shared.

`candidate(symbol, frame, date)` takes the raw daily bars of one symbol as a pandas frame (columns date as
datetime64, open, high, low, close, volume; oldest first) and gives the row of that day, or None: rules alone, without
liquidity, regime, earnings and caps. Sums are exact (math.fsum, whole numbers) and divided once, so that a difference
to the product is the product's rounding or a wrong rule.

The examples (AAPL, SPY, IBM, every 9th business day of 2010-2012; 114 rows, 144 days without one) come out exactly,
the scores to their last digit. What they decide, by how many of the 258 days another reading breaks:

- weeks end on Friday (Monday, Wednesday or Thursday: 1 each; blocks of five bars: 3), the running week counts (2);
- ATR is a simple mean (Wilder's: 31); its median includes today (114); ATR% <= 1.15 medians (14);
- +DM and -DM exclude each other (114), Wilder's 1/14 smooths them and DX (114), the mean's slope spans 10 bars (118);
- Gap looks at its own 60 bars (the whole window: 3), both directions (up only: 14), over the previous close (1);
- VolBreakout looks at its own 60 bars (13), 1.8 (1.5: 14, 2: 5), the newest one (3);
- swings lie in the last 20 bars (21: 8); anchors on one bar are one, also in the confluence (13),
  the higher priority names it (12);
- an anchor needs 6 values, its own bar the first (7: 4; any: 49);
- a reclaim measures the previous close against today's line (its own day's: 2) and earns its 40 (4);
- the near bonus starts at 0.1 (at 0: 5); a line further than 8% is out (25); the size of the distance counts (6);
- confluence is 1% of the winner's line (of the other's or of the close: 2 each), among kept lines only (5);
- the stop takes 0.985 (56), ATR (29) and the swing (29); targets are pivots of the scan's own day.

What they leave open, and how it is read here:

- windows of 400 to 600 bars give the same rows; 500 it is, and first values (true range, DM, DX) lie at its first bar;
- Wilder's sums start from 0 at the first bar, ADX from the first DX, which is unknown until the first move: all of it
  shows in young listings only;
- the ATR median needs all 120 values, so that no symbol passes with fewer than 133 bars, whatever the 80 of step 4 say;
- comparisons: right side of a line, weekly means, breakout and swings are strict; gap, slopes and limits are not;
- a tie of extremes is the earlier bar's, an outside bar up and down by the same is no move (Wilder);
- a swing's neighbours lie in the last 20 bars too;
- the stop's own line x 0.997 always lies behind the entry, so the floor of SMA5 and 5-day low is never reached;
- a gap of over 60 sessions: more than 60 sessions without a bar;
- short: distance, stops, targets (S1, S2) and TrendScore are mirrored (it moves all anchors of a day alike).

The labels of step 9 are in no example. The rolling line is the 20-day VWAP of the typical price. Control and distance
name where the close lies, whatever the side traded. A reclaim is step 7's (short: mirrored) and measures yesterday's
close against today's line; acceptance: each of the last three closes lay strictly on the traded side of its own day's
line. Extension goes by the size of the distance to the winner's line, before rounding. A gap is recent among the newest
five bars, stale among step 7's sixty. Structure: SMA20 above a rising SMA50 is bullish, below a falling one bearish,
else neutral; the slope is SMA50's over 5 bars.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd

WINDOW = 500
LISTING_GAP = 60
PRIORITY = {"YTD": 100, "Gap": 90, "VolBreakout": 80, "MTD": 70, "SwingLow": 50, "SwingHigh": 40}
SCALE = 100  # every price and volume is a whole number of 2**-SCALE: sums over them are then exact integers


def candidate(symbol: str, frame: pd.DataFrame, date: Any, short: bool = False) -> dict[str, Any] | None:
    """The row of `symbol` as of `date` (that day included), or None where the rules leave it out."""
    bars = window(frame, pd.Timestamp(date))
    if len(bars) < 80:
        return None
    side = -1 if short else 1
    tier = trend_tier(bars, side)
    if not tier or not weekly_aligned(bars, side) or not calm(bars):
        return None
    best = best_anchor(bars, side)
    if best is None:
        return None
    entry, close = best["avwap"], float(bars.close.iloc[-1])
    first, second = targets(bars, side)
    return {
        "ScanDate": day(bars, -1),
        "Symbol": symbol,
        "Direction": "Short" if short else "Long",
        "TrendTier": tier,
        "Price": round(close, 2),
        "Entry_Level": round(entry, 2),
        "Entry_DistPct": round(best["distance"], 2),
        "Stop_Loss": round(stop(bars, entry, side), 2),
        "Target_R1": round(first, 2),
        "Target_R2": round(second, 2),
        "TrendScore": round(trend_score(bars, side), 6),
        "Anchor": best["name"],
        "Anchor_Date": day(bars, best["at"]),
        "AVWAP_Slope": round(best["slope"], 4),
        "AVWAP_Confluence": best["confluence"],
        **labels(bars, best["at"], side),
    }


# ------------------------------------------------------------------ bars


@lru_cache(maxsize=1)
def sessions() -> np.ndarray:
    """Days of the New York exchange, datetime64[D], oldest first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own use of pandas
        calendar = exchange_calendars.get_calendar("XNYS", start="1997-01-01")
    return calendar.sessions.to_numpy().astype("datetime64[D]")


def window(frame: pd.DataFrame, date: pd.Timestamp) -> pd.DataFrame:
    """The last 500 bars up to the date, of the newest listing only: a hole of more than 60 sessions begins another."""
    known = frame[(frame.date <= date).to_numpy()].iloc[-WINDOW:]
    at = np.searchsorted(sessions(), known.date.to_numpy().astype("datetime64[D]"))
    missing = np.diff(at) - 1
    holes = np.flatnonzero(missing > LISTING_GAP)
    return known.iloc[holes[-1] + 1 if len(holes) else 0 :].reset_index(drop=True)


def day(bars: pd.DataFrame, at: int) -> str:
    return bars.date.iloc[at].strftime("%Y-%m-%d")


def mean(values: Sequence[float] | np.ndarray) -> float:
    return math.fsum(values) / len(values)


def sma(bars: pd.DataFrame, days: int, back: int = 0) -> float:
    """Mean of the last `days` closes, as it stood `back` bars ago."""
    end = len(bars) - back
    return mean(bars.close.to_numpy()[end - days : end])


# ------------------------------------------------------- 4 to 6: the gates


def weekly_aligned(bars: pd.DataFrame, side: int) -> bool:
    if len(bars) < 200:
        return True
    week = bars.date.dt.to_period("W-FRI")
    closes = bars.close.groupby(week.to_numpy()).last().to_numpy()
    if len(closes) < 40:
        return True
    return side * mean(closes[-10:]) > side * mean(closes[-40:])


def trend_tier(bars: pd.DataFrame, side: int) -> str:
    close, fast, slow = (side * value for value in (bars.close.iloc[-1], sma(bars, 20), sma(bars, 50)))
    if close > fast >= slow:
        return "A"
    if close > slow and side * trend_slope(bars) > 0:
        return "B"
    return ""


def trend_slope(bars: pd.DataFrame) -> float:
    """Slope of the 50-day mean over 10 bars, a fraction."""
    now, then = sma(bars, 50), sma(bars, 50, back=10)
    return (now - then) / abs(then)


def true_range(bars: pd.DataFrame) -> np.ndarray:
    before = bars.close.shift(1)
    reaches = pd.concat([bars.high - bars.low, (bars.high - before).abs(), (bars.low - before).abs()], axis=1)
    return reaches.max(axis=1).to_numpy()  # the first has high - low alone


def atr(bars: pd.DataFrame) -> float:
    return mean(true_range(bars)[-14:])


def atr_pct(bars: pd.DataFrame) -> tuple[float, float]:
    """ATR14 in percent of the close, and its median of 120 days, this one included; NaN where unknown."""
    reach, close = true_range(bars), bars.close.to_numpy()
    ends = range(max(len(bars) - 119, 14), len(bars) + 1)
    found = [mean(reach[end - 14 : end]) / close[end - 1] * 100 for end in ends]
    return found[-1], float(np.median(found)) if len(found) == 120 else math.nan


def calm(bars: pd.DataFrame) -> bool:
    now, median = atr_pct(bars)
    return atr(bars) >= 0.50 and now <= 6.0 and now <= 1.15 * median


def trend_score(bars: pd.DataFrame, side: int) -> float:
    slope, (now, median) = side * trend_slope(bars), atr_pct(bars)
    ratio = now / median if median > 0 else 1.0
    return float(2 * slope * 100 + 0.7 * adx(bars) * np.sign(slope) - 10 * ratio)


def adx(bars: pd.DataFrame) -> float:
    """Wilder's; the true range cancels out of DX. DX is unknown before the first move, and ADX begins with it."""
    up, down = bars.high.diff(), -bars.low.diff()
    plus = up.where((up > down) & (up > 0), 0.0).ewm(alpha=1 / 14, adjust=False).mean()
    minus = down.where((down > up) & (down > 0), 0.0).ewm(alpha=1 / 14, adjust=False).mean()
    both = plus + minus
    dx = 100 * (plus - minus).abs() / both.where(both > 0)
    return float(dx.ewm(alpha=1 / 14, adjust=False).mean().fillna(0.0).iloc[-1])


# ---------------------------------------------------------- 7: the anchors


def anchor_bars(bars: pd.DataFrame) -> dict[str, int]:
    """The bar of each anchor that is known, by name, in the order of priority."""
    found = {
        "YTD": calendar_anchor(bars, "Y"),
        "Gap": newest_gap(bars),
        "VolBreakout": newest_breakout(bars),
        "MTD": calendar_anchor(bars, "M"),
        "SwingLow": len(bars) - 20 + int(np.argmin(bars.low.to_numpy()[-20:])),  # the earlier of equals
        "SwingHigh": len(bars) - 20 + int(np.argmax(bars.high.to_numpy()[-20:])),
    }
    return {name: at for name, at in found.items() if at is not None}


def calendar_anchor(bars: pd.DataFrame, unit: str) -> int | None:
    """First bar of this year or month; unknown where the period's first session lies before the first bar."""
    days = bars.date.to_numpy().astype("datetime64[D]")
    begin = days[-1].astype(f"datetime64[{unit}]").astype("datetime64[D]")
    opening = sessions()[np.searchsorted(sessions(), begin)]
    if opening < days[0]:
        return None
    return int(np.flatnonzero(days >= opening)[0])


def newest_gap(bars: pd.DataFrame) -> int | None:
    last = bars.iloc[-60:]
    before = last.close.shift(1)  # the first of the 60 has none
    hits = np.flatnonzero(((last.open - before).abs() / before >= 0.04).to_numpy())
    return len(bars) - len(last) + int(hits[-1]) if len(hits) else None


def newest_breakout(bars: pd.DataFrame) -> int | None:
    last = bars.iloc[-60:]
    high, low, close, volume = (last[name].to_numpy(float) for name in ("high", "low", "close", "volume"))
    for at in range(len(last) - 1, 18, -1):
        loud = volume[at] > 1.8 * mean(volume[at - 19 : at + 1])
        tall = high[at] > low[at] and (close[at] - low[at]) / (high[at] - low[at]) > 0.7
        if loud and tall and close[at] > max(high[at - 5 : at]):
            return len(bars) - len(last) + at
    return None


def whole(values: pd.Series) -> list[int]:
    """The values as whole numbers of 2**-SCALE, exactly."""
    scaled = [math.ldexp(float(value), SCALE) for value in values]
    assert all(value.is_integer() for value in scaled)
    return [int(value) for value in scaled]


def avwaps(bars: pd.DataFrame, at: int) -> list[float]:
    """The line from the anchor bar on, one value a bar, each the exact ratio rounded once; NaN before any volume."""
    part = bars.iloc[at:]
    money = shares = 0
    line = []
    for high, low, close, volume in zip(*(whole(part[n]) for n in ("high", "low", "close", "volume")), strict=True):
        money += (high + low + close) * volume
        shares += 3 * volume
        line.append(money / shares / 2**SCALE if shares else math.nan)
    return line


def best_anchor(bars: pd.DataFrame, side: int) -> dict[str, Any] | None:
    kept, taken = [], set()
    for name, at in anchor_bars(bars).items():
        if at not in taken:  # two on one bar are one: the higher priority names it
            taken.add(at)
            judged = judge(bars, name, at, side)
            kept += [judged] if judged else []
    if not kept:
        return None
    trend = 1.5 * trend_score(bars, side)
    best = max(kept, key=lambda one: (one["merit"] + trend, PRIORITY[one["name"]]))
    near = [one for one in kept if abs(one["avwap"] - best["avwap"]) <= 0.01 * best["avwap"]]
    return {**best, "confluence": len(near)}


def judge(bars: pd.DataFrame, name: str, at: int, side: int) -> dict[str, Any] | None:
    """One anchor's line against the last close; None where it is not kept."""
    line = avwaps(bars, at)
    if len(line) < 6 or math.isnan(line[-6]):
        return None
    now, then = line[-1], line[-6]
    close, before = (float(value) for value in bars.close.iloc[[-1, -2]])
    slope = (now - then) / abs(then)
    distance = side * (close - now) / now * 100
    reclaim = side * before <= side * now and side * close > side * now
    flat = slope >= -0.05 if side > 0 else slope <= 0.03
    if not (side * close > side * now and (flat or reclaim) and distance <= 8):
        return None
    merit = PRIORITY[name] - abs(distance) + (50 if 0.1 <= distance <= 1.5 else 0) + (40 if reclaim else 0)
    return {"name": name, "at": at, "avwap": now, "slope": slope, "distance": distance, "merit": merit}


# ----------------------------------------------------------- 8: the levels


def stop(bars: pd.DataFrame, entry: float, side: int) -> float:
    """The widest of the known stops. The line's own x 0.997 always lies behind the entry: a floor is never needed."""
    swing = last_swing(bars, side)
    places = [entry * (1 - side * 0.003), entry - side * atr(bars), entry * (1 - side * 0.015)]
    if swing is not None and side * swing * (1 - side * 0.005) < side * entry:
        places.append(swing * (1 - side * 0.005))
    return min(places) if side > 0 else max(places)


def last_swing(bars: pd.DataFrame, side: int) -> float | None:
    """The newest low below (short: high above) both neighbours, of the last 20 bars."""
    last = (bars.low if side > 0 else bars.high).to_numpy()[-20:] * side
    for at in range(len(last) - 2, 0, -1):
        if last[at] < last[at - 1] and last[at] < last[at + 1]:
            return float(last[at]) * side
    return None


def targets(bars: pd.DataFrame, side: int) -> tuple[float, float]:
    """Floor pivots of the last day: R1 and R2, or S1 and S2."""
    high, low, close = (float(bars[name].iloc[-1]) for name in ("high", "low", "close"))
    pivot = (high + low + close) / 3
    if side > 0:
        return 2 * pivot - low, pivot + high - low
    return 2 * pivot - high, pivot - (high - low)


# ---------------------------------------------------------- 9: the labels


def labels(bars: pd.DataFrame, at: int, side: int) -> dict[str, Any]:
    """The labels of a window of bars whose winner is anchored at bar `at`."""
    anchored = avwaps(bars, at)
    return {
        **beside("VWAP", bars, rolling(bars), side),
        **beside("AVWAP", bars, anchored, side),
        "Setup_Extension_State": extension(abs(float(bars.close.iloc[-1]) - anchored[-1]) / anchored[-1] * 100),
        "Setup_Gap_Reset": gap_reset(bars),
        "Setup_Structure_State": structure(bars),
    }


def rolling(bars: pd.DataFrame) -> list[float]:
    """The 20-day VWAP as it stood on each of the last three days."""
    ends = range(len(bars) - 2, len(bars) + 1)
    return [avwaps(bars.iloc[:end], end - 20)[-1] for end in ends]


def beside(name: str, bars: pd.DataFrame, line: Sequence[float], side: int) -> dict[str, Any]:
    close = [float(value) for value in bars.close.iloc[-3:]]
    now = line[-1]
    distance = (close[-1] - now) / now * 100
    known = len(line) >= 3 and not any(math.isnan(value) for value in line[-3:])
    return {
        f"Setup_{name}_Control": "neutral" if abs(distance) <= 0.2 else "bullish" if distance > 0 else "bearish",
        f"Setup_{name}_Reclaim": side * close[-2] <= side * now < side * close[-1],
        f"Setup_{name}_Acceptance": known and all(side * c > side * v for c, v in zip(close, line[-3:], strict=True)),
        f"Setup_{name}_DistPct": round(distance, 2),
    }


def extension(size: float) -> str:
    return "balanced" if size <= 1 else "extended" if size >= 6 else "moderate"


def gap_reset(bars: pd.DataFrame) -> str:
    at = newest_gap(bars)
    if at is None:
        return "none"
    return "recent" if at >= len(bars) - 5 else "stale"


def structure(bars: pd.DataFrame) -> str:
    fast, slow, before = sma(bars, 20), sma(bars, 50), sma(bars, 50, back=5)
    if fast > slow > before:
        return "bullish"
    if fast < slow < before:
        return "bearish"
    return "neutral"
