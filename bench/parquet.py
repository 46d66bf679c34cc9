"""The same history with its decisions in Parquet, beside the run alone: the compact rows, and the file for people.

The compact file has the engine's own columns, codes and ticks; the product's decisions.parquet adds the bar, words,
prices and every gate's verdict.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from avwapd import config
from avwapd.core import engine
from avwapd.feeds import demo, world
from avwapd.research import compact
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

        def rows() -> None:
            with DecisionParquet(path, compact.SCHEMA) as file:
                for piece in pieces(setup, setup.fresh(), market.bars, 0, buffers=1):
                    file.add(compact.batch(piece.decisions))

        def words() -> None:
            widener = Widener(names)
            with DecisionParquet(path) as file:
                for piece in pieces(setup, setup.fresh(), market.bars, 0):
                    file.add(widener.batch(piece.decisions, piece.bars))

        found = medians({"alone": alone, "rows": rows, "words": words}, 3 if quick else 5)
    return [
        Line(
            name,
            milliseconds(found[key]),
            f"run alone {milliseconds(found['alone'])}",
            f"{found[key] / found['alone']:.1f} ×",
            limit,
        )
        for key, name, limit in (
            ("rows", "run and its decision rows in Parquet", "≤ 3 ×"),
            ("words", "run and decisions.parquet in words", ""),
        )
    ]
