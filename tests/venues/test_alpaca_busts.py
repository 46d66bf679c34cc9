"""Trades taken back, read off orders and told by the stream: each is told once, none from an old sight."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from avwapd.ports import SystemClock
from avwapd.venues import alpaca_words as words
from avwapd.venues.alpaca_busts import Bust
from avwapd.venues.alpaca_ear import Ear
from avwapd.venues.port import KnownOrder
from tests.venues.test_alpaca_ear import order as order_at
from tests.venues.test_alpaca_ear import update
from tests.venues.test_hearing import TERMS, request


class HandClock(SystemClock):
    """Goes on when a test says so."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at


class Scene:
    """An order `a` to buy ten, and what was told of it. Stamps are seconds of one minute."""

    def __init__(self, *known: KnownOrder, booked: frozenset[str] = frozenset()) -> None:
        self.clock = HandClock()
        self.looks: list[str] = []
        self.told: list[Bust] = []
        self.ear = Ear(TERMS, lambda wire: wire, lambda cid: True, self.clock, self.looks.append)
        self.ear.begin(0, known, booked, lambda: None)
        self.ear.on_bust = self.told.append
        if not known:
            self.ear.hearing.sent(request())

    def order(self, filled: str, second: int, average: str | None = "100.5") -> dict[str, Any]:
        status = "filled" if filled == "10" else "partially_filled"
        stamp = {"updated_at": at(second), "submitted_at": at(0)}
        return order_at("a", status, filled, filled_avg_price=None if filled == "0" else average, **stamp)

    def fill(self, qty: str, filled: str, second: int, price: str = "100.5", average: str = "100.5") -> None:
        event = "fill" if filled == "10" else "partial_fill"
        body = self.order(filled, second, average)
        self.ear.take_update(update(event, body, qty=qty, price=price, timestamp=at(second)))

    def bust(self, name: str, qty: str, left: str, second: int, price: str = "100.5", average: str = "100.5") -> None:
        body = self.order(left, second, average)
        facts = {"qty": qty, "price": price, "execution_id": name, "timestamp": at(second)}
        self.ear.take_update(update("trade_bust", body, **facts))

    def see(self, filled: str, second: int, average: str | None = "100.5") -> None:
        self.ear.observe(words.seen(self.order(filled, second, average)))

    @property
    def back(self) -> list[str]:
        return [bust.qty for bust in self.told]


def at(second: int) -> str:
    return f"2026-01-02T15:00:{second:02d}.123456789Z"


@pytest.fixture
def scene() -> Scene:
    """Ten are filled, and seen to be."""
    found = Scene()
    found.fill("10", "10", 5)
    return found


def test_a_bust_nobody_told_is_read_off_the_order_once(scene: Scene) -> None:
    for second in (30, 30, 31):
        scene.see("0", second)
    [bust] = scene.told
    assert (bust.cid, bust.symbol, bust.side, bust.qty, bust.price) == ("a", "AAPL", 1, "10", "100.5")
    assert scene.ear.counts["busts_by_rest"] == 1
    assert [word.kind for word in scene.ear.hearing.after(0)] == ["acked", "filled"]  # it is no word


def test_an_old_sight_takes_nothing_back(scene: Scene) -> None:
    for _ in range(5):
        scene.see("0", 0)
        scene.see("4", 4)
        scene.clock.at += 10
    assert scene.told == []
    assert scene.looks == []


def test_where_stamps_are_equal_two_sights_have_to_agree(scene: Scene) -> None:
    scene.see("4", 5)
    assert (scene.told, scene.looks) == ([], ["a"])
    assert scene.ear.unsure("a")
    scene.see("4", 5)
    assert scene.told == []  # at nearly the same moment: the same copy of it
    scene.clock.at += 1
    scene.see("10", 5)
    assert not scene.ear.unsure("a")
    scene.see("4", 5)
    assert scene.told == []  # it begins anew
    scene.clock.at += 1
    scene.see("4", 5)
    assert scene.back == ["6"]


def test_an_execution_known_from_a_list_alone_is_no_base_for_one_sight() -> None:
    """Its own stamp is no version of the order: one that lags behind may have a later one."""
    scene = Scene()
    scene.ear.executed("a", words.Fill("v-a", "v-a:10", 1, Decimal(10), Decimal("100.5")))
    scene.see("4", 30)
    assert scene.told == []
    scene.clock.at += 1
    scene.see("10", 30)
    scene.clock.at += 1
    scene.see("10", 31)
    assert (scene.told, scene.looks.count("a")) == ([], 1)


@pytest.mark.parametrize("stream_first", [True, False])
def test_heard_both_ways_it_is_told_once(stream_first: bool, scene: Scene) -> None:
    ways = [lambda: scene.bust("e1", "10", "0", 30), lambda: scene.see("0", 30)]
    for way in ways if stream_first else reversed(ways):
        way()
        way()
    assert scene.back == ["10"]
    assert scene.told[0].price == "100.5"


@pytest.mark.parametrize(
    "order", ["s1 s2 r", "s1 r s2", "r s1 s2", "r s2 s1", "s2 r s1", "s2 s1 r", "s1 r", "s2 r", "r s2", "s2"]
)
def test_several_of_one_order_come_to_what_was_taken_back(order: str) -> None:
    scene = Scene()
    scene.fill("3", "3", 1, "100", "100")
    scene.fill("2", "5", 2, "101", "100.4")
    scene.fill("5", "10", 3, "102", "101.2")
    ways = {
        "s1": lambda: scene.bust("e1", "3", "7", 30, "100", "101.714286"),
        "s2": lambda: scene.bust("e2", "2", "5", 40, "101", "102"),
        "r": lambda: scene.see("5", 40, "102"),
    }
    for way in order.split():
        ways[way]()
        ways[way]()
    assert sum(int(bust.qty) for bust in scene.told) == 5
    assert sum(int(bust.qty) * float(bust.price) for bust in scene.told) == pytest.approx(502)
    assert len({bust.exec_id for bust in scene.told}) == len(scene.told)


def test_the_price_is_that_of_the_part_that_went() -> None:
    scene = Scene()
    scene.fill("4", "4", 1, "100", "100")
    scene.fill("6", "10", 2, "101", "100.6")
    scene.see("6", 30, "101")
    assert [(bust.qty, bust.price) for bust in scene.told] == [("4", "100")]
    scene.see("0", 31)
    assert [(bust.qty, bust.price) for bust in scene.told[1:]] == [("6", "101")]


def test_an_order_that_goes_on_filling_after_it() -> None:
    scene = Scene()
    scene.fill("4", "4", 1)
    scene.see("0", 20)
    scene.fill("6", "6", 30)
    assert scene.back == ["4"]
    assert scene.ear.hearing.order("a").filled == 10  # type: ignore[union-attr]
    scene.see("6", 31)
    assert scene.back == ["4"]


def earlier(filled: int) -> KnownOrder:
    return KnownOrder("a", "AAPL", 1, 10, filled, "FILLED", "v-a")


def test_what_happened_while_nobody_ran_takes_two_sights() -> None:
    scene = Scene(earlier(10))
    scene.see("0", 30)
    assert (scene.told, scene.looks) == ([], ["a"])
    scene.clock.at += 1
    scene.see("0", 30)
    assert [(bust.qty, bust.price) for bust in scene.told] == [("10", "")]  # the ledger knows what it paid


@pytest.mark.parametrize("by_stream", [True, False])
def test_what_an_earlier_life_booked_is_not_told_again(by_stream: bool, scene: Scene) -> None:
    scene.bust("e1", "4", "6", 30) if by_stream else scene.see("6", 30)
    [bust] = scene.told
    for booked in ({bust.booked_as}, {bust.booked_as, bust.booked_as + "/2"}):
        later = Scene(earlier(10), booked=frozenset(booked) | {"v-a:10", "adopt-AAPL-7"})
        for second in (30, 31):
            later.see("6", second)
            later.clock.at += 1
        assert later.told == []
        later.see("1", 40)  # and another one
        assert later.back == ["5"]
        assert later.told[0].exec_id != bust.exec_id


def test_a_sale_taken_back() -> None:
    scene = Scene()
    scene.ear.hearing.order("a").side = -1  # type: ignore[union-attr]
    scene.fill("10", "10", 5)
    body = scene.order("0", 30) | {"side": "sell"}
    scene.ear.observe(words.seen(body))
    assert [(bust.side, bust.qty) for bust in scene.told] == [(-1, "10")]
