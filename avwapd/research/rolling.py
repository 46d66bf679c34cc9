"""The same figures over windows that move along a curve."""

from __future__ import annotations

from avwapd.research import ResearchError
from avwapd.research.portfolio import Curve, Figures, measures


def windows(count: int, length: int, step: int) -> list[tuple[int, int]]:
    """(first, end) of each whole window: the newest ends with the last session, older ones lie `step` before."""
    if length < 1 or step < 1:
        raise ResearchError("a window and its step need a session", "[portfolio]", "set rolling_sessions, rolling_step")
    ends = range(count, length - 1, -step)
    return [(end - length, end) for end in reversed(ends)]


def rolling(curve: Curve, length: int, step: int, year_sessions: int, risk_free: float = 0.0) -> list[Figures]:
    """`measures` of each window, oldest first; none where the curve is shorter than a window."""
    found = []
    for first, end in windows(len(curve), length, step):
        if first and float(curve.equity[first - 1]) <= 0.0:
            continue  # nothing can be earned on a base that is gone
        found.append(measures(curve.part(first, end), year_sessions, risk_free))
    return found
