"""What is left after the service was taken away. Named so that it comes after all that need the machine."""

from __future__ import annotations

from tests.systemd.conftest import SCRIPTS, SERVICE, Box


def test_uninstall_leaves_what_it_knew(box: Box) -> None:
    """The last of all: nothing of the service is there after it."""
    kept = box.machine.out("find", "/var/lib/avwapd", "/etc/avwapd", "-name", "[!.]*", "!", "-name", "*-shm")
    told = box.machine.out(f"{SCRIPTS}/uninstall.sh")
    assert "/var/lib/avwapd" in told
    assert "/etc/avwapd" in told
    assert box.machine.run("systemctl", "cat", SERVICE, check=False).returncode
    assert box.machine.run("ls", "/opt/avwapd", check=False).returncode
    left = box.machine.out("find", "/var/lib/avwapd", "/etc/avwapd", "-name", "[!.]*")
    assert {line for line in kept.splitlines() if "-wal" not in line} <= set(left.splitlines())
    assert box.machine.out(f"{SCRIPTS}/uninstall.sh")
