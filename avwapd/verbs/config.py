"""The configuration in force: every value, what may stand there, and the layer it came from. Writes nothing."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from avwapd.config import config_hash, files, rules_hash
from avwapd.config.layers import traced
from avwapd.config.shown import Shown, as_toml, example, lines, shown, variables

EXAMPLE = """\
examples:
  avwapd config show                            the whole of it, as a file that would give the same
  avwapd config show --origin gates             bounds, units, and which layer each value is from
  avwapd config show --changed                  what differs from the defaults
  avwapd config show caps.max_positions --json
  avwapd config example > .env.example          every environment variable
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", required=True, metavar="show|example")
    show = acts.add_parser("show", help="the settings in force", epilog=EXAMPLE)
    show.add_argument("name", metavar="SECTION|KEY", nargs="?", default="", help="gates, or gates.settle_min")
    show.add_argument("--origin", action="store_true", help="with what may stand there, and where each is from")
    show.add_argument("--changed", action="store_true", help="only what differs from the defaults")
    acts.add_parser("example", help="the text of .env.example", epilog=EXAMPLE)


def run(args: argparse.Namespace) -> int:
    if args.act == "example":
        print(example(), end="")
        return 0
    given = Path(args.config) if args.config else None
    config, entries = traced(given)
    found = [each for each in shown(config, entries, args.name) if each.changed or not args.changed]
    hashes = {"config_hash": config_hash(config), "rules_hash": rules_hash(config)}
    read = [str(path) for path in files(given, Path.cwd())]
    if args.json:
        facts = {**hashes, "files": read, "settings": [facts_of(each) for each in found]}
        print(json.dumps(facts | {"environment": variables(os.environ)}))
        return 0
    if args.origin:
        print(f"# configuration {hashes['config_hash'][:12]}, rules {hashes['rules_hash'][:12]}")
        print("".join(f"# file: {name}\n" for name in read))
    for line in lines(found, with_origin=args.origin):
        print(line)
    if args.origin and not args.name:
        for each in variables(os.environ):
            told = "(secret)" if each["secret"] else as_toml(each["value"])
            print(f"# variable {each['name']}: {told}")
    return 0


def facts_of(each: Shown) -> dict[str, Any]:
    """Plain values; what TOML writes is what JSON shows."""
    from tomllib import loads

    def plain(value: Any) -> Any:
        return loads(f"x = {as_toml(value)}")["x"]

    told = {name: getattr(each, name) for name in ("key", "allowed", "layer", "origin", "changed")}
    return told | {"value": plain(each.value), "default": plain(each.default), "entries": dict(each.entries)}
