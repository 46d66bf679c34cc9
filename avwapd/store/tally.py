"""How far a ledger went, from the file alone: whether anything was traded between two moments.

Only the standard library: deploy asks before and after, also of a ledger that another version wrote.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tally:
    schema: int
    inputs: int
    requests: int  # rows of the outbox: orders, replaces, cancels
    fills: int

    def traded_since(self, before: Tally) -> bool:
        """Whether anything left for the venue, or came from it, after `before`."""
        return (self.requests, self.fills) != (before.requests, before.fills)


def tally(database: Path) -> Tally | None:
    """None where there is no ledger."""
    if not database.is_file():
        return None
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as conn:
        (schema,) = conn.execute("PRAGMA user_version").fetchone()
        counts = [conn.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("inputs", "outbox", "fills")]
    return Tally(schema, *counts)
