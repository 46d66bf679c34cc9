"""Whatever order and however often the truth of a venue is told, the words add up to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from avwapd.remote.terms import Terms
from avwapd.venues.hearing import Hearing
from avwapd.venues.port import KnownOrder, Request, Word
from tests.venues.test_hearing import COIN, STOCK, TERMS

Fact = Callable[[Hearing], None]
CENTS = st.decimals("0.0001", "500", places=4)


class Truth:
    """An order's life at a venue, and every fact that there is to tell about it."""

    def __init__(
        self, cid: str, terms: Terms, side: int, qty: int, parts: list[int], prices: list[Decimal], end: str
    ) -> None:
        self.cid, self.terms, self.side, self.qty, self.end = cid, terms, side, qty, end
        self.facts: list[Fact] = [lambda h: h.acked(cid, f"v-{cid}", 1)]
        self.lots, self.spent, self.fee_base = 0, Decimal(0), Decimal(0)
        self.executions: list[str] = []
        for number, (lots, price) in enumerate(zip(parts, prices, strict=True)):
            lots = min(lots, qty - self.lots)
            if not lots:
                break
            self.lots += lots
            units = lots * terms.lot
            fee = units * price / 1000
            base = units / 1000 if terms is COIN and side > 0 else Decimal(0)
            quote = Decimal(0) if base else fee
            self.spent += side * units * price + quote
            self.fee_base += base
            name = f"{cid}/{number}"
            self.executions.append(name)
            self.facts.append(
                partial(
                    Hearing.executed,
                    cid=cid,
                    exec_id=name,
                    ts_ms=2 + number,
                    qty=units,
                    price=price,
                    fee_quote=quote,
                    fee_base=base,
                )
            )
            self.facts.append(partial(Hearing.progress, cid=cid, cum_qty=self.lots * terms.lot))
        if self.lots == qty:
            self.end = "filled"
        if self.end:
            self.facts.append(partial(Hearing.final, cid=cid, kind=self.end, ts_ms=99, cum_qty=self.lots * terms.lot))

    def request(self) -> Request:
        return Request("submit", self.cid, "", self.terms.symbol, "entry", self.side, "market", self.qty, 0, 0)


@st.composite
def truths(draw: st.DrawFn) -> list[Truth]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        parts = draw(st.lists(st.integers(1, 40), max_size=6))
        found.append(
            Truth(
                f"o{number}",
                draw(st.sampled_from([STOCK, COIN])),
                draw(st.sampled_from([1, -1])),
                draw(st.integers(1, 100)),
                parts,
                draw(st.lists(CENTS, min_size=len(parts), max_size=len(parts))),
                draw(st.sampled_from(["", "canceled", "expired"])),
            )
        )
    return found


def retold(orders: list[Truth], seed: int) -> list[Fact]:
    """Every fact at least once, some again, in any order."""
    dice = random.Random(f"{seed}/order")
    facts = [fact for order in orders for fact in order.facts]
    facts += [fact for fact in facts if dice.random() < 0.5]
    dice.shuffle(facts)
    return facts


def check(words: list[Word], orders: list[Truth], first: int) -> None:
    assert [word.number for word in words] == list(range(first, first + len(words)))
    for order in orders:
        mine = [word for word in words if word.cid == order.cid]
        fills = [word for word in mine if word.kind == "filled"]
        assert sorted(word.exec_id for word in fills) == sorted(order.executions)
        assert sum(word.last_qty for word in fills) == order.lots
        assert all(word.cum_qty == sum(w.last_qty for w in fills[: i + 1]) for i, word in enumerate(fills))
        if mine:
            assert mine[0].kind == "acked"
        assert [word.final for word in mine].count(True) == (1 if order.end else 0)
        if order.end:
            assert mine[-1].final
            assert mine[-1].kind == ("filled" if order.end == "filled" else order.end)
    for terms in (STOCK, COIN):
        same = [order for order in orders if order.terms is terms]
        names = {order.cid: order.side for order in same}
        fills = [word for word in words if word.cid in names]
        units = sum(names[word.cid] * word.price_ticks * word.last_qty + word.fee_units for word in fills)
        unit = terms.tick * terms.lot
        assert abs(units * unit - sum((order.spent for order in same), Decimal(0))) <= unit / 2
        fee = sum((order.fee_base for order in same), Decimal(0))
        lots = sum(word.fee_lots for word in fills)
        assert 0 <= lots * terms.lot - fee < terms.lot


@given(truths(), st.integers(0, 2**32))
def test_any_telling_of_the_truth_comes_to_the_truth(orders: list[Truth], seed: int) -> None:
    hearing = Hearing(10, TERMS)
    for order in orders:
        hearing.sent(order.request())
    for fact in retold(orders, seed):
        fact(hearing)
    check(hearing.after(10), orders, 11)
    assert not hearing.behind


@given(truths(), st.integers(0, 2**32), st.floats(0, 1))
def test_a_restart_anywhere_counts_nothing_twice_and_forgets_nothing(
    orders: list[Truth], seed: int, share: float
) -> None:
    facts = retold(orders, seed)
    before = Hearing(0, TERMS)
    for order in orders:
        before.sent(order.request())
    for fact in facts[: int(len(facts) * share)]:
        fact(before)
    booked = before.after(0)
    known = []
    for order in orders:
        mine = [word for word in booked if word.cid == order.cid]
        lots = sum(word.last_qty for word in mine)
        ends = [word.kind.upper() for word in mine if word.final]
        state = ends[0] if ends else "PARTIAL" if lots else "ACKED" if mine else "SENDING"
        known.append(KnownOrder(order.cid, order.terms.symbol, order.side, order.qty, lots, state, ""))
    after = Hearing(before.last, TERMS, known, {word.exec_id for word in booked if word.exec_id})
    for fact in retold(orders, seed + 1):
        fact(after)
    words = booked + after.after(before.last)
    for order in orders:
        fills = [word for word in words if word.cid == order.cid and word.kind == "filled"]
        assert sorted(word.exec_id for word in fills) == sorted(order.executions)
        assert sum(word.last_qty for word in fills) == order.lots
        assert max([word.cum_qty for word in fills], default=0) == order.lots
        finals = [word for word in words if word.cid == order.cid and word.final]
        assert len(finals) == (1 if order.end else 0)
    assert not after.behind
