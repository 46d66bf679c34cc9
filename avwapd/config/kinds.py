"""The kinds of value a setting may have: what each accepts, and the words that ask for it."""

from __future__ import annotations

import math
import re
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any, ClassVar, Final

TIMEFRAME_MS: Final[Mapping[str, int]] = MappingProxyType(
    {
        word: count * unit
        for unit, letter, counts in (
            (60_000, "m", (1, 2, 3, 5, 10, 15, 20, 30)),
            (3_600_000, "h", (1, 2, 4, 6, 8, 12)),
            (86_400_000, "d", (1,)),
        )
        for count in counts
        for word in (f"{count}{letter}",)
    }
)
MOMENT_WORDS = "ts_ms, a date like 2024-05-02 or a time with its zone like 2024-05-02T13:35:00Z"
EARLIEST_MS, LATEST_MS = (
    100_000_000_000,
    4_102_444_800_000,
)  # 1973: what is smaller was meant as seconds; 2100


class Unfit(ValueError):
    """A value that is not of its kind; the message says what was wanted."""


def moment_ms(raw: object, *, end: bool = False) -> int:
    """A point in time as `ts_ms`. A bare date means its first bar, or with `end` its last one (UTC)."""
    if isinstance(raw, str):
        raw = int(raw) if raw.isascii() and raw.isdigit() and len(raw) <= 15 else _iso(raw.strip())
    if isinstance(raw, datetime):
        if raw.tzinfo is None:
            raise Unfit("needs its zone, like 2024-05-02T13:35:00Z or +02:00")
        found = round(raw.timestamp() * 1000)
    elif isinstance(raw, date):
        midnight = datetime(raw.year, raw.month, raw.day, tzinfo=UTC)
        # A bar is named by its close: the one that ends at midnight belongs to the day before.
        found = round(midnight.timestamp() * 1000) + (86_400_000 if end else 1)
    elif isinstance(raw, int) and not isinstance(raw, bool):
        found = raw
    else:
        raise Unfit(f"must be {MOMENT_WORDS}")
    if not EARLIEST_MS <= found <= LATEST_MS:
        raise Unfit("must lie between 1973 and 2100, in milliseconds")
    return found


def _iso(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
    except ValueError:
        raise Unfit(f"must be {MOMENT_WORDS}") from None


@dataclass(frozen=True, slots=True)
class Kind(ABC):
    """One kind of value. `read` takes what TOML gives, `text` what the environment or an option gives."""

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What may stand there, with its unit: "must be …"."""

    @abstractmethod
    def read(self, raw: object) -> Any: ...

    def text(self, text: str) -> Any:
        try:
            found = parsed(f"value = {text}")
        except (ValueError, RecursionError):
            return self.read(text)
        return self.read(found["value"] if len(found) == 1 else text)


@dataclass(frozen=True, slots=True)
class Number(Kind):
    low: float
    high: float
    unit: str

    @property
    def allowed(self) -> str:
        return f"a number from {self.low:g} to {self.high:g} ({self.unit})"

    def read(self, raw: object) -> float:
        fits = isinstance(raw, int | float) and not isinstance(raw, bool)
        if not (fits and self.low <= raw <= self.high):  # type: ignore[operator]  # `fits` says a number
            raise Unfit(f"must be {self.allowed}")
        return float(raw)  # type: ignore[arg-type]  # a number, see above


@dataclass(frozen=True, slots=True)
class Whole(Kind):
    low: int
    high: int
    unit: str

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high} ({self.unit})"

    def read(self, raw: object) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool) or not self.low <= raw <= self.high:
            raise Unfit(f"must be {self.allowed}")
        return raw


@dataclass(frozen=True, slots=True)
class Flag(Kind):
    @property
    def allowed(self) -> str:
        return "true or false"

    def read(self, raw: object) -> bool:
        if not isinstance(raw, bool):
            raise Unfit(f"must be {self.allowed}")
        return raw

    def text(self, text: str) -> bool:
        return self.read({"true": True, "false": False}.get(text.strip().lower(), text))


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.words)}"

    def read(self, raw: object) -> str:
        if not isinstance(raw, str) or raw not in self.words:
            raise Unfit(f"must be {self.allowed}")
        return raw

    def text(self, text: str) -> str:
        return self.read(text)


@dataclass(frozen=True, slots=True)
class Text(Kind):
    pattern: str
    wanted: str

    @property
    def allowed(self) -> str:
        return self.wanted

    def read(self, raw: object) -> str:
        if not isinstance(raw, str) or not re.fullmatch(self.pattern, raw, re.ASCII):
            raise Unfit(f"must be {self.allowed}")
        return raw

    def text(self, text: str) -> str:
        return self.read(text)


@dataclass(frozen=True, slots=True)
class Speed(Kind):
    pace: ClassVar[Number] = Number(0.001, 1e6, "market seconds a second")

    @property
    def allowed(self) -> str:
        return f'{self.pace.allowed}, or "max"'

    def read(self, raw: object) -> float:
        if raw == "max":
            return math.inf
        try:
            return self.pace.read(raw)
        except Unfit:
            raise Unfit(f"must be {self.allowed}") from None


@dataclass(frozen=True, slots=True)
class Moment(Kind):
    """`None` for an empty text."""

    end: bool = False

    @property
    def allowed(self) -> str:
        return f"{MOMENT_WORDS}; or empty"

    def read(self, raw: object) -> int | None:
        return None if raw == "" else moment_ms(raw, end=self.end)

    def text(self, text: str) -> int | None:
        return self.read(text)


@dataclass(frozen=True, slots=True)
class Instant(Kind):
    """A point in time that has to be there."""

    @property
    def allowed(self) -> str:
        return MOMENT_WORDS

    def read(self, raw: object) -> int:
        return moment_ms(raw)


@dataclass(frozen=True, slots=True)
class List(Kind):
    item: Kind
    most: int

    @property
    def allowed(self) -> str:
        return f"a list of up to {self.most}, each {self.item.allowed}"

    def read(self, raw: object) -> tuple[Any, ...]:
        if not isinstance(raw, list | tuple):
            raise Unfit("must be a list")
        if len(raw) > self.most:
            raise Unfit(f"must not have more than {self.most} entries")
        found = []
        for position, value in enumerate(raw, 1):
            try:
                found.append(self.item.read(value))
            except Unfit as unfit:
                raise Unfit(f"has a bad entry, number {position}: {show(value)} {unfit}") from None
        if len(set(found)) < len(found):
            raise Unfit("must not name anything twice")
        return tuple(found)

    def text(self, text: str) -> tuple[Any, ...]:
        if text.lstrip().startswith("["):
            return Kind.text(self, text)  # type: ignore[no-any-return]  # the list it parsed
        return self.read([part.strip() for part in text.split(",") if part.strip()])


@dataclass(frozen=True, slots=True)
class Table(Kind):
    """A table whose keys are the user's own; layers add to it entry by entry."""

    key: Text
    value: Kind
    most: int

    @property
    def allowed(self) -> str:
        return f"a table of up to {self.most}: {self.key.allowed} = {self.value.allowed}"

    def read(self, raw: object) -> Mapping[str, Any]:
        if not isinstance(raw, Mapping):
            raise Unfit("must be a table")
        if len(raw) > self.most:
            raise Unfit(f"must not have more than {self.most} entries")
        return MappingProxyType({name: self.entry(name, value, self.value.read) for name, value in raw.items()})

    def entry(self, name: str, value: Any, read: Callable[[Any], Any]) -> Any:
        """The checked value of one entry."""
        try:
            self.key.read(name)
        except Unfit as unfit:
            raise Unfit(f"has a bad key: {show(name)} {unfit}") from None
        try:
            return read(value)
        except Unfit as unfit:
            raise Unfit(f"has a bad entry: {name} = {show(value)} {unfit}") from None


# The parser of the standard library takes time by the square of a dotted key's length.
_DOTTED = re.compile(r"""(?<![\w"'-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){16}""", re.ASCII)


def parsed(text: str) -> dict[str, Any]:
    """TOML, or a ValueError or RecursionError, within bounds of time."""
    if _DOTTED.search(text):
        raise ValueError("a key of more than 16 parts")
    return tomllib.loads(text)


def show(raw: object) -> str:
    """A refused value in a message: short, without an address's password, and never a second failure."""
    try:
        text = repr(raw)
    except (ValueError, RecursionError):
        text = f"a {type(raw).__name__} too big to show"
    text = text.encode("ascii", "backslashreplace").decode() if not text.isprintable() else text
    text = masked(text[:400])
    return text if len(text) <= 60 else f"{text[:57]}..."


def masked(text: str) -> str:
    """An address without who logs in there, and without its query."""
    text = re.sub(r"(://)[^/\s@'\"]{1,300}@", r"\1***@", text)
    return re.sub(r"(://[^\s?'\"]{1,300}\?)[^\s'\"]+", r"\1***", text)
