"""Generated daily bars: walks in coarse ticks, and calm days that meet a limit exactly."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tests.scan import oracle

TICKS = (0.01, 0.125, 0.25, 0.5)


def walk(seed: int) -> pd.DataFrame:
    """Daily bars of one generated symbol on real sessions: date, open, high, low, close, volume."""
    random = np.random.default_rng(seed)
    tick = TICKS[seed % 4]
    count = int(random.choice([150, 300, 600]))
    first = int(np.searchsorted(oracle.sessions(), np.datetime64("2003-01-01"))) + int(random.integers(0, 3000))
    if seed % 7 == 3:  # listed on the first session of a year
        year = oracle.sessions()[first].astype("datetime64[Y]") + 1
        first = int(np.searchsorted(oracle.sessions(), year.astype("datetime64[D]")))
    places = first + np.arange(count)
    if seed % 3 == 1:  # the ticker changed hands, or nearly so
        places[: int(random.integers(5, 70))] -= int(random.choice([60, 61]))
    wave = np.sin(np.arange(count) / random.integers(15, 60) + random.uniform(0, 6)) * random.uniform(0.002, 0.01)
    drift = wave + random.uniform(-0.002, 0.002)
    noise = random.normal(0, random.choice([0.003, 0.01, 0.02, 0.05]), count)
    price = random.uniform(15, 120)
    rows = []
    for move in drift + noise:
        gap = random.choice([0, 0.04, -0.04]) if random.random() < 0.06 else random.normal(0, 0.003)
        opened = price * (1 + gap)
        closed = max(opened * (1 + move), 5.0)
        reach = np.abs(random.normal(0, 0.008, 2)) * opened
        prices = [opened, max(opened, closed) + reach[0], min(opened, closed) - reach[1], closed]
        rows.append([round(value / tick) * tick for value in prices])
        price = rows[-1][3]
    volume = np.round(random.lognormal(14, 0.6, count), -4)
    if seed % 5 == 2:
        volume[random.random(count) < (0.7 if seed % 2 else 0.2)] = 0.0
    bars = pd.DataFrame(rows, columns=["open", "high", "low", "close"])
    bars.insert(0, "date", pd.to_datetime(oracle.sessions()[places]))
    return bars.assign(volume=volume)


def quiet(kind: str) -> pd.DataFrame:
    """260 calm days up to 2012-03-15 whose values meet a limit exactly, by the kind."""
    days = oracle.sessions()
    last = int(np.searchsorted(days, np.datetime64("2012-03-15")))
    close = np.full(260, 40.0)
    close[:160] = 38.0  # weeks are aligned
    volume = np.full(260, 1_000_000.0)
    above, below = np.full(260, 0.3125), np.full(260, 0.3125)
    if kind in ("range", "loud"):
        close[252:] = 41.0  # above the highs of before
        volume[233:253] = [1e6, *[5e6] * 18, 9e6]  # the last is 1.8 of their mean
        above[252], below[252] = 0.375, 1.0
        if kind == "range":
            volume[252], below[252] = 20e6, 0.875  # the close at 0.7 of its range
    elif kind == "equal means":
        close[250], close[259] = 39.5, 40.5
    elif kind == "level mean":
        close[205], close[230], close[250], close[259] = 39.75, 40.25, 39.625, 40.125
    elif kind == "late volume":
        close[252:], close[259], below[252] = 41.25, 41.375, 1.6875  # a swing low
        volume[252:256] = 0.0  # its line begins four days later
    elif kind == "on the line":
        close[259], volume[259] = 40.25, 0.0
    high, low = close + above, close - below
    bars = {"open": close - 0.0625, "high": high, "low": low, "close": close, "volume": volume}
    return pd.DataFrame({"date": pd.to_datetime(days[last - 259 : last + 1]), **bars})


def bars_of(source: int | str) -> pd.DataFrame:
    return quiet(source) if isinstance(source, str) else walk(source)
