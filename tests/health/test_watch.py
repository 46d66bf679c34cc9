"""Each change of the colour is told once, with what is not well."""

from __future__ import annotations

from avwapd.actors.health_watch import HealthWatch
from avwapd.ports import SystemClock

WELL = ("ok", "lag", "0.0 s")
LATE = ("warn", "lag", "12.0 s behind")
GONE = ("fail", "bars", "5 due and not there")


def test_a_change_of_colour_is_told_once() -> None:
    said: list[tuple[str, str, str, str]] = []
    now = [WELL]
    watch = HealthWatch(lambda: now, lambda *words: said.append(words), SystemClock())
    for found in ([WELL], [WELL, LATE], [LATE], [LATE, GONE], [GONE, WELL], [LATE], [WELL], [WELL]):
        now = found
        watch.look()
    assert [(event, level, title) for event, level, title, _ in said] == [
        ("health", "warning", "health: warn"),
        ("health", "critical", "health: fail"),
        ("health", "warning", "health: warn"),
        ("health", "info", "health is well again"),
    ]
    assert said[1][3] == "lag: 12.0 s behind\nbars: 5 due and not there"
    assert said[3][3] == ""
