"""Compact decisions as rows that people and programs read: words for codes, prices for ticks, one column a gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from avwapd.core import codes
from avwapd.core.codes import BAR_LATE, BAR_MISSING
from avwapd.feeds.world import Setup

WORD = pa.dictionary(pa.int8(), pa.string())
NAME = pa.dictionary(pa.int32(), pa.string())
VERDICTS = ("-", "pass", "block")
SIDES = ("", "long", "short")
FIRST = (*codes.GATES, "")
# A row has a setup or an exit, never both: one column says why.
REASONS = (*codes.SETUPS, *codes.EXITS[1:])
GATE_COLUMNS = tuple(f"gate_{gate}" for gate in codes.GATES)

SCHEMA = pa.schema(
    [
        ("exchange", NAME),
        ("symbol", NAME),
        ("timeframe", WORD),
        ("ts_ms", pa.int64()),
        *((name, pa.float64()) for name in ("open", "high", "low", "close", "volume", "avwap")),
        *((name, WORD) for name in ("anchor", "phase_before", "phase_after", "signal", "reason")),
        *((name, WORD) for name in GATE_COLUMNS),
        ("blocked_by", WORD),
        ("side", WORD),
        *((name, pa.float64()) for name in ("qty", "entry", "stop", "target_1", "target_2")),
        ("skip", WORD),
        ("late", pa.bool_()),
        ("intent", pa.int32()),
        ("rules_version", NAME),
        ("code_version", NAME),
    ]
)
# Only a number may be unknown. (Parquet spends as long on "is it null" as on a word.)
SCHEMA = pa.schema([field.with_nullable(pa.types.is_floating(field.type)) for field in SCHEMA])


ROW = "watchlist"  # for the anchor of a level that a row of the list gives


@dataclass(frozen=True)
class Names:
    """What the codes of one run stand for."""

    exchange: str
    timeframe: str
    symbols: Sequence[str]
    ticks: Sequence[str]  # decimal text, one a symbol
    lots: Sequence[str]
    anchor: str
    rules_version: str
    code_version: str

    @classmethod
    def of(cls, setup: Setup, rules_version: str, code_version: str) -> Names:
        market = setup.market
        ticks = [str(row["tick"]) for row in market.instruments]
        lots = [str(row["lot"]) for row in market.instruments]
        level = setup.config.anchors.level
        return cls(market.exchange, market.timeframe, market.symbols, ticks, lots, level, rules_version, code_version)


class Widener:
    """Turns DECISION rows and their BAR rows into record batches of `SCHEMA`."""

    def __init__(self, names: Names) -> None:
        self._ticks = scale(names.ticks)
        self._lots = scale(names.lots)
        self._symbols = pa.array(names.symbols, pa.string())
        self._constant = {
            "exchange": (names.exchange, np.int32),
            "timeframe": (names.timeframe, np.int8),
            "rules_version": (names.rules_version, np.int32),
            "code_version": (names.code_version, np.int32),
        }
        self._words = {
            **dict.fromkeys(GATE_COLUMNS, pa.array(VERDICTS)),
            "anchor": pa.array([names.anchor, ROW]),
            **dict.fromkeys(("phase_before", "phase_after"), pa.array(codes.PHASES)),
            "signal": pa.array(codes.SIGNALS),
            "reason": pa.array(REASONS),
            "blocked_by": pa.array(FIRST),
            "side": pa.array(SIDES),
            "skip": pa.array(codes.SKIPS),
        }

    def batch(self, decisions: Any, bars: Any) -> pa.RecordBatch:
        """decisions: DECISION rows; bars: the BAR row each is about. Nothing of either is referred to afterwards."""
        columns = self._columns(decisions, bars)
        return pa.record_batch([columns[field.name] for field in SCHEMA], schema=SCHEMA)

    def _columns(self, d: Any, bars: Any) -> dict[str, pa.Array]:
        symbol = np.array(d["symbol"])
        found: dict[str, pa.Array] = {"ts_ms": pa.array(np.array(d["ts_ms"]))}
        for name, (word, index) in self._constant.items():
            found[name] = words(np.zeros(len(d), index), pa.array([word]))
        found["symbol"] = words(symbol, self._symbols)
        missing = bars["flags"] & BAR_MISSING != 0
        absent = missing if missing.any() else None
        for name in ("open", "high", "low", "close", "volume"):
            found[name] = pa.array(np.array(bars[name]), mask=absent)
        level = np.array(d["level"])
        unknown = np.isnan(level) if absent is None else np.isnan(level) | missing
        found["avwap"] = pa.array(level, mask=unknown if unknown.any() else None)
        for name, values in self._codes(d).items():
            found[name] = words(values, self._words[name])
        for name, source in (("entry", "limit"), ("stop", "stop"), ("target_1", "r1"), ("target_2", "r2")):
            values, none = scaled(d[source], symbol, self._ticks)
            found[name] = pa.array(values, mask=none)
        found["qty"] = pa.array(scaled(d["qty"], symbol, self._lots)[0])
        found["late"] = pa.array(d["flags"] & BAR_LATE != 0)
        found["intent"] = pa.array(np.array(d["intent"]))
        return found

    def _codes(self, d: Any) -> dict[str, Any]:
        leave = np.array(d["exit"])
        found = verdicts(np.array(d["gates_asked"]), np.array(d["gates_blocked"]))
        found["blocked_by"] = lowest_bit(d["gates_blocked"])
        # A row of the list in force was asked about its age and is fresh: the level is the row's.
        fresh = (d["gates_asked"] & ~d["gates_blocked"]) >> codes.GATE_WATCHLIST_STALE & 1
        found["anchor"] = fresh.astype(np.int8)
        found["reason"] = np.where(leave != 0, leave + np.uint8(len(codes.SETUPS) - 1), d["setup"]).view(np.int8)
        found["side"] = np.where(d["side"] < 0, np.int8(2), d["side"])
        for name in ("phase_before", "phase_after", "signal", "skip"):
            found[name] = np.array(d[name]).view(np.int8)
        return found


def verdicts(asked: Any, blocked: Any) -> dict[str, Any]:
    """Indices into VERDICTS, a column a gate; the same array serves every gate that no row differs in."""
    some, every = int(np.bitwise_or.reduce(asked)), int(np.bitwise_and.reduce(asked)) if len(asked) else 0
    bad = int(np.bitwise_or.reduce(blocked))
    same = [np.zeros(len(asked), np.int8), np.ones(len(asked), np.int8)]
    found = {}
    for bit, name in enumerate(GATE_COLUMNS):
        mask = np.uint32(1 << bit)
        if not (some | bad) & (1 << bit):
            found[name] = same[0]
        elif every & (1 << bit) and not bad & (1 << bit):
            found[name] = same[1]
        else:
            found[name] = ((asked & mask) != 0).view(np.int8) + ((blocked & mask) != 0).view(np.int8)
    return found


def lowest_bit(values: Any) -> Any:
    """The lowest set bit's number, 32 where none is."""
    found = np.full(len(values), len(codes.GATES), np.int8)
    some = np.flatnonzero(values)
    set_bits = values[some]
    found[some] = np.log2(set_bits & (~set_bits + np.uint32(1))).astype(np.int8)
    return found


def scaled(counts: Any, symbol: Any, steps: tuple[Any, Any]) -> tuple[Any, Any]:
    """(count x step as the nearest float, True where the count is 0)."""
    some = np.flatnonzero(counts)
    found = np.zeros(len(counts))
    none = np.ones(len(counts), bool)
    if len(some):
        of = symbol[some]
        found[some] = counts[some] * steps[0][of] / steps[1][of]
        none[some] = False
    return found, none


def words(index: Any, dictionary: pa.Array) -> pa.Array:
    """Indices as words, nothing copied."""
    return pa.DictionaryArray.from_arrays(pa.array(index), dictionary, safe=False)


def scale(steps: Sequence[str]) -> tuple[Any, Any]:
    """Each decimal step as (numerator, denominator), so that one division gives the nearest float."""
    ratios = [Decimal(step).as_integer_ratio() for step in steps]
    return tuple(np.array([float(ratio[i]) for ratio in ratios]) for i in (0, 1))  # type: ignore[return-value]


def aligned(decisions: Any, bars: Any) -> Any:
    """The BAR row of each decision, both in (ts_ms, symbol) order; the newest where a time has two."""
    if len(decisions) == len(bars):
        same = (decisions["ts_ms"] == bars["ts_ms"]) & (decisions["symbol"] == bars["symbol"])
        if same.all():
            return bars
    found = np.searchsorted(keys(bars), keys(decisions), side="right") - 1
    return bars[found]


def keys(rows: Any) -> Any:
    """(ts_ms, symbol) as one sortable number."""
    return rows["ts_ms"].astype(np.int64) * (1 << 21) + rows["symbol"]


def shown(batch: pa.RecordBatch, row: int) -> Mapping[str, Any]:
    """One wide row as a dict."""
    return {name: batch.column(name)[row].as_py() for name in batch.schema.names}
