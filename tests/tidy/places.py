"""Text that holds on one machine only: absolute paths, users, hosts, addresses. Each exception says why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from ipaddress import ip_address, ip_network

from tests.tidy.rules import Finding, strays

# Made of halves, so that this file does not find itself.
TOPS = (
    "bin", "boot", "data", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "private", "proc", "root",
    "run", "sbin", "srv", "sys", "tmp", "Users", "usr", "var", "Volumes", "work", "workspace",
)  # fmt: skip
PATH = re.compile(r"""(?<![\w.})*\]$<>%@~/:-])/(?:""" + "|".join(TOPS) + r""")(?:/[\w.@%*+-]+)*(?![\w-])""")
RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a path of one machine", PATH),
    ("a path of one machine", re.compile(r"\b[C-Z]:\\" + r"\\?\w")),
    ("a user", re.compile(r"(?m)^[ \t]*(?:User|Group)=(?![@$%]|avwapd\b|$)\S+|(?<![\w/`])~[a-z_][a-z0-9_-]*(?=/)")),
    (
        "a user at a host",
        re.compile(r"\b[a-z_][\w.-]*@(?!example|host\b|there\b|server\b)[a-z][\w-]*(?:\.[\w-]+)*:[/~\w]"),
    ),
    ("a host", re.compile(r"\b(?:https?|wss?|tcp)://(?P<host>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,})\b")),
    ("an address", re.compile(r"(?<![\w.-])(?P<address>\d{1,3}(?:\.\d{1,3}){3})(?![\w-]|\.\d)")),
    ("a processor", re.compile(r"\b(?:x86" + r"_64|aarch" + r"64|amd" + r"64)\b")),
)
NEAR = tuple(
    map(ip_network, ("127.0.0.0/8", "0.0.0.0/32", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
)  # this machine, and what RFC 5737 keeps for examples
HOSTS = ("*.example", "*.example.com", "*.example.org", "*.example.net", "*.invalid", "*.test")  # RFC 2606


@dataclass(frozen=True)
class Allowed:
    """What may stand in which files, and why."""

    files: str
    text: str  # a regular expression for the whole finding
    why: str


INSTALLED = r"/(opt|etc|run|var/lib|var/cache|var/log|usr/local/lib)/avwapd.*|/etc/systemd(/.*)?"
ALLOWED = (
    Allowed("*", r"/proc/.*|/proc|/dev/(null|shm|full|zero)(/.*)?|/sys/fs/.*|/run/systemd(/.*)?", "what Linux has"),
    Allowed("*", r"/usr/bin/env|/bin/sh", "a script's first line, on every POSIX machine"),
    Allowed("*", r".*\.alpaca\.markets", "the broker's public addresses"),
    Allowed("pyproject.toml", r"/etc", "from the checkout's root, as hatchling writes it"),
    Allowed("requirements.lock", r"[\d.]+|x86_64|aarch64", "a version, and for which machines a package is"),
    Allowed("contrib/*", INSTALLED, "where an install puts it, settable"),
    Allowed("contrib/*", r"/usr/local(/bin.*)?|/usr/s?bin.*", "where programs are that are looked for"),
    Allowed("contrib/*", r"169\.254\.169\.254", "the metadata address of clouds, shut off"),
    Allowed("docs/*", INSTALLED, "where an install puts it, settable"),
    Allowed("avwapd/verbs/deploy.py", r"/opt/avwapd", "where an install puts it, settable"),
    Allowed("tests/logs/namespace.py", r"/(run|dev|lib)(/.*)?", "inside a mount namespace made for the test"),
    Allowed("tests/logs/test_secrets.py", r"api\.telegram\.org", "planted, to see it hidden"),
    Allowed("tests/systemd/*", r"/(opt|etc|run|var|usr|dev)(/.*)?", "inside a container made for the test"),
    Allowed("tests/tidy/places.py", r".*", "this list"),
    Allowed("tests/tidy/test_lint.py", r".*", "planted, to see the rules find it"),
    Allowed("tests/store/test_lock.py", r"/(dev|srv|mnt|var)(/.*)?", "a mount table made up"),
    Allowed("tests/cli/test_paths.py", r"/run/avwapd.*", "what systemd would say"),
)  # fmt: skip


def _near(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return True  # a version of four parts, 1.300.2.1
    return any(found in network for network in NEAR)


def _harmless(match: re.Match[str]) -> bool:
    named = match.groupdict()
    if "host" in named:
        return any(fnmatch(f".{named['host'].lower()}", pattern) for pattern in HOSTS)
    return "address" in named and _near(named["address"])


def places(path: str, content: bytes) -> Iterator[Finding]:
    """What ties a file to one machine and has no exception."""
    yield from strays(content)
    if b"\0" in content[:8192]:
        return  # no text
    text = content.decode("utf-8", "replace")
    for what, pattern in RULES:
        for match in pattern.finditer(text):
            found = match["host"] if "host" in match.groupdict() else match.group().strip()
            if not _harmless(match) and not allowed(path, found):
                yield Finding(text.count("\n", 0, match.start()) + 1, f"{what}: {found}")


def allowed(path: str, found: str) -> bool:
    return any(fnmatch(path, each.files) and re.fullmatch(each.text, found) for each in ALLOWED)
