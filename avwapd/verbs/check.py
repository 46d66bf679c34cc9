"""Preflight and health: can it start here and trade, is the scan fresh, is the daemon well? `all` is for the morning.

Offline, and nothing of the state folder is written. `health` asks the daemon on this machine; only `venue` asks a
network: the configured account, with an order far from the market that is canceled at once.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import avwapd
from avwapd.config import Config, ConfigError, account_mode, config_hash, is_remote, load
from avwapd.ops.finding import FAIL, OK, WARN, Finding, exit_code
from avwapd.paths import Paths, resolve
from avwapd.verbs.header import header_of

EXAMPLE = """\
examples:
  avwapd check --mode all
  avwapd check --mode health --strict
  avwapd check --mode config
  avwapd check --mode self
  avwapd check --mode venue
  avwapd --config-check --config etc/demo.toml --json
"""

LOOKS = ("execution", "scan", "backtest", "watchlist", "host")  # each a module check_NAME with findings(args)
PRESENT = ("all", "config", *LOOKS, "health", "self", "venue")
REPORT = "keep the configuration and report this: it must not happen"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mode", choices=PRESENT, default="config", help="what to look at (default: config)")
    parser.add_argument("--strict", action="store_true", help="a warning fails")
    group = parser.add_argument_group("of --mode venue")
    group.add_argument("--live", action="store_true", help="the live account; it is only looked at, unless --order")
    group.add_argument("--order", action="store_true", help="with --live: place the far-off order there too")
    group.add_argument("--symbol", metavar="S", help="of bars and order (default: the first of run.symbols)")


def run(args: argparse.Namespace) -> int:
    if args.mode == "venue":
        from avwapd.verbs.check_venue import run_venue

        return run_venue(args)
    if args.mode == "config":
        return of_configuration(args)
    if args.mode == "all":
        from avwapd.verbs.check_all import run_all

        return run_all(args)
    if args.mode == "health":
        from avwapd.verbs.check_health import run_health

        return run_health(args)
    config = load(Path(args.config) if args.config else None)
    findings = []
    for finding in looking(args.mode, args):
        findings.append(finding)
        told(args, finding)
    summed(args, findings, config)
    return exit_code(findings, args.strict)


def looking(mode: str, args: argparse.Namespace) -> Iterator[Finding]:
    """The findings of one mode, as they come."""
    if mode == "self":
        yield from of_itself(args)
    else:
        yield from importlib.import_module(f"avwapd.verbs.check_{mode}").findings(args)


def of_itself(args: argparse.Namespace) -> Iterator[Finding]:
    """Proofs on made-up markets: no look-ahead, warm-up, determinism, no network."""
    from avwapd.research import proof

    loading = proof.under(args.config)
    loading({})
    for prove in proof.PROOFS:
        found = prove(loading)
        yield Finding(found.name, OK if found.ok else FAIL, found.what, "" if found.ok else REPORT)
    found = proof.same_everywhere(args.config)
    yield Finding(found.name, OK if found.ok else FAIL, found.what, "" if found.ok else REPORT)


def of_configuration(args: argparse.Namespace) -> int:
    findings, config, broken = configured(args)
    show(args, findings, config)
    if broken:
        return ConfigError.exit_code
    return exit_code(findings, args.strict)


def configured(args: argparse.Namespace) -> tuple[list[Finding], Config | None, bool]:
    """The findings, the configuration where it can be read, and whether it cannot be used."""
    config: Config | None = None
    findings = []
    try:
        config = load(Path(args.config) if args.config else None)
        findings.append(Finding("configuration", OK, words_of(config)))
        findings.append(Finding("mode", OK, config.run.mode))
    except ConfigError as error:
        name = "mode" if findings else "configuration"
        findings.append(Finding(name, FAIL, f"{error.what} ({error.where})", error.next_step))
    broken = findings[-1].verdict == FAIL
    findings += of_paths(resolve(args.state_dir))
    if config is not None:
        findings += of_outside(config)
    return findings, config, broken


def words_of(config: Config) -> str:
    layers = ", ".join(dict.fromkeys(config.origins.values()))
    return f"{len(config.origins)} settings from {layers}"


# ------------------------------------------------------------------- checks


def of_paths(paths: Paths) -> list[Finding]:
    findings = [writable("state folder", paths.state)]
    if paths.archive.exists():
        findings.append(writable("archive", paths.archive))
    try:
        findings.append(writable("control socket", paths.socket.parent))
    except ConfigError as error:
        findings.append(Finding("control socket", FAIL, f"{error.what}: {error.where}", error.next_step))
    findings.append(of_database(paths.database))
    return findings


def writable(name: str, folder: Path) -> Finding:
    """Whether files could be made in `folder`, which itself may still have to be made."""
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    next_step = "give it to this user, or name another: --state-dir DIR"
    if not there.is_dir():
        return Finding(name, FAIL, f"{there} is no folder", next_step)
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(name, FAIL, f"{there} cannot be written by user {os.geteuid()}", next_step)
    return Finding(name, OK, str(folder) if there == folder else f"{folder}, made at the first run")


def of_database(path: Path) -> Finding:
    name, other = "database", "move it away, or name another state folder"
    try:
        header = header_of(path)
    except FileNotFoundError:
        return Finding(name, OK, "none yet; the first run makes it")
    except ValueError:
        return Finding(name, FAIL, f"{path} is no SQLite database", other)
    except OSError as error:
        return Finding(name, FAIL, f"{path}: {(error.strerror or 'unreadable').lower()}", other)
    if header.application_id != avwapd.APPLICATION_ID:
        found = f"{header.application_id:#x}"
        return Finding(name, FAIL, f"{path} belongs to another program (application id {found})", other)
    version, mine = header.user_version, avwapd.SCHEMA_VERSION
    if version > mine:
        return Finding(name, FAIL, f"schema {version} is newer than this code's {mine}", "run the newer avwapd")
    if version < mine:
        return Finding(name, OK, f"schema {version}; the next run migrates it to {mine}, after a backup")
    return Finding(name, OK, f"schema {version}")


def of_outside(config: Config) -> list[Finding]:
    network = Finding("network", OK, "allowed" if config.network.allowed else "off")
    if not is_remote(config):
        return [Finding("credentials", OK, f"none needed in mode {config.run.mode}"), network]
    return [of_venue(config), *of_bars(config), of_address(config), of_credentials(config), network]


def of_bars(config: Config) -> list[Finding]:
    """Only where the warm-up is of another exchange than what follows."""
    exchange, venue = config.run.exchange, config.venue.name
    if exchange in ("", venue):
        return []
    what = f"the warm-up of {exchange}, live bars and orders of {venue}"
    return [Finding("bars", WARN, what, f'set run.exchange = "{venue}", unless prices and symbols are the same')]


def of_venue(config: Config) -> Finding:
    """Whether orders can go there as they should; says what an exchange cannot do."""
    from avwapd.remote.ccxt_table import ROWS

    name = config.venue.name
    if name == "alpaca":
        return Finding("venue", OK, name)
    if name in ROWS:
        row = ROWS[name]
        lacks = "" if row.can_look_up else "orders cannot be looked up by id: one in doubt halts its symbol"
        lacks += "" if row.stop else "; no stops there" if lacks else "no stops there"
        next_step = "see docs/venues.md for what that means" if lacks else ""
        return Finding("venue", WARN if lacks else OK, f"{name} through ccxt{': ' + lacks if lacks else ''}", next_step)
    found = importlib.util.find_spec("ccxt")
    folders = [] if found is None else list(found.submodule_search_locations or [])
    if not any((Path(folder) / f"{name}.py").exists() for folder in folders):
        return Finding("venue", FAIL, f"{name} is no exchange that ccxt knows", "set venue.name; see docs/venues.md")
    what = f"{name} through ccxt: untried; no look-up of orders, no stops"
    return Finding("venue", WARN, what, "see docs/venues.md for what that means")


def of_address(config: Config) -> Finding:
    """Mode and addresses agree; nothing is asked there."""
    from avwapd.remote.addresses import assert_addresses
    from avwapd.remote.credentials import ALPACA

    venue, mode = config.venue, account_mode(config)
    try:
        trading = assert_addresses(mode, venue, config.feed.plan, os.environ.get(ALPACA.address, ""))
    except ConfigError as error:
        return Finding("address", FAIL, f"{error.what} ({error.where})", error.next_step)
    own = "its own test site" if mode == "paper" and venue.name != "alpaca" else "its own"
    return Finding("address", OK, f"{trading or own}, as fits mode {mode}")


def of_credentials(config: Config) -> Finding:
    """Whether there are keys; never what they are."""
    from avwapd.remote.credentials import load as keys_of

    try:
        keys = keys_of(config)
    except ConfigError as error:
        return Finding("credentials", FAIL, f"{error.what} ({error.where})", error.next_step)
    return Finding("credentials", OK, "made up: the venue is simulated" if keys.simulated else "present")


# -------------------------------------------------------------------- words


def show(args: argparse.Namespace, findings: list[Finding], config: Config | None) -> None:
    for finding in findings:
        told(args, finding)
    summed(args, findings, config)


def told(args: argparse.Namespace, finding: Finding) -> None:
    """One line, as soon as it is known."""
    if args.json:
        return
    print(f"{finding.verdict:<4}  {finding.name:<15} {finding.what}", flush=True)
    if finding.next_step:
        print(f"      {'':<15} next: {finding.next_step}", flush=True)


def summed(args: argparse.Namespace, findings: list[Finding], config: Config | None) -> None:
    good = sum(finding.verdict != FAIL for finding in findings)
    if args.json:
        facts = {
            "mode": args.mode,
            "ok": good == len(findings),
            "passed": good,
            "total": len(findings),
            "config_hash": config_hash(config) if config else None,
            "checks": [asdict(finding) for finding in findings],
        }
        print(json.dumps(facts))
    else:
        print(f"{good} of {len(findings)}")
