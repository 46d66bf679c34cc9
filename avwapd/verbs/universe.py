"""The symbols to scan: take a dated snapshot of the issuer's holdings or of a plain file, show what is there."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avwapd.config import Config, ConfigError, load
from avwapd.paths import resolve
from avwapd.verbs.days import aged, content_of, counted, day, today, warn
from avwapd.verbs.tables import pairs

if TYPE_CHECKING:
    from avwapd.scan.universe import Parsed
    from avwapd.store.universe import Snapshot

EXAMPLE = """\
examples:
  avwapd universe refresh --file IWV_holdings.csv
  avwapd universe refresh --file mine.csv --date 2024-05-02
  avwapd universe refresh                     downloads from universe.url; needs network.allowed
  avwapd universe show --as-of 2024-05-02 --json
"""
SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", required=True, metavar="refresh|show")
    take = acts.add_parser("refresh", help="holdings into a dated snapshot", epilog=EXAMPLE)
    take.add_argument("--file", type=Path, metavar="F", help="the issuer's CSV, or Ticker,Name,Sector,WeightPct")
    take.add_argument("--date", type=day, metavar="D", help="of a file that names none (default: today, New York)")
    take.add_argument("--accept-shrink", action="store_true", help="take it although many members are gone")
    show = acts.add_parser("show", help="the newest snapshot, or that of a day", epilog=EXAMPLE)
    show.add_argument("--as-of", type=day, metavar="D", help="the newest of that day or before")


def run(args: argparse.Namespace) -> int:
    return refresh(args) if args.act == "refresh" else show(args)


def refresh(args: argparse.Namespace) -> int:
    from avwapd.scan.universe import parse_universe, refuse_shrink
    from avwapd.store.universe import Member, newest, save

    config = load(Path(args.config) if args.config else None)
    folder, now = resolve(args.state_dir).universe, today()
    where: object = args.file or config.universe.url
    parsed = parse_universe(
        content_of(args.file) if args.file else fetched(config), where, config.universe.class_shares
    )
    of_day, origin = dated(parsed.date, args.date, now, where)
    before = newest(folder, of_day)
    if before is not None and not args.accept_shrink:
        refuse_shrink(parsed, len(before.rows), before.date, config.universe.max_shrink_fraction, where)
    saved = save(folder, of_day, (Member(*found) for found in parsed.members))
    facts = facts_of(saved, now) | {
        "file": str(saved.path),
        "date_from": origin,
        "rows": len(parsed.members) + parsed.dropped.total() + len(parsed.odd),
        "dropped": dict(sorted(parsed.dropped.items())),
        "odd": [bad.__dict__ for bad in parsed.odd],
        "before": None if before is None else {"date": iso(before.date), "tickers": len(before.rows)},
    }
    if args.json:
        print(json.dumps(facts))
    else:
        tell(facts, parsed)
    return 0


def fetched(config: Config) -> bytes:
    """The issuer's file, where the configuration lets it be fetched."""
    if not config.universe.url:
        what = "universe.url is empty: there is nowhere to fetch holdings from"
        raise ConfigError(what, "[universe]", "set universe.url, or give a file: avwapd universe refresh --file FILE")
    if not config.network.allowed:
        what = "network.allowed is false: nothing is fetched"
        next_step = "set network.allowed = true, or give a file: avwapd universe refresh --file FILE"
        raise ConfigError(what, config.origins.get("network.allowed", "[network]"), next_step)
    from avwapd.feeds.download import download

    return download(config.universe.url)


def dated(told: int | None, given: int | None, now: int, where: object) -> tuple[int, str]:
    """The snapshot's day and where it comes from: the file's own word, else --date, else today."""
    from avwapd.scan.sheet import SheetError, iso

    if told is not None and given is not None and told != given:
        what = f"the file says it is of {iso(told)}, --date says {iso(given)}"
        raise SheetError(what, where, "leave --date out")
    found = told or given or now
    if found > now:
        what = f"{iso(found)} is yet to come (today is {iso(now)} in New York)"
        raise SheetError(what, where, "correct the date, or this machine's clock")
    return found, "the file" if told else "--date" if given else "today: the file names none"


def iso(number: int) -> str:
    from avwapd.scan.sheet import iso as written

    return written(number)


def facts_of(snapshot: Snapshot, now: int) -> dict[str, Any]:
    sectors: dict[str, int] = {}
    for member in snapshot.rows:
        name = member.sector or "(none)"
        sectors[name] = sectors.get(name, 0) + 1
    from avwapd.verbs.days import age_days

    return {
        "date": iso(snapshot.date),
        "age_days": age_days(snapshot.date, now),
        "tickers": len(snapshot.rows),
        "sectors": dict(sorted(sectors.items(), key=lambda item: (-item[1], item[0]))),
        "hash": snapshot.digest,
    }


def tell(facts: dict[str, Any], parsed: Parsed) -> None:
    from avwapd.scan.sheet import told

    dropped = ", ".join(f"{count} {kind}" for kind, count in facts["dropped"].items())
    lines = [
        ("date", f"{facts['date']} ({facts['date_from']})"),
        ("rows", f"{facts['rows']:,}"),
        ("tickers", f"{facts['tickers']:,}, each once"),
        ("dropped", f"{parsed.dropped.total():,}" + (f": {dropped}" if dropped else "")),
        ("before", f"{facts['before']['tickers']:,} on {facts['before']['date']}" if facts["before"] else "none"),
        ("snapshot", facts["file"]),
    ]
    for line in pairs(lines):
        print(line)
    tell_sectors(facts)
    if parsed.odd:
        warn(f"{counted(len(parsed.odd), 'row')} left out: {told(parsed.odd)}")


def tell_sectors(facts: dict[str, Any]) -> None:
    print("sectors")
    width = max(map(len, facts["sectors"]))
    for name, count in facts["sectors"].items():
        print(f"  {name:<{width}}  {count:>6,}")


def show(args: argparse.Namespace) -> int:
    from avwapd.store.universe import UniverseError, dates, newest

    folder, now = resolve(args.state_dir).universe, today()
    snapshot = newest(folder, args.as_of)
    if snapshot is None:
        every = dates(folder)
        what = f"no snapshot of {iso(args.as_of)} or before" if every else "there is no snapshot of the universe"
        raise UniverseError(
            what + (f"; the first is of {iso(every[0])}" if every else ""),
            folder,
            "avwapd universe refresh --file FILE" + (f" --date {iso(args.as_of)}" if every else ""),
        )
    first = [member.symbol for member in snapshot.rows[:SHOWN]]
    facts = facts_of(snapshot, now) | {"file": str(snapshot.path), "first": first, "snapshots": len(dates(folder))}
    if args.json:
        print(json.dumps(facts | {"members": [member._asdict() for member in snapshot.rows]}))
        return 0
    lines = [
        ("date", f"{facts['date']}, {aged(snapshot.date, now)}"),
        ("tickers", f"{facts['tickers']:,}"),
        ("first", ", ".join(first)),
        ("snapshots", f"{facts['snapshots']:,} kept"),
        ("snapshot", facts["file"]),
    ]
    for line in pairs(lines):
        print(line)
    tell_sectors(facts)
    return 0
