"""The derived matrix: a request's bars as one array to map into memory. Runs as a child, for pyarrow's sake.

    python -m avwapd.store.matrix --archive DIR --exchange X --timeframe TF --symbols A,B --out DIR --name KEY

writes `KEY.npy`, BAR records sorted by (ts_ms, symbol) where symbol is the index into the sorted symbols, and
`KEY.json` beside it. Intraday bars outside their session carry BAR_OUTSIDE. `feeds.market` asks for it and
reads it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from avwapd.core.codes import BAR_OUTSIDE
from avwapd.core.records import BAR
from avwapd.store import StoreError
from avwapd.store.actions import Actions
from avwapd.store.archive import Archive
from avwapd.store.archive_file import VALUES, ArchiveError
from avwapd.store.instruments import Instrument, Instruments

KEPT = 32  # matrices in the folder; the oldest go


def bars_of(table: pa.Table, symbols: Sequence[str]) -> NDArray[np.void]:
    """BAR records of archive rows, sorted by (ts_ms, symbol index)."""
    bars = np.zeros(len(table), BAR)
    bars["ts_ms"] = table["ts_ms"].to_numpy()
    bars["symbol"] = pc.index_in(table["symbol"], pa.array(symbols, pa.string())).to_numpy()
    for name in VALUES:
        bars[name] = table[name].to_numpy()
    return bars[np.lexsort((bars["symbol"], bars["ts_ms"]))]


def flag_outside(bars: NDArray[np.void], instruments: Sequence[Instrument], sessions: dict[str, NDArray[Any]]) -> None:
    """Set BAR_OUTSIDE in place where no session has open < ts_ms <= close; crypto has no outside."""
    for calendar in sorted({row.calendar for row in instruments} - {"24/7"}):
        if calendar not in sessions:
            what = f"no sessions were given for {calendar}"
            raise ArchiveError(what, "the matrix child", f"add --sessions {calendar}=FILE.npy")
        table = sessions[calendar]
        of_symbol = np.array([row.calendar == calendar for row in instruments])
        ts_ms = bars["ts_ms"]
        if len(bars) and (ts_ms[0] < table["open_ms"][0] or ts_ms[-1] > table["close_ms"][-1]):
            raise ArchiveError(f"bars lie outside the {calendar} calendar", "the archive", "update avwapd")
        index = np.searchsorted(table["close_ms"], ts_ms, side="left")
        outside = table["open_ms"][index] >= ts_ms if len(bars) else np.zeros(0, bool)
        bars["flags"][outside & of_symbol[bars["symbol"]]] |= BAR_OUTSIDE


def build(options: argparse.Namespace) -> None:
    """Read, flag, write both files; each appears whole."""
    archive = Archive(options.archive)
    known = Instruments(options.archive).load()
    symbols = sorted(options.symbols) or [s for exchange, s in sorted(known) if exchange == options.exchange]
    table = archive.read(options.exchange, options.timeframe, symbols, options.start, options.end)
    if not options.symbols:
        held = set(pc.unique(table["symbol"]).to_pylist())
        symbols = [symbol for symbol in symbols if symbol in held]
    missing = [symbol for symbol in symbols if (options.exchange, symbol) not in known]
    if missing or not symbols:
        raise ArchiveError(
            f"no bars of {', '.join(missing) or 'any symbol'} at {options.exchange}",
            options.archive,
            "see `avwapd bars list`, or import them with `avwapd bars import`",
        )
    instruments = [known[options.exchange, symbol] for symbol in symbols]
    bars = bars_of(table, symbols)
    if not options.timeframe.endswith("d"):
        flag_outside(bars, instruments, {name: np.load(path) for name, path in options.sessions})
    facts = {
        "exchange": options.exchange,
        "timeframe": options.timeframe,
        "symbols": symbols,
        "instruments": [asdict(row) for row in instruments],
        "bars": len(bars),
        "data_hash": hashlib.sha256(bars.view(np.uint8).data).hexdigest(),
        "actions": actions_of(options.archive, options.exchange, symbols),
        **json.loads(options.stamp),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    beside = options.out / f".{options.name}.{os.getpid()}"
    with beside.open("wb") as file:
        np.save(file, bars)
    beside.replace(options.out / f"{options.name}.npy")
    beside.write_text(json.dumps(facts))
    beside.replace(options.out / f"{options.name}.json")
    prune(options.out)


def actions_of(archive: Path, exchange: str, symbols: Sequence[str]) -> list[tuple[int, int, float, float]]:
    """(ex_date, symbol's index, price_ratio, split_ratio) of every corporate action of these symbols, by date."""
    place = {symbol: i for i, symbol in enumerate(symbols)}
    events = [event for event in Actions(archive, exchange).load() if event.symbol in place]
    return sorted((event.ex_date, place[event.symbol], event.price_ratio, event.split_ratio) for event in events)


def prune(folder: Path, kept: int = KEPT) -> None:
    """Forget all but the newest; whoever has an old one mapped keeps it."""
    facts = sorted(folder.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    for path in facts[kept:]:
        path.with_suffix(".npy").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _named_file(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m avwapd.store.matrix", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--exchange", required=True)
    parser.add_argument("--timeframe", required=True)
    parser.add_argument("--symbols", type=lambda text: [s for s in text.split(",") if s], default=[], help="none: all")
    parser.add_argument("--from", dest="start", type=int, help="first ts_ms")
    parser.add_argument("--to", dest="end", type=int, help="last ts_ms")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", required=True, help="of the files made")
    parser.add_argument("--sessions", type=_named_file, action="append", default=[], help="CALENDAR=FILE.npy")
    parser.add_argument("--stamp", default="{}", help="JSON members to keep with the facts")
    try:
        build(parser.parse_args(argv))
    except StoreError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
