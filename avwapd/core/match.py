"""The fill model: one for backtest, replay, the embedded venue and the simulation.

An order made on a bar's close works from the next session bar: a market order at its open, a stop where touched, a
limit where touched; at the open where the open is beyond a stop or better than a limit. Stops act before limits inside
a bar. Together the orders of one symbol take at most a share of the bar's volume; the rest of a triggered stop works on
at market. An order placed while a bar runs (a stop called for by a fill of that very bar) acts on what is left of it.
"""

from __future__ import annotations

from avwapd.compiled import compiled
from avwapd.core.codes import (
    ACKED,
    CANCEL,
    CANCEL_REFUSED,
    CANCELED,
    FILLED,
    LIMIT,
    MARKET,
    REJECTED,
    REPLACE,
    REPLACED,
    STOP,
)
from avwapd.core.price import scaled, to_lots, to_ticks
from avwapd.core.records import BOOK_SLOTS


@compiled
def report(out, n, ts_ms, order, kind, ref):
    """Append a REPORT about a RESTING order; returns the new count."""
    row = out[n]
    row["ts_ms"] = ts_ms
    row["symbol"] = order["symbol"]
    row["intent"] = order["intent"]
    row["ref"] = ref
    row["kind"] = kind
    row["purpose"] = order["purpose"]
    row["side"] = order["side"]
    row["final"] = 0
    row["cum_qty"] = order["filled"]
    row["last_qty"] = 0
    row["price"] = 0
    row["fee"] = 0
    row["fee_lots"] = 0
    return n + 1


@compiled
def slipped(price, side, inst):
    """A market or stop execution, in ticks, moved against the order by the slippage."""
    return price + side * scaled(price, inst["slippage_ppm"])


@compiled
def execute(book, order, price, inst, ts_ms, out, n):
    """Fill what the bar's budget allows at `price` ticks; returns the new report count."""
    qty = order["qty"] - order["filled"]
    if qty > book["budget"]:
        qty = book["budget"]
    if qty <= 0:
        return n
    book["budget"] -= qty
    order["filled"] += qty
    fee = scaled(price * qty, inst["commission_ppm"])
    if not order["charged"]:
        fee += inst["commission_units"]
        order["charged"] = 1
    n = report(out, n, ts_ms, order, FILLED, 0)
    row = out[n - 1]
    row["last_qty"] = qty
    row["price"] = price
    row["fee"] = fee
    if order["filled"] == order["qty"]:
        row["final"] = 1
        order["live"] = 0
        book["count"] -= 1
    return n


@compiled
def next_live(book, after):
    """Slot of the live order with the lowest sequence number above `after`, or -1."""
    best = -1
    for i in range(BOOK_SLOTS):
        order = book["orders"][i]
        if order["live"] and order["seq"] > after and (best < 0 or order["seq"] < book["orders"][best]["seq"]):
            best = i
    return best


@compiled
def at_open(book, order, open_, inst, ts_ms, out, n):
    """What the bar's first price does to an order: markets, gapped stops, limits that open better."""
    side = order["side"]
    if order["type"] == STOP and not order["triggered"] and side * (open_ - order["stop"]) >= 0:
        order["triggered"] = 1
    if order["type"] == MARKET or order["triggered"]:
        return execute(book, order, slipped(open_, side, inst), inst, ts_ms, out, n)
    if order["type"] == LIMIT and side * (open_ - order["limit"]) <= 0:
        return execute(book, order, open_, inst, ts_ms, out, n)
    return n


@compiled
def inside_bar(book, order, high, low, kind, inst, ts_ms, out, n):
    """What the bar's range does to an order of type `kind` that its open left alone."""
    side = order["side"]
    if order["type"] != kind or order["triggered"]:
        return n
    if kind == STOP:
        touched = high >= order["stop"] if side > 0 else low <= order["stop"]
        if touched:
            order["triggered"] = 1
            return execute(book, order, slipped(order["stop"], side, inst), inst, ts_ms, out, n)
        return n
    touched = low <= order["limit"] if side > 0 else high >= order["limit"]
    if touched and order["filled"] < order["qty"]:
        return execute(book, order, order["limit"], inst, ts_ms, out, n)
    return n


@compiled
def match_bar(book, bar, inst, share, out, n):
    """Run the resting orders of one symbol over one session bar.

    book: BOOK record, changed; bar: BAR record; inst: INSTRUMENT record; share: of the bar's volume that may trade;
    out: REPORT array, appended from n. Returns the new report count.
    """
    tick = inst["tick"]
    book["budget"] = to_lots(bar["volume"] * share, inst["lot"])
    if book["count"] == 0:
        return n
    open_ = to_ticks(bar["open"], tick)
    high = to_ticks(bar["high"], tick)
    low = to_ticks(bar["low"], tick)
    if book["count"] == 1:
        # Nearly always it is one resting stop: no order of acting to find out.
        order = book["orders"][next_live(book, 0)]
        n = at_open(book, order, open_, inst, bar["ts_ms"], out, n)
        if order["live"]:
            n = inside_bar(book, order, high, low, order["type"], inst, bar["ts_ms"], out, n)
        return n
    for step in range(3):
        seq = 0
        while True:
            i = next_live(book, seq)
            if i < 0:
                break
            order = book["orders"][i]
            seq = order["seq"]
            if step == 0:
                n = at_open(book, order, open_, inst, bar["ts_ms"], out, n)
            else:
                n = inside_bar(book, order, high, low, STOP if step == 1 else LIMIT, inst, bar["ts_ms"], out, n)
    return n


@compiled
def find(book, intent):
    """Slot of the live order made by `intent`, or -1."""
    for i in range(BOOK_SLOTS):
        if book["orders"][i]["live"] and book["orders"][i]["intent"] == intent:
            return i
    return -1


@compiled
def rest(book, effect):
    """Put the order of a submit or replace into a free slot; returns the slot, -1 where the book is full."""
    for i in range(BOOK_SLOTS):
        order = book["orders"][i]
        if order["live"]:
            continue
        book["seq"] += 1
        book["count"] += 1
        order["seq"] = book["seq"]
        order["qty"] = effect["qty"]
        order["filled"] = 0
        order["limit"] = effect["limit"]
        order["stop"] = effect["stop"]
        order["intent"] = effect["intent"]
        order["symbol"] = effect["symbol"]
        order["type"] = effect["type"]
        order["purpose"] = effect["purpose"]
        order["side"] = effect["side"]
        order["live"] = 1
        order["triggered"] = 0
        order["charged"] = 0
        return i
    return -1


@compiled
def refuse(effect, kind, ts_ms, out, n):
    """Append a report that carries no order of the book: a rejection or a refused cancel."""
    row = out[n]
    row["ts_ms"] = ts_ms
    row["symbol"] = effect["symbol"]
    row["intent"] = effect["ref"] if kind == CANCEL_REFUSED else effect["intent"]
    row["ref"] = effect["ref"]
    row["kind"] = kind
    row["purpose"] = effect["purpose"]
    row["side"] = effect["side"]
    row["final"] = 0
    row["cum_qty"] = 0
    row["last_qty"] = 0
    row["price"] = 0
    row["fee"] = 0
    row["fee_lots"] = 0
    return n + 1


@compiled
def act_on_running(book, order, bar, inst, out, n):
    """An order born inside a running bar: a stop that the bar reaches, a market order at the bar's open."""
    tick = inst["tick"]
    side = order["side"]
    open_ = to_ticks(bar["open"], tick)
    if order["type"] == MARKET:
        return execute(book, order, slipped(open_, side, inst), inst, bar["ts_ms"], out, n)
    if order["type"] != STOP:
        return n
    n = at_open(book, order, open_, inst, bar["ts_ms"], out, n)
    return inside_bar(
        book, order, to_ticks(bar["high"], tick), to_ticks(bar["low"], tick), STOP, inst, bar["ts_ms"], out, n
    )


@compiled
def place(book, effect, running, bar, inst, ts_ms, out, n):
    """Take an EFFECT (submit, replace, cancel) to the book; returns the new report count.

    running: True while `bar` is being matched, so that what it still reaches acts at once.
    """
    if effect["kind"] == CANCEL:
        i = find(book, effect["ref"])
        if i < 0:
            return refuse(effect, CANCEL_REFUSED, ts_ms, out, n)
        book["orders"][i]["live"] = 0
        book["count"] -= 1
        return report(out, n, ts_ms, book["orders"][i], CANCELED, 0)
    if effect["kind"] == REPLACE:
        i = find(book, effect["ref"])
        if i < 0 or book["orders"][i]["triggered"]:
            return refuse(effect, REJECTED, ts_ms, out, n)
        book["orders"][i]["live"] = 0
        book["count"] -= 1
    i = rest(book, effect)
    if i < 0:
        return refuse(effect, REJECTED, ts_ms, out, n)
    order = book["orders"][i]
    n = report(out, n, ts_ms, order, REPLACED if effect["kind"] == REPLACE else ACKED, effect["ref"])
    if running:
        n = act_on_running(book, order, bar, inst, out, n)
    return n
