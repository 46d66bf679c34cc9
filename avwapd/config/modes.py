"""Which of the modes this build can run."""

from __future__ import annotations

from avwapd.config.errors import ConfigError
from avwapd.config.sections import Config

PRESENT = ("sim", "paper")
REMOTE_MODES = ("paper", "live")  # at a venue across a network


def refuse_absent_mode(config: Config) -> None:
    """A mode that is known but not built yet is refused before anything is opened."""
    if config.run.mode not in PRESENT:
        raise ConfigError(
            f"mode {config.run.mode} is not available in this build",
            f"run.mode, from {config.origins['run.mode']}",
            "use sim or paper",
        )
