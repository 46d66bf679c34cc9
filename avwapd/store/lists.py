"""The imported lists: `STATE/lists/earnings.csv`, `bad_tickers.csv` and `listings.csv`.

The first line says when the list was imported, the second names the columns; `avwapd lists import` makes them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple

from avwapd.store import StoreError
from avwapd.store.whole import write_whole
from avwapd.store.words import is_symbol, is_word

FILES = {"earnings": "earnings.csv", "bad-tickers": "bad_tickers.csv", "listings": "listings.csv"}
COLUMNS = {
    "earnings": ("symbol", "date", "known_date", "when"),
    "bad-tickers": ("symbol", "reason", "from", "to"),
    "listings": ("symbol", "exchange", "listed"),
}
ALWAYS = 99_999_999  # a bad ticker without an end
FILE_BYTES = 64 * 2**20
_STAMP = re.compile(r"# imported (\d{4})-(\d{2})-(\d{2})", re.ASCII)


class ListError(StoreError):
    """A list that cannot be read."""


class Earning(NamedTuple):
    """One report. Dates yyyymmdd; known_date: from when on it was known; when: bmo, amc or "" (unknown)."""

    date: int
    known_date: int
    when: str = ""


class BadTicker(NamedTuple):
    """A symbol that never is a candidate from `first` to `last`, both included, yyyymmdd."""

    symbol: str
    reason: str
    first: int
    last: int


@dataclass(frozen=True)
class Facts:
    """One file. imported: yyyymmdd, 0 where it does not say; digest: sha256; rows: its rows."""

    rows: int
    imported: int
    digest: str


@dataclass(frozen=True)
class Lists:
    """All three; one that was never imported is empty and has no entry in `facts`."""

    earnings: Mapping[str, tuple[Earning, ...]] = field(default_factory=dict)
    bad_tickers: tuple[BadTicker, ...] = ()
    listing: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, int] = field(default_factory=dict)  # first days, yyyymmdd, where known
    facts: Mapping[str, Facts] = field(default_factory=dict)

    def bad_on(self, day: int) -> dict[str, str]:
        """The bad tickers of a day, yyyymmdd, with their reasons."""
        return {row.symbol: row.reason for row in self.bad_tickers if row.first <= day <= row.last}

    def known_on(self, day: int) -> dict[str, tuple[Earning, ...]]:
        """The earnings that were known by a day, yyyymmdd."""
        found = {symbol: tuple(row for row in rows if row.known_date <= day) for symbol, rows in self.earnings.items()}
        return {symbol: rows for symbol, rows in found.items() if rows}


def load(folder: Path) -> Lists:
    """Every list that is there, sorted; ListError names the line at fault."""
    facts: dict[str, Facts] = {}
    rows = {kind: read(folder / name, kind, facts) for kind, name in FILES.items()}
    earnings: dict[str, list[Earning]] = {}
    for symbol, day, known, when in rows["earnings"]:
        earnings.setdefault(symbol, []).append(Earning(number(day), number(known), when))
    bad = (
        BadTicker(symbol, reason, number(first), number(last) or ALWAYS)
        for symbol, reason, first, last in rows["bad-tickers"]
    )
    return Lists(
        earnings={symbol: tuple(sorted(found)) for symbol, found in sorted(earnings.items())},
        bad_tickers=tuple(sorted(bad)),
        listing=dict(sorted((symbol, exchange) for symbol, exchange, _ in rows["listings"])),
        listed=dict(sorted((symbol, number(day)) for symbol, _, day in rows["listings"] if day)),
        facts=facts,
    )


def read(path: Path, kind: str, facts: dict[str, Facts]) -> list[list[str]]:
    """The rows of one file; none where it is missing. What the file is goes into `facts`."""
    next_step = f"import the list again: avwapd lists import {kind} FILE"
    try:
        content = whole(path)
        text = content.decode()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ListError(f"the list cannot be read ({error})", path, next_step) from error
    stamp = _STAMP.match(text)
    body = text.partition("\n")[2] if text.startswith("#") else text
    try:
        reader = csv.reader(io.StringIO(body, newline=""), strict=True)
        header, *rows = list(reader) or [[]]
        if tuple(header) != COLUMNS[kind]:
            raise ValueError(f"its columns are not {','.join(COLUMNS[kind])}")
        for line, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise ValueError(f"row {line} has {len(row)} columns, not {len(header)}")
            check_words(line, row)
            check_dates(kind, row)
    except (ValueError, csv.Error) as error:
        raise ListError(f"the list is damaged ({str(error)[:120]})", path, next_step) from error
    imported = of_calendar(*stamp.groups()) if stamp else 0
    facts[kind] = Facts(len(rows), imported, hashlib.sha256(content).hexdigest())
    return rows


def whole(path: Path) -> bytes:
    """A regular file's content; OSError or ValueError for anything else."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        content = file.read(FILE_BYTES + 1)
    if len(content) > FILE_BYTES:
        raise ValueError(f"it is longer than {FILE_BYTES} bytes")
    return content


def of_calendar(year: str, month: str, day: str) -> int:
    """yyyymmdd, 0 for a day that the calendar does not have."""
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return 0
    return int(year + month + day)


def check_words(line: int, row: Sequence[str]) -> None:
    """ValueError where a row could not have come from an import: what it says reaches logs and a terminal."""
    if not is_symbol(row[0]):
        raise ValueError(f"row {line} begins with {row[0][:40]!r}, no symbol")
    if not all(map(is_word, row)):
        raise ValueError(f"row {line} holds a word that is too long or cannot be shown")


def check_dates(kind: str, row: Sequence[str]) -> None:
    """ValueError where a date is none."""
    places = {"earnings": row[1:3], "bad-tickers": row[2:4], "listings": row[2:3]}[kind]
    wanted = places if kind == "earnings" else [text for text in places if text]
    for text in wanted:
        try:
            known = date.fromisoformat(text).isoformat()  # which also reads 20240502
        except ValueError:
            known = ""
        if known != text:
            raise ValueError(f"{text!r} of {row[0]} is no date like 2024-05-02")


def number(day: str) -> int:
    """2024-05-02 as 20240502, nothing as 0."""
    return int(day.replace("-", "") or 0)


def save(folder: Path, kind: str, rows: Iterable[Sequence[str]], imported: str) -> Path:
    """Replace one list whole. imported: yyyy-mm-dd."""
    text = io.StringIO(newline="")
    text.write(f"# imported {imported}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[kind])
    writer.writerows(rows)
    path = folder / FILES[kind]
    write_whole(path, text.getvalue().encode())
    return path
