"""Named SQL: every statement lives in a .sql file beside this one and is asked for by name."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_TAIL = re.compile(r"(\s*^--.*$)+\Z", re.MULTILINE)  # comments after a block introduce the next one


class Cursor(Protocol):
    """What the ledger's functions ask of a cursor."""

    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """The seam the ledger stands on: sqlite3 in the daemon, another driver where a test cuts the power."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Cursor: ...
    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor: ...


@cache
def read(name: str) -> str:
    """The text of a .sql file of this package."""
    return files("avwapd.store").joinpath(name).read_text(encoding="utf-8")


@cache
def load(name: str) -> Mapping[str, str]:
    """The `-- name: xyz` blocks of a .sql file; a doubled name is a mistake."""
    _, *parts = _NAME.split(read(name))
    blocks: dict[str, str] = {}
    for key, text in zip(parts[::2], parts[1::2], strict=True):
        if key in blocks:
            raise ValueError(f"{name}: two blocks are named {key}")
        blocks[key] = _TAIL.sub("", text.strip()).rstrip(";")
    return MappingProxyType(blocks)


def statements(script: str) -> Iterator[str]:
    """Split a script, keeping trigger bodies whole: `executescript` would commit the running transaction."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    if any(line.strip() and not line.lstrip().startswith("--") for line in pending.splitlines()):
        raise ValueError(f"unfinished statement: {pending.strip()[:80]}")


def in_transaction(conn: sqlite3.Connection) -> bool:
    """Asked anew each time: a checker would take the attribute for constant."""
    return conn.in_transaction


def transact(fn: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
    """Wrap `fn` into one BEGIN IMMEDIATE … COMMIT; on any error nothing of it remains."""

    def whole(conn: sqlite3.Connection) -> T:
        if in_transaction(conn):
            raise AssertionError("a transaction was left open")
        conn.execute("BEGIN IMMEDIATE")
        try:
            result = fn(conn)
            if not in_transaction(conn):
                raise AssertionError("a function ended the transaction it was given")
            conn.execute("COMMIT")
        finally:
            if in_transaction(conn):
                conn.execute("ROLLBACK")
        return result

    return whole
