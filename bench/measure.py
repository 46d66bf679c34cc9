"""Interleaved timing: what is compared runs in turns, so that a busy moment of the machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A row of the table. limit: as words; ratio: of the figure to what it stands beside, where there is such."""

    name: str
    figure: str
    beside: str = ""
    ratio: str = ""
    limit: str = ""


def medians(subjects: Mapping[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Median seconds of each subject over `turns` rounds, after one round that counts for nothing (it warms up)."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(turns + 1):
        for name, subject in subjects.items():
            start = time.perf_counter()
            subject()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"


def table(lines: list[Line]) -> str:
    rows = [
        ("", "figure", "beside", "ratio", "limit"),
        *((r.name, r.figure, r.beside, r.ratio, r.limit) for r in lines),
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=True)).rstrip() for r in rows)
