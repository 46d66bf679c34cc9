"""Which times of the archive were asked of a venue in full, so that a download asks only for what is lacking.

`archive/EXCHANGE/TIMEFRAME/.SPAN.asked` beside each file of bars: by symbol, the closes that were asked and how many
bars there were. It is written after the bars. Where the archive does not hold what it says (a file was moved away), it
says nothing. Stretches of closes are (first_ms, last_ms), both included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avwapd.store.archive import SPAN, Archive
from avwapd.store.archive_file import load
from avwapd.store.whole import write_whole

Ints = NDArray[np.int64]
Stretch = tuple[int, int]


class Asked(NamedTuple):
    """One symbol's closes that were asked and answered in full."""

    symbol: str
    first_ms: int
    last_ms: int


class _Held(NamedTuple):
    first_ms: int
    last_ms: int
    bars: int  # the archive had of them


class Coverage:
    """Of one exchange and timeframe."""

    def __init__(self, archive: Archive, exchange: str, timeframe: str) -> None:
        self._archive, self._timeframe = archive, timeframe
        self._folder = archive.folder(exchange, timeframe)

    def held(self, symbols: Iterable[str], first_ms: int, last_ms: int) -> dict[str, list[Stretch]]:
        """By symbol, the stretches of [first, last] that need no asking, sorted and apart from each other."""
        found: dict[str, list[Stretch]] = {symbol: [] for symbol in symbols}
        for span, begin, end in spans(first_ms, last_ms, self._timeframe):
            said = {symbol: rows for symbol, rows in self._said(span).items() if symbol in found}
            for symbol, stretches in self._true(span, said).items():
                found[symbol] += [(max(a, begin), min(b, end)) for a, b in stretches if a <= end and b >= begin]
        return {symbol: joined(stretches) for symbol, stretches in found.items()}

    def add(self, asked: Sequence[Asked]) -> None:
        """Remember what was asked; its bars are in the archive already."""
        by_span: dict[str, list[Asked]] = {}
        for one in asked:
            for span, first, last in spans(one.first_ms, one.last_ms, self._timeframe):
                by_span.setdefault(span, []).append(Asked(one.symbol, first, last))
        for span, fresh in sorted(by_span.items()):
            with self._archive.writing():
                self._remember(span, fresh)

    def _remember(self, span: str, fresh: Sequence[Asked]) -> None:
        said = self._said(span)
        good = self._true(span, said)
        for one in fresh:
            good[one.symbol] = joined([*good.get(one.symbol, []), one[1:]])
        times = self._times(span, good)
        rows = {
            symbol: [(first, last, _count(times.get(symbol), first, last)) for first, last in stretches]
            for symbol, stretches in good.items()
        }
        lines = ",\n".join(f"{json.dumps(symbol)}: {json.dumps(row)}" for symbol, row in sorted(rows.items()) if row)
        write_whole(self._path(span), f"{{{lines}}}\n".encode())

    def _path(self, span: str) -> Path:
        return self._folder / f".{span}.asked"

    def _said(self, span: str) -> dict[str, list[_Held]]:
        """What is said of a span; a file that cannot be read says nothing: its bars are asked again."""
        try:
            raw: Mapping[str, list[list[int]]] = json.loads(self._path(span).read_bytes())
            return {symbol: [_Held(*map(int, row)) for row in rows] for symbol, rows in raw.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _true(self, span: str, said: Mapping[str, list[_Held]]) -> dict[str, list[Stretch]]:
        """Of what is said, that whose bars are there."""
        times = self._times(span, said) if said else {}
        return {
            symbol: [row[:2] for row in rows if _count(times.get(symbol), row.first_ms, row.last_ms) >= row.bars]
            for symbol, rows in said.items()
        }

    def _times(self, span: str, symbols: Iterable[str]) -> dict[str, Ints]:
        """The closes that the span's file holds, by symbol, sorted."""
        path = self._folder / f"{span}.parquet"
        if not path.exists():
            return {}
        table = load(path).select(["ts_ms", "symbol"])
        coded = table["symbol"].combine_chunks().dictionary_encode()
        codes, names = coded.indices.to_numpy(), coded.dictionary.to_pylist()
        ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        parts = np.split(table["ts_ms"].to_numpy()[np.argsort(codes, kind="stable")], ends[:-1])
        wanted = set(symbols)
        return {name: part for name, part in zip(names, parts, strict=True) if name in wanted}


def _count(times: Ints | None, first_ms: int, last_ms: int) -> int:
    if times is None:
        return 0
    begin, end = np.searchsorted(times, (first_ms, last_ms + 1))
    return int(end - begin)


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Sorted; those that touch or overlap made one."""
    found: list[Stretch] = []
    for first, last in sorted(stretches):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def lacking(held: Iterable[Stretch], first_ms: int, last_ms: int) -> list[Stretch]:
    """What is left of [first, last] beside the stretches of `held` (sorted, apart)."""
    found: list[Stretch] = []
    at = first_ms
    for first, last in held:
        if first > at:
            found.append((at, min(first - 1, last_ms)))
        at = max(at, last + 1)
    return [*found, (at, last_ms)] if at <= last_ms else found


def spans(first_ms: int, last_ms: int, timeframe: str) -> list[tuple[str, int, int]]:
    """(span, first, last) of every archive file that may hold closes of [first, last], the ends cut to it."""
    unit = f"datetime64[{SPAN[timeframe[-1]]}]"
    begin, end = np.array([first_ms - 1, last_ms - 1]).astype("datetime64[ms]").astype(unit)
    bounds = np.arange(begin, end + 2)
    at = bounds.astype("datetime64[ms]").astype(np.int64).tolist()
    names = np.datetime_as_string(bounds)
    return [(str(names[i]), max(at[i] + 1, first_ms), min(at[i + 1], last_ms)) for i in range(len(at) - 1)]
