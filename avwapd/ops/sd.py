"""What the service manager is told: ready, stopping, a line of status, more time, proof of progress.

Without NOTIFY_SOCKET (no service manager, or one that does not ask) every call does nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"
MOST_STATUS = 400  # letters; the manager shows one line


def status(words: str) -> str:
    """The line that `systemctl status` shows."""
    return f"STATUS={' '.join(words.split())[:MOST_STATUS]}"


def extend(seconds: float) -> str:
    """So much more time to start or to stop, from now on."""
    return f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}"


def notify(*words: str, environment: Mapping[str, str] | None = None) -> bool:
    """Tell the manager; whether it was told. Never waits and never fails: a deaf manager is no reason to stop."""
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]  # in the abstract namespace
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        sock.sendto("\n".join(words).encode(), address)
        return True
    return False


def watchdog_s(environment: Mapping[str, str] | None = None) -> float | None:
    """After how long without WATCHDOG=1 the manager kills this process; None where it does not watch it."""
    known = os.environ if environment is None else environment
    try:
        usec = int(known.get("WATCHDOG_USEC", ""))
        pid = int(known.get("WATCHDOG_PID", "") or os.getpid())
    except ValueError:
        return None
    return usec / 1_000_000 if usec > 0 and pid == os.getpid() else None
