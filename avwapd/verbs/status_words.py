"""What `ctl status` says of the daemon's own parts: one line a thing, in words; what is at rest is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from avwapd.verbs.venue_words import counted_row, listed, number, span, stamp, text

Facts = Mapping[str, Any]


def part_rows(name: str, facts: Any) -> Iterator[tuple[str, str]]:
    """(label, words) of one part's facts; facts of another shape are shown as they are."""
    if isinstance(facts, Mapping):
        yield from PARTS[name](facts)
    elif facts is not None:
        yield name, text(facts)


def router_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    said = [f"{text(facts['sent'])} sent"] if "sent" in facts else []
    if facts.get("in_doubt"):
        said.append(f"{text(facts['in_doubt'])} IN DOUBT")
    if facts.get("orders_minute_spent"):
        said.append(f"{text(facts['orders_minute_spent'])} in this minute")
    if said:
        yield "orders", ", ".join(said)
    if facts.get("held_by"):
        yield "orders wait", f"for {', '.join(listed(facts['held_by']))}"
    if facts.get("shut"):
        yield "orders shut", text(facts["shut"])
    if facts.get("entries_blocked"):
        yield "entries", f"blocked: {text(facts['entries_blocked'])}"


def gates_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    status = facts.get("status")
    if status is not None:
        why = f": {text(facts['reason'])}" if facts.get("reason") and status != "open" else ""
        yield "gates", f"{text(status)}{why}; avwapd ctl gates has all"
    if facts.get("arming"):
        arming = facts["arming"]
        until = arming.get("until_ms") if isinstance(arming, Mapping) else None
        yield "armed", f"until {stamp(until)}" if until else text(arming)


def pulse_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    if facts.get("last_decision_ms"):
        age = facts.get("decision_age_s")
        ago = f", {span(age * 1000)} ago" if number(age) else ""
        yield "last decision", f"{stamp(facts['last_decision_ms'])}{ago}"
    if facts.get("disturbed"):
        yield "disturbed", f"{text(facts['disturbed'])}; {text(facts.get('clean_bars'))} clean bars since"
    if facts.get("holes"):
        yield "gaps", f"{text(facts['holes'])} bars missing"
    yield from counted_row("faults", facts.get("faults"))


def drill_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    yield from counted_row("drill to come", facts.get("left"))
    yield from counted_row("drill played", facts.get("played"))


def notices_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    said = [f"{text(facts[name])} {name.replace('_', ' ')}" for name in ("waiting", "dropped") if facts.get(name)]
    if facts.get("deaf"):
        said.append("NOBODY HEARS: no delivery works")
    if facts.get("error"):
        said.append(text(facts["error"]))
    if facts.get("untold_alerts"):
        said.append(f"{text(facts['untold_alerts'])} alerts untold")
    if facts.get("channel") not in (None, "none") or said:
        yield "notices", ", ".join([f"channel {text(facts.get('channel'))}", *said])


PARTS: Mapping[str, Callable[[Facts], Iterator[tuple[str, str]]]] = {
    "router": router_rows,
    "gates": gates_rows,
    "pulse": pulse_rows,
    "drill": drill_rows,
    "notices": notices_rows,
}
