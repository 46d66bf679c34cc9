"""Whose database a file is, from its first bytes.

Opening it, even read-only, could leave files beside it; a look must not. The newest header may still be in
the write-ahead log, so its frames for page 1 are read as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from
from typing import BinaryIO

MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
USER_VERSION_AT, APPLICATION_ID_AT = 60, 68
WAL_MAGIC = (0x377F0682, 0x377F0683)
WAL_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24


@dataclass(frozen=True, slots=True)
class Header:
    application_id: int
    user_version: int


def header_of(path: Path) -> Header:
    """ValueError where the file is no SQLite database."""
    with path.open("rb") as file:
        page = file.read(HEADER_BYTES)
    log = path.with_name(path.name + "-wal")
    try:
        with log.open("rb") as file:
            page = newest_first_page(file) or page
    except FileNotFoundError:
        pass
    if len(page) < HEADER_BYTES or not page.startswith(MAGIC):
        raise ValueError("no SQLite database")
    (application_id,) = unpack_from(">I", page, APPLICATION_ID_AT)
    (user_version,) = unpack_from(">i", page, USER_VERSION_AT)
    return Header(application_id, user_version)


def newest_first_page(log: BinaryIO) -> bytes | None:
    """The head of page 1 in the last committed transaction of a write-ahead log that has one."""
    head = log.read(WAL_HEADER_BYTES)
    if len(head) < WAL_HEADER_BYTES or unpack_from(">I", head)[0] not in WAL_MAGIC:
        return None
    (page_bytes,) = unpack_from(">I", head, 8)
    salts = head[16:24]
    found = pending = None
    position = WAL_HEADER_BYTES
    while True:
        log.seek(position)
        frame = log.read(FRAME_HEADER_BYTES + HEADER_BYTES)
        if len(frame) < FRAME_HEADER_BYTES + HEADER_BYTES or frame[8:16] != salts:
            return found  # the end, or left over from an earlier round of the log
        page_number, size_after_commit = unpack_from(">II", frame)
        if page_number == 1:
            pending = frame[FRAME_HEADER_BYTES:]
        if size_after_commit:
            found = pending
        position += FRAME_HEADER_BYTES + page_bytes
