"""A small market of daily bars, seeded: some pass a scan, one falls at each early step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from avwapd.feeds.calendar import BELL, all_sessions, stamps_of
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from avwapd.store.instruments import Instrument, Instruments
from avwapd.store.lists import save as save_list
from avwapd.store.universe import Member, save

Run = Callable[..., tuple[int, str, str]]
LAST = 20240502
SESSIONS = 320
RISING = tuple(f"R{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWX")
SECTORS = ("Energy", "Financials", "Health Care")
CHEAP, THIN, YOUNG, BAD = "CHEAP", "THIN", "YOUNG", "BAD"
TICKERS = (*RISING, CHEAP, THIN, YOUNG, BAD)


@cache
def dates() -> list[int]:
    """The sessions of the market, yyyymmdd."""
    table = all_sessions(BELL)
    end = int(np.searchsorted(table["date"], LAST)) + 1
    return [int(day) for day in table["date"][end - SESSIONS : end]]


def bars(symbol: str, number: int) -> pa.Table:
    """One symbol's days. number: its seed."""
    rng = np.random.default_rng(1_000 + number)
    table = all_sessions(BELL)
    end = int(np.searchsorted(table["date"], LAST)) + 1
    count = 40 if symbol == YOUNG else SESSIONS
    drift, noise = (0.0012, 0.004) if symbol == "SPY" else (0.0011 + 0.0001 * (number % 5), 0.011)
    steps = drift + noise * rng.standard_normal(count)
    close = np.round((2.0 if symbol == CHEAP else 40.0 + number) * np.exp(np.cumsum(steps)), 2)
    before = np.concatenate([close[:1], close[:-1]])
    open_ = np.round(before * (1.0 + 0.002 * rng.standard_normal(count)), 2)
    reach = 1.0 + 0.006 * np.abs(rng.standard_normal((2, count)))
    volume = np.round((2_000.0 if symbol == THIN else 2_000_000.0) * np.exp(0.3 * rng.standard_normal(count)))
    columns = {
        "ts_ms": stamps_of(BELL, table[end - count : end]),
        "open": open_,
        "high": np.round(np.maximum(open_, close) * reach[0], 2),
        "low": np.round(np.minimum(open_, close) / reach[1], 2),
        "close": close,
        "volume": volume,
    }
    return as_table(symbol, columns)


def fill(archive: Path, symbols: tuple[str, ...] = (*TICKERS, "SPY"), until: int = LAST) -> None:
    """Bars of these symbols up to a day, yyyymmdd."""
    known = {("us", s): Instrument("us", s, "equity", "USD", "0.01", "1", "1", "0", "XNYS") for s in symbols}
    Instruments(archive).add(known)
    table = pa.concat_tables([bars(symbol, number) for number, symbol in enumerate(symbols)])
    last = all_sessions(BELL)
    stamp = int(stamps_of(BELL, last[np.searchsorted(last["date"], until)][None])[0])
    Archive(archive).write("us", "1d", table.filter(pa.compute.less_equal(table["ts_ms"], stamp)))


def members(count: int = len(TICKERS)) -> list[Member]:
    return [Member(s, f"{s} INC", SECTORS[n % 3], 0.1, "NYSE" if n % 2 else "") for n, s in enumerate(TICKERS)][:count]


def furnish(state: Path, archive: Path) -> None:
    """A state folder over an archive: a universe, an earnings list, a bad ticker, listings."""
    state.mkdir(parents=True)
    (state / "archive").symlink_to(archive)
    save(state / "universe", 20240401, members())
    save_list(state / "lists", "bad-tickers", [(BAD, "halted", "", "")], "2024-04-30")
    save_list(state / "lists", "listings", [("RA", "NASDAQ", ""), ("RD", "AMEX", "")], "2024-04-30")
    save_list(state / "lists", "earnings", [("RB", "2024-05-03", "2024-04-01", "amc")], "2024-04-30")
