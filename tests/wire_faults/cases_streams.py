"""Rows 34 to 37: the two streams fall silent, repeat, lose, cut and break; and 46 to 51: bars that are none."""

from __future__ import annotations

from tests.wire_faults import market
from tests.wire_faults.cases_book import filled_as_there
from tests.wire_faults.play import SPEED, Case, Outcome

BOTH = ("stream", "data_stream")
SYMBOLS = len(market.SAWS)


def every_bar(outcome: Outcome, *, missing: int = 0) -> int:
    """Each minute of each symbol is decided from its bar; how many bars that are."""
    wanted = outcome.case.minutes * SYMBOLS
    had = outcome.rows(
        "SELECT count(DISTINCT ts_ms || ' ' || symbol_id) FROM bars WHERE ts_ms > ? AND NOT flags & 2", market.OPEN_MS
    )[0][0]
    decided = outcome.rows("SELECT count(*) FROM decisions WHERE ts_ms > ?", market.OPEN_MS)[0][0]
    assert had >= wanted - missing, f"{had} bars of {wanted}"
    assert decided >= wanted - missing, f"{decided} decisions of {wanted}"
    return int(decided)


def mute(outcome: Outcome) -> str:
    """Both streams open and silent: noticed by what is due, made anew; REST has what they did not say."""
    outcome.count("mute_stream", "dead_stream")
    counts = outcome.status["feed"]["counts"]
    lost = counts["lost_by_stream"]
    assert counts.get("remade", 0) >= 1, f"the stream of bars was never made anew; {lost} bars by REST"
    # Two barriers, then five seconds of the wall for the new connection.
    most = (2 + 5 * SPEED / 60) * SYMBOLS
    assert lost <= most, f"{lost} bars had by REST alone"
    filled_as_there(outcome)
    return f"made anew after {lost / SYMBOLS:.0f} barriers from REST; {every_bar(outcome)} decisions, none lost"


def garbled(outcome: Outcome) -> str:
    fired = outcome.count("doubled_events", "reordered_events", "dropped_events")
    filled_as_there(outcome)
    return f"{fired} messages; every fill once, {every_bar(outcome)} decisions"


def stormed(outcome: Outcome) -> str:
    """Closed after each log-in: connections stay few."""
    outcome.count("stream_storm", "second_stream_refused")
    fired = outcome.fired["stream_storm"] + outcome.fired["second_stream_refused"]
    assert fired <= 24, f"{fired} connections in {outcome.case.minutes * 60 / SPEED:.0f} s"
    lasted_s = outcome.case.minutes * 60 / SPEED
    return f"{fired} connections of both streams in {lasted_s:.0f} s of the wall; {every_bar(outcome)} decisions"


def broken_frames(outcome: Outcome) -> str:
    giants = outcome.count("giant_frame")
    outcome.count("bad_utf8", "bad_frame")
    connects = outcome.status["feed"]["connects"]
    assert connects >= 1 + giants, f"{connects} connections of the stream of bars after {giants} giant frames"
    filled_as_there(outcome)
    return f"{giants} connections closed at a giant frame and made anew; {every_bar(outcome)} decisions"


def refused_bars(outcome: Outcome) -> str:
    """Not a bar: refused and counted; its minute is asked for by REST."""
    fired = outcome.count("nan_bar")
    refused = outcome.status["feed"]["counts"]["refused"]
    assert sum(refused.values()) >= fired, f"{fired} bars that are none, refused {refused}"
    bad = outcome.rows("SELECT count(*) FROM bars WHERE NOT flags & 2 AND (high < low OR close IS NULL)")[0][0]
    assert bad == 0
    return f"refused {refused}; {every_bar(outcome)} decisions"


def missing_bars(outcome: Outcome) -> str:
    """Lost by the stream: had by REST. No trades: no bar, and none is made up."""
    outcome.count("missing_bar", "silent_bar")
    found = outcome.status["feed"]["counts"]
    assert found["lost_by_stream"] >= outcome.fired["missing_bar"], f"{found['lost_by_stream']} bars had by REST"
    silent = {(one["symbol"], one["bar_ms"]) for one in outcome.firings("silent_bar")}
    rows = outcome.rows(
        "SELECT i.symbol, b.ts_ms FROM bars b JOIN instruments i USING (symbol_id) WHERE NOT b.flags & 2"
    )
    assert not silent & set(rows), "a bar of a minute without trades"
    return f"{outcome.fired['missing_bar']} had by REST, {len(silent)} minutes without trades told from them"


def doubled_bars(outcome: Outcome) -> str:
    fired = outcome.count("doubled_bar")
    kept = set(outcome.rows("SELECT i.symbol, r.ts_ms FROM revisions r JOIN instruments i USING (symbol_id)"))
    twice = {(one["symbol"], one["bar_ms"]) for one in outcome.firings("doubled_bar")}
    assert twice <= kept, f"{len(twice - kept)} of {len(twice)} are not kept"
    return f"{fired} bars came twice with other values: the first decided once, the second kept"


def early_bars(outcome: Outcome) -> str:
    """From the future, or not over yet: refused, and never decided on."""
    fired = outcome.count("future_bar", "forming_bar")
    last_ms = market.OPEN_MS + outcome.case.minutes * market.MINUTE_MS
    assert outcome.rows("SELECT count(*) FROM bars WHERE ts_ms > ?", last_ms)[0][0] == 0
    forming = {(one["symbol"], one["bar_ms"]) for one in outcome.firings("forming_bar")}
    rows = outcome.rows(
        "SELECT i.symbol, b.ts_ms FROM bars b JOIN instruments i USING (symbol_id)"
        " WHERE NOT b.flags & 2 AND b.volume < ?",
        market.VOLUME,
    )
    assert not forming & set(rows), f"decided on {len(forming & set(rows))} forming bars"
    return f"{fired} bars too early, none decided on"


def corrected_bars(outcome: Outcome) -> str:
    fired = outcome.count("corrected_bar", "late_bar")
    kept = outcome.rows("SELECT kind, count(*) FROM revisions GROUP BY kind")
    assert sum(count for _, count in kept) >= outcome.fired["corrected_bar"], f"{fired} late or corrected, kept {kept}"
    return f"{fired} bars, kept as {dict(kept)}; nothing decided again"


def frozen(outcome: Outcome) -> str:
    outcome.count("frozen_feed")
    told_ms, _, _ = outcome.alert("repeats the last prices")
    firings = outcome.firings("frozen_feed")
    since_ms, until_ms = firings[0]["ts_ms"], firings[-1]["ts_ms"]
    opened = [order for order in outcome.ours if order["side"] > 0 and told_ms < order["created_ms"] <= until_ms]
    assert not opened, f"{len(opened)} entries at prices that stand still"
    return f"told after {(told_ms - since_ms) / 60_000:.0f} bars, no entry while it lasted"


MUTE = Case(
    name="mute",
    minutes=80,
    faults={
        "mute_stream": {"on": "data_stream", "skip": 20, "count": 1},
        "dead_stream": {"on": "stream", "skip": 12, "count": 1},
    },
    expects={34: mute},
    plants={34: "watchdog_off"},
)
GARBLED = Case(
    name="garbled",
    minutes=70,
    faults={name: {"on": BOTH, "p": 0.2} for name in ("doubled_events", "reordered_events", "dropped_events")},
    expects={35: garbled},
    plants={35: "fills_counted_twice"},
)
STORM = Case(
    name="storm",
    minutes=70,
    venue={"reconnects_minute": 10},
    faults={"drop_stream": {"on": BOTH, "count": 2, "skip": 10}, "second_stream_refused": {"on": BOTH, "count": 4},
            "stream_storm": {"on": BOTH}},
    expects={36: stormed},
    plants={36: "no_pace"},
)  # fmt: skip
FRAMES = Case(
    name="frames",
    minutes=70,
    faults={"giant_frame":
             {"on": "data_stream", "skip": 12, "count": 4}, "bad_utf8": {"on": "stream", "skip": 35, "count": 2},
            "bad_frame": {"on": BOTH, "skip": 8, "count": 4}},
    expects={37: broken_frames},
    plants={37: "no_frame_limit"},
)  # fmt: skip
BARS = Case(
    name="bars",
    minutes=80,
    faults={"nan_bar": {"skip": 40, "count": 6}, "missing_bar": {"skip": 80, "count": 8},
            "doubled_bar": {"skip": 150, "count": 6},
            "future_bar": {"skip": 180, "count": 6}, "forming_bar": {"skip": 200, "count": 6},
            "late_bar": {"skip": 230, "count": 6}, "corrected_bar": {"skip": 250, "count": 8}},
    expects={46: refused_bars, 48: doubled_bars, 49: early_bars, 50: corrected_bars},
    plants={46: "bars_unchecked", 48: "revisions_dropped", 49: "first_bar_stands", 50: "revisions_dropped"},
)  # fmt: skip
FROST = Case(
    name="frost",
    minutes=70,
    faults={"missing_bar": {"skip": 80, "count": 8}, "silent_bar": {"skip": 120, "count": 5},
            "frozen_feed": {"skip": 250, "count": 12 * SYMBOLS}},
    expects={47: missing_bars, 51: frozen},
    plants={47: "silence_is_no_trade", 51: "frost_unseen"},
    compared="other bars than the archive's: nothing to verify",
)  # fmt: skip
CASES = (MUTE, GARBLED, STORM, FRAMES, BARS, FROST)
