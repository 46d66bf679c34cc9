"""What `ctl status` says of a venue: in words, with what blocks entries told as such, and never broken by a shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avwapd.verbs.tables import lines_of
from avwapd.verbs.venue_words import SECTIONS, section_rows

STATUS: dict[str, Any] = {
    "mode": "paper",
    "venue": {
        "name": "alpaca",
        "state": "up",
        "since_ms": 1_714_656_000_000,
        "why": "",
        "budget": {"left": 171, "room": 180, "reserve": 30},
        "breaker": "closed",
        "stream": "up",
        "stream_since_ms": 1_714_656_000_000,
        "last_word_ms": 1_714_656_890_000,
        "skew_ms": -12,
        "behind": [],
        "counts": {"connects": 1, "reconnects": 0, "duplicates": 0},
    },
    "feed": {
        "kind": "stream",
        "venue": "alpaca",
        "plan": "iex",
        "stream": "up",
        "last_data_age_ms": 1_500,
        "next_ms": 1_714_656_960_000,
        "down_since_ms": None,
        "volume_share": {"least": 0.0321, "symbol": "AAPL"},
        "revisions": {"revised": 3, "late": 0},
        "counts": {"bars": 900, "lost_by_stream": 2, "refused": {"high_below_low": 1}},
    },
    "reconcile": {
        "readings": 21,
        "failed": 1,
        "why": "",
        "agreed_age_s": 20.0,
        "differences": {},
        "quarantined": [],
        "cash_difference": "0",
        "compared": True,
    },
    "naked": {"now_s": {}, "worst_s": 1.25, "total_s": {"AAPL": 1.25, "SPY": 0.5}, "spells": 3},
}


def test_a_healthy_venue() -> None:
    assert list(lines_of("status", STATUS)) == [
        "mode          paper",
        "venue         alpaca, up, order stream up since 2024-05-02T13:20:00Z",
        "last word     2024-05-02T13:34:50Z",
        "clock skew    12 ms, the venue's is behind",
        "rate budget   171 of 180 calls left this minute, 30 of them kept for cancels, stops and exits",
        "venue counts  connects 1",
        "feed          stream, stream up, plan iex",
        "last data     1.5 s ago",
        "next bar      2024-05-02T13:36:00Z",
        "volume share  3.2% of the consolidated volume at least (AAPL)",
        "revisions     revised 3",
        "feed counts   bars 900  lost by stream 2  refused high below low 1",
        "reconcile     agreed, 20.0 s ago, 21 readings, 1 failed",
        "without stop  none now, at worst 1.2 s, 1.8 s in all of market time",
    ]


@pytest.mark.parametrize(
    ("section", "changed", "line"),
    [
        ("venue", {"state": "shut", "why": "rate limit (429)"}, ("venue says", "rate limit (429)")),
        ("venue", {"breaker": "open"}, ("breaker", "open: no entry")),
        ("venue", {"behind": ["av-x"]}, ("behind", "fills not heard yet of av-x")),
        ("feed", {"actions_known": False}, ("actions", "today's splits and sessions could not be asked yet")),
        ("feed", {"errors": "405 symbol limit"}, ("feed says", "405 symbol limit")),
        ("reconcile", {"differences": {"AAPL": ["5 held, 4 there"]}}, ("differs", "AAPL: 5 held, 4 there")),
        ("reconcile", {"quarantined": ["AAPL"]}, ("quarantined", "AAPL")),
        (
            "reconcile",
            {"waiting_exits": ["AAPL", "SPY"]},
            ("exits wait", "AAPL, SPY: nothing leaves until resumed"),
        ),
        ("reconcile", {"cash_difference": "-3.50"}, ("cash", "-3.50 between ledger and venue")),
        ("reconcile", {"why": "no clear answer"}, ("books", "no clear answer")),
    ],
)
def test_trouble_has_a_line_of_its_own(section: str, changed: dict[str, Any], line: tuple[str, str]) -> None:
    assert line in list(section_rows(section, STATUS[section] | changed))
    assert line not in list(section_rows(section, STATUS[section]))


@pytest.mark.parametrize(
    ("section", "changed", "words"),
    [
        ("venue", {"state": "shut"}, "shut (no entry)"),
        ("feed", {"down_since_ms": 1_714_656_000_000}, "NO BARS since 2024-05-02T13:20:00Z: no entry"),
        ("reconcile", {"differences": {"AAPL": ["x"]}}, "DIFFERS, last agreed 20.0 s ago"),
        ("reconcile", {"compared": False, "agreed_age_s": None}, "not compared yet: no entry"),
        ("naked", {"now_s": {"SPY": 3.0}}, "NOW SPY for 3.0 s"),
        ("naked", {"hangs_s": {"SPY": 3.0}}, "EXIT NOT FILLED SPY for 3.0 s"),
    ],
)
def test_what_blocks_stands_in_the_first_line(section: str, changed: dict[str, Any], words: str) -> None:
    [(_, said), *_] = section_rows(section, STATUS[section] | changed)
    assert words in said
    assert words not in next(section_rows(section, STATUS[section]))[1]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(sorted({key for section in SECTIONS for key in STATUS[section]} | {"errors", "actions_known"}))


@given(st.sampled_from(SECTIONS), st.dictionaries(keys, anything, max_size=6) | anything)
def test_no_shape_breaks_it(section: str, facts: Any) -> None:
    for label, said in section_rows(section, facts):
        assert isinstance(label, str)
        assert isinstance(said, str)
