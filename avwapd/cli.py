"""The command line: finds the verb, imports only that verb, and turns what goes wrong into three lines.

A verb is a module in avwapd.verbs with `add_arguments(parser)` and `run(args) -> int`; its EXAMPLE, where it
has one, closes its help.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

USAGE_ERROR = 64
INTERRUPTED = 130
PIPE_CLOSED = 141
NO_CACHE = "cannot cache function"  # what numba says where no folder for compiled code can be written

VERBS = {
    "run": "the daemon, in the foreground",
    "demo-venue": "a simulated venue on this machine, to try the real wires on",
    "init": "write a local configuration where none is",
    "config": "the settings in force, each with its origin",
    "ctl": "talk to the running daemon",
    "kill": "stop what opens risk, also with the daemon hung or dead",
    "bars": "import, fetch, list, check and export bars",
    "universe": "the symbols to scan: take a snapshot, show it",
    "lists": "earnings dates, bad tickers, listings: import and show",
    "scan": "candidates for the next session, from daily bars",
    "backtest": "decisions, trades and equity over a window of the past",
    "verify": "hold a run against a backtest of the same bars",
    "export": "decisions or trades of a run as a file",
    "why": "one decision in words",
    "audit": "the invariants over the database file",
    "notify": "tell a human, through the daemon or without it",
    "db": "back up, restore, check and migrate the ledger",
    "check": "preflight and health",
    "session": "whether New York trades today, for timers",
    "deploy": "a new release beside the old one, and the way back",
    "version": "what code, rules and database layout this is",
}
# Given before or after the verb; the later one wins.
VALUE_OPTIONS = ("--config", "--state-dir")
EXAMPLE = """\
examples:
  avwapd --config-check
  avwapd run --config etc/demo.toml
  avwapd ctl status
"""


class Parser(argparse.ArgumentParser):
    """An argument parser that keeps examples as they are written and leaves with 64 on a usage error."""

    def __init__(self, **options: object) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)  # type: ignore[arg-type]  # argparse's own options

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}\n  next: {self.prog} --help", file=sys.stderr)
        raise SystemExit(USAGE_ERROR)


class VerbParser(Parser):
    """A verb's parser, or one of its sub-commands': takes the common options wherever they stand."""

    def __init__(self, **options: object) -> None:
        super().__init__(conflict_handler="resolve", **options)
        add_globals(self)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    try:
        try:
            code = dispatch(list(sys.argv[1:] if argv is None else argv))
        except SystemExit as leaving:  # argparse: help, or a usage error
            code = leaving.code if isinstance(leaving.code, int) else 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; the interpreter's own flush at the end has to find something to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        if str(error).startswith(NO_CACHE):
            error = cacheless(error)
        if not all(hasattr(error, name) for name in ("what", "where", "next_step")):
            from avwapd.ops.secrets import hide_in_tracebacks, redactor

            hide_in_tracebacks(redactor())
            raise
        return tell(error)
    return code


def dispatch(argv: list[str]) -> int:
    """Split at the verb, parse both sides, run."""
    at = verb_position(argv)
    before, verb, after = argv[:at], argv[at : at + 1], argv[at + 1 :]
    top = top_parser()
    args = top.parse_args(before)
    if args.version:
        verb, after = ["version"], [*verb, *after]
    if args.config_check:
        verb, after = ["check"], ["--mode", "config", *verb, *after]
    if not verb:
        top.error("name a verb")
    if verb[0] not in present():
        top.error(f"{verb[0]!r} is no verb{nearest(verb[0])}")
    module = importlib.import_module(module_of(verb[0]))
    parser = VerbParser(
        prog=f"avwapd {verb[0]}",
        description=(module.__doc__ or "").strip(),
        epilog=getattr(module, "EXAMPLE", None),
    )
    module.add_arguments(parser)
    result: int = module.run(parser.parse_args(after, args))
    return result


def verb_position(argv: list[str]) -> int:
    """Index of the first word that is neither an option nor an option's value."""
    position = 0
    while position < len(argv) and argv[position].startswith("-"):
        position += 2 if argv[position] in VALUE_OPTIONS else 1
    return min(position, len(argv))


def top_parser() -> Parser:
    verbs = present()
    width = max(map(len, verbs))
    lines = "\n".join(f"  {verb:<{width}}  {VERBS[verb]}" for verb in verbs)
    parser = Parser(
        prog="avwapd",
        usage="avwapd [options] VERB [arguments]",
        description=f"Trades anchored VWAP setups, and can prove what it did.\n\nverbs:\n{lines}",
        epilog=EXAMPLE,
    )
    add_globals(parser)
    parser.add_argument("--config-check", action="store_true", help="the same as: check --mode config")
    parser.add_argument("--version", action="store_true", help="the same as: version")
    parser.set_defaults(config=None, state_dir=None, json=False)
    return parser


def add_globals(parser: argparse.ArgumentParser) -> None:
    quiet = argparse.SUPPRESS  # a verb's parser must not undo what stood before the verb
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=quiet,
        help="instead of etc/avwapd.toml; avwapd.local.toml beside it counts too",
    )
    parser.add_argument("--state-dir", metavar="DIR", default=quiet, help="where the database and the archive lie")
    parser.add_argument("--json", action="store_true", default=quiet, help="facts as JSON")


def present() -> list[str]:
    return [verb for verb in VERBS if importlib.util.find_spec(module_of(verb))]


def module_of(verb: str) -> str:
    return f"avwapd.verbs.{verb.replace('-', '_')}"


def nearest(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, present(), n=1)
    return f"; the nearest is {near[0]}" if near else ""


def cacheless(error: Exception) -> Exception:
    """Numba's RuntimeError as one that says what to do."""
    from avwapd.config.errors import ConfigError

    what, where = "compiled code cannot be kept: no cache folder can be written", str(error)[:200]
    return ConfigError(what, where, "set AVWAPD_CACHE_DIR to a folder that this user may write")


def tell(error: Exception) -> int:
    """A known error in three lines, without secrets; its own exit code."""
    from avwapd.ops.secrets import redactor

    clean = redactor()
    for line in (f"avwapd: {error.what}", f"  where: {error.where}", f"  next: {error.next_step}"):  # type: ignore[attr-defined]
        print(clean(line), file=sys.stderr)
    return int(getattr(error, "exit_code", 1))


if __name__ == "__main__":
    sys.exit(main())
