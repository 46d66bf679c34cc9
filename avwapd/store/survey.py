"""What is odd about archived bars: gaps, duplicates and disorder, outliers, probable splits.

Works on plain columns of one symbol; where bars could have been comes from the caller's session table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OUTLIER = 1.5  # the ratio of one price to the next, up or down
SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0)
SPLIT_FIT = 0.04  # how far the ratio may miss
NEW_LISTING = 60  # sessions


class Finding(NamedTuple):
    """One oddity. kind: gap, new_listing, duplicate, disorder, outlier, split, and of days no_session, unfit, stale."""

    kind: str
    from_ms: int  # the bar before it
    to_ms: int  # the bar that shows it
    detail: str


class Grid(NamedTuple):
    """Where bars may close. Intraday: every multiple of step_ms with open < t <= close; daily: the stamps."""

    step_ms: int
    open_ms: NDArray[np.int64]
    close_ms: NDArray[np.int64]
    stamps: NDArray[np.int64] | None = None
    tolerated: int = 0  # missing bars in a row that are no gap
    splits: bool = True  # shares split, coins do not

    def place(self, ts_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many bars could have closed up to and including each time."""
        if self.stamps is not None:
            return np.searchsorted(self.stamps, ts_ms, side="right").astype(np.int64)
        each = self.close_ms // self.step_ms - self.open_ms // self.step_ms
        before = np.concatenate([[0], np.cumsum(each)])
        index = np.minimum(np.searchsorted(self.close_ms, ts_ms, side="left"), len(each) - 1)
        part = np.minimum(ts_ms, self.close_ms[index]) // self.step_ms - self.open_ms[index] // self.step_ms
        return np.asarray(before[index] + np.maximum(part, 0), dtype=np.int64)


def survey(columns: dict[str, NDArray[Any]], grid: Grid) -> list[Finding]:
    """Oddities in bars of one symbol as stored: columns ts_ms, open and close, shape (n,)."""
    ts_ms = columns["ts_ms"]
    return [*disorder(ts_ms), *_gaps(ts_ms, grid), *_jumps(ts_ms, columns["open"], columns["close"], grid)]


def disorder(ts_ms: NDArray[np.int64]) -> Iterator[Finding]:
    """Bars that stand twice or in the wrong place."""
    step = np.diff(ts_ms)
    for row in np.flatnonzero(step <= 0):
        kind = "duplicate" if step[row] == 0 else "disorder"
        yield Finding(kind, int(ts_ms[row]), int(ts_ms[row + 1]), "the archive file was not written by avwapd")


def _gaps(ts_ms: NDArray[np.int64], grid: Grid) -> Iterator[Finding]:
    missing = np.diff(grid.place(ts_ms)) - 1
    for row in np.flatnonzero(missing > grid.tolerated):
        count = int(missing[row])
        kind = "new_listing" if grid.stamps is not None and count > NEW_LISTING else "gap"
        yield Finding(kind, int(ts_ms[row]), int(ts_ms[row + 1]), f"{count} missing")


def _jumps(ts_ms: NDArray[np.int64], opens: Any, closes: Any, grid: Grid) -> Iterator[Finding]:
    """A jump overnight by the ratio of a split is one, other large moves are outliers."""
    if len(ts_ms) < 2:
        return
    ratio = closes[:-1] / opens[1:]
    up = np.maximum(ratio, 1.0 / ratio)
    fit = np.min(np.abs(up[:, None] / np.array(SPLIT_RATIOS) - 1.0), axis=1)
    overnight = np.diff(np.searchsorted(grid.close_ms, ts_ms, side="left")) > 0
    split = (fit < SPLIT_FIT) & (up > 1.4) & overnight & grid.splits
    body = np.maximum(closes[1:] / opens[1:], opens[1:] / closes[1:])
    for row in np.flatnonzero(split | (up > OUTLIER) | (body > OUTLIER)):
        change = 100.0 * (opens[row + 1] / closes[row] - 1.0)
        if split[row]:
            near = min(SPLIT_RATIOS, key=lambda known: abs(float(up[row]) / known - 1.0))
            words = f"{near:g} for 1" if ratio[row] > 1 else f"1 for {near:g}"
            yield Finding("split", int(ts_ms[row]), int(ts_ms[row + 1]), f"about {words}: opens {change:+.1f}%")
        else:
            day = 100.0 * (closes[row + 1] / opens[row + 1] - 1.0)
            what = f"opens {change:+.1f}%, closes {day:+.1f}% from its open"
            yield Finding("outlier", int(ts_ms[row]), int(ts_ms[row + 1]), what)
