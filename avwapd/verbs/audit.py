"""The invariants over the database file, offline, as code. 0 sound, 1 not."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from avwapd.config import ConfigError, load
from avwapd.paths import resolve

EXAMPLE = """\
examples:
  avwapd audit
  avwapd audit --config etc/demo.toml --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", type=Path, metavar="FILE", help="default: avwapd.db of the state folder")
    parser.add_argument("--ids", action=argparse.BooleanOptionalAction, default=None,
                        help="derive each order's id again from account and strategy of the configuration"
                        " (default: where --config names one)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from avwapd.store.audit import CHECKS, audit
    from avwapd.store.reader import open_reader, reading

    database = args.database or resolve(args.state_dir).database
    account, strategy = names(args)
    with reading(database), closing(open_reader(database)) as conn:
        conn.execute("BEGIN")
        found = audit(conn, account=account, strategy=strategy)
    if args.json:
        violations = [{**asdict(each), "invariant": each.invariant} for each in found]
        facts = {"ok": not found, "checks": len(CHECKS) + 2, "ids_derived": account is not None}
        print(json.dumps({**facts, "database": str(database), "violations": violations}))
        return 1 if found else 0
    for each in found:
        print(each)
    broken = len({each.check for each in found})
    print(f"{len(CHECKS) + 2 - broken} of {len(CHECKS) + 2} checks hold: {database}")
    return 1 if found else 0


def names(args: argparse.Namespace) -> tuple[str | None, str | None]:
    """Whose orders they are, where the ids are to be derived."""
    if args.ids is False or (args.ids is None and not args.config):
        return None, None
    try:
        config = load(Path(args.config) if args.config else None)
    except ConfigError:
        if args.ids:
            raise
        return None, None
    return config.run.account, config.run.strategy
