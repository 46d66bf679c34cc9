"""The ledger's file as the file system has it: where, how large, how old, and what is free beside it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def measure(database: Path) -> dict[str, Any]:
    """Bytes and milliseconds; what cannot be read is left out. A few calls of the kernel, no waiting for a disk."""
    found: dict[str, Any] = {"path": str(database)}
    with suppress(OSError):
        stat = database.stat()
        found |= {"bytes": stat.st_size, "mtime_ms": stat.st_mtime_ns // 1_000_000}
    with suppress(FileNotFoundError):
        log = database.with_name(database.name + "-wal")
        found["wal_bytes"] = log.stat().st_size
        found["mtime_ms"] = max(found.get("mtime_ms", 0), log.stat().st_mtime_ns // 1_000_000)
    with suppress(OSError):
        room = os.statvfs(database.parent)
        found["disk_free_bytes"] = room.f_bavail * room.f_frsize
    return found
