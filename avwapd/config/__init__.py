"""The configuration: loaded once from its layers, checked as a whole, frozen.

`load()` gives a `Config` or a `ConfigError` with every problem in it. Nothing here imports NumPy: the command
line has to answer within a blink.
"""

from __future__ import annotations

from avwapd.config.errors import ConfigError
from avwapd.config.identity import as_plain, config_hash, rules_hash, rules_of
from avwapd.config.kinds import TIMEFRAME_MS, moment_ms
from avwapd.config.layers import defaults, files, load, packaged
from avwapd.config.modes import REMOTE_MODES, account_mode, is_remote, mode_of, recorded
from avwapd.config.rules import is_loopback
from avwapd.config.sections import Config

__all__ = [
    "REMOTE_MODES",
    "TIMEFRAME_MS",
    "Config",
    "ConfigError",
    "account_mode",
    "as_plain",
    "config_hash",
    "defaults",
    "files",
    "is_loopback",
    "is_remote",
    "load",
    "mode_of",
    "moment_ms",
    "packaged",
    "recorded",
    "rules_hash",
    "rules_of",
]
