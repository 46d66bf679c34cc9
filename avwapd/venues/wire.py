"""How the exchange's process and its client write to each other: JSON objects with exactly the port's fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

import orjson

T = TypeVar("T")

INT64 = 1 << 63
BODY_BYTES = 32 * 1024 * 1024  # of a request or an answer, at most
OVER_HEADER = "X-Market-Over"  # 1: the market has closed its last bar, and this answer gave it


@dataclass(frozen=True, slots=True)
class Address:
    """Where an exchange's process listens: a socket file, or host and port."""

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """unix:PATH | [tcp:]HOST:PORT. Raises ValueError."""
        if text.startswith("unix:"):
            return cls(path=text.removeprefix("unix:"))
        host, colon, port = text.removeprefix("tcp:").rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65_535:
            raise ValueError(f"{text}: neither unix:PATH nor tcp:HOST:PORT")
        return cls(host=host, port=int(port))

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"tcp:{self.host}:{self.port}"


_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def shaped(kind: type[T], value: object) -> T:
    """A dataclass of plain fields from a JSON object; raises ValueError where it is not exactly that."""
    shape = _hints(kind)
    if not isinstance(value, dict) or value.keys() != shape.keys():
        raise ValueError(f"not the fields of a {kind.__name__}")
    for name, wanted in shape.items():
        given = value[name]
        if type(given) is not wanted or (wanted is int and not -INT64 <= given < INT64):
            raise ValueError(f"{kind.__name__}.{name} is no {wanted.__name__}")
    return kind(**value)


def parsed(body: bytes) -> dict[str, Any]:
    """A JSON object; raises ValueError."""
    value = orjson.loads(body)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
