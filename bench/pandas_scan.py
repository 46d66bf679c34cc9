"""What a pandas user would write: `python pandas_scan.py BARS.parquet OUT.csv`.

Bars of all symbols in one long table (ts_ms, symbol, open, high, low, close, volume): eight anchored VWAPs with bands
of one deviation over the last 500 days of each symbol, a filter on the last day, and a CSV of what passes.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

DAYS = 500
ANCHORS = (500, 400, 300, 250, 120, 60, 40, 20)  # bars back from the last, the anchor bar included


def scan(bars: pd.DataFrame) -> pd.DataFrame:
    bars = bars.assign(symbol=bars.symbol.astype("category"))  # strings group slower
    bars = bars.sort_values(["symbol", "ts_ms"], ignore_index=True)
    back = bars.groupby("symbol", sort=False, observed=True).cumcount(ascending=False)
    bars, back = bars[back < DAYS], back[back < DAYS]
    price = (bars.high + bars.low + bars.close) / 3
    money = price * bars.volume
    sums = pd.DataFrame({"symbol": bars.symbol, "v": bars.volume, "pv": money, "ppv": price * money})
    for anchor in ANCHORS:
        part = sums[back < anchor].groupby("symbol", sort=False, observed=True)[["v", "pv", "ppv"]].cumsum()
        line = part.pv / part.v
        sigma = np.sqrt((part.ppv / part.v - line * line).clip(lower=0))
        bars[f"avwap_{anchor}"] = line
        bars[f"upper_{anchor}"] = line + sigma
        bars[f"lower_{anchor}"] = line - sigma
    return candidates(bars)


def candidates(bars: pd.DataFrame) -> pd.DataFrame:
    """Liquid symbols whose last close lies above at least one line, by at most 8%."""
    by = bars.groupby("symbol", sort=False, observed=True)
    bars["shares"] = by.volume.transform(lambda volume: volume.rolling(20).mean())
    last = by.tail(1)
    lines = last[[f"avwap_{anchor}" for anchor in ANCHORS]]
    distance = -lines.sub(last.close, axis=0).div(lines) * 100
    near = ((distance > 0) & (distance <= 8)).any(axis=1)
    return last[near & (last.close >= 3) & (last.shares >= 400_000) & (last.shares * last.close >= 10e6)]


if __name__ == "__main__":
    source, target = sys.argv[1:]
    scan(pd.read_parquet(source)).to_csv(target, index=False)
