"""Words from observations: one case a rule."""

from __future__ import annotations

from decimal import Decimal

import pytest

from avwapd.remote.terms import Terms
from avwapd.venues.hearing import Hearing
from avwapd.venues.port import KnownOrder, Request, Word

STOCK = Terms("AAPL", "AAPL", Decimal("0.01"), Decimal(1), Decimal(1), Decimal(0), "equity", "USD")
COIN = Terms("BTC-USD", "BTC/USD", Decimal("0.01"), Decimal("0.00001"), Decimal(0), Decimal(0), "crypto", "USD")
TERMS = {"AAPL": STOCK, "BTC-USD": COIN}


def request(
    cid: str = "a", qty: int = 10, *, kind: str = "submit", ref_cid: str = "", side: int = 1, symbol: str = "AAPL"
) -> Request:
    return Request(kind, cid, ref_cid, symbol, "entry", side, "market", qty, 0, 0)


def hearing(*requests: Request, cursor: int = 0) -> Hearing:
    found = Hearing(cursor, TERMS)
    for one in requests:
        found.sent(one)
    return found


def told(found: Hearing, after: int = 0) -> list[tuple[str, str, int, bool]]:
    return [(word.kind, word.cid, word.cum_qty, word.final) for word in found.after(after)]


def fill(found: Hearing, exec_id: str, qty: str, price: str = "100", cid: str = "a", **fees: Decimal) -> None:
    found.executed(cid, exec_id, 5, qty=Decimal(qty), price=Decimal(price), **fees)


def paid(words: list[Word], side: int, terms: Terms) -> Decimal:
    """Quote currency that the words say was paid."""
    units = sum(side * word.price_ticks * word.last_qty + word.fee_units for word in words)
    return units * terms.tick * terms.lot


def test_numbers_follow_the_cursor() -> None:
    found = hearing(request(), cursor=41)
    found.acked("a", "v1", 3)
    fill(found, "x1", "10")
    assert [(word.number, word.venue_id, word.ts_ms) for word in found.after(41)] == [(42, "v1", 3), (43, "v1", 5)]
    assert [word.number for word in found.after(42)] == [43]
    assert found.after(43) == []


def test_a_fill_brings_along_the_ack_that_it_overtook() -> None:
    found = hearing(request())
    fill(found, "x1", "4")
    found.acked("a", "v1", 9)
    assert [kind for kind, *_ in told(found)] == ["acked", "filled"]


def test_an_execution_counts_once() -> None:
    found = hearing(request())
    for _ in range(3):
        fill(found, "x1", "4")
    assert [(word.kind, word.last_qty) for word in found.after(0)] == [("acked", 0), ("filled", 4)]
    assert found.counts["doubled_executions"] == 2


def test_a_word_counts_what_was_filled_by_then() -> None:
    found = hearing(request())
    fill(found, "x1", "4")
    fill(found, "x2", "6")
    assert told(found) == [("acked", "a", 0, False), ("filled", "a", 4, False), ("filled", "a", 10, True)]


def test_the_last_word_waits_for_the_fills_before_it() -> None:
    found = hearing(request())
    found.acked("a", "v1", 1)
    found.final("a", "canceled", 7, cum_qty=Decimal(6))
    assert [kind for kind, *_ in told(found)] == ["acked"]
    assert found.behind == {"a"}
    fill(found, "x1", "2")
    assert found.behind == {"a"}
    fill(found, "x2", "4")
    assert told(found)[1:] == [("filled", "a", 2, False), ("filled", "a", 6, False), ("canceled", "a", 6, True)]
    assert found.behind == set()
    assert found.after(0)[-1].ts_ms == 7


def test_a_fill_after_the_last_word_is_given_all_the_same() -> None:
    found = hearing(request())
    found.final("a", "canceled", 7, cum_qty=Decimal(0))
    fill(found, "x1", "10")
    assert [kind for kind, *_ in told(found)] == ["acked", "canceled", "filled"]
    found.final("a", "canceled", 8, cum_qty=Decimal(10))
    assert len(found.after(0)) == 3


def test_filled_is_said_by_the_fill_itself() -> None:
    found = hearing(request())
    found.final("a", "filled", 7, cum_qty=Decimal(10))
    assert found.after(0) == []
    fill(found, "x1", "10")
    found.final("a", "filled", 7, cum_qty=Decimal(10))
    assert told(found)[1:] == [("filled", "a", 10, True)]


def test_a_venue_that_calls_less_than_all_of_it_filled_has_dropped_the_rest() -> None:
    found = hearing(request())
    fill(found, "x1", "9")
    found.final("a", "filled", 7, cum_qty=Decimal(9))
    assert [(kind, final) for kind, _, _, final in told(found)][1:] == [("filled", False), ("canceled", True)]


def test_rejected_comes_without_an_ack() -> None:
    found = hearing(request())
    found.final("a", "rejected", 7, cum_qty=Decimal(0))
    found.acked("a", "v1", 9)
    assert told(found) == [("rejected", "a", 0, True)]


def test_a_replacement_names_both_and_keeps_its_own_count() -> None:
    found = hearing(request(), request("b", 10, kind="replace", ref_cid="a"))
    fill(found, "x1", "3")
    found.replaced("b", "a", "v2", 6)
    found.replaced("b", "a", "v2", 6)
    found.final("a", "replaced", 6, cum_qty=Decimal(3))
    fill(found, "x2", "10", cid="b")
    words = found.after(0)
    assert [(word.kind, word.cid, word.ref_cid, word.cum_qty) for word in words[2:]] == [
        ("replaced", "b", "a", 0),
        ("filled", "b", "", 10),
    ]


def test_a_replaced_order_may_be_behind_too() -> None:
    found = hearing(request(), request("b", 10, kind="replace", ref_cid="a"))
    found.final("a", "replaced", 6, cum_qty=Decimal(3))
    assert found.behind == {"a"}
    fill(found, "x1", "3")
    assert found.behind == set()
    assert [kind for kind, *_ in told(found)] == ["acked", "filled"]


def test_a_refused_cancel_is_said_each_time() -> None:
    found = hearing(request())
    found.acked("a", "v1", 1)
    found.sent(request("c", kind="cancel", ref_cid="a"))
    found.cancel_refused("a", 2)
    found.cancel_refused("a", 3)
    assert [kind for kind, *_ in told(found)] == ["acked", "cancel_refused", "cancel_refused"]
    found.final("a", "canceled", 4, cum_qty=Decimal(0))
    found.cancel_refused("a", 5)
    assert [kind for kind, *_ in told(found)][3:] == ["canceled"]


def test_a_cancel_that_was_taken_is_not_refused_by_the_fill_that_ends_the_order() -> None:
    found = hearing(request())
    found.acked("a", "v1", 1)
    found.sent(request("c", kind="cancel", ref_cid="a"))
    found.cancel_taken("a")
    fill(found, "x1", "10")
    found.final("a", "canceled", 4, cum_qty=Decimal(10))
    found.cancel_refused("a", 5)
    assert [kind for kind, *_ in told(found)] == ["acked", "filled"]


def test_a_cancel_that_was_taken_may_be_refused_while_the_order_works() -> None:
    found = hearing(request())
    found.acked("a", "v1", 1)
    found.sent(request("c", kind="cancel", ref_cid="a"))
    found.cancel_taken("a")
    found.cancel_refused("a", 2)
    found.sent(request("d", kind="cancel", ref_cid="a"))
    fill(found, "x1", "10")  # nobody has taken this one
    assert [kind for kind, *_ in told(found)] == ["acked", "cancel_refused", "filled", "cancel_refused"]


def test_a_stranger_is_counted_and_says_nothing() -> None:
    found = hearing()
    found.acked("z", "v9", 1)
    fill(found, "x1", "3", cid="z")
    assert found.after(0) == []
    assert found.counts["strangers"] == 2


def test_a_restart_goes_on_from_what_the_ledger_booked() -> None:
    known = [
        KnownOrder("a", "AAPL", 1, 10, 4, "PARTIAL", "v1"),
        KnownOrder("b", "AAPL", 1, 10, 0, "SENDING", ""),
        KnownOrder("c", "AAPL", 1, 10, 2, "CANCELED", "v3"),
    ]
    found = Hearing(7, TERMS, known, {"x1"})
    fill(found, "x1", "4")
    fill(found, "x2", "6")
    found.acked("b", "v2", 8)
    found.final("c", "canceled", 8, cum_qty=Decimal(2))
    assert told(found, 7) == [("filled", "a", 10, True), ("acked", "b", 0, False)]
    fill(found, "x3", "1", cid="c")
    assert told(found, 9) == [("filled", "c", 3, False)]


def test_money_is_exact_between_the_ticks() -> None:
    found = hearing(request(qty=3))
    fill(found, "x1", "1", "100.333")
    fill(found, "x2", "2", "100.333", fee_quote=Decimal("0.011"))
    words = found.after(0)
    assert words[1].price_ticks == 10033
    assert abs(paid(words, 1, STOCK) - Decimal("301.010")) <= Decimal("0.005")


def test_fees_in_the_coin_are_whole_lots_rounded_up_once() -> None:
    found = hearing(request(qty=100, symbol="BTC-USD"))
    for i in range(100):
        fill(found, f"x{i}", "0.00001", fee_base=Decimal("0.00000001"))
    assert sum(word.fee_lots for word in found.after(0)) == 1


def test_parts_of_a_lot_wait_for_the_rest() -> None:
    found = hearing(request(qty=2))
    fill(found, "x1", "0.7", "10")
    assert [kind for kind, *_ in told(found)] == ["acked"]
    fill(found, "x2", "1.3", "20")
    words = found.after(0)
    assert (words[1].last_qty, words[1].final) == (2, True)
    assert paid(words, 1, STOCK) == Decimal("33.00")


def test_an_unknown_end_is_refused() -> None:
    with pytest.raises(ValueError, match="ends no order"):
        hearing(request()).final("a", "exploded", 1, cum_qty=Decimal(0))


def test_many_words_come_in_parts() -> None:
    found = hearing(request(qty=2_000))
    for i in range(2_000):
        fill(found, f"x{i}", "1")
    first = found.after(0)
    assert len(first) == 1_000
    assert found.after(first[-1].number)[0].number == first[-1].number + 1
