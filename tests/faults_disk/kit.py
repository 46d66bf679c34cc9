"""A daemon under a fault of its disk: strace answers its writes, or the disk is a small one of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from avwapd.store.reader import open_reader
from tests.crash import ledgers
from tests.crash.campaign import FREE, LOSSY
from tests.crash.launch import Crash
from tests.crash.market import Play, bundled
from tests.crash.world import Line, World
from tests.tidy.rules import ROOT

STANDING = replace(LOSSY, faults={})  # bars wait for the daemon
GOING_ON = replace(FREE, faults={}, pace=20.0)
LIMIT_S = 90.0
INJECTED = "(INJECTED)"
INNER = "AVWAPD_TEST_INNER"


class FaultyWorld(World):
    """prefix: the program under which the next daemon runs; settings: of its environment."""

    prefix: tuple[str, ...] = ()
    settings: dict[str, str] = {}  # noqa: RUF012 - replaced whole, never changed

    def spawn(self, crash: Crash | None = None, *, module: str = "avwapd.cli") -> subprocess.Popen[bytes]:
        told = {**self.play.environ, **self.line.environ(), "AVWAPD_EMBEDDED__VENUE": self._address, **self.settings}
        told |= {"AVWAPD_STATE_DIR": str(self.state), "RUNTIME_DIRECTORY": str(self.short)}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self.prefix, sys.executable, "-m", module, *self.play.words],
                env={**self._environ(), **told},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def said(self, at: int = 0) -> str:
        return self.log.read_text(errors="replace")[at:] if self.log.exists() else ""

    def strace(self, *inject: str, file: str) -> Path:
        """Run the next daemon under strace, which sees the calls about one file of the state folder alone."""
        told = self._folder / "strace.txt"
        calls = ",".join(dict.fromkeys(call for each in inject for call in each.split(":")[0].split(",")))
        faults = [word for each in inject for word in ("-e", f"inject={each}")]
        self.prefix = ("strace", "-f", "--seccomp-bpf", "-o", str(told), "-P", str(self.state / file),
                       "-e", f"trace={calls}", *faults)  # fmt: skip
        return told


def endless() -> Play:
    """Five market minutes in a fifth of a second, for as long as a test looks."""
    play = bundled()
    words = tuple(word if word != "max" else "1500" for word in play.words if word != "--once")
    return replace(play, words=words)


@contextmanager
def opened(folder: Path, play: Play, line: Line = STANDING, *, seed: int = 1) -> Iterator[FaultyWorld]:
    world = FaultyWorld(folder, play, line, seed=seed)
    try:
        world.open_venue()
        yield world
    finally:
        world.close()


@contextmanager
def running(world: FaultyWorld) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that is ready; killed if the test leaves it."""
    at = len(world.said())
    process = world.spawn()
    try:
        assert world.wait_ready(process, at), world.tail()
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, and what runs under it: strace would leave its child behind."""
    for child in children(process.pid):
        with closing_lookup():
            os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait(10)


@contextmanager
def closing_lookup() -> Iterator[None]:
    """Somebody else's end came first."""
    try:
        yield
    except ProcessLookupError:
        return


def children(pid: int) -> list[int]:
    try:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(word) for word in told.split()]


def until(true: Callable[[], object], what: Callable[[], str], limit_s: float = LIMIT_S) -> None:
    stop = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < stop, what()
        time.sleep(0.02)


def question(world: World, sql: str, *given: Any) -> list[tuple[Any, ...]]:
    with closing(open_reader(world.ledger)) as conn:
        return conn.execute(sql, given).fetchall()


def holds_something(world: World) -> bool:
    """A position under a stop that rests at the venue."""
    if not world.ledger.exists():
        return False
    return bool(question(world, "SELECT 1 FROM positions WHERE phase = 'OPEN'")) and bool(stops(world))


def stops(world: World) -> set[str]:
    """Ids of the stops that rest at the venue."""
    with closing(ledgers.open_book(world.book)) as conn:
        return {cid for (cid,) in conn.execute("SELECT cid FROM orders WHERE type = 'stop' AND state = 'live'")}


def executed(world: World) -> set[str]:
    """Ids of the orders that the venue has filled."""
    with closing(ledgers.open_book(world.book)) as conn:
        return {cid for (cid,) in conn.execute("SELECT cid FROM orders WHERE state = 'filled'")}


def sound(world: World, play: Play) -> list[str]:
    return ledgers.broken(world.ledger, world.book, account=play.config({}).run.account)


@dataclass(frozen=True)
class Mounted:
    """A file system of its own under the state folder."""

    place: Path

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.place)], check=True, capture_output=True)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Mounted]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(place)],
                   check=True, capture_output=True)  # fmt: skip
    try:
        yield Mounted(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """A folder or a file as a read-only mount of itself."""
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True, capture_output=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True, capture_output=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def may_mount() -> bool:
    done = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)
    return done.returncode == 0


def mounts_here(request: pytest.FixtureRequest) -> bool:
    """True where this process may mount. Else the test is run in a user namespace, or skipped with the reason."""
    if may_mount():
        return True
    if INNER in os.environ:
        pytest.fail("no mount even inside a user namespace of our own")
    tried = subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip("neither root nor user namespaces: no disk can be mounted here, rows 9 and 14 are NOT tested")
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", request.node.nodeid],
        cwd=ROOT, env=os.environ | {INNER: "1"}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    return False


def needs_strace() -> None:
    there = shutil.which("strace")
    if there is None or subprocess.run([there, "-o", "/dev/null", "true"], check=False, capture_output=True).returncode:
        pytest.skip("strace may not trace here: rows 9, 10 and 18 are NOT tested with a real daemon")
