"""The runbook's blocks for an installed machine, typed there as root."""

from __future__ import annotations

from tests.runbook.blocks import Command, blocks
from tests.systemd.conftest import SECRETS, Box
from tests.systemd.machine import ROOT, until

SUDO = 'sudo() { "$@"; }\n'  # root needs none, and a small machine may have none
QUESTIONS = ("journalctl", "sudo avwapd ctl status")


def seen(box: Box, command: Command) -> str:
    """What is not as the page says; questions are asked again by the caller."""
    done = box.machine.run("sh", "-c", SUDO + command.text, check=False)
    output = done.stdout + done.stderr
    lacking = command.lacking(output)
    right = done.returncode in command.exits and not lacking
    return (
        ""
        if right
        else f"{command.where}: {command.text}: exit {done.returncode}, not seen {lacking}\n{output[-2000:]}"
    )


def test_the_blocks_of_the_runbook_for_an_installed_machine(box: Box) -> None:
    commands = [
        each for block in blocks(ROOT / "docs" / "runbook.md") if block.kind == "systemd" for each in block.commands
    ]
    assert len(commands) > 5
    box.stop()
    try:
        for command in commands:
            if command.text.startswith(QUESTIONS):
                box.machine.run("journalctl", "--sync")
                until(
                    lambda command=command: not seen(box, command),
                    command.text,
                    lambda command=command: seen(box, command),
                )
            else:
                assert seen(box, command) == ""
    finally:
        box.stop()


def test_the_command_has_the_accounts_keys_and_not_the_token(box: Box) -> None:
    """With the service down: `sudo avwapd kill --flatten` must reach the venue. Arming stays a person's."""
    box.stop()
    token = "/etc/avwapd/credentials/LIVE_CONFIRM_TOKEN"
    box.machine.write(token, "typed-by-a-person", 0o600)
    box.machine.write("/etc/avwapd/credentials/.note", "no variable", 0o600)
    shown = "#!/bin/sh\nenv; id -u\n"
    box.machine.write("/run/shown", shown, 0o755)
    command = box.machine.read("/usr/local/bin/avwapd").replace("/opt/avwapd/current/venv/bin/avwapd", "/run/shown")
    box.machine.write("/run/command", command, 0o755)
    try:
        lines = box.machine.out("sh", "/run/command", "ctl", "status").splitlines()
    finally:
        box.machine.run("rm", token, "/etc/avwapd/credentials/.note", "/run/command", "/run/shown")
    for name, value in SECRETS.items():
        assert f"{name}={value}" in lines
    assert not any("LIVE_CONFIRM_TOKEN" in line or "no variable" in line for line in lines)
    assert lines[-1] != "0"
