"""The machine that a release is deployed to: where its folders are, what systemd says, the service's own view.

Everything of the state folder is done as the service's user, in a transient unit that has the service's credentials.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from avwapd.ops.release import DeployRefused, Release

NOTE = "host.json"
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        return " ".join((self.err or self.out).split())[-400:]

    def facts(self) -> dict[str, Any]:
        """Its standard output as one JSON object; {} where it is none."""
        try:
            found = json.loads(self.out)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Host:
    """As the installation noted it in PREFIX/host.json."""

    service: ClassVar[str] = "avwapd.service"
    prefix: Path
    user: str
    group: str
    config: Path
    config_dir: Path
    state: Path
    cache: Path
    runtime: Path
    units: Path
    credentials: Path
    backups: Path

    @classmethod
    def read(cls, prefix: Path) -> Host:
        path = prefix / NOTE
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            paths = ("config", "config_dir", "state", "cache", "runtime", "units", "credentials")
            places = {name: Path(told[name]) for name in paths}
            places["backups"] = places["state"] / "backups"
            return cls(prefix, told["user"], told["group"], **places)
        except (OSError, ValueError, KeyError) as error:
            raise DeployRefused(f"no installation here ({error})", path, "contrib/systemd/install.sh first") from None

    def systemctl(self, *words: str, limit_s: float = LIMIT_S) -> Done:
        return call(["systemctl", *words], limit_s)

    def shown(self, *names: str) -> dict[str, str]:
        """Properties of the service."""
        done = self.systemctl("show", self.service, *(f"--property={name}" for name in names))
        return dict(line.split("=", 1) for line in done.out.splitlines() if "=" in line)

    def state_of(self) -> str:
        """active, failed, inactive, …"""
        return self.shown("ActiveState").get("ActiveState", "unknown")

    def runs_from(self, release: Release) -> bool:
        """Whether the service's main process is of this release."""
        pid = self.shown("MainPID").get("MainPID", "0")
        try:
            words = Path(f"/proc/{int(pid)}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return False
        return any(os.fsdecode(word).startswith(f"{release.folder}/") for word in words)

    def ask(self, release: Release, *words: str, limit_s: float = LIMIT_S) -> Done:
        """`avwapd WORDS` of the release, as the service would see it."""
        return self.as_service([str(release.program), "--config", str(self.config), *words], limit_s)

    def as_service(self, command: Sequence[str], limit_s: float) -> Done:
        """A command as the service's user, with the service's folders and credentials."""
        secrets = sorted(path for path in self.credentials.glob("*") if path.is_file())
        run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"]
        run += [f"--property=User={self.user}", f"--property=Group={self.group}", "--property=UMask=0077"]
        run += [f"--property=RuntimeMaxSec={limit_s:g}"]
        run += [f"--property=LoadCredential={path.name}:{path}" for path in secrets]
        run += [f"--setenv=AVWAPD_STATE_DIR={self.state}", f"--setenv=AVWAPD_CACHE_DIR={self.cache}"]
        if self.runtime.is_dir():  # it comes and goes with the daemon
            run += [f"--setenv=RUNTIME_DIRECTORY={self.runtime}"]
        run += ["--setenv=PYTHONDONTWRITEBYTECODE=1"]
        return call([*run, "--", *command], limit_s + 10)

    def status(self, release: Release) -> dict[str, Any]:
        """What the daemon says of itself; {} where none answers."""
        return self.ask(release, "ctl", "status", "--json", limit_s=20).facts()

    def take_units(self, release: Release) -> list[str]:
        """The release's units into systemd's folder; the names of those that changed."""
        changed = []
        for path in sorted((release.folder / "units").glob("avwapd*")):
            target = self.units / path.name
            if not target.is_file() or target.read_bytes() != path.read_bytes():
                beside = self.units / f".{path.name}.new"
                shutil.copyfile(path, beside)
                beside.chmod(0o644)
                beside.replace(target)
                changed.append(path.name)
        return changed

    def append(self, name: str, entry: dict[str, Any]) -> None:
        """A line in a file of the state folder, which stays the service's; a link there is not followed."""
        account = pwd.getpwnam(self.user)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        handle = os.open(self.state / name, flags, 0o600)
        try:
            os.fchown(handle, account.pw_uid, account.pw_gid)
            os.write(handle, (json.dumps(entry, sort_keys=True) + "\n").encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The entries of such a file, oldest first; a torn line is passed over."""
        found = []
        try:
            text = (self.state / name).read_text(encoding="utf-8")
        except OSError:
            return []
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return [entry for entry in found if isinstance(entry, dict)]


def call(command: Sequence[str], limit_s: float) -> Done:
    """Run to the end or the limit; never raises."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False, errors="replace")
    except subprocess.TimeoutExpired:
        return Done(124, "", f"no end within {limit_s:g} s: {' '.join(command[:4])} …")
    except OSError as error:
        return Done(127, "", str(error))
    return Done(done.returncode, done.stdout, done.stderr)
