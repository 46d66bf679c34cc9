"""What stands about the sessions of a market, from the daily archive and the imported lists."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from avwapd.config import Config
from avwapd.feeds import FeedError
from avwapd.feeds.calendar import BELL, all_sessions
from avwapd.feeds.daily import load_daily
from avwapd.feeds.market import Market
from avwapd.feeds.standing import Bad, Earning, Index, Known, index_of, turns
from avwapd.store.lists import load as load_lists


def with_standing(config: Config, market: Market, archive: Path) -> Market:
    """The market with the turns of its sessions; the same where nothing of that kind is configured.

    Raises StoreError for lists that cannot be read. Bars of an index that are not there leave the regime unknown.
    """
    if not asked(config) or not len(market.bars):
        return market
    first, last = int(market.bars["ts_ms"][0]), int(market.bars["ts_ms"][-1])
    found = turns(known_of(config, archive), market.symbols, all_sessions(BELL), first, last)
    told = json.dumps([market.data_hash, found])
    return replace(market, turns=found, data_hash=hashlib.sha256(told.encode()).hexdigest())


def asked(config: Config) -> bool:
    """Whether any gate of a session is configured."""
    gates = config.gates
    return bool(gates.regime_index) or gates.earnings or gates.bad_tickers


def known_of(config: Config, archive: Path) -> Known:
    """As the archive and the lists beside it have it now."""
    gates = config.gates
    lists = load_lists(archive.parent / "lists") if gates.earnings or gates.bad_tickers else None
    bad = [Bad(row.symbol, row.reason, row.first, row.last) for row in lists.bad_tickers] if lists else []
    always = [Bad(symbol, "scan.bad_tickers", 0, 99_999_999) for symbol in config.scan.bad_tickers]
    return Known(
        index=_index(config, archive) if gates.regime_index else None,
        index_wanted=gates.regime_index,
        fail_open=gates.regime_fail_open,
        earnings={
            symbol: [Earning(row.date, row.known_date) for row in rows] for symbol, rows in lists.earnings.items()
        }
        if lists and gates.earnings
        else {},
        earnings_days=gates.earnings_days,
        bad=[*bad, *always] if gates.bad_tickers else (),
    )


def _index(config: Config, archive: Path) -> Index | None:
    try:
        daily = load_daily(archive, config.scan.exchange)
    except FeedError:
        return None
    symbol = config.gates.regime_index
    return index_of(daily.days, daily.symbols.index(symbol), symbol) if symbol in daily.symbols else None
