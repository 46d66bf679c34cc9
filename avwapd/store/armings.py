"""Who armed the account for live trading and until when; and what a ledger says for and against it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from avwapd.store import StoreError
from avwapd.store.ledger import SQL
from avwapd.store.reader import open_reader, reading
from avwapd.store.sql import Connection


class Arming(NamedTuple):
    """An arming that nobody has ended; it may have run out."""

    id: int
    ts_ms: int
    who: str
    until_ms: int


class Outlook(NamedTuple):
    """unread: critical alerts that reached nobody, the oldest since unread_ms; first_day: of the first live entry."""

    unread: int
    unread_ms: int
    first_day: int | None


def standing(conn: Connection, account: str) -> Arming | None:
    """The account's arming, should it have one."""
    row = conn.execute(SQL["standing_arming"], (account,)).fetchone()
    return None if row is None else Arming(*row)


def put(conn: Connection, *, ts_ms: int, who: str, account: str, until_ms: int) -> Arming:
    """A new arming in the place of one that stands."""
    end(conn, account, ts_ms, "armed anew")
    [(number,)] = conn.execute(SQL["arm"], (ts_ms, who, account, until_ms)).fetchall()
    return Arming(number, ts_ms, who, until_ms)


def end(conn: Connection, account: str, ts_ms: int, reason: str) -> bool:
    """End what stands; False where nothing did."""
    return bool(conn.execute(SQL["end_arming"], (ts_ms, reason, account)).fetchall())


def outlook(conn: Connection) -> Outlook:
    """What the gates of mode live ask of the ledger."""
    unread, since = conn.execute(SQL["unread_critical"]).fetchone()
    (day,) = conn.execute(SQL["first_live_day"]).fetchone()
    return Outlook(int(unread), int(since), day)


def integrity(database: Path) -> str:
    """What SQLite finds wrong with the ledger, "" where nothing; over a connection of its own."""
    try:
        with reading(database), closing(open_reader(database)) as conn:
            (verdict,) = conn.execute(SQL["quick_check"]).fetchone()
    except StoreError as error:
        return str(error)
    return "" if verdict == "ok" else str(verdict)
