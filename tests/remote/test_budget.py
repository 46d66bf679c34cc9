"""Calls a minute, the reserve, bans and the breaker, on a clock in the test's hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwapd.config import load
from avwapd.remote.budget import Breaker, Budget, budget_of


class Hand:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def test_the_reserve_is_for_exits() -> None:
    clock = Hand()
    budget = Budget(10, 3, clock)
    assert [budget.take("entry") for _ in range(7)] == [0.0] * 7
    assert budget.take("entry") == pytest.approx(60.0)
    assert budget.take("question") == pytest.approx(60.0)
    assert budget.left == 3
    assert [budget.take("exit") for _ in range(3)] == [0.0] * 3
    assert budget.take("exit") == pytest.approx(60.0)
    clock.now += 59.0
    assert budget.take("exit") == pytest.approx(1.0)
    clock.now += 1.0
    assert budget.take("entry") == 0.0
    assert budget.facts() == {"left": 9, "room": 10, "reserve": 3}


def test_exits_count_against_entries() -> None:
    budget = Budget(10, 3, Hand())
    for _ in range(7):
        budget.take("exit")
    assert budget.take("entry") > 0


def test_a_ban_stops_everything() -> None:
    clock = Hand()
    budget = Budget(10, 3, clock)
    budget.ban(5.0)
    budget.ban(2.0)  # a shorter one does not lift it
    assert [budget.take(kind) for kind in ("entry", "exit", "question")] == [5.0] * 3
    clock.now += 5.0
    assert budget.take("exit") == 0.0


def test_a_simulated_venue_counts_minutes_of_its_market() -> None:
    clock = Hand()
    options = {"venue.speed": "60", "venue.calls_minute": "20", "venue.reserve_calls": "5"}
    venue = load(environ={}, options=options).venue
    near, far = (budget_of(venue, clock, simulated=simulated) for simulated in (True, False))
    for budget in (near, far):
        assert [budget.take("question") for _ in range(15)] == [0.0] * 15
    assert (near.take("question"), far.take("question")) == (pytest.approx(1.0), pytest.approx(60.0))
    clock.now += 1.0
    assert (near.take("question"), far.take("question")) == (0.0, pytest.approx(59.0))


def test_words_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        Budget(10, 3, Hand()).take("whim")
    with pytest.raises(ValueError, match="reserve"):
        Budget(10, 10, Hand())


@given(st.lists(st.tuples(st.sampled_from(["entry", "exit", "question"]), st.floats(0, 20)), max_size=200))
def test_never_more_than_the_room_in_any_minute(tries: list[tuple[str, float]]) -> None:
    clock = Hand()
    budget = Budget(12, 4, clock)
    taken: list[tuple[float, str]] = []
    for kind, pause in tries:
        clock.now += pause / 10
        wait_s = budget.take(kind)
        if wait_s == 0.0:
            taken.append((clock.now, kind))
        else:
            assert 0 < wait_s <= 60.0
    for at, _ in taken:
        inside = [kind for when, kind in taken if at - 60.0 < when <= at]
        assert len(inside) <= 12
    for number, (at, kind) in enumerate(taken):
        if kind != "exit":
            assert sum(at - 60.0 < when for when, _ in taken[: number + 1]) <= 8


def test_the_breaker_lets_questions_through_and_one_try_a_rest() -> None:
    clock = Hand()
    breaker = Breaker(3, 15.0, clock)
    for _ in range(2):
        breaker.failed()
    assert not breaker.open
    breaker.worked()
    for _ in range(3):
        breaker.failed()
    assert breaker.open
    assert breaker.wait("entry") == pytest.approx(15.0)
    assert breaker.wait("question") == 0.0
    clock.now += 5.0
    breaker.failed()  # of a question: it does not put the next try off
    clock.now += 10.0
    assert breaker.wait("exit") == 0.0
    assert breaker.wait("exit") == pytest.approx(15.0)
    breaker.worked()
    assert not breaker.open
    assert breaker.wait("entry") == 0.0
