"""Cutting the power on paper: record what the ledger writes and syncs, then build the disks a cut could leave.

The recorder is a VFS that notes every write, truncate, sync and delete of the store's own SQL, and where a commit was
acknowledged. The replayer walks that log; at a cut, what was synced is on the disk for certain, and of the rest
nothing, some writes, or single 512-byte sectors of some writes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

import apsw

from avwapd.store import ledger
from avwapd.store.database import Synchronous, configure
from avwapd.store.rows import StepRows
from avwapd.store.sql import Connection
from tests.store import story

SECTOR = 512
BARRIER = 40  # symbols whose bars make one large commit
LONG = 30  # barriers after the story


@dataclass(frozen=True, slots=True)
class Event:
    """What the disk was asked to do, or (kind 'ack') what the caller was told: size is then the progress."""

    kind: str
    name: str = ""
    offset: int = 0
    data: bytes = b""
    size: int = 0


class Recorder(apsw.VFS):  # type: ignore[misc,name-defined]
    """The usual VFS with a log; only one connection uses it, so the order of the log is the order of the disk."""

    def __init__(self, name: str) -> None:
        self.log: list[Event] = []
        super().__init__(name, "", maxpathname=0)

    def xOpen(self, name: Any, flags: list[int]) -> RecordedFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return RecordedFile(self.log, Path(path or "").name, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        self.log.append(Event("delete", Path(name).name))
        super().xDelete(name, sync)


class RecordedFile(apsw.VFSFile):  # type: ignore[misc,name-defined]
    def __init__(self, log: list[Event], short: str, name: Any, flags: list[int]) -> None:
        self.log, self.short = log, short
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.log.append(Event("write", self.short, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self.log.append(Event("truncate", self.short, size=size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self.log.append(Event("sync", self.short))
        super().xSync(flags)


# ------------------------------------------------------------------------------------------------ recording


def work() -> Iterator[Callable[[Connection], None]]:
    """One transaction each: the story, then barriers of many symbols, as the writer would commit them."""
    yield lambda conn: cast(None, story.begin(conn))
    for part in story.steps():
        yield lambda conn, part=part: story.tell_one(conn, part)  # type: ignore[misc]
    yield lambda conn: cast(None, ledger.register_instruments(conn, story.instruments(BARRIER)))
    for seq in range(12, 12 + LONG):
        ts_ms = story.MINUTE * seq
        snapshot = bytes([seq]) * 3_000 if seq % 7 == 0 else None
        rows, words = story.bars(ts_ms, BARRIER), story.decisions(ts_ms, BARRIER)
        step = StepRows(seq, "bars", ts_ms, bars=rows, decisions=words, snapshot=snapshot)
        yield lambda conn, step=step: ledger.record_step(conn, step)  # type: ignore[misc]


def progress(conn: Connection) -> int:
    """A number that every transaction of `work` raises, whether it brings an input or only says SENDING."""
    parts = (
        "SELECT ifnull(max(seq), 0) FROM inputs",
        "SELECT ifnull(sum(attempts), 0) FROM outbox",
        "SELECT count(*) FROM instruments",
        "SELECT ifnull(max(epoch), 0) FROM instance",
    )
    return sum(int(conn.execute(part).fetchone()[0]) for part in parts)


def record(path: Path, synchronous: Synchronous, rng: Random) -> list[Event]:
    """Do the work on the ledger at `path`, with a checkpoint now and then; returns what the disk saw."""
    recorder = Recorder(f"recorder-{path}")
    conn = apsw.Connection(str(path), vfs=f"recorder-{path}")
    try:
        configure(conn, path, synchronous)
        for fn in work():
            conn.execute("BEGIN IMMEDIATE")
            fn(conn)
            reached = progress(conn)
            conn.execute("COMMIT")
            recorder.log.append(Event("ack", size=reached))
            if rng.random() < 0.1:
                conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return list(recorder.log)
    finally:
        conn.close()
        recorder.unregister()


# ------------------------------------------------------------------------------------------------- replaying


@dataclass
class Disk:
    """What is surely there, and what was written since but never synced."""

    files: dict[str, bytearray]
    waiting: dict[str, list[Event]] = field(default_factory=dict)
    acked: int = 0

    def take(self, event: Event) -> None:
        """The next event of the log."""
        if event.kind == "ack":
            self.acked = max(self.acked, event.size)
        elif event.kind == "delete":
            self.files.pop(event.name, None)
            self.waiting.pop(event.name, None)
        elif event.kind == "sync":
            for one in self.waiting.pop(event.name, []):
                apply(self.files.setdefault(event.name, bytearray()), one)
        elif not event.name.endswith("-shm"):
            self.waiting.setdefault(event.name, []).append(event)

    def cut(self, rng: Random) -> dict[str, bytearray]:
        """One of the disks a power cut could leave here."""
        files = copy.deepcopy(self.files)
        fate = rng.choice(("nothing", "some", "torn", "all"))
        for name, events in self.waiting.items():
            file = files.setdefault(name, bytearray())
            for event in events:
                if fate == "all" or (fate in ("some", "torn") and rng.random() < 0.5):
                    for part in sectors(event, rng) if fate == "torn" else (event,):
                        apply(file, part)
        return files


def sectors(event: Event, rng: Random) -> Iterator[Event]:
    """Some of the sectors of a write, as a drive that lost power in the middle leaves them."""
    if event.kind != "write":
        yield event
        return
    at = event.offset
    end = event.offset + len(event.data)
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR)
        if rng.random() < 0.5:
            yield Event("write", event.name, at, event.data[at - event.offset : stop - event.offset])
        at = stop


def apply(file: bytearray, event: Event) -> None:
    if event.kind == "truncate":
        del file[event.size :]
        return
    if len(file) < event.offset:
        file.extend(bytes(event.offset - len(file)))
    file[event.offset : event.offset + len(event.data)] = event.data


def cuts(
    start: dict[str, bytes], log: list[Event], count: int, rng: Random
) -> Iterator[tuple[int, dict[str, bytearray]]]:
    """(acknowledged progress, files) for `count` cuts at random places of the log."""
    places = sorted(rng.randrange(len(log) + 1) for _ in range(count))
    disk = Disk({name: bytearray(data) for name, data in start.items()})
    done = 0
    for place in places:
        for event in log[done:place]:
            disk.take(event)
        done = place
        yield disk.acked, disk.cut(rng)
