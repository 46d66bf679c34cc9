"""A real systemd, booted in a container over an overlay of this machine's root: nothing of the host is changed.

One at a time: these containers share a cgroup. It is ended by asking its first process, never by a kill of nspawn,
which would leave it running as an orphan.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = next(Path(sys.prefix).glob("lib/python3*/site-packages"))
PYTHON = "/usr/bin/python3"
HALT = 37  # SIGRTMIN+3: systemd halts
LIMIT_S = 60.0
CLEAN = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SYSTEMD_COLORS": "0"}


def lacking() -> str:
    """Why no machine can be booted here; "" where one can."""
    if os.getuid() != 0:
        return "a real systemd needs root"
    for program in ("systemd-nspawn", "nsenter", "unshare", "openssl"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: systemd-container, util-linux, openssl)"
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [PYTHON, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
    theirs = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if theirs != ours:
        return f"{PYTHON} is {theirs or 'absent'}, the packages of this environment are for {ours}"
    with tempfile.TemporaryDirectory(prefix="avwapd-overlay-", dir="/var/tmp") as name:
        mount = f"mkdir u w r && mount -t overlay overlay -o lowerdir=/,upperdir={name}/u,workdir={name}/w r"
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", mount]
        done = subprocess.run(command, cwd=name, capture_output=True, text=True, check=False)
    return f"no overlay can be mounted: {done.stderr.strip()}" if done.returncode else ""


class Machine:
    """The booted container."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.leader = 0
        self._nspawn: subprocess.Popen[bytes] | None = None

    # -------------------------------------------------------------------------------------------------- life

    def boot(self) -> None:
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True)
        mount = f"lowerdir=/,upperdir={self.folder}/upper,workdir={self.folder}/work"
        script = (
            f"mount -t overlay overlay -o {mount} {self.folder}/root && exec systemd-nspawn -q -D {self.folder}/root"
        )
        script += f" -b --register=no --keep-unit -M avwapd-{os.getpid()} --private-network --console=read-only"
        script += f" --bind-ro={SITE}:/opt/site --bind-ro={ROOT}:/opt/checkout"
        # A mount namespace of its own: the overlay goes when the container does, whatever becomes of us.
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script]
        with (self.folder / "console").open("wb") as log:
            self._nspawn = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self._booted, "the machine boots", lambda: (self.folder / "console").read_text(errors="replace")[-2000:])

    def _booted(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, (self.folder / "console").read_text(errors="replace")
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self._nspawn.pid)], capture_output=True, text=True)
        if not found.stdout.strip():
            return False
        self.leader = int(found.stdout.split()[0])
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        return state in ("running", "degraded")

    def halt(self) -> None:
        if self._nspawn is None:
            return
        if self._nspawn.poll() is None and self.leader:
            os.kill(self.leader, HALT)
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            os.kill(self.leader, HALT + 1)
            self._nspawn.wait(20)

    # ------------------------------------------------------------------------------------------------ inside

    @property
    def root(self) -> Path:
        """The machine's root, seen from here; what lies below a mounted overlay must not be touched."""
        return Path(f"/proc/{self.leader}/root")

    def run(self, *words: str, check: bool = True, limit_s: float = 120) -> subprocess.CompletedProcess[str]:
        """A command inside, as root."""
        command = [
            "nsenter",
            "-t",
            str(self.leader),
            "-a",
            "env",
            "-i",
            *(f"{k}={v}" for k, v in CLEAN.items()),
            *words,
        ]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, errors="replace"
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
        return done

    def out(self, *words: str) -> str:
        return self.run(*words).stdout.strip()

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        lines = self.out("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def read(self, path: str) -> str:
        return self.out("cat", path)

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    @contextmanager
    def drop_in(self, unit: str, content: str) -> Iterator[None]:
        """A change of a unit for one test."""
        folder = f"/run/systemd/system/{unit}.d"
        self.write(f"{folder}/zz-test.conf", content)
        self.run("systemctl", "daemon-reload")
        try:
            yield
        finally:
            self.run("rm", "-r", folder)
            self.run("systemctl", "daemon-reload")

    def journal(self, *words: str) -> str:
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "-q", *words, check=False).stdout


@contextmanager
def machine() -> Iterator[Machine]:
    """The only one: a second test run waits."""
    with (Path(tempfile.gettempdir()) / "avwapd-nspawn.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = Path(tempfile.mkdtemp(prefix="avwapd-machine-", dir="/var/tmp"))
        found = Machine(folder)
        try:
            found.boot()
            yield found
        finally:
            found.halt()
            shutil.rmtree(folder, ignore_errors=True)


def until(seen: Callable[[], object], what: str, told: Callable[[], object] = str, limit_s: float = LIMIT_S) -> None:
    """Look until it is so; a failure says what was awaited and what is."""
    end = time.monotonic() + limit_s
    while not seen():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what}\n{told()}"
        time.sleep(0.05)
