"""Bars for the tests here: plain columns, files of any kind, and an archive filled with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq

from avwapd.store.archive import Archive
from avwapd.verbs.bars_import import Outcome, import_file

START, STEP = 1_704_207_000_000, 300_000  # 2024-01-02 14:50 UTC, in the session
NOW = 1_750_000_000_000
Columns = dict[str, Any]


def columns(count: int, start: int = START, step: int = STEP, price: float = 100.0) -> Columns:
    """Good bars, each a little dearer than the one before."""
    close = price + np.arange(count) / 100
    return {
        "ts_ms": start + np.arange(count) * step,
        "open": close - 0.01,
        "high": close + 0.02,
        "low": close - 0.02,
        "close": close,
        "volume": np.full(count, 1000.0),
    }


def write(path: Path, content: Columns) -> Path:
    table = pa.table(content)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".feather":
        pyarrow.feather.write_feather(table, path)
    else:
        pyarrow.csv.write_csv(table, path)
    return path


def put(archive: Archive, path: Path, **options: Any) -> Outcome:
    """Import a file of one symbol."""
    settings: dict[str, Any] = {"exchange": "us", "timeframe": "5m", "symbol": "SPY", "now_ms": NOW}
    (outcome,) = import_file(archive, path, **settings | options)
    return outcome


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != ".lock"}
