"""Compiled and plain Python give the same bits; an edit anywhere in the core means fresh machine code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from avwapd import compiled
from tests.core import bits_probe

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_plain_python_gives_the_same_bits() -> None:
    if numba.config.DISABLE_JIT:
        pytest.skip("the compiler is off: nothing to compare")
    command = [sys.executable, "-m", "tests.core.bits_probe"]
    plain = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, stdout=subprocess.PIPE, text=True
    )
    ours = bits_probe.lines()
    theirs = (plain.communicate(timeout=300)[0]).splitlines()
    assert plain.returncode == 0
    assert theirs == ours
    facts = [re.findall(r"\d+", line) for line in ours if line.endswith("trades")]
    assert sum(int(bars) for bars, _ in facts) >= 50_000
    assert all(int(trades) >= 20 for _, trades in facts)


def test_an_edit_in_a_callee_changes_the_source_hash(tmp_path: Path) -> None:
    core = tmp_path / "core"
    shutil.copytree(compiled.CORE, core, ignore=shutil.ignore_patterns("__pycache__"))
    assert compiled.source_hash(core) == compiled.source_hash()
    callee = core / "price.py"
    callee.write_text(callee.read_text().replace("part > 0.5", "part >= 0.5"))
    assert compiled.source_hash(core) != compiled.source_hash()
    assert compiled.source_hash() in str(compiled.cache_folder())
