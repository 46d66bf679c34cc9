"""Compile the scan's kernels into the cache folder, so that the first scan of the morning does not wait for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from avwapd.config import Config
from avwapd.core.daily import Days
from avwapd.core.records import SESSION
from avwapd.scan.result import ScanInputs
from avwapd.scan.run import scan


class One(NamedTuple):
    sector: str = ""


def warm(config: Config) -> None:
    """Scan one symbol of one bar: every kernel is called with the types of a true scan."""
    sessions = np.zeros(2, SESSION)
    sessions["date"] = (19_980_102, 19_980_105)
    one = np.ones(1)
    days = Days(np.array([0, 1]), np.ones(1, np.int32), one, one, one, one, one, one, one)
    inputs = ScanInputs(
        symbols=("A",), days=days, sessions=sessions, as_of=None, members={"A": One()}, earnings=None, bad={}
    )
    scan(inputs, config)  # all the rules: these call every kernel, also for a symbol that falls at the first
