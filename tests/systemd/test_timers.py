"""The timers under a real systemd: they fire, a late one is caught up or is not, and holidays are no failure."""

from __future__ import annotations

import pytest

from tests.systemd.conftest import SERVICE, Box
from tests.systemd.machine import until

HOLIDAY = "2026-11-26T08:30-05:00"
MORNING = "2026-11-27T08:30-05:00"
SOON = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nAccuracySec=100ms\n"
STAMPS = "/var/lib/systemd/timers"


def counting(name: str) -> str:
    return (
        f"[Service]\nExecCondition=\nExecStart=\nExecStart=+/bin/sh -c 'echo x >> /run/fired.{name}'\nExecStartPost=\n"
    )


def fired(box: Box, name: str) -> int:
    return box.machine.run("cat", f"/run/fired.{name}", check=False).stdout.count("x")


@pytest.mark.parametrize("name", ["scan", "restart"])
def test_fires(box: Box, name: str) -> None:
    unit = f"avwapd-{name}"
    before = fired(box, name)
    with box.machine.drop_in(f"{unit}.service", counting(name)), box.machine.drop_in(f"{unit}.timer", SOON):
        box.machine.run("systemctl", "restart", f"{unit}.timer")
        until(lambda: fired(box, name) > before, f"{unit}.timer fires")
        box.machine.run("systemctl", "stop", f"{unit}.timer")
    box.machine.run("systemctl", "start", f"{unit}.timer")


@pytest.mark.parametrize(("name", "caught_up"), [("scan", True), ("restart", False)])
def test_what_was_missed(box: Box, name: str, caught_up: bool) -> None:
    """The scan is made up for after a machine was off; a restart of the daemon never is."""
    unit = f"avwapd-{name}"
    with box.machine.drop_in(f"{unit}.service", counting(name)):
        before = fired(box, name)
        box.machine.run("systemctl", "stop", f"{unit}.timer")
        box.machine.run("mkdir", "-p", STAMPS)
        box.machine.run("touch", "-d", "9 days ago", f"{STAMPS}/stamp-{unit}.timer")
        box.machine.run("systemctl", "start", f"{unit}.timer")
        if caught_up:
            until(lambda: fired(box, name) == before + 1, "the missed run is made up for")
        else:
            box.machine.run("sleep", "1")
            assert fired(box, name) == before
        following = box.machine.show(f"{unit}.timer", "NextElapseUSecRealtime")["NextElapseUSecRealtime"]
        assert following


def condition(at: str, question: str) -> str:
    program = "/opt/avwapd/current/venv/bin/avwapd"
    asked = f"ExecCondition={program} session --ask {question} --at {at}"
    return counting("asked").replace("ExecCondition=\n", f"ExecCondition=\n{asked}\n")


@pytest.mark.parametrize(("name", "question"), [("scan", "before-close"), ("restart", "before-open")])
def test_a_holiday_is_no_failure(box: Box, name: str, question: str) -> None:
    unit = f"avwapd-{name}.service"
    assert f"session --ask {question}" in box.machine.read(f"/etc/systemd/system/{unit}")
    for at, runs in ((HOLIDAY, 0), (MORNING, 1)):
        before = fired(box, "asked")
        with box.machine.drop_in(unit, condition(at, question)):
            box.machine.run("systemctl", "start", unit)
        assert fired(box, "asked") == before + runs
        assert box.machine.show(unit, "ActiveState")["ActiveState"] == "inactive"
    assert "no session today (Thursday 2026-11-26" in box.machine.journal("-u", unit, "-o", "cat")


def test_the_restart_leaves_alone_what_somebody_stopped(box: Box) -> None:
    on_time = (
        f"[Service]\nExecCondition=\nExecCondition={box.release.program} session --ask before-open --at {MORNING}\n"
    )
    with box.machine.drop_in("avwapd-restart.service", on_time):
        box.stop()
        box.machine.run("systemctl", "start", "avwapd-restart.service")
        assert box.state()["ActiveState"] == "inactive"
        box.start()
        epoch = box.status()["epoch"]
        box.machine.run("systemctl", "start", "avwapd-restart.service")
        until(lambda: box.status().get("ready"), "it is back", box.state)
        assert box.status()["epoch"] == epoch + 1
    told = box.machine.journal("-u", "avwapd-restart.service", "-o", "cat")
    assert f"{SERVICE} was stopped by somebody" in told
