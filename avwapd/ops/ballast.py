"""A file that only takes room, so that a full disk can be written to once more: the daemon ends when a write fails, and
the next start gives the room free, goes on with exits alone, and says so.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from avwapd.store.migrate import sync_path

NAME = "ballast"
MB = 1_000_000
NEXT = "make room, then start again"


@dataclass(frozen=True, slots=True)
class Room:
    """short: why nothing is to be opened for want of room, in words; "" where there is enough. freed: bytes."""

    short: str = ""
    freed: int = 0


def free_bytes(folder: Path) -> int:
    """What this user may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def prepare(folder: Path, *, ballast_mb: int, least_mb: int) -> Room:
    """At a start, before the ledger is opened. least_mb: free room below which nothing is opened.

    Room for the ballast is not enough to make it: what is least must stay beside it.
    """
    path, wanted = folder / NAME, ballast_mb * MB
    with contextlib.suppress(FileNotFoundError):
        path.with_name(NAME + ".tmp").unlink()
    there = path.stat().st_size if path.exists() else 0
    free = free_bytes(folder)
    if free < least_mb * MB:
        path.unlink(missing_ok=True)
        return Room(_words(free, least_mb, there), there)
    if there == wanted:
        return Room()
    if free + there - wanted < least_mb * MB:
        return Room(_words(free, least_mb + ballast_mb - there // MB, 0), 0)
    path.unlink(missing_ok=True)
    if not wanted:
        return Room()
    try:
        _make(path, wanted)
    except OSError as error:
        return Room(f"the ballast of {ballast_mb} MB cannot be made ({error.strerror}): {NEXT}", 0)
    return Room()


def _words(free: int, least_mb: int, freed: int) -> str:
    also = f"; the ballast of {freed / MB:.0f} MB was given free" if freed else ""
    return f"the disk has {free / MB:.1f} MB left, {least_mb} MB are needed{also}: {NEXT}"


def _make(path: Path, size: int) -> None:
    """Room that is really taken: a sparse file would give nothing back."""
    beside = path.with_name(path.name + ".tmp")
    handle = os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
        os.fsync(handle)
    except OSError:
        beside.unlink()
        raise
    finally:
        os.close(handle)
    beside.replace(path)
    sync_path(path.parent)
