"""Tell a human: by way of the running daemon, else straight to the addresses of AVWAPD_NOTIFY_URLS.

Made for units of the service manager too (--unit-failed): that a message could not be delivered is told in words and
fails nothing, unless --strict asks for it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
from pathlib import Path
from typing import Any

from avwapd.config import Config, ConfigError, load
from avwapd.config.sections import EVENTS
from avwapd.paths import resolve

EXAMPLE = """\
examples:
  avwapd notify --test
  avwapd notify --event health --level warning "disk: 180 MB free"
  ExecStart=… avwapd notify --unit-failed avwapd.service
"""
LEVELS = ("info", "warning", "critical")
SOCKET_S = 3.0
MOST_LETTERS = 4000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", default="", metavar="TEXT", help="what to say")
    parser.add_argument("--event", choices=EVENTS, default="alert", help="default: alert")
    parser.add_argument("--level", choices=LEVELS, default=None, help="default: warning; critical for a failed unit")
    parser.add_argument("--unit-failed", metavar="UNIT", nargs="?", const="", help="that a unit failed, and how")
    parser.add_argument("--test", action="store_true", help="a message to see whether it arrives")
    parser.add_argument("--strict", action="store_true", help="exit 1 where nobody was told")


def run(args: argparse.Namespace) -> int:
    text, level = words(args)
    if not text:
        raise ConfigError("nothing to say", "the command line", "avwapd notify TEXT, --test or --unit-failed UNIT")
    told = tell(args, text[:MOST_LETTERS], level)
    if args.json:
        print(json.dumps(told))
    else:
        print(f"avwapd notify: {told['outcome']}")
    return 0 if told["told"] or not args.strict else 1


def words(args: argparse.Namespace) -> tuple[str, str]:
    """What to say, and how bad it is."""
    level = args.level or ("info" if args.test else "warning" if args.unit_failed is None else "critical")
    if args.test:
        return args.text or "a test: this channel works", level
    if args.unit_failed is None:
        return args.text, level
    known = os.environ
    unit = args.unit_failed or known.get("MONITOR_UNIT") or "a unit"
    facts = [known.get(f"MONITOR_{name}", "") for name in ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS")]
    how = " ".join(fact for fact in facts if fact)
    return f"{unit} failed{f' ({how})' if how else ''} on {socket.gethostname()}" + f": {args.text}" * bool(
        args.text
    ), level


def tell(args: argparse.Namespace, text: str, level: str) -> dict[str, Any]:
    """told: whether a human will hear; by: daemon | channel | nobody."""
    if not args.test and (outcome := through_daemon(args, text, level)):
        return {"told": True, "by": "daemon", "outcome": outcome}
    try:
        config = load(Path(args.config) if args.config else None)
    except ConfigError as error:
        return {"told": False, "by": "nobody", "outcome": f"not delivered: {error.what}"}
    why = straight(config, text, level)
    outcome = f"not delivered: {why}" if why else "delivered"
    return {"told": not why, "by": "nobody" if why else "channel", "outcome": outcome}


def through_daemon(args: argparse.Namespace, text: str, level: str) -> str:
    """The running daemon keeps it in the ledger until it is delivered; "" where none takes it."""
    from avwapd.verbs.client import DaemonError, ask

    body = {"event": args.event, "level": level, "title": text}
    try:
        answer = ask(resolve(args.state_dir).socket, "POST", "/v1/notice", body, SOCKET_S)
    except (ConfigError, DaemonError):
        return ""
    queued = isinstance(answer, dict) and answer.get("queued", True)
    return "the daemon keeps it until it is delivered" if queued else ""


def straight(config: Config, text: str, level: str) -> str:
    """Why it was not delivered, or ""."""
    import anyio

    from avwapd.ops import notify
    from avwapd.ops.secrets import NOTIFY_URLS, addresses, redactor
    from avwapd.ports import SystemClock

    limit_s = config.notify.limit_s
    if not addresses(NOTIFY_URLS):
        return f"{NOTIFY_URLS} is empty"
    channels = notify.channels(SystemClock(), limit_s, allowed=config.network.allowed)
    if channels is None:
        return "network.allowed is false"
    try:
        anyio.run(channels.deliver, level, f"avwapd {config.run.account} {config.run.mode}: {text}", "")
    except Exception as error:  # noqa: BLE001 - a dead channel fails no unit, whatever it throws
        return redactor()(" ".join(str(error).split()) or type(error).__name__)
    return ""
