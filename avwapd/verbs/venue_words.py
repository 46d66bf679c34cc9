"""What `ctl status` says of a venue across a network: one line a thing, in words; what is not told is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

Facts = Mapping[str, Any]
SECTIONS = ("venue", "feed", "reconcile", "naked")


def section_rows(name: str, facts: Any) -> Iterator[tuple[str, str]]:
    """(label, words) of one section of the status; a section of another shape is shown as it is."""
    if not isinstance(facts, Mapping):
        if isinstance(facts, int | float | str):
            yield name, str(facts)
        return
    yield from ROWS[name](facts)


# --------------------------------------------------------------------- venue


def venue_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    state = str(facts.get("state", "?"))
    said = [text(facts.get("name")), state + STATES.get(state, "")]
    if "stream" in facts:
        since = f" since {stamp(facts['stream_since_ms'])}" if facts.get("stream_since_ms") else ""
        said.append(f"order stream {text(facts['stream'])}{since}")
    yield "venue", ", ".join(word for word in said if word)
    if facts.get("why"):
        yield "venue says", text(facts["why"])
    if facts.get("last_word_ms"):
        yield "last word", stamp(facts["last_word_ms"])
    if number(facts.get("skew_ms")):
        skew = facts["skew_ms"]
        yield "clock skew", f"{abs(skew):g} ms, the venue's is {'ahead' if skew >= 0 else 'behind'}"
    budget = facts.get("budget")
    if isinstance(budget, Mapping) and budget:
        words = f"{text(budget.get('left'))} of {text(budget.get('room'))} calls left this minute"
        kept = budget.get("reserve")
        yield "rate budget", words + (f", {kept} of them kept for cancels, stops and exits" if kept else "")
    if facts.get("breaker") not in (None, "closed"):
        yield "breaker", "open: no entry" if facts["breaker"] == "open" else text(facts["breaker"])
    if facts.get("behind"):
        yield "behind", f"fills not heard yet of {', '.join(listed(facts['behind']))}"
    yield from counted_row("venue counts", facts.get("counts"))


# ---------------------------------------------------------------------- feed


def feed_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    said = [text(facts.get("kind")), f"stream {text(facts['stream'])}" if "stream" in facts else ""]
    if facts.get("plan"):
        said.append(f"plan {text(facts['plan'])}")
    if facts.get("down_since_ms"):
        said.append(f"NO BARS since {stamp(facts['down_since_ms'])}: no entry")
    yield "feed", ", ".join(word for word in said if word)
    if number(facts.get("last_data_age_ms")):
        yield "last data", f"{span(facts['last_data_age_ms'])} ago"
    if facts.get("next_ms"):
        yield "next bar", stamp(facts["next_ms"])
    share = facts.get("volume_share")
    if isinstance(share, Mapping) and number(share.get("least")):
        yield "volume share", f"{share['least']:.1%} of the consolidated volume at least ({text(share.get('symbol'))})"
    if facts.get("errors"):
        yield "feed says", text(facts["errors"])
    if facts.get("actions_known") is False:
        yield "actions", "today's splits and sessions could not be asked yet"
    for day in listed(facts.get("session_differences")):
        yield "other session", day
    yield from counted_row("revisions", facts.get("revisions"))
    yield from counted_row("feed counts", facts.get("counts"))


# ----------------------------------------------------------------- reconcile


def reconcile_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    differences, agreed_s = facts.get("differences"), facts.get("agreed_age_s")
    if differences:
        said = ["DIFFERS"]
    elif facts.get("compared") is False:
        said = ["not compared yet: no entry"]
    else:
        said = ["agreed" if number(agreed_s) else "not yet"]
    if number(agreed_s):
        said.append(f"{'last agreed ' if differences else ''}{span(agreed_s * 1000)} ago")
    if number(facts.get("readings")):
        failed = f", {facts['failed']} failed" if facts.get("failed") else ""
        said.append(f"{facts['readings']} readings{failed}")
    yield "reconcile", ", ".join(said)
    if facts.get("why"):
        yield "books", text(facts["why"])
    if isinstance(differences, Mapping):
        differences = {name or "account": what for name, what in differences.items()}
    for line in listed(differences):
        yield "differs", line
    if facts.get("cash_difference") not in (None, "", "0", "0.00"):
        yield "cash", f"{text(facts['cash_difference'])} between ledger and venue"
    if facts.get("quarantined"):
        yield "quarantined", ", ".join(listed(facts["quarantined"]))
    if facts.get("waiting_exits"):
        yield "exits wait", f"{', '.join(listed(facts['waiting_exits']))}: nothing leaves until resumed"


# --------------------------------------------------------------------- naked


def naked_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    now, every = facts.get("now_s"), facts.get("total_s")
    said = ["none now"]
    if isinstance(now, Mapping) and now and all(map(number, now.values())):
        said = ["NOW " + ", ".join(f"{symbol} for {seconds:.1f} s" for symbol, seconds in now.items())]
    hangs = facts.get("hangs_s")
    if isinstance(hangs, Mapping) and hangs and all(map(number, hangs.values())):
        said.append(
            "EXIT NOT FILLED " + ", ".join(f"{symbol} for {seconds:.1f} s" for symbol, seconds in hangs.items())
        )
    if number(facts.get("worst_s")):
        said.append(f"at worst {facts['worst_s']:.1f} s")
    if isinstance(every, Mapping) and all(map(number, every.values())):
        said.append(f"{sum(every.values()):.1f} s in all")
    if len(said) > 1 or now:
        said[-1] += " of market time"
    yield "without stop", ", ".join(said)


ROWS: Mapping[str, Callable[[Facts], Iterator[tuple[str, str]]]] = {
    "venue": venue_rows,
    "feed": feed_rows,
    "reconcile": reconcile_rows,
    "naked": naked_rows,
}
STATES = {
    "degraded": " (stream down, or answers missing)",
    "shut": " (no entry)",
}

# Heard by stream and asked for as well, as it should be: counted once.
COUNTS = {"doubled_executions": "executions heard again"}


# --------------------------------------------------------------------- words


def counted_row(label: str, counts: Any) -> Iterator[tuple[str, str]]:
    """Counts that are not zero; nested ones behind their name."""
    if isinstance(counts, Mapping):
        flat = [(name, value) for name, value in counts.items() if not isinstance(value, Mapping)]
        flat += [
            (f"{name} {inner}", value)
            for name, held in counts.items()
            if isinstance(held, Mapping)
            for inner, value in held.items()
        ]
        said = [f"{COUNTS.get(name, name.replace('_', ' '))} {text(value)}" for name, value in flat if value]
        if said:
            yield label, "  ".join(said)


def listed(value: Any) -> list[str]:
    """Lines of a list, a mapping or a single thing."""
    if value is None or value == "" or isinstance(value, bool | int | float):
        return []
    if isinstance(value, Mapping):
        return [f"{name}: {text(item)}" if item not in (None, "") else str(name) for name, item in value.items()]
    if isinstance(value, list | tuple):
        return [", ".join(listed(item)) if isinstance(item, Mapping | list) else text(item) for item in value]
    return [text(value)]


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list | tuple):
        return ", ".join(listed(value))
    return "-" if value is None else str(value)


def number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def span(ms: float) -> str:
    """An age as people say it."""
    seconds = ms / 1000
    if abs(seconds) < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if abs(seconds) < 7200 else f"{seconds / 3600:.1f} h"


def stamp(ms: Any) -> str:
    """Seconds are enough here."""
    from avwapd.verbs.tables import moment

    return moment(ms).split()[0] if isinstance(ms, int) else text(ms)
