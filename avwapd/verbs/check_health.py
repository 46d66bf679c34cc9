"""Is the daemon well? It is asked over its socket; where none answers, heartbeat.json says what was known last."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avwapd.ops.finding import FAIL, OK, WARN, Finding, exit_code
from avwapd.ops.health import STALL_S, judge
from avwapd.paths import Paths, resolve
from avwapd.verbs.check import summed, told
from avwapd.verbs.client import UNREACHABLE, DaemonError, ask

LIMIT_S = 10.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
START = "start it: avwapd run, or systemctl start avwapd"


def run_health(args: argparse.Namespace) -> int:
    found, absent = findings(resolve(args.state_dir))
    for finding in found:
        told(args, finding)
    summed(args, found, None)
    return UNREACHABLE if absent else exit_code(found, args.strict)


def findings(paths: Paths) -> tuple[list[Finding], bool]:
    """What the daemon says of itself, and whether none is there."""
    try:
        return judge(ask(paths.socket, "GET", "/v1/health", None, LIMIT_S)), False
    except DaemonError as error:
        if error.exit_code != UNREACHABLE:
            raise
        return unanswered(paths, error)


def unanswered(paths: Paths, error: DaemonError) -> tuple[list[Finding], bool]:
    """From the newest heartbeat: a fresh one means that it lives and does not answer."""
    beat = beat_of(paths.heartbeat)
    age_s = None if beat is None else age_of(beat)
    if beat is None or age_s is None or age_s > STALL_S:
        when = "and there was no heartbeat" if age_s is None else f"the last heartbeat is {words(age_s)} old"
        last = [Finding("last heartbeat", OK, last_words(beat))] if beat else []
        return [Finding("process", FAIL, f"{error.what}; {when}", error.next_step or START), *last], True
    alive = Finding("socket", WARN, f"{error.what}; it lives, its heartbeat is {words(age_s)} old", error.next_step)
    return [alive, *judge({**beat, "beat_age_s": age_s})], False


def beat_of(path: Path) -> Mapping[str, Any] | None:
    """The heartbeat as it lies there; None where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "limits" in found else None


def age_of(beat: Mapping[str, Any]) -> float | None:
    """Seconds, by a clock that nobody sets; None where the machine was started since."""
    from avwapd.ports import SystemClock

    try:
        same_boot = BOOT_ID.read_text(encoding="ascii").strip() == beat.get("boot_id")
    except OSError:
        same_boot = False
    stamp = beat.get("monotonic_s")
    if not same_boot or not isinstance(stamp, int | float):
        return None
    age = SystemClock().monotonic() - stamp
    return age if age >= 0 else None


def words(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def last_words(beat: Mapping[str, Any]) -> str:
    """Who it was and what it held."""
    phases = beat.get("phases") or {}
    held = sum(int(phases.get(name, 0)) for name in ("OPEN", "EXITING"))
    return f"pid {beat.get('pid')}, beat {beat.get('beat')}, {held} held, last bar {beat.get('last_ts_ms') or 'none'}"
