"""What ccxt raises, sorted by what it means for a request: refused for certain, not looked at, or nobody knows.

ccxt's classes alone mislead: an order that was taken may raise plain ExchangeError, a bare 404 looks like an exchange
that is away, and the same code has another class where the address was rewritten. So the HTTP status and the venue's
own words are asked first, and only an allow-list of classes counts as a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from avwapd.remote.calls import NoAnswer, Rejected, Shut, joined, shortened
from avwapd.remote.ccxt_table import Row

REFUSALS = frozenset(
    ("ArgumentsRequired", "BadRequest", "InsufficientFunds", "InvalidOrder", "NotSupported", "OperationRejected")
)
AUTH_RETRY_S, NONCE_RETRY_S, LIMIT_RETRY_S, LOCKOUT_RETRY_S = 5.0, 0.2, 10.0, 60.0
LONGEST_S = 7 * 86_400.0
BANNED = re.compile(r"banned until (\d{13})")
DUPLICATE = re.compile(r"duplicat|must be unique|already exist", re.IGNORECASE)
WORDS = (
    ("buying_power", re.compile(r"insufficient|not enough|balance", re.IGNORECASE)),
    ("min_notional", re.compile(r"notional|minimum|min(?:imal)? (?:order )?(?:size|amount|cost)|too small", re.I)),
    ("price_increment", re.compile(r"PRICE_FILTER|tick size|precision|Invalid price", re.IGNORECASE)),
    ("not_tradable", re.compile(r"symbol|pair|market is closed|not (?:permitted|allowed|tradable)", re.IGNORECASE)),
)


@dataclass(slots=True)
class Seen:
    """What the newest HTTP exchange of one call came to."""

    sent: bool = False
    status: int = 0  # 0: no answer was read
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    value: Any = None  # of the body, where it is JSON
    tries: int = 0

    def begin(self) -> None:
        self.sent, self.status, self.body, self.headers, self.value = True, 0, "", {}, None
        self.tries = 0


class Refused(Rejected):
    """A definite refusal. kind: duplicate | not_found | buying_power | min_notional | price_increment | …"""

    def __init__(self, kind: str, status: int, code: int, message: str, body: Any) -> None:
        super().__init__(status, code, message, body)
        self.kind = kind


def sort(error: Exception, seen: Seen, row: Row, now_ms: int, speed: float = 1.0) -> NoAnswer | Shut | Refused:
    """now_ms: the venue's time, which runs `speed` times as fast as waits do."""
    names = {kind.__name__ for kind in type(error).__mro__}
    body = seen.value
    code, message = told(body, seen.body or str(error))
    said = joined(type(error).__name__, message)
    if not seen.sent:
        return _unsent(names, said, message)
    if seen.status == 0:
        return NoAnswer(said)
    if seen.status >= 500:
        return NoAnswer(joined(f"status {seen.status}", message))
    if seen.status in (418, 429) or names & {"DDoSProtection", "RateLimitExceeded"}:
        return Shut(joined("rate limit", message), retry_s(seen, now_ms, speed))
    if "InvalidNonce" in names:
        return Shut(joined("clock or nonce", message), NONCE_RETRY_S)
    for text, kind in row.refusals.items():
        if text in seen.body:
            return Refused(kind, seen.status, code, message, body)
    definite = body is not None and (400 <= seen.status < 500 or (row.errors_in_200 and says_no(body, code)))
    if "AuthenticationError" in names:
        if definite and code == -2010:  # this order of this account, not the key
            return Refused("account_blocked", seen.status, code, message, body)
        return Shut(joined("unauthorized", message), AUTH_RETRY_S)
    if definite and ("DuplicateOrderId" in names or ("InvalidOrder" in names and DUPLICATE.search(message))):
        return Refused("duplicate", seen.status, code, message, body)
    if "OrderNotFound" in names and (definite or (seen.status == 200 and body)):
        return Refused("not_found", seen.status, code, message, body)
    if definite and names & REFUSALS and "OperationFailed" not in names:
        if DUPLICATE.search(message):
            return Refused("duplicate", seen.status, code, message, body)
        return Refused(word_of(names, message), seen.status, code, message, body)
    return NoAnswer(f"status {seen.status}: {said}")


def _unsent(names: set[str], said: str, message: str) -> NoAnswer | Shut | Refused:
    """ccxt objected before anything left."""
    if "AuthenticationError" in names:
        return Shut(joined("unauthorized", message), AUTH_RETRY_S)
    if names & REFUSALS:
        return Refused(word_of(names, message), 0, 0, message, None)
    return NoAnswer(said)


def word_of(names: set[str], message: str) -> str:
    """The short word that a refusal begins with."""
    if "InsufficientFunds" in names:
        return "buying_power"
    if names & {"BadSymbol", "MarketClosed", "ContractUnavailable", "RestrictedLocation"}:
        return "not_tradable"
    return next((word for word, pattern in WORDS if pattern.search(message)), "bad_order")


def retry_s(seen: Seen, now_ms: int, speed: float) -> float:
    """Seconds to keep away: until a ban's end, as the header says, or a rest of our own."""
    if found := BANNED.search(seen.body):
        left_s = (int(found[1]) - now_ms) / 1000 / speed
        if left_s > 0:
            return min(left_s, LONGEST_S)
    for name, value in seen.headers.items():
        if name.lower() == "retry-after":
            try:
                return min(max(float(value), 0.1), LONGEST_S)
            except ValueError:
                break
    return LOCKOUT_RETRY_S if "lockout" in seen.body or seen.status == 418 else LIMIT_RETRY_S


def says_no(body: Any, code: int) -> bool:
    """Whether a body that came with 200 is an error nevertheless."""
    if not isinstance(body, dict):
        return False
    if body.get("success") is False or "error" in (body.get("result"), body.get("status")):
        return True
    return bool(body.get("error")) or code not in (0, 200, 200_000)


def told(body: Any, text: str) -> tuple[int, str]:
    """(code, message) of an error body as exchanges send them: {code, msg} or {error: [...]}."""
    code, message = 0, text
    if isinstance(body, dict):
        for key in ("code", "errorCode", "retCode"):
            try:
                code = int(body[key])
                break
            except (KeyError, TypeError, ValueError):
                continue
        for key in ("msg", "message", "error", "retMsg"):
            if body.get(key):
                message = ", ".join(map(str, body[key])) if isinstance(body[key], list) else str(body[key])
                break
    return code, shortened(message)
