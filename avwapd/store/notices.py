"""What is to be told to a human: a queue in the ledger, so that neither a dead channel nor a restart loses a word.

Plain functions over a connection, each called inside a transaction of the writer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from avwapd.store.sql import Connection, load

SQL = load("queries.sql")
MOST_TITLE, MOST_BODY = 300, 4000  # letters
MOST_DUE = 500


class Notice(NamedTuple):
    """times: how often it was said while it waited; attempts: how often it could not be delivered."""

    id: int
    ts_ms: int
    event: str
    level: str
    title: str
    body: str
    times: int
    attempts: int


class Waiting(NamedTuple):
    """critical_ms: when the oldest critical one was said, None without one."""

    number: int
    critical_ms: int | None


def put(conn: Connection, ts_ms: int, event: str, level: str, title: str, body: str = "") -> int:
    """Queue it; the same event and title while one waits is counted there. Returns its id."""
    title, body = title[:MOST_TITLE], body[:MOST_BODY]
    same = conn.execute(SQL["say_again"], (event, title, body)).fetchall()
    if same:
        return int(same[0][0])
    [(number,)] = conn.execute(SQL["say"], (ts_ms, event, level, title, body)).fetchall()
    return int(number)


def due(conn: Connection) -> list[Notice]:
    """What waits, critical first, then in order."""
    return [Notice(*row) for row in conn.execute(SQL["notices_due"], (MOST_DUE,)).fetchall()]


def settle(conn: Connection, ids: Iterable[int], state: str, now_ms: int, note: str = "") -> None:
    """state: delivered | summed (told as one of many) | given_up. What was delivered marks its alerts."""
    for number in ids:
        conn.execute(SQL["settle_notice"], (state, now_ms, note, number))
        if state != "given_up":
            conn.execute(SQL["alerts_told"], (number,))


def failed(conn: Connection, ids: Iterable[int], why: str) -> None:
    """They stay in the queue."""
    conn.executemany(SQL["notice_failed"], [(why, number) for number in ids])


def give_up(conn: Connection, before_ms: int, now_ms: int, why: str) -> int:
    """What was said before and still waits will not be told any more; how many."""
    return len(conn.execute(SQL["give_up_notices"], (now_ms, why, before_ms)).fetchall())


def sent(conn: Connection, since_ms: int, now_ms: int) -> int:
    """Messages that left in a span; several notices in one message are settled at one time."""
    (count,) = conn.execute(SQL["notices_sent"], (since_ms, now_ms)).fetchone()
    return int(count)


def waiting(conn: Connection) -> Waiting:
    return Waiting(*conn.execute(SQL["notices_waiting"]).fetchone())


def untold(conn: Connection) -> int:
    """Alerts above info of which nobody was told."""
    (count,) = conn.execute(SQL["alerts_untold"]).fetchone()
    return int(count)


def traded(conn: Connection, since_ms: int, until_ms: int) -> tuple[int, int]:
    """Executions and trades ended in a span of market time."""
    fills, trades = conn.execute(SQL["day_fills"], (since_ms, until_ms)).fetchone()
    return int(fills), int(trades)
