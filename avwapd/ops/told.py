"""The daemon's doors to whoever watches it: the service manager, the channels to humans, the dead man's ping."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from avwapd.config import Config
from avwapd.ops import notify, sd
from avwapd.ops.secrets import redactor
from avwapd.ports import Clock

FOLD_S = 2.0  # between two requests for more time
MORE_S = 60.0
KERNELS_S = 300.0  # the engine is compiled by the first start after an update


class Told:
    """on_beat: hears the facts of each beat. beats: proofs of progress so far."""

    def __init__(self, config: Config, clock: Clock) -> None:
        allowed = config.network.allowed
        self.beats = 0
        self.clean = redactor()
        self.channels = notify.channels(clock, config.notify.limit_s, allowed=allowed)
        self.ping = notify.ping(clock, config.notify.limit_s, allowed=allowed)
        self._clock = clock
        self._folded_at = clock.monotonic()
        self._line = ""

    def doors(self) -> dict[str, Any]:
        """Arguments of Doors."""
        return {
            "deliver": None if self.channels is None else self.channels.deliver,
            "clean": self.clean,
            "on_stop": stopping,
            "on_folding": self._folding,
        }

    def beat(self, facts: dict[str, Any]) -> None:
        """A proof of progress pings the watchdog; the line is told when it changes."""
        words = []
        if facts.get("progress", True):
            self.beats += 1
            words.append(sd.WATCHDOG)
        if (line := line_of(facts)) != self._line:
            self._line = line
            words.append(sd.status(line))
        if words:
            sd.notify(*words)

    def _folding(self, inputs: int) -> None:
        if self._clock.monotonic() - self._folded_at >= FOLD_S:
            self._folded_at = self._clock.monotonic()
            sd.notify(sd.extend(MORE_S), sd.status(f"starting: {inputs} inputs of the journal folded"))


def warming() -> None:
    """Before the engine is compiled or loaded."""
    sd.notify(sd.extend(KERNELS_S), sd.status("starting: the engine is made ready"))


def stopping(reason: str) -> None:
    sd.notify(sd.STOPPING, sd.status(f"stopping: {reason}"))


def ready() -> None:
    sd.notify(sd.READY)


def line_of(facts: dict[str, Any]) -> str:
    """What `systemctl status` shows."""
    held = sum(count for phase, count in (facts.get("phases") or {}).items() if phase in ("OPEN", "EXITING"))
    newest = facts.get("last_ts_ms")
    bar = "no bar yet"
    if newest:
        bar = f"last bar {datetime.fromtimestamp(newest / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    parts = [f"{facts.get('mode')}: {facts.get('symbols')} symbols, {held} held, {bar}"]
    parts += ["draining"] * bool(facts.get("draining")) + ["KILL SWITCH"] * bool(facts.get("kill_switch"))
    if halted := facts.get("halted"):
        parts.append(f"{len(halted)} halted")
    if (facts.get("notices") or {}).get("deaf"):
        parts.append("deaf: notices are not delivered")
    return ", ".join(parts)
