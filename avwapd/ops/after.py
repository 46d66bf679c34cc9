"""Whether a daemon that was just restarted trades: READY in time, the right code, one epoch on, books agreed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from avwapd.ops.host import Host
from avwapd.ops.release import Release

POLL_S = 0.25
ASKED = 40  # times, until the daemon answers after READY
GOOD = (0, 2, 64)  # ok; warn: after a restart the cadence is still in its grace; 64: a release that has no such check


@dataclass(frozen=True, slots=True)
class After:
    host: Host
    ready_s: float
    settle_s: float

    def restarted(self, release: Release, before: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Restart the service; what is wrong then, and its health. before: `health` of the one before.

        What was ill before the deploy does not count against it.
        """
        self.host.systemctl("reset-failed", self.host.service)
        done = self.host.systemctl("restart", self.host.service, limit_s=self.ready_s)
        if done.code:
            told = self.host.shown("ActiveState", "Result", "ExecMainStatus")
            words = ", ".join(f"{name} {value}" for name, value in told.items())
            return [f"it is not ready within {self.ready_s:g} s: {words or done.words}"], told
        if not self.host.runs_from(release):
            return [f"the process that runs is not of {release.name}"], {}
        status = self._answer(release)
        if not status:
            return ["it does not answer on its control socket"], {}
        problems = wrong(status, before) + self._stays()
        health = self.health(release)
        if health.get("epoch") != status.get("epoch"):
            problems.append("it was started again meanwhile")
        if health["check"] not in GOOD and before.get("check", 0) in GOOD:
            problems.append(f"avwapd check --mode health: {health['words']}")
        return problems, health

    def health(self, release: Release) -> dict[str, Any]:
        """What the log keeps of it, before and after."""
        status = self.host.status(release)
        kept = ("version", "mode", "run", "epoch", "ready", "phases", "equity", "in_doubt", "halted", "last_ts_ms")
        done = self.host.ask(release, "check", "--mode", "health")
        facts: dict[str, Any] = {"service": self.host.state_of(), "check": done.code}
        if done.code not in GOOD:
            facts["words"] = (done.out + done.err).strip()[-400:]
        return {name: status[name] for name in kept if name in status} | facts

    def _answer(self, release: Release) -> dict[str, Any]:
        for _ in range(ASKED):
            status = self.host.status(release)
            if status.get("ready"):
                return status
            time.sleep(POLL_S)
        return {}

    def _stays(self) -> list[str]:
        """One that falls over a moment after READY is no good either."""
        for _ in range(max(1, round(self.settle_s / POLL_S))):
            time.sleep(POLL_S)
            state = self.host.shown("ActiveState", "NRestarts")
            if state.get("ActiveState") != "active" or state.get("NRestarts", "0") != "0":
                return [f"it did not stay up: {state}"]
        return []


def wrong(status: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """What a daemon's first words say against it, beside what the one before it said."""
    problems = []
    if "epoch" in before and status.get("epoch") != before["epoch"] + 1:
        problems.append(f"epoch {status.get('epoch')} after {before['epoch']}: not the same ledger, or not one start")
    if status.get("in_doubt"):
        problems.append(f"orders in doubt: {', '.join(map(str, status['in_doubt']))}")
    if fresh := sorted(set(status.get("halted", ())) - set(before.get("halted", ()))):
        problems.append(f"halted since: {', '.join(fresh)}")
    if differences := (status.get("reconcile") or {}).get("differences"):
        problems.append(f"ledger and venue differ: {differences}")
    return problems
