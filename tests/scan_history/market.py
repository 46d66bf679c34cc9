"""A market with everything that history can do to a scan: seeded, small, written where the product reads it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from avwapd.store.actions import Actions, Event
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from avwapd.store.lists import save as save_list
from avwapd.store.universe import Member, save
from tests.store_daily.days import Columns, at, calendar

LAST = 20240502
SESSIONS, CHECKED = 640, 250
STOCKS = tuple(f"S{number:02}" for number in range(38))
SECTORS = ("Energy", "Financials", "Health Care", "Utilities")
INDEX, FUND = "SPY", "XLE"
SYMBOLS = (*STOCKS, INDEX, FUND)
SECOND, THIRD = 150, 60  # sessions before the end at which a new universe was taken
HOLED, ALONE = 100, 40  # likewise: many lack their bar; only the index and the fund have one


@cache
def dates() -> list[int]:
    """The market's sessions, yyyymmdd."""
    end = at(LAST) + 1
    return [int(day) for day in calendar()[1][end - SESSIONS : end]]


def back(count: int) -> int:
    """The session so many before the last, yyyymmdd."""
    return dates()[-1 - count]


def window() -> list[int]:
    """The sessions whose scans are compared."""
    return dates()[-CHECKED:]


def iso(day: int) -> str:
    return f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}"


@cache
def events() -> list[Event]:
    """A 2:1 split of every third stock and one 1:4, dividends of every fourth, all inside the window."""
    found = {}
    for number, symbol in enumerate(STOCKS):
        if number % 3 == 0:
            found[symbol, back(20 + 6 * number)] = (0.5, 0.5)
        if number == 7:
            found[symbol, back(90)] = (4.0, 4.0)
        if number % 4 == 0:
            for quarter in range(4):
                price, split = found.get((symbol, back(10 + 63 * quarter)), (1.0, 1.0))
                found[symbol, back(10 + 63 * quarter)] = (price * 0.992, split)
    return sorted(Event(symbol, day, *ratios) for (symbol, day), ratios in found.items())


@cache
def bars(number: int) -> Columns:
    """Raw days of one symbol, its actions in them."""
    symbol = SYMBOLS[number]
    rng = np.random.default_rng(5_000 + number)
    end = at(LAST) + 1
    count = SESSIONS - 400 if number == 11 else SESSIONS  # one is listed inside the window
    drift = 0.0009 if symbol == INDEX else 0.0002 + 0.0003 * (number % 5)
    wave = 0.0015 * np.sin(np.arange(SESSIONS)[-count:] / (60 if symbol == INDEX else 25 + number))
    steps = drift + wave + (0.005 if symbol == INDEX else 0.012) * rng.standard_normal(count)
    close = (35.0 + 4 * number) * np.exp(np.cumsum(steps))
    opened = np.concatenate([close[:1], close[:-1]]) * (1.0 + 0.004 * rng.standard_normal(count))
    opened[rng.integers(0, count, 6)] *= 1.05
    reach = 1.0 + 0.005 * np.abs(rng.standard_normal((2, count)))
    volume = (350_000.0 if number == 5 else 2_000_000.0) * np.exp(0.4 * rng.standard_normal(count))
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) * reach[0],
        "low": np.minimum(opened, close) / reach[1],
        "close": close,
    }
    price, split = np.ones(count), np.ones(count)
    for event in events():
        if event.symbol == symbol:
            from_row = at(event.ex_date) - (end - count)
            price[from_row:] *= event.price_ratio
            split[from_row:] *= event.split_ratio
    raw = {name: column * price for name, column in columns.items()}
    kept = np.ones(count, bool)
    if symbol in STOCKS:
        kept[count - 1 - ALONE] = False
        kept[count - 1 - HOLED] = number % 4 != 0
    if number == 13:
        kept[count - 90 :] = False  # its listing ends
    return {
        "ts_ms": calendar()[0][end - count : end][kept],
        **{name: column[kept] for name, column in raw.items()},
        "volume": np.round(volume / split)[kept],
    }


def fill(archive: Path, symbols: Iterable[str] = SYMBOLS) -> None:
    """Bars and corporate actions."""
    tables = [as_table(symbol, bars(SYMBOLS.index(symbol))) for symbol in symbols]
    Archive(archive).write("us", "1d", pa.concat_tables(tables))
    Actions(archive, "us").save(events())


def members(first: int, last: int, turn: int) -> list[Member]:
    """Stocks `first` to `last`; turn moves each into another sector."""
    return [Member(s, f"{s} INC", SECTORS[(n + turn) % 4], 0.1) for n, s in enumerate(STOCKS)][first:last]


def furnish(state: Path) -> None:
    """Universes (the first begins inside the window), earnings, bad tickers that come and go."""
    save(state / "universe", back(CHECKED - 15), members(0, 34, 0))
    save(state / "universe", back(SECOND), members(4, 38, 0))
    save(state / "universe", back(THIRD), members(2, 38, 1))
    bad = [
        ("S06", "halted", iso(back(180)), iso(back(120))),
        ("S08", "fraud", "", iso(back(200))),
        ("S09", "deal", iso(back(30)), ""),
    ]
    save_list(state / "lists", "bad-tickers", bad, "2024-04-30")
    reports = []
    for number, symbol in enumerate(STOCKS[::2]):
        for quarter in range(4):
            day = back(5 + number + 62 * quarter)
            known = back(min(CHECKED, 5 + number + 62 * quarter + (0 if number % 3 == 0 else 15)))
            reports.append((symbol, iso(day), iso(known), ("", "bmo", "amc")[number % 3]))
    save_list(state / "lists", "earnings", sorted(reports), "2024-04-30")


def furnished(root: Path, symbols: Iterable[str] = SYMBOLS) -> Path:
    """A state folder with all of it."""
    fill(root / "state" / "archive", symbols)
    furnish(root / "state")
    return root / "state"


def names_of(rows: Iterable[Any]) -> list[str]:
    return [row.symbol for row in rows]
