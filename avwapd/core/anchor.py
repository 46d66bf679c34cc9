"""Where the lines of a symbol begin.

A calendar anchor begins with the first bar of its period, and only where we saw that bar: with the period's start
before the first loaded bar, or in a hole longer than tolerated, the anchor is unknown until the next period. A swing
anchor lies k bars back and is known only now; its line is folded from the ring of recent bars.
"""

from __future__ import annotations

from avwapd.compiled import compiled
from avwapd.core.avwap import begin, fold, forget
from avwapd.core.codes import (
    ANCHOR_MONTH,
    ANCHOR_QUARTER,
    ANCHOR_SESSION,
    ANCHOR_SWING_HIGH,
    ANCHOR_SWING_LOW,
    ANCHOR_USER,
    ANCHOR_WEEK,
    ANCHOR_YEAR,
)
from avwapd.core.records import RING_BARS

LEVEL_RENEWED, BESIDE_RENEWED = 1, 2


@compiled
def copy_bar(target, source):
    target["ts_ms"] = source["ts_ms"]
    target["open"] = source["open"]
    target["high"] = source["high"]
    target["low"] = source["low"]
    target["close"] = source["close"]
    target["volume"] = source["volume"]


@compiled
def period_of(session, kind):
    """The number of the calendar period a SESSION record lies in."""
    if kind == ANCHOR_WEEK:
        return session["week"]
    if kind == ANCHOR_MONTH:
        return session["month"]
    if kind == ANCHOR_QUARTER:
        return session["year"] * 4 + (session["month"] % 100 - 1) // 3
    if kind == ANCHOR_YEAR:
        return session["year"]
    return session["date"]


@compiled
def starts_period(sessions, first, index, kind):
    """True where session `index` is the first of its period."""
    if index <= first:
        return False
    return period_of(sessions[index - 1], kind) != period_of(sessions[index], kind)


@compiled
def is_swing(st, k, kind):
    """True where the bar k back is lower (higher) than the k bars on both its sides; a tie goes to the earlier bar."""
    count = st["ring_count"]
    if count < 2 * k + 1:
        return False
    middle = st["ring"][(count - 1 - k) % RING_BARS]
    for i in range(count - 1 - 2 * k, count):
        if i == count - 1 - k:
            continue
        other = st["ring"][i % RING_BARS]
        if kind == ANCHOR_SWING_LOW:
            beaten = other["low"] < middle["low"] or (other["low"] == middle["low"] and i < count - 1 - k)
        else:
            beaten = other["high"] > middle["high"] or (other["high"] == middle["high"] and i < count - 1 - k)
        if beaten:
            return False
    return True


@compiled
def begin_at_swing(st, line, k, source):
    """Anchor a line k bars back and fold it up to, not including, the newest bar."""
    count = st["ring_count"]
    middle = st["ring"][(count - 1 - k) % RING_BARS]
    newest = st["ring"][(count - 1) % RING_BARS]
    begin(line, middle["ts_ms"], newest["ts_ms"], middle["close"])
    for i in range(count - 1 - k, count - 1):
        bar = st["ring"][i % RING_BARS]
        fold(line, source, bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"])


@compiled
def remember_bar(st, bar):
    copy_bar(st["ring"][st["ring_count"] % RING_BARS], bar)
    st["ring_count"] += 1


@compiled
def renewed_bit(p, level_slot, a):
    """The bit that says line `a` began anew; 0 for a line that no setup looks at."""
    if a == level_slot:
        return LEVEL_RENEWED
    return BESIDE_RENEWED if a == p["pinch_anchor"] else 0


@compiled
def move_anchors(st, rules, p, sessions, inst, bar, new_session, whole, level_slot):
    """Anchor what begins with this bar, then fold the bar into every line.

    rules: ANCHOR_RULE [anchors] of this symbol; new_session: the bar is its session's first; whole: nothing of the
    session is missing before it. Returns LEVEL_RENEWED where the line in `level_slot` began anew, BESIDE_RENEWED where
    that of p["pinch_anchor"] did, both bits or 0.
    """
    renewed = 0
    source = p["price_source"]
    for a in range(p["anchor_count"]):
        kind = rules[a]["kind"]
        line = st["avwap"][a]
        if kind == ANCHOR_USER:
            start = rules[a]["from_ms"]
            seen = st["last_ms"] if st["bars_seen"] > 0 else bar["ts_ms"] - inst["timeframe_ms"]
            if line["anchor_ms"] == 0 and seen <= start < bar["ts_ms"]:
                begin(line, bar["ts_ms"], bar["ts_ms"], bar["close"])
                renewed |= renewed_bit(p, level_slot, a)
        elif kind == ANCHOR_SWING_LOW or kind == ANCHOR_SWING_HIGH:
            if is_swing(st, rules[a]["k"], kind):
                begin_at_swing(st, line, rules[a]["k"], source)
                renewed |= renewed_bit(p, level_slot, a)
        elif new_session:
            period_starts = kind == ANCHOR_SESSION or starts_period(
                sessions, inst["session_first"], st["session"], kind
            )
            changed = line["anchor_ms"] != 0 and period_of(sessions[st["session"]], kind) != period_of(
                sessions[st["session_before"]], kind
            )
            if period_starts and whole:
                begin(line, bar["ts_ms"], bar["ts_ms"], bar["close"])
                renewed |= renewed_bit(p, level_slot, a)
            elif period_starts or changed:
                forget(line)
                renewed |= renewed_bit(p, level_slot, a)
        fold(line, source, bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"])
    return renewed
