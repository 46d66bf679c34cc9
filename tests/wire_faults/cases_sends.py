"""Rows 23 to 26, 29, 30, 32: an order goes out, and the answer is lost, cut, late, unreadable or a lie."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from avwapd.verbs.client import ask
from tests.wire.world import Venue
from tests.wire_faults import market
from tests.wire_faults.play import Case, Outcome, Planted

TAKEN = ("lose_answer",)
CUT = ("reset", "cut_answer", "wrong_length")
NO_JSON = ("html_200", "bad_json", "nan_value", "huge_number", "duplicate_keys")
UNREADABLE = ("html_200", "empty_200", "bad_json", "missing_field", "unknown_enum", "nan_value", "huge_number",
              "duplicate_keys")  # fmt: skip


def settled(outcome: Outcome, doubts: int) -> str:
    """Every request that was in doubt is one order at the venue, and the ledger says of it what the venue says."""
    counts = outcome.status["venue"]["counts"]
    had = counts.get("doubts", 0) + counts.get("unknown_statuses", 0)
    assert had >= doubts, f"{had} answers were none, {doubts} expected"
    at_venue = {order["client_id"]: order for order in outcome.ours}
    ended = {"filled": "FILLED", "canceled": "CANCELED", "expired": "EXPIRED", "rejected": "REJECTED"}
    for cid, (state, _, filled) in outcome.outbox.items():
        order = at_venue.get(cid)
        if order is None:
            assert state != "ACKED", f"{cid} is {state}, the venue never had it"
            given_up = state == "EXPIRED" and outcome.note(cid).startswith("never arrived")
            assert given_up or cid not in outcome.doubts, f"{cid} was in doubt and never arrived: {state}"
            continue
        assert filled == int(order["filled"]), f"{cid}: {filled} filled, at the venue {order['filled']}"
        assert state == ended.get(order["status"], state), f"{cid}: {state}, at the venue {order['status']}"
        assert state not in ("REJECTED", "STALE", "DENIED"), f"{cid}: {state}, at the venue {order['status']}"
    refused = outcome.rows(
        "SELECT json_extract(body, '$.cid') FROM inputs"
        " WHERE kind = 'report' AND json_extract(body, '$.kind') = 'rejected'"
    )
    there = {cid for (cid,) in refused} & at_venue.keys()
    assert not there, f"{len(there)} orders were taken for refused, and are at the venue"
    gone = len(outcome.outbox.keys() & outcome.doubts - at_venue.keys())
    given_up = f", {gone} wanted no more by then and not there" if gone else ""
    return f"{had} answers were none; of {len(outcome.outbox)} orders each one is once at the venue{given_up}"


def lost_requests(outcome: Outcome) -> str:
    fired = outcome.count("lose_request", "refuse_connection")
    again = outcome.rows(
        "SELECT count(*) FROM outbox WHERE kind = 'submit' AND attempts > 1"
        " AND state IN ('ACKED', 'FILLED', 'REPLACED', 'CANCELED')"
    )[0][0]
    assert again, "no request was sent again"
    return f"{again} sent again; {settled(outcome, fired)}"


def lost_answers(outcome: Outcome) -> str:
    return settled(outcome, outcome.count("lose_answer"))


def cut_answers(outcome: Outcome) -> str:
    return settled(outcome, outcome.count(*CUT))


def twice_sent(outcome: Outcome) -> str:
    outcome.count("gateway_504_taken")
    refused = outcome.status["venue"]["counts"].get("duplicates", 0)
    assert refused > 0, "no order was refused as a duplicate"
    seen = settled(outcome, outcome.fired["gateway_504_taken"])
    return f"{refused} refused as duplicates and found; {seen}"


def dripped(outcome: Outcome) -> str:
    """The call ends at its limit, however many bytes still come."""
    fired = outcome.count("slow_drip")
    ended = outcome.status["venue"]["counts"].get("no_answer", 0)
    others = sum(outcome.fired[name] for name in NO_JSON)
    assert ended >= fired + others, f"{fired} answers byte by byte, {ended - others} calls ended at their limit"
    return f"{fired} calls ended at their limit; {settled(outcome, fired)}"


def unreadable(outcome: Outcome) -> str:
    return settled(outcome, outcome.count(*UNREADABLE))


def lied_to(outcome: Outcome) -> str:
    """Said not to exist while it does: nothing else leaves for the symbol before it is found."""
    outcome.count("not_found_lie")
    seen = settled(outcome, 1)
    most: dict[str, int] = {}
    for order in outcome.ours:
        if order["side"] > 0:
            most[order["symbol"]] = max(most.get(order["symbol"], 0), int(order["qty"]))
    held: dict[str, int] = {}
    for one in outcome.book["executions"]:
        symbol = one["symbol"]
        held[symbol] = held.get(symbol, 0) + one["side"] * int(one["qty"])
        assert held[symbol] <= most[symbol], f"{held[symbol]} {symbol} held, an entry was for {most[symbol]}"
    return f"{outcome.fired['not_found_lie']} look-ups in vain; {seen}"


def once(skip: int, count: int = 1, **more: object) -> dict[str, object]:
    return {"on": "submit", "skip": skip, "count": count, "from_ms": market.OPEN_MS, **more}


UNSAID = "SELECT 1 FROM outbox WHERE state IN ('NEW', 'SENDING')"
NOT_FOUND_OUT = (
    "SELECT 1 FROM outbox WHERE kind = 'submit'"
    " AND (state IN ('NEW', 'SENDING') OR state = 'UNKNOWN' AND note NOT LIKE 'duplicate%')"
)


def entry_swallowed(venue: Venue, trader: Planted, switch_on: Callable[[], None]) -> None:
    """Bar by bar until the first entry is swallowed; then the market stands until a further post of it was refused.

    An entry is wanted for one bar: where the market goes on, that is over before the second post on a busy machine.
    Nothing opens either where the books were not read for long, so they are read before each bar.
    """
    for _ in range(OPENING_BARS):
        readings = told(trader)["reconcile"]["readings"]
        awaited(lambda: told(trader)["reconcile"]["readings"] > readings, "the books read")  # noqa: B023
        switch_on()
        venue.ask("/control", {"half": 2})
        closed_ms = venue.ask("/control")["closed_ms"]
        awaited(lambda: (told(trader)["feed"]["decided_ms"] or 0) >= closed_ms, "a bar decided")  # noqa: B023
        within(COMMIT_S, lambda: trader.rows("SELECT 1 FROM bars WHERE ts_ms >= ?", closed_ms))  # noqa: B023
        awaited(lambda: not trader.rows(UNSAID), "its orders sent")
        if venue.ask("/control/faults")["fired"].get("gateway_504_taken"):
            awaited(lambda: not trader.rows(NOT_FOUND_OUT), "a duplicate")
            return
        venue.ask("/control/faults", {"clear": "all"})
    raise AssertionError(f"no entry within {OPENING_BARS} bars")


def told(trader: Planted) -> Any:
    return ask(trader.state / "control.sock", "GET", "/v1/status", None, 10.0)


def within(limit_s: float, there: Callable[[], object]) -> bool:
    until = time.monotonic() + limit_s
    while not there():
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
    return True


def awaited(there: Callable[[], object], what: str) -> None:
    assert within(STANDS_S, there), f"not within {STANDS_S:g} s: {what}"


FAST = {"venue": {"settling_ms": 20_000}, "order": {"answer_limit_ms": 300}}
SENDS = Case(
    name="sends",
    **FAST,
    minutes=70,
    faults={
        "lose_request": once(1, 2), "refuse_connection": once(6),
        "lose_answer": once(3, 2), "reset": once(10), "cut_answer": once(13), "wrong_length": once(16),
    },
    expects={23: lost_requests, 24: lost_answers, 25: cut_answers},
    plants={23: "doubt_is_rejection", 24: "doubt_is_rejection", 25: "doubt_is_rejection"},
)  # fmt: skip
OPENING_BARS = 40
STANDS_S = 60.0
COMMIT_S = 5.0  # a bar that was taken for silent has no row
LIED_MS = (market.WARM_UP_MS, market.OPEN_MS + 18 * market.MINUTE_MS)
TWICE = Case(
    name="twice",
    venue={"settling_ms": 20_000},
    # No stream and no list tells of the orders either: there is nothing but the look-ups, and they lie.
    faults={
        "gateway_504_taken": once(0, 3) | {"from_ms": LIED_MS[0]},
        "mute_stream": {"on": "stream", "from_ms": LIED_MS[0], "until_ms": LIED_MS[1]},
        "not_found_lie": {"on": ["order", "orders"], "from_ms": LIED_MS[0], "until_ms": LIED_MS[1]},
    },
    opening=entry_swallowed,
    expects={26: twice_sent, 32: lied_to},
    plants={26: "duplicate_is_rejection", 32: "absent_is_gone"},
)
BODIES = Case(
    name="bodies",
    minutes=80,
    faults={name: once(1 + 3 * at) for at, name in enumerate(UNREADABLE)} | {"slow_drip": once(4, 2, value=0.05)},
    expects={29: dripped, 30: unreadable},
    plants={29: "read_limit_only", 30: "doubt_is_rejection"},
)
CASES = (SENDS, TWICE, BODIES)
