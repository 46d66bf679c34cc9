"""avwapd as a process of its own, with nothing of the caller's surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.tidy.rules import ROOT

CODE = "import sys; from avwapd.cli import main; sys.exit(main())"


def clean_environ(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "HOME": str(folder)}


def avwapd(*words: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command from `folder`, which is also its home."""
    return subprocess.run(
        [sys.executable, "-c", CODE, *words],
        cwd=folder,
        env={**clean_environ(folder), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
