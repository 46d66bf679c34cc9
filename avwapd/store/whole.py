"""A file written whole: after a crash the old one or the new one is there, never a part."""

from __future__ import annotations

import os
from pathlib import Path

from avwapd.store import StoreError


class NotWritten(StoreError):
    """A file that could not be replaced; the old one is as it was."""


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, sync, rename, sync the folder. NotWritten where the disk or the folder's rights refuse."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        what = f"the file cannot be written ({error.strerror or error}); what was there is as it was"
        raise NotWritten(what, path, "free space, mend the folder's rights or name another place") from error
