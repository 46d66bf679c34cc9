"""A market of many symbols that all trade all the time, each at its own minute: a saw with rising and falling teeth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avwapd.feeds.demo import generate
from avwapd.feeds.market import Market, hash_of
from tests.wire_faults.market import CROSS, FALLS, REST, RISES

VOLUME = 500_000.0
TOOTH = len(REST + CROSS + RISES)
KINDS = {"equity": "1m", "crypto": "1m"}


def market(count: int, bars: int, *, seed: int, kind: str = "equity") -> Market:
    """`bars` minutes of the first session; two teeth of a symbol are alike, two symbols' phases are not."""
    names = [f"S{i:03d}-USD" if kind == "crypto" else f"S{i:03d}" for i in range(count)]
    made = generate(names, 1, KINDS[kind], seed, kind)
    times = np.unique(made.bars["ts_ms"])[:bars]
    rows = np.array(made.bars[: int(np.searchsorted(made.bars["ts_ms"], times[-1], side="right"))])
    teeth = [REST + CROSS + RISES, REST + CROSS + FALLS]
    for symbol in range(count):
        mine = np.flatnonzero(rows["symbol"] == symbol)
        phase = (symbol * 7 + seed) % TOOTH
        percents = np.array([*(teeth[symbol % 2] + teeth[(symbol + 1) % 2]) * (len(mine) // TOOTH + 2)])
        base = 40.0 + symbol % 25
        closes = np.round(base * (1 + percents[phase : phase + len(mine)] / 100), 2)
        opens = np.concatenate([[np.round(base * 0.996, 2)], closes[:-1]])
        rows["open"][mine], rows["close"][mine] = opens, closes
        rows["high"][mine] = np.round(np.maximum(opens, closes) + 0.01, 2)
        rows["low"][mine] = np.round(np.minimum(opens, closes) - 0.01, 2)
        rows["volume"][mine] = VOLUME
    return replace(made, bars=rows, data_hash=hash_of(rows))
