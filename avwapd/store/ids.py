"""Order ids that follow from the decision alone: a second attempt after a crash names the same order."""

from __future__ import annotations

import base64
import hashlib
import json
import re

PREFIX = "av-"
PATTERN = re.compile(r"av-[a-z2-7]{26}")


def client_id(account: str, strategy: str, symbol: str, ts_ms: int, purpose: str, intent: int) -> str:
    """29 characters of [a-z0-9-] from what was decided; no clock, chance, process or size goes in.

    The parts are framed as JSON: no two different decisions can join to the same text.
    """
    parts = json.dumps([account, strategy, symbol, ts_ms, purpose, intent], separators=(",", ":"))
    digest = hashlib.sha256(parts.encode()).digest()[:16]
    return PREFIX + base64.b32encode(digest).decode().rstrip("=").lower()


def is_ours(cid: str) -> bool:
    """Whether an order at the venue carries an id of this program."""
    return PATTERN.fullmatch(cid) is not None
