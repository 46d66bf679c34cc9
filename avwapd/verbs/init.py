"""Write a local configuration where none is. What is there is never touched."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from avwapd.config import ConfigError

EXAMPLE = """\
examples:
  avwapd init                   etc/avwapd.local.toml, read by every later call from this folder
  avwapd init ~/trading         ~/trading/avwapd.local.toml, to be named with --config
"""

NAME = "avwapd.local.toml"
CONTENT = """\
# Settings of this machine. Only what differs from the defaults; avwapd.toml lists them all, with units.
# Secrets have no place here: they come from the environment or from systemd's credentials.

[run]
mode = "sim"
# market = "demo"
# exchange = "alpaca"
# timeframe = "1m"
# symbols = ["AAPL", "MSFT"]

[equity]
currency = "USD"

[equity.start]
USD = 100_000.0

[size]
# method = "risk_per_trade"
# risk_fraction = 0.01
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", nargs="?", default="etc", help="where to (default: etc)")


def run(args: argparse.Namespace) -> int:
    target = Path(args.folder).expanduser() / NAME
    try:
        written = write_new(target, CONTENT)
    except OSError as error:
        words = (error.strerror or "cannot be written").lower()
        raise ConfigError(f"no configuration written: {words}", str(target), "name a folder of your own") from None
    if args.json:
        print(json.dumps({"file": str(target), "written": written}))
    else:
        print(f"{'wrote' if written else 'left as it is:'} {target}")
        print(f"next: avwapd --config {target} --config-check")
    return 0


def write_new(target: Path, content: str) -> bool:
    """Write a file whole or not at all; False where one was there, even one that came in between."""
    if os.path.lexists(target):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o600)
        os.link(draft, target)  # unlike a rename, refuses a target that exists
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
