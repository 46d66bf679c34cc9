"""Six rows in two short markets, for every run of the tests; the campaign has them all, at length."""

from __future__ import annotations

from tests.wire_faults.cases_book import few, in_parts
from tests.wire_faults.cases_sends import FAST, cut_answers, lost_answers, lost_requests, once
from tests.wire_faults.cases_streams import garbled, mute
from tests.wire_faults.play import Case

SENT = Case(
    name="sent",
    **FAST,
    minutes=32,
    faults={
        "lose_request": once(1), "refuse_connection": once(3), "lose_answer": once(5),
        "reset": once(7), "cut_answer": once(9), "wrong_length": once(11),
    },
    expects={23: lost_requests, 24: lost_answers, 25: cut_answers},
    plants=dict.fromkeys((23, 24, 25), "doubt_is_rejection"),
)  # fmt: skip
HEARD = Case(
    name="heard",
    minutes=36,
    faults={
        "doubled_events": {"on": "stream", "p": 0.3},
        "reordered_events": {"on": "stream", "p": 0.2},
        "dropped_events": {"on": "stream", "p": 0.1},
        "mute_stream": {"on": "data_stream", "skip": 16, "count": 1},
        "dead_stream": {"on": "stream", "skip": 40, "count": 1},
        "partial_then_nothing": few(1, 1, value=3),
        "partial_then_cancel": few(1, 2),
        "one_lot_fills": few(2, 2, value=100),
        "fill_before_ack": few(2, 4, value=150),
    },
    expects={34: mute, 35: garbled, 39: in_parts},
    plants={34: "watchdog_off", 35: "part_is_whole", 39: "part_is_whole"},
    together=True,
)
CASES = (SENT, HEARD)
