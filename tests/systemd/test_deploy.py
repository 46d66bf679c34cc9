"""Deploys under a real systemd: a good release trades, a broken one goes back by itself, and each leaves a line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.systemd import parts
from tests.systemd.conftest import SCRIPTS, Box

# One at a time, in this order: the second stands on what the first left.
QUICK = ("--quick", "--site", "/opt/site", "--settle-s", "0.5", "--ready-s", "60", "--now")
BROKEN = "\n\nraise SystemExit(1)  # planted: it dies as soon as the daemon is imported\n"
HARMLESS = "\n\n# another release\n"


def deploy(box: Box, *words: str, code: int = 0, script: str = "deploy") -> str:
    done = box.machine.run(f"{SCRIPTS}/{script}.sh", *words, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def entries(box: Box) -> list[dict[str, Any]]:
    return [json.loads(line) for line in box.machine.read("/var/lib/avwapd/deployments.jsonl").splitlines()]


def current(box: Box) -> str:
    return box.machine.out("readlink", "/opt/avwapd/current").removeprefix("releases/")


def tree(box: Box) -> str:
    """Names, kinds, owners and contents of all that a deploy may touch; the running daemon's own files aside."""
    folders = "/opt/avwapd /etc/avwapd /etc/systemd/system /usr/local/bin /var/lib/avwapd/backups"
    listed = f"find {folders} ! -name __pycache__ ! -name '*.pyc' -printf '%p %y %u %m %l\\n' | sort | sha256sum"
    content = "find /opt/avwapd/host.json /etc/avwapd /etc/systemd/system/avwapd* -type f | sort | xargs sha256sum"
    log = "sha256sum /var/lib/avwapd/deployments.jsonl"
    return box.machine.out("bash", "-c", f"{listed}; {content} | sha256sum; {log}")


@pytest.fixture(scope="module")
def wheels(box: Box) -> dict[str, str]:
    """Inside the machine: a release that differs, and one that does not start."""
    broken = parts.other_wheel(box.wheel, box.folder / "broken", "avwapd/daemon.py", BROKEN)
    good = parts.other_wheel(box.wheel, box.folder / "good", "avwapd/verbs/version.py", HARMLESS)
    return {"broken": box.given(broken, "broken"), "good": box.given(good, "good")}


def test_a_dry_run_changes_nothing(box: Box, wheels: dict[str, str]) -> None:
    box.start()
    before = tree(box)
    told = deploy(box, "--dry-run", "--wheel", wheels["good"], *QUICK)
    assert "would build" in told
    assert "nothing was changed" in told
    box.machine.run(f"{SCRIPTS}/install.sh", "--dry-run")
    box.machine.run(f"{SCRIPTS}/uninstall.sh", "--dry-run")
    assert tree(box) == before


def test_a_broken_release_goes_back_by_itself(box: Box, wheels: dict[str, str]) -> None:
    box.start()
    epoch, old = box.status()["epoch"], current(box)
    told = deploy(box, "--wheel", wheels["broken"], "--why", "to see it fail", *QUICK, code=1)
    assert f"rolling back to {old}" in told
    assert current(box) == old
    status = box.status()
    assert status["ready"]
    assert status["epoch"] > epoch
    assert old in box.machine.read(f"/proc/{box.state()['MainPID']}/cmdline")
    entry = entries(box)[-1]
    assert entry["outcome"] == f"failed; rolled back, {old} trades on"
    assert (entry["what"], entry["why"], entry["from"]) == ("deploy", "to see it fail", old)
    assert entry["health_before"]["epoch"] == epoch
    assert entry["health_rolled_back"]["ready"]
    assert box.machine.run("test", "-s", entry["backup"], check=False).returncode == 0
    assert box.machine.out("find", "/var/lib/avwapd", "!", "-user", "avwapd") == ""


def test_a_good_release_trades_and_the_way_back_leads_back(box: Box, wheels: dict[str, str]) -> None:
    box.start()
    epoch, old = box.status()["epoch"], current(box)
    told = deploy(box, "--wheel", wheels["good"], "--why", "better", *QUICK)
    new = current(box)
    assert new != old
    assert f"{new} trades" in told
    entry = entries(box)[-1]
    assert (entry["outcome"], entry["from"], entry["to"]) == ("ok", old, new)
    assert entry["health_after"]["epoch"] == epoch + 1 == entry["health_before"]["epoch"] + 1
    assert "nothing to do" in deploy(box, "--wheel", wheels["good"], *QUICK)

    told = deploy(box, "--why", "not better", "--settle-s", "0.5", "--now", script="rollback")
    assert current(box) == old
    assert f"{old} trades" in told
    assert entries(box)[-1]["what"] == "rollback"
