"""Rows 27, 28, 31, 33, and what questions get for answers (30): the venue limits, is down, knows us no more, lags."""

from __future__ import annotations

from itertools import pairwise

from tests.wire_faults import market
from tests.wire_faults.cases_book import filled_as_there, never_short
from tests.wire_faults.play import SPEED, Case, Outcome

ORDERS = ["submit", "replace", "cancel"]
RETRY_S = 2.0  # of the wall, as the venue's answer says


def limited(outcome: Outcome) -> str:
    """No order leaves before the time is over that the venue has named; stops and exits follow then."""
    fired = outcome.count("limit_429", "limit_429_no_header")
    stamps = [firing["ts_ms"] for firing in outcome.firings("limit_429")]
    pauses = [(after - before) / 1000 / SPEED for before, after in pairwise(stamps)]
    pauses = [pause for pause in pauses if pause > 0.4]  # what was under way together is answered together
    assert all(pause > 0.8 * RETRY_S for pause in pauses), f"the next order {min(pauses):.2f} s after a 429"
    assert fired <= 14, f"{fired} calls were turned away"
    outcome.alert("venue shut: rate limit")
    filled_as_there(outcome)
    protected(outcome)
    return (
        f"{fired} calls turned away, at least {min(pauses, default=RETRY_S):.1f} s apart; an alert; every stop followed"
    )


def protected(outcome: Outcome) -> None:
    """Whatever is held at the end has orders to leave at the venue for all of it."""
    for symbol, qty in outcome.book["positions"].items():
        stops = sum(
            int(o["qty"]) - int(o["filled"]) for o in outcome.ours
            if o["symbol"] == symbol and o["side"] < 0 and o["status"] in ("new", "accepted", "partially_filled")
        )  # fmt: skip
        assert stops == int(qty), f"{symbol}: {qty} held, stops for {stops}"


def down(outcome: Outcome) -> str:
    """Half an hour without answers: the breaker opens, alerts, few orders are tried, stops work on at the venue."""
    fired = outcome.count("down_500")
    window = outcome.case.faults["down_500"]
    tried = [one for one in outcome.firings("down_500") if one["where"] in ORDERS]
    assert len(tried) <= 20, f"{len(tried)} orders tried at a venue that is down"
    outcome.alert("venue shut:")
    filled_as_there(outcome)
    never_short(outcome)
    protected(outcome)
    stopped = [
        o for o in outcome.ours
        if o["type"] == "stop" and int(o["filled"]) and window["from_ms"] < o["filled_ms"] < window["until_ms"]
    ]  # fmt: skip
    assert stopped, "no stop was filled while the venue did not answer"
    return f"{fired} calls failed, {len(tried)} of them orders; {len(stopped)} stops filled meanwhile, known afterwards"


def revoked(outcome: Outcome) -> str:
    """The keys are taken no more: an alert, no entry; what was wanted of stops and exits is kept and follows."""
    fired = outcome.count("revoked_401", "blocked_403")
    outcome.alert("venue shut: unauthorized")
    outcome.alert("venue shut: account_blocked")
    lost = outcome.rows(
        "SELECT b.cid, o.purpose FROM outbox b JOIN orders o USING (symbol_id, intent)"
        " WHERE b.state = 'REJECTED' AND o.purpose <> 'entry'"
        " AND (b.note LIKE '%unauthorized%' OR b.note LIKE '%account_blocked%')"
    )
    assert not lost, f"counted as refused: {lost}"
    filled_as_there(outcome)
    protected(outcome)
    return f"{fired} calls without a right; two alerts; no stop or exit counted as refused"


def lagging(outcome: Outcome) -> str:
    """Positions as they were a while ago, in more than one reading: no act on them."""
    fired = outcome.count("stale_positions")
    acts = outcome.rows("SELECT body FROM inputs WHERE kind = 'adjust'")
    assert not acts, f"adjusted: {acts}"
    assert outcome.halted() == {}, f"halted: {outcome.halted()}"
    return f"{fired} readings of positions ten minutes old; nothing halted, nothing adjusted"


def unreadable_answers(outcome: Outcome) -> str:
    """Positions that cannot be read are no positions: the reading does not count, nothing is done."""
    fired = outcome.count(*ANSWERS)
    failed = outcome.status["reconcile"]["failed"]
    assert failed >= fired / 2, f"{fired} unreadable answers, {failed} readings failed"
    assert outcome.halted() == {}, f"halted: {outcome.halted()}"
    return f"{fired} answers about positions; {failed} readings did not count, nothing halted"


def window(first: int, last: int, **more: object) -> dict[str, object]:
    """Minutes of the session."""
    at = {"from_ms": market.OPEN_MS + first * market.MINUTE_MS, "until_ms": market.OPEN_MS + last * market.MINUTE_MS}
    return {**at, **more}


ANSWERS = ("html_200", "nan_value", "bad_json", "duplicate_keys", "huge_number")
LIMITED = Case(
    name="limited",
    minutes=80,
    faults={
        "limit_429": window(5, 40, on=ORDERS, value=RETRY_S),
        "limit_429_no_header": window(50, 70, on=ORDERS, count=1),
    },
    expects={27: limited},
    plants={27: "ban_unheeded"},
)
DOWN = Case(
    name="down",
    minutes=70,
    venue={"breaker_failures": 5, "breaker_rest_ms": 1_000},
    faults={"down_500": window(15, 45)},
    expects={28: down},
    plants={28: "no_breaker"},
)
REVOKED = Case(
    name="revoked",
    minutes=80,
    faults={"revoked_401": window(8, 22), "blocked_403": window(38, 50)},
    expects={31: revoked},
    plants={31: "no_right_is_rejection"},
)
LAGGING = Case(
    name="lagging",
    # Readings are four minutes apart at this pace: the lag has to outlast two of them.
    faults={"stale_positions": {"value": 600_000}},
    reconcile={"every_s": 45.0, "settle_s": 720.0},
    expects={33: lagging},
    plants={33: "one_reading"},
)
ANSWERED = Case(
    name="answered",
    faults={name: window(8 + 10 * at, 16 + 10 * at, on="positions") for at, name in enumerate(ANSWERS)},
    expects={30: unreadable_answers},
    plants={30: "empty_is_flat"},
)
CASES = (LIMITED, DOWN, REVOKED, LAGGING, ANSWERED)
