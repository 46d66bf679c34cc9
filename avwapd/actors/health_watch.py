"""Looks at the daemon's own health once a minute, and tells a human of each change of its colour."""

from __future__ import annotations

from collections.abc import Callable

from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from avwapd.ports import Clock

EVERY_S = 60.0
COLOURS = ("ok", "warn", "fail")
LEVELS = {"ok": "info", "warn": "warning", "fail": "critical"}

Finding = tuple[str, str, str]  # verdict, name, what


class HealthWatch:
    """findings: what `check --mode health` would say now; say: queues a notice (event, level, title, body)."""

    def __init__(
        self,
        findings: Callable[[], list[Finding]],
        say: Callable[[str, str, str, str], None],
        clock: Clock,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._findings = findings
        self._say = say
        self._clock = clock
        self._every_s = every_s
        self._told = "ok"

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Look until canceled; the first look is after the first minute, when the start is over."""
        task_status.started()
        while True:
            await self._clock.sleep(self._every_s)
            self.look()

    def look(self) -> None:
        """Say it where the worst verdict is another than the one that was told."""
        found = self._findings()
        colour = max((verdict for verdict, _, _ in found), key=COLOURS.index, default="ok")
        if colour == self._told:
            return
        self._told = colour
        bad = [f"{name}: {what}" for verdict, name, what in found if verdict != "ok"]
        title = "health is well again" if colour == "ok" else f"health: {colour}"
        self._say("health", LEVELS[colour], title, "\n".join(bad))
