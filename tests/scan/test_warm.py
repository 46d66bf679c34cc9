"""The kernels may be compiled ahead of the first scan."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numba
import pytest

from tests.tidy.rules import ROOT

# A process of its own: in this one other tests may have compiled what warming forgot.
CODE = """
import json
from avwapd.core import daily_scan
from avwapd.scan.run import scan
from avwapd.scan.warm import One, warm
from tests.scan.generated import walk
from tests.scan.market import defaults, inputs

names = "newest_session", "present_many", "measure_many", "judge_many", "glance"
kernels = [getattr(daily_scan, name) for name in names]
counts = []
for step in (
    lambda: warm(defaults()),
    lambda: scan(inputs({"A": walk(1, 300)}), defaults(), rules_only=True),
    lambda: scan(inputs({"A": walk(1, 300)}, members={"A": One()}), defaults()),
):
    step()
    counts.append([len(kernel.signatures) for kernel in kernels])
print(json.dumps(counts))
"""


def test_a_true_scan_after_warming_compiles_nothing_more() -> None:
    if numba.config.DISABLE_JIT:
        pytest.skip("the compiler is off: nothing is compiled")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", CODE]
    done = subprocess.run(words, env=environ, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    assert json.loads(done.stdout) == [[1, 1, 1, 1, 1]] * 3
