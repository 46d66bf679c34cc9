"""An exchange's daily bars for the scan: symbol after symbol, mapped into memory, with their corporate actions.

A child process derives them from the archive (the libraries that read Parquet stay out of this process); here
they are mapped, checked by their checksum and made anew when the archive has changed. The layout of the file stands
in `store.daily`.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avwapd.core.daily import Days
from avwapd.feeds import FeedError
from avwapd.feeds.calendar import BELL, all_sessions, calendar_version, stamps_of

FORMAT = 2  # moves when the same archive would give another file
CHILD_LIMIT_S = 600
TRIES = 3  # for an archive that is written while it is read
MAGIC = b"avwapd daily bars 1\n"
TAIL = 128


class Problem(NamedTuple):
    """Bars of one symbol that were left out for one reason; the archive still has them."""

    kind: str  # no_session, misplaced, unfit, duplicate, no_bell
    symbol: str
    bars: int
    first_ms: int  # the earliest one's ts_ms
    detail: str  # the reason in words


@dataclass(frozen=True)
class DailyMarket:
    """Daily bars of one exchange with a closing bell. The arrays are read-only."""

    exchange: str
    symbols: tuple[str, ...]  # sorted
    days: Days
    sessions: NDArray[np.void]  # SESSION records, the calendar's whole table; `days.session` is an index into it
    data_hash: str  # sha256 of the columns' bytes, the symbols' names among them
    calendar_version: str
    problems: tuple[Problem, ...]

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Which sessions of the calendar any symbol has a bar of."""
        found = np.zeros(len(self.sessions), np.bool_)
        found[self.days.session] = True
        return found


@dataclass(frozen=True)
class DailyRequest:
    """`load()` gives the bars where they lie ready; else run `command()` first."""

    archive: Path
    exchange: str

    @property
    def out(self) -> Path:
        return self.archive / ".daily" / self.exchange

    def files(self) -> list[Path]:
        return sorted((self.archive / self.exchange / "1d").glob("[0-9]*.parquet"))

    def sources(self) -> str:
        """A digest of name, size, time and inode of every file the bars come from."""
        digest = hashlib.sha256()
        others = (self.archive / self.exchange / "actions.csv", self.archive / "instruments.json")
        for path in (*self.files(), *others):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            digest.update(f"{path.name} {facts.st_size} {facts.st_mtime_ns} {facts.st_ino}\n".encode())
        return digest.hexdigest()

    def stamp(self) -> dict[str, Any]:
        """What must be equal for derived bars to be used."""
        return {"format": FORMAT, "sources": self.sources(), "calendar_version": calendar_version()}

    def command(self) -> list[str]:
        """The child that derives the bars. Leaves the calendar's days where the child finds them."""
        stamp = json.dumps(self.stamp())
        self.out.mkdir(parents=True, exist_ok=True)
        days = self.out / f"{BELL}-{calendar_version()}.npy"
        beside = days.with_name(f".{days.name}.{os.getpid()}")
        sessions = all_sessions(BELL)
        with beside.open("wb") as file:
            np.save(file, np.stack([stamps_of(BELL, sessions), sessions["date"].astype(np.int64)]))
        beside.replace(days)
        words = ["--archive", self.archive, "--exchange", self.exchange, "--out", self.out, "--days", days]
        return [sys.executable, "-m", "avwapd.store.daily", *map(str, words), "--stamp", stamp]

    def load(self) -> DailyMarket | None:
        """The bars, mapped, where they lie there, fit the archive's files and have their checksum."""
        try:
            slab = np.memmap(self.out / "days.bin", np.uint8, "r")
            facts = _facts(slab)
            if any(facts[name] != value for name, value in self.stamp().items()):
                return None
            if zlib.crc32(slab[: facts["size"]].data) != facts["crc32"]:
                return None
            columns = {name: _column(slab, *where) for name, where in facts["columns"].items()}
            return DailyMarket(
                exchange=facts["exchange"],
                symbols=tuple(json.loads(columns.pop("symbols").tobytes())),
                days=Days(**columns),
                sessions=all_sessions(BELL),
                data_hash=facts["data_hash"],
                calendar_version=facts["calendar_version"],
                problems=tuple(Problem(*row) for row in facts["problems"]),
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None  # absent or damaged: it is only derived, the archive has the bars


def load_daily(archive: Path, exchange: str) -> DailyMarket:
    """All daily bars of an exchange; blocks while a child derives them, if need be. Raises FeedError."""
    request = DailyRequest(archive, exchange)
    if not exchange or "/" in exchange or exchange.startswith(".") or not request.files():
        next_step = "import them with `avwapd bars import FILE… --timeframe 1d`, or see `avwapd bars list`"
        raise FeedError(f"there are no daily bars of {exchange or 'an exchange without a name'}", archive, next_step)
    market = request.load()
    for _ in range(TRIES):
        if market is not None:
            return market
        _derive(request)
        market = request.load()
    if market is None:
        raise FeedError("the archive changes while it is read", archive, "wait for the import to end, then try again")
    return market


def _derive(request: DailyRequest) -> None:
    """Run the child; its error is ours."""
    try:
        command = request.command()
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        what = f"deriving the daily bars took longer than {CHILD_LIMIT_S} s"
        raise FeedError(what, request.archive, "`avwapd bars check` looks at every file") from None
    except OSError as error:
        what = f"the derived daily bars cannot be written ({error.strerror or error})"
        raise FeedError(what, request.out, "free space or mend the folder's rights, then do it again") from error
    if done.returncode == 0:
        return
    last = (done.stderr.strip().splitlines() or ["the daily bars could not be derived"])[-1]
    try:
        told = json.loads(last)
        words = told["what"], told["where"], told["next_step"]
    except (ValueError, KeyError, TypeError):
        words = last, str(request.archive), "`avwapd bars check` looks at every file"
    raise FeedError(*words)


def _facts(slab: NDArray[np.uint8]) -> dict[str, Any]:
    """The head of the file, by its tail; ValueError where either is not whole."""
    tail = slab[-TAIL:].tobytes()
    if not tail.endswith(MAGIC):
        raise ValueError("not whole")
    digest, length = tail.removesuffix(MAGIC).split()
    head = slab[-TAIL - int(length) : -TAIL].tobytes()
    if hashlib.sha256(head).hexdigest() != digest.decode():
        raise ValueError("the head is damaged")
    facts: dict[str, Any] = json.loads(head)
    return facts


def _column(slab: NDArray[np.uint8], dtype: str, at: int, length: int) -> NDArray[Any]:
    # Plain arrays: compiled functions need not know of maps.
    return np.asarray(slab[at : at + length * np.dtype(dtype).itemsize].view(dtype))
