"""The journal's native protocol: one datagram a line, with fields to search by (`journalctl SYMBOL=AAPL EVENT=fill`).

What does not fit into a datagram goes as a sealed memory file. Nothing here waits: a full socket is told to the
caller, who counts it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import struct
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path

SOCKET = "/run/systemd/journal/socket"
FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z")  # what the journal takes; a leading underscore is its own
TOO_LONG = (errno.EMSGSIZE, errno.ENOBUFS)
F_ADD_SEALS, SEALS = 1033, 0x1 | 0x2 | 0x4 | 0x8  # seal, shrink, grow, write


def datagram(fields: Mapping[str, str]) -> bytes:
    """The fields as the journal reads them: NAME=value, or the value with its length where it has several lines."""
    return b"".join(_parts(fields))


def _parts(fields: Mapping[str, str]) -> Iterable[bytes]:
    for name, value in fields.items():
        if FIELD.match(name) is None:
            continue
        content = value.encode("utf-8", "replace")
        if b"\n" in content:
            yield name.encode() + b"\n" + struct.pack("<Q", len(content)) + content + b"\n"
        else:
            yield name.encode() + b"=" + content + b"\n"


def connected(environment: Mapping[str, str], *fds: int) -> bool:
    """Whether one of these descriptors is the stream that the manager says leads to the journal."""
    known = environment.get("JOURNAL_STREAM", "")
    for fd in fds:
        try:
            found = os.fstat(fd)
        except OSError:
            continue
        if known == f"{found.st_dev}:{found.st_ino}":
            return True
    return False


class Journal:
    """The socket to the journal; made anew when the journal was."""

    def __init__(self, path: str | Path = SOCKET) -> None:
        self._path = str(path)
        self._socket: socket.socket | None = None

    def present(self) -> bool:
        return Path(self._path).is_socket()

    def send(self, fields: Mapping[str, str]) -> bool:
        """Whether the journal has it. False: its queue is full, or nobody is there; nothing was waited for."""
        content = datagram(fields)
        try:
            self._open().sendto(content, self._path)
        except BlockingIOError:
            return False
        except OSError as error:
            return error.errno in TOO_LONG and self._send_file(content)
        return True

    def _open(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        return self._socket

    def _send_file(self, content: bytes) -> bool:
        try:
            memory = os.memfd_create("avwapd-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError:
            return False
        try:
            with os.fdopen(os.dup(memory), "wb") as file:
                file.write(content)
            fcntl.fcntl(memory, F_ADD_SEALS, SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [memory]))]
            self._open().sendmsg([], rights, 0, self._path)
        except OSError:
            return False
        finally:
            os.close(memory)
        return True

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
