"""Talk to the running daemon over its control socket."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from urllib.parse import urlencode

from avwapd.config.kinds import Number, Unfit, moment_ms
from avwapd.paths import resolve
from avwapd.verbs.client import ask
from avwapd.verbs.tables import lines_of

EXAMPLE = """\
examples:
  avwapd ctl status
  avwapd ctl halt AAPL
  avwapd ctl why AAPL 2024-05-02T13:35:00Z
  avwapd ctl status --json
"""

QUERIES = {
    "status": "run, mode, phases, last bar, lag, queues",
    "positions": "what is held",
    "orders": "what is at the venue, or on its way",
    "gates": "what blocks entries now",
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
}
LIMIT_S = 10.0


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


def add(acts: Any, name: str, words: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = acts.add_parser(
        name, help=words, description=words, epilog=f"example:\n  {example}"
    )
    parser.add_argument("--limit-s", type=limit, default=LIMIT_S, help="seconds to wait (default 10)")
    return parser


def limit(text: str) -> float:
    """Seconds to wait, as an option gives them."""
    try:
        return float(Number(0.001, 3600, "seconds").text(text))
    except Unfit as unfit:
        raise argparse.ArgumentTypeError(str(unfit)) from None


def run(args: argparse.Namespace) -> int:
    method, path, body = "GET", f"/v1/{args.act}", None
    if args.act == "why":
        try:
            ts_ms = moment_ms(args.ts)
        except Unfit as unfit:
            print(f"avwapd ctl why: TS {unfit}\n  next: avwapd ctl why --help", file=sys.stderr)
            return 64
        path += "?" + urlencode({"symbol": args.symbol, "ts_ms": ts_ms})
    elif args.act not in QUERIES:
        symbol = getattr(args, "symbol", None)
        method, body = "POST", {} if symbol is None else {"symbol": symbol}
        if getattr(args, "force", False):
            body["force"] = True
    answer = ask(resolve(args.state_dir).socket, method, path, body, args.limit_s)
    if args.json:
        print(json.dumps(answer))
    else:
        for line in lines_of(args.act, answer):
            print(line)
    return 0
