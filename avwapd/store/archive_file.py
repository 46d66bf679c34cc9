"""One Parquet file of the bar archive: its columns, how it is read, merged and replaced whole."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from avwapd.store import StoreError

PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume")
SCHEMA = pa.schema([("ts_ms", pa.int64()), ("symbol", pa.string()), *((name, pa.float64()) for name in VALUES)])


class ArchiveError(StoreError):
    """Bars that cannot be read, written or understood."""


class Conflict(NamedTuple):
    """A given bar that differs from the one already there."""

    row: int  # of what was given
    symbol: str
    ts_ms: int


@dataclass
class Written:
    """What became of the given rows, by symbol."""

    added_of: Counter[str] = field(default_factory=Counter)
    unchanged_of: Counter[str] = field(default_factory=Counter)
    conflicts: list[Conflict] = field(default_factory=list)
    files: int = 0

    @property
    def added(self) -> int:
        return self.added_of.total()

    @property
    def unchanged(self) -> int:
        return self.unchanged_of.total()


def as_table(symbol: str | Sequence[str], columns: dict[str, NDArray[Any]]) -> pa.Table:
    """Columns (ts_ms int64, VALUES float64) of one symbol, or one symbol a row, in the archive's schema."""
    count = len(columns["ts_ms"])
    names = (
        pa.repeat(pa.scalar(symbol, pa.string()), count) if isinstance(symbol, str) else pa.array(symbol, pa.string())
    )
    return pa.table({"ts_ms": columns["ts_ms"], "symbol": names, **{n: columns[n] for n in VALUES}}, schema=SCHEMA)


def load(path: Path) -> pa.Table:
    """One archive file, checked for being whole and ours; its pages have checksums (those of older files may not)."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(
            f"the archive file is damaged ({str(error).splitlines()[0][:80]})",
            path,
            "move it away and import or fetch its bars again",
        ) from error
    if not table.schema.equals(SCHEMA):
        got = ", ".join(table.column_names)
        raise ArchiveError(f"the archive file has other columns than ours ({got})", path, "move it out of the archive")
    return table


def merge(old: pa.Table, new: pa.Table, rows: NDArray[np.int64], done: Written) -> pa.Table | None:
    """Both sorted by (ts_ms, symbol), the first of equal keys kept; None where nothing is to be written.

    rows: of what was given, shape (len(new),), for naming conflicts; done: counts go there.
    """
    both = pa.concat_tables([old, new]).combine_chunks()
    ts_ms = both["ts_ms"].to_numpy()
    coded = both["symbol"].combine_chunks().dictionary_encode()
    names = np.array(coded.dictionary.to_pylist(), dtype=object)
    rank = np.argsort(np.argsort(names))[coded.indices.to_numpy()]
    order = np.lexsort((rank, ts_ms))  # stable: what was there comes before what is given
    again = np.zeros(len(order), bool)
    again[1:] = (np.diff(ts_ms[order]) == 0) & (np.diff(rank[order]) == 0)
    first = order[np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))]
    doubles, originals = order[again], first[again]
    equal = np.ones(len(doubles), bool)
    for name in VALUES:
        column = both[name].to_numpy()
        equal &= column[doubles] == column[originals]
    for double in np.sort(doubles[~equal]):
        symbol = str(names[coded.indices[int(double)].as_py()])
        done.conflicts.append(Conflict(int(rows[double - len(old)]), symbol, int(ts_ms[double])))
    label = names[coded.indices.to_numpy()]
    kept = order[~again]
    added = kept[kept >= len(old)]
    done.added_of.update(label[added].tolist())
    done.unchanged_of.update(label[doubles[equal]].tolist())
    return both.take(kept) if len(added) else None


def replace(path: Path, table: pa.Table) -> None:
    """Write beside, sync, rename: after a crash the old file or the new one is there, whole."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            pq.write_table(table, file, compression="zstd", use_dictionary=["symbol"], write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        what = f"the archive file cannot be written ({error.strerror or error}); the old one is as it was"
        raise ArchiveError(what, path, "free space or mend the folder's rights, then do it again") from error


def sync_folder(path: Path) -> None:
    """Make renames in it last."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
