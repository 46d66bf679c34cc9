"""The colours: each finding at its limits, the calendar's say, and what heartbeat.json proves without a daemon."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd.actors.pulse import Pulse
from avwapd.actors.vitals import closed_gates, vitals
from avwapd.config import defaults, load
from avwapd.core import codes
from avwapd.core.records import PORTFOLIO
from avwapd.feeds.calendar import BELL, all_sessions
from avwapd.feeds.live_schedule import Schedule
from avwapd.ops import health
from avwapd.ops.finding import FAIL, OK, WARN, Finding, exit_code
from avwapd.paths import resolve
from avwapd.ports import SystemClock
from avwapd.store.rows import StepRows
from avwapd.verbs import check_health

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
LIMITS = asdict(defaults().health)
WELL: dict[str, Any] = {
    "pid": 1,
    "mode": "paper",
    "beat": 7,
    "beat_age_s": 0.5,
    "ready": True,
    "limits": LIMITS,
    "bar_lag_s": 0.2,
    "expected_bars": 0,
    "expected_undecided": 0,
    "market_open": True,
    "speed": 1.0,
    "naked_limit_s": 5.0,
    "pulse": {"last_bar_ms": 5, "last_decision_ms": 5, "disturbed": "", "clean_bars": 40, "holes": 0, "decided": 6},
    "reconcile": {"agreed_age_s": 12.0, "differences": {}, "why": ""},
    "naked": {"now_s": {}, "worst_s": 0.4},
    "database": {"wal_bytes": 1_000_000, "disk_free_bytes": 50_000_000_000},
    "notices": {"channel": "working", "deaf": False, "waiting": 0, "delivered": 3, "untold_alerts": 0},
    "gates_closed": [],
    "skew_ms": 12,
    "skew_limit_ms": 2000,
}
PULSE = WELL["pulse"]
BAD = [
    ("process", {"beat_age_s": 31.0}, FAIL),
    ("process", {"stalled": True}, FAIL),
    ("process", {"ready": False}, WARN),
    ("lag", {"bar_lag_s": 10.0}, WARN),
    ("lag", {"bar_lag_s": 120.0}, FAIL),
    ("decisions", {"expected_undecided": 2}, WARN),
    ("decisions", {"expected_undecided": 5}, FAIL),
    ("bars", {"expected_bars": 2}, WARN),
    ("bars", {"expected_bars": 5}, FAIL),
    ("cadence", {"pulse": PULSE | {"disturbed": "fetch_failed", "clean_bars": 0}}, FAIL),
    ("cadence", {"pulse": PULSE | {"disturbed": "fetch_failed", "clean_bars": 1}}, WARN),
    ("cadence", {"pulse": PULSE | {"disturbed": "the daemon was started again", "clean_bars": 0}}, WARN),
    ("gaps", {"pulse": PULSE | {"holes": 3}}, WARN),
    ("reconcile", {"reconcile": {"agreed_age_s": 120.0, "differences": {}}}, WARN),
    ("reconcile", {"reconcile": {"agreed_age_s": 600.0, "differences": {}}}, FAIL),
    ("reconcile", {"reconcile": {"agreed_age_s": None, "differences": {}}}, WARN),
    ("reconcile", {"reconcile": {"agreed_age_s": 1.0, "differences": {"AAPL": ["3 there"]}}}, FAIL),
    ("reconcile", {"reconcile": {"agreed_age_s": 1.0, "differences": {"": ["the venue's cash is +1.00 USD"]}}}, WARN),
    ("reconcile", {"reconcile": {"agreed_age_s": 1.0, "differences": {"": ["an order of nobody"]}}}, FAIL),
    ("protection", {"naked": {"now_s": {"AAPL": 1.0}}}, WARN),
    ("protection", {"naked": {"now_s": {"AAPL": 5.1}}}, FAIL),
    ("protection", {"naked": {"now_s": {}, "hangs_s": {"AAPL": 5.1}}}, FAIL),
    ("wal", {"database": {"wal_bytes": 64_000_000}}, WARN),
    ("wal", {"database": {"wal_bytes": 512_000_000}}, FAIL),
    ("disk", {"database": {"disk_free_bytes": 999_000_000}}, WARN),
    ("disk", {"database": {"disk_free_bytes": 199_000_000}}, FAIL),
    ("alerts", {"notices": {"untold_alerts": 1}}, WARN),
    ("gates", {"gates_closed": ["watchlist"]}, WARN),
    ("gates", {"gates_closed": ["watchlist", "books"], "market_open": False}, FAIL),
    ("notifications", {"notices": {"channel": "failing", "deaf": True, "waiting": 4}}, WARN),
    ("clock", {"skew_ms": -1000}, WARN),
    ("clock", {"skew_ms": 2000}, FAIL),
]


def verdicts(facts: dict[str, Any]) -> dict[str, str]:
    return {finding.name: finding.verdict for finding in health.judge(facts)}


def test_all_is_well() -> None:
    found = health.judge(WELL)
    assert {finding.verdict for finding in found} == {OK}
    assert len({finding.name for finding in found}) == len(health.CHECKS) == 14
    assert exit_code(found, strict=True) == 0


@pytest.mark.parametrize(("name", "change", "verdict"), BAD)
def test_one_thing_is_wrong_and_only_its_line_says_so(name: str, change: dict[str, Any], verdict: str) -> None:
    found = health.judge(WELL | change)
    assert {finding.name: finding.verdict for finding in found if finding.verdict != OK} == {name: verdict}
    (line,) = (finding for finding in found if finding.name == name)
    assert verdict == OK or line.what
    assert exit_code(found, strict=False) == (1 if verdict == FAIL else 2)
    assert exit_code(found, strict=True) == 1


def test_what_is_just_below_its_limit_is_well() -> None:
    below = {
        "bar_lag_s": 9.9,
        "expected_bars": 1,
        "expected_undecided": 1,
        "reconcile": {"agreed_age_s": 119.0, "differences": {}},
        "database": {"wal_bytes": 63_000_000, "disk_free_bytes": 1_000_000_000},
        "skew_ms": 999,
        "beat_age_s": 29.0,
        "gates_closed": ["mode"],
    }
    assert set(verdicts(WELL | below).values()) == {OK}


def test_a_gate_outside_of_a_session_is_no_news() -> None:
    assert verdicts(WELL | {"gates_closed": ["watchlist", "arming"], "market_open": False})["gates"] == OK


# ------------------------------------------------------------------------------------------------- the calendar

CONFIG = load(folder=Path("/nonexistent"), environ={}, options={"run.timeframe": "1m"})
SCHEDULE = Schedule(("XNYS", "XNYS"), MINUTE_MS)
TABLE = all_sessions(BELL)
AT = int(np.searchsorted(TABLE["date"], 20251126))  # the day before a holiday; the next session is a half day
OPEN, CLOSE = int(TABLE["open_ms"][AT]), int(TABLE["close_ms"][AT])


def due(now_ms: int, bar_ms: int, *, decided_ms: int = 0, decision_ms: int | None = None) -> dict[str, Any]:
    pulse = {"last_bar_ms": bar_ms, "last_decision_ms": bar_ms if decision_ms is None else decision_ms}
    facts = {"pulse": pulse, "feed": {"decided_ms": decided_ms or None}, "lag_ms": 0}
    return vitals(facts, CONFIG, np.zeros(1, PORTFOLIO)[0], SCHEDULE, now_ms)


def test_the_night_the_holiday_and_the_weekend_are_not_stale() -> None:
    next_open = int(TABLE["open_ms"][AT + 1])
    assert next_open - CLOSE > 36 * HOUR_MS
    for now_ms in (CLOSE + MINUTE_MS, CLOSE + 12 * HOUR_MS, next_open - 1, next_open):
        found = due(now_ms, CLOSE)
        assert (found["expected_bars"], found["expected_undecided"], found["bar_lag_s"]) == (0, 0, 0.0), now_ms
    assert not due(CLOSE + HOUR_MS, CLOSE)["market_open"]
    assert due(next_open + MINUTE_MS, CLOSE)["market_open"]


def test_inside_a_session_every_minute_counts_after_its_grace() -> None:
    bar_ms = OPEN + 30 * MINUTE_MS
    grace_ms = CONFIG.run.grace_ms + CONFIG.feed.ask_limit_ms
    fresh = due(bar_ms + MINUTE_MS + grace_ms, bar_ms)
    assert (fresh["expected_bars"], fresh["bar_lag_s"]) == (0, CONFIG.feed.ask_limit_ms / 1000)
    assert due(bar_ms + 3 * MINUTE_MS + grace_ms + 1, bar_ms)["expected_bars"] == 3
    late = due(bar_ms + 300 * MINUTE_MS, bar_ms)
    assert late["expected_bars"] == CONFIG.health.fail_bars + 1, "it counts no further than it must"
    assert late["bar_lag_s"] == 299 * 60 - CONFIG.run.grace_ms / 1000


def test_an_interval_in_which_nobody_traded_is_accounted_for() -> None:
    bar_ms = OPEN + 30 * MINUTE_MS
    found = due(bar_ms + 10 * MINUTE_MS, bar_ms, decided_ms=bar_ms + 9 * MINUTE_MS)
    assert (found["expected_bars"], found["expected_undecided"]) == (0, 0)


def test_bars_without_decisions_are_seen_though_bars_come() -> None:
    bar_ms = OPEN + 30 * MINUTE_MS
    found = due(bar_ms + 20_000, bar_ms, decided_ms=bar_ms, decision_ms=bar_ms - 4 * MINUTE_MS)
    assert (found["expected_bars"], found["expected_undecided"]) == (0, 4)


def test_the_morning_after_the_last_bar_of_yesterday() -> None:
    """Ten minutes after the opening bell without a bar: late since the first minute's close, not since yesterday."""
    next_open = int(TABLE["open_ms"][AT + 1])
    found = due(next_open + 10 * MINUTE_MS, CLOSE)
    assert found["bar_lag_s"] == 9 * 60 - CONFIG.run.grace_ms / 1000


def test_closed_gates_by_name() -> None:
    port = np.zeros(1, PORTFOLIO)[0]
    port["outer_closed"] = 1 << codes.OUTER_WATCHLIST | 1 << codes.OUTER_DISK
    port["drained"] = 1
    port["daily_blocked"] = 1
    assert closed_gates(port) == ["watchlist", "disk", "drain", "daily_loss"]


# --------------------------------------------------------------------------------------------------- the pulse


def bars(seq: int, skip: int = codes.SKIP_NO_SIGNAL, flags: int = 0) -> StepRows:
    ts_ms = seq * MINUTE_MS
    decision = (ts_ms, 0, 0, 0, 0, 0, skip, 0, 0, 0, 0, 0, flags, 1.0, 0, 0, 0, 0, 0)
    return StepRows(seq=seq, kind="bars", ts_ms=ts_ms, bars=[(ts_ms, 0, flags, 1, 1, 1, 1, 1)], decisions=[decision])


@pytest.mark.parametrize(
    ("skip", "flags", "why"),
    [
        (codes.SKIP_FETCH_FAILED, codes.BAR_MISSING, "fetch_failed"),
        (codes.SKIP_PERSIST_FAILED, codes.BAR_RETRY, "persist_failed"),
        (codes.SKIP_CADENCE_FAILED, codes.BAR_CADENCE, "bars were lost before this one"),
        (codes.SKIP_NO_SIGNAL, codes.BAR_LATE, "bars came after downtime"),
    ],
)
def test_what_disturbs_and_how_many_clean_bars_end_it(skip: int, flags: int, why: str) -> None:
    pulse = Pulse(SystemClock(), wanted=3)
    pulse.tell(bars(1))
    assert pulse.disturbed == ""
    pulse.tell(bars(2, skip, flags))
    assert (pulse.disturbed, pulse.clean) == (why, 0)
    pulse.tell(bars(3))
    pulse.tell(bars(4, flags=codes.BAR_SILENT))
    pulse.tell(bars(4))
    assert (pulse.disturbed, pulse.clean) == (why, 2), "a silent bar is nothing new"
    pulse.tell(bars(5))
    assert pulse.disturbed == ""
    pulse.resumed(5)
    assert pulse.disturbed == "the daemon was started again"


def test_a_thin_symbols_own_holes_disturb_nobody() -> None:
    pulse = Pulse(SystemClock(), wanted=3)
    pulse.tell(bars(1, codes.SKIP_CADENCE_FAILED))
    assert (pulse.disturbed, pulse.holes, pulse.clean) == ("", 1, 1)


# ------------------------------------------------------------------------------------------ without an answer


def beat(state: Path, **change: Any) -> None:
    boot_id = check_health.BOOT_ID.read_text().strip()
    stamps = {"boot_id": boot_id, "monotonic_s": SystemClock().monotonic()}
    (state / "heartbeat.json").write_text(json.dumps(WELL | stamps | change))


def unanswered(state: Path) -> tuple[list[Finding], bool]:
    return check_health.findings(resolve(state, {}))


def test_nobody_there_and_no_heartbeat(tmp_path: Path) -> None:
    (finding,), absent = unanswered(tmp_path)
    assert absent
    assert finding.verdict == FAIL
    assert "no heartbeat" in finding.what


def test_a_fresh_heartbeat_without_a_socket_is_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    beat(tmp_path)
    found, absent = unanswered(tmp_path)
    assert not absent
    assert [finding.name for finding in found if finding.verdict != OK] == ["socket"]


@pytest.mark.parametrize("change", [{"monotonic_s": 1e12}, {"boot_id": "another"}, {"monotonic_s": None}])
def test_a_heartbeat_of_another_boot_proves_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    beat(tmp_path, **change)
    _, absent = unanswered(tmp_path)
    assert absent


def test_an_old_heartbeat_is_told_with_its_age(tmp_path: Path) -> None:
    beat(tmp_path, monotonic_s=SystemClock().monotonic() - 45)
    found, absent = unanswered(tmp_path)
    assert absent
    assert "45 s old" in found[0].what or "46 s old" in found[0].what
    assert found[1].name == "last heartbeat"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"null"])
def test_a_heartbeat_that_is_none_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "heartbeat.json").write_bytes(content)
    assert unanswered(tmp_path)[1]
