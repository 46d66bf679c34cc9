"""The daemon's health in one look at its facts: what is well, what a human should see, what is broken.

A pure function of what `GET /v1/health` answers (or what heartbeat.json holds), so that daemon and command line judge
alike. The market's hours are in the facts: what is not due is not late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from avwapd.ops.finding import FAIL, OK, WARN, Finding

Facts = Mapping[str, Any]
MB = 1_000_000
STALL_S = 30.0  # since the last beat; the watchdog of the service acts by itself
NAMED = 4


def judge(facts: Facts) -> list[Finding]:
    """Every finding, in the order in which a person asks."""
    return [check(facts) for check in CHECKS]


def graded(value: float, warn: float, fail: float) -> str:
    return FAIL if value >= fail else WARN if value >= warn else OK


def below(value: float, warn: float, fail: float) -> str:
    return FAIL if value < fail else WARN if value < warn else OK


def process(facts: Facts) -> Finding:
    """Alive is not enough: beats prove that inputs are folded and committed."""
    words = f"pid {facts.get('pid')}, {facts.get('mode')}, beat {facts.get('beat', 0)}"
    age_s = facts.get("beat_age_s")
    if facts.get("stalled") or (age_s is not None and age_s > STALL_S):
        since = "" if age_s is None else f", none for {age_s:.0f} s"
        return Finding("process", FAIL, f"no progress: {words}{since}", "see its log; the watchdog restarts it")
    if not facts.get("ready"):
        return Finding("process", WARN, f"starting: {words}", "wait for READY; see waiting_for in avwapd ctl status")
    return Finding("process", OK, words)


def lag(facts: Facts) -> Finding:
    """Of the newest bar behind its due time."""
    limits, seconds = facts["limits"], float(facts.get("bar_lag_s") or 0)
    verdict = graded(seconds, limits["warn_lag_s"], limits["fail_lag_s"])
    what = f"{seconds:.1f} s behind" if verdict != OK else f"{seconds:.1f} s"
    return Finding("lag", verdict, what, "" if verdict == OK else "see feed in avwapd ctl status")


def decisions(facts: Facts) -> Finding:
    """Bars that were due and led to no row."""
    return _due("decisions", facts, "expected_undecided", "last_decision_ms", "without a decision")


def bars(facts: Facts) -> Finding:
    """Bars that were due and did not come."""
    return _due("bars", facts, "expected_bars", "last_bar_ms", "due and not there")


def _due(name: str, facts: Facts, key: str, newest: str, words: str) -> Finding:
    limits, pulse = facts["limits"], facts.get("pulse") or {}
    count = int(facts.get(key) or 0)
    last = pulse.get(newest)
    if last is None:
        return Finding(name, OK, "none yet; the market is closed" if not facts.get("market_open") else "none yet")
    verdict = graded(count, limits["warn_bars"], limits["fail_bars"])
    if verdict == OK:
        return Finding(name, OK, f"newest {last}" + ("" if facts.get("market_open") else "; the market is closed"))
    return Finding(name, verdict, f"{count} {words} since {last}", "see feed and queues in avwapd ctl status")


def cadence(facts: Facts) -> Finding:
    """After downtime or a fault: warn until enough clean bars; while the newest bar itself failed: fail."""
    pulse, wanted = facts.get("pulse") or {}, facts["limits"]["clean_bars"]
    why, clean = pulse.get("disturbed") or "", int(pulse.get("clean_bars") or 0)
    if not why:
        return Finding("cadence", OK, f"{clean} clean bars")
    if clean == 0 and why in ("fetch_failed", "persist_failed"):
        what = f"the newest bar says {why}: no entry is made on it"
        return Finding("cadence", FAIL, what, "a feed: see avwapd ctl status; a commit: look at the disk")
    what = f"{why}; {clean} of {wanted} clean bars since"
    return Finding("cadence", WARN, what, f"it clears by itself after {max(0, wanted - clean)} more")


def gaps(facts: Facts) -> Finding:
    """Symbols whose newest bar came with too many missing before it."""
    pulse = facts.get("pulse") or {}
    holes, decided = int(pulse.get("holes") or 0), int(pulse.get("decided") or 0)
    if decided and 2 * holes >= decided:
        what = f"{holes} of {decided} symbols of the newest bar miss bars before it"
        return Finding("gaps", WARN, what, "they open nothing until their bars are whole again")
    return Finding("gaps", OK, f"{holes} of {decided} symbols miss bars")


def reconcile(facts: Facts) -> Finding:
    """When ledger and venue last agreed, in market seconds."""
    limits, told = facts["limits"], facts.get("reconcile")
    if told is None:
        return Finding("reconcile", OK, "the venue is simulated inside the process")
    age, differing = told.get("agreed_age_s"), told.get("differences") or {}
    if differing:
        told_of_all = list(differing.get("", ()))
        if set(differing) == {""} and all(words.startswith("the venue's cash is") for words in told_of_all):
            return Finding("reconcile", WARN, "; ".join(told_of_all), "look at the venue's statement")
        named = ", ".join(name or "others" for name in list(differing)[:NAMED])
        return Finding("reconcile", FAIL, f"books differ: {named}", "see reconcile in avwapd ctl status")
    if age is None:
        return Finding("reconcile", WARN, "the books were not compared yet", "nothing leaves before they are")
    speed = float(facts.get("speed") or 1.0)
    verdict = graded(age / speed, limits["warn_reconcile_s"], limits["fail_reconcile_s"])
    return Finding("reconcile", verdict, f"agreed {age:.0f} s ago", "" if verdict == OK else told.get("why") or "")


def naked(facts: Facts) -> Finding:
    """Held without a stop at the venue."""
    told = facts.get("naked")
    if told is None:
        return Finding("protection", OK, "stops rest in the simulated venue")
    hangs = {f"{name} (its exit is not filled)": seconds for name, seconds in (told.get("hangs_s") or {}).items()}
    now = hangs | (told.get("now_s") or {})
    if not now:
        return Finding("protection", OK, f"nothing is held without a stop; worst {told.get('worst_s', 0):.1f} s")
    worst = max(now.values())
    verdict = FAIL if worst > float(facts.get("naked_limit_s") or 0) else WARN
    what = f"without a stop: {', '.join(f'{name} {seconds:.1f} s' for name, seconds in list(now.items())[:NAMED])}"
    return Finding("protection", verdict, what, "look at the venue; avwapd ctl flatten SYMBOL sells at market")


def wal(facts: Facts) -> Finding:
    """A write-ahead log that only grows: a reader stands in the checkpoint's way."""
    limits, size = facts["limits"], (facts.get("database") or {}).get("wal_bytes")
    if size is None:
        return Finding("wal", OK, "not measured")
    verdict = graded(size / MB, limits["warn_wal_mb"], limits["fail_wal_mb"])
    return Finding("wal", verdict, f"{size / MB:.1f} MB", "" if verdict == OK else "end what reads the ledger for long")


def disk(facts: Facts) -> Finding:
    limits, free = facts["limits"], (facts.get("database") or {}).get("disk_free_bytes")
    if free is None:
        return Finding("disk", OK, "not measured")
    verdict = below(free / MB, limits["warn_disk_mb"], limits["fail_disk_mb"])
    return Finding("disk", verdict, f"{free / MB:,.0f} MB free", "" if verdict == OK else "free some; docs/health.md")


def alerts(facts: Facts) -> Finding:
    """Warnings and worse that nobody was told of yet."""
    count = (facts.get("notices") or {}).get("untold_alerts")
    if count is None:
        return Finding("alerts", OK, "not asked")
    words = "none unread" if not count else f"{count} unread"
    return Finding("alerts", WARN if count else OK, words, "avwapd ctl alerts shows them" if count else "")


def gates(facts: Facts) -> Finding:
    """Gates that keep everybody from entering. Shut is no fault, but inside a session somebody should know."""
    names = list(facts.get("gates_closed") or ())
    if not names:
        return Finding("gates", OK, "open")
    what = f"closed: {', '.join(names)}"
    if any(name in GRAVE for name in names):
        return Finding("gates", FAIL, what, "avwapd ctl gates says why")
    if not facts.get("market_open"):
        return Finding("gates", OK, f"{what}; the market is closed")
    meant = all(name in MEANT for name in names)
    return Finding("gates", OK if meant else WARN, what, "" if meant else "avwapd ctl gates says why")


def notifications(facts: Facts) -> Finding:
    """Whether anybody hears the daemon."""
    told = facts.get("notices") or {}
    if told.get("channel", "none") == "none":
        return Finding("notifications", OK, "nobody is to be told (AVWAPD_NOTIFY_URLS is not set)")
    waiting = f"{told.get('waiting', 0)} wait"
    if told.get("deaf"):
        what = f"nobody hears: {waiting}; {told.get('error') or 'the deliveries fail'}"
        return Finding("notifications", WARN, what, "mend AVWAPD_NOTIFY_URLS, then start the daemon anew")
    return Finding("notifications", OK, f"{waiting}, {told.get('delivered', 0)} delivered")


def skew(facts: Facts) -> Finding:
    """This machine's clock beside the venue's."""
    ms, limit = facts.get("skew_ms"), facts.get("skew_limit_ms")
    if ms is None or not limit:
        return Finding("clock", OK, "no venue's clock to compare with")
    verdict = graded(abs(ms), limit / 2, limit)
    return Finding("clock", verdict, f"{ms:+.0f} ms from the venue's", "" if verdict == OK else "see timedatectl")


MEANT = ("mode",)  # a mode that sends nothing was chosen
GRAVE = ("ledger", "disk", "books", "clock_skew")
CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    process, lag, decisions, bars, cadence, gaps, reconcile, naked, wal, disk, alerts, gates, notifications, skew,
)  # fmt: skip
