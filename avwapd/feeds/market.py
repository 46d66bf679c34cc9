"""A market: the bars of some symbols as one array, what each symbol is, and the core's records of both.

Bars come from the archive through a derived matrix that a child process writes (the libraries that read
Parquet stay out of this process); here it is mapped into memory, checked by its hash and made anew when the
archive has changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.core.codes import CRYPTO, EQUITY
from avwapd.core.records import ACTION, BAR, INSTRUMENT
from avwapd.feeds import FeedError
from avwapd.feeds.calendar import ALWAYS, BELL, all_sessions, calendar_version, sessions
from avwapd.feeds.standing import Turn

FORMAT = 2  # moves when the matrix of the same bars would hold other bytes
CHILD_LIMIT_S = 600


@dataclass(frozen=True)
class Market:
    """Bars of one exchange and timeframe, BAR records sorted by (ts_ms, symbol), read-only where mapped."""

    exchange: str
    timeframe: str
    symbols: tuple[str, ...]  # sorted; a bar's symbol is the index
    instruments: tuple[Mapping[str, Any], ...]  # as in the archive's instruments.json, one a symbol
    bars: NDArray[np.void]
    data_hash: str  # sha256 of the bars' bytes
    calendar_version: str
    actions: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, ACTION))  # ACTION records by time
    turns: tuple[Turn, ...] = ()  # of gates that stand for a session, by time

    @property
    def timeframe_ms(self) -> int:
        return TIMEFRAME_MS[self.timeframe]

    @property
    def daily(self) -> bool:
        return self.timeframe.endswith("d")

    @property
    def calendars(self) -> tuple[str, ...]:
        """The calendar's name of each symbol."""
        return tuple(row["calendar"] for row in self.instruments)


def hash_of(bars: NDArray[np.void]) -> str:
    """sha256 of the records' bytes, hex."""
    return hashlib.sha256(np.ascontiguousarray(bars).view(np.uint8).data).hexdigest()


@dataclass(frozen=True)
class MatrixRequest:
    """Which bars are wanted. `load()` gives them where they lie ready; else run `command()` first.

    start_ms and end_ms are the first and last `ts_ms`, both included, None for open; no symbols means all
    there are.
    """

    archive: Path
    exchange: str
    timeframe: str
    symbols: tuple[str, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None

    @property
    def out(self) -> Path:
        return self.archive / ".matrix"

    @property
    def key(self) -> str:
        asked = (FORMAT, self.exchange, self.timeframe, sorted(self.symbols), self.start_ms, self.end_ms)
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]

    def sources(self) -> str:
        """A digest of name, size, time and inode of every file the bars may come from."""
        digest = hashlib.sha256()
        paths = sorted((self.archive / self.exchange / self.timeframe).glob("[0-9]*.parquet"))
        for path in (*paths, self.archive / "instruments.json", self.archive / self.exchange / "actions.csv"):
            if path.exists():
                facts = path.stat()
                digest.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns} {facts.st_ino}\n".encode())
        return digest.hexdigest()

    def command(self) -> list[str]:
        """The child that writes the matrix. Leaves the session table where the child finds it."""
        self.out.mkdir(parents=True, exist_ok=True)
        table = self.out / f"{BELL}-{calendar_version()}.sessions"
        beside = table.with_name(f".{table.name}.{os.getpid()}")
        with beside.open("wb") as file:
            np.save(file, all_sessions(BELL))
        beside.replace(table)
        stamp = {"sources": self.sources(), "calendar_version": calendar_version()}
        words = ["--archive", self.archive, "--exchange", self.exchange, "--timeframe", self.timeframe]
        words += [
            "--out",
            self.out,
            "--name",
            self.key,
            "--sessions",
            f"{BELL}={table}",
            "--stamp",
            json.dumps(stamp),
        ]
        for option, value in (
            ("--symbols", ",".join(self.symbols)),
            ("--from", self.start_ms),
            ("--to", self.end_ms),
        ):
            words += [] if value in (None, "") else [option, value]
        return [sys.executable, "-m", "avwapd.store.matrix", *map(str, words)]

    def load(self) -> Market | None:
        """The market, mapped, where a matrix lies there, fits the archive's files and has its hash."""
        try:
            facts = json.loads((self.out / f"{self.key}.json").read_bytes())
            if (facts["sources"], facts["calendar_version"]) != (self.sources(), calendar_version()):
                return None
            bars = np.load(self.out / f"{self.key}.npy", mmap_mode="r" if facts["bars"] else None)
            if bars.dtype != BAR or hash_of(bars) != facts["data_hash"]:
                return None
            return Market(
                exchange=facts["exchange"],
                timeframe=facts["timeframe"],
                symbols=tuple(facts["symbols"]),
                instruments=tuple(facts["instruments"]),
                bars=bars,
                data_hash=facts["data_hash"],
                calendar_version=facts["calendar_version"],
                actions=action_records(facts["actions"]),
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None  # absent or damaged: it is only derived, the archive has the bars


def action_records(rows: Sequence[tuple[int, int, float, float]]) -> NDArray[np.void]:
    """ACTION records, by time and symbol, of (ex_date, symbol, price_ratio, split_ratio) rows in that order."""
    found = np.zeros(len(rows), ACTION)
    if len(rows):
        table = all_sessions(BELL)
        dates, symbols, prices, splits = zip(*rows, strict=True)
        found["ts_ms"] = table["open_ms"][np.searchsorted(table["date"], np.array(dates))]
        found["date"] = dates
        found["symbol"], found["price_ratio"], found["split_ratio"] = symbols, prices, splits
    return found


def due(actions: NDArray[np.void], after_ms: int, before_ms: int) -> Iterator[NDArray[np.void]]:
    """ACTION rows of each session that opened after `after_ms` and before `before_ms`, session by session."""
    coming = actions[(actions["ts_ms"] > after_ms) & (actions["ts_ms"] < before_ms)]
    for ts_ms in np.unique(coming["ts_ms"]):
        yield coming[coming["ts_ms"] == ts_ms]


def load_matrix(
    archive: Path,
    exchange: str,
    timeframe: str,
    symbols: Sequence[str] = (),
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> Market:
    """The archive's bars with start <= ts_ms <= end; blocks while a child makes the matrix, if need be."""
    request = MatrixRequest(archive, exchange, timeframe, tuple(symbols), start_ms, end_ms)
    market = request.load()
    if market is None:
        try:
            done = subprocess.run(request.command(), capture_output=True, text=True, timeout=CHILD_LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            raise FeedError("reading the archive took too long", archive, "ask for fewer symbols or days") from None
        market = request.load() if done.returncode == 0 else None
        if market is None:
            what = done.stderr.strip().splitlines()[-1:] or ["the matrix could not be made"]
            raise FeedError(what[0], archive, "`avwapd bars check` looks at every file")
    return market


def instrument_records(
    market: Market,
    *,
    commission_usd: float,
    commission_bps: float,
    slippage_bps: float,
    seed: int,
    equity_currency: str = "USD",
    read_only: Collection[str] = (),
    first_ms: int | None = None,
    last_ms: int | None = None,
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """INSTRUMENT records, one a symbol, and the SESSION table they point into, calendar after calendar.

    commission_usd: a trade, equities; commission_bps: of the notional, crypto; read_only: pairs that only
    convert. Sessions reach from the first to the last bar, or to first_ms and last_ms where these lie further
    out, with the calendar's margins.
    """
    tables = _sessions_of(market, first_ms, last_ms)
    begins = np.cumsum([0, *(len(table) for table in tables.values())])
    begin_of = dict(zip(tables, begins.tolist(), strict=False))
    records = np.zeros(len(market.symbols), INSTRUMENT)
    bells = 0
    for record, symbol, row in zip(records, market.symbols, market.instruments, strict=True):
        tick, lot = Decimal(row["tick"]), Decimal(row["lot"])
        equity, bell = row["asset"] == "equity", row["calendar"] != ALWAYS
        record["tick"], record["lot"], record["unit_value"] = float(tick), float(lot), float(tick * lot)
        record["timeframe_ms"] = market.timeframe_ms
        record["min_qty"] = math.ceil(Decimal(row["min_qty"]) / lot)
        record["min_notional"] = float(row["min_notional"])
        record["commission_units"] = round(commission_usd / float(tick * lot)) if equity else 0
        record["commission_ppm"] = 0 if equity else round(commission_bps * 100)
        record["slippage_ppm"] = round(slippage_bps * 100)
        record["hash"] = instrument_hash(market.exchange, symbol, seed)
        record["session_first"], record["session_count"] = (
            begin_of[row["calendar"]],
            len(tables[row["calendar"]]),
        )
        record["convert_symbol"], record["convert_inverse"] = _conversion(market, row["quote"], equity_currency)
        record["profile_row"] = bells if bell else -1
        record["asset"] = EQUITY if equity else CRYPTO
        record["bell"], record["shortable"], record["daily"] = bell, equity, market.daily
        record["tradable"] = symbol not in read_only
        bells += bell
    return records, np.concatenate(list(tables.values()))


def instrument_hash(exchange: str, symbol: str, seed: int) -> int:
    """Below 2**31, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{exchange}/{symbol}/{seed}".encode()).digest()[:4], "big") >> 1


def _sessions_of(market: Market, first_ms: int | None, last_ms: int | None) -> dict[str, NDArray[np.void]]:
    ends = [int(market.bars["ts_ms"][at]) for at in (0, -1)] if len(market.bars) else []
    times = [*ends, *(at for at in (first_ms, last_ms) if at is not None)]
    if not times:
        raise FeedError("there are no bars in that time", market.exchange, "see `avwapd bars list` for what is there")
    return {name: sessions(name, min(times), max(times)) for name in sorted(set(market.calendars))}


def _conversion(market: Market, quote: str, currency: str) -> tuple[int, int]:
    """(convert_symbol, convert_inverse): the pair between the two currencies, or why there is none."""
    if quote == currency:
        return -1, 0
    pairs = {symbol.replace("/", "-"): index for index, symbol in reversed(list(enumerate(market.symbols)))}
    if f"{quote}-{currency}" in pairs:
        return pairs[f"{quote}-{currency}"], 0
    if f"{currency}-{quote}" in pairs:
        return pairs[f"{currency}-{quote}"], 1
    return -2, 0
