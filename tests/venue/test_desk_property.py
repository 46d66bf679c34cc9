"""Whatever is ordered: cash and positions follow from the executions, and nothing is sold that is not there."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.demo_venue.desk_shapes import PROFILES, Change, DeskRefused, FeeRule, Profile
from tests.venue.desks import Bench

SYMBOL = st.sampled_from(("AAA", "BBB"))
PRICE = st.integers(900, 1100).map(lambda cents: Decimal(cents) / 100)
QTY = st.sampled_from((10, 40, 60, 100, 250))  # few, so that orders compete for what is held
SUBMIT = st.tuples(
    st.just("submit"),
    SYMBOL,
    st.sampled_from((1, -1)),
    QTY,
    st.sampled_from(("market", "limit", "stop", "stop_limit")),
    PRICE,
    PRICE,
)
SELL = st.tuples(
    st.just("submit"), st.just("AAA"), st.just(-1), QTY, st.sampled_from(("limit", "stop", "stop_limit")), PRICE, PRICE
)
PICK = st.integers(0, 30)
STEPS = st.lists(
    st.one_of(
        SUBMIT,
        SUBMIT,
        SELL,
        SELL,
        st.tuples(st.just("cancel"), PICK),
        st.tuples(st.just("replace"), PICK, QTY, PRICE),
        st.tuples(st.just("bar"), PRICE, PRICE, st.integers(0, 5000)),
        st.tuples(st.just("restart")),
        st.tuples(st.just("vanish"), PICK),
        st.tuples(st.just("race"), PICK, PRICE),
    ),
    min_size=6,
    max_size=30,
)


def act(bench: Bench, step: tuple[object, ...]) -> None:
    desk = bench.desk
    kind, *words = step
    if kind == "bar":
        first, last, volume = words
        prices = (float(first), max(float(first), float(last)), min(float(first), float(last)), float(last), volume)
        bench.bar(AAA=prices, BBB=prices)
    elif kind == "restart":
        bench.again()
    elif kind == "submit":
        symbol, side, qty, type, limit, stop = words
        prices = {"limit": limit} if type in ("limit", "stop_limit") else {}
        prices |= {"stop": stop} if type in ("stop", "stop_limit") else {}
        bench.order(side, qty, type, symbol, **prices)
    else:
        orders = desk.all_orders()
        if not orders:
            return
        order = orders[words[0] % len(orders)]
        if kind == "cancel":
            desk.cancel(order.id)
        elif kind == "replace":
            change = {"limit": words[2]} if order.limit else {"stop": words[2]} if order.stop else {}
            desk.replace(order.id, Change(qty=Decimal(words[1]), **change))
        elif order.live and kind == "vanish":
            desk.end(order, "gone")
        elif order.live and kind == "race":
            desk.end(order, "race")
            desk.execute(order, order.rest, words[1])


def holds(bench: Bench, *, spot: bool) -> None:
    """The invariants of an account."""
    desk = bench.desk
    cash, positions = Decimal(100_000), {"AAA": Decimal(0), "BBB": Decimal(0)}
    by_order: dict[str, Decimal] = {}
    for one in desk.executions():
        cash -= one.side * one.qty * one.price + one.fee_quote
        positions[one.symbol] += one.side * one.qty - one.fee_base
        by_order[one.order_id] = by_order.get(one.order_id, Decimal(0)) + one.qty
        assert one.cum_qty == by_order[one.order_id]
    assert desk.cash == cash
    assert desk.true_positions() == {name: qty for name, qty in positions.items() if qty}
    assert len({one.id for one in desk.executions()}) == len(desk.executions())
    live = desk.live_orders()
    for order in desk.all_orders():
        assert order.filled == by_order.get(order.id, 0) <= order.qty
        assert (order.status == "filled") == (order.filled == order.qty)
        assert (order in live) == order.live
    for name, qty in positions.items():
        selling = sum(order.rest for order in live if order.symbol == name and order.side < 0)
        if spot:
            assert qty >= 0
            assert selling <= qty


def run(steps: list[tuple[object, ...]], *, spot: bool, profile: Profile, fees: FeeRule, lot: str) -> None:
    asset = "crypto" if spot else "equity"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "d", cash="100000", profile=profile, fees=fees, asset=asset, lot=lot)
        try:
            bench.bar(AAA=(10, 10, 10, 10), BBB=(10, 10, 10, 10))
            bench.order(1, 100)
            bench.bar(AAA=(10, 10, 10, 10), BBB=(10, 10, 10, 10))
            for step in steps:
                with suppress(DeskRefused):
                    act(bench, step)
                holds(bench, spot=spot)
        finally:
            bench.close()


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_an_equity_account_adds_up(steps: list[tuple[object, ...]]) -> None:
    run(steps, spot=False, profile=PROFILES["strict"], fees=FeeRule(), lot="1")


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_spot_never_sells_what_is_not_there(steps: list[tuple[object, ...]]) -> None:
    fees = FeeRule(Decimal(10), in_base=True)
    run(steps, spot=True, profile=Profile(margin=Decimal(1), shorts=False), fees=fees, lot="0.001")
