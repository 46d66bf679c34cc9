"""Whatever comes when: sums are exact, moves are legal, stops hold. The sequences are drawn, the same in every run."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avwapd.core import codes, engine, machine
from avwapd.core.records import REPORT
from tests.core.desk import Desk
from tests.core.race import Race, check_moves, check_sums

CLOSES = (98.0, 99.0, 99.8, 100.2, 101.0, 102.0, 103.0, 105.0, 108.0)
VOLUMES = (0.0, 300.0, 900.0, 5_000.0)
DRAWN = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

bars = st.tuples(st.just("bar"), st.sampled_from(CLOSES), st.sampled_from((0.0, 0.5, 3.0)), st.sampled_from(VOLUMES))
travel = st.tuples(st.sampled_from(("effect", "effect", "word", "word", "settle")))
doubled = st.tuples(st.just("again"), st.integers(0, 99))
overtaking = st.tuples(st.just("overtake"), st.integers(0, 99))


def play(race: Race, event: tuple[Any, ...]) -> None:
    name, *values = event
    if name == "bar":
        race.bar(*values)
    elif name == "effect":
        race.take_effect()
    elif name == "word":
        race.hear()
    elif name == "settle":
        race.settle()
    elif name == "again":
        race.hear_again(*values)
    else:
        race.hear(*values)


@DRAWN
@given(st.lists(st.one_of(bars, bars, bars, travel, travel, doubled), min_size=20, max_size=120))
def test_late_and_doubled_words(events: list[tuple[Any, ...]]) -> None:
    race = Race()
    for event in events:
        play(race, event)
        race.check_books()
        race.check_protection()
    race.settle()
    race.check_books()
    race.check_protection()
    race.check_rest()
    assert (int(race.st["halted"]), int(race.out.n[machine.ALERTS])) == (0, 0)


@DRAWN
@given(st.lists(st.one_of(bars, bars, travel, doubled, overtaking), min_size=20, max_size=120))
def test_overtaken_words(events: list[tuple[Any, ...]]) -> None:
    """Out of order the machine may freeze and call a human; its sums stay right."""
    race = Race()
    for event in events:
        play(race, event)
        race.check_books()


reports = st.tuples(
    st.integers(1, 7),  # kind
    st.integers(-3, 3),  # which intent, around those that exist
    st.sampled_from((codes.PURPOSE_ENTRY, codes.PURPOSE_STOP, codes.PURPOSE_TRIM, codes.PURPOSE_EXIT)),
    st.sampled_from((1, -1)),
    st.integers(0, 150),  # cumulative
    st.integers(9_000, 11_000),  # price
)


@DRAWN
@given(st.lists(st.one_of(bars, reports), min_size=20, max_size=100))
def test_nonsense_from_the_venue(events: list[tuple[Any, ...]]) -> None:
    """Words that fit nothing: sums follow the fills, moves stay legal; only an order never made is an error."""
    race = Race()
    for event in events:
        if event[0] == "bar":
            race.bar(*event[1:])
        else:
            kind, offset, purpose, side, quantity, price = event
            word = np.zeros(1, REPORT)[0]
            word["ts_ms"], word["kind"], word["purpose"], word["side"] = race.desk.last_ms, kind, purpose, side
            word["intent"] = max(int(race.st["intent"]) + offset, 1)
            word["cum_qty"] = word["last_qty"] = quantity
            word["price"] = price
            race.words.insert(0, word)
            race.hear()
        assert codes.ERRORS[race.out.n[machine.ERROR]] in ("", "report for an unknown order")
        if race.out.n[machine.ERROR]:
            return
        check_sums(race.st, race.out)
        check_moves(race.st, race.out)


def test_a_doubled_fill_counts_once() -> None:
    race = Race()
    race.bar(100.0, 0.0, 1_000.0)
    for close in (101.0, 102.0):
        race.bar(close, 0.0, 0.0)
    race.settle()
    race.bar(102.0, 0.0, 5_000.0)
    fill = race.words[0]
    assert codes.REPORTS[fill["kind"]] == "filled"
    race.hear()
    race.heard.append(fill)
    race.hear_again(-1)
    race.settle()
    race.check_books()
    race.check_rest()
    assert len(race.desk.fills) == 1


def test_a_fill_that_races_its_cancel_is_an_entry() -> None:
    race = Race()
    race.bar(100.0, 0.0, 1_000.0)
    for close in (101.0, 102.0):
        race.bar(close, 0.0, 0.0)
    race.settle()
    race.bar(103.0, 0.0, 5_000.0)  # filled at the venue; the engine sees the close first and asks for the cancel
    assert race.desk.effects[-1] == ("cancel", "entry", 0)
    race.settle()
    race.check_books()
    race.check_rest()
    assert race.desk.phase == "OPEN"


def test_a_fill_after_the_last_word_is_taken() -> None:
    """The venue said canceled, then remembers a fill: FLAT to OPEN, with a stop at once."""
    desk = Desk()
    desk.ordered()
    desk.bar(103.0)
    assert desk.phase == "FLAT"
    word = np.zeros(1, REPORT)[0]
    word["kind"], word["purpose"], word["side"], word["intent"] = codes.FILLED, codes.PURPOSE_ENTRY, 1, 1
    word["ts_ms"], word["cum_qty"], word["last_qty"], word["price"] = desk.last_ms, 3, 3, 10_200
    engine.report(desk.world, desk.out, word)
    assert (desk.phase, desk.causes[-1]) == ("OPEN", "late_fill")
    assert desk.effects[-1] == ("submit", "stop", 3)
    assert desk.out.fills[0]["late"] == 1


def test_a_refused_replace_is_not_asked_for_ever() -> None:
    """The stop of a first part is triggered at the venue, which trades nothing; the larger one is refused."""
    race = Race()
    race.bar(103.0, 3.0, 5_000.0)
    race.bar(101.0, 0.0, 300.0)
    race.bar(101.0, 3.0, 0.0)  # short
    race.take_effect()
    race.bar(100.2, 0.5, 300.0)
    race.bar(102.0, 0.0, 300.0)
    race.hear()
    race.hear()
    race.take_effect()
    race.take_effect()
    race.bar(103.0, 0.0, 0.0)
    race.bar(98.0, 0.5, 0.0)
    sent = len(race.desk.effects)
    race.settle()
    assert race.desk.effects[sent:] == [("replace", "stop", 60)]
    race.check_books()
    race.check_protection()
    race.bar(104.0, 0.5, 5_000.0)
    race.settle()
    race.check_rest()
