"""What a person knows about symbols: earnings dates, bad tickers, listings. Pure: text in, rows out.

Each list is a CSV with a header; columns beyond those named are left alone. Rows come out sorted and once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from avwapd.scan.sheet import Bad, Row, SheetError, date_of, iso, read_sheet, symbol_of, told
from avwapd.scan.universe import exchange_of

WHEN = ("", "bmo", "amc")  # before the open, after the close
ALIASES = {
    "symbol": ("ticker",),
    "when": ("time",),
    "from": ("from_date",),
    "to": ("to_date",),
    "listed": ("listed_on", "ipo_date"),
}
COLUMNS = {
    "earnings": ("symbol", "date", "known_date", "when"),
    "bad-tickers": ("symbol", "reason", "from", "to"),
    "listings": ("symbol", "exchange", "listed"),
}
NEEDED = {"earnings": "date", "bad-tickers": "symbol", "listings": "exchange"}
LONGEST_REASON = 200
LONGEST_EXCHANGE = 32
Fields = tuple[str, ...]
T = TypeVar("T")


@dataclass
class ParsedList:
    """rows: of `COLUMNS[kind]`, dates as yyyy-mm-dd; assumed: earnings whose known_date the file did not say."""

    kind: str
    rows: list[Fields] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    doubles: int = 0
    assumed: int = 0


def parse_list(kind: str, data: bytes, where: object, class_shares: Mapping[str, str], known: int) -> ParsedList:
    """kind: a key of `COLUMNS`; known: yyyymmdd, when earnings without a known_date count as known.

    SheetError where nothing can be taken from the file.
    """
    found = ParsedList(kind)
    readers: dict[str, Callable[[Row, str, int], Fields | str]] = {
        "earnings": earning, "bad-tickers": bad_ticker, "listings": listing
    }  # fmt: skip
    symbol_column, sheet = headed(kind, data, where)
    seen: set[Fields] = set()
    for row in sheet:
        raw = row.get(symbol_column)
        symbol = class_shares.get(raw.upper()) or symbol_of(raw)
        taken: Fields | str = "is no ticker of letters and digits, like AAPL or BRK.B"
        if symbol is not None:
            taken = readers[kind](row, symbol, known)
        if isinstance(taken, str):
            found.bad.append(Bad(row.line, raw, taken))
        elif taken in seen:
            found.doubles += 1
        else:
            seen.add(taken)
            found.rows.append(taken)
            found.assumed += kind == "earnings" and not row.get("known_date")
    if found.bad and not found.rows:
        raise SheetError(f"no row of it can be taken: {told(found.bad)}", where, "correct these lines")
    drop_conflicts(found)
    found.rows.sort()
    return found


def headed(kind: str, data: bytes, where: object) -> tuple[str, tuple[Row, ...]]:
    """The name of the symbol column, and the rows."""
    second = () if NEEDED[kind] == "symbol" else (NEEDED[kind],)
    try:
        return "symbol", read_sheet(data, where, ("symbol", *second)).rows
    except SheetError as error:
        if not error.what.startswith("no header line"):
            raise
        try:
            return "ticker", read_sheet(data, where, ("ticker", *second)).rows
        except SheetError:
            raise error from None


def drop_conflicts(found: ParsedList) -> None:
    """One symbol listed at two exchanges: neither is believed."""
    if found.kind != "listings":
        return
    places: dict[str, set[str]] = {}
    for symbol, exchange, day in found.rows:
        places.setdefault(symbol, set()).add(f"{exchange} since {day}" if day else exchange)
    for symbol, names in sorted(places.items()):
        if len(names) > 1:
            found.bad.append(Bad(0, symbol, f"is listed at {' and '.join(sorted(names))}"))
            found.rows = [row for row in found.rows if row[0] != symbol]


def cell(row: Row, name: str) -> str:
    """A cell by its column's name, or by another that people use."""
    return next((row.cells[known] for known in (name, *ALIASES.get(name, ())) if known in row.cells), "")


def dated(text: str) -> str | None:
    """A date as yyyy-mm-dd; "" for none given, None for one that cannot be read."""
    if not text:
        return ""
    day = date_of(text)
    return None if day is None else iso(day)


def earning(row: Row, symbol: str, known: int) -> Fields | str:
    day, told_on, when = dated(row.get("date")), dated(row.get("known_date")), cell(row, "when").lower()
    if not day:
        return f"has the date {row.get('date')[:40]!r}, not one like 2024-05-02"
    if told_on is None:
        return f"has the known_date {row.get('known_date')[:40]!r}, not one like 2024-05-02"
    if when not in WHEN:
        return f"has {when[:40]!r} for when: use bmo (before the open), amc (after the close) or nothing"
    return (symbol, day, told_on or iso(known), when)


def bad_ticker(row: Row, symbol: str, known: int) -> Fields | str:
    del known
    first, last = dated(cell(row, "from")), dated(cell(row, "to"))
    if first is None or last is None:
        return "has a from or to that is no date like 2024-05-02"
    if first and last and first > last:
        return f"ends ({last}) before it begins ({first})"
    reason = row.get("reason")[:LONGEST_REASON]
    if not reason.isprintable():
        return "has a reason with a letter that cannot be shown"
    return (symbol, reason, first, last)


def listing(row: Row, symbol: str, known: int) -> Fields | str:
    del known
    text = row.get("exchange")
    plain = text.isascii() and text.isalnum() and len(text) <= LONGEST_EXCHANGE
    exchange = exchange_of(text) or (text.upper() if plain else "")
    if not exchange:
        return f"has the exchange {text[:40]!r}, not one like NASDAQ"
    first = cell(row, "listed")
    day = dated(first)
    return (symbol, exchange, day) if day is not None else f"has the first day {first[:40]!r}, no date like 2024-05-02"
