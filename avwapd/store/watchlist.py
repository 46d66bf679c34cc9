"""The scan's list as a file and as an input: what is in it, whether it can be believed, and its rows for the engine."""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.config.kinds import show
from avwapd.core.records import WATCH
from avwapd.store import StoreError
from avwapd.store.words import is_symbol, is_word

FORMAT = 1
FILE_BYTES = 16 * 2**20  # a list has hundreds of rows; what is larger is something else
TIERS = {"A": 1, "B": 2}
TEXTS = ("version", "rules_version", "data_hash", "config_hash")
PRICES = ("price", "level", "stop")
FIGURES = ("r1", "r2", "trend_score", "dist_pct", "slope")
MAYBE = ("atr", "swing_low", "swing_high")  # null where unknown
WORDS = ("symbol", "tier", "sector", "anchor")
ANCHOR_WORDS = ("symbol", "kind")

Row = Mapping[str, Any]


class WatchlistRefused(StoreError):
    """A list that cannot be believed; the one before it stays in force."""


@dataclass(frozen=True)
class Watchlist:
    """A scan's list. rows: as in the file, by rank; anchors: symbol, kind, anchor_date, known_date, rule_version."""

    scan_date: int  # yyyymmdd
    version: str  # sha256 of scan_date, rows and anchors
    rules_version: str
    data_hash: str
    config_hash: str
    rows: tuple[Row, ...]
    anchors: tuple[Row, ...]

    @property
    def body(self) -> str:
        """The list as one line of JSON; `of_body` takes it back."""
        fields = {"format": FORMAT, **{name: getattr(self, name) for name in ("scan_date", *TEXTS, "rows", "anchors")}}
        return canonical(fields)


@dataclass(frozen=True, slots=True)
class Listed:
    """The list in force; rows: all of its rows, missing: those of symbols that the run does not have."""

    scan_date: int
    version: str
    rows: int
    missing: tuple[str, ...]


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces, ASCII only: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def version_of(scan_date: int, rows: Sequence[Row], anchors: Sequence[Row]) -> str:
    """sha256 (hex) of the canonical JSON of all three, as the scan writes it: the name of a list."""
    content = {"scan_date": scan_date, "rows": list(rows), "anchors": list(anchors)}
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def of_body(body: str) -> Watchlist:
    """A list that was believed when it was journaled."""
    found = json.loads(body)
    texts = {name: str(found[name]) for name in TEXTS}
    return Watchlist(int(found["scan_date"]), rows=tuple(found["rows"]), anchors=tuple(found["anchors"]), **texts)


def read(path: Path) -> Watchlist | None:
    """The list in a file, None where there is none. Raises WatchlistRefused."""
    try:
        seen = path.stat()
        if not (stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode)):
            raise refused("it is no regular file", path)
        with path.open("rb") as file:
            content = file.read(FILE_BYTES + 1)
        if len(content) > FILE_BYTES:
            raise refused(f"{max(len(content), seen.st_size)} bytes are no list", path)
        return parse(content, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise refused(f"it cannot be read ({error.strerror})", path) from None


def parse(text: bytes, where: object) -> Watchlist:
    """Check a file's content and take it. Raises WatchlistRefused with the first thing that is wrong."""
    try:
        found = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        problem = next(_problems(found), None)
        if problem is None:
            return of_body(canonical(found))
    except (ValueError, RecursionError) as error:
        raise refused(f"it is no JSON ({str(error)[:200]})", where) from None
    raise refused(problem, where)


def refused(what: str, where: object) -> WatchlistRefused:
    return WatchlistRefused(f"the watchlist is refused: {what}", where, "run avwapd scan again, then avwapd ctl reload")


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    found = float(text)
    return found if math.isfinite(found) else _no_constant(text[:40])


def _problems(found: Any) -> Iterator[str]:
    """What is wrong with a file's content, in words, the gravest first; nothing where all is well."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        yield f"its format is not {FORMAT}"
        return
    if not is_day(found.get("scan_date")):
        yield f"scan_date {show(found.get('scan_date'))} is no day like 20120309"
    for name in TEXTS:
        if not isinstance(found.get(name), str):
            yield f"{name} is missing"
    for name in ("rows", "anchors"):
        if not isinstance(found.get(name), list) or not all(isinstance(row, dict) for row in found[name]):
            yield f"{name} is no list of rows"
            return
    yield from rows_problems(found["rows"])
    for at, row in enumerate(found["anchors"]):
        for problem in _anchor_problems(row):
            yield f"anchor {at + 1} ({show(row.get('symbol'))[1:-1]}): {problem}"
    if found["version"] != version_of(found["scan_date"], found["rows"], found["anchors"]):
        yield "its version is not the hash of its content: the file was changed after the scan"


def rows_problems(rows: Sequence[Row]) -> Iterator[str]:
    """What is wrong with a list's rows, in words; only the first is sure, the next may follow from it."""
    for at, row in enumerate(rows):
        for problem in _row_problems(row):
            yield f"row {at + 1} ({show(row.get('symbol'))[1:-1]}): {problem}"
    for name in ("symbol", "rank"):
        counted = Counter(row[name] for row in rows)
        twice = next((value for value, count in counted.items() if count > 1), None)
        if twice is not None:
            yield f"{name} {twice} is there twice"


def _row_problems(row: Row) -> Iterator[str]:
    yield from _word_problems(row, WORDS)
    if not is_whole(row.get("side")) or row["side"] not in (1, -1):
        yield f"side {show(row.get('side'))} is neither 1 nor -1"
        return
    if row.get("tier") not in TIERS:
        yield f"tier {show(row.get('tier'))} is neither A nor B"
    for name in (*PRICES, *FIGURES, *MAYBE):
        value = row.get(name)
        if value is None and name in MAYBE and name in row:
            continue
        if not is_number(value):
            yield f"{name} {show(value)} is no finite number"
            return
        if name in (*PRICES, *MAYBE) and not value > 0:  # type: ignore[operator]  # checked to be a number above
            yield f"{name} {value!r} is not above zero"
    for name in ("rank", "confluence"):
        if not is_whole(row.get(name)) or row[name] < 1:
            yield f"{name} {show(row.get(name))} is no count from 1 on"
    if not isinstance(row.get("execute"), bool):
        yield f"execute {show(row.get('execute'))} is neither true nor false"
    if not is_day(row.get("anchor_date")):
        yield f"anchor_date {show(row.get('anchor_date'))} is no day"
    side = row["side"]
    if not side * (row["level"] - row["stop"]) > 0:
        yield f"its stop {row['stop']} is not behind its level {row['level']}"
    if not side * (row["r1"] - row["level"]) >= 0:
        yield f"its first target {row['r1']} is not beyond its level {row['level']}"
    if not side * (row["r2"] - row["r1"]) >= 0:
        yield f"its second target {row['r2']} is not beyond its first {row['r1']}"


def _word_problems(row: Row, names: Sequence[str]) -> Iterator[str]:
    """Words reach the ledger, the log and a terminal: each is short, and of letters that can be shown."""
    for name in names:
        word = row.get(name)
        if not isinstance(word, str):
            yield f"{name} is missing"
        elif not is_word(word) or (name == "symbol" and not is_symbol(word)):
            yield f"{name} {show(word)} is no {name}"


def _anchor_problems(row: Row) -> Iterator[str]:
    yield from _word_problems(row, ANCHOR_WORDS)
    if not isinstance(row.get("rule_version"), str | int):
        yield "rule_version is missing"
    if not is_day(row.get("anchor_date")) or not is_day(row.get("known_date")):
        yield "anchor_date or known_date is no day"
    elif row["known_date"] < row["anchor_date"]:
        yield "it was known before it was there"


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12 and math.isfinite(value)


def is_day(value: object) -> bool:
    """A yyyymmdd number that the calendar has."""
    if not isinstance(value, int) or isinstance(value, bool) or not 10_000_000 <= value <= 99_999_999:
        return False
    try:
        date(value // 10_000, value // 100 % 100, value % 100)
    except ValueError:
        return False
    return True


def records(rows: Sequence[Row], scan_date: int, symbols: Sequence[str]) -> tuple[NDArray[np.void], tuple[str, ...]]:
    """(WATCH records of the rows whose symbol is in `symbols`, the other rows' symbols)."""
    index = {symbol: i for i, symbol in enumerate(symbols)}
    known = [row for row in rows if row["symbol"] in index]
    found = np.zeros(len(known), WATCH)
    for record, row in zip(found, known, strict=True):
        record["symbol"], record["scan_date"], record["side"] = index[row["symbol"]], scan_date, row["side"]
        record["tier"], record["execute"] = TIERS[row["tier"]], row["execute"]
        for name in ("level", "stop", *FIGURES):
            record[name] = row[name]
        for name in MAYBE:
            record[name] = math.nan if row[name] is None else row[name]
    return found, tuple(row["symbol"] for row in rows if row["symbol"] not in index)
