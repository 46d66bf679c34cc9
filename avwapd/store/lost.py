"""A note beside the ledger: a commit failed, and up to when bars had been folded that no row tells of.

The next start writes those bars' rows with the reason `persist_failed`.
"""

from __future__ import annotations

import json
from pathlib import Path

from avwapd.store.whole import write_whole


def note(path: Path, until_ms: int) -> None:
    """Leave it, synced to the disk. Raises NotWritten: a full disk may take this as well."""
    write_whole(path, json.dumps({"until_ms": until_ms}).encode() + b"\n")


def read(path: Path) -> int:
    """Close of the last bar that was lost so; 0 where nothing was, or where the note is not whole."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return 0
    until_ms = told.get("until_ms") if isinstance(told, dict) else None
    return until_ms if isinstance(until_ms, int) else 0
