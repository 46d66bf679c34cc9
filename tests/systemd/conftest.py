"""One boot for all: a machine with avwapd installed by contrib/systemd/install.sh, trading the bundled market."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from avwapd.ops.release import Release
from tests.systemd import parts
from tests.systemd.machine import ROOT, Machine, lacking, machine, until

SERVICE = "avwapd.service"
SECRETS = {"APCA_API_KEY_ID": "planted-key-id-4711", "APCA_API_SECRET_KEY": "planted-secret-0815"}
SCRIPTS = "/opt/checkout/contrib/systemd"
SAID = f"/run/systemd/system/avwapd-alert@{SERVICE}.service.d"
ALERT = "[Service]\nExecStart=\nExecStart=+/bin/sh -c 'env | grep ^MONITOR_ > /run/alerted.%i'\n"
QUICK = "[Service]\nRestartSec=100ms\n"


@dataclass
class Box:
    """The machine, the release that was installed, and the wheel it came from."""

    machine: Machine
    release: Release
    wheel: Path
    folder: Path

    def given(self, wheel: Path, name: str) -> str:
        """A wheel's path inside the machine."""
        target = self.machine.root / "opt" / "given" / name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, target)
        return f"/opt/given/{name}/{wheel.name}"

    def status(self) -> dict[str, Any]:
        """What the daemon says; {} where none answers."""
        done = self.machine.run("avwapd", "ctl", "status", "--json", check=False)
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def state(self) -> dict[str, str]:
        names = ("ActiveState", "SubState", "Result", "NRestarts", "ExecMainStatus", "MainPID")
        return self.machine.show(SERVICE, *names)

    def start(self) -> None:
        """Running and ready, whatever was before."""
        self.machine.run("systemctl", "reset-failed", SERVICE, check=False)
        self.machine.run("systemctl", "start", SERVICE)
        until(lambda: self.status().get("ready"), "the daemon is ready", self.state)

    def stop(self) -> None:
        self.machine.run("systemctl", "stop", SERVICE)
        self.machine.run("systemctl", "reset-failed", SERVICE, check=False)


@pytest.fixture(scope="package")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    if reason := lacking():
        pytest.skip(f"no real systemd was tried: {reason}")
    folder = tmp_path_factory.mktemp("systemd")
    wheel = parts.good_wheel(folder)
    release = parts.identify(wheel, parts.PREFIX)
    parts.machine_code(release, folder / "numba")
    parts.certificate(folder)
    with machine() as booted:
        found = Box(booted, release, wheel, folder)
        furnish(found)
        booted.run(f"{SCRIPTS}/install.sh", "--quick", "--site", "/opt/site", "--wheel", found.given(wheel, "first"))
        booted.write(f"{SAID}/t.conf", ALERT)
        booted.write(f"/run/systemd/system/{SERVICE}.d/a.conf", QUICK)
        booted.run("systemctl", "daemon-reload")
        yield found


def furnish(box: Box) -> None:
    """What a person would have put there before: a user, a configuration, keys; and compiled code, to spare minutes."""
    inside = box.machine
    inside.run("useradd", "--system", "--user-group", "--no-create-home", "avwapd")
    inside.run("install", "-d", "-m", "0700", "-o", "avwapd", "/var/cache/avwapd")
    shutil.copytree(box.folder / "numba", inside.root / "var/cache/avwapd/numba")
    inside.run("chown", "-R", "avwapd:", "/var/cache/avwapd")
    inside.run("install", "-d", "-m", "0750", "-g", "avwapd", "/etc/avwapd")
    inside.run("install", "-d", "-m", "0700", "/etc/avwapd/credentials")
    inside.write("/etc/avwapd/avwapd.toml", (ROOT / "etc" / "demo.toml").read_text())
    for name, content in SECRETS.items():
        inside.write(f"/etc/avwapd/credentials/{name}", content, 0o600)
    for name in ("key.pem", "certificate.pem"):
        inside.write(f"/opt/given/{name}", (box.folder / name).read_text())
