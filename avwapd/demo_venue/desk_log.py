"""The desk's own file: what it was told and what it decided, one JSON object a line, written before it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from avwapd.demo_venue.desk_shapes import Order


class DeskLog:
    """A line outlives the process as soon as `add` returns. A torn last line is what a kill leaves: it is cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        self._lines = whole.splitlines()
        self._file = path.open("ab", buffering=0)
        self._file.truncate(len(whole))

    def saved(self) -> Iterator[dict[str, Any]]:
        """The lines of earlier processes, once."""
        lines, self._lines = self._lines, []
        for line in lines:
            self.count += 1
            yield orjson.loads(line)

    def add(self, line: dict[str, Any]) -> None:
        self.count += 1
        self._file.write(orjson.dumps(line, default=str) + b"\n")

    def close(self) -> None:
        self._file.close()


DECIMALS = ("qty", "limit", "stop")


def order_facts(order: Order) -> dict[str, Any]:
    """What an order was when it came in, as a line keeps it."""
    kept = ("number", "id", "client_id", "symbol", "side", "type", "tif", "created_ms", "extra", "expires_ms")
    facts = {name: getattr(order, name) for name in (*kept, "shown_ms", "replaces")}
    return facts | {name: None if (value := getattr(order, name)) is None else str(value) for name in DECIMALS}


def order_of(facts: dict[str, Any]) -> Order:
    """The order of `order_facts`."""
    known = {field.name for field in fields(Order)}
    given = {name: value for name, value in facts.items() if name in known}
    numbers = {name: None if facts[name] is None else Decimal(facts[name]) for name in DECIMALS}
    return Order(**{**given, **numbers}, status="pending", updated_ms=facts["created_ms"])
