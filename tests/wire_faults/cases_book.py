"""Rows 38 to 45: what a venue does to an order against its customer's expectation."""

from __future__ import annotations

import json
from collections import Counter

from tests.wire_faults import market
from tests.wire_faults.play import Case, Outcome


def few(count: int = 1, skip: int = 0, **more: object) -> dict[str, object]:
    return {"count": count, "skip": skip, **more}


def filled_as_there(outcome: Outcome) -> None:
    """Every order of ours has as much filled in the ledger as at the venue."""
    busted = {firing["symbol"] for firing in outcome.firings("trade_bust")}
    for order in outcome.ours:
        if order["symbol"] in busted:
            continue  # the venue's figure is what is left; the books as a whole are compared in any case
        ours = outcome.outbox[order["client_id"]][2]
        what = f"{order['symbol']} {'buy' if order['side'] > 0 else 'sell'} {order['qty']}"
        assert ours == int(order["filled"]), f"{what}: {ours} filled in the ledger, {order['filled']} at the venue"


def never_short(outcome: Outcome) -> None:
    """Longs only: whoever sells more than is held, sells short."""
    held: Counter[str] = Counter()
    for one in outcome.book["executions"]:
        held[one["symbol"]] += one["side"] * int(one["qty"])
        assert held[one["symbol"]] >= 0, f"{one['symbol']} is sold short by {-held[one['symbol']]}"


def out_of_turn(outcome: Outcome) -> str:
    """Fills before the answer, after the cancel, after the rejection: all of them are booked."""
    fired = outcome.count("fill_before_ack", "fill_after_cancel", "fill_after_reject")
    filled_as_there(outcome)
    return f"{fired} fills out of turn, all booked"


def in_parts(outcome: Outcome) -> str:
    outcome.count("partial_then_nothing", "partial_then_cancel", "one_lot_fills")
    filled_as_there(outcome)
    (most,) = outcome.rows("SELECT max(n) FROM (SELECT count(*) n FROM fills GROUP BY symbol_id, intent)")[0]
    assert most > 50, f"at most {most} fills of an order"
    return f"an order in {most} fills, sums right"


def in_parts_protected(outcome: Outcome) -> str:
    seen, worst_s = in_parts(outcome), outcome.status["naked"]["worst_s"]
    assert outcome.status["naked"]["spells"] > 0, "every fill begins one: none was counted"
    assert worst_s <= 4 * 60, f"held without a stop for {worst_s} s"
    return f"{seen}; without a stop for {worst_s:.0f} market s at most"


def taken_back(outcome: Outcome) -> str:
    fired = outcome.count("trade_bust")
    adjusted = outcome.rows("SELECT body FROM inputs WHERE kind = 'adjust'")
    assert len(adjusted) >= fired, f"{fired} trades taken back, {len(adjusted)} adjustments"
    outcome.alert("the venue took back")
    return f"{len(adjusted)} adjustments in the journal, an alert for each"


def raced(outcome: Outcome) -> str:
    names = ("cancel_races_fill", "replace_races_fill", "replace_rejected")
    outcome.count(*names)
    filled_as_there(outcome)
    never_short(outcome)
    return f"{', '.join(f'{outcome.fired[name]} {name}' for name in names)}; sums right, nothing sold short"


STOP_ENDS = ("stop_held", "stop_rejected", "stop_expires", "stop_vanishes")


def stops_again(outcome: Outcome) -> str:
    """A stop that is gone is placed again, or the position left, or the symbol halted with an alert; within a bound."""
    outcome.count(*STOP_ENDS)
    seen = []
    for name in STOP_ENDS:
        for firing in outcome.firings(name):
            seen.append(f"{name}: {after_stop(outcome, firing)}")
    never_short(outcome)
    return "; ".join(sorted(set(seen)))


def after_stop(outcome: Outcome, firing: dict[str, str]) -> str:
    symbol, since_ms = firing["symbol"], int(firing["ts_ms"])
    # A held stop looks like one that works: it is found out when the price has passed it.
    until_ms = since_ms + (20 if firing["fault"] == "stop_held" else 8) * market.MINUTE_MS
    later = [
        o for o in outcome.ours if o["symbol"] == symbol and since_ms < o["created_ms"] <= until_ms and o["side"] < 0
    ]
    if later:
        return "another stop" if later[0]["type"] == "stop" else "left at market"
    alerts = [what for ts_ms, _, what in outcome.alerts if symbol in what and since_ms <= ts_ms <= until_ms]
    assert alerts, f"{firing['fault']}: {symbol} has no other stop, no exit, no alert in minutes"
    return "halted, with an alert"


def halted_market(outcome: Outcome) -> str:
    """One exit order through a halt, filled beyond the stop when trading goes on."""
    outcome.count("halt_reopen_gap")
    never_short(outcome)
    firing = outcome.firings("halt_reopen_gap")[0]
    symbol, since_ms = firing["symbol"], int(firing["ts_ms"])
    filled = [
        order
        for order in outcome.ours
        if (order["symbol"], order["type"]) == (symbol, "stop") and order["filled_ms"] > since_ms
    ]
    assert filled, f"no stop of {symbol} was filled after the halt"
    through = filled[0]
    sells = [o for o in outcome.ours if o["symbol"] == symbol and o["side"] < 0
             and since_ms <= o["created_ms"] <= through["filled_ms"]]  # fmt: skip
    price = float(through["notional"]) / float(through["filled"])
    assert not sells, f"{len(sells)} more orders to leave during the halt"
    assert price < float(through["stop"]) * 0.99, f"filled at {price}, the stop was {through['stop']}"
    return f"one exit order, filled at {price:.2f} under its stop {float(through['stop']):.2f}"


def strangers(outcome: Outcome) -> str:
    """Somebody else's order, somebody's sale by hand: an alert within a minute, and nothing more is opened."""
    outcome.count("foreign_order", "manual_close")
    late = []
    for name, words in (("foreign_order", "not ours"), ("manual_close", "the ledger holds")):
        for firing in outcome.firings(name):
            symbol, since_ms = firing["symbol"], int(firing["ts_ms"])
            told = [ts for ts, _, what in outcome.alerts if symbol in what and words in what and ts >= since_ms - 1000]
            assert told, f"{name}: no alert about {symbol}"
            late.append((told[0] - since_ms) / 1000)
            assert symbol in outcome.halted(), f"{symbol} is not halted: {outcome.halted()}"
            opened = [o for o in outcome.ours if o["symbol"] == symbol and o["side"] > 0 and o["created_ms"] > told[0]]
            assert not opened, f"{symbol}: {len(opened)} entries after the alert"
    assert max(late) <= 60, f"noticed after {max(late):.0f} s"
    return f"noticed after {', '.join(f'{one:.0f}' for one in late)} market s, the symbols halted"


def overnight(outcome: Outcome) -> str:
    """A split and a new name: restated with the stop placed anew, or halted with an alert."""
    outcome.count("split", "symbol_change")
    seen = []
    for name in ("split", "symbol_change"):
        for firing in outcome.firings(name):
            symbol, since_ms = firing["symbol"], int(firing["ts_ms"])
            restated = outcome.rows("SELECT body FROM inputs WHERE kind = 'restate'")
            stops = [
                o for o in outcome.ours if o["symbol"] == symbol and o["type"] == "stop" and o["created_ms"] > since_ms
            ]
            if symbol in outcome.halted():
                assert any(symbol in what for _, _, what in outcome.alerts), f"{symbol} halted without an alert"
                sold = sum(int(one["qty"]) for one in outcome.book["executions"]
                           if one["symbol"] == symbol and one["side"] < 0 and one["ts_ms"] > since_ms)  # fmt: skip
                before = f"; {sold} were sold at the open by the stop that was not restated" if sold else ""
                before = before if name == "split" else ""
                seen.append(f"{name}: halted, with an alert{before}")
            else:
                assert restated, f"{name}: {symbol} neither restated nor halted"
                assert stops, f"{name}: no stop of {symbol} after it"
                seen.append(f"{name}: {json.loads(restated[0][0])}, stop {stops[0]['stop']}")
    return "; ".join(sorted(set(seen)))


QUICK = {"every_s": 45.0, "settle_s": 30.0}
LATE = Case(
    name="late",
    minutes=70,
    faults={"fill_before_ack": few(3, 2, value=200), "fill_after_cancel": few(1, 1), "fill_after_reject": few(1, 9)},
    expects={38: out_of_turn},
    plants={38: "late_fills_dropped"},
)
PARTS = Case(
    name="parts",
    minutes=70,
    faults={
        "partial_then_nothing": few(2, 3, value=3),
        "partial_then_cancel": few(2, 1),
        "one_lot_fills": few(3, 2, value=100),
    },
    expects={39: in_parts_protected},
    plants={39: "part_is_whole"},
)  # fmt: skip
BUST = Case(
    name="bust",
    faults={"trade_bust": few(2, 4)},
    expects={40: taken_back},
    plants={40: "busts_unheard"},
    reconcile=QUICK,
)
RACES = Case(
    name="races",
    minutes=80,
    faults={"cancel_races_fill": few(2), "replace_races_fill": few(2, 3), "replace_rejected": few(2)},
    expects={41: raced},
    plants={41: "cancel_is_canceled"},
)
STOPS = Case(
    name="stops",
    minutes=80,
    faults={
        "stop_held": few(1, symbol="ELM"), "stop_rejected": few(1, symbol="OAK"),
        "stop_expires": few(1, symbol="FIR"), "stop_vanishes": few(1, 5, symbol="TEAK"),
    },
    expects={42: stops_again},
    plants={42: "ends_unheard"},
    reconcile=QUICK | {"settle_s": 10.0},
)  # fmt: skip
HALT = Case(
    name="halt",
    faults={"halt_reopen_gap": few(1, 20, value=6, symbol="TEAK")},
    expects={43: halted_market},
    plants={43: "silent_is_left"},
    compared="other bars than the archive's: nothing to verify",
)
STRANGERS = Case(
    name="strangers",
    # Slower than the others: a minute of the market has to hold a few readings, which are never less than 1 s apart.
    speed=30.0,
    minutes=20,
    faults={"foreign_order": few(1, 7, symbol="OAK"), "manual_close": few(1, 3, symbol="TEAK")},
    expects={44: strangers},
    plants={44: "books_unread"},
    reconcile={"every_s": 30.0, "settle_s": 5.0},
    same_books=False,
    own_difference="what was sold by hand is the only difference, and named in the alert",
)
OVERNIGHT = Case(
    name="overnight",
    # The open gaps through the stops: two readings have to be there before the first minute is over.
    speed=30.0,
    minutes=30,
    eve=40,
    faults={"split": few(1, symbol="TEAK"), "symbol_change": few(1, symbol="BAY", value="COVE")},
    expects={45: overnight},
    plants={45: "books_unread"},
    reconcile={"every_s": 15.0, "settle_s": 5.0},
    same_books=False,
    own_difference="the holding under the new name is the only difference, and named in the alert",
    compared="other bars than the archive's: nothing to verify",
)
CASES = (LATE, PARTS, BUST, RACES, STOPS, HALT, STRANGERS, OVERNIGHT)
