"""Which fault when: the whole registry over and over, shuffled, one every few market minutes; by seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from avwapd.demo_venue.faults import FAULTS, Fault
from tests.wire_soak.explain import MINUTE_MS
from tests.wire_soak.market import BASES

LEAST_MIN, MOST_MIN = 3, 5
FROST_MIN = 35
BARS_OF = tuple(BASES)[:3]  # whose bars are tampered with
# Each of these takes a symbol out of the comparison for good: once, towards the end, of a symbol of its own.
ONCE = {"split": "PINE", "symbol_change": "LIME", "manual_close": "YEW"}
BOTH = ("stream", "data_stream")
BRIEF = ("stream_storm", "second_stream_refused")  # they fire when somebody connects


class Event(NamedTuple):
    """At a market time these settings are switched on."""

    at_ms: int
    name: str
    settings: dict[str, dict[str, Any]]


def schedule(
    first_ms: int, last_ms: int, seed: int, *, hours: Sequence[tuple[int, int]], most: int = 1 << 30
) -> list[Event]:
    """hours: (open, close) of the sessions; nothing is switched on outside, or in a session's last minutes."""
    dice = random.Random(f"{seed}/schedule")
    deck = cards(dice)
    events: list[Event] = []
    at_ms = first_ms
    for open_ms, close_ms in hours:
        at_ms = max(at_ms, open_ms)
        while (at_ms := at_ms + dice.randint(LEAST_MIN * 60, MOST_MIN * 60) * 1000) < min(close_ms, last_ms):
            if len(events) < most:
                fault = next(deck)
                # What freezes every line is kept for a session's end: else nothing of the day could be compared.
                when_ms = max(at_ms, close_ms - FROST_MIN * MINUTE_MS) if fault.name == "frozen_feed" else at_ms
                events.append(Event(when_ms, fault.name, settings(fault, when_ms, dice)))
    return sorted(event for event in events if event.at_ms < last_ms)


def cards(dice: random.Random) -> Iterator[Fault]:
    while True:
        deck = [fault for fault in FAULTS.values() if fault.name not in ONCE]
        dice.shuffle(deck)
        yield from deck


def settings(fault: Fault, at_ms: int, dice: random.Random) -> dict[str, dict[str, Any]]:
    """How a fault is switched on: a few times, within a window."""
    found: dict[str, Any] = {"from_ms": at_ms, "count": dice.randint(1, 3), "until_ms": at_ms + 30 * MINUTE_MS}
    if fault.layer == "rest" and len(fault.on) > 1:
        found |= {"on": dice.sample(fault.on, dice.randint(1, 3)), "count": dice.randint(2, 6)}
        found["until_ms"] = at_ms + 3 * MINUTE_MS
    elif fault.layer == "rest" and dice.random() < 0.5:
        found["on"] = [dice.choice(("submit", "cancel", "replace"))] if fault.on == ("submit",) else list(fault.on)
    elif fault.name in BRIEF:
        found |= {"on": list(BOTH), "until_ms": at_ms + 4 * MINUTE_MS}
        return {fault.name: found, "drop_stream": {**found, "count": 2}}
    elif fault.name in ("doubled_events", "reordered_events", "dropped_events"):
        found |= {"on": list(BOTH), "p": 0.4, "count": 12, "until_ms": at_ms + 6 * MINUTE_MS}
    elif fault.layer == "stream":
        found |= {"on": dice.choice(BOTH), "count": 1}
    elif fault.name == "frozen_feed":
        found |= {"count": 8 * len(BASES), "until_ms": at_ms + 12 * MINUTE_MS}
    elif fault.layer == "data" or fault.name == "halt_reopen_gap":
        found |= {"count": 1 if fault.layer == "book" else dice.randint(1, 3), "symbol": dice.choice(BARS_OF)}
    elif fault.layer == "book":
        found["count"] = 1
    if fault.name == "slow_drip":
        found["value"] = 0.05
    if fault.name == "symbol_change":
        found["value"] = "NEWNAME"
    return {fault.name: found}


def once(at_ms: int, name: str) -> Event:
    """One of ONCE, of its own symbol, at the next occasion."""
    facts = {"count": 1, "symbol": ONCE[name], "from_ms": at_ms}
    return Event(at_ms, name, {name: facts})
