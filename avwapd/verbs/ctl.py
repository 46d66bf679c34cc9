"""Talk to the running daemon over its control socket."""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from avwapd.config.kinds import Number, Unfit, Whole, moment_ms
from avwapd.paths import resolve
from avwapd.verbs.client import UNREACHABLE, DaemonError, tell
from avwapd.verbs.tables import lines_of

EXAMPLE = """\
examples:
  avwapd ctl status
  avwapd ctl halt AAPL
  avwapd ctl why AAPL 2024-05-02T13:35:00Z
  avwapd ctl gates
  avwapd ctl status --json
"""

QUERIES = {
    "status": "run, mode, phases, last bar, lag, queues",
    "positions": "what is held",
    "orders": "what is at the venue, or on its way",
    "gates": "every gate: closed or open, why, since when",
    "health": "what check --mode health judges",
    "metrics": "counters and gauges in Prometheus' format",
    "acts": "what was asked of the daemon, by whom, and what came of it",
}
SYMBOL_ACTS = {
    "halt": "no new entries; exits go on",
    "resume": "entries again",
    "flatten": "leave what is held, at market",
}
ACTS = {
    "reload": "take the newest watchlist of the scan",
    "drain": "no new entries until resume or the next start",
    "stop": "end now, in good order; positions and their stops stay",
    "unkill": "open the kill switch again",
    "disarm": "live trading may open nothing any more",
    "rearm": "lift the blocks of drawdown and daily loss",
}
LIMIT_S = 10.0
TOKEN_VARIABLE = "LIVE_CONFIRM_TOKEN"
KEY_SIGNS = re.compile(r"[^A-Za-z0-9._-]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="VERB", required=True)
    for name, words in {**QUERIES, **ACTS}.items():
        add(acts, name, words, f"avwapd ctl {name}")
    for name, words in SYMBOL_ACTS.items():
        act = add(acts, name, words, f"avwapd ctl {name} AAPL")
        act.add_argument("symbol", metavar="SYMBOL", nargs="?", help="only this one (default: all)")
        if name == "resume":
            act.add_argument("--force", action="store_true", help="also where ledger and venue differ")
    why = add(acts, "why", "one decision in words", "avwapd ctl why AAPL 2024-05-02T13:35:00Z")
    why.add_argument("symbol", metavar="SYMBOL")
    why.add_argument("ts", metavar="TS", help="the bar's close: ts_ms, or a time with its zone")
    add_gate_acts(acts)
    alerts = add(acts, "alerts", "what a person has to hear of", "avwapd ctl alerts --unread")
    alerts.add_argument("--unread", action="store_true", help="only those that nobody acknowledged")
    ack = add(acts, "ack", "mark an alert as read", "avwapd ctl ack 12")
    ack.add_argument("id", metavar="ID", help="its number, or all")


def add_gate_acts(acts: Any) -> None:
    kill = add(acts, "kill", "kill switch: no entry leaves, waiting ones are canceled", "avwapd ctl kill --flatten")
    kill.add_argument("--reason", default="operator", help="why, for the record")
    kill.add_argument("--flatten", action="store_true", help="and sell what is held, at market")
    arm = add(acts, "arm", "let live trading open positions, for a while", "avwapd ctl arm --hours 2")
    arm.add_argument("--token-file", type=Path, help=f"where the token stands (default: {TOKEN_VARIABLE}, else asked)")
    arm.add_argument("--hours", type=hours, help="for how long (default: the setting live.arm_hours)")
    drill = add(acts, "drill", "force a fault, in sim and paper", "avwapd ctl drill fetch --times 2")
    drill.add_argument("fault", metavar="FAULT", help="which; a wrong name lists them")
    drill.add_argument("--times", type=times, default=1, help="how often (default 1; 0 ends it)")


def add(acts: Any, name: str, words: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = acts.add_parser(
        name, help=words, description=words, epilog=f"example:\n  {example}"
    )
    parser.add_argument("--limit-s", type=limit, default=LIMIT_S, help="seconds to wait (default 10)")
    return parser


def fitting(kind: Number | Whole, text: str) -> Any:
    try:
        return kind.text(text)
    except Unfit as unfit:
        raise argparse.ArgumentTypeError(str(unfit)) from None


def limit(text: str) -> float:
    """Seconds to wait, as an option gives them."""
    return float(fitting(Number(0.001, 3600, "seconds"), text))


def hours(text: str) -> float:
    return float(fitting(Number(0, 168, "hours; 0: until the session ends"), text))


def times(text: str) -> int:
    return int(fitting(Whole(0, 1000, "times"), text))


def run(args: argparse.Namespace) -> int:
    try:
        method, target, body = request_of(args)
    except Unfit as unfit:
        print(f"avwapd ctl {args.act}: {unfit}\n  next: avwapd ctl {args.act} --help", file=sys.stderr)
        return 64
    paths = resolve(args.state_dir)
    key = None if method == "GET" else fresh_key()
    try:
        answer, note = tell(paths.socket, method, target, body, args.limit_s, key=key, lock=paths.lock)
    except DaemonError as error:
        raise aimed(error, args) from None
    if args.json:
        print(json.dumps(answer))
    elif isinstance(answer, str):
        print(answer, end="")
    else:
        for line in lines_of(args.act, answer):
            print(line)
    if note:
        print(f"note: {note}", file=sys.stderr)
    return 0


def aimed(error: DaemonError, args: argparse.Namespace) -> DaemonError:
    """The next step of who wanted to stop trading and reached nobody is no look into a log."""
    if error.exit_code != UNREACHABLE:
        return error
    if args.act == "kill":
        stronger = "avwapd kill --flatten" if args.flatten else "avwapd kill"
        return DaemonError(error.what, error.where, f"{stronger}: it asks no daemon (docs/kill.md)", UNREACHABLE)
    if args.act == "flatten" and args.symbol is None:
        step = "avwapd kill --flatten asks no daemon, and leaves the kill switch closed (docs/kill.md)"
        return DaemonError(error.what, error.where, step, UNREACHABLE)
    return error


def request_of(args: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
    """Method, target and body. Raises Unfit."""
    target = f"/v1/{args.act}"
    if args.act == "why":
        try:
            ts_ms = moment_ms(args.ts)
        except Unfit as unfit:
            raise Unfit(f"TS {unfit}") from None
        return "GET", f"{target}?{urlencode({'symbol': args.symbol, 'ts_ms': ts_ms})}", None
    if args.act == "alerts":
        return "GET", f"{target}?unread=1" if args.unread else target, None
    if args.act in QUERIES:
        return "GET", target, None
    return "POST", target, body_of(args)


def body_of(args: argparse.Namespace) -> dict[str, Any]:
    """What an act is told. Raises Unfit."""
    body: dict[str, Any] = {}
    if getattr(args, "symbol", None) is not None:
        body["symbol"] = args.symbol
    if getattr(args, "force", False):
        body["force"] = True
    if args.act == "kill":
        body = {"reason": args.reason, "flatten": args.flatten}
    elif args.act == "drill":
        body = {"fault": args.fault, "times": args.times}
    elif args.act == "arm":
        body = {"token": token_of(args)} | ({} if args.hours is None else {"hours": args.hours})
    elif args.act == "ack" and args.id != "all":
        if not (args.id.isascii() and args.id.isdecimal()):
            raise Unfit(f"ID is {args.id!r}: give an alert's number, or all")
        body = {"id": int(args.id)}
    return body


def token_of(args: argparse.Namespace) -> str:
    """The operator's token: from a file, the environment or the keyboard, so that no shell history has it."""
    path: Path | None = args.token_file
    if path is None:
        if given := os.environ.get(TOKEN_VARIABLE, ""):
            return given
        if not sys.stdin.isatty():
            raise Unfit(f"no token: set {TOKEN_VARIABLE}, or give --token-file")
        from getpass import getpass

        return getpass("live confirm token: ").strip()
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise Unfit(f"the token cannot be read from {path} ({reason})") from None


def fresh_key() -> str:
    """Another one a call: who calls, and when."""
    from avwapd.ports import SystemClock

    host = KEY_SIGNS.sub("-", socket.gethostname())[:20]
    return f"ctl-{SystemClock().now_ms()}-{os.getpid()}-{host}"
