"""The whole suite as two runs of pytest beside each other, then a third alone.

Much of it waits for sockets and processes, so two get more out of the machine than one. What plays a market against
the wall's clock, in processes of its own, comes last: beside other tests a busy machine would decide what is late. The
first one's output is shown as it comes, the second's when both are done, then the count of all skips. Exit code 0 only
where all passed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
# About half of the time; a folder that is named nowhere is in the first run.
SECOND = ("backup", "control", "faults_disk", "faults_host", "fuzz", "gates", "live", "logs", "real", "remote",
          "research", "scan", "scan_history", "scan_verb", "sim", "store", "store_archive", "store_daily", "tidy",
          "universe", "venue", "venues")  # fmt: skip

ALONE = ("faults_host/test_stopped.py", "runbook", "wire", "wire_doubt", "wire_faults", "wire_kill", "wire_soak")


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", f"--basetemp={folder}", *words]


def beside(name: str, parts: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as file:
        left_out = [f"--ignore={TESTS / part}" for part in ALONE]
        words = command(folder / name, *left_out, *(str(TESTS / part) for part in parts))
        return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="avwapd-") as name:
        folder = Path(name)
        second = [part for part in SECOND if (TESTS / part).is_dir()]
        child = beside("second", second, folder)
        try:
            left_out = [f"--ignore={TESTS / part}" for part in (*second, *ALONE)]
            code, skips = shown(command(folder / "first", *left_out))
            codes = [code, child.wait()]
        finally:
            if child.poll() is None:
                child.terminate()
        text = (folder / "second.log").read_text(errors="replace")
        sys.stdout.write(f"\nbeside it, {', '.join(second)}:\n{text}\nalone, {', '.join(ALONE)}:\n")
        skips += sum(count(line) for line in text.splitlines())
        code, more = shown(command(folder / "alone", *(str(TESTS / part) for part in ALONE)))
        sys.stdout.write(f"skips: {skips + more} in all\n")
    return int(any((*codes, code)))  # a signal's code is below 0


def shown(words: list[str]) -> tuple[int, int]:
    """Run it with its output as it comes: exit code and skips."""
    skips = 0
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            skips += count(line)
    return child.returncode, skips


def count(line: str) -> int:
    """Of the line with which tests/conftest.py ends a run."""
    found = re.fullmatch(r"skips: (\d+)\s*", line)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
