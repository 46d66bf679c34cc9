"""The ledger as a file: back it up while the daemon writes, put a copy back, check it, bring it to a newer layout."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avwapd.config import load
from avwapd.paths import Paths, resolve
from avwapd.ports import SystemClock

EXAMPLE = """\
examples:
  avwapd db backup ~/backups                      a dated copy; the newest disk.backups stay
  avwapd db backup ~/before-upgrade.db
  avwapd db check ~/backups/avwapd-20260102T030405Z.db
  avwapd ctl stop && avwapd db restore ~/backups/avwapd-20260102T030405Z.db
  avwapd db migrate --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    copy = verbs.add_parser("backup", help="a checked copy, safe while the daemon runs")
    copy.add_argument("dest", type=Path, metavar="DEST", help="a folder (a dated name is made), or a new file")
    copy.add_argument("--keep", type=_count, metavar="N",
                      help="in a folder: the newest N dated copies stay, 0: all (default: disk.backups)")  # fmt: skip
    back = verbs.add_parser("restore", help="put a copy in the ledger's place; only while no daemon runs")
    back.add_argument("source", type=Path, metavar="SRC")
    back.add_argument("--force-older", action="store_true", help="also in place of a ledger that went on after it")
    look = verbs.add_parser("check", help="everything that can be said against a ledger; 0 sound, 1 not")
    look.add_argument("file", type=Path, nargs="?", metavar="FILE", help="default: avwapd.db of the state folder")
    move = verbs.add_parser("migrate", help="to this program's layout, after a copy; only while no daemon runs")
    move.add_argument("--dry-run", action="store_true", help="on a copy that is thrown away")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("0 or more")
    return number


def run(args: argparse.Namespace) -> int:
    acts: dict[str, Callable[[argparse.Namespace, Paths], int]] = {
        "backup": _backup,
        "restore": _restore,
        "check": _check,
        "migrate": _migrate,
    }
    return acts[args.act](args, resolve(args.state_dir))


def _tell(args: argparse.Namespace, facts: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(facts, default=str) if args.json else "\n".join(lines))


def _when(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if ts_ms else "none"


def _extent(facts: Any) -> str:
    return f"schema {facts.schema}, start {facts.epoch}, input {facts.seq} of {_when(facts.last_ms)}"


def _backup(args: argparse.Namespace, paths: Paths) -> int:
    from avwapd.ops.backup import backup

    dest = args.dest.expanduser()
    keep = args.keep
    if keep is None:
        keep = load(Path(args.config) if args.config else None).disk.backups if dest.is_dir() else 0
    done = backup(paths.database, dest, now_ms=SystemClock().now_ms(), keep=keep)
    facts = {"ok": True, "path": done.path, "bytes": done.size, "sha256": done.sha256, **asdict(done.facts)}
    lines = [f"{done.path}: {done.size:,} bytes, {_extent(done.facts)}", f"sha256 {done.sha256}"]
    lines += [f"removed {path}" for path in done.removed]
    _tell(args, facts | {"removed": [str(path) for path in done.removed]}, lines)
    return 0


def _restore(args: argparse.Namespace, paths: Paths) -> int:
    from avwapd.ops.backup import restore
    from avwapd.store.lock import hold
    from avwapd.verbs.run import make_folder

    source = args.source.expanduser()
    if not source.is_file():
        from avwapd.store import LedgerMissing

        raise LedgerMissing("no copy here", source, "name the file of a copy (avwapd db backup makes them)")
    make_folder(paths.state)
    with hold(paths.state):
        done = restore(
            source,
            paths.database,
            paths.mark,
            now_ms=SystemClock().now_ms(),
            force_older=args.force_older,
        )
    facts = {"ok": True, "database": paths.database, "aside": done.aside, **asdict(done.facts)}
    lines = [f"{paths.database}: {_extent(done.facts)}"]
    if done.aside is not None:
        lines.append(f"what was there lies in {done.aside}")
    lines.append("the next start compares it with the venue before anything leaves; entries stay closed where it is")
    lines.append("older than what traded here, until: avwapd ctl resume --force")
    _tell(args, facts, lines)
    return 0


def _check(args: argparse.Namespace, paths: Paths) -> int:
    from avwapd.store import copies, mark
    from avwapd.store.copies import Check

    file = args.file.expanduser() if args.file else paths.database
    facts, checks = copies.check(file)
    if args.file is None:
        behind = mark.behind(mark.read(paths.mark), facts.reach, copy=facts.copy)
        checks.append(Check("mark", (behind,) if behind else ()))
    ok = not any(each.found for each in checks)
    told = {"ok": ok, "database": file, **asdict(facts), "checks": [asdict(each) for each in checks]}
    lines = [f"{file}: {_extent(facts)}"]
    for each in checks:
        lines.append(f"{'FAIL' if each.found else 'ok':<4}  {each.name}")
        lines += [f"      {words}" for words in each.found]
    _tell(args, told, lines)
    return 0 if ok else 1


def _migrate(args: argparse.Namespace, paths: Paths) -> int:
    from avwapd.ops.backup import migrated
    from avwapd.store.lock import hold

    if not paths.database.is_file():
        from avwapd.store import LedgerMissing

        raise LedgerMissing("no ledger here", paths.database, "start avwapd once, or check --state-dir")
    with hold(paths.state):
        done = migrated(paths.database, dry_run=args.dry_run, now_ms=SystemClock().now_ms())
    if done.before == done.after:
        said = f"{paths.database} has schema {done.after}: nothing to do"
    elif args.dry_run:
        said = f"a copy went from schema {done.before} to {done.after} and is sound; the ledger is as it was"
    else:
        said = f"{paths.database}: from schema {done.before} to {done.after}"
    facts = {"ok": True, "from": done.before, "to": done.after, "dry_run": args.dry_run, "kept": list(done.kept)}
    _tell(args, facts, [said, *(f"before each step: {path}" for path in done.kept)])
    return 0
