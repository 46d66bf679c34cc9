"""A real journald beside the machine's own: in a mount namespace with an empty /run, as root or as a user."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

JOURNALD = Path("/lib/systemd/systemd-journald")
INSIDE = """
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
mount --bind /dev/null /dev/kmsg
"$JOURNALD" & J=$!
trap 'kill $J' EXIT
n=0; while [ ! -S /run/systemd/journal/socket ]; do sleep 0.02; n=$((n+1)); [ $n -lt 500 ]; done
"$@"
journalctl --sync || sleep 1
journalctl -D /run/log/journal -o json --no-pager --all $QUERY > "$OUT"
"""


def unshare() -> list[str] | None:
    """How a mount namespace can be had here, None where it cannot."""
    if not JOURNALD.exists() or shutil.which("journalctl") is None or shutil.which("unshare") is None:
        return None
    for flags in (["-m"] if os.geteuid() == 0 else []), ["-Urm"]:
        command = ["unshare", *flags, "--propagation", "private"]
        if flags and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return None


def journal_of(command: list[str], out: Path, query: str = "", *, environ: dict[str, str], limit_s: float = 120) -> str:
    """Run `command` beside a journald of its own; the lines that the query finds, as JSON objects a line."""
    begin = unshare()
    assert begin is not None
    environment = {**environ, "JOURNALD": str(JOURNALD), "OUT": str(out), "QUERY": query}
    done = subprocess.run(
        [*begin, "sh", "-c", INSIDE, "sh", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=limit_s,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return out.read_text("utf-8")


def wait_until(true: object, limit_s: float = 10.0) -> None:
    """`true` is a function."""
    end = time.monotonic() + limit_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)
