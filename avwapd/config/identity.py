"""What a configuration is called in records: a hash over its values, wherever they came from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from avwapd.config.sections import Config

# Settings that lead from the same bars to other decisions, orders or fills. The rest says where and how fast.
TRADING = ("signal", "anchors", "gates", "order", "stop", "exit", "size", "caps", "fills", "equity", "watchlist")
TRADING_OF_RUN = ("account", "strategy", "seed", "timeframe")


def as_plain(config: Config) -> dict[str, dict[str, Any]]:
    """The values as plain dicts, lists, numbers and texts, fit for JSON."""
    return {part.name: _section(getattr(config, part.name)) for part in fields(config) if part.name != "origins"}


def config_hash(config: Config) -> str:
    """SHA-256 over every setting."""
    return _digest(as_plain(config))


def rules_hash(config: Config) -> str:
    """SHA-256 over what decides: equal for a live run and for a backtest of the same rules."""
    return _digest(rules_of(config))


def rules_of(config: Config) -> dict[str, Any]:
    """What decides, flat: "gates.open_delay_min" -> value."""
    plain = as_plain(config)
    chosen = {name: plain[name] for name in TRADING} | {"run": {k: plain["run"][k] for k in TRADING_OF_RUN}}
    return {f"{section}.{key}": value for section, values in chosen.items() for key, value in values.items()}


def _section(section: Any) -> dict[str, Any]:
    return {part.name: _plain(getattr(section, part.name)) for part in fields(section)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value == math.inf:
        return "max"
    return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0


def _digest(plain: object) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
