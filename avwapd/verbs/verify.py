"""Hold a run against a backtest of the same bars, and fold its every input once more. 0 equal, 1 not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import avwapd
from avwapd.config import config_hash, load
from avwapd.paths import resolve
from avwapd.verbs.export import FAR_FUTURE, FAR_PAST, first_moment, last_moment
from avwapd.verbs.version import code_hash

if TYPE_CHECKING:
    from avwapd.research.compare import Mismatch
    from avwapd.research.verify import Report

EXAMPLE = """\
examples:
  avwapd verify
  avwapd verify --config etc/demo.toml --from 2025-11-17 --to 2025-11-21 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", metavar="ID", help="default: the newest")
    parser.add_argument("--from", dest="start", type=first_moment, default=FAR_PAST, metavar="TS")
    parser.add_argument("--to", dest="end", type=last_moment, default=FAR_FUTURE, metavar="TS")


def run(args: argparse.Namespace) -> int:
    from avwapd.research.hypothesis import explain
    from avwapd.research.record import opened
    from avwapd.research.verify import verify

    config = load(Path(args.config) if args.config else None)
    paths = resolve(args.state_dir)
    inputs = {"mode": "replay", "code_version": avwapd.__version__, "code_hash": code_hash()}
    inputs["config_hash"] = config_hash(config)
    window = {"run": args.run, "first_ms": args.start, "last_ms": args.end}
    with opened(paths.database) as record:
        report = verify(record, config, paths.archive, **window, inputs=inputs)
        row = record.run(args.run)
    words = explain(report.mismatch, row) if report.mismatch else ("none needed", "none needed")
    if args.json:
        print(json.dumps(facts(report, *words)))
    else:
        for line in (*story(report), *block(report, *words)):
            print(line)
    return 0 if report.passed else 1


def story(report: Report) -> Iterator[str]:
    """What was compared, and what was taken from the record instead of computed."""
    for layer, count in report.compared.items():
        what = {"decisions": "decisions", "trades": "exit legs", "replay": "inputs folded"}[layer]
        equal = "differ" if report.mismatch and report.mismatch.layer == layer else "equal"
        yield f"{layer}: {count} {what}, {equal}"
    taken = ", ".join(f"{count} {name}" for name, count in report.taken.items())
    yield f"taken from the record: {taken or 'nothing'}"
    yield from report.notes


def block(report: Report, hypothesis: str, next_check: str) -> Iterator[str]:
    """Ready to paste."""
    yield f"Result: {'PASS' if report.passed else 'FAIL'}"
    yield f"Run: {report.run} vs {report.other or 'no backtest'}"
    yield f"Layer: {report.layer}"
    yield f"Window overlap: [{', '.join(map(str, report.overlap or ()))}]"
    yield f"First mismatch (ts_ms or trade index): {report.mismatch or 'none'}"
    if report.mismatch is not None:
        yield f"  live:     {side(report.mismatch.live_row)}"
        yield f"  backtest: {side(report.mismatch.backtest_row)}"
    yield f"Hypothesis: {hypothesis}"
    yield f"Next check: {next_check}"


def side(row: Any) -> str:
    return "no such row" if row is None else json.dumps(row)


def facts(report: Report, hypothesis: str, next_check: str) -> dict[str, Any]:
    return {
        "result": "PASS" if report.passed else "FAIL",
        "run": report.run,
        "versus": report.other or None,
        "layer": report.layer,
        "overlap": report.overlap,
        "first_mismatch": mismatch(report.mismatch) if report.mismatch else None,
        "compared": report.compared,
        "taken": dict(report.taken),
        "notes": report.notes,
        "hypothesis": hypothesis,
        "next_check": next_check,
    }


def mismatch(found: Mismatch) -> dict[str, Any]:
    return {
        "where": found.where,
        "symbol": found.symbol,
        "field": found.field,
        "live": found.live,
        "backtest": found.backtest,
        "live_row": found.live_row,
        "backtest_row": found.backtest_row,
    }
