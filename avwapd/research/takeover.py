"""What a backtest cannot know of a run and takes from its record: as little as there is, and counted."""

from __future__ import annotations

import json
from itertools import groupby

from avwapd.core import codes
from avwapd.core.codes import BAR_CADENCE, BAR_LATE, BAR_MISSING, BAR_RETRY
from avwapd.research.record import Record
from avwapd.research.scripted import ALL, CAUGHT_UP, LISTED, Event, Key, Script
from avwapd.store.watchlist import of_body, records


def script_of(record: Record, *, embedded: bool) -> Script:
    """The script of a run. embedded: a replay whose feed has no outages, so that it has no mark to explain."""
    flags: dict[Key, int] = {}
    missing: set[Key] = set()
    after_downtime = record.ask("catch_ups").fetchall()
    for ts_ms, symbol, found, seq in record.ask("marked_bars"):
        taken = found & BAR_RETRY
        if not embedded:
            taken |= found & BAR_CADENCE
            # Late are the bars between a start and the end of its catch-up, no others.
            taken |= found & BAR_LATE if any(begin < seq < end for end, begin in after_downtime) else 0
            if found & BAR_MISSING:
                missing.add((ts_ms, symbol))
        if taken:
            flags[ts_ms, symbol] = taken
    return Script(
        flags=flags,
        missing=frozenset(missing),
        order=() if embedded else order_of(record),
        events=tuple(events_of(record)),
        refusals={(symbol, intent): codes.REPORTS.index(kind) for symbol, intent, kind in record.ask("refusals")},
        unheard=frozenset((symbol, intent) for symbol, intent in record.ask("unheard")),
    )


def order_of(record: Record) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Every barrier in turn, where one time had several; else nothing."""
    if not record.ask("unlike_barriers").fetchone()[0]:
        return ()
    rows = groupby(record.ask("barriers"), key=lambda row: (row[0], row[1]))
    return tuple((ts_ms, tuple(row[2] for row in bars)) for (_, ts_ms), bars in rows)


def events_of(record: Record) -> list[Event]:
    """Acts, lists and ends of catch-ups in their places."""
    found = []
    for kind, symbol, body, after_ms, words in record.ask("events"):
        if kind == "caught_up":
            found.append(Event(after_ms, words, CAUGHT_UP))
        elif kind == "watchlist":
            listed = of_body(body)
            rows, _ = records(listed.rows, listed.scan_date, record.symbols)
            found.append(Event(after_ms, words, LISTED, rows=rows))
        else:
            act = json.loads(body)
            where = ALL if symbol is None else symbol
            found.append(Event(after_ms, words, codes.ACTS.index(act["kind"]), where, bool(act["freeze"])))
    return found
