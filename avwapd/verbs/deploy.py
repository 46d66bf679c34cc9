"""A new release beside the old one, with checks before and after, and the way back.

Called through contrib/systemd/deploy.sh and rollback.sh, as root, from the checkout that holds the new release. After
a failed check the old release trades on. Every deploy is a line in deployments.jsonl of the state folder.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avwapd.ops.deploy import Deployment
    from avwapd.ops.release import Release

EXAMPLE = """\
examples:
  contrib/systemd/deploy.sh --why "fixes the cadence gate" --dry-run
  contrib/systemd/deploy.sh --why "fixes the cadence gate"
  contrib/systemd/rollback.sh --why "worse than before"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prefix", type=Path, default=Path("/opt/avwapd"), help="where releases lie")
    parser.add_argument("--checkout", type=Path, default=Path.cwd(), help="what to deploy (default: this folder)")
    parser.add_argument("--wheel", type=Path, help="instead of one that is built from the checkout")
    parser.add_argument("--python", default="python3", help="of the release's environment (default: %(default)s)")
    parser.add_argument("--wheels", type=Path, help="a folder with every wheel of the lock: no index is asked")
    parser.add_argument("--site", type=Path, help="a folder in which the dependencies are installed: nothing is")
    parser.add_argument("--why", default="", help="a line for the log")
    parser.add_argument("--now", action="store_true", help="although the market is open")
    parser.add_argument("--quick", action="store_true", help="without `check --mode self` before")
    limit = "until it must be ready, and after it without doubts (default: %(default)s)"
    parser.add_argument("--ready-s", type=float, default=180.0, help=limit)
    parser.add_argument("--settle-s", type=float, default=5.0, help="how long it must stay up (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; change nothing")
    parser.add_argument("--back", action="store_true", help="to the release before this one")
    parser.add_argument("--restore", action="store_true", help="with --back: restore the copy from before a migration")
    parser.add_argument("--tally", action="store_true", help="only tell how far the ledger went")


def run(args: argparse.Namespace) -> int:
    if args.tally:
        return told_tally(args)
    from avwapd.ops.deploy import Deployment
    from avwapd.ops.host import Host
    from avwapd.ops.release import DeployRefused

    if os.getuid() != 0:
        raise DeployRefused("only root may turn releases", "this user", "sudo contrib/systemd/deploy.sh")
    job = Deployment(
        Host.read(args.prefix),
        lambda line: print(line, flush=True),
        lambda: datetime.now(UTC).isoformat(timespec="seconds"),
        time.monotonic,
        why=args.why,
        ready_s=args.ready_s,
        settle_s=args.settle_s,
        dry=args.dry_run,
    )
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a line that drops must not leave half a deploy
    with alone(args.prefix):
        return turned(args, job)


def turned(args: argparse.Namespace, job: Deployment) -> int:
    from avwapd.ops.release import wheel_of

    if args.back:
        return job.back(in_session=args.now, restore=args.restore)
    builder = args.checkout / ".venv" / "bin" / "python"
    with nullcontext(args.wheel) if args.wheel else wheel_of(args.checkout, builder) as wheel:
        return job.forward(
            wheel, lambda release: prepare(args, release, wheel), in_session=args.now, self_check=not args.quick
        )


@contextmanager
def alone(prefix: Path) -> Iterator[None]:
    """One deploy at a time."""
    from avwapd.ops.release import DeployRefused

    with (prefix / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DeployRefused("another deploy is under way", prefix, "wait for its end") from None
        yield


def prepare(args: argparse.Namespace, release: Release, wheel: Path) -> None:
    """The release's environment and its units."""
    from avwapd.ops.host import Host
    from avwapd.ops.release import DeployRefused, build, finish

    host = Host.read(args.prefix)
    lock = args.checkout / "requirements.lock"
    packages = [] if args.site else ["-r", str(lock)]
    if args.wheels:
        packages = ["--no-index", "--find-links", str(args.wheels), *packages]
    build(release, wheel, args.python, packages, args.site)
    places = {
        "PREFIX": host.prefix,
        "CONFIG": host.config,
        "CONFIG_DIR": host.config_dir,
        "SERVICE_USER": host.user,
        "SERVICE_GROUP": host.group,
    }
    fill = args.checkout / "contrib" / "systemd" / "fill.sh"
    environ = os.environ | {name: str(value) for name, value in places.items()}
    done = subprocess.run(
        ["sh", str(fill), str(release.folder / "units")], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DeployRefused(f"the units cannot be filled in: {done.stderr.strip()}", fill, "nothing was switched")
    finish(release)


def told_tally(args: argparse.Namespace) -> int:
    from avwapd.paths import resolve
    from avwapd.store.tally import tally

    database = resolve(args.state_dir).database
    found = tally(database)
    facts = {"tally": asdict(found) if found else None}
    sys.stdout.write(json.dumps(facts) + "\n" if args.json else f"{database.name}: {found or 'no ledger'}\n")
    return 0
