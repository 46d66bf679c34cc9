"""The head of a snapshot: what it says of itself before the compressed memory begins."""

from __future__ import annotations

import json
import struct
import zlib
from functools import lru_cache
from typing import Any

from avwapd.core import records

MAGIC = b"avwsnap1"


def packed(head: dict[str, Any], memory: bytes) -> bytes:
    """MAGIC, the head's length, the head as JSON, the memory compressed."""
    text = json.dumps(head).encode()
    return MAGIC + struct.pack("<I", len(text)) + text + zlib.compress(memory, 1)


def head_of(body: bytes) -> tuple[dict[str, Any], int]:
    """(the head, where the memory begins); an empty head where this is no snapshot."""
    if body[: len(MAGIC)] != MAGIC:
        return {}, len(body)
    (size,) = struct.unpack_from("<I", body, len(MAGIC))
    begin = len(MAGIC) + 4
    head: dict[str, Any] = json.loads(body[begin : begin + size])
    return head, begin + size


@lru_cache
def layout() -> str:
    """Changes whenever a record of the engine's memory does."""
    parts = (records.STATE, records.PORTFOLIO, records.BAR, records.WATCH)
    return f"{zlib.crc32(repr([part.descr if part.names else part for part in parts]).encode()):08x}"
