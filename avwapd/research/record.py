"""A run's record, read from its ledger into the engine's own arrays."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.core import codes
from avwapd.core.codes import BAR_MISSING
from avwapd.core.records import BAR, DECISION, FILL, TRANSITION
from avwapd.research import ResearchError
from avwapd.store.reader import open_reader, reading
from avwapd.store.rows import InstrumentRow, RunRow

EVER = (-(2**62), 2**62)
AT_ONCE = 65_536
PRICES = ("open", "high", "low", "close", "volume")
Rows = NDArray[np.void]


@cache
def queries() -> Mapping[str, str]:
    """The statements of record.sql by name."""
    text = files("avwapd.research").joinpath("record.sql").read_text(encoding="utf-8")
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return MappingProxyType(dict(zip(parts[::2], parts[1::2], strict=True)))


@dataclass(frozen=True)
class Record:
    """One ledger, read in one transaction: what a writer commits meanwhile is not seen."""

    conn: sqlite3.Connection
    path: Path
    runs: tuple[RunRow, ...]  # one an epoch
    instruments: tuple[InstrumentRow, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(row.symbol for row in self.instruments)

    def run(self, run_id: str | None = None) -> RunRow:
        """The newest epoch of that run, of the newest run where none is named; a unique beginning is a name."""
        found = [row for row in self.runs if row.run_id.startswith(run_id or "")]
        names = {row.run_id for row in found}
        if not found or (run_id and len(names) > 1):
            known = ", ".join(dict.fromkeys(row.run_id for row in self.runs)) or "none"
            raise ResearchError(f"no one run {run_id or ''}".rstrip(), self.path, f"runs here: {known}")
        return found[-1]

    def ask(self, name: str, *values: Any) -> sqlite3.Cursor:
        return self.conn.execute(queries()[name], values)

    def array(self, name: str, dtype: np.dtype[Any], *values: Any) -> Rows:
        return np.array(self.ask(name, *values).fetchall(), dtype)

    def decisions(self, first_ms: int = EVER[0], last_ms: int = EVER[1]) -> Rows:
        """DECISION rows in (ts_ms, symbol) order."""
        return self.array("decisions", DECISION, first_ms, last_ms)

    def pieces(self, first_ms: int = EVER[0], last_ms: int = EVER[1]) -> Iterator[tuple[Rows, Rows]]:
        """(DECISION rows, the BAR row of each) in pieces."""
        cursor = self.ask("decisions_with_bars", first_ms, last_ms)
        width = len(DECISION.names or ())
        while rows := list(islice(cursor, AT_ONCE)):
            decisions = np.array([row[:width] for row in rows], DECISION)
            bars = np.zeros(len(rows), BAR)
            for i, name in enumerate(PRICES, start=width):
                bars[name] = np.array([row[i] for row in rows], np.float64)
            for name in ("ts_ms", "symbol", "flags"):
                bars[name] = decisions[name]
            bars["flags"][np.isnan(bars["close"])] |= BAR_MISSING
            yield decisions, bars

    def fills(self) -> Rows:
        """FILL rows as they were booked."""
        return self.array("fills", FILL)

    def transitions(self) -> Rows:
        """TRANSITION rows as they happened."""
        return self.array("transitions", TRANSITION)

    def setups(self) -> dict[tuple[int, int], str]:
        """What was seen at each entry, by (symbol, intent)."""
        return {(symbol, intent): codes.SETUPS[setup] for symbol, intent, setup in self.ask("setups")}

    def anchor(self) -> str:
        """The kind of the line entries look at."""
        row = self.ask("anchor").fetchone()
        return str(row[0]) if row else ""

    def terms(self) -> Sequence[Mapping[str, Any]]:
        """tick, lot and quote of each symbol."""
        return [row._asdict() for row in self.instruments]


@contextmanager
def opened(path: Path) -> Iterator[Record]:
    """Read a ledger, also one that is being written."""
    with reading(path), closing(open_reader(path)) as conn:
        conn.execute("BEGIN")
        runs = tuple(RunRow(*row) for row in conn.execute(queries()["runs"]))
        instruments = tuple(InstrumentRow(*row[1:]) for row in conn.execute(queries()["instruments"]))
        yield Record(conn, path, runs, instruments)
