"""A run as the ledger notes it: what it is made of, and what it is called."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from avwapd import __version__
from avwapd.config import Config, config_hash, recorded, rules_of
from avwapd.feeds.world import Setup, at_venue
from avwapd.store.journal import RULES_VERSION
from avwapd.store.rows import InstrumentRow, RunRow


def plain_rules(config: Config) -> dict[str, Any]:
    """What decides, as the ledger's JSON gives it back."""
    rules: dict[str, Any] = json.loads(json.dumps(rules_of(config)))
    return rules


def instrument_rows(setup: Setup) -> list[InstrumentRow]:
    """The market's instruments as the ledger keeps them."""
    market = setup.market
    return [
        InstrumentRow(
            market.exchange,
            name,
            market.timeframe,
            row["asset"],
            row["quote"],
            str(row["tick"]),
            str(row["lot"]),
            str(row["min_qty"]),
            str(row["min_notional"]),
            row["calendar"],
            setup.config.signal.price_source,
            int(record["tradable"]),
        )
        for name, row, record in zip(market.symbols, market.instruments, setup.instruments, strict=True)
    ]


def run_id(setup: Setup) -> str:
    """The hash of what the run is made of: same bars, same settings, same id. A venue's bars are still to come."""
    bars = "" if at_venue(setup.config) else setup.market.data_hash
    parts = [__version__, RULES_VERSION, setup.fingerprint, bars, config_hash(setup.config)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def run_row(setup: Setup, epoch: int, now_ms: int) -> RunRow:
    """The run as the ledger notes it."""
    config, market = setup.config, setup.market
    return RunRow(
        run_id=run_id(setup),
        epoch=epoch,
        mode=recorded(config.run.mode),
        started_ms=now_ms,
        code_version=__version__,
        config_hash=config_hash(config),
        params_hash=setup.fingerprint,
        calendar_version=market.calendar_version,
        rules_version=RULES_VERSION,
        exchange=market.exchange,
        timeframe=market.timeframe,
        symbols=json.dumps(market.symbols),
        seed=config.run.seed,
        window=json.dumps([config.run.window_from, config.run.window_to]),
        rules=json.dumps(rules_of(config), sort_keys=True),
    )
