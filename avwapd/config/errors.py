"""An error that a person can act on."""

from __future__ import annotations


class ConfigError(Exception):
    """What is wrong, where it stands, and the next step; several problems are told at once."""

    exit_code = 78

    def __init__(self, what: str, where: str, next_step: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(what, where, next_step)
        self.what = what
        self.where = where
        self.next_step = next_step
        self.problems = problems or (what,)

    def __str__(self) -> str:
        return f"{self.what} ({self.where}); {self.next_step}"
