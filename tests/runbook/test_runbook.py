"""The runbook's commands, typed as they stand there: a home of its own, the demo venue on a free port of loopback."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from tests.runbook.blocks import blocks
from tests.runbook.shell import Shell
from tests.tidy.rules import ROOT

PAGE = ROOT / "docs" / "runbook.md"
SPEED = 240  # market seconds in a second, of the demo venue
# Where there is no sqlite3 to type.
SQLITE = f"""#!{sys.executable}
import sqlite3, sys
for row in sqlite3.connect(f"file:{{sys.argv[2]}}?mode=ro", uri=True).execute(sys.argv[3]):
    print(*row, sep="|")
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """What a fresh user has, with avwapd on the PATH and a port that nobody uses."""
    home, tools = tmp_path / "home", tmp_path / "bin"
    for folder in (home, tools):
        folder.mkdir()
    if shutil.which("sqlite3") is None:
        (tools / "sqlite3").write_text(SQLITE)
        (tools / "sqlite3").chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return {
        "PATH": f"{Path(sys.executable).parent}:{tools}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "AVWAPD_CACHE_DIR": os.environ.get("AVWAPD_CACHE_DIR") or f"{cache}/avwapd",
        "AVWAPD_VENUE__ADDRESS": f"http://127.0.0.1:{port}",
        "AVWAPD_VENUE__SPEED": str(SPEED),
    }


def test_the_runbook_works_as_written(tmp_path: Path, environ: dict[str, str]) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "etc", checkout / "etc", ignore=shutil.ignore_patterns("*.local.toml"))
    typed = 0
    with Shell(checkout, environ) as shell:
        for block in blocks(PAGE):
            if block.kind not in ("", "stays"):
                continue
            *first, last = block.commands
            for command in first:
                shell.run(command)
            (shell.stay if block.kind == "stays" else shell.run)(last)
            typed += len(block.commands)
    assert typed > 80
