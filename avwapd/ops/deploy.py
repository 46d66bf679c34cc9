"""A new release beside the old, checks, the switch, checks, and the way back by itself.

    build -> checks before -> backup -> switch -> restart -> checks after -> log
                                                     └ one fails -> switch back -> restart -> checks -> log

What is refused before the switch changed nothing. After it, the old release trades on, or the words say why it cannot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from avwapd.ops import release as releases
from avwapd.ops.after import After
from avwapd.ops.host import Host
from avwapd.ops.release import DeployRefused, Release
from avwapd.store.tally import Tally

LOG = "deployments.jsonl"
RUNNING = ("active", "activating", "reloading", "failed")
COMPILE_LIMIT_S = 600.0
SELF_LIMIT_S = 300.0


class Closed(DeployRefused):
    """Not now."""

    exit_code = 75


@dataclass
class Deployment:
    """One deploy or rollback. say: takes each step's line; now: the time for the log, in words; elapsed_s: a clock that
    only runs forward.
    """

    host: Host
    say: Callable[[str], None]
    now: Callable[[], str]
    elapsed_s: Callable[[], float]
    why: str = ""
    ready_s: float = 180.0
    settle_s: float = 5.0
    dry: bool = False
    entry: dict[str, Any] = field(default_factory=dict)

    # ------------------------------------------------------------------------------------------------ forward

    def forward(
        self,
        wheel: Path,
        prepare: Callable[[Release], None],
        *,
        in_session: bool = False,
        self_check: bool = True,
    ) -> int:
        """Deploy this wheel; 0 where it trades, 1 where the old release had to come back. prepare: builds it."""
        host, old = self.host, releases.linked(self.host.prefix, "current")
        new = releases.identify(wheel, host.prefix)
        self._open("deploy" if old else "install", old, new)
        if old is not None and old.name == new.name:
            self.say(f"{new.name} is in use already: nothing to do")
            return 0
        self._closed_market(old, in_session)
        if self.dry:
            return self._told(new, old)
        self.say(f"building {new.name}")
        prepare(new)
        self._compile(new, old)
        tally = self._checks_before(new, self_check)
        self._backup(new, old, tally)
        return self._switch(new, old, tally)

    def _told(self, new: Release, old: Release | None) -> int:
        state = self.host.state_of()
        for line in (
            f"would build {new.folder}, compile its engine as {self.host.user}",
            "would check: configuration, proofs, ledger; would copy the ledger to " + str(self.host.backups),
            f"would turn {self.host.prefix / 'current'} from {old.name if old else 'nothing'} to {new.name}",
            f"would restart {self.host.service}" if state in RUNNING else f"would leave {self.host.service} {state}",
            "dry run: nothing was changed",
        ):
            self.say(line)
        return 0

    def _closed_market(self, old: Release | None, in_session: bool) -> None:
        """A restart in mid-session is asked for by name."""
        if old is None or self.host.state_of() not in RUNNING:
            return
        session = self.host.ask(old, "session", "--json").facts()
        if session.get("open") and not in_session:
            what, then = "the market is open, and a deploy restarts the daemon", "after the close, or with --now"
            raise Closed(what, self.host.service, then)

    def _compile(self, new: Release, old: Release | None) -> None:
        """Machine code before the switch, so that the start does not wait for it; the old release's, where it fits."""
        if old is not None:
            packages = next((old.folder / "venv" / "lib").glob("python3*/site-packages"))
            command = [str(new.python), "-m", "avwapd.ops.carry", str(packages / "avwapd")]
            carried = self.host.as_service(command, COMPILE_LIMIT_S)
            if carried.code == 0:
                self.say(carried.words)
                return
        done = self.host.as_service([str(new.python), "-m", "avwapd.research.precompile"], COMPILE_LIMIT_S)
        if done.code:
            raise DeployRefused(f"its engine does not compile: {done.words}", new.name, "nothing was switched")

    def _checks_before(self, new: Release, self_check: bool) -> Tally | None:
        """The new program against this configuration and this ledger; what the ledger holds."""
        self._passes(new, ["check", "--mode", "config"])
        if self_check:
            self._passes(new, ["check", "--mode", "self"], SELF_LIMIT_S)
        tally = self.tally(new)
        self.entry["tally"] = asdict(tally) if tally else None
        if tally is not None and tally.schema > new.schema:
            what = f"the ledger has layout {tally.schema}, this release knows {new.schema}"
            raise DeployRefused(what, new.name, "deploy a newer one; an older one only through rollback")
        if tally is not None:
            self._passes(new, ["db", "check"])
        return tally

    def _passes(self, new: Release, words: Sequence[str], limit_s: float = 120.0) -> None:
        done = self.host.ask(new, *words, limit_s=limit_s)
        self.say(f"avwapd {' '.join(words)}: {'ok' if done.code in (0, 2) else f'exit {done.code}'}")
        if done.code not in (0, 2):
            what = f"avwapd {' '.join(words)} fails: {(done.out + done.err).strip()[-600:]}"
            raise DeployRefused(what, new.name, "nothing was switched")

    def _backup(self, new: Release, old: Release | None, tally: Tally | None) -> None:
        if tally is None:
            return
        # The release that wrote the ledger copies it; the new one, where the old is too old to know how.
        attempts = [self.host.ask(one, "db", "backup", "--json", str(self.host.backups)) for one in (new, old) if one]
        done = next((one for one in attempts if one.code == 0), attempts[0])
        facts = done.facts()
        if done.code or "path" not in facts:
            raise DeployRefused(f"the ledger cannot be copied: {done.words}", self.host.backups, "nothing was switched")
        self.entry["backup"] = facts["path"]
        self.say(f"ledger copied to {facts['path']}")

    # ------------------------------------------------------------------------------------------------- switch

    def _switch(self, new: Release, old: Release | None, tally: Tally | None) -> int:
        after = self._after()
        was = self.host.state_of()
        health = after.health(old) if old and was in RUNNING else {"service": was}
        self.entry["health_before"] = health
        if was not in RUNNING:
            self._turn(new, old)
            self.say(f"{self.host.service} is {was}: left so; systemctl start {self.host.service}")
            return self._close("switched, not started", 0)
        self._turn(new, old)
        self.say(f"restarting {self.host.service}")
        try:
            problems, self.entry["health_after"] = after.restarted(new, health)
        except BaseException:
            self._close("interrupted while it started: look, then rollback.sh", 1)
            raise
        if not problems:
            gone = releases.prune(self.host.prefix)
            self.say(f"{new.name} trades" + (f"; taken away: {', '.join(gone)}" if gone else ""))
            return self._close("ok", 0)
        self.entry["problems"] = problems
        for problem in problems:
            self.say(f"failed: {problem}")
        return self._return(new, old, tally)

    def _after(self) -> After:
        return After(self.host, self.ready_s, self.settle_s, self.say, self.elapsed_s)

    def _turn(self, to: Release, back: Release | None) -> None:
        if back is not None:
            releases.point(self.host.prefix, "previous", back)
        releases.point(self.host.prefix, "current", to)
        changed = self.host.take_units(to)
        self.host.systemctl("daemon-reload")
        if changed:
            self.say(f"units changed: {', '.join(changed)}")

    def _return(self, new: Release, old: Release | None, before: Tally | None) -> int:
        """By itself back to the old release, unless the ledger has moved on to where it cannot read."""
        if old is None:
            return self._close("failed; there is no release to go back to", 1)
        self.host.systemctl("stop", self.host.service)
        now = self.tally(new)
        moved = now is not None and now.schema > old.schema
        if moved and (before is None or now is None or now.traded_since(before)):
            words = f"the ledger has layout {now.schema if now else '?'} and traded since: {old.name} cannot read it"
            self.say(f"stopped, not rolled back: {words}")
            self.say(f"next: mend {new.name} and deploy forward; positions keep their stops at the venue")
            return self._close(f"failed, stopped: {words}", 1)
        self.say(f"rolling back to {old.name}")
        releases.point(self.host.prefix, "current", old)
        self.host.take_units(old)
        self.host.systemctl("daemon-reload")
        if moved:
            try:
                self.restore(new, Path(self.entry["backup"]))
            except DeployRefused as refused:
                self._close(f"failed, stopped: {refused.what}", 1)
                raise
        after = self._after()
        ill = {"check": self.entry["health_before"].get("check", 0)}
        problems, self.entry["health_rolled_back"] = after.restarted(old, ill)
        for problem in problems:
            self.say(f"failed after rolling back: {problem}")
        outcome = "failed; rolled back, " + ("and that fails too" if problems else f"{old.name} trades on")
        self.say(outcome)
        return self._close(outcome, 1)

    def restore(self, release: Release, backup: Path) -> None:
        """The ledger as it was before the migration; the present one is kept aside."""
        done = self.host.ask(release, "db", "restore", "--force-older", str(backup), limit_s=600)
        if done.code:
            raise DeployRefused(f"the ledger was not restored: {done.words}", backup, "avwapd db restore by hand")
        self.say(f"ledger restored from {backup}: nothing was traded since")

    # --------------------------------------------------------------------------------------------------- back

    def back(self, *, in_session: bool = False, restore: bool = False) -> int:
        """To the release before; a ledger in a newer layout is refused, or restored where nothing was traded."""
        current, to = releases.linked(self.host.prefix, "current"), releases.linked(self.host.prefix, "previous")
        if current is None or to is None or to.name == current.name:
            raise DeployRefused("there is no release before this one", self.host.prefix, "deploy the one you want")
        self._open("rollback", current, to)
        self._closed_market(current, in_session)
        now = self.tally(current)
        self.entry["tally"] = asdict(now) if now else None
        backup = self._way(now, to, restore) if now is not None and now.schema > to.schema else None
        if self.dry:
            self.say(f"would go back from {current.name} to {to.name}" + (f" and restore {backup}" if backup else ""))
            self.say("dry run: nothing was changed")
            return 0
        if backup is None:
            self._backup(current, None, now)
            return self._switch(to, current, now)
        was = self.host.state_of()
        self.host.systemctl("stop", self.host.service)
        if self._moved(backup):
            self.host.systemctl("start", self.host.service)
            raise DeployRefused("something was traded while it stopped", self.host.state, "look, then deploy forward")
        self._turn(to, current)
        self.restore(current, Path(backup["backup"]))
        problems: list[str] = []
        if was in RUNNING:
            after = self._after()
            problems, self.entry["health_after"] = after.restarted(to, {})
        self.entry["problems"] = problems
        return self._close("failed" if problems else "ok, ledger restored", 1 if problems else 0)

    def _way(self, now: Tally, to: Release, restore: bool) -> dict[str, Any]:
        """The copy that the deploy made before it migrated, where going back to it loses nothing; else words."""
        where = f"{to.name} knows layout {to.schema}, the ledger has {now.schema}"
        entry = self._migrated(to)
        if entry is None:
            what = "the ledger was migrated, and no copy from before is noted"
            raise DeployRefused(what, where, "deploy a newer release: it alone reads this ledger")
        if now.traded_since(Tally(**entry["tally"])):
            what = "the ledger was migrated and traded since: the copy knows nothing of those orders"
            raise DeployRefused(what, where, "deploy a mended release forward; the old one would trade blindly")
        if not restore:
            what = f"the ledger was migrated; nothing was traded since, so the copy {entry['backup']} is right"
            raise DeployRefused(what, where, "say rollback --restore: it stops, restores that copy and goes back")
        return entry

    def _migrated(self, to: Release) -> dict[str, Any] | None:
        entries = reversed(self.host.lines(LOG))
        fit = (one for one in entries if one.get("backup") and (one.get("tally") or {}).get("schema", 99) <= to.schema)
        return next(fit, None)

    def _moved(self, entry: dict[str, Any]) -> bool:
        current = releases.linked(self.host.prefix, "current")
        now = self.tally(current) if current else None
        return now is None or now.traded_since(Tally(**entry["tally"]))

    # ---------------------------------------------------------------------------------------------------- log

    def tally(self, release: Release) -> Tally | None:
        """Of the ledger, read by this release's program."""
        facts = self.host.ask(release, "deploy", "--tally", "--json").facts()
        return Tally(**facts["tally"]) if facts.get("tally") else None

    def _open(self, what: str, old: Release | None, new: Release) -> None:
        self.entry = {
            "at": self.now(),
            "what": what,
            "why": self.why,
            "by": os.environ.get("SUDO_USER") or f"uid {os.getuid()}",
            "from": old.name if old else None,
            "to": new.name,
            "way_back": f"contrib/systemd/rollback.sh (to {old.name})" if old else "contrib/systemd/uninstall.sh",
        }
        self.say(f"{what}: {old.name if old else 'nothing'} -> {new.name}")

    def _close(self, outcome: str, code: int) -> int:
        self.entry["outcome"] = outcome
        self.entry["ended"] = self.now()
        self.host.append(LOG, self.entry)
        return code
