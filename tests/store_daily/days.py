"""Daily bars for the tests here: seeded prices on real sessions, and what a reader of `Days` sees on a day."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from avwapd.core.daily import Days
from avwapd.feeds.calendar import BELL, all_sessions, stamps_of
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from tests.tidy.rules import ROOT

REAL = ROOT.parent / "shared" / "data"
Columns = dict[str, Any]


@cache
def calendar() -> tuple[Any, Any]:
    """(stamps, dates) of every session."""
    sessions = all_sessions(BELL)
    return stamps_of(BELL, sessions), sessions["date"].astype(np.int64)


def at(date: int) -> int:
    """The index of a session by its date."""
    (found,) = np.flatnonzero(calendar()[1] == date)
    return int(found)


def walk(first: int, count: int, seed: int, price: float = 50.0) -> Columns:
    """`count` sessions from the date `first`: a seeded walk of some percent a day."""
    rng = np.random.default_rng(seed)
    begin = at(first)
    close = price * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    opened = close * np.exp(rng.normal(0, 0.003, count))
    return {
        "ts_ms": calendar()[0][begin : begin + count].copy(),
        "open": opened,
        "high": np.maximum(opened, close) * 1.004,
        "low": np.minimum(opened, close) * 0.996,
        "close": close,
        "volume": np.floor(rng.uniform(1e5, 1e6, count)),
    }


def split_at(bars: Columns, date: int, ratio: float) -> Columns:
    """The same as raw bars of shares that split: prices times ratio from that date on, volume divided."""
    behind = bars["ts_ms"] >= calendar()[0][at(date)]
    done = {name: column.copy() for name, column in bars.items()}
    for name in ("open", "high", "low", "close"):
        done[name][behind] *= ratio
    done["volume"][behind] /= ratio
    return done


def fill(root: Path, symbols: dict[str, Columns], exchange: str = "us") -> Archive:
    archive = Archive(root)
    for symbol, columns in symbols.items():
        archive.write(exchange, "1d", as_table(symbol, columns))
    return archive


def actions(root: Path, *rows: tuple[str, str, float, float], exchange: str = "us") -> None:
    """An exchange's table of events, written as the archive keeps it."""
    lines = [f"{symbol},{day},{price!r},{split!r}" for symbol, day, price, split in sorted(rows)]
    (root / exchange).mkdir(parents=True, exist_ok=True)
    (root / exchange / "actions.csv").write_text("\n".join(["symbol,ex_date,price_ratio,split_ratio", *lines, ""]))


def seen_on(days: Days, symbol: int, session: int) -> Columns:
    """A symbol's bars up to a session, in the prices of that session's shares: plain walking back."""
    begin, end = int(days.offsets[symbol]), int(days.offsets[symbol + 1])
    end = begin + int(np.searchsorted(days.session[begin:end], session, side="right"))
    price, split = 1.0, 1.0
    names = ("open", "high", "low", "close")
    rows = []
    for row in reversed(range(begin, end)):
        rows.append([*(getattr(days, name)[row] * price for name in names), days.volume[row] / split])
        price, split = price * days.price_ratio[row], split * days.split_ratio[row]
    table = np.array(rows[::-1]).reshape(-1, 5)
    return {"session": days.session[begin:end].copy(), **dict(zip((*names, "volume"), table.T, strict=True))}
