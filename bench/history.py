"""A backtest's core: 100 symbols × 20,000 five-minute bars, default strategy, every gate, every decision row kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avwapd import config
from avwapd.core import engine, machine
from avwapd.feeds import demo, world
from bench.measure import Line, medians

# A larger account: at 100,000 the smallest position refuses most entries, and a bench without trades flatters.
ACCOUNT = {"AVWAPD_EQUITY__START__USD": "1000000"}


def run(quick: bool) -> list[Line]:
    symbols, sessions = (20, 60) if quick else (100, 258)
    market = demo.generate([f"S{n:03}" for n in range(symbols)], sessions, "5m", seed=3)
    setup = world.build(config.load(folder=Path("/nonexistent"), environ=ACCOUNT), market)
    out, reports = engine.new_output(len(market.bars), 500_000), engine.reports_room()
    trades = 0

    def history() -> None:
        nonlocal trades
        state, books = setup.fresh(), engine.new_books(symbols)
        out.n[:] = 0
        done = engine.run(state, out, books, reports, market.bars, np.full(symbols, -1, np.int64), 0)
        if done != len(market.bars) or out.n[machine.ERROR]:
            raise RuntimeError(f"the run stopped at bar {done} of {len(market.bars)}")
        trades = int(state.states["trade"].sum())

    seconds = medians({"run": history}, 5 if quick else 7)["run"]
    count = len(market.bars)
    return [
        Line(
            f"run of {symbols} symbols × {count // symbols:,} bars",
            f"{count / seconds / 1e6:.1f} M bars/s",
            f"{seconds / count * 1e9:.0f} ns a bar, 1 trade in {count // max(trades, 1)} bars",
            "",
            "≥ 10 M/s, quiet machine",
        )
    ]
