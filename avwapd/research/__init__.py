"""The past, played through the same engine: backtests, their files, and the proof that a run equals them."""

from __future__ import annotations

from avwapd.errors import Told


class ResearchError(Told):
    """What cannot be computed."""


class Incomparable(ResearchError):
    """A run and a backtest that nothing can be said about; neither PASS nor FAIL."""

    exit_code = 78
