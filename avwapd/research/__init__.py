"""The past, played through the same engine: backtests, their files, and the proof that a run equals them."""

from __future__ import annotations


class ResearchError(Exception):
    """What cannot be computed: what happened, where, and what to do next."""

    exit_code = 1

    def __init__(self, what: str, where: object, next_step: str) -> None:
        super().__init__(what, where, next_step)
        self.what = what
        self.where = str(where)
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what}: {self.where}. Next: {self.next_step}"


class Incomparable(ResearchError):
    """A run and a backtest that nothing can be said about; neither PASS nor FAIL."""

    exit_code = 78
