"""Corporate actions in other people's files: factor files, and plain lists of events. CSV in UTF-8.

A factor file is one symbol's history, named by its stem: `date,price_factor,split_factor[,…]`; up to and
including `date` raw prices are multiplied by both factors to compare with today's. Its factors are turned into
events, each at the first session after a date at which they change. A list has `symbol,ex_date,price_ratio,
split_ratio`. One bad row keeps its file out: what a neighbour means depends on it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avwapd.store.actions import HEADER, ActionsError, Event, Given, unfit

FACTORS = ("date", "price_factor", "split_factor")
ROUNDED = 1e-5  # relative; two factors of six digits are off by half of that each
LARGEST = 50  # the smaller number of a split like 3 for 2
NOISE = 1e-6  # a price factor that moves by less than this has not moved
MARKS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
WANTED = f"bring {','.join(FACTORS)}, or {','.join(HEADER)}, as UTF-8 with commas between"
Dates = NDArray[np.int64]
Row = tuple[int, dict[str, str]]  # line of the file, cells by column


def read_actions(path: Path, sessions: Dates, symbol: str | None = None) -> Given:
    """The events of a file. sessions: yyyymmdd of every known session, sorted; symbol: whose factors they are."""
    columns, rows = _rows(path)
    if set(HEADER) <= set(columns):
        return _listed(path, rows, sessions, symbol)
    if set(FACTORS) <= set(columns):
        return _from_factors(path, rows, sessions, symbol or path.stem)
    absent = ", ".join(name for name in FACTORS if name not in columns)
    what = f"line 1: wrong columns: no {absent} among {', '.join(columns)}"
    if len(columns) == 1 and any(sign in columns[0] for sign in ";\t|"):
        what = "line 1: no commas between the columns"
    raise ActionsError(what[:300], path, WANTED, [(1, what)])


def clean(ratio: float) -> float:
    """The ratio of small whole numbers that rounding has blurred, as their float quotient; else itself."""
    near = Fraction(max(ratio, 1.0 / ratio)).limit_denominator(LARGEST)
    quotient = near.numerator / near.denominator if ratio >= 1 else near.denominator / near.numerator
    return quotient if abs(ratio / quotient - 1.0) <= ROUNDED else ratio


# ------------------------------------------------------------------ events


def _listed(path: Path, rows: Sequence[Row], sessions: Dates, symbol: str | None) -> Given:
    """A plain list; every row stands for itself."""
    known, bad = set(sessions.tolist()), list[tuple[int, str]]()
    events: dict[tuple[str, int], Event] = {}
    for line, cells in rows:
        try:
            ratios = [_number(cells[name], name) for name in ("price_ratio", "split_ratio")]
            event = Event(cells["symbol"], _date(cells["ex_date"]), *ratios)
            wrong = unfit(event.price_ratio, event.split_ratio)
            if not event.symbol:
                wrong = "no symbol"
            elif symbol is not None and event.symbol != symbol:
                wrong = f"the symbol is {event.symbol}, not {symbol}"
            elif event.ex_date not in known:
                wrong = f"{cells['ex_date']} is no session of the exchange"
            elif (event.symbol, event.ex_date) in events:
                wrong = f"{event.symbol} has a row of {cells['ex_date']} already"
            if wrong:
                raise ValueError(wrong)
            events[event.symbol, event.ex_date] = event
        except ValueError as error:
            bad.append((line, str(error)))
    if bad:
        raise _refused(path, bad)
    dates = [event.ex_date for event in events.values()]
    symbols = tuple(sorted({event.symbol for event in events.values()}))
    return Given(path, tuple(sorted(events.values())), False, symbols, min(dates), max(dates))


def _from_factors(path: Path, rows: Sequence[Row], sessions: Dates, symbol: str) -> Given:
    """What changes from each row to the next. The last row is today, so its factors are 1: a file cut short is not."""
    bad: list[tuple[int, str]] = []
    found: list[tuple[int, int, float, float]] = []  # line, date, price factor, split factor
    for line, cells in rows:
        try:
            day = _date(cells["date"])
            if found and day <= found[-1][1]:
                raise ValueError(f"the date {cells['date']} does not come after {found[-1][1]}")
            price, split = (_number(cells[name], name) for name in FACTORS[1:])
            found.append((line, day, price, split))
        except ValueError as error:
            bad.append((line, str(error)))
    events: dict[int, Event] = {}
    ignored = 0
    if found and not bad and found[-1][2:] != (1.0, 1.0):
        bad.append((found[-1][0], "the last row's factors are not 1 and 1: is the file cut short?"))
    for (line, day, price, split), (_, _, next_price, next_split) in pairwise(found):
        split_ratio = clean(split / next_split)
        dividend = price / next_price
        dividend = 1.0 if abs(dividend - 1.0) <= NOISE else dividend
        if split_ratio == 1.0 == dividend:
            continue
        at = int(np.searchsorted(sessions, day, side="right"))
        if day < sessions[0]:
            ignored += 1
            continue
        event = Event(symbol, int(sessions[at]) if at < len(sessions) else 0, split_ratio * dividend, split_ratio)
        wrong = unfit(event.price_ratio, event.split_ratio)
        if at == len(sessions):
            wrong = f"the factors change behind {day}, where the calendar knows no session"
        if wrong:
            bad.append((line, wrong))
        elif event.ex_date in events:  # two dates with no session between them
            one = events[event.ex_date]
            ratios = one.price_ratio * event.price_ratio, one.split_ratio * event.split_ratio
            events[event.ex_date] = Event(symbol, event.ex_date, *ratios)
        else:
            events[event.ex_date] = event
    if bad:
        raise _refused(path, sorted(bad))
    return Given(path, tuple(events.values()), True, (symbol,), found[0][1], found[-1][1], ignored)


# ------------------------------------------------------------------- text


def _rows(path: Path) -> tuple[list[str], list[Row]]:
    """Columns in small letters, and every row that is not blank."""
    text = _text(path)
    try:
        reader = csv.reader(text.splitlines(), strict=True)
        columns = [cell.strip().lower() for cell in next(reader, [])]
        rows: list[Row] = []
        bad: list[tuple[int, str]] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                bad.append((reader.line_num, f"{len(cells)} cells, but {len(columns)} columns"))
            rows.append((reader.line_num, dict(zip(columns, map(str.strip, cells), strict=False))))
    except csv.Error as error:
        raise _refused(path, [(reader.line_num, f"no CSV ({error})")]) from error
    if not rows:
        raise ActionsError("line 1: the file holds no rows", path, WANTED, [(1, "the file holds no rows")])
    if bad and len(columns) > 1:
        raise _refused(path, bad)
    return columns, rows


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ActionsError(f"the file cannot be read ({error.strerror or error})", path, "check its name") from error
    if not content.strip():
        raise ActionsError("line 1: the file is empty", path, "check how it was made", [(1, "the file is empty")])
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "")
    if encoding or b"\0" in content:
        what = f"line 1: the file is {encoding or 'no text, or UTF-16'}, not UTF-8"
        raise ActionsError(what, path, "save it as CSV UTF-8", [(1, what)])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        what = f"line {line}: the byte {content[error.start]:#04x} is not UTF-8 (is it Latin-1?)"
        raise ActionsError(what, path, "save it as CSV UTF-8", [(line, what)]) from error


def _refused(path: Path, bad: Sequence[tuple[int, str]]) -> ActionsError:
    line, reason = bad[0]
    more = f" and {len(bad) - 1} more bad lines" if len(bad) > 1 else ""
    return ActionsError(
        f"line {line}: {reason}{more}; nothing of the file was taken", path, "correct and import again", bad
    )


def _date(text: str) -> int:
    """yyyymmdd of 20140609 or 2014-06-09."""
    try:
        plain = f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text
        if len(plain) != 10:
            raise ValueError
        found = date.fromisoformat(plain)
    except ValueError:
        raise ValueError(f"{text!r} is no date (20140609 or 2014-06-09)") from None
    return found.year * 10_000 + found.month * 100 + found.day


def _number(text: str, name: str) -> float:
    try:
        if not text.isascii() or "_" in text:
            raise ValueError
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is no number (digits and a decimal point alone)") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} {text} is not positive and finite")
    return value
