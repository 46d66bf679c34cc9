"""The morning command: every mode but `venue`, each under its name, n of m at the end."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from avwapd.config import ConfigError, config_hash, load
from avwapd.ops.finding import FAIL, WARN, Finding, exit_code
from avwapd.paths import resolve
from avwapd.verbs.check import configured, looking, told
from avwapd.verbs.check_health import findings as of_health

ORDER = ("config", "execution", "watchlist", "scan", "host", "health", "backtest", "self")


def run_all(args: argparse.Namespace) -> int:
    found: list[tuple[str, Finding]] = []
    broken = False
    for mode in ORDER:
        if not args.json:
            print(f"-- {mode}", flush=True)
        for finding in looks(mode, args, broken=broken):
            found.append((mode, finding))
            told(args, finding)
        if mode == "config":
            broken = any(finding.name == "configuration" and finding.verdict == FAIL for _, finding in found)
    findings = [finding for _, finding in found]
    good = sum(finding.verdict != FAIL for finding in findings)
    if args.json:
        print(json.dumps(facts(args, found, good)))
    else:
        print(f"{good} of {len(findings)}")
    return ConfigError.exit_code if broken else exit_code(findings, args.strict)


def looks(mode: str, args: argparse.Namespace, *, broken: bool) -> Iterator[Finding]:
    """One mode's findings. An error that says what to do next is one of them; the other modes are still looked at."""
    try:
        if mode == "config":
            yield from configured(args)[0]
        elif mode == "health":
            yield from without_daemon(args)
        elif mode == "host" or not broken:
            yield from looking(mode, args)
        else:
            yield Finding(mode, FAIL, "not looked at: the configuration cannot be used", "mend the configuration")
    except Exception as error:
        if not hasattr(error, "next_step"):
            raise
        yield Finding(mode, FAIL, f"{getattr(error, 'what', error)} ({getattr(error, 'where', '')})", error.next_step)


def without_daemon(args: argparse.Namespace) -> Iterator[Finding]:
    """In the morning a daemon that is not there yet is something to see, and no fault of what else there is."""
    found, absent = of_health(resolve(args.state_dir))
    for finding in found:
        yield replace(finding, verdict=WARN) if absent and finding.verdict == FAIL else finding


def facts(args: argparse.Namespace, found: list[tuple[str, Finding]], good: int) -> dict[str, object]:
    try:
        digest = config_hash(load(Path(args.config) if args.config else None))
    except ConfigError:
        digest = None
    return {
        "mode": "all",
        "ok": good == len(found),
        "passed": good,
        "total": len(found),
        "config_hash": digest,
        "checks": [{"mode": mode, **asdict(finding)} for mode, finding in found],
    }
