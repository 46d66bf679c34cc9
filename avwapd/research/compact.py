"""Decisions as the core made them, column by column: codes stay codes. For sweeps and benches; people read `wide`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from avwapd.core.records import DECISION

_NAMES = tuple(DECISION.names or ())
SCHEMA = pa.schema([pa.field(name, pa.from_numpy_dtype(DECISION[name]), nullable=False) for name in _NAMES])
SLICE = 16_384  # rows whose 80 bytes each stay in the cache while one column after the other is taken out


def batch(decisions: Any) -> pa.RecordBatch:
    """DECISION rows as a batch of `SCHEMA`; an unknown level is NaN. Nothing of the rows is referred to afterwards."""
    columns = {name: np.empty(len(decisions), DECISION[name]) for name in _NAMES}
    for at in range(0, len(decisions), SLICE):
        rows = decisions[at : at + SLICE]
        for name, column in columns.items():
            column[at : at + SLICE] = rows[name]
    return pa.record_batch([pa.array(columns[name]) for name in _NAMES], schema=SCHEMA)
