"""What the control socket asks other parts to do. A part that is not there is None, and answered with 501."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from avwapd.actors.control_answer import Refusal

INSTEAD = {
    "kill": "make the file KILL_SWITCH in the state folder: no entry leaves while it exists",
    "unkill": "remove the file KILL_SWITCH from the state folder",
    "metrics": "GET /v1/status has the same facts",
}


@dataclass(frozen=True, slots=True)
class Desk:
    """Each takes what its name says and returns what is answered, or None; it may raise errors that say a next step."""

    kill: Callable[[str, str], Awaitable[Any]] | None = None  # (reason, who)
    unkill: Callable[[str], Awaitable[Any]] | None = None  # (who)
    arm: Callable[[float | None, str | None, str], Awaitable[Any]] | None = None  # (hours or None: as set, token, who)
    disarm: Callable[[str, str], Awaitable[Any]] | None = None  # (who, reason)
    rearm: Callable[[str, str], Awaitable[Any]] | None = None  # (who, reason)
    drill: Callable[[str, int], Any] | None = None  # (fault, times)
    notice: Callable[[str, str, str], Any] | None = None  # (event, level, title)
    health: Callable[[], Any] | None = None
    metrics: Callable[[], str] | None = None


def absent(verb: str) -> Refusal:
    next_step = INSTEAD.get(verb, "avwapd ctl status shows what this daemon has")
    return Refusal(501, f"{verb}: not available in this build", "control socket", next_step)


def desk_of(daemon: Any) -> Desk:
    """What this daemon has, by the names of its parts."""
    gates, switch = getattr(daemon, "gates", None), getattr(daemon, "kill_switch", None)
    drill = getattr(daemon, "drill", None)
    return Desk(
        kill=getattr(switch or gates, "kill", None),
        unkill=getattr(switch or gates, "unkill", None),
        arm=getattr(gates, "arm", None),
        disarm=getattr(gates, "disarm", None),
        rearm=getattr(gates, "rearm", None),
        drill=getattr(drill, "set", None),
        notice=getattr(getattr(daemon, "notices", None), "hand_in", None),
        health=getattr(daemon, "health", None),
        metrics=getattr(daemon, "metrics", None),
    )
