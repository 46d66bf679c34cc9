"""`python -m tests.scan.bits_probe` scans several markets and prints a digest of everything the kernels wrote.

Started with and without numba's compiler, the two must print the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from avwapd.core.codes import DAILY_ANCHORS
from avwapd.core.daily import PICK, SCAN, Days, work_space
from avwapd.core.daily_scan import glance, judge_many, measure_many
from avwapd.settings import scan_params
from tests.scan.generated import last_session, walk
from tests.scan.market import DATA, Bars, defaults, joined, real, sessions

SYMBOLS = 12
REAL = ("AAPL", "IBM", "QQQ")


def markets() -> Iterator[tuple[str, Days, list[int]]]:
    parts = [walk(i, 130 + 60 * i, drift=(i % 3 - 1) * 0.001) for i in range(SYMBOLS)]
    for i, part in enumerate(parts):
        part.price_ratio[-1 - 9 * i] = 0.97
        part.split_ratio[-1 - 9 * i] = part.price_ratio[-40] = 0.5
        part.volume[-100:-80] = 0.0
    still = {name: np.full(400, 10.0) for name in ("open", "high", "low", "close")}
    parts.append(Bars(*(column[-400:] for column in walk(99, 400)))._replace(**still))  # never moves
    yield "generated", joined(parts), [last_session() - back for back in (0, 1, 30, 77)]
    if (DATA / "bars" / "us").exists():
        yield "real", joined(map(real, REAL)), [last_session() - 211 * back for back in range(12)]


def records(days: Days, last: int) -> tuple[Any, Any, Any]:
    config = defaults()
    p = scan_params(config)[0]
    p["liquidity"] = 0
    p["allow_short"] = 1
    p["min_atr"] = 0.01
    p["anchor_count"] = len(DAILY_ANCHORS) - 1
    p["anchor_kinds"][: len(DAILY_ANCHORS) - 1] = range(1, len(DAILY_ANCHORS))
    count = len(days.offsets) - 1
    chosen, work = np.arange(count), work_space(config.scan.window_bars)
    rows, picks, out = np.zeros(count, SCAN), np.zeros((count, 2), PICK), np.zeros(3)
    measure_many(days, chosen, last, p, work, rows)
    given = np.full((count, 2), last - 20)
    given[:, 0] = last - 31
    judge_many(days, sessions(), chosen, (rows["reason"] == 0).astype(np.uint8), given, p, work, rows, picks)
    glance(days, 0, last, p, out)
    return rows, picks, out


def lines() -> list[str]:
    """One line a market and day: a digest, and how many sides were candidates."""
    found = []
    for name, days, lasts in markets():
        for last in lasts:
            rows, picks, out = records(days, last)
            digest = hashlib.sha256(rows.tobytes() + picks.tobytes() + out.tobytes()).hexdigest()
            count = int(np.sum((picks["reason"] == 0) & (picks["tier"] > 0)))
            found.append(f"{name} {last} {digest} {count}")
    return found


if __name__ == "__main__":
    print("\n".join(lines()))
