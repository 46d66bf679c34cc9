"""Generated daily bars for the scan, and the pandas script that reads the same ones as a process of its own.

A market factor, sector factors and each symbol's own walk in turning trends, overnight gaps, volume that grows with
the move; about half of the symbols pass the scan's liquidity filter. The same seed gives the same bytes.
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from avwapd.feeds import calendar
from avwapd.store.archive import Archive
from avwapd.store.archive_file import VALUES, as_table
from bench.measure import Line

LAST = "2021-03-31"
INDEX = "SPY"
FUNDS = {
    "Communication": "XLC",
    "Consumer Discretionary": "XLY",
    "Consumer Staples": "XLP",
    "Energy": "XLE",
    "Financials": "XLF",
    "Health Care": "XLV",
    "Industrials": "XLI",
    "Information Technology": "XLK",
    "Materials": "XLB",
    "Real Estate": "XLRE",
    "Utilities": "XLU",
}
CHEAPEST, DEAREST = 3.0, 500.0  # prices are reflected at both
PEER = Path(__file__).with_name("pandas_scan.py")

Floats = NDArray[np.float64]


class Market(NamedTuple):
    """Daily bars of s symbols on d sessions. values: VALUES of shape (d, s) each; sectors: "" for index and funds."""

    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    ts_ms: NDArray[np.int64]  # shape (d,), 16:00 New York
    values: dict[str, Floats]


def generate(symbols: int, sessions: int, seed: int = 7, last: str = LAST) -> Market:
    """`symbols` stocks, with the index and the eleven sector funds before them."""
    random = np.random.default_rng(seed)
    names, funds = tuple(FUNDS), tuple(FUNDS.values())
    sector = np.arange(symbols) % len(names)
    shocks = random.normal(0, 0.007, sessions + 1)
    market = 0.0006 + shocks[1:] - 0.95 * shocks[:-1]  # comes back to its trend: the index ends above its mean
    groups = market[:, None] + random.normal(0.0, 0.003, (sessions, len(names)))
    own = _trends(random, sessions, symbols) + random.normal(0, 1, (sessions, symbols)) * random.uniform(
        0.006, 0.022, symbols
    )
    intraday = np.column_stack([market, groups, groups[:, sector] + own])
    count = intraday.shape[1]
    jumps = random.random((sessions, count)) < 0.012
    jumps[:, : len(funds) + 1] = False
    overnight = random.normal(0, 0.003, (sessions, count)) + jumps * random.normal(0, 0.06, (sessions, count))
    start = np.log(np.clip(random.lognormal(3.9, 0.8, count), 5, 400))
    values = _bars(random, start, overnight, intraday)
    values["volume"] = _volume(random, values["close"], np.abs(overnight + intraday))
    stocks = tuple(f"S{number:05}" for number in range(symbols))
    sectors = ("",) * (len(funds) + 1) + tuple(names[at] for at in sector)
    return Market((INDEX, *funds, *stocks), sectors, _stamps(sessions, last), values)


def _trends(random: np.random.Generator, sessions: int, symbols: int) -> Floats:
    """Drift a day, shape (sessions, symbols): each symbol's trend is drawn anew every 40 sessions."""
    drawn = random.normal(0, 0.002, (sessions // 40 + 1, symbols))
    return np.repeat(drawn, 40, axis=0)[:sessions]


def _bars(random: np.random.Generator, start: Floats, overnight: Floats, intraday: Floats) -> dict[str, Floats]:
    """Prices in cents; shape (sessions, symbols) each."""
    paths = start + np.cumsum(overnight + intraday, axis=0)
    open_, close = np.exp(_reflected(paths - intraday)), np.exp(_reflected(paths))
    reach = np.abs(random.normal(0, 0.006, (2, *close.shape)))
    high, low = np.maximum(open_, close) * (1 + reach[0]), np.minimum(open_, close) * (1 - reach[1])
    return {n: np.round(v, 2) for n, v in (("open", open_), ("high", high), ("low", low), ("close", close))}


def _reflected(logs: Floats) -> Floats:
    low, high = np.log(CHEAPEST), np.log(DEAREST)
    return np.asarray(low + np.abs((logs - low + (high - low)) % (2 * (high - low)) - (high - low)))


def _volume(random: np.random.Generator, close: Floats, moves: Floats) -> Floats:
    """Whole shares, from a dollar volume a symbol whose median is 25 million."""
    dollars = random.lognormal(np.log(25e6), 1.2, close.shape[1])
    noise = random.lognormal(0, 0.35, close.shape)
    return np.asarray(np.round(dollars / np.exp(np.log(close).mean(axis=0)) * noise * (1 + 25 * moves)))


def _stamps(sessions: int, last: str) -> NDArray[np.int64]:
    """16:00 New York of the last sessions up to a date, Unix ms UTC; shape (sessions,)."""
    end = int((np.datetime64(last, "ms") + np.timedelta64(1, "D")).astype(np.int64))
    stamps = calendar.daily_stamps(calendar.BELL, end - sessions * 2 * calendar.DAY_MS, end)
    return np.asarray(stamps[stamps <= end][-sessions:])


# ------------------------------------------------------------------ files


def table(market: Market) -> pa.Table:
    """In the archive's schema, sorted by (ts_ms, symbol as generated)."""
    sessions, symbols = len(market.ts_ms), len(market.symbols)
    columns = {"ts_ms": np.repeat(market.ts_ms, symbols), **{n: market.values[n].ravel() for n in VALUES}}
    return as_table(list(market.symbols) * sessions, columns)


def write_archive(root: Path, market: Market, exchange: str = "us") -> None:
    Archive(root).write(exchange, "1d", table(market))


def write_long(path: Path, market: Market) -> None:
    """One Parquet with all symbols, for the pandas script."""
    pq.write_table(table(market), path)


def write_universe(path: Path, market: Market) -> None:
    """A universe snapshot of the stocks: Ticker, Name, Sector, WeightPct."""
    members = [(symbol, sector) for symbol, sector in zip(market.symbols, market.sectors, strict=True) if sector]
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["Ticker", "Name", "Sector", "WeightPct"])
        rows.writerows([s, f"{s} CORP", sector, f"{100 / len(members):.4f}"] for s, sector in members)


# -------------------------------------------------------------------- peer


def peer_seconds(long: Path, out: Path, turns: int = 3) -> list[float]:
    """Whole seconds of each run of the pandas script, from start of process to its end."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        subprocess.run([sys.executable, str(PEER), str(long), str(out)], check=True, timeout=300)
        times.append(time.perf_counter() - start)
    return times


def run(quick: bool) -> list[Line]:
    symbols, sessions = (300, 500) if quick else (3000, 500)
    with tempfile.TemporaryDirectory() as name:
        long = Path(name) / "long.parquet"
        write_long(long, generate(symbols, sessions))
        median = statistics.median(peer_seconds(long, Path(name) / "out.csv"))
    return [Line(f"pandas: eight AVWAPs of {symbols:,} × {sessions}, a process", f"{median:.2f} s")]
