"""The units, timers and scripts as files: no systemd has to run for these."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.systemd.machine import ROOT

UNITS = ROOT / "contrib" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))
SCRIPTS = sorted(path.name for path in UNITS.glob("*.sh"))
analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze to ask")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as an installation has them, but for a program that is there."""
    folder = tmp_path_factory.mktemp("units")
    environ = {"PATH": "/usr/bin:/bin", "PROGRAM": shutil.which("true") or ""}
    subprocess.run(["sh", str(UNITS / "fill.sh"), str(folder)], check=True, env=environ)
    return folder


def said(*words: str) -> tuple[int, str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_template_is_filled_in(filled: Path) -> None:
    assert [path.name for path in sorted(filled.iterdir())] == sorted(SERVICES + TIMERS)
    for path in filled.iterdir():
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert not re.search(r"@[A-Z_]{2,}@", "\n".join(lines)), path.name


@analyze
def test_verify_prints_nothing(filled: Path) -> None:
    """An unknown key is only a line on stderr, with exit code 0: both count."""
    names = [str(filled / name) for name in SERVICES + TIMERS]
    assert said("systemd-analyze", "verify", "--man=no", *names) == (0, "")
    wrong = filled / "wrong.service"
    wrong.write_text((filled / "avwapd.service").read_text().replace("WatchdogSec", "WachdogSec"))
    assert "WachdogSec" in said("systemd-analyze", "verify", "--man=no", str(wrong))[1]
    wrong.unlink()


@analyze
@pytest.mark.parametrize("name", SERVICES)
def test_security_is_at_most_1_5(filled: Path, name: str) -> None:
    code, told = said(
        "systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(filled / name)
    )
    assert code == 0, told[-300:]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened_and_runs_as_nobody_special(name: str) -> None:
    lines = (UNITS / name).read_text().splitlines()
    assert lines.count("@HARDENING@") == 1
    assert "User=@USER@" in lines or name == "avwapd-restart.service"
    restart = [line for line in lines if line.startswith("RestartPreventExitStatus=")]
    assert restart == (["RestartPreventExitStatus=64 75 78"] if "Restart=on-failure" in lines else [])


def test_two_accounts_differ_in_their_places_alone() -> None:
    one, other = ((UNITS / name).read_text().splitlines() for name in ("avwapd.service", "avwapd@.service"))
    places = ("Description", "ExecStart=", "StateDirectory=", "RuntimeDirectory=", "Wants=avwapd-health")
    assert [x for x in one if not x.startswith(places)] == [x for x in other if not x.startswith(places)]
    assert "StateDirectory=avwapd/%i" in other
    assert "RuntimeDirectory=avwapd/%i" in other


# New York's wall clock over both changes: (calendar, from, the next instants in UTC)
DST = [
    ("08:30", "2026-03-05 20:00:00 UTC", ["2026-03-06 13:30", "2026-03-09 12:30", "2026-03-10 12:30"]),
    ("08:30", "2026-10-29 20:00:00 UTC", ["2026-10-30 12:30", "2026-11-02 13:30", "2026-11-03 13:30"]),
    ("08:40", "2026-03-05 20:00:00 UTC", ["2026-03-06 13:40", "2026-03-09 12:40", "2026-03-10 12:40"]),
    ("08:40", "2026-10-29 20:00:00 UTC", ["2026-10-30 12:40", "2026-11-02 13:40", "2026-11-03 13:40"]),
]


@analyze
@pytest.mark.parametrize(("time", "base", "instants"), DST)
def test_timers_hold_over_both_changes(time: str, base: str, instants: list[str]) -> None:
    name = {"08:30": "avwapd-scan.timer", "08:40": "avwapd-restart.timer"}[time]
    (calendar,) = re.findall(r"^OnCalendar=(.+)$", (UNITS / name).read_text(), re.M)
    assert calendar == f"Mon..Fri {time} America/New_York"
    code, told = said("systemd-analyze", "calendar", "--iterations=3", f"--base-time={base}", calendar)
    assert code == 0, told
    found = re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d UTC", told)
    wanted = [instant for instant in dict.fromkeys(found) if instant in instants]
    assert wanted == instants, told


def test_a_missed_scan_is_made_up_for_and_a_restart_never() -> None:
    assert "Persistent=true" in (UNITS / "avwapd-scan.timer").read_text().splitlines()
    assert "Persistent=false" in (UNITS / "avwapd-restart.timer").read_text().splitlines()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse(name: str) -> None:
    first = (UNITS / name).read_text().splitlines()[0]
    assert first == "#!/bin/sh"
    for shell in ("sh", "bash"):
        assert said(shell, "-n", str(UNITS / name)) == (0, "")
    if shutil.which("shellcheck"):
        assert said("shellcheck", "--severity=warning", str(UNITS / name)) == (0, "")


def test_a_dry_install_needs_no_root_and_changes_nothing(tmp_path: Path) -> None:
    if shutil.which("systemctl") is None:
        pytest.skip("no systemctl: install.sh refuses before it says anything")
    places = ["--prefix", str(tmp_path / "opt"), "--config-dir", str(tmp_path / "etc"), "--user", "avwapd-nobody"]
    code, told = said("sh", str(UNITS / "install.sh"), "--dry-run", *places)
    assert code == 0, told
    assert "useradd" in told
    assert str(tmp_path / "opt") in told
    assert list(tmp_path.iterdir()) == []
    assert said("sh", str(UNITS / "uninstall.sh"), "--dry-run", "--prefix", str(tmp_path))[0] == 0
    assert list(tmp_path.iterdir()) == []
