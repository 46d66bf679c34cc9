"""Where bars come from, when markets are open, and which bars are refused.

Nothing here loads pandas or pyarrow: the daemon reads bars from a memory-mapped matrix that a child process
wrote, and its calendars from a packaged table.
"""

from __future__ import annotations


class FeedError(Exception):
    """Bars or sessions that cannot be had: what happened, where, and what to do next."""

    exit_code = 1

    def __init__(self, what: str, where: object, next_step: str) -> None:
        super().__init__(what, where, next_step)
        self.what = what
        self.where = str(where)
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what}: {self.where}. Next: {self.next_step}"
