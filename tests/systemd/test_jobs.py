"""The other units as they were installed: a copy, the health check, the comparison, an alert, one more account."""

from __future__ import annotations

from tests.systemd.conftest import Box
from tests.systemd.machine import until


def started(box: Box, unit: str) -> None:
    done = box.machine.run("systemctl", "start", unit, check=False)
    assert done.returncode == 0, box.machine.journal("-u", unit, "-o", "cat", "-n", "30")


def test_a_copy_is_made_while_it_runs(box: Box) -> None:
    box.start()
    epoch = box.status()["epoch"]
    before = box.machine.out("ls", "/var/lib/avwapd/backups").split()
    started(box, "avwapd-backup.service")
    made = set(box.machine.out("ls", "/var/lib/avwapd/backups").split()) - set(before)
    assert len(made) == 1
    assert box.machine.out("stat", "-c", "%U %a", f"/var/lib/avwapd/backups/{made.pop()}") == "avwapd 600"
    assert box.status()["epoch"] == epoch


def test_health_comes_and_goes_with_the_daemon(box: Box) -> None:
    box.start()
    assert box.machine.show("avwapd-health.timer", "ActiveState")["ActiveState"] == "active"
    started(box, "avwapd-health.service")
    box.stop()
    assert box.machine.show("avwapd-health.timer", "ActiveState")["ActiveState"] == "inactive"
    assert box.machine.run("systemctl", "start", "avwapd-health.service", check=False).returncode == 1


def test_the_night_compares(box: Box) -> None:
    box.start()
    until(lambda: box.status().get("decisions", 0) > 20, "something was decided", box.status)
    started(box, "avwapd-verify.service")
    assert "Result: PASS" in box.machine.journal("-u", "avwapd-verify.service", "-o", "cat")


def test_an_alert_that_reaches_nobody_is_no_failure(box: Box) -> None:
    started(box, "avwapd-alert@avwapd-scan.service.service")
    assert "avwapd-scan.service" in box.machine.journal("-u", "avwapd-alert@avwapd-scan.service.service", "-o", "cat")


def test_a_second_account_stands_beside_the_first(box: Box) -> None:
    box.start()
    config = box.machine.read("/etc/avwapd/avwapd.toml").replace('account = "demo"', 'account = "second"')
    box.machine.write("/etc/avwapd/second.toml", config)
    started(box, "avwapd@second.service")
    asked = box.machine.out("env", "AVWAPD_STATE_DIR=/var/lib/avwapd/second", "RUNTIME_DIRECTORY=/run/avwapd/second",
                            "avwapd", "ctl", "status", "--json")  # fmt: skip
    assert '"account": "second"' in asked.replace('":"', '": "')
    box.machine.run("systemctl", "stop", "avwapd@second.service")
    assert box.status()["ready"], "the first goes on, its socket is there"
