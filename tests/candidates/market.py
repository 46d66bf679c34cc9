"""A small market that is told twice: hour by hour, and day by day as those hours add up. Seeded, scanned, traded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from avwapd.core.records import BAR
from avwapd.feeds.calendar import BELL, all_sessions, session_index, stamps_of
from avwapd.feeds.demo import generate
from avwapd.feeds.market import Market
from avwapd.store.actions import Actions, Event
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from avwapd.store.instruments import Instrument, Instruments
from avwapd.store.universe import Member, save

INDEX = "SPY"
STOCKS = ("ALDER", "ASPEN", "BEECH", "ELM", "FIR", "HOLLY", "LARCH", "OAK", "PINE", "YEW")
SYMBOLS = tuple(sorted((*STOCKS, INDEX)))
EXCHANGE, HOURLY, DAILY = "us", "1h", "1d"
START, SESSIONS = "2023-09-01", 200  # to mid June of 2024: a half day, a split, a summer time
TRADED = 90  # the last sessions, which are scanned and traded
SPLIT_SYMBOL, SPLIT_BACK, SPLIT = "OAK", 40, 0.5
PRICES = ("open", "high", "low", "close")

CONFIG = """\
[run]
account = "candidates"
warmup_sessions = 25

[scan]
regime = false
min_volume = 100_000
min_dollar_volume_usd = 1_000_000

[signal]
min_bars = 5

[size]
method = "risk_per_trade"

[portfolio]
random_entry_draws = 4
bootstrap_draws = 50
rolling_sessions = 40
"""


@cache
def hours() -> Market:
    """The hourly bars, in shares of today."""
    return generate(SYMBOLS, SESSIONS, HOURLY, 21, start=START)


@cache
def table() -> Any:
    """SESSION records of the market's days."""
    every = all_sessions(BELL)
    within = session_index(np.unique(hours().bars["ts_ms"]), every)
    return every[np.unique(within)]


def dates() -> list[int]:
    """The market's sessions, yyyymmdd."""
    return [int(day) for day in table()["date"]]


def traded() -> list[int]:
    """The sessions whose scans are traded."""
    return dates()[-TRADED:]


@cache
def split_day() -> int:
    """The session before whose open one symbol splits, yyyymmdd."""
    return dates()[-SPLIT_BACK]


def raw(bars: Any, symbols: Sequence[str], session: Any) -> Any:
    """Bars as they were told then: before the split in old shares."""
    found = np.array(bars)
    days = table()["date"][session]
    old = (found["symbol"] == symbols.index(SPLIT_SYMBOL)) & (days < split_day())
    for name in PRICES:
        found[name][old] /= SPLIT
    found["volume"][old] *= SPLIT
    return found


@cache
def hourly_bars(split: bool = False) -> Any:
    """BAR records by (ts_ms, symbol)."""
    bars = hours().bars
    return raw(bars, SYMBOLS, session_index(bars["ts_ms"], table())) if split else bars


@cache
def daily_bars(split: bool = False) -> Any:
    """Each session's first open, extremes, last close and whole volume; BAR records by (ts_ms, symbol)."""
    hourly = hourly_bars(split)
    session = session_index(hourly["ts_ms"], table())
    stamps = stamps_of(BELL, table())
    found = np.zeros(len(table()) * len(SYMBOLS), BAR)
    for at in range(len(table())):
        for symbol in range(len(SYMBOLS)):
            mine = hourly[(session == at) & (hourly["symbol"] == symbol)]
            row = found[at * len(SYMBOLS) + symbol]
            row["ts_ms"], row["symbol"] = stamps[at], symbol
            row["open"], row["close"] = mine["open"][0], mine["close"][-1]
            row["high"], row["low"], row["volume"] = mine["high"].max(), mine["low"].min(), mine["volume"].sum()
    return found


def as_archived(bars: Any) -> pa.Table:
    return as_table([SYMBOLS[i] for i in bars["symbol"]], {name: bars[name] for name in ("ts_ms", *PRICES, "volume")})


def fill(archive: Path, *, split: bool = False, days_until: int = 99_999_999) -> Path:
    """Both timeframes (the days up to a date, yyyymmdd), what the symbols are, and the split where there is one."""
    known = {(EXCHANGE, s): Instrument(EXCHANGE, s, "equity", "USD", "0.01", "1", "1", "0", BELL) for s in SYMBOLS}
    Instruments(archive).add(known)
    Archive(archive).write(EXCHANGE, HOURLY, as_archived(hourly_bars(split)))
    fill_days(archive, 0, days_until, split=split)
    if split:
        Actions(archive, EXCHANGE).save([Event(SPLIT_SYMBOL, split_day(), SPLIT, SPLIT)])
    return archive


def fill_days(archive: Path, first: int, last: int, *, split: bool = False) -> None:
    """The daily bars of these days, yyyymmdd, both included."""
    bars = daily_bars(split)
    day = np.repeat(table()["date"], len(SYMBOLS))
    Archive(archive).write(EXCHANGE, DAILY, as_archived(bars[(day >= first) & (day <= last)]))


def furnish(state: Path, archive: Path) -> Path:
    """A state folder over an archive, with a universe of all stocks and the settings."""
    state.mkdir(parents=True)
    (state / "archive").symlink_to(archive)
    save(state / "universe", dates()[0], [Member(s, f"{s} INC", "Energy", 10.0) for s in STOCKS])
    (state / "avwapd.toml").write_text(CONFIG)
    return state


def iso(day: int) -> str:
    return f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}"


@dataclass(frozen=True)
class Place:
    """A state folder and the candidates that its scans of the traded sessions found."""

    state: Path
    candidates: Path
