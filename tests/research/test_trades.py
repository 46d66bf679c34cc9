"""Trades out of fills, checked by hand: what a leg was paid, what it cost, and that the legs add up."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avwapd.core.codes import (
    EXIT_DUST,
    EXIT_OPERATOR,
    EXIT_R1,
    EXIT_STOP,
    PURPOSE_ENTRY,
    PURPOSE_RESTATE,
    PURPOSE_STOP,
    PURPOSE_TRIM,
)
from avwapd.core.records import FILL
from avwapd.research.trades import Trade, plain, quotient, trades

TERMS = [{"tick": "0.01", "lot": "1", "quote": "USD"}]


def fill(ts_ms: int, intent: int, purpose: int, side: int, qty: int, price: int, held: int, **more: int) -> Any:
    row = np.zeros(1, FILL)[0]
    given = {"ts_ms": ts_ms, "intent": intent, "trade": 1, "purpose": purpose, "side": side, "qty": qty}
    given |= {"price": price, "held": held, "best": 1_000, "worst": 1_000, "initial_stop": 900} | more
    for name, value in given.items():
        row[name] = value
    return row


def of(*fills: Any) -> list[Trade]:
    return trades(fills, ["IBM"], TERMS, exchange="us", timeframe="5m", setups={(0, 1): "reclaim"})


def test_two_legs_by_hand() -> None:
    first, last = of(
        fill(10, 1, PURPOSE_ENTRY, 1, 60, 1_000, 60, fee=100),
        fill(20, 1, PURPOSE_ENTRY, 1, 40, 1_010, 100, fee=1),
        fill(30, 4, PURPOSE_TRIM, -1, 50, 1_100, 50, fee=100, reason=EXIT_R1, best=1_120, worst=990),
        fill(40, 3, PURPOSE_STOP, -1, 30, 980, 20, fee=100, reason=EXIT_STOP, best=1_130, worst=985),
        fill(50, 3, PURPOSE_STOP, -1, 20, 970, 0, reason=EXIT_STOP, best=1_130, worst=985),
    )
    assert (first.qty, first.entry_price, first.exit_price) == ("50", "10.04", "11")
    assert (first.entry_ts_ms, first.exit_ts_ms) == (10, 30)
    assert (first.entry_reason, first.exit_reason, first.side) == ("reclaim", "r1", "long")
    # Half of 101 cents of entry fees goes to the even cent, the rest to the last leg.
    assert (first.gross_pnl, first.fees, first.pnl) == ("48", "1.5", "46.5")
    assert first.r_multiple == plain(quotient(Fraction(4_650, 50 * 104), 6))
    assert (first.mae, first.mfe) == ("0.14", "1.16")
    assert (last.qty, last.exit_ts_ms, last.exit_reason) == ("50", 50, "stop")
    assert last.exit_price == "9.76"
    assert (last.gross_pnl, last.fees, last.pnl) == ("-14", "1.51", "-15.51")
    assert (last.mae, last.mfe) == ("0.34", "1.26"), "the exit itself counts"


def test_short_and_stop_on_the_wrong_side() -> None:
    (trade,) = of(
        fill(10, 1, PURPOSE_ENTRY, -1, 10, 1_000, 10),
        fill(20, 2, PURPOSE_STOP, 1, 10, 990, 0, reason=EXIT_STOP),
    )
    assert (trade.side, trade.pnl, trade.mfe, trade.mae, trade.r_multiple) == ("short", "1", "0.1", "0", "")


def test_what_is_still_held_is_no_trade() -> None:
    assert of(fill(10, 1, PURPOSE_ENTRY, 1, 10, 1_000, 10)) == []


def test_a_fee_in_coins_is_paid_by_the_last_leg() -> None:
    first, last = of(
        fill(10, 1, PURPOSE_ENTRY, 1, 100, 1_000, 99, fee_lots=1),
        fill(20, 2, PURPOSE_TRIM, -1, 50, 1_000, 49, reason=EXIT_R1),
        fill(30, 3, PURPOSE_STOP, -1, 49, 1_000, 0, reason=EXIT_STOP),
    )
    assert (first.pnl, last.pnl) == ("0", "-10")


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 3_000), st.integers(0, 200)), min_size=1, max_size=6),
       st.integers(1, 3_000), st.integers(0, 500))  # fmt: skip
def test_legs_add_up_to_the_cash_that_moved(legs: list[tuple[int, int, int]], price: int, fee: int) -> None:
    held = sum(qty for qty, _, _ in legs)
    rows = [fill(1, 1, PURPOSE_ENTRY, 1, held, price, held, fee=fee)]
    cash = -held * price - fee
    for number, (qty, at, paid) in enumerate(legs, start=2):
        held -= qty
        cash += qty * at - paid
        rows.append(fill(number, number, PURPOSE_TRIM, -1, qty, at, held, fee=paid))
    assert sum(Decimal(trade.pnl) for trade in of(*rows)) == Decimal(cash).scaleb(-2)


def test_numbers_are_written_plainly() -> None:
    assert [plain(Decimal(text)) for text in ("1E+3", "-0.00", "0.00003000", "5")] == ["1000", "0", "0.00003", "5"]
    assert quotient(Fraction(1, 8), 2) == Decimal("0.12")


def hand(ts_ms: int, side: int, qty: int, price: int, held: int, **more: int) -> Any:
    return fill(ts_ms, 0, PURPOSE_RESTATE, side, qty, price, held, **{"reason": EXIT_OPERATOR, **more})


def test_what_other_hands_bought_and_sold_is_part_of_the_trade() -> None:
    """100 at 10.00 and 50 at 10.60 by hand are 150 at 10.20; 30 sold by hand, the rest by the stop."""
    first, last = of(
        fill(10, 1, PURPOSE_ENTRY, 1, 100, 1_000, 100),
        hand(20, 1, 50, 1_060, 150, fee=2),
        hand(30, -1, 30, 1_100, 120, fee=4),
        fill(40, 3, PURPOSE_STOP, -1, 120, 1_010, 0, reason=EXIT_STOP),
    )
    assert (first.leg, first.qty, first.entry_price, first.exit_price) == (1, "30", "10.2", "11")
    assert (first.entry_reason, first.exit_reason, first.gross_pnl) == ("reclaim", "operator", "24")
    assert (last.leg, last.exit_reason) == (2, "stop")
    cash = 30 * 1_100 + 120 * 1_010 - 100 * 1_000 - 50 * 1_060 - 6
    assert (Decimal(first.pnl) + Decimal(last.pnl)) * 100 == cash


def test_a_trade_that_other_hands_began_and_ended() -> None:
    [one, two] = of(
        hand(10, -1, 20, 1_000, 20, trade=4),
        hand(20, 1, 5, 990, 15, trade=4),
        hand(30, 1, 15, 980, 0, trade=4),
    )
    assert (one.side, one.entry_reason, one.qty, one.gross_pnl) == ("short", "adjusted", "5", "0.5")
    assert (two.side, two.exit_reason, two.qty, two.gross_pnl) == ("short", "operator", "15", "3")


def test_dust_closes_the_leg_before_it() -> None:
    [one] = of(
        fill(10, 1, PURPOSE_ENTRY, 1, 100, 1_000, 100),
        fill(40, 3, PURPOSE_STOP, -1, 97, 990, 3, reason=EXIT_STOP),
        hand(41, -1, 3, 0, 0, reason=EXIT_STOP),
    )
    assert (one.qty, one.exit_price, one.exit_reason) == ("97", "9.9", "stop")
    assert Decimal(one.pnl) * 100 == 97 * 990 - 100 * 1_000


def test_dust_of_an_entry_is_a_leg_of_its_own() -> None:
    [one] = of(fill(10, 1, PURPOSE_ENTRY, 1, 3, 1_000, 3), hand(41, -1, 3, 0, 0, reason=EXIT_DUST))
    assert (one.qty, one.exit_price, one.exit_reason, one.pnl) == ("3", "0", "dust", "-30")
