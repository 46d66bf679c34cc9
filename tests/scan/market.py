"""Daily bars for the scan's tests: real ones where the shared data lies beside the checkout, seeded ones else."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from avwapd import config
from avwapd.core.daily import Days
from avwapd.feeds.calendar import BELL, all_sessions, session_index
from avwapd.scan.run import ScanInputs

DATA = Path(__file__).parents[2].parent / "shared" / "data"
PRICES = ("open", "high", "low", "close", "volume")
RATIOS = ("price_ratio", "split_ratio")


@cache
def defaults() -> config.Config:
    return config.load(folder=Path("/nonexistent"), environ={})


@cache
def sessions() -> Any:
    return all_sessions(BELL)


class Member(NamedTuple):
    sector: str = ""
    name: str = ""


class Earning(NamedTuple):
    date: int
    known_date: int
    when: str = ""


class Bars(NamedTuple):
    """One symbol's bars: session int32 [n], the others float64 [n]."""

    session: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    price_ratio: Any
    split_ratio: Any


def joined(parts: Iterable[Bars]) -> Days:
    """Days of several symbols, in the given order."""
    parts = list(parts)
    offsets = np.cumsum([0, *(len(part.session) for part in parts)]).astype(np.int64)
    return Days(offsets, *(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@cache
def real(symbol: str) -> Bars:
    """Raw bars of a symbol of the shared data; the test is skipped where it is missing."""
    file = DATA / "bars" / "us" / f"{symbol}_1d.parquet"
    if not file.exists():
        pytest.skip("no ../shared/data beside this checkout")
    table = pq.read_table(file)
    stamps = table["ts_ms"].to_numpy()
    ones = np.ones(len(stamps))
    columns = [np.ascontiguousarray(table[name].to_numpy()) for name in PRICES]
    return Bars(session_index(stamps, sessions(), daily=True).astype(np.int32), *columns, ones, ones)


def inputs(bars: dict[str, Bars], as_of: int | None = None, **changes: Any) -> ScanInputs:
    """What a scan of these symbols as the whole universe looks at; sector, earnings and the like by `changes`."""
    symbols = tuple(sorted(bars))
    given: dict[str, Any] = {
        "symbols": symbols,
        "days": joined(bars[symbol] for symbol in symbols),
        "sessions": sessions(),
        "as_of": as_of,
        "members": {symbol: Member() for symbol in symbols},
        "earnings": {},
        "bad": {},
    }
    return ScanInputs(**(given | changes))
