"""One daemon a state folder: a lock the kernel frees however the holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from avwapd.store import LockHeld, NetworkFileSystem

NAME = "avwapd.lock"
NETWORK = {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "ceph", "9p", "fuse.sshfs"}
MOUNTS = Path("/proc/self/mountinfo")


@contextlib.contextmanager
def hold(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Own the state folder while the block runs; refuses with the holder's pid."""
    place = Path(folder)
    refuse_network(place)
    path = place / NAME
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(handle, path)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield path
    finally:
        os.close(handle)  # the file stays: removing it would let two processes lock two files of one name


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
        raise LockHeld(
            f"another avwapd owns this state folder (pid {holder})",
            path,
            "stop that one (avwapd ctl stop), or use another --state-dir",
        ) from error


def refuse_network(folder: Path, mounts: Path = MOUNTS) -> None:
    """On a network file system neither the lock nor fsync is to be trusted."""
    kind = file_system(folder, mounts.read_text(encoding="utf-8", errors="replace"))
    if kind in NETWORK:
        raise NetworkFileSystem(f"a network file system ({kind})", folder, "put the state folder on a local disk")


def file_system(folder: Path, mountinfo: str) -> str:
    """The type of the mount that holds `folder`: the longest mount point above it, the newest of equals."""
    place = folder.resolve()
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        point = Path(_unescape(fields[4]))
        if (place == point or point in place.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split()[0]
    return kind


def _unescape(text: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal."""
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, sign)
    return text
