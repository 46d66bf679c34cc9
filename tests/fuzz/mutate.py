"""Files made wrong in every way that people, programs and disks know; seeded."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

NASTY = (
    "-1", "0", "-0.0", "1e308", "1e999", "-1e999", "nan", "-nan", "inf", "NaN", "Infinity", "-Infinity", "9" * 400,
    "9" * 5000, "0x7fffffffffffffff", "1_000", "true", "false", "null", '""', "''", '"' + "a" * 70_000 + '"', "[]",
    "{}", "[[]]", "[{}]", "{a = 1}", '{"a": 1}', "[1, 'a', true]", '"\\u0000"', '"\\ud800"', '"\u202e"', "2024-05-02",
    "2024-13-40", "0001-01-01", "9999-12-31", "07:32:00", "1979-05-27T07:32:00", '"../../x"', '"\x1b[2J"', "%s%n", "=",
)  # fmt: skip
TOKENS = re.compile(rb"[\w.]+|[^\w\s]")
Bytes = Callable[[random.Random, bytes], bytes]


def flip(dice: random.Random, data: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8, 64))):
        if found:
            found[dice.randrange(len(found))] ^= 1 << dice.randrange(8)
    return bytes(found)


def cut(dice: random.Random, data: bytes) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def hole(dice: random.Random, data: bytes) -> bytes:
    first = dice.randrange(len(data) + 1)
    return data[:first] + data[first + dice.choice((1, 16, 512)) :]


def doubled(dice: random.Random, data: bytes) -> bytes:
    """A stretch of lines there twice: a key, a row, a section."""
    lines = data.split(b"\n")
    first = dice.randrange(len(lines))
    some = lines[first : first + dice.choice((1, 1, 5, 40))]
    at = dice.randrange(len(lines) + 1)
    return b"\n".join([*lines[:at], *some, *lines[at:]])


def swapped(dice: random.Random, data: bytes) -> bytes:
    """Two tokens in each other's place."""
    found = [match.span() for match in TOKENS.finditer(data)]
    if len(found) < 2:
        return data
    (a, b), (c, d) = sorted(dice.sample(found, 2))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def replaced(dice: random.Random, data: bytes) -> bytes:
    """A token gives way to something nasty."""
    found = [match.span() for match in TOKENS.finditer(data)]
    if not found:
        return data
    first, last = dice.choice(found)
    return data[:first] + dice.choice(NASTY).encode("utf-8", "surrogatepass") + data[last:]


def planted(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data) + 1)
    some = dice.choice(
        (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\x1b[2J", b'"', b"'", b"\xed\xa0\x80", b"\n\n", b"#")
    )
    return data[:at] + some * dice.choice((1, 1, 3, 1000)) + data[at:]


def nested(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data) + 1)
    some = dice.choice((b"[", b"{", b'{"a":', b"[[", b"a.", b'"a".'))
    return data[:at] + some * dice.choice((20, 900, 5000)) + data[at:]


def wide(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.choice((b"1,", b"x", b"[a]\n", b"a=1\n", b",", b" ", b'"a","b"\n')) * 20_000 + data[at:]


def recoded(dice: random.Random, data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode(dice.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7")))


RARE: tuple[Bytes, ...] = (nested, wide, recoded)
USUAL: tuple[Bytes, ...] = (flip, cut, hole, doubled, swapped, replaced, planted)


def mutated(dice: random.Random, data: bytes, own: Sequence[Bytes] = ()) -> bytes:
    """One to three changes. own: those that know the format; half of the changes are theirs."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        if own and dice.random() < 0.5:
            data = dice.choice(own)(dice, data)
        else:
            data = dice.choice(RARE if dice.random() < 0.05 else USUAL)(dice, data)
    return data
