"""The issuer's holdings, or a plain list of tickers, as members of a universe. Pure: text in, rows out.

The issuer's CSV has the fund's name and dates first ("Fund Holdings as of"), then a header with Ticker, Name,
Sector, Asset Class, Weight (%), Exchange and more, then holdings of every kind, then legal text. A plain file
has Ticker and, as it likes, Name, Sector, WeightPct and Exchange.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from avwapd.scan.sheet import Bad, Row, Sheet, SheetError, date_of, iso, read_sheet, symbol_of, told

MOST_ROWS = 100_000
ODD_FRACTION = 0.01  # of the holdings: as many tickers that cannot be read are left out, more refuse the file
SHOWN = 10
WORD_LETTERS = 200
LONGEST_NUMBER = 40
TICKERLESS = ("", "-", "--")
CASH_TICKERS = ("XTSLA",)  # the issuer's own money market fund, where no column says so
EXCHANGES = (  # a part of what the issuer calls it, what a chart calls it
    ("nasdaq", "NASDAQ"),
    ("nyse american", "AMEX"),
    ("nyse mkt", "AMEX"),
    ("amex", "AMEX"),
    ("nyse arca", "AMEX"),
    ("new york stock exchange", "NYSE"),
    ("nyse", "NYSE"),
    ("cboe", "CBOE"),
    ("bats", "CBOE"),
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FUTURE = re.compile(r"[A-Z]{2,3}[FGHJKMNQUVXZ]\d{1,2}")
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?", re.ASCII)
_LONG_DATE = re.compile(r"([A-Za-z]{3})[a-z]*\.? (\d{1,2}), (\d{4})", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})[/ -]([A-Za-z]{3})[a-z]*[/ -](\d{4})", re.ASCII)


class Holding(NamedTuple):
    """One member. weight_pct: of the fund, 0 where the file does not say; exchange: as charts name it, "" unknown."""

    symbol: str
    name: str
    sector: str
    weight_pct: float
    exchange: str


@dataclass
class Parsed:
    """A universe as read. date: yyyymmdd of the preamble or None; dropped: holdings that are no shares, by kind."""

    date: int | None
    members: list[Holding] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    odd: list[Bad] = field(default_factory=list)
    tail: int = 0

    @property
    def sectors(self) -> dict[str, int]:
        """Members by sector, the biggest first."""
        counted = Counter(member.sector or "(none)" for member in self.members)
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def parse_universe(data: bytes, where: object, class_shares: Mapping[str, str]) -> Parsed:
    """Members sorted by symbol, or a SheetError that names the lines at fault."""
    sheet = read_sheet(data, where, ("ticker",))
    if len(sheet.rows) > MOST_ROWS:
        what = f"{len(sheet.rows):,} rows are no universe: {MOST_ROWS:,} are the most"
        raise SheetError(what, where, "name a file of holdings")
    found = Parsed(as_of_date(sheet, where), tail=sheet.tail)
    lines: dict[str, list[int]] = {}
    for row in sheet.rows:
        kind = kind_of(row)
        if kind and row.width >= sheet.width:
            found.dropped[kind] += 1
            continue
        taken = holding(row, sheet.width, class_shares)
        if isinstance(taken, Bad):
            found.odd.append(taken)
            continue
        lines.setdefault(taken.symbol, []).append(row.line)
        found.members.append(taken)
    refuse(found, lines, where)
    found.members.sort()
    return found


def refuse(found: Parsed, lines: Mapping[str, Sequence[int]], where: object) -> None:
    """What is no universe: too many odd rows, none at all, a ticker twice."""
    odd, good = len(found.odd), len(found.members)
    if odd and odd > ODD_FRACTION * (odd + good):
        what = f"{odd} of {odd + good} rows cannot be read: {told(found.odd)}"
        raise SheetError(what, where, "correct these lines")
    if not good:
        dropped = ", ".join(f"{count} {kind}" for kind, count in sorted(found.dropped.items())) or "nothing"
        raise SheetError(f"no shares in it (dropped: {dropped})", where, "name a file of holdings")
    twice = [f"{symbol} (lines {', '.join(map(str, at))})" for symbol, at in sorted(lines.items()) if len(at) > 1]
    if twice:
        rest = f" and {len(twice) - SHOWN} more" if len(twice) > SHOWN else ""
        what = f"{len(twice)} duplicate ticker{'s' if len(twice) > 1 else ''}: {', '.join(twice[:SHOWN])}{rest}"
        raise SheetError(what, where, "keep one line of each")


def kind_of(row: Row) -> str:
    """What a holding is that is no share; "" for a share."""
    asset, sector, ticker = row.get("asset class"), row.get("sector"), row.get("ticker").upper()
    if asset and asset.lower() != "equity":
        return asset
    if sector.lower().startswith("cash") or "derivatives" in sector.lower():
        return "Futures" if _FUTURE.fullmatch(ticker) else "Cash"
    if ticker in TICKERLESS:
        return "no ticker"
    if ticker in CASH_TICKERS:
        return "Money Market"
    return "Futures" if _FUTURE.fullmatch(ticker) else ""


def holding(row: Row, width: int, class_shares: Mapping[str, str]) -> Holding | Bad:
    raw = row.get("ticker")
    if row.width != width:
        return Bad(row.line, raw, f"has {row.width} columns, not {width}")
    symbol = class_shares.get(raw.upper()) or symbol_of(raw)
    if symbol is None:
        return Bad(row.line, raw, "is no ticker of letters and digits, like AAPL or BRK.B")
    weight = weight_of(next((row.cells[name] for name in ("weight (%)", "weightpct") if name in row.cells), ""))
    if weight is None:
        return Bad(row.line, raw, "has a weight that is no number like 1,234.56")
    return Holding(symbol, word(row.get("name")), word(row.get("sector")), weight, exchange_of(row.get("exchange")))


def word(text: str) -> str:
    """A name as it may be shown: bounded, blanks for what moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:WORD_LETTERS]).strip()


def weight_of(text: str) -> float | None:
    """A number with a point and, perhaps, thousands separators; 0 for none."""
    if text in TICKERLESS:
        return 0.0
    text = text.removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(text) or not text[-1:].isdigit() or len(text) > LONGEST_NUMBER:
        return None
    return float(text.replace(",", ""))


def exchange_of(text: str) -> str:
    """The short name of the listing exchange; "" for one we do not know."""
    lower = text.lower()
    return next((short for part, short in EXCHANGES if part in lower), "")


def as_of_date(sheet: Sheet, where: object) -> int | None:
    """The date of the preamble's "as of" line; None where there is no such line."""
    for line, cells in enumerate(sheet.preamble, start=1):
        text = " ".join(cells)
        head, sign, rest = text.lower().partition("as of")
        if not sign:
            continue
        said = text[len(head) + len(sign) :].strip(' :"')
        if rest.strip(' :"') in TICKERLESS:
            raise SheetError(f"line {line}: the issuer has no holdings of that day", where, "ask for another day")
        found = written_date(said)
        if found is None:
            raise SheetError(f"line {line}: {said[:40]!r} is no date", where, "write it like Nov 20, 2026")
        return found
    return None


def written_date(text: str) -> int | None:
    """Nov 20, 2026 or 20-Nov-2026 or 2026-11-20 as 20261120, whatever the locale."""
    long, first = _LONG_DATE.fullmatch(text), _DAY_FIRST.fullmatch(text)
    if long:
        month, day, year = long.groups()
    elif first:
        day, month, year = first.groups()
    else:
        return date_of(text)
    if month.lower() not in MONTHS:
        return None
    return date_of(f"{year}-{MONTHS.index(month.lower()) + 1:02}-{int(day):02}")


def refuse_shrink(found: Parsed, before: int, before_date: int, most: float, where: object) -> None:
    """A file cut short loses members quietly. most: the fraction that may go; before: members then."""
    now = len(found.members)
    if now < before * (1.0 - most):
        what = f"the universe would shrink from {before} members ({iso(before_date)}) to {now}, by over {most:.0%}"
        raise SheetError(what, where, "look whether the file is whole; if it is: --accept-shrink")
