"""Earnings dates, bad tickers and listings that a scan looks at: import a file, show what is there."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from avwapd.config import load
from avwapd.paths import resolve
from avwapd.verbs.days import age_days, aged, content_of, counted, day, today, warn
from avwapd.verbs.tables import table

EXAMPLE = """\
examples:
  avwapd lists import earnings earnings.csv          symbol,date[,when][,known_date]
  avwapd lists import bad-tickers bad.csv            symbol[,reason][,from][,to]
  avwapd lists import listings listings.csv          symbol,exchange[,listed]
  avwapd lists show --json
"""
KINDS = ("earnings", "bad-tickers", "listings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", required=True, metavar="import|show")
    take = acts.add_parser("import", help="a file instead of the list there is", epilog=EXAMPLE)
    take.add_argument("kind", choices=KINDS)
    take.add_argument("file", type=Path, metavar="FILE", help="CSV with a header")
    take.add_argument(
        "--known", type=day, metavar="D", help="earnings without a known_date were known from then on (default: today)"
    )
    take.add_argument("--strict", action="store_true", help="one bad row keeps the whole file out")
    acts.add_parser("show", help="rows and age of each list", epilog=EXAMPLE)


def run(args: argparse.Namespace) -> int:
    return take(args) if args.act == "import" else show(args)


def take(args: argparse.Namespace) -> int:
    """0 where every row is in, 1 where one was refused."""
    from avwapd.scan.lists import parse_list
    from avwapd.scan.sheet import SheetError, iso, told
    from avwapd.store.lists import load as load_lists
    from avwapd.store.lists import save

    config = load(Path(args.config) if args.config else None)
    folder, now = resolve(args.state_dir).lists, today()
    known = args.known or now
    parsed = parse_list(args.kind, content_of(args.file), args.file, config.universe.class_shares, known)
    if args.strict and parsed.bad:
        raise SheetError(f"{counted(len(parsed.bad), 'bad row')}: {told(parsed.bad)}", args.file, "correct these lines")
    path = save(folder, args.kind, parsed.rows, iso(now))
    load_lists(folder)  # what was written is what a scan will read
    facts: dict[str, Any] = {
        "list": args.kind,
        "file": str(path),
        "rows": len(parsed.rows),
        "symbols": len({row[0] for row in parsed.rows}),
        "doubles": parsed.doubles,
        "bad": [row.__dict__ for row in parsed.bad],
    }
    if args.kind == "earnings":
        facts |= {"known_assumed": parsed.assumed, "known": iso(known)}
    if args.json:
        print(json.dumps(facts))
    else:
        tell(facts)
    if parsed.bad:
        warn(f"{counted(len(parsed.bad), 'row')} refused: {told(parsed.bad)}")
    return 1 if parsed.bad else 0


def tell(facts: dict[str, Any]) -> None:
    doubles = f", {counted(facts['doubles'], 'double')} dropped" if facts["doubles"] else ""
    print(f"{facts['list']}: {counted(facts['rows'], 'row')}, {counted(facts['symbols'], 'symbol')}{doubles}")
    if facts.get("known_assumed"):
        print(f"  {facts['known_assumed']:,} without a known_date count as known from {facts['known']} on")
    print(f"  {facts['file']}")


def show(args: argparse.Namespace) -> int:
    from avwapd.scan.sheet import iso
    from avwapd.store.lists import FILES
    from avwapd.store.lists import load as load_lists

    folder, now = resolve(args.state_dir).lists, today()
    found = load_lists(folder)
    rows: list[dict[str, Any]] = []
    for kind in KINDS:
        fact = found.facts.get(kind)
        imported = fact.imported if fact else 0
        rows.append(
            {
                "list": kind,
                "rows": fact.rows if fact else None,
                "imported": iso(imported) if imported else None,
                "age_days": age_days(imported, now) if imported else None,
                "file": str(folder / FILES[kind]) if fact else None,
            }
        )
    if args.json:
        print(json.dumps({"lists": rows}))
        return 0
    shown = []
    for row in rows:
        age = aged(found.facts[row["list"]].imported, now) if row["imported"] else None
        shown.append({name: row[name] for name in ("list", "rows", "imported")} | {"age": age, "file": row["file"]})
    print("\n".join(table(shown)))
    for row in rows:
        if row["rows"] is None:
            print(f"  no {row['list']}: avwapd lists import {row['list']} FILE")
    return 0
