"""The same history with its decisions in a Parquet file as `avwapd backtest` writes them, beside the run alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from avwapd import config
from avwapd.core import engine
from avwapd.feeds import demo, world
from avwapd.research.backtest import pieces
from avwapd.research.output import DecisionParquet
from avwapd.research.wide import Names, Widener
from bench.history import ACCOUNT
from bench.measure import Line, medians, milliseconds


def run(quick: bool) -> list[Line]:
    symbols, sessions = (20, 60) if quick else (100, 258)
    market = demo.generate([f"S{n:03}" for n in range(symbols)], sessions, "5m", seed=3)
    setup = world.build(config.load(folder=Path("/nonexistent"), environ=ACCOUNT), market)
    out, reports = engine.new_output(len(market.bars), 500_000), engine.reports_room()
    names = Names.of(setup, "1", "bench")

    def alone() -> None:
        out.n[:] = 0
        state, books = setup.fresh(), engine.new_books(symbols)
        engine.run(state, out, books, reports, market.bars, np.full(symbols, -1, np.int64), 0)

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "decisions.parquet"

        def written() -> None:
            widener = Widener(names)
            with DecisionParquet(path) as file:
                for piece in pieces(setup, setup.fresh(), market.bars, 0):
                    file.add(widener.batch(piece.decisions, piece.bars))

        found = medians({"alone": alone, "written": written}, 3 if quick else 5)
        size_mb = path.stat().st_size / 1e6
    return [
        Line(
            "run and decisions.parquet, all columns",
            milliseconds(found["written"]),
            f"run alone {milliseconds(found['alone'])}; {size_mb:.0f} MB",
            f"{found['written'] / found['alone']:.1f} ×",
            "≤ 3 ×",
        )
    ]
