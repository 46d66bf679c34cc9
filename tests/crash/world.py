"""One world: a venue that survives as a process of its own, and a daemon that lives many short lives beside it."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from avwapd.compiled import cache_folder
from tests.cli.process import clean_environ
from tests.crash import ledgers
from tests.crash.launch import Crash
from tests.crash.market import Play, window
from tests.tidy.rules import ROOT

LIFE_S = 120.0  # no life is longer
START_S = 60.0
VENUE_S = 60.0


@dataclass(frozen=True)
class Line:
    """The venue's manners. settling_ms: after how long what it does not know never arrived."""

    name: str
    faults: dict[str, float] = field(default_factory=dict)
    settling_ms: int = 400
    refuses_duplicates: bool = True
    market_clock: str = "feed"
    pace: float = 0.0

    def environ(self) -> dict[str, str]:
        return {
            "AVWAPD_EMBEDDED__SETTLING_MS": str(self.settling_ms),
            "AVWAPD_EMBEDDED__REFUSES_DUPLICATES": str(self.refuses_duplicates).lower(),
            "AVWAPD_EMBEDDED__MARKET_CLOCK": self.market_clock,
        }


@dataclass
class Life:
    """How a daemon ended. code: below 0 for a signal; outside: it was killed from here, not at its own point."""

    code: int
    outside: bool
    moments: set[str]
    wall_s: float
    said: str


class World:
    """Folders, the venue's process, and the daemon's lives one after the other."""

    def __init__(self, folder: Path, play: Play, line: Line, *, seed: int) -> None:
        folder.mkdir(parents=True)
        self.play, self.line, self.seed = play, line, seed
        self.state = folder / "state"
        self.state.mkdir()
        if play.archive is not None:
            (self.state / "archive").symlink_to(play.archive)
        self.book = folder / "venue.db"
        self.posts = folder / "posts.jsonl"
        self.log = folder / "daemon.log"
        self.audited = folder / "violation.txt"
        self.short = Path(tempfile.mkdtemp(prefix="avwapd-"))  # a socket's path has to be short
        self.kills: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.lives = 0
        self._folder = folder
        self._venue: subprocess.Popen[bytes] | None = None
        self._address = ""

    @property
    def ledger(self) -> Path:
        return self.state / "avwapd.db"

    # ------------------------------------------------------------------------------------------------- venue

    def open_venue(self) -> None:
        setup = self.play.setup()
        instruments = self._folder / "instruments.npy"
        np.save(instruments, setup.instruments)
        words = ["--book", self.book, "--posts", self.posts, "--instruments", instruments]
        words += ["--symbols", ",".join(setup.market.symbols), "--listen", f"unix:{self.short}/venue.sock"]
        words += ["--volume-share", setup.config.fills.volume_share]
        for key, value in {**self.line.faults, "seed": self.seed}.items():
            words += ["--fault", f"{key}={value}"]
        if not self.line.refuses_duplicates:
            words += ["--no-duplicate-check"]
        if self.line.pace:
            bars = self._folder / "bars.npy"
            np.save(bars, window(self.play))
            words += ["--free-run", self.line.pace, "--bars", bars]
        with (self._folder / "venue.log").open("ab") as log:
            self._venue = subprocess.Popen(
                [sys.executable, "-m", "avwapd.venues.server", *map(str, words)],
                env=self._environ(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._venue.stdout is not None
        readable, _, _ = select.select([self._venue.stdout], [], [], VENUE_S)
        told = self._venue.stdout.readline() if readable else b""
        assert told, f"the venue did not start: {(self._folder / 'venue.log').read_text()}"
        self._address = json.loads(told)["address"]

    def close(self) -> None:
        """End the venue; what it wrote stays."""
        if self._venue is not None:
            self._venue.terminate()
            try:
                self._venue.wait(10)
            except subprocess.TimeoutExpired:
                self._venue.kill()
                self._venue.wait(10)
            assert self._venue.stdout is not None
            self._venue.stdout.close()
            self._venue = None
        shutil.rmtree(self.short, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------ daemon

    def _environ(self) -> dict[str, str]:
        cache = os.environ.get("AVWAPD_CACHE_DIR") or str(cache_folder().parent.parent)
        quick = {"AVWAPD_CACHE_DIR": cache, "PYTHONWARNINGS": "error", "AVWAPD_DISK__BALLAST_MB": "0"}
        return clean_environ(self._folder) | quick

    def spawn(self, crash: Crash | None = None, *, module: str = "tests.crash.launch") -> subprocess.Popen[bytes]:
        """The daemon as a process; its log goes to a file."""
        told = {**self.play.environ, **self.line.environ(), **(crash or Crash()).environ()}
        told |= {"AVWAPD_STATE_DIR": str(self.state), "RUNTIME_DIRECTORY": str(self.short)}
        if self._address:
            told["AVWAPD_EMBEDDED__VENUE"] = self._address
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *self.play.words],
                env={**self._environ(), **told},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def live(self, crash: Crash | None = None, *, kill_after: tuple[bool, float] | None = None) -> Life:
        """One life to its end. kill_after: (from ready on, seconds) until it is killed from outside."""
        outside, begun = False, time.monotonic()
        at = self.log.stat().st_size if self.log.exists() else 0
        process = self.spawn(crash)
        try:
            if kill_after is not None:
                from_ready, seconds = kill_after
                if not from_ready or self.wait_ready(process, at):
                    self._wait(process, seconds)
                outside = process.poll() is None
                process.kill()
            code = process.wait(LIFE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)
            self._wait(process, 2.0)
            process.kill()
            process.wait(10)
            raise AssertionError(f"a life of more than {LIFE_S:g} s: {self.tail()}") from None
        self.lives += 1
        said = self.log.read_text(errors="replace")[at:]
        seen = ledgers.moments(self.ledger, self.book) if code < 0 and self._venue else set()
        return Life(code, outside, seen, time.monotonic() - begun, said)

    def wait_ready(self, process: subprocess.Popen[bytes], at: int) -> bool:
        """Whether it said that it is ready; False where it ended first."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            with self.log.open("rb") as log:
                log.seek(at)
                if b"ready:" in log.read(65_536):
                    return True
            if process.poll() is not None:
                return False
            time.sleep(0.01)
        return False

    @staticmethod
    def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def kill(self, kind: str, crash: Crash, *, kill_after: tuple[bool, float] | None = None) -> bool:
        """One life that is meant to be killed; False where it came to its end first. Any other end is an error."""
        life = self.live(crash, kill_after=kill_after)
        if life.code == 0:
            return False
        assert not self.violation(), self.violation()
        assert life.code == -signal.SIGKILL, f"ended with {life.code}: {life.said[-2000:]}"
        self.kills["random" if life.outside else kind] += 1
        self.seen.update(life.moments)
        return True

    def violation(self) -> str:
        """What the daemon's own audit found after a step."""
        return self.audited.read_text() if self.audited.exists() else ""

    def offline(self, verb: str, *options: str) -> list[str]:
        """What a verb has against the ledger, nothing where it ends with 0."""
        config = [word for word in self.play.words if word.endswith(".toml")]
        words = [verb, *options, *(["--config", *config] if config else []), "--state-dir", str(self.state)]
        done = subprocess.run(
            [sys.executable, "-m", "avwapd.cli", *words],
            env=self._environ() | self.play.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_S,
        )
        return [] if done.returncode == 0 else [f"avwapd {verb}: {done.stdout}{done.stderr}"]

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:] if self.log.exists() else ""

    def posted(self) -> list[str]:
        """Ids in the order in which requests arrived."""
        if not self.posts.exists():
            return []
        return [json.loads(row)["cid"] for row in self.posts.read_text().splitlines()]


@contextmanager
def opened(folder: Path, play: Play, line: Line, *, seed: int) -> Iterator[World]:
    world = World(folder, play, line, seed=seed)
    try:
        world.open_venue()
        yield world
    finally:
        world.close()
