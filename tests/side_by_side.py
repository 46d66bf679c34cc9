"""The whole suite as two runs of pytest beside each other: much of it waits for sockets and processes.

The first one's output is shown as it comes, the other's when both are done, then the count of all skips. Exit code 0
only where both passed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
# About half of the time; a folder that is named nowhere is in the first run.
SECOND = ("live", "real", "remote", "research", "scan", "scan_history", "scan_verb", "sim", "store", "store_archive",
          "store_daily", "tidy", "universe", "venue", "venues")  # fmt: skip


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", f"--basetemp={folder}", *words]


def beside(name: str, parts: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as file:
        words = command(folder / name, *(str(TESTS / part) for part in parts))
        return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="avwapd-") as name:
        folder = Path(name)
        others = {"second": [part for part in SECOND if (TESTS / part).is_dir()]}
        children = {run: beside(run, parts, folder) for run, parts in others.items()}
        skips = 0
        try:
            left_out = [f"--ignore={TESTS / part}" for parts in others.values() for part in parts]
            first = subprocess.Popen(
                command(folder / "first", *left_out), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            assert first.stdout is not None
            for line in first.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                skips += count(line)
            codes = [first.wait(), *(child.wait() for child in children.values())]
        finally:
            for child in children.values():
                if child.poll() is None:
                    child.terminate()
        for run, parts in others.items():
            text = (folder / f"{run}.log").read_text(errors="replace")
            sys.stdout.write(f"\nbeside it, {', '.join(parts)}:\n{text}")
            skips += sum(count(line) for line in text.splitlines())
        sys.stdout.write(f"skips: {skips} in all\n")
    return max(codes)


def count(line: str) -> int:
    """Of the line with which tests/conftest.py ends a run."""
    found = re.fullmatch(r"skips: (\d+)\s*", line)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
