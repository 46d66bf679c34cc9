"""Generated daily bars for the scan: `python -m bench.daily_market SYMBOLS SESSIONS STATE` fills a state folder.

A market factor, sector factors and each symbol's own walk in turning trends, overnight gaps, volume that grows with
the move; about half of the symbols pass the scan's liquidity filter. The same seed gives the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from avwapd.feeds import calendar
from avwapd.store.archive import Archive
from avwapd.store.archive_file import VALUES, as_table
from avwapd.store.universe import Member, save

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
LONG = "long.parquet"  # all symbols in one table, for the pandas script

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


def fill(state: Path, market: Market, exchange: str = "us") -> None:
    """The archive, a universe of the stocks, and the pandas script's file."""
    bars = table(market)
    Archive(state / "archive").write(exchange, "1d", bars)
    pq.write_table(bars, state / LONG)
    named = [(symbol, sector) for symbol, sector in zip(market.symbols, market.sectors, strict=True) if sector]
    members = [Member(symbol, f"{symbol} CORP", sector, 100 / len(named)) for symbol, sector in named]
    first = int(f"{market.ts_ms[0].astype('datetime64[ms]').astype('datetime64[D]')}".replace("-", ""))
    save(state / "universe", first, members)


if __name__ == "__main__":
    count, days, folder = sys.argv[1:]
    fill(Path(folder), generate(int(count), int(days)))
