"""Compiled and plain Python give the same bits in the scan's kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from tests.scan import bits_probe

ROOT = Path(__file__).parents[2]


def test_plain_python_gives_the_same_bits() -> None:
    if numba.config.DISABLE_JIT:
        pytest.skip("the compiler is off: nothing to compare")
    command = [sys.executable, "-m", "tests.scan.bits_probe"]
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    plain = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=True)
    ours = bits_probe.lines()
    assert plain.stdout.splitlines() == ours
    assert sum(int(line.split()[-1]) for line in ours) >= 10
