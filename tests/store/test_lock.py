from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avwapd.store import LockHeld, NetworkFileSystem, lock

HOLDER = """
import sys
from avwapd.store import lock
with lock.hold(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_refused_with_the_pid_and_a_kill_frees_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(LockHeld, match=rf"pid {process.pid}\b") as caught, lock.hold(tmp_path):
            pytest.fail("two own it")
        assert "ctl stop" in caught.value.next_step
        process.kill()
        process.wait()
        with lock.hold(tmp_path) as path:
            assert path.read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_again_and_the_file_stays(tmp_path: Path) -> None:
    for _ in range(2):
        with lock.hold(tmp_path) as path, pytest.raises(LockHeld), lock.hold(tmp_path):
            pytest.fail("two own it")
    assert path.exists()


MOUNTS = r"""
22 1 0:20 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:30 / /srv rw shared:7 master:1 - nfs4 host:/srv rw
31 30 0:31 / /srv/local rw - xfs /dev/sdb rw
32 22 0:32 / /mnt/my\040disk rw - fuse.sshfs me@there:/ rw
33 22 0:33 / /over rw - ext4 /dev/sdc rw
34 22 0:34 / /over rw - cifs //host/over rw
half a line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib", "ext4"),
        ("/srv/state", "nfs4"),
        ("/srvother", "ext4"),
        ("/srv/local/state", "xfs"),
        ("/mnt/my disk/state", "fuse.sshfs"),
        ("/over", "cifs"),
    ],
)
def test_the_longest_mount_point_decides(folder: str, kind: str, tmp_path: Path) -> None:
    assert lock.file_system(Path(folder), MOUNTS) == kind
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    if kind in ("ext4", "xfs"):
        lock.refuse_network(Path(folder), mounts)
    else:
        with pytest.raises(NetworkFileSystem, match=kind):
            lock.refuse_network(Path(folder), mounts)
