"""Bars in other people's files, in and out: Parquet, Feather and CSV.

In: `ts_ms` (the close, Unix ms UTC) or `timestamp` (the start, said with `--stamp start`), open, high, low,
close, volume, and optionally `symbol`. A cell that is no number becomes NaN, so that its row is named and
refused rather than the file. Out: the archive's columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
from numpy.typing import NDArray

from avwapd.store.archive_file import VALUES, ArchiveError

KINDS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".csv": "csv",
}
WANTED = "bring ts_ms (close, Unix ms UTC) or timestamp (start), open, high, low, close, volume"
EPOCH_UNITS = ((10**11, 0), (10**14, 1), (10**17, 1000))  # by size: seconds, then units a millisecond


@dataclass(frozen=True)
class BarFile:
    """Rows of a file as they stand. columns: `ts_ms` (int64, as stamped in the file) and VALUES (float64)."""

    path: Path
    columns: dict[str, NDArray[Any]]
    symbols: list[str] | None  # one a row, where the file says
    named_start: bool  # the time column was called `timestamp`


def read_bars(path: Path) -> BarFile:
    """Every row of the file, unchecked."""
    table = _table(path)
    table = table.rename_columns([str(name).strip().lower() for name in table.column_names])
    named_start = "ts_ms" not in table.column_names
    time_name = "timestamp" if named_start else "ts_ms"
    missing = [name for name in (time_name, *VALUES) if table.column_names.count(name) != 1]
    if missing:
        got = ", ".join(table.column_names) or "none"
        what = f"wrong columns: no {', '.join('ts_ms' if n == 'timestamp' else n for n in missing)} among {got}"
        raise ArchiveError(what[:300], path, WANTED)
    if not len(table):
        raise ArchiveError("the file holds no rows", path, "check how it was made; nothing was imported")
    columns: dict[str, NDArray[Any]] = {"ts_ms": _times(table[time_name], path, any_unit=named_start)}
    columns |= {name: _numbers(table[name]) for name in VALUES}
    symbols = table["symbol"].cast(pa.string()).to_pylist() if "symbol" in table.column_names else None
    if symbols is not None and None in symbols:
        raise ArchiveError(f"row {symbols.index(None)} names no symbol", path, "fill the symbol column or leave it out")
    return BarFile(path, columns, symbols, named_start)


def _table(path: Path) -> pa.Table:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ArchiveError("no kind of bar file is known by that name", path, f"use {', '.join(KINDS)}")
    if not path.is_file():
        raise ArchiveError("there is no such file", path, "check the name")
    if not path.stat().st_size:
        raise ArchiveError("the file is empty (0 bytes)", path, "check how it was made; nothing was imported")
    try:
        if kind == "parquet":
            with pq.ParquetFile(path) as file:
                return file.read()
        if kind == "feather":
            return pyarrow.feather.read_table(path, memory_map=False)
        return pyarrow.csv.read_csv(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"the file is damaged or no {kind} ({str(error).splitlines()[0][:100]})"
        raise ArchiveError(what, path, "get it again from its source; nothing was imported") from error


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """float64; NaN where a cell holds no number."""
    try:
        return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowException:
        return np.array([_number(cell) for cell in column.to_pylist()], dtype=np.float64)


def _number(cell: object) -> float:
    try:
        return float(str(cell))
    except ValueError:
        return float("nan")


def _times(column: pa.ChunkedArray, path: Path, *, any_unit: bool) -> NDArray[np.int64]:
    """Unix ms UTC from whole numbers (ms, or with `any_unit` by size), dates, or times (in a CSV with their zone)."""
    kind = column.type
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise ArchiveError(f"row {row} has no time", path, "fill or remove it; nothing was imported")
    try:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = column.cast(pa.timestamp("ms", tz="UTC"))
        if pa.types.is_date(kind):
            column = column.cast(pa.timestamp("ms"))
        if pa.types.is_timestamp(column.type):
            if (
                pa.types.is_timestamp(kind) and kind.tz is None and path.suffix.lower() == ".csv"
            ):  # a date is one everywhere, a time is not
                what = "the time column has no zone"
                raise ArchiveError(what, path, "write Unix ms or ISO 8601 with a zone, such as 2024-01-02T14:45:00Z")
            floored = pc.floor_temporal(column, unit="millisecond")
            return _plain(floored.cast(pa.timestamp("ms", tz=column.type.tz)))
        numbers = _plain(column)
        unit = next((unit for limit, unit in EPOCH_UNITS if np.abs(numbers).max() < limit), 1_000_000)
        return numbers * 1000 if any_unit and unit < 1 else numbers // (unit if any_unit else 1)
    except pa.ArrowException as error:
        what = f"the time column cannot be read ({str(error).splitlines()[0][:100]})"
        raise ArchiveError(what, path, "write Unix ms or ISO 8601 with a zone") from error


def _plain(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)


def write_bars(table: pa.Table, path: Path) -> None:
    """The archive's rows to a file, by its suffix; it appears whole."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ArchiveError("no kind of bar file is known by that name", path, f"use {', '.join(KINDS)}")
    beside = path.with_name(f".{path.name}.tmp")
    try:
        if kind == "parquet":
            pq.write_table(table, beside, compression="zstd")
        elif kind == "feather":
            pyarrow.feather.write_feather(table, beside)
        else:
            pyarrow.csv.write_csv(table, beside, pyarrow.csv.WriteOptions(quoting_style="needed"))
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ArchiveError(
            f"cannot write ({error.strerror or error})", path, "name a place that can be written"
        ) from error
