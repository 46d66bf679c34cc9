"""Whether a daemon that was just restarted trades: READY in time, the right code, one epoch on, books agreed.

What passes by itself is waited for: an order is in doubt until its look-up is answered, a difference is none before two
readings agree. What is still there when the time is over counts against the release like anything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from avwapd.ops.host import Host
from avwapd.ops.release import Release

POLL_S = 0.25
ASKED = 40  # times, until the daemon answers after READY
GOOD = (0, 2, 64)  # ok; warn: after a restart the cadence is still in its grace; 64: a release that has no such check


@dataclass(frozen=True, slots=True)
class After:
    """say: takes a line; elapsed_s: a clock that only runs forward."""

    host: Host
    ready_s: float
    settle_s: float
    say: Callable[[str], None]
    elapsed_s: Callable[[], float]

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
        if problems := self._stays():
            return wrong(status, before) + problems, self._health(release, status)
        return self._judged(release, before, status.get("epoch"))

    def _judged(self, release: Release, before: dict[str, Any], epoch: object) -> tuple[list[str], dict[str, Any]]:
        """Look until nothing is left that may pass, for as long as a start may take.

        Orders count that were in doubt at every look: one that trading brought into doubt meanwhile is another matter.
        """
        until = self.elapsed_s() + self.ready_s
        doubtful: set[str] | None = None
        said: list[str] = []
        while True:
            status = self.host.status(release)
            problems = lasts(status, before) + self._fallen()
            if status and status.get("epoch") != epoch:
                problems.append("it was started again meanwhile")
            if status:
                doubtful = doubts(status) if doubtful is None else doubtful & doubts(status)
            passing = passes(status, doubtful or set()) if status else ["it answers no more on its control socket"]
            if problems or not passing or self.elapsed_s() >= until:
                break
            if passing != said:
                self.say(f"waiting up to {self.ready_s:g} s for this to pass: {'; '.join(passing)}")
                said = passing
            time.sleep(POLL_S)
        problems += passing
        health = self._health(release, status)
        if health["check"] not in GOOD and before.get("check", 0) in GOOD:
            problems.append(f"avwapd check --mode health: {health['words']}")
        return problems, health

    def health(self, release: Release) -> dict[str, Any]:
        """What the log keeps of it, before and after."""
        return self._health(release, self.host.status(release))

    def _health(self, release: Release, status: dict[str, Any]) -> dict[str, Any]:
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
            if fallen := self._fallen():
                return fallen
        return []

    def _fallen(self) -> list[str]:
        state = self.host.shown("ActiveState", "NRestarts")
        if state.get("ActiveState") != "active" or state.get("NRestarts", "0") != "0":
            return [f"it did not stay up: {state}"]
        return []


def wrong(status: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """What a daemon's words say against it, beside what the one before it said."""
    return lasts(status, before) + passes(status, doubts(status))


def lasts(status: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Of that, what no waiting mends."""
    problems = []
    if status and "epoch" in before and status.get("epoch") != before["epoch"] + 1:
        problems.append(f"epoch {status.get('epoch')} after {before['epoch']}: not the same ledger, or not one start")
    if fresh := sorted(set(status.get("halted", ())) - set(before.get("halted", ()))):
        problems.append(f"halted since: {', '.join(fresh)}")
    return problems


def passes(status: dict[str, Any], doubtful: set[str]) -> list[str]:
    """Of that, what mostly passes in moments. doubtful: which orders in doubt count."""
    problems = []
    if doubtful:
        problems.append(f"orders in doubt: {', '.join(sorted(doubtful))}")
    if differences := (status.get("reconcile") or {}).get("differences"):
        problems.append(f"ledger and venue differ: {differences}")
    return problems


def doubts(status: dict[str, Any]) -> set[str]:
    return set(map(str, status.get("in_doubt") or ()))
