"""The bar archive: Parquet files of closed bars, all symbols of a span together, never half-written.

`archive/EXCHANGE/TIMEFRAME/SPAN.parquet`, rows sorted by (ts_ms, symbol). A span is the UTC day for minute
bars, the month for hours and the year for days: 23 years of hourly bars are 279 files instead of 5,900 of
thirty rows each, and a day of minute bars of thousands of symbols stays one file of moderate size. A bar that
closes at midnight lies in the day that ends. The first version of a bar stays: an equal one is counted, a
different one refused.
"""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.store.archive_file import (
    SCHEMA,
    ArchiveError,
    Written,
    load,
    merge,
    replace,
    sync_folder,
)

__all__ = ["Archive", "ArchiveError", "Holding", "Written", "named"]

SPAN = {"m": "D", "h": "M", "d": "Y"}  # by the timeframe's last letter: a day, month or year a file
LOCK_TRIES, LOCK_PAUSE_S = 100, 0.1
NAMING = "use 1 to 32 signs like BRK.B or BTC/USD: no space, comma, backslash or .. and none of . / - in front"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_SYMBOL = re.compile(r"(?![./\\-])(?!.*(\.\.|//))[^\s,\\]{1,31}[^\s,\\/]?(?<!/)")


class Holding(NamedTuple):
    """What there is of one symbol."""

    exchange: str
    timeframe: str
    symbol: str
    bars: int
    first_ms: int
    last_ms: int


class Archive:
    """The archive below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, exchange: str, timeframe: str) -> Path:
        if not _NAME.fullmatch(exchange):
            raise ArchiveError(f"{exchange!r} cannot name an exchange", self.root, "use letters, digits and _ . -")
        if timeframe not in TIMEFRAME_MS:
            raise ArchiveError(f"no timeframe {timeframe!r}", self.root, f"use one of {', '.join(TIMEFRAME_MS)}")
        return self.root / exchange / timeframe

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Alone among writers; readers need no lock, for a file is replaced whole."""
        with self._lock_file() as lock:
            for left in reversed(range(LOCK_TRIES)):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not left:
                        what = "another process is writing the archive"
                        raise ArchiveError(what, self.root, "wait for it to end, then try again") from None
                    time.sleep(LOCK_PAUSE_S)
            yield

    def _lock_file(self) -> BinaryIO:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            return (self.root / ".lock").open("ab")
        except OSError as error:
            what = f"the archive folder cannot be made or written ({error.strerror or error})"
            raise ArchiveError(what, self.root, "give it to this user, or name another: --state-dir DIR") from error

    def write(self, exchange: str, timeframe: str, bars: pa.Table, *, dry_run: bool = False) -> Written:
        """Merge checked bars (in `SCHEMA`, any order); a dry run only says what would become of them."""
        folder = self.folder(exchange, timeframe)
        named(pc.unique(bars["symbol"]).to_pylist(), folder)
        done = Written()
        with self.writing():
            for path, merged in self._merges(folder, timeframe, bars, done):
                if merged is not None and not dry_run:
                    replace(path, merged)
                    done.files += 1
            if done.files:
                for place in (folder, folder.parent, self.root):
                    sync_folder(place)
        return done

    def _merges(
        self, folder: Path, timeframe: str, bars: pa.Table, done: Written
    ) -> Iterator[tuple[Path, pa.Table | None]]:
        spans, which = np.unique(_spans(bars["ts_ms"].to_numpy(), timeframe), return_inverse=True)
        order, ends = np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))
        for span, rows in zip(spans, np.split(order, ends), strict=False):
            path = folder / f"{span}.parquet"
            old = load(path) if path.exists() else SCHEMA.empty_table()
            yield path, merge(old, bars.take(rows), rows, done)

    def files(
        self, exchange: str, timeframe: str, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[Path]:
        """The files that may hold bars with start <= ts_ms <= end, in the order of time."""
        low, high = (str(_spans(np.array([at]), timeframe)[0]) if at is not None else None for at in (start_ms, end_ms))
        paths = sorted(self.folder(exchange, timeframe).glob("[0-9]*.parquet"))
        return [p for p in paths if (low is None or low <= p.stem) and (high is None or p.stem <= high)]

    def read(
        self,
        exchange: str,
        timeframe: str,
        symbols: Sequence[str] = (),
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> pa.Table:
        """Bars with start <= ts_ms <= end of these symbols (none named: all), sorted by (ts_ms, symbol)."""
        wanted = pa.array(symbols, pa.string()) if symbols else None
        parts = [SCHEMA.empty_table()]
        for path in self.files(exchange, timeframe, start_ms, end_ms):
            part = load(path)
            parts.append(part if wanted is None else part.filter(pc.is_in(part["symbol"], wanted)))
        table = pa.concat_tables(parts)
        if start_ms is not None:
            table = table.filter(pc.greater_equal(table["ts_ms"], start_ms))
        if end_ms is not None:
            table = table.filter(pc.less_equal(table["ts_ms"], end_ms))
        return table

    def folders(self, exchange: str | None = None, timeframe: str | None = None) -> list[Path]:
        """The folders with bars, of one exchange or timeframe or of all."""
        found = sorted(self.root.glob("[!.]*/*/"))
        return [p for p in found if exchange in (None, p.parent.name) and timeframe in (None, p.name)]

    def damaged(self, exchange: str | None = None, timeframe: str | None = None) -> list[ArchiveError]:
        """What is wrong with each file that cannot be read."""
        errors: list[ArchiveError] = []
        for folder in self.folders(exchange, timeframe):
            for path in sorted(folder.glob("[0-9]*.parquet")):
                try:
                    load(path)
                except ArchiveError as error:
                    errors.append(error)
        return errors

    def holdings(self, exchange: str | None = None, timeframe: str | None = None) -> list[Holding]:
        """Every exchange, timeframe and symbol with its count and its first and last bar, sorted."""
        found: list[Holding] = []
        for folder in self.folders(exchange, timeframe):
            parts = [load(path).select(["symbol", "ts_ms"]) for path in sorted(folder.glob("[0-9]*.parquet"))]
            if parts:
                wanted = [("ts_ms", "count"), ("ts_ms", "min"), ("ts_ms", "max")]
                rows = pa.concat_tables(parts).group_by("symbol").aggregate(wanted).sort_by("symbol")
                names = ("symbol", "ts_ms_count", "ts_ms_min", "ts_ms_max")
                lines = zip(*(rows[name].to_pylist() for name in names), strict=True)
                found += [Holding(folder.parent.name, folder.name, *line) for line in lines]
        return found


def named(symbols: Iterable[str | None], where: object) -> None:
    """Refuse what cannot name a symbol: in lists symbols stand between commas, and none may read as a path."""
    for symbol in symbols:
        if not symbol or not symbol.isprintable() or not _SYMBOL.fullmatch(symbol):
            raise ArchiveError(f"{symbol!r} cannot name a symbol", where, NAMING)


def _spans(ts_ms: NDArray[np.int64], timeframe: str) -> NDArray[np.str_]:
    """The file name each bar belongs to; shape (n,)."""
    unit = SPAN[timeframe[-1]]
    return np.datetime_as_string((ts_ms - 1).astype("datetime64[ms]").astype(f"datetime64[{unit}]"))
