"""Who is at the other end of the socket, and what that user may do.

The file's mode decides who gets in; the peer's uid, as the kernel gives it, decides between reading and acting. Inside
a user namespace of its own (systemd's PrivateUsers=) every foreign user looks like `nobody`: that is said, not guessed.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from avwapd.actors.control_answer import Refusal

ROOT_UID = 0
NOBODY_UID = 65_534
WHERE = "control socket"


@dataclass(frozen=True, slots=True)
class Peer:
    uid: int
    pid: int
    comm: str = ""

    def __str__(self) -> str:
        return f"uid {self.uid} pid {self.pid}" + (f" ({self.comm})" if self.comm else "")


@dataclass(frozen=True, slots=True)
class Access:
    """Besides root and the daemon's own user. read_uids empty: whoever the file's mode lets in. group: the socket's."""

    act_uids: tuple[int, ...] = ()
    read_uids: tuple[int, ...] = ()
    group: str = ""

    def may_act(self, peer: Peer) -> bool:
        return peer.uid in (ROOT_UID, os.geteuid(), *self.act_uids)

    def may_read(self, peer: Peer) -> bool:
        return not self.read_uids or peer.uid in self.read_uids or self.may_act(peer)

    def assert_may(self, peer: Peer, method: str) -> None:
        """Raise what a user is told who may not."""
        if method in ("GET", "HEAD"):
            allowed, verb, key = self.may_read(peer), "read", "read_uids"
        else:
            allowed, verb, key = self.may_act(peer), "act", "act_uids"
        if allowed:
            return
        if peer.uid == nobody():
            raise Refusal(
                403,
                f"who you are cannot be told: every foreign user shows as uid {peer.uid} here, so you may not {verb}",
                WHERE,
                "call as root or as the daemon's user, or run the unit without PrivateUsers=",
            )
        raise Refusal(
            403,
            f"uid {peer.uid} may not {verb}",
            WHERE,
            f"call as root or as the daemon's user, or add {peer.uid} to [control] {key} and start the daemon again",
        )


def peer_of(sock: socket.socket) -> Peer:
    """By SO_PEERCRED: who connected, as it was then."""
    pid, uid, _ = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(uid, pid, comm_of(pid))


def comm_of(pid: int) -> str:
    """The program's name, as far as this process may see it; printable, for a line of the log."""
    try:
        said = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return "".join(letter if letter.isprintable() else "?" for letter in said)[:32]


@cache
def nobody() -> int:
    """What the kernel shows for a user that has no name in this namespace."""
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return NOBODY_UID
