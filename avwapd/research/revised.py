"""What bars that a feed corrected later, or sent too late, would have changed: two backtests, side by side.

Both go by the fill model, so that they differ in nothing but those bars; what the venue really did belongs to the
orders that were really sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.feeds.world import Setup
from avwapd.research import ResearchError
from avwapd.research.backtest import replay
from avwapd.research.compare import bits
from avwapd.research.record import Record
from avwapd.research.scripted import Key, Script, Values, as_fed
from avwapd.research.wide import keys

Rows = NDArray[np.void]
# A level moves with any bar: it alone decides nothing.
DECIDED = ("signal", "setup", "skip", "exit", "side", "qty", "limit", "stop", "gates_blocked")


def newest(record: Record) -> dict[Key, Values]:
    """What the feed said last of each bar it corrected."""
    return {(row[0], row[1]): row[2:] for row in record.ask("newest_revisions")}


def would_have_changed(
    record: Record, setup: Setup, script: Script, fed: tuple[Rows, int], archived: tuple[Rows, int]
) -> Iterator[str]:
    """One sentence. fed, archived: the run's bars and the archive's, and where among them decisions begin."""
    told = script.at_the_fill_model()
    bars, begin = archived
    try:
        mine = replay(setup, *fed, script=told).decisions
        theirs = replay(setup, as_fed(bars, newest(record)), begin, script=told).decisions
    except ResearchError as error:
        yield f"what the corrected bars would have changed cannot be told: {error.what} ({error.where})"
        return
    found = differing(mine, theirs)
    what = "with the bars corrected later, by the fill model,"
    if not len(found):
        yield f"{what} no decision would have been another"
        return
    ts_ms, symbol = divmod(int(found.min()), 1 << 21)
    yield f"{what} {len(found)} decisions would have been others, the first at {ts_ms} {record.symbols[symbol]}"


def differing(mine: Rows, theirs: Rows) -> Any:
    """The keys of the rows that only one side has, or that decide otherwise."""
    left, right = keys(mine), keys(theirs)
    shared, at_left, at_right = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    unlike = np.zeros(len(shared), bool)
    for name in DECIDED:
        unlike |= bits(mine[name][at_left]) != bits(theirs[name][at_right])
    return np.concatenate([shared[unlike], np.setxor1d(left, right, assume_unique=True)])
