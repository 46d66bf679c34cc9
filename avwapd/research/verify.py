"""A run held against a backtest of the same bars: decisions, trades, and the replay certificate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from avwapd.config import REMOTE_MODES, Config, config_hash, is_remote
from avwapd.config.modes import DRY_RUN
from avwapd.feeds import FeedError
from avwapd.feeds.world import Setup
from avwapd.research import Incomparable, ResearchError, compare
from avwapd.research.backtest import Result, deciding, replay, warm_bars
from avwapd.research.certificate import certify
from avwapd.research.compare import Mismatch, Side
from avwapd.research.identity import Chosen, choose
from avwapd.research.output import run_id
from avwapd.research.record import EVER, Record
from avwapd.research.revised import would_have_changed
from avwapd.research.scripted import Script, Stopped, as_fed
from avwapd.research.takeover import script_of
from avwapd.research.trades import Trade, setups_of, trades
from avwapd.research.wide import aligned
from avwapd.store.rows import RunRow

LAYERS = ("decisions", "trades", "replay")


@dataclass
class Report:
    """What was compared and what came of it."""

    run: str
    other: str = ""
    overlap: tuple[int, int] | None = None
    mismatch: Mismatch | None = None
    compared: dict[str, int] = field(default_factory=dict)  # by layer
    taken: Mapping[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.mismatch is None and set(self.compared) == set(LAYERS)

    @property
    def layer(self) -> str:
        return self.mismatch.layer if self.mismatch else ", ".join(self.compared)


def verify(
    record: Record,
    config: Config,
    archive: Path,
    *,
    run: str | None = None,
    first_ms: int = EVER[0],
    last_ms: int = EVER[1],
    inputs: Mapping[str, Any],
) -> Report:
    """Compare until a layer fails. inputs: what names the code of the backtest."""
    row = record.run(run)
    report = Report(f"{row.run_id} ({row.mode})")
    try:
        chosen = choose(config, row, archive)
    except FeedError as error:
        report.mismatch = said("bars", f"recorded at {row.exchange} {row.timeframe}", str(error))
        return report
    if chosen is None:
        raise Incomparable(
            f"the configuration is not the run's: config_hash {config_hash(config)}, the run has {row.config_hash}",
            f"run {row.run_id}",
            "verify with the run's own --config and environment: avwapd verify --config FILE",
        )
    report.notes += chosen.notes
    if chosen.setup.market.symbols != record.symbols:
        report.mismatch = said("symbols", ",".join(record.symbols), ",".join(chosen.setup.market.symbols))
        return report
    report.other = "backtest " + run_id({**inputs, **identity_of(chosen.setup)})
    _layers(record, row, chosen, report, first_ms, last_ms)
    return report


def identity_of(setup: Setup) -> dict[str, Any]:
    return {"params_hash": setup.fingerprint, "data_hash": setup.market.data_hash}


def said(name: str, live: str, backtest: str) -> Mismatch:
    return Mismatch("decisions", "", "", name, live, backtest, None, None)


def _layers(record: Record, row: RunRow, chosen: Chosen, report: Report, first_ms: int, last_ms: int) -> None:
    lowest, highest, _ = record.ask("decided", *EVER).fetchone()
    begin_ms, end_ms, count = record.ask("decided", first_ms, last_ms).fetchone()
    if not count:
        where = f"run {row.run_id}"
        if (first_ms, last_ms) != EVER:
            where += f", ts_ms {first_ms} to {last_ms}"
        raise Incomparable("the run decided nothing in the window", where, "avwapd export decisions | cut -d, -f1-4")
    # The archive may hold bars of the asked window that the run never decided.
    begin_ms, end_ms = max(first_ms, lowest), min(last_ms, highest)
    report.overlap = (begin_ms, end_ms)
    remote = row.mode in REMOTE_MODES or (row.mode == DRY_RUN and is_remote(chosen.config))
    script = script_of(record, embedded=not remote, remote=remote)
    report.taken = script.taken
    archived, archived_begin = history(record, chosen.setup, lowest, end_ms)
    if remote and archived_begin >= len(archived):
        report.mismatch = said("bars", f"decided from {lowest} on", "the archive ends before that")
        return
    bars, begin = fed(archived, archived_begin, script)
    decided = deciding(warm_bars(bars, 0, len(bars), begin), chosen.setup)
    try:
        result = replay(chosen.setup, bars, begin, script=script)
    except ResearchError as error:
        report.mismatch = _before(error, record, decided, report, begin_ms, end_ms)
        report.mismatch = report.mismatch or said("engine", "ran", f"{error.what} ({error.where})")
        return
    report.mismatch = _decisions(record, result.decisions, decided, report, begin_ms, end_ms)
    if report.mismatch is None:
        report.mismatch = _trades(record, chosen.setup, result, report, begin_ms, end_ms)
    if script.corrected or script.too_late:
        report.notes += would_have_changed(record, chosen.setup, script, (bars, begin), (archived, archived_begin))
    if report.mismatch is None:
        config = chosen.config.run
        names = {"account": config.account, "strategy": config.strategy}
        count, report.mismatch = certify(record, chosen.setup, **names, fingerprint=row.params_hash)
        report.compared["replay"] = count


def history(record: Record, setup: Setup, decided_ms: int, end_ms: int) -> tuple[Any, int]:
    """The archive's bars from the run's first one on, and where among them decisions begin."""
    began_ms = record.ask("bar_span").fetchone()[0]
    times = setup.market.bars["ts_ms"]
    first, begin = (int(np.searchsorted(times, at)) for at in (began_ms, decided_ms))
    return setup.market.bars[first : int(np.searchsorted(times, end_ms, side="right"))], begin - first


def fed(bars: Any, begin: int, script: Script) -> tuple[Any, int]:
    """The bars as the run had them: before a correction, without those that came too late."""
    if not (script.corrected or script.too_late):
        return bars, begin
    began_ms = int(bars["ts_ms"][begin]) if begin < len(bars) else 2**62
    rows = as_fed(bars, script.corrected, script.too_late)
    return rows, int(np.searchsorted(rows["ts_ms"], began_ms))


def _before(
    error: ResearchError, record: Record, decided: Any, report: Report, begin_ms: int, end_ms: int
) -> Mismatch | None:
    """The first decision that differs before the engine stopped: what went wrong there led to it."""
    if not isinstance(error, Stopped):
        return None
    return _decisions(record, error.parts[0], decided, report, begin_ms, min(end_ms, error.newest_ms))


def _decisions(
    record: Record, decisions: Any, decided: Any, report: Report, begin_ms: int, end_ms: int
) -> Mismatch | None:
    parts = list(record.pieces(begin_ms, end_ms))
    if not parts:
        return None
    live = Side(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))
    decisions = decisions[np.lexsort((decisions["symbol"], decisions["ts_ms"]))]
    backtest = Side(decisions, aligned(decisions, decided)).between(begin_ms, end_ms)
    report.compared["decisions"] = len(live.decisions)
    return compare.decisions_differ(compare.blank_missing(live), compare.blank_missing(backtest), record.symbols)


def _trades(
    record: Record, setup: Setup, result: Result, report: Report, begin_ms: int, end_ms: int
) -> Mismatch | None:
    """Round trips that ended in the window."""
    fills = record.fills()
    live = _ended(record, fills[fills["ts_ms"] <= end_ms], setup, record.setups(), begin_ms)
    backtest = _ended(
        record, result.fills[result.fills["ts_ms"] <= end_ms], setup, setups_of(result.decisions), begin_ms
    )
    report.compared["trades"] = len(live)
    found = compare.trades_differ(live, backtest)
    if found is None and not live:
        report.notes.append("no trade ended in the window: decisions and inputs only")
    return found


def _ended(record: Record, fills: Any, setup: Setup, setups: dict[tuple[int, int], str], begin_ms: int) -> list[Trade]:
    market = setup.market
    found = trades(
        fills, record.symbols, market.instruments, exchange=market.exchange, timeframe=market.timeframe, setups=setups
    )
    return [trade for trade in found if trade.exit_ts_ms >= begin_ms]
