"""What operators asked for over the control socket, kept before it is done and completed after; and alerts as read.

The row before the act is what makes asking twice act once: a key that is there is never acted on again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from avwapd.store.questions import SQL, asked, rows_of

SHOWN = 200


class Deed(NamedTuple):
    """One row of `acts`. status None: under way, or the process ended in the middle of it."""

    id: int
    ts_ms: int
    who: str
    verb: str
    body: str
    status: int | None
    answer: str


def begin(
    conn: sqlite3.Connection, *, ts_ms: int, who: str, verb: str, body: str, key: str | None
) -> tuple[int, Deed | None]:
    """Note an act that is about to be done. With the row that bears its key already, where there is one: act not."""
    if key is not None and (found := conn.execute(SQL["act_of_key"], (key,)).fetchone()) is not None:
        return int(found[0]), Deed(*found)
    (number,) = conn.execute(SQL["begin_act"], (ts_ms, who, verb, body, key)).fetchone()
    return int(number), None


def end(conn: sqlite3.Connection, *, number: int, status: int, answer: str) -> None:
    """What came of it."""
    conn.execute(SQL["end_act"], (status, answer, number))


def refused(conn: sqlite3.Connection, *, ts_ms: int, who: str, verb: str, body: str, status: int, answer: str) -> None:
    """An act that was not begun at all. It does not use up its key: nothing was done under it."""
    (number,) = conn.execute(SQL["begin_act"], (ts_ms, who, verb, body, None)).fetchone()
    conn.execute(SQL["end_act"], (status, answer, number))


def newest(database: Path) -> list[dict[str, Any]]:
    """The newest acts, in words."""
    with asked(database) as conn:
        return rows_of(conn, SQL["ask_acts"], (SHOWN,))


def alerts(database: Path, *, unread: bool) -> list[dict[str, Any]]:
    """The newest alerts."""
    with asked(database) as conn:
        return rows_of(conn, SQL["ask_alerts"], (int(unread), SHOWN))


def turns(database: Path) -> list[dict[str, Any]]:
    """Of each gate and symbol the last turn."""
    with asked(database) as conn:
        return rows_of(conn, SQL["ask_gates"])


def acknowledge(conn: sqlite3.Connection, number: int | None) -> int:
    """Mark an alert as read, or all of them (None); how many there were."""
    sql, given = (SQL["read_alerts"], ()) if number is None else (SQL["read_alert"], (number,))
    with closing(conn.execute(sql, given)) as cursor:
        return cursor.rowcount


def is_alert(conn: sqlite3.Connection, number: int) -> bool:
    return conn.execute(SQL["alert_exists"], (number,)).fetchone() is not None
