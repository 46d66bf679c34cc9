"""`avwapd bars actions`: splits and dividends into the archive, and what is there."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avwapd.verbs.tables import table

if TYPE_CHECKING:
    from avwapd.store.actions import ActionsError, Event
    from avwapd.store.archive import Archive

SHOWN = 20  # lines about one file on a terminal; --json has them all


@dataclass
class Outcome:
    """What became of one file."""

    file: str
    symbols: list[str] = field(default_factory=list)
    events: int = 0
    added: int = 0
    unchanged: int = 0
    replaced: int = 0
    removed: int = 0
    ignored: int = 0  # before the calendar begins
    warnings: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # every bad line or contradiction; then nothing is taken
    error: dict[str, str] | None = None


def run_actions(archive: Archive, args: argparse.Namespace) -> int:
    """0 where every file is in, 1 where one was refused."""
    wrong = unusable(args)
    if wrong:
        print(f"avwapd bars actions: {wrong}\n  next: avwapd bars actions --help", file=sys.stderr)
        return 64
    if args.list:
        return run_list(archive, args)
    outcomes = import_files(archive, args.exchange, args.files, args.symbol, replace=args.replace)
    if args.json:
        result = "fail" if any(outcome.error for outcome in outcomes) else "ok"
        print(json.dumps({"result": result, "files": [vars(outcome) for outcome in outcomes]}))
    else:
        for outcome in outcomes:
            tell(outcome)
    return int(any(outcome.error for outcome in outcomes))


def unusable(args: argparse.Namespace) -> str:
    """What does not go together, "" where all does."""
    if bool(args.files) == args.list:
        return "--list takes no files" if args.files else "name files, or --list"
    return "--symbol names one file's symbol, not many files'" if args.symbol and len(args.files) > 1 else ""


def import_files(
    archive: Archive, exchange: str, files: list[Path], symbol: str | None, *, replace: bool
) -> list[Outcome]:
    """Each file whole or not at all; the exchange's table is written once, if anything has changed."""
    from avwapd.feeds.calendar import ALWAYS, BELL, all_sessions
    from avwapd.store.action_file import read_actions
    from avwapd.store.actions import Actions, ActionsError, events_of, merge, table_of
    from avwapd.store.archive import ArchiveError, named
    from avwapd.store.instruments import Instruments
    from avwapd.verbs.bars_import import calendar_of

    archive.folder(exchange, "1d")
    sessions = all_sessions(BELL)["date"].astype("int64")
    outcomes = [Outcome(str(path)) for path in files]
    known = Instruments(archive.root).load()
    with archive.writing():
        actions = Actions(archive.root, exchange)
        before = actions.load()
        there = table_of(before)
        for outcome, path in zip(outcomes, files, strict=True):
            try:
                given = read_actions(path, sessions, symbol)
                named(given.symbols, path)
                refuse_coins([s for s in given.symbols if calendar_of(known, exchange, s, {}) == ALWAYS], path)
                outcome.symbols, outcome.events = list(given.symbols), len(given.events)
                outcome.ignored = given.ignored
                done = merge(there, given, replace=replace)
                if done.conflicts:
                    raise contradiction(path, done.conflicts)
                outcome.added, outcome.unchanged = done.added, done.unchanged
                outcome.replaced, outcome.removed = done.replaced, len(done.removed)
                outcome.warnings = [f"{words(event)} is there, but not in the file; it stays" for event in done.missing]
            except (ActionsError, ArchiveError) as error:
                outcome.error = {"what": error.what, "where": error.where, "next_step": error.next_step}
                if isinstance(error, ActionsError):
                    outcome.refused = [f"line {line}: {reason}" if line else reason for line, reason in error.lines]
        after = events_of(there)
        if after != before:
            actions.save(after)
    return outcomes


def refuse_coins(symbols: list[str], path: Path) -> None:
    from avwapd.store.actions import ActionsError

    if symbols:
        what = f"{symbols[0]} is traded in a market that never closes, and has no ex-dates"
        raise ActionsError(what, path, "name the exchange of the shares: --exchange X")


def contradiction(path: Path, conflicts: list[tuple[Event, Event]]) -> ActionsError:
    from avwapd.store.actions import ActionsError

    lines = [f"there is {words(old)}, the file says {words(new)}" for old, new in conflicts]
    what = f"{len(conflicts)} events contradict those that are there; nothing of the file was taken"
    return ActionsError(what, path, "add --replace if the file is right", [(0, line) for line in lines])


def words(event: Event) -> str:
    from avwapd.store.actions import shown

    text = f"{event.symbol} {shown(event.ex_date)} price x{event.price_ratio:.7g}"
    return text if event.split_ratio == 1 else f"{text} split x{event.split_ratio:.7g}"


def tell(outcome: Outcome) -> None:
    name = Path(outcome.file).name
    if outcome.error:
        lines = [f"avwapd: {outcome.error['what']}", f"  where: {outcome.error['where']}"]
        lines += [f"  {line}" for line in outcome.refused[:SHOWN]]
        lines += [f"  … and {len(outcome.refused) - SHOWN} more: --json shows all"] * (len(outcome.refused) > SHOWN)
        print("\n".join([*lines, f"  next: {outcome.error['next_step']}"]), file=sys.stderr)
        return
    facts = [f"{outcome.added} of {outcome.events} events added"]
    for word, count in (
        ("were there already", outcome.unchanged),
        ("replaced", outcome.replaced),
        ("removed", outcome.removed),
        ("before the calendar begins left out", outcome.ignored),
    ):
        facts += [f"{count} {word}"] if count else []
    print(f"{name} ({', '.join(outcome.symbols[:5])}{', …' if len(outcome.symbols) > 5 else ''}): {', '.join(facts)}")
    for line in outcome.warnings[:SHOWN]:
        print(f"  warning: {line}", file=sys.stderr)


def run_list(archive: Archive, args: argparse.Namespace) -> int:
    from avwapd.store.actions import Actions, shown

    archive.folder(args.exchange, "1d")
    wanted = {args.symbol} if args.symbol else set()
    events = [event for event in Actions(archive.root, args.exchange).load() if not wanted or event.symbol in wanted]
    rows: list[dict[str, Any]] = [{**event._asdict(), "ex_date": shown(event.ex_date)} for event in events]
    if args.json:
        print(json.dumps({"exchange": args.exchange, "actions": rows}))
    elif not rows:
        print("no corporate actions\n  next: avwapd bars actions --help")
    else:
        print("\n".join(table(rows)))
    return 0
