"""The derived daily bars: an exchange's days symbol after symbol, to map into memory. Runs as a child, for pyarrow.

    python -m avwapd.store.daily --archive DIR --exchange us --out DIR --days FILE.npy --stamp JSON

writes `days.bin` (`feeds.daily` asks for it and reads it) from one piece a Parquet file. Pieces are kept beside
it, so that a new day costs the reading of its own year only. Layout of days.bin: the columns, each at a multiple
of 64; a JSON head that says where they lie; a tail of 128 bytes: the head's sha256 and length, and MAGIC.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from avwapd.store import StoreError
from avwapd.store.actions import Actions, Event
from avwapd.store.archive import Archive
from avwapd.store.archive_file import VALUES, ArchiveError, load
from avwapd.store.instruments import Instruments, inferred

FILE, PIECES = "days.bin", "pieces"
PIECE_FORMAT = 1  # moves when a piece of the same file would hold other bytes
MAGIC = b"avwapd daily bars 1\n"
TAIL = 128
ALIGN = 64
NO_SESSION, MISPLACED, UNFIT, DOUBLE, NO_BELL = "no_session", "misplaced", "unfit", "duplicate", "no_bell"
WORDS = {
    NO_SESSION: "its time is no session's close",
    MISPLACED: "it lies in another year's file",
    UNFIT: "a price or the volume is impossible",
    DOUBLE: "a bar of this session came before",
    NO_BELL: "the market of this symbol never closes",
}
DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
Ints = NDArray[np.int64]


class Left(NamedTuple):
    """Bars of one symbol that were left out for one reason."""

    kind: str
    symbol: str
    bars: int
    first_ms: int


class Piece(NamedTuple):
    """One Parquet file: symbols sorted, counts int64 [k] of rows, session int32 and values float64 [5, rows]."""

    symbols: list[str]
    counts: Ints
    session: NDArray[np.int32]
    values: NDArray[np.float64]
    left: list[Left]


# ---------------------------------------------------------------- one file


def piece_of(path: Path, stamps: Ints) -> Piece:
    """The good bars of one file by (symbol, session). stamps: the daily bar's ts_ms of each session, sorted."""
    table = load(path)
    if any(column.null_count for column in table.columns):
        raise ArchiveError("the archive file has empty cells", path, "move it away and import or fetch its bars again")
    coded = table["symbol"].combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):  # what combining an empty column gives
        coded = coded.combine_chunks()
    names = coded.dictionary.to_pylist()
    symbols = sorted(names)
    rank = np.empty(len(names), np.int32)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names), dtype=np.int32)
    code = rank[coded.indices.to_numpy()]
    ts_ms = table["ts_ms"].to_numpy()
    values = np.stack([table[name].to_numpy() for name in VALUES])
    session = np.minimum(np.searchsorted(stamps, ts_ms), len(stamps) - 1).astype(np.int32)
    opened, high, low, close, volume = values
    with np.errstate(invalid="ignore"):
        fit = np.isfinite(values).all(axis=0) & (low > 0) & (volume >= 0)
        fit &= (low <= np.minimum(opened, close)) & (np.maximum(opened, close) <= high)
    begin, end = (
        np.datetime64(str(int(path.stem) + more)).astype("datetime64[ms]").astype(np.int64) for more in (0, 1)
    )
    wrong = {
        NO_SESSION: stamps[session] != ts_ms,
        MISPLACED: (ts_ms <= begin) | (ts_ms > end),
        UNFIT: ~fit,
        DOUBLE: np.zeros(len(ts_ms), bool),
    }
    good = np.flatnonzero(~np.logical_or.reduce(list(wrong.values())))
    key = (code[good].astype(np.int64) << 32) | session[good]
    order = good[np.argsort(key, kind="stable")]
    again = np.zeros(len(order), bool)
    again[1:] = (np.diff(code[order]) == 0) & (np.diff(session[order]) == 0)
    wrong[DOUBLE][order[again]] = True
    order = order[~again]
    left: list[Left] = []
    taken = np.zeros(len(ts_ms), bool)
    for kind, rows in wrong.items():
        left += _left(kind, rows & ~taken, code, ts_ms, symbols)
        taken |= rows
    counts = np.bincount(code[order], minlength=len(symbols)).astype(np.int64)
    return Piece(symbols, counts, session[order], values[:, order], left)


def _left(kind: str, rows: NDArray[np.bool_], code: Any, ts_ms: Ints, symbols: list[str]) -> Iterator[Left]:
    found = np.flatnonzero(rows)
    for symbol in np.unique(code[found]).tolist():
        times = ts_ms[found[code[found] == symbol]]
        yield Left(kind, symbols[symbol], len(times), int(times.min()))


def kept_piece(path: Path, folder: Path, stamps: Ints, calendar: str) -> tuple[Path, list[str], Ints, list[Left]]:
    """The piece of a file as it is now, made where it is not kept: its place, symbols, counts and what was left."""
    if not (path.stem.isdecimal() and len(path.stem) == 4):
        raise ArchiveError("the archive file is not named by a year", path, "move it away and import its bars again")
    facts = path.stat()
    said = f"{PIECE_FORMAT} {calendar} {facts.st_size} {facts.st_mtime_ns} {facts.st_ino}"
    place = folder / f"{path.stem}-{hashlib.sha256(said.encode()).hexdigest()[:16]}.npz"
    try:
        with np.load(place) as kept:
            facts_of = json.loads(kept["facts"].tobytes())
            return place, facts_of["symbols"], kept["counts"], [Left(*row) for row in facts_of["left"]]
    except DAMAGE:
        pass  # absent or damaged: it is only derived
    piece = piece_of(path, stamps)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{place.name}.{os.getpid()}"
    text = json.dumps({"symbols": piece.symbols, "left": piece.left}).encode()
    with beside.open("wb") as file:
        np.savez(
            file,
            facts=np.frombuffer(text, np.uint8),
            counts=piece.counts,
            session=piece.session,
            values=piece.values,
        )
    beside.replace(place)
    return place, piece.symbols, piece.counts, piece.left


# --------------------------------------------------------------- all of them


class Layout(NamedTuple):
    """Where columns lie: name → (dtype, first byte, length); size: bytes of all."""

    columns: dict[str, tuple[str, int, int]]
    size: int


def layout_of(symbols: bytes, count: int, rows: int) -> Layout:
    shapes = [("symbols", "u1", len(symbols)), ("offsets", "<i8", count + 1), ("session", "<i4", rows)]
    shapes += [(name, "<f8", rows) for name in (*VALUES, "price_ratio", "split_ratio")]
    columns: dict[str, tuple[str, int, int]] = {}
    at = 0
    for name, dtype, length in shapes:
        columns[name] = dtype, at, length
        at += -(-length * np.dtype(dtype).itemsize // ALIGN) * ALIGN
    return Layout(columns, at)


def apply_actions(
    events: Sequence[Event], dates: Ints, symbols: Sequence[str], columns: dict[str, NDArray[Any]]
) -> None:
    """Multiply price_ratio and split_ratio (all ones before) in place.

    An event acts at the symbol's first bar of its ex-date or later; one before its first bar has no earlier
    price to change, one behind its last bar is not known yet. dates: yyyymmdd of each session.
    """
    index = {symbol: number for number, symbol in enumerate(symbols)}
    ours = [event for event in events if event.symbol in index]
    if not ours:
        return
    of_symbol = np.array([index[event.symbol] for event in ours], np.int64)
    session = np.searchsorted(dates, np.array([event.ex_date for event in ours], np.int64))
    offsets = columns["offsets"]
    owner = np.repeat(np.arange(len(symbols), dtype=np.int64), np.diff(offsets))
    row = np.searchsorted((owner << 32) | columns["session"], (of_symbol << 32) | session)
    acts = (row > offsets[of_symbol]) & (row < offsets[of_symbol + 1])
    for name in ("price_ratio", "split_ratio"):
        factor = np.array([getattr(event, name) for event in ours])
        np.multiply.at(columns[name], row[acts], factor[acts])


def bell_symbols(root: Path, exchange: str, held: Sequence[str]) -> list[str]:
    """Those whose market has a closing bell, sorted; refused where none has."""
    known, nothing = Instruments(root).load(), np.zeros(0)
    bell = []
    for symbol in held:
        row = known.get((exchange, symbol)) or inferred(exchange, symbol, nothing, nothing)
        if row.calendar != "24/7":
            bell.append(symbol)
    if held and not bell:
        raise ArchiveError(
            f"the daily bars of {exchange} are of a market that never closes; a scan needs one with a closing bell",
            root / exchange / "1d",
            "name an exchange of equities (scan.exchange)",
        )
    return bell


def build(options: argparse.Namespace) -> None:
    """Read what is new, put all together, write; the file appears whole."""
    archive, stamp = Archive(options.archive), json.loads(options.stamp)
    stamps, dates = np.load(options.days)
    folder = options.out / PIECES
    paths = archive.files(options.exchange, "1d")
    pieces = [kept_piece(path, folder, stamps, stamp["calendar_version"]) for path in paths]
    events = Actions(options.archive, options.exchange).load()
    held = sorted({symbol for _, symbols, _, _ in pieces for symbol in symbols})
    bell = set(bell_symbols(options.archive, options.exchange, held))
    some = {name for _, names, counts, _ in pieces for name, count in zip(names, counts, strict=True) if count}
    symbols = sorted(bell & some)
    if not symbols:
        raise ArchiveError(
            f"no usable daily bars of any symbol at {options.exchange}",
            options.archive,
            "see `avwapd bars list`, or import them with `avwapd bars import`",
        )
    left = [row for _, _, _, rows in pieces for row in rows if row.symbol in bell]
    left += [_without_bell(symbol, pieces) for symbol in held if symbol not in bell]
    index = {symbol: number for number, symbol in enumerate(symbols)}
    places = [np.array([index.get(symbol, -1) for symbol in names], np.int64) for _, names, _, _ in pieces]
    total = np.zeros(len(symbols), np.int64)
    for where, (_, _, counts, _) in zip(places, pieces, strict=True):
        total[where[where >= 0]] += counts[where >= 0]
    names = json.dumps(symbols).encode()
    layout = layout_of(names, len(symbols), int(total.sum()))
    beside = options.out / f".{FILE}.{os.getpid()}"
    try:
        columns, slab = _slab(beside, layout)
        columns["symbols"][:] = np.frombuffer(names, np.uint8)
        columns["offsets"][1:] = np.cumsum(total)
        end = columns["offsets"][:-1].copy()
        for path, where, (place, _, counts, _) in zip(paths, places, pieces, strict=True):
            try:
                rows = _rows(place)
            except DAMAGE:
                place.unlink(missing_ok=True)
                rows = _rows(kept_piece(path, folder, stamps, stamp["calendar_version"])[0])
            _pour(rows, counts, where, columns, end)
        columns["price_ratio"][:] = columns["split_ratio"][:] = 1.0
        apply_actions(events, dates, symbols, columns)
        _finish(beside, {"exchange": options.exchange, **_facts(layout, slab, left), **stamp})
        beside.replace(options.out / FILE)
    finally:
        beside.unlink(missing_ok=True)
    _prune(folder, {place for place, *_ in pieces})


def _facts(layout: Layout, slab: NDArray[np.uint8], left: Sequence[Left]) -> dict[str, Any]:
    return {
        "columns": layout.columns,
        "size": layout.size,
        "problems": [(row.kind, row.symbol, row.bars, row.first_ms, WORDS[row.kind]) for row in _summed(left)],
        "data_hash": hashlib.sha256(slab[: layout.size].data).hexdigest(),
        "crc32": zlib.crc32(slab[: layout.size].data),  # what readers check: several times faster
    }


def _slab(path: Path, layout: Layout) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint8]]:
    """A file of zeros mapped for writing, and each column's part of it."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, layout.size)  # a full disk is an error here, and a signal later
    slab: NDArray[np.uint8] = np.memmap(path, np.uint8, "r+")
    columns = {
        name: slab[at : at + length * np.dtype(dtype).itemsize].view(dtype)
        for name, (dtype, at, length) in layout.columns.items()
    }
    return columns, slab


def _rows(place: Path) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    with np.load(place) as piece:
        return piece["session"], piece["values"]


def _pour(
    rows: tuple[NDArray[np.int32], NDArray[np.float64]],
    counts: Ints,
    where: Ints,
    columns: dict[str, NDArray[Any]],
    end: Ints,
) -> None:
    """One piece's rows behind those of earlier pieces.

    where: its symbols' indices, -1 for none; end: behind the last row poured of each symbol, moved on.
    """
    session, values = rows
    begin = np.cumsum(counts) - counts
    known = where >= 0
    wanted = np.repeat(known, counts)
    target = np.repeat(end[where] - begin, counts)[wanted] + np.flatnonzero(wanted)
    columns["session"][target] = session[wanted]
    for name, column in zip(VALUES, values, strict=True):
        columns[name][target] = column[wanted]
    end[where[known]] += counts[known]


def _without_bell(symbol: str, pieces: Sequence[tuple[Path, list[str], Ints, list[Left]]]) -> Left:
    """All bars of a symbol that no session ends. Those on a session's close by chance do not say when they were."""
    rows = [row for _, _, _, left in pieces for row in left if row.symbol == symbol]
    good = sum(int(counts[names.index(symbol)]) for _, names, counts, _ in pieces if symbol in names)
    return Left(NO_BELL, symbol, good + sum(row.bars for row in rows), min((row.first_ms for row in rows), default=0))


def _summed(left: Sequence[Left]) -> list[Left]:
    """Of all files together, one a kind and symbol, sorted."""
    found: dict[tuple[str, str], Left] = {}
    for row in left:
        old = found.get((row.kind, row.symbol))
        found[row.kind, row.symbol] = (
            Left(row.kind, row.symbol, old.bars + row.bars, min(old.first_ms, row.first_ms)) if old else row
        )
    return sorted(found.values())


def _finish(path: Path, facts: dict[str, Any]) -> None:
    head = json.dumps(facts).encode()
    tail = f"{hashlib.sha256(head).hexdigest()} {len(head):016}\n".encode() + MAGIC
    with path.open("ab") as file:
        file.write(head + tail.rjust(TAIL))


def _prune(folder: Path, used: set[Path]) -> None:
    """Forget the pieces of files that are no more or have changed, and what children left that were killed."""
    for path in folder.glob("*.npz"):
        if path not in used:
            path.unlink(missing_ok=True)
    for path in (*folder.glob(".*"), *folder.parent.glob(f".{FILE}.*")):
        if not Path(f"/proc/{path.suffix[1:]}").exists():
            path.unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m avwapd.store.daily", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--exchange", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--days", type=Path, required=True, help="int64 [2, sessions]: daily stamps and yyyymmdd")
    parser.add_argument("--stamp", default="{}", help="JSON members to keep with the facts")
    options = parser.parse_args(argv)
    try:
        build(options)
    except OSError as trouble:
        what = f"the derived daily bars cannot be written ({trouble.strerror or trouble})"
        next_step = "free space or mend the folder's rights, then do it again"
        sys.exit(json.dumps({"what": what, "where": str(options.out), "next_step": next_step}))
    except StoreError as error:
        sys.exit(json.dumps({"what": error.what, "where": error.where, "next_step": error.next_step}))


if __name__ == "__main__":
    main()
