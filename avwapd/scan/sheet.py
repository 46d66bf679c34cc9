"""A file of rows as people have them: decoded, its header found, every row with its line. Pure.

Commas, quotes where needed, one header line whose names are looked for in any order and case. What a
spreadsheet or a download may have made of it instead is told by name.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avwapd.errors import Told

HEADER_WITHIN = 100  # lines
BLANKS = " \t\r\n\xa0\ufeff"  # the issuer pads with no-break spaces
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
AS_CSV = "save it as CSV with commas, in UTF-8"
_CLASS = re.compile(r"([A-Z0-9]{1,10})[-/.]([A-Z]{1,2})")
_TICKER = re.compile(r"[A-Z0-9]{1,12}(?:\.[A-Z]{1,2})?")


class SheetError(Told):
    """A file of rows that cannot be understood, or must not be taken."""


@dataclass(frozen=True)
class Row:
    """One line of the table. line: from 1; cells: by the header's name in lower case; width: cells it has."""

    line: int
    cells: Mapping[str, str]
    width: int

    def get(self, name: str) -> str:
        return self.cells.get(name, "")


@dataclass(frozen=True)
class Sheet:
    """preamble: the lines before the header, as cells; width: of the header; tail: lines of text behind the table."""

    preamble: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    width: int
    rows: tuple[Row, ...]
    tail: int


@dataclass(frozen=True)
class Bad:
    """A row that was left out, and why."""

    line: int
    text: str
    why: str


def symbol_of(raw: str) -> str | None:
    """A ticker as the archive spells it: upper case, a class behind a dot (BRK-B, BRK/B are BRK.B); None if odd."""
    if not raw.isascii():
        return None
    text = raw.upper()
    told = _CLASS.fullmatch(text)
    if told:
        text = f"{told[1]}.{told[2]}"
    return text if _TICKER.fullmatch(text) else None


def date_of(text: str) -> int | None:
    """2024-05-02 or 20240502 as 20240502; None for anything else, also for a day that never was."""
    from datetime import date

    digits = text.replace("-", "") if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII) else text
    if not re.fullmatch(r"\d{8}", digits, re.ASCII):
        return None
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
    return int(digits)


def iso(day: int) -> str:
    """20240502 as 2024-05-02."""
    return f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}"


def read_sheet(data: bytes, where: object, needed: Sequence[str]) -> Sheet:
    """The table below the first line that names all of `needed` (lower case), or a SheetError."""
    text = decoded(data, where)
    reader = csv.reader(io.StringIO(text, newline=""))
    lines: list[tuple[int, tuple[str, ...]]] = []
    began = 1
    try:
        for cells in reader:
            lines.append((began, tuple(cell.strip(BLANKS) for cell in cells)))
            began = reader.line_num + 1
    except csv.Error as error:
        raise SheetError(f"line {began} cannot be read ({error})", where, AS_CSV) from None
    at = header_at(lines, where, needed)
    names = tuple(cell.lower() for cell in lines[at][1])
    while names and not names[-1]:
        names = names[:-1]
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        raise SheetError(f"line {lines[at][0]} names the column {twice[0][:40]!r} twice", where, "keep one of them")
    rows, tail = table_rows(lines[at + 1 :], names, where)
    return Sheet(tuple(cells for _, cells in lines[:at]), names, len(names), rows, tail)


def decoded(data: bytes, where: object) -> str:
    """UTF-8 text, with or without its mark; what else it may be is told."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \r\n\t")
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")) or b"urn:schemas-microsoft-com" in head:
        raise SheetError("a spreadsheet's own format, not CSV", where, AS_CSV)
    if head[:1] == b"<":
        raise SheetError("a web page, not CSV", where, "download the file itself, not the page around it")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SheetError("the text is UTF-16, not UTF-8", where, AS_CSV)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"line {line} is not UTF-8 (byte 0x{data[error.start]:02x})"
        raise SheetError(what, where, AS_CSV) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SheetError(f"line {line} holds a zero byte: no text file, or a damaged one", where, AS_CSV)
    return text


def header_at(lines: Sequence[tuple[int, tuple[str, ...]]], where: object, needed: Sequence[str]) -> int:
    if not any(any(cells) for _, cells in lines):
        raise SheetError("the file is empty", where, f"its first line has to name {', '.join(needed)}")
    for at, (line, cells) in enumerate(lines[:HEADER_WITHIN]):
        if set(needed) <= {cell.lower() for cell in cells}:
            return at
        for sign, name in SEPARATORS.items():
            parts = {part.strip(BLANKS + '"').lower() for part in ",".join(cells).split(sign)}
            if set(needed) <= parts and len(parts) > 1:
                raise SheetError(f"line {line} is separated by {name}, not by commas", where, AS_CSV)
    what = f"no header line: none of the first {min(len(lines), HEADER_WITHIN)} names {', '.join(needed)}"
    raise SheetError(what, where, f"give the columns a first line, like {','.join(needed)}")


def table_rows(
    lines: Sequence[tuple[int, tuple[str, ...]]], names: tuple[str, ...], where: object
) -> tuple[tuple[Row, ...], int]:
    """The rows, and how many lines of other text follow a blank line."""
    rows: list[Row] = []
    blank, tail = False, 0
    for line, cells in lines:
        if not any(cells):
            blank = True
            continue
        width = len(cells)
        while width > len(names) and not cells[width - 1]:
            width -= 1
        if blank and width != len(names):
            tail += 1  # a foot note: text whose commas say nothing
            continue
        if any("\n" in cell for cell in cells):
            what = f"a quote that opens in line {line} is not closed there"
            raise SheetError(what, where, "close it, or take it out")
        rows.append(Row(line, dict(zip(names, cells, strict=False)), width))
    return tuple(rows), tail


def told(bad: Sequence[Bad], most: int = 5) -> str:
    """The first bad rows in one line."""
    shown = "; ".join(f"line {row.line}: {row.text[:40]!r} {row.why}" for row in bad[:most])
    return shown + (f"; and {len(bad) - most} more" if len(bad) > most else "")
