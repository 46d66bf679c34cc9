"""What a health check needs beside the status: what was due by the calendar, what is closed, the limits to judge by.

Everything is taken from memory; nothing here waits or asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from avwapd.config import Config
from avwapd.core.codes import OUTER_GATES
from avwapd.feeds.live_schedule import NEVER, Schedule

Facts = Mapping[str, Any]


def vitals(facts: Facts, config: Config, portfolio: Any, schedule: Schedule | None, now_ms: int) -> dict[str, Any]:
    """`facts` of the status with what is due. schedule: of a live feed, None in a replay, whose clock is its own.

    now_ms: market time; portfolio: the engine's PORTFOLIO row.
    """
    feed, reconcile = facts.get("feed") or {}, facts.get("reconcile") or {}
    pulse = facts["pulse"]
    speed = config.venue.speed if schedule is not None else 1.0
    due = due_by_calendar(pulse, feed, config, schedule, now_ms) if schedule is not None else due_by_pace(facts)
    return {
        **facts,
        **due,
        "speed": speed,
        "naked_limit_s": config.reconcile.naked_limit_s,
        "skew_ms": reconcile.get("skew_ms"),
        "skew_limit_ms": config.venue.skew_limit_ms * speed if reconcile else None,
        "gates_closed": closed_gates(portfolio),
        "limits": asdict(config.health),
    }


def due_by_pace(facts: Facts) -> dict[str, Any]:
    """Of a replay: its own pace says when the next bar is due."""
    over = facts.get("waiting_for") == "end"
    lag_s = 0.0 if over else float(facts["lag_ms"]) / 1000
    return {"bar_lag_s": lag_s, "expected_bars": 0, "expected_undecided": 0, "market_open": not over}


def due_by_calendar(pulse: Facts, feed: Facts, config: Config, schedule: Schedule, now_ms: int) -> dict[str, Any]:
    """Of a live feed: what closed inside a session, long enough ago for feed and REST to have told it.

    An interval that the feed has decided on is accounted for, also where nobody traded in it.
    """
    speed = config.venue.speed
    told_ms = now_ms - config.run.grace_ms - round(config.feed.ask_limit_ms * speed)
    known_ms = max(int(feed.get("decided_ms") or 0), int(pulse.get("last_bar_ms") or 0))
    most = config.health.fail_bars + 1
    bar_ms, decision_ms = int(pulse.get("last_bar_ms") or 0), int(pulse.get("last_decision_ms") or 0)
    since_ms = decision_ms if decision_ms < bar_ms else known_ms
    open_now = bool(schedule.inside(schedule.next(now_ms - 1)).any()) if schedule.next(now_ms - 1) != NEVER else False
    return {
        "bar_lag_s": _lag_s(schedule, known_ms, now_ms, config.run.grace_ms) / speed if known_ms else 0.0,
        "expected_bars": schedule.open_between(known_ms, told_ms, most) if known_ms else 0,
        "expected_undecided": schedule.open_between(since_ms, told_ms, most) if since_ms else 0,
        "market_open": open_now,
    }


def _lag_s(schedule: Schedule, known_ms: int, now_ms: int, grace_ms: int) -> float:
    """Market seconds since the first close inside a session that nobody has told of was due; 0 where none was."""
    due_ms = schedule.next(known_ms)
    while due_ms <= now_ms and not schedule.inside(due_ms).any():
        opens_ms = schedule.next_open(due_ms)
        due_ms = schedule.next(max(due_ms, opens_ms))
    return max(0.0, (now_ms - grace_ms - due_ms) / 1000)


def closed_gates(portfolio: Any) -> list[str]:
    """By name, those that are closed for everybody."""
    bits = int(portfolio["outer_closed"])
    found = [name for i, name in enumerate(OUTER_GATES) if bits >> i & 1]
    own = {"drain": "drained", "drawdown": "drawdown_blocked", "daily_loss": "daily_blocked"}
    return [*found, *(name for name, field in own.items() if portfolio[field])]
