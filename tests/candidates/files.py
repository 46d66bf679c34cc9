"""The files of a backtest, read by plain Python, and the commands that make them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from avwapd import cli
from tests.candidates import market

Row = dict[str, Any]


def avwapd(state: Path, verb: str, *words: object) -> int:
    """One command on a state folder, with its settings."""
    return cli.main(["--state-dir", str(state), verb, "--config", str(state / "avwapd.toml"), *map(str, words)])


def scan_history(state: Path, folder: Path) -> Path:
    """The candidates' file of the traded sessions."""
    words = ("--mode", "historical_scan", "--start", market.iso(market.traded()[0]), "--out", folder)
    assert avwapd(state, "backtest", *words) == 0
    return folder / "historical_candidates.parquet"


def trade(state: Path, candidates: Path, folder: Path, timeframe: str, *words: object) -> Path:
    """The folder of a backtest that trades the candidates."""
    given = ("--candidates", candidates, "--timeframe", timeframe, "--start", market.iso(market.traded()[0]))
    assert avwapd(state, "backtest", *given, "--out", folder, *words) == 0
    return folder


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def portfolio(folder: Path) -> Any:
    return json.loads((folder / "portfolio.json").read_bytes())


def listed(candidates: Path) -> dict[tuple[str, int], Row]:
    """The file's rows by symbol and scan date (yyyymmdd)."""
    rows = pyarrow.parquet.read_table(candidates).to_pylist()
    return {(row["symbol"], int(f"{row['scan_date']:%Y%m%d}")): row for row in rows}


def session_of(ts_ms: int, timeframe: str) -> int:
    """The place of a bar's session among the market's days."""
    table = market.table()
    opens, closes = table["open_ms"].tolist(), table["close_ms"].tolist()
    if timeframe == market.DAILY:  # stamped 16:00, on half days too
        return next(i for i, at in enumerate(opens) if at < ts_ms <= at + 7 * 3_600_000)
    return next(i for i, (begin, end) in enumerate(zip(opens, closes, strict=True)) if begin < ts_ms <= end)


def entries(folder: Path) -> list[dict[str, str]]:
    """Decisions that ordered an entry."""
    return [row for row in table(folder / "decisions.csv") if row["signal"] == "entry"]


def round_trips(folder: Path) -> dict[tuple[str, int], dict[str, str]]:
    """The first leg of each trade by symbol and time of entry."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    for row in table(folder / "trades.csv"):
        found.setdefault((row["symbol"], int(row["entry_ts_ms"])), row)
    return found


def bar_of(symbol: str, ts_ms: int, bars: Any) -> Any:
    at = np.flatnonzero((bars["ts_ms"] == ts_ms) & (bars["symbol"] == market.SYMBOLS.index(symbol)))
    return bars[int(at[0])]


def same_order(row: dict[str, str], candidate: Row) -> Iterator[tuple[str, float, float]]:
    """(name, what the decision says, what the candidate says) of each level."""
    names = {"avwap": "entry_level", "stop": "stop_loss", "target_1": "target_r1", "target_2": "target_r2"}
    for name, of in names.items():
        yield name, float(row[name]), float(candidate[of])


def figures(folder: Path, timeframe: str, first: int) -> dict[str, float]:
    """Return, drawdown and trades as the files have them. first: the window's first session, yyyymmdd."""
    days = market.table()[market.table()["date"] >= first]
    ends = [int(day["open_ms"]) + 7 * 3_600_000 for day in days]  # behind every bar of the session
    curve = [(int(row["ts_ms"]), float(row["equity"])) for row in table(folder / "equity.csv")]
    peak = money = 100_000.0
    deepest = 0.0
    for end in ends:
        money = next((equity for ts_ms, equity in reversed(curve) if ts_ms <= end), 100_000.0)
        peak = max(peak, money)
        deepest = max(deepest, 1.0 - money / peak)
    rows = table(folder / "trades.csv")
    return {
        "total_return": money / 100_000.0 - 1.0,
        "max_drawdown": deepest,
        "trades": len({(row["symbol"], row["trade"]) for row in rows}),
        "net_profit": sum(float(row["pnl"]) for row in rows),
        "fees": sum(float(row["fees"]) for row in rows),
    }
