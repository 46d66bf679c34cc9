"""The files of a backtest or an export. The same inputs give the same bytes: nothing in them knows the wall clock."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from avwapd.research import ResearchError
from avwapd.research.trades import COLUMNS, Trade
from avwapd.research.wide import SCHEMA

MANIFEST = "backtest_run_manifest.json"
# Measured: page compression costs more time than all encoding, statistics of words as much as the words.
PARQUET: dict[str, Any] = {"compression": "none", "write_statistics": ["ts_ms"]}
PLAIN = pa.schema(
    [pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type, f.nullable) for f in SCHEMA]
)
CSV = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")


class DecisionParquet:
    """Decisions into one Parquet file, wide or of another schema; a second thread writes while the engine goes on."""

    def __init__(self, path: Path, schema: pa.Schema = SCHEMA) -> None:
        self.rows = 0
        self._path = path
        self._beside = beside(path)
        self._file = pyarrow.parquet.ParquetWriter(self._beside, schema, use_dictionary=words_of(schema), **PARQUET)
        self._pool = ThreadPoolExecutor(1, "parquet")
        self._writing: Future[None] | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        self._settle()
        self.rows += len(batch)
        if len(batch):
            self._writing = self._pool.submit(self._file.write_batch, batch)

    def _settle(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._settle()
        finally:
            self._pool.shutdown()
            self._file.close()
            finish(self._beside, self._path, kept=kind is None)


class DecisionCsv:
    """Wide decisions as lines, header first, into a file or an open stream."""

    def __init__(self, target: Path | BinaryIO) -> None:
        self.rows = 0
        self._path = target if isinstance(target, Path) else None
        self._beside = beside(target) if isinstance(target, Path) else None
        self._stream: BinaryIO = self._beside.open("wb") if self._beside else target  # type: ignore[assignment]
        self._stream.write(",".join(SCHEMA.names).encode() + b"\n")
        self._file = pyarrow.csv.CSVWriter(self._stream, PLAIN, write_options=CSV)

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += len(batch)
        if len(batch):
            self._file.write_batch(batch.cast(PLAIN))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._path is not None and self._beside is not None:
            self._stream.close()
            finish(self._beside, self._path, kept=kind is None)


def words_of(schema: pa.Schema) -> list[str] | bool:
    """The columns that are words; numbers are written as they are."""
    return [field.name for field in schema if pa.types.is_dictionary(field.type)] or False


def beside(path: Path) -> Path:
    """Where a file grows until it is whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"no folder can be made there ({error.strerror or error})"
        raise ResearchError(what, path.parent, "name another place: --out") from error
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        what = "a folder has that name" if path.is_dir() else "the folder cannot be written"
        raise ResearchError(what, path if path.is_dir() else path.parent, "name another place: --out")
    return path.with_name(f".{path.name}.part")


def finish(part: Path, path: Path, *, kept: bool) -> None:
    if kept:
        part.replace(path)
    else:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    part = beside(path)
    part.write_text(text, encoding="utf-8", newline="")
    part.replace(path)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Lines of values that need no quotes."""
    return "".join(",".join(map(str, row)) + "\n" for row in (columns, *rows))


def trades_csv(trades: Iterable[Trade]) -> str:
    return csv_text(COLUMNS, trades)


def trades_table(trades: Sequence[Trade]) -> pa.Table:
    """Trades for a Parquet file; exact decimals stay text."""
    return pa.table({name: [trade[i] for trade in trades] for i, name in enumerate(COLUMNS)})


def write_table(path: Path, table: pa.Table) -> None:
    part = beside(path)
    pyarrow.parquet.write_table(table, part)
    part.replace(path)


def equity_csv(ts_ms: Any, equity: Any) -> str:
    return csv_text(("ts_ms", "equity"), zip(ts_ms.tolist(), equity.tolist(), strict=True))


def run_id(inputs: dict[str, Any]) -> str:
    """The hash of what a backtest is made of."""
    return hashlib.sha256(canonical(inputs).encode()).hexdigest()[:16]


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_manifest(
    folder: Path, inputs: dict[str, Any], parameters: dict[str, Any], counts: dict[str, int], names: Iterable[str]
) -> dict[str, Any]:
    """backtest_run_manifest.json; `inputs` are what the run id is the hash of."""
    outputs = {name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    manifest = {
        "run_id": run_id(inputs),
        **inputs,
        "counts": counts,
        "outputs": outputs,
        "parameters": parameters,
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
