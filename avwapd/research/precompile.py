"""Compile engine and scan into the cache folder: `python -m avwapd.research.precompile`, part of the set-up.

A process that finds the folder filled starts in a second; one that does not compiles for half a minute first.
"""

from __future__ import annotations

import numpy as np

from avwapd.config import load
from avwapd.core import engine, match
from avwapd.core.records import EFFECT
from avwapd.feeds.demo import bundled_market
from avwapd.feeds.world import Setup, build, warm
from avwapd.scan.warm import warm as warm_scan

BARS = 6


def precompile(setup: Setup) -> None:
    """Call every entry point of the engine once with the types that daemon, venue and backtest use."""
    warm(setup)
    count = len(setup.instruments)
    out = engine.new_output(BARS, 64 * count)
    books, reports = engine.new_books(count), engine.reports_room()
    bars = np.array(setup.market.bars[:BARS])
    engine.run(setup.fresh(), out, books, reports, bars, np.full(count, -1), 0)
    effect = np.zeros(1, EFFECT)[0]
    match.match_bar(books[0], bars[0], setup.instruments[0], 0.1, reports, 0)
    match.place(books[0], effect, False, bars[0], setup.instruments[0], 0, reports, 0)


if __name__ == "__main__":
    config = load(None)
    precompile(build(config, bundled_market()))
    warm_scan(config)
