"""avwapd in a process of its own: with the caller's caches, but whatever else is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.tidy.rules import ROOT

CODE = "import sys; from avwapd.cli import main; sys.exit(main())"


def child(*words: object, folder: Path, code: str = CODE, first: Path | None = None, **options: Any) -> Any:
    """Run a command from `folder`. first: a folder of modules found before all others; options: of subprocess.run."""
    path = os.pathsep.join(map(str, [*([first] if first else []), ROOT]))
    environ = {**os.environ, "PYTHONPATH": path, **options.pop("environ", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environ, text=True, check=False, timeout=300, **options)
