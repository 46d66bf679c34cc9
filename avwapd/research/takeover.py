"""What a backtest cannot know of a run and takes from its record: as little as there is, and counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from avwapd.core import codes
from avwapd.core.codes import BAR_CADENCE, BAR_LATE, BAR_MISSING, BAR_RETRY
from avwapd.core.records import ACTION, REPORT
from avwapd.feeds.standing import WHO
from avwapd.research.record import Record
from avwapd.research.scripted import (
    ADJUSTED,
    ALL,
    CAUGHT_UP,
    HEARD,
    LISTED,
    OF_THE_VENUE,
    REFUSED,
    RESTATED,
    Event,
    Key,
    Script,
)
from avwapd.settings import limits_in
from avwapd.store.notes import told_short
from avwapd.store.watchlist import of_body, records

Orders = Mapping[str, tuple[int, int]]  # order id -> symbol, intent


def script_of(record: Record, *, embedded: bool, remote: bool = False) -> Script:
    """The script of a run. embedded: a replay whose feed has no outages but those of a drill, so that no other mark
    is explained.

    remote: at a venue across a network; its words, adjustments and restatements are taken as they came.
    """
    flags: dict[Key, int] = {}
    missing: dict[Key, int] = {}
    after_downtime = record.ask("catch_ups").fetchall()
    cut_short = told_short(record.conn)
    under_way = 0
    drilled = {ts_ms for (ts_ms,) in record.ask("drilled")}
    for ts_ms, symbol, found, seq in record.ask("marked_bars"):
        taken = found & BAR_RETRY
        if not embedded:
            taken |= found & BAR_CADENCE
            # Late are the bars between a start and the end of its catch-up, or the orderly end inside it; no others.
            open_ended = bool(cut_short) and seq > cut_short
            taken |= found & BAR_LATE if open_ended or any(begin < seq < end for end, begin in after_downtime) else 0
            under_way += bool(open_ended and taken & BAR_LATE)
        if found & BAR_MISSING and (not embedded or ts_ms in drilled):
            missing[ts_ms, symbol] = taken  # where the bar comes after all, its own row may be marked otherwise
        elif taken:
            flags[ts_ms, symbol] = taken
    return Script(
        flags=flags,
        under_way=under_way,
        missing=missing,
        order=() if embedded and not drilled else order_of(record),
        events=tuple(events_of(record, remote=remote)),
        refusals={} if remote else refusals_of(record),
        unheard=frozenset() if remote else frozenset((symbol, intent) for symbol, intent in record.ask("unheard")),
        remote=remote,
        corrected={(row[0], row[1]): row[2:] for row in record.ask("revised_bars")},
        too_late=frozenset((ts_ms, symbol) for ts_ms, symbol in record.ask("late_bars")),
    )


def refusals_of(record: Record) -> dict[Key, int]:
    """Orders that never reached the venue, and the word about them."""
    return {(symbol, intent): codes.REPORTS.index(kind) for symbol, intent, kind in record.ask("refusals")}


def order_of(record: Record) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Every barrier in turn, where one time had several; else nothing."""
    if not record.ask("unlike_barriers").fetchone()[0]:
        return ()
    rows = groupby(record.ask("barriers"), key=lambda row: (row[0], row[1]))
    return tuple((ts_ms, tuple(row[2] for row in bars)) for (_, ts_ms), bars in rows)


def events_of(record: Record, *, remote: bool) -> Iterator[Event]:
    """Acts, lists and ends of catch-ups in their places; at a remote venue also whatever came from there."""
    orders = {cid: (symbol, intent) for cid, symbol, intent in record.ask("order_ids")}
    newest_ms = turned_back = words = 0
    for kind, ts_ms, symbol, body in record.ask("inputs"):
        if kind == "bars":
            turned_back = 0 if ts_ms > newest_ms else turned_back + 1
            newest_ms, words = max(newest_ms, ts_ms), 0
            continue
        if kind == "report" and not remote:
            words += 1
            continue
        event = event_of(record, orders, kind, ts_ms, symbol, body, remote=remote)
        if event is not None and (remote or event.kind not in OF_THE_VENUE):
            yield replace(event, after_ms=newest_ms, turned_back=turned_back, words=words)


def event_of(
    record: Record, orders: Orders, kind: str, ts_ms: int, symbol: int | None, body: str, *, remote: bool
) -> Event | None:
    """One input, without its place; None for a word about no order of ours, which only moved the cursor."""
    where = ALL if symbol is None else symbol
    if kind == "caught_up":
        return Event(0, 0, CAUGHT_UP)
    if kind == "watchlist":
        listed = of_body(body)
        rows, _ = records(listed.rows, listed.scan_date, record.symbols)
        return Event(0, 0, LISTED, rows=rows)
    if kind == "restate":
        actions = [(ts_ms, *row) for row in json.loads(body)]
        return Event(0, 0, RESTATED, rows=np.array(actions, ACTION), ts_ms=ts_ms)
    told = json.loads(body)
    if kind == "adjust":
        change = (told["qty"], told["price_ticks"], told["fee_units"])
        return Event(0, 0, ADJUSTED, where, ts_ms=ts_ms, change=change)
    if kind == "report":
        if told["cid"] not in orders or "unknown" in told:
            return None
        return Event(0, 0, HEARD if told["number"] else REFUSED, rows=word_of(told, orders))
    if told["who"] == WHO and not remote:
        return None  # computed anew, from the archive and the lists
    kind_of = codes.act_kind(told["kind"])
    limits = limits_in(told["reason"]) if kind_of == codes.ACT_GATE + codes.OUTER_LIMITS else None
    return Event(0, 0, kind_of, where, bool(told["freeze"]), limits=limits)


def word_of(told: Mapping[str, Any], orders: Orders) -> Any:
    """The REPORT record of a journaled word; purpose and side are not in it."""
    rows = np.zeros(1, REPORT)
    row = rows[0]
    symbol, intent = orders[told["cid"]]
    row["ts_ms"], row["symbol"], row["intent"] = told["ts_ms"], symbol, intent
    row["ref"] = orders.get(told["ref_cid"], (symbol, 0))[1]
    row["kind"], row["final"] = codes.REPORTS.index(told["kind"]), told["final"]
    row["cum_qty"], row["last_qty"], row["price"] = told["cum_qty"], told["last_qty"], told["price_ticks"]
    row["fee"], row["fee_lots"] = told["fee_units"], told["fee_lots"]
    return rows
