"""A small backtest on made-up bars, twice: the same bytes, or this machine cannot be trusted with a comparison."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from avwapd.config import load
from avwapd.ops.finding import FAIL, OK, Finding

SYMBOLS, SESSIONS, TIMEFRAME, SEED = ("ASH", "ELM", "OAK"), 6, "15m", 20
BUSY = {"size.method": "risk_per_trade", "gates.volume_ratio": "0", "gates.entries_per_symbol_day": "20"}
OWN = {
    "equity.currency": "USD",
    "run.mode": "sim",
    "run.market": "demo",
    "gates.regime_index": "",
    "anchors.user": "{}",
}


def findings(args: argparse.Namespace) -> Iterator[Finding]:
    from avwapd.config import as_plain
    from avwapd.feeds.demo import generate
    from avwapd.feeds.world import build
    from avwapd.research.files import write_backtest
    from avwapd.verbs.backtest import inputs_of

    config = load(Path(args.config) if args.config else None, options={**BUSY, **OWN})
    setup = build(config, generate(SYMBOLS, SESSIONS, TIMEFRAME, SEED))
    manifests = []
    for _ in range(2):
        with TemporaryDirectory(prefix="avwapd-check-") as folder:
            inputs = inputs_of(setup) | {"candidates": None}
            manifests.append(write_backtest(setup, Path(folder), inputs, as_plain(config), with_csv=False))
    counts = manifests[0]["counts"]
    words = f"{counts['bars']} bars, {counts['decisions']} decisions, {counts['trades']} exit legs"
    decided = counts["decisions"] > 0
    yield Finding("backtest", OK if decided else FAIL, words, "" if decided else "avwapd check --mode self")
    differing = [name for name, value in manifests[0]["outputs"].items() if manifests[1]["outputs"].get(name) != value]
    if differing:
        yield Finding("repeated", FAIL, f"the second run's differ: {', '.join(differing)}", "avwapd check --mode self")
    else:
        yield Finding("repeated", OK, f"{len(manifests[0]['outputs'])} files, equal in bytes")
