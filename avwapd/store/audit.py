"""The invariants over a ledger, offline or through a reader: the same code for tests, daemon and operator."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from avwapd.store.ids import client_id, is_ours
from avwapd.store.sql import Connection, load
from avwapd.store.watchlist import of_body, version_of

CHECKS = load("audit.sql")
SQL = load("queries.sql")
IN_DOUBT_MS = 600_000
SHOWN = 20  # of one check: a broken ledger should not answer with a million lines


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that the rows do not keep: which one, where, and what is there instead."""

    check: str  # its name in audit.sql, such as i4_position
    where: str
    what: str

    @property
    def invariant(self) -> str:
        return self.check.partition("_")[0].upper()

    def __str__(self) -> str:
        return f"{self.invariant} {self.where}: {self.what}"


def audit(
    conn: Connection,
    *,
    account: str | None = None,
    strategy: str | None = None,
    since_ms: int = 0,
    in_doubt_ms: int = IN_DOUBT_MS,
) -> list[Violation]:
    """Every violation found, at most SHOWN of a kind.

    With `account` and `strategy` each order id is derived again. `since_ms` spares older bars and decisions.
    """
    limits = {"since_ms": since_ms, "in_doubt_ms": in_doubt_ms}
    found: list[Violation] = []
    for name, query in CHECKS.items():
        rows = conn.execute(f"SELECT * FROM (\n{query}\n) LIMIT {SHOWN}", _named(query, limits)).fetchall()
        found += [Violation(name, str(where), str(what)) for where, what in rows]
    for check in (_ids(conn, account, strategy), _snapshots(conn), _lists(conn)):
        found += itertools.islice(check, SHOWN)
    return found


def _named(query: str, limits: dict[str, int]) -> dict[str, int]:
    """Only what the query names: some drivers refuse the rest."""
    return {key: value for key, value in limits.items() if f":{key}" in query}


def _ids(conn: Connection, account: str | None, strategy: str | None) -> Iterator[Violation]:
    """Ids look like ours, and those of orders follow from the decision."""
    for (cid,) in conn.execute(SQL["audit_ids"]):
        if not is_ours(cid):
            yield Violation("i1_foreign_id", cid, "not an id of this program")
    if account is None or strategy is None:
        return
    for cid, symbol, ts_ms, purpose, intent in conn.execute(SQL["audit_orders"]):
        derived = client_id(account, strategy, symbol, ts_ms, purpose, intent)
        if cid != derived:
            yield Violation("i1_derived_id", cid, f"its decision derives {derived}")


def _lists(conn: Connection) -> Iterator[Violation]:
    for seq, body in conn.execute(SQL["audit_lists"]):
        listed = of_body(body)
        if version_of(listed.scan_date, listed.rows, listed.anchors) != listed.version:
            yield Violation("i3_watchlist_version", f"input {seq}", "the list's version is not the hash of its content")


def _snapshots(conn: Connection) -> Iterator[Violation]:
    for seq, _, body, sha256 in conn.execute(SQL["snapshots"]):
        if hashlib.sha256(body).hexdigest() != sha256:
            yield Violation("i3_snapshot", f"snapshot {seq}", "its hash does not hold")
