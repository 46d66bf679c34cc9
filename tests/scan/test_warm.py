"""The kernels may be compiled ahead of the first scan."""

from __future__ import annotations

import numba
import pytest

from avwapd.core.daily_scan import judge_many, measure_many
from avwapd.scan.run import scan
from avwapd.scan.warm import warm
from tests.scan.generated import walk
from tests.scan.market import defaults, inputs


def test_a_true_scan_after_warming_compiles_nothing_more() -> None:
    if numba.config.DISABLE_JIT:
        pytest.skip("the compiler is off: nothing is compiled")
    warm(defaults())
    before = [kernel.signatures[:] for kernel in (measure_many, judge_many)]
    scan(inputs({"A": walk(1, 300)}), defaults(), rules_only=True)
    assert [kernel.signatures for kernel in (measure_many, judge_many)] == before
