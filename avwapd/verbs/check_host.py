"""Is the machine set up for it: units and timers, their next runs, the time's source, the code as it was built."""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from avwapd.ops.finding import FAIL, OK, WARN, Finding

UNIT = "avwapd.service"
TIMERS = ("avwapd-scan", "avwapd-restart", "avwapd-health", "avwapd-verify", "avwapd-backup")
LIMIT_S = 10.0
INSTALL = "contrib/systemd/install.sh"
NAMED = 3
MANAGER = Path("/run/systemd/system")  # there where systemd is in charge


def findings(args: argparse.Namespace) -> Iterator[Finding]:
    yield of_files()
    if not MANAGER.exists() or shutil.which("systemctl") is None:
        what = "systemd is not in charge here: no units, no timers, nobody restarts the daemon"
        yield Finding("systemd", WARN, what, "run it where systemd is, or see to restarts yourself")
        yield of_time_without_manager()
        return
    yield of_unit()
    for timer in TIMERS:
        yield of_timer(timer)
    yield of_time()


def told(*words: str) -> dict[str, str]:
    """What a command says in KEY=VALUE lines; empty where it cannot be asked."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def of_unit() -> Finding:
    facts = told("systemctl", "show", UNIT, "-p", "LoadState,UnitFileState,ActiveState,SubState,NRestarts,Result")
    if facts.get("LoadState") != "loaded":
        return Finding("unit", WARN, f"{UNIT} is not installed", INSTALL)
    state = f"{facts.get('ActiveState')} ({facts.get('SubState')}), {facts.get('UnitFileState')}"
    if facts.get("ActiveState") == "failed":
        what = f"{state}: {facts.get('Result')}"
        return Finding("unit", FAIL, what, f"journalctl -u {UNIT} -n 50; systemctl reset-failed")
    enabled = facts.get("UnitFileState") == "enabled"
    restarts = facts.get("NRestarts", "0")
    words = f"{state}, {restarts} restarts"
    return Finding("unit", OK if enabled else WARN, words, "" if enabled else f"systemctl enable {UNIT}")


def of_timer(name: str) -> Finding:
    """Whether it waits, and for when."""
    asked = "LoadState,ActiveState,NextElapseUSecRealtime,LastTriggerUSec"
    facts = told("systemctl", "show", f"{name}.timer", "-p", asked)
    if facts.get("LoadState") != "loaded":
        return Finding(name, WARN, "the timer is not installed", INSTALL)
    if facts.get("ActiveState") != "active":
        return Finding(name, WARN, f"the timer is {facts.get('ActiveState')}", f"systemctl enable --now {name}.timer")
    last = facts.get("LastTriggerUSec") or "never"
    service = told("systemctl", "show", f"{name}.service", "-p", "Result,ExecMainStatus")
    when = f"next {facts.get('NextElapseUSecRealtime') or 'unknown'}, last {last}"
    if service.get("Result", "success") != "success":
        what = f"{when}; the last run failed: {service['Result']} {service.get('ExecMainStatus', '')}".rstrip()
        return Finding(name, WARN, what, f"journalctl -u {name}.service -n 50")
    return Finding(name, OK, when)


def of_time() -> Finding:
    facts = told("timedatectl", "show", "-p", "NTPSynchronized,NTP,Timezone")
    if not facts:
        return of_time_without_manager()
    if facts.get("NTPSynchronized") == "yes":
        return Finding("time", OK, "synchronized")
    return Finding("time", FAIL, "the clock is not synchronized: bars and orders need it", "timedatectl set-ntp true")


def of_time_without_manager() -> Finding:
    """As the kernel has it: whoever disciplines the clock tells it so."""
    import ctypes

    try:
        status = ctypes.CDLL(None, use_errno=True).ntp_adjtime(ctypes.create_string_buffer(256))
    except (OSError, AttributeError):
        return Finding("time", WARN, "whether the clock is synchronized cannot be told here", "see to an NTP client")
    if status in (-1, 5):  # refused, or TIME_ERROR: the kernel calls its own clock unsynchronized
        return Finding(
            "time", WARN, "the kernel calls its clock unsynchronized", "run an NTP client, here or on the host"
        )
    return Finding("time", OK, "synchronized, says the kernel")


def of_files() -> Finding:
    """Every installed file beside the hash that the wheel gave for it."""
    try:
        found = distribution("avwapd")
    except PackageNotFoundError:
        return Finding("files", WARN, "this code is not installed as a package", "pip install the wheel; see deploy.sh")
    record = found.read_text("RECORD")
    if is_editable(found) or record is None:
        return Finding("files", OK, "a checkout: there is no wheel to compare with")
    wrong, count = [], 0
    for name, digest, _ in csv.reader(io.StringIO(record)):
        if not digest:
            continue
        count += 1
        kind, _, wanted = digest.partition("=")
        path = Path(str(found.locate_file(name)))
        try:
            there = hashlib.new(kind, path.read_bytes()).digest()
        except (OSError, ValueError):
            there = b""
        if base64.urlsafe_b64encode(there).rstrip(b"=").decode() != wanted:
            wrong.append(name)
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        what = f"{len(wrong)} of {count} are not as the wheel had them: {', '.join(wrong[:NAMED])}{more}"
        return Finding("files", FAIL, what, "deploy the release anew")
    return Finding("files", OK, f"{count} files of avwapd {found.version}, as the wheel had them")


def is_editable(found: Distribution) -> bool:
    """Whether the package lies in a checkout."""
    told_by = json.loads(found.read_text("direct_url.json") or "{}")
    return bool(told_by.get("dir_info", {}).get("editable"))
