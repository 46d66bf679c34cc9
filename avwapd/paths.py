"""Where things lie: the state folder, what is in it, and the control socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from avwapd.config.environment import refuse_unknown
from avwapd.config.errors import ConfigError

SOCKET_NAME = "control.sock"
SOCKET_BYTES = 107  # what Linux lets a unix socket's path have, without its closing zero


@dataclass(frozen=True, slots=True)
class Paths:
    state: Path
    control: Path  # as resolved; `socket` is the same, checked for length

    @property
    def socket(self) -> Path:
        """The control socket; a path too long for one is told as such."""
        length = len(os.fsencode(self.control))
        if length > SOCKET_BYTES:
            raise ConfigError(
                f"the control socket's path has {length} bytes, a unix socket may have {SOCKET_BYTES}",
                str(self.control),
                "set RUNTIME_DIRECTORY to a short folder, or move the state folder",
            )
        return self.control

    @property
    def database(self) -> Path:
        return self.state / "avwapd.db"

    @property
    def lock(self) -> Path:
        return self.state / "avwapd.lock"

    @property
    def archive(self) -> Path:
        return self.state / "archive"

    @property
    def universe(self) -> Path:
        return self.state / "universe"

    @property
    def lists(self) -> Path:
        return self.state / "lists"

    @property
    def scans(self) -> Path:
        return self.state / "scan"

    @property
    def watchlist(self) -> Path:
        return self.state / "watchlist.json"

    @property
    def lost(self) -> Path:
        return self.state / "persist_failed.json"

    @property
    def heartbeat(self) -> Path:
        return self.state / "heartbeat.json"

    @property
    def decision_latest(self) -> Path:
        return self.state / "portfolio_decision_latest.json"

    @property
    def mark(self) -> Path:
        return self.state / "avwapd.mark"

    @property
    def daily_decisions(self) -> Path:
        return self.state / "decisions"

    @property
    def kill_switch(self) -> Path:
        return self.state / "KILL_SWITCH"

    @property
    def live_token(self) -> Path:
        return self.state / "live_confirm_token.txt"


def resolve(state_dir: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Paths:
    """`--state-dir`, else AVWAPD_STATE_DIR, else systemd's folder, else the user's own; makes nothing."""
    env = os.environ if environ is None else environ
    refuse_unknown(env)
    if state_dir == "":
        raise ConfigError("--state-dir is empty", "the command line", "name a folder: --state-dir DIR, or leave it out")
    given = state_dir or env.get("AVWAPD_STATE_DIR") or _first(env, "STATE_DIRECTORY")
    state = _absolute(given) if given else _home(env) / ".local" / "state" / "avwapd"
    runtime = _first(env, "RUNTIME_DIRECTORY")
    return Paths(state, (_absolute(runtime) if runtime else state) / SOCKET_NAME)


def _first(env: Mapping[str, str], name: str) -> str:
    """systemd joins several folders with colons; the first is ours."""
    return env.get(name, "").partition(":")[0]


def _absolute(path: str | Path) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise ConfigError("this user has no home folder", str(path), "give an absolute path") from None


def _home(env: Mapping[str, str]) -> Path:
    home = env.get("HOME")
    return Path(home).absolute() if home else _absolute("~")
