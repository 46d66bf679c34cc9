"""The shape of an error that a person can act on; the command line prints it as three lines."""

from __future__ import annotations

from typing import ClassVar


class Told(Exception):
    """What happened, where, and the next step."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, where: object, next_step: str) -> None:
        super().__init__(what, where, next_step)
        self.what = what
        self.where = str(where)
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what}: {self.where}. Next: {self.next_step}"
