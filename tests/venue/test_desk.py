"""The simulated account: what it takes, what it refuses, what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from avwapd.demo_venue.desk_shapes import PROFILES, Change, DeskRefused, FeeRule, Profile
from tests.venue.desks import Bench

FLAT = (10.0, 10.0, 10.0, 10.0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "desk")
    yield made
    made.close()


def refusal(call: Any, *words: Any, **more: Any) -> DeskRefused:
    with pytest.raises(DeskRefused) as caught:
        call(*words, **more)
    return caught.value


def test_a_market_order_fills_at_the_next_open(bench: Bench) -> None:
    bench.bar(AAA=FLAT)
    order = bench.order(1, 30, client_id="mine")
    assert (order.status, bench.desk.by_client_id("mine")) == ("new", order)
    bench.bar(AAA=(10.5, 11.0, 10.0, 10.8))
    assert (order.status, order.filled, order.average) == ("filled", 30, Decimal("10.5"))
    assert bench.desk.cash == Decimal(10_000) - 30 * Decimal("10.5")
    assert bench.desk.positions() == {"AAA": 30}
    assert bench.desk.equity() == bench.desk.cash + 30 * Decimal("10.8")
    assert bench.kinds == ["new", "fill"]


def test_a_volume_s_share_fills_in_parts(bench: Bench) -> None:
    bench.bar(AAA=FLAT)
    order = bench.order(1, 250)
    for _ in range(3):
        bench.bar(AAA=FLAT)
    assert bench.kinds == ["new", "partial_fill", "partial_fill", "fill"]
    assert [one.cum_qty for one in bench.desk.executions()] == [100, 200, 250]
    assert order.status == "filled"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"side": 1, "qty": 1, "symbol": "CCC"}, "unknown_symbol"),
        ({"side": 1, "qty": "1.5"}, "bad_qty"),
        ({"side": 1, "qty": 0}, "bad_qty"),
        ({"side": 1, "qty": "NaN"}, "bad_qty"),
        ({"side": 1, "qty": 1, "type": "limit", "limit": "10.001"}, "bad_price"),
        ({"side": 1, "qty": 1, "type": "stop", "stop": "-1"}, "bad_price"),
        ({"side": 1, "qty": 1, "type": "limit"}, "bad_order"),
        ({"side": 1, "qty": 1, "limit": "10"}, "bad_order"),
        ({"side": 1, "qty": 1, "type": "iceberg"}, "bad_order"),
        ({"side": 1, "qty": 4001}, "buying_power"),
        ({"side": -1, "qty": 4001}, "buying_power"),
        ({"side": 1, "qty": 1, "type": "limit", "limit": "4.99"}, "min_notional"),
        ({"side": -1, "qty": 11, "symbol": "BBB"}, "held_qty"),
    ],
)
def test_what_is_refused(tmp_path: Path, wanted: dict[str, Any], code: str) -> None:
    bench = Bench(tmp_path / "desk", min_notional="5")
    bench.bar(AAA=FLAT, BBB=FLAT)
    bench.order(1, 10, symbol="BBB")
    bench.bar(AAA=FLAT, BBB=FLAT)
    before = bench.desk.buying_power()
    assert refusal(bench.order, **wanted).code == code
    assert len(bench.desk.all_orders()) == 1
    assert bench.desk.buying_power() == before
    bench.close()


def test_resting_sells_hold_what_they_would_sell(bench: Bench) -> None:
    bench.bar(AAA=FLAT)
    bench.order(1, 30)
    bench.bar(AAA=FLAT)
    stop = bench.order(-1, 20, "stop", stop="9")
    error = refusal(bench.order, -1, 11)
    assert (error.code, error.extra["available"], error.extra["held_for_orders"]) == ("held_qty", "10", "20")
    bench.order(-1, 10)
    assert refusal(bench.desk.replace, stop.id, Change(qty=Decimal(21))).code == "held_qty"
    assert bench.desk.replace(stop.id, Change(qty=Decimal(15))).qty == 15  # its own hold is free for it


def test_spot_sells_only_what_is_there(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", profile=Profile(margin=Decimal(1)), asset="crypto", lot="0.001")
    bench.bar(AAA=FLAT)
    assert refusal(bench.order, -1, "0.5").code == "held_qty"
    assert refusal(bench.order, 1, "1000.001").code == "buying_power"
    bench.close()


def test_what_a_buyer_pays_in_the_coin_is_missing_afterwards(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", fees=FeeRule(Decimal(10), in_base=True), asset="crypto", lot="0.001")
    bench.bar(AAA=FLAT)
    bench.order(1, "2.5")
    bench.bar(AAA=FLAT)
    assert bench.desk.positions() == {"AAA": Decimal("2.4975")}
    assert refusal(bench.order, -1, "2.498").code == "held_qty"
    bench.order(-1, "2.497")
    bench.bar(AAA=FLAT)
    assert bench.desk.positions() == {"AAA": Decimal("0.0005")}
    assert bench.desk.cash == 10_000 - 25 + Decimal("24.97") * (1 - Decimal("0.001"))
    bench.close()


def test_a_replacement_takes_over_whole_or_not_at_all(bench: Bench) -> None:
    bench.bar(AAA=FLAT)
    old = bench.order(1, 5, "limit", limit="9")
    new = bench.desk.replace(old.id, Change(qty=Decimal(7), limit=Decimal("9.5")))
    assert (old.status, old.replaced_by, new.replaces, new.qty) == ("replaced", new.id, old.id, 7)
    assert bench.kinds == ["new", "replaced", "new"]
    assert refusal(bench.desk.replace, old.id, Change(qty=Decimal(1))).code == "not_cancelable"
    bench.bar(AAA=(10, 10, 9.2, 9.4))
    assert (new.filled, old.filled) == (7, 0)


def test_day_orders_expire_with_their_session(bench: Bench) -> None:
    bench.bar(AAA=FLAT)
    day = bench.order(1, 1, "limit", limit="1", tif="day")
    gtc = bench.order(1, 1, "limit", limit="1")
    while bench.now_ms < 2_000_000:
        assert day.live
        bench.bar(AAA=FLAT)
    assert (day.status, gtc.status) == ("expired", "new")
    assert bench.kinds[-1] == "expired"


def test_profiles(tmp_path: Path) -> None:
    for name, twice in (("strict", False), ("lenient", True)):
        bench = Bench(tmp_path / name, profile=PROFILES[name])
        bench.bar(AAA=FLAT)
        first = bench.order(1, 1, client_id="id")
        bench.desk.cancel(first.id)
        if twice:
            assert bench.order(1, 1, client_id="id").id != first.id
        else:
            assert refusal(bench.order, 1, 1, client_id="id").code == "duplicate"
        bench.close()


def test_the_slow_profile_shows_things_later(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", profile=PROFILES["slow"])
    bench.bar(AAA=FLAT)
    order = bench.order(1, 1, client_id="id")
    assert bench.desk.by_client_id("id") is None
    assert bench.desk.orders() == []
    assert bench.desk.get(order.id) is order
    assert refusal(bench.order, 1, 1, client_id="id").code == "duplicate"  # the venue itself knows it
    bench.now_ms += 3001
    assert bench.desk.by_client_id("id") is order
    bench.open(AAA=FLAT)
    assert (bench.desk.positions(), bench.desk.held("AAA")) == ({}, 1)
    bench.now_ms += 5001
    assert bench.desk.positions() == {"AAA": 1}
    bench.close()


def test_a_stop_limit_waits_for_its_stop_and_can_be_canceled(bench: Bench) -> None:
    bench.bar(AAA=FLAT)
    terms = {"limit": "11.5", "stop": "11"}
    first, second = [bench.order(1, 2, "stop_limit", **terms) for _ in range(2)]
    bench.desk.cancel(second.id)
    bench.bar(AAA=(10, 10.9, 10, 10.5))
    bench.bar(AAA=(10.5, 11.2, 10.5, 11.0))
    assert first.status == "new"
    bench.bar(AAA=(11.1, 11.2, 11.0, 11.0))
    assert (first.status, first.average, second.status) == ("filled", Decimal("11.1"), "canceled")


def test_late_acts_of_a_venue_keep_the_books_right(bench: Bench) -> None:
    """A fill after the cancel, a bust, a vanished stop, a held one, a restatement."""
    bench.bar(AAA=FLAT)
    order = bench.order(1, 10)
    bench.desk.cancel(order.id)
    bench.desk.execute(order, Decimal(10), Decimal("10.25"))
    assert (bench.kinds, order.status) == (["new", "canceled", "fill"], "filled")
    assert (bench.desk.held("AAA"), bench.desk.cash) == (10, Decimal("9897.5"))
    stop = bench.order(-1, 10, "stop", stop="9")
    bench.desk.end(stop, "gone")
    assert (stop.status, bench.kinds[-1]) == ("canceled", "new")
    held = bench.order(-1, 10, "stop", stop="9")
    bench.desk.hold(held)
    bench.bar(AAA=(10, 10, 8, 8))
    assert (held.status, bench.desk.held("AAA")) == ("held", 10)
    bench.desk.cancel(held.id)
    assert held.status == "canceled"
    bench.desk.restate("AAA", Decimal(30))
    assert bench.desk.held("AAA") == 40
    bench.desk.bust(bench.desk.executions()[0].id)
    assert (bench.desk.held("AAA"), bench.desk.cash, bench.desk.executions()) == (30, 10_000, [])


def everything(bench: Bench) -> tuple[Any, ...]:
    desk = bench.desk
    return (
        [asdict(order) for order in desk.all_orders()],
        [asdict(execution) for execution in desk.executions()],
        desk.true_positions(),
        desk.cash,
        sorted(order.id for order in desk.live_orders()),
    )


def test_a_restart_has_it_all(bench: Bench) -> None:
    test_late_acts_of_a_venue_keep_the_books_right(bench)
    bench.order(1, 5, "stop_limit", stop="12", limit="12")
    bench.order(1, 250, client_id="part")
    bench.bar(AAA=FLAT)
    limit = bench.order(1, 3, "limit", limit="2")
    bench.desk.replace(limit.id, Change(limit=Decimal(3)))
    before = everything(bench)
    desk = bench.again()
    assert everything(bench) == before
    assert refusal(bench.order, 1, 1, client_id="part").code == "duplicate"
    bench.bar(AAA=(12, 12.5, 12, 12))
    bench.bar(AAA=(12, 12.5, 12, 12))
    assert desk.by_client_id("part").filled == 250
    before = everything(bench)
    bench.again()
    assert everything(bench) == before


def test_a_line_that_never_reached_the_book_is_dropped(bench: Bench) -> None:
    bench.bar(AAA=FLAT)
    bench.order(1, 1, client_id="there")
    bench.close()
    path = bench.folder / "desk.jsonl"
    line = path.read_bytes().splitlines()[-1]
    path.write_bytes(
        path.read_bytes()
        + line.replace(b'"there"', b'"lost"').replace(b'"number":1', b'"number":2').replace(b'"word":0', b'"word":1')
        + b"\n"
        + line[:40]
    )
    bench._open()
    assert [order.client_id for order in bench.desk.all_orders()] == ["there"]
    bench.bar(AAA=FLAT)
    assert bench.order(1, 1, client_id="lost").number == 3
    bench.bar(AAA=FLAT)
    before = everything(bench)
    bench.again()
    assert everything(bench) == before


def test_what_replaces_a_held_stop_is_held_too(bench: Bench) -> None:
    """It does not work either, and no bar elects it: only a stop-limit waits beside the book for its stop."""
    bench.bar(AAA=FLAT)
    bench.order(1, 10)
    bench.bar(AAA=FLAT)
    stop = bench.order(-1, 10, "stop", stop="9")
    bench.desk.hold(stop)
    again = bench.desk.replace(stop.id, Change(stop=Decimal("9.5")))
    assert again.status == "held"
    bench.bar(AAA=(10, 10, 8, 8))
    assert (again.status, bench.desk.held("AAA")) == ("held", 10)
