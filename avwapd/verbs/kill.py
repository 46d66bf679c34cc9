"""Stop everything that opens risk, without the daemon: it may hang, or be dead.

First the file KILL_SWITCH, durably; then, with the account's own keys and a connection of its own, the entries that
rest at the venue are canceled. Stops and exits stay. --flatten cancels all our orders and sells what the ledger holds.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avwapd.config.errors import ConfigError
from avwapd.config.kinds import Number, Unfit
from avwapd.paths import Paths, resolve
from avwapd.ports import SystemClock
from avwapd.store import kill_note
from avwapd.store.kill_note import KillNote

if TYPE_CHECKING:
    from avwapd.config import Config
    from avwapd.ops.kill import Report

EXAMPLE = """\
examples:
  avwapd kill                        # nothing opens any more; entries at the venue are canceled
  avwapd kill --flatten              # all our orders canceled, what the ledger holds is sold at market
  avwapd kill --release              # allow entries again
"""
LIMIT_S = 30.0
NOTHING_OUTSIDE = "the venue lives inside the daemon: there is nothing outside to cancel"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--flatten", action="store_true", help="cancel all orders of ours, sell what the ledger holds")
    everything = "also orders that cannot be told for ours; sell without a ledger; release all the same"
    parser.add_argument("--all", action="store_true", help=everything)
    parser.add_argument("--release", action="store_true", help="remove KILL_SWITCH: entries are allowed again")
    parser.add_argument("--reason", default="", help="why, for the log")
    parser.add_argument("--limit-s", type=limit, default=LIMIT_S, help="seconds for all of it (default 30)")


def limit(text: str) -> float:
    """Seconds, as an option gives them."""
    try:
        return float(Number(0.5, 3600, "seconds").text(text))
    except Unfit as unfit:
        raise argparse.ArgumentTypeError(str(unfit)) from None


def run(args: argparse.Namespace) -> int:
    paths = resolve(args.state_dir)
    if not paths.state.is_dir():
        raise ConfigError("no state folder here", str(paths.state), "name the daemon's --state-dir")
    if args.release:
        if not args.all:
            assert_booked(paths)
        return released(paths, as_json=args.json)
    note, unwritten = closed(paths, args)
    say = Said(as_json=args.json)
    if unwritten:
        # Entries can still be taken back; a sale could not be noted before it left, so none is made.
        args.flatten = False
        say.line(f"NOT DONE: {unwritten}; a daemon that runs may open again: end it", to=sys.stderr)
    else:
        say.line(f"KILL_SWITCH is written in {paths.state}: nothing that opens leaves from now on")
    try:
        report = at_venue(paths, args, note, say)
    except Exception as error:
        done = "nothing was written either" if unwritten else "only the file was written"
        say.line(f"{done}; NOTHING WAS CANCELED at the venue, because:", to=sys.stderr)
        if hasattr(error, "next_step"):
            raise
        print(f"avwapd kill: {type(error).__name__}: {error}\n  next: cancel at the venue by hand", file=sys.stderr)
        return 1
    return max(say.end(report), int(bool(unwritten)))


def assert_booked(paths: Paths) -> None:
    """The file is all that tells the daemon of our sales: without it they are differences. Raises ConfigError."""
    from avwapd.store.kill_facts import facts

    note = kill_note.read(paths.kill_switch)
    if note is None or not note.sales:
        return
    booked = facts(paths.database, [sale.cid for sale in note.sales]).booked
    waiting = [f"{sale.symbol} {sale.qty} ({sale.cid})" for sale in note.sales if sale.cid not in booked]
    if waiting:
        raise ConfigError(
            f"sales of avwapd kill that no daemon has booked yet: {', '.join(waiting)}",
            str(paths.kill_switch),
            "avwapd kill --flatten again until nothing rests, let the daemon run until avwapd ctl status shows no "
            "difference, then release; --release --all releases all the same",
        )


def released(paths: Paths, *, as_json: bool) -> int:
    try:
        there = kill_note.release(paths.kill_switch)
    except OSError as error:
        what = f"KILL_SWITCH cannot be removed ({error.strerror})"
        raise ConfigError(what, str(paths.kill_switch), "remove it by hand") from None
    if as_json:
        print(json.dumps({"released": there}))
    else:
        print(
            "KILL_SWITCH is removed: entries are allowed again, as far as the gates allow them"
            if there
            else "there was no KILL_SWITCH"
        )
    return 0


def closed(paths: Paths, args: argparse.Namespace) -> tuple[KillNote, str]:
    """The file, before anything else; what an earlier call sold stays in it. With why it could not be written."""
    earlier = kill_note.read(paths.kill_switch)
    note = KillNote(args.reason or "avwapd kill", who(), SystemClock().now_ms())
    if earlier is not None and earlier.sales:
        note = replace(note, ts_ms=earlier.ts_ms, sales=earlier.sales)
    if args.flatten:
        note = replace(note, flatten=True, whole=False)
    try:
        kill_note.close(paths.kill_switch, note)
    except OSError as error:
        sold = "; nothing is sold" if args.flatten else ""
        return note, f"KILL_SWITCH cannot be written ({error.strerror}){sold}"
    return note, ""


def who() -> str:
    try:
        return f"{getpass.getuser()} pid {os.getpid()}"
    except (KeyError, OSError):
        return f"uid {os.getuid()} pid {os.getpid()}"


def at_venue(paths: Paths, args: argparse.Namespace, note: KillNote, say: Said) -> Report | None:
    """The orders, and under --flatten the positions; None where there is nothing outside the daemon."""
    from avwapd.config import REMOTE_MODES, load

    config = load(Path(args.config) if args.config else None)
    if config.run.mode not in REMOTE_MODES and not (config.run.mode == "sim" and config.embedded.venue != "inline"):
        if note.flatten and args.flatten:  # nobody but the daemon can sell there: it must not wait for us
            kill_note.replace(paths.kill_switch, replace(note, flatten=False, whole=True))
        say.line(NOTHING_OUTSIDE)
        return None
    import anyio

    return anyio.run(work, config, paths, args, note)


async def work(config: Config, paths: Paths, args: argparse.Namespace, note: KillNote) -> Report:
    from avwapd.ops.kill import Killing, Wanted
    from avwapd.ops.kill_desk import desk_of
    from avwapd.store.kill_facts import facts

    clock = SystemClock()
    desk = desk_of(config, facts(paths.database, []), clock)
    wanted = Wanted(args.flatten, args.all, tuple(config.run.symbols), args.limit_s)
    try:
        killing = Killing(desk, clock, wanted, paths.kill_switch, note, lambda cids: facts(paths.database, cids))
        return await killing.run()
    finally:
        await desk.close()


class Said:
    """Lines for people as they come, or one JSON object at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def line(self, words: str, *, to: Any = None) -> None:
        if not self._as_json or to is not None:
            print(words, file=to, flush=True)

    def end(self, report: Report | None) -> int:
        """The exit code."""
        if self._as_json:
            print(json.dumps({"kill_switch": True, "venue": asdict(report) if report else None}))
        elif report is not None:
            for words in lines_of(report):
                print(words)
        return 0 if report is None or report.whole else 1


def lines_of(report: Report) -> list[str]:
    """What was done, what stays, what could not be done."""
    took = f" in {report.last_s:.2f} s" if report.last_s is not None else ""
    done = f"{report.canceled} canceled{took}, {report.stay} stops and exits stay"
    lines = [f"{report.venue}: {report.listed} orders rest, {report.ours} of ours: {done}; others: {report.strangers}"]
    for sale in report.sold:
        side = "sold" if sale.side < 0 else "bought back"
        lines.append(f"{side} {sale.filled} of {sale.qty} {sale.symbol} at {sale.price} ({sale.cid})")
    lines += [f"note: {words}" for words in report.remarks]
    lines += [f"NOT DONE: {words}" for words in report.undone]
    if not report.whole:
        lines.append("next: avwapd kill again, or look at the venue")
    return lines
