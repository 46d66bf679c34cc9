"""The fill model on drawn books and bars: never more than asked or traded, never at a price the rules do not give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avwapd.core import match
from avwapd.core.codes import FILLED, LIMIT, MARKET, STOP, SUBMIT
from avwapd.core.records import BAR, BOOK, EFFECT, REPORT
from tests.core import market

INST = market.equity(0, 1)[0]
orders = st.tuples(
    st.sampled_from((MARKET, LIMIT, STOP)), st.sampled_from((1, -1)), st.integers(1, 80), st.integers(9_900, 10_100)
)
prices = st.integers(9_880, 10_120)
traded = st.tuples(prices, prices, prices, prices, st.integers(0, 900))


def bar_of(four: tuple[int, ...], volume: int) -> Any:
    bar = np.zeros(1, BAR)
    cents = [value / 100 for value in four]
    bar[0] = (1, 0, 0, cents[0], max(cents), min(cents), cents[1], float(volume))
    return bar[0]


def expected_price(order: tuple[int, ...], triggered: bool, open_: int, high: int, low: int) -> int | None:
    """Where the rules fill an order in a bar of these ticks; None where they do not."""
    kind, side, _, price = order
    if kind == MARKET or triggered:
        return open_
    if kind == STOP:
        if side * (open_ - price) >= 0:
            return open_
        return price if low <= price <= high else None
    if side * (open_ - price) <= 0:
        return open_
    return price if low <= price <= high else None


@settings(max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(orders, min_size=1, max_size=5), st.lists(traded, min_size=1, max_size=6))
def test_quantities_and_prices(placed: list[Any], history: list[Any]) -> None:
    book, room = np.zeros(1, BOOK), np.zeros(64, REPORT)
    for intent, (kind, side, qty, price) in enumerate(placed, start=1):
        effect = np.zeros(1, EFFECT)
        effect["kind"], effect["type"], effect["side"], effect["qty"] = SUBMIT, kind, side, qty
        effect["intent"], effect["limit"], effect["stop"] = intent, price, price
        assert match.place(book[0], effect[0], False, bar_of((1, 1, 1, 1), 0), INST, 0, room, 0) == 1
    filled, triggered = dict.fromkeys(range(1, 6), 0), set[int]()
    for *four, volume in history:
        bar = bar_of(tuple(four), volume)
        count = match.match_bar(book[0], bar, INST, 0.1, room, 0)
        words = room[:count]
        assert (words["kind"] == FILLED).all()
        assert int(words["last_qty"].sum()) <= math.floor(volume * 0.1)
        for word in words:
            intent = int(word["intent"])
            filled[intent] += int(word["last_qty"])
            assert int(word["cum_qty"]) == filled[intent] <= placed[intent - 1][2]
            assert bool(word["final"]) == (filled[intent] == placed[intent - 1][2])
            assert word["price"] == expected_price(
                placed[intent - 1], intent in triggered, four[0], max(four), min(four)
            )
        for intent, order in enumerate(placed, start=1):
            if order[0] == STOP and expected_price(order, False, four[0], max(four), min(four)) is not None:
                triggered.add(intent)
        stops = [bool(placed[int(w["intent"]) - 1][0] == STOP) for w in words if w["price"] != four[0]]
        assert stops == sorted(stops, reverse=True)  # inside the bar stops act before limits
    live = sum(1 for order in book[0]["orders"] if order["live"])
    assert live == book[0]["count"] == sum(filled[n] < order[2] for n, order in enumerate(placed, start=1))
