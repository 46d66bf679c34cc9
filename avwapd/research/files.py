"""A backtest from its first bar to its files, in one pass: decisions are written while they are made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from avwapd.core.records import EFFECT, FILL
from avwapd.feeds.world import Setup, in_window
from avwapd.research import ResearchError, controls, equity, output
from avwapd.research.backtest import pieces
from avwapd.research.lists import Lists, starts_of
from avwapd.research.portfolio_report import portfolio, portfolio_json
from avwapd.research.trades import setups_of, trades
from avwapd.research.wide import Names, Widener

PORTFOLIO = "portfolio.json"
Progress = Callable[[int, int], None]


def write_backtest(
    setup: Setup,
    folder: Path,
    inputs: dict[str, Any],
    parameters: dict[str, Any],
    *,
    with_csv: bool = True,
    progress: Progress | None = None,
    lists: Lists | None = None,
) -> dict[str, Any]:
    """Every file of the run, its manifest last; returns the manifest. lists: of a scan, traded in their turn."""
    market = setup.market
    bars, begin = in_window(market.bars, setup.config)
    if begin >= len(bars):
        raise ResearchError("there are no bars in that window", market.exchange, "see `avwapd bars list`")
    names = ["decisions.parquet", *(["decisions.csv"] if with_csv else []), "trades.csv", "equity.csv"]
    world = setup.fresh()
    widener = Widener(Names.of(setup, inputs["rules_version"], inputs["code_version"]))
    counts = {"bars": len(bars), "warmup_bars": begin, "decisions": 0, "orders": 0, "transitions": 0, "fills": 0}
    filled, asked, seen = [np.zeros(0, FILL)], [np.zeros(0, EFFECT)], {}
    with ExitStack() as files:
        sinks: list[Any] = [files.enter_context(output.DecisionParquet(folder / names[0]))]
        if with_csv:
            sinks.append(files.enter_context(output.DecisionCsv(folder / names[1])))
        for piece in pieces(setup, world, bars, begin, lists=starts_of(setup, bars, lists or {})):
            batch = widener.batch(piece.decisions, piece.bars)
            for sink in sinks:
                sink.add(batch)
            filled.append(piece.fills.copy())
            asked.append(piece.effects.copy())
            seen.update(setups_of(piece.decisions))
            for name, rows in (("decisions", piece.decisions), ("orders", piece.effects), ("fills", piece.fills)):
                counts[name] += len(rows)
            counts["transitions"] += len(piece.transitions)
            if progress is not None:
                progress(begin + counts["decisions"], len(bars))
    fills = np.concatenate(filled)
    found = trades(
        fills, market.symbols, market.instruments, exchange=market.exchange, timeframe=market.timeframe, setups=seen
    )
    output.write_text(folder / "trades.csv", output.trades_csv(found))
    ts_ms, curve = equity.curve(setup, bars, fills, np.concatenate(asked))
    money = curve.astype(np.float64)
    output.write_text(folder / "equity.csv", output.equity_csv(ts_ms, money))
    content = portfolio(
        setup,
        bars,
        begin,
        fills,
        found,
        ts_ms,
        money,
        holds=controls.holds(setup, bars, begin),
        random_entry=controls.random_entry(setup, bars, begin, lists, found) if lists else None,
    )
    output.write_text(folder / PORTFOLIO, portfolio_json(content))
    names.append(PORTFOLIO)
    counts |= {"trades": len(found), "equity": len(ts_ms), "symbols": len(market.symbols)}
    return output.write_manifest(folder, inputs, parameters, counts, names)
