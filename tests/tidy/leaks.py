"""Text that looks like a secret, in any file that could travel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import pairwise

from tests.tidy.rules import Finding

KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an Alpaca key", re.compile(r"\b(?:PK|AK|CK)(?=[A-Z0-9]*\d)[A-Z0-9]{18,24}\b")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")),
    ("a webhook", re.compile(
        r"hooks\.slack\.com/services/\w|discord(?:app)?\.com/api/webhooks/\d|webhook\.office\.com/\w"
        r"|api\.telegram\.org/bot\d+:|\b(?:tgram|slack|discord|mailtos?|pover|ntfys?)://(?!\{)[\w.-]{8,}/[\w-]{8,}"
    )),
    ("a bearer token", re.compile(r"\b[Bb]earer[ \t]+(?=[\w.~+/-]*\d)[\w.~+/-]{20,}")),
    ("a web token", re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}")),
    ("a token of a well-known kind", re.compile(
        r"\b(?:AKIA[A-Z0-9]{16}|gh[pousr]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abeprs]-[\w-]{10,}"
        r"|sk_live_\w{16,}|AIza[\w-]{35})"
    )),
    ("a password in an address", re.compile(
        r"\b[a-z][a-z0-9+]{1,15}://[^\s/:@\"'{}$<>…*]{1,64}:(?!secret@|password@|pass@|hunter2@)[^\s/@\"'{}$<>…*]{6,}@"
    )),
)  # fmt: skip
ASSIGNED = re.compile(
    r"""\b([A-Za-z_][\w.-]{0,60})["']?[ \t]*[:=][ \t]*(?:Secret\()?["']?([A-Za-z0-9+/_-]{40,}={0,2})(?![\w./-])"""
)
HASHES = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128}|[\w-]{43}", re.ASCII)
HASH_WORDS = ("sha", "hash", "digest", "version", "expected", "pinned", "golden", "fingerprint", "checksum")
# (files, why an assignment of theirs may be long and random)
SPARED = (
    ("requirements.lock", "hashes of packages"),
    ("tests/tidy/test_lint.py", "planted, to see the rules find it"),
    ("tests/logs/test_secrets.py", "planted, to see the log hide it"),
)


def leaks(path: str, content: bytes) -> Iterator[Finding]:
    """What looks like a key, a token or a password; the finding does not repeat it."""
    if any(fnmatch(path, pattern) for pattern, _ in SPARED) or b"\0" in content[:8192]:
        return  # no text
    text = content.decode("utf-8", "replace")
    for what, pattern in KINDS:
        for match in pattern.finditer(text):
            yield Finding(text.count("\n", 0, match.start()) + 1, what)
    for match in ASSIGNED.finditer(text):
        if random_looking(match[1], match[2]):
            yield Finding(text.count("\n", 0, match.start()) + 1, f"{match[1]} = a long random text")


def random_looking(name: str, value: str) -> bool:
    """Letters and digits mixed as no word has them; a hash is one only under a name that says so."""
    if HASHES.fullmatch(value) and any(word in name.lower() for word in HASH_WORDS):
        return False
    kinds = sum(any(test(letter) for letter in value) for test in (str.islower, str.isupper, str.isdigit))
    changes = sum(one.isdigit() != two.isdigit() for one, two in pairwise(value))
    return changes >= 6 and (kinds == 3 or bool(re.fullmatch(r"[0-9a-f]+", value)))
