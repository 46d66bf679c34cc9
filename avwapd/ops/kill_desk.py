"""The account that a configuration means, for the kill program; each kind is imported only where it is used."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal

from avwapd.config import REMOTE_MODES, Config
from avwapd.ops.kill_plan import Desk, lines_without_ledger
from avwapd.ports import Clock, ScaledClock
from avwapd.remote import credentials
from avwapd.remote.terms import terms_of
from avwapd.store.kill_facts import Facts


def desk_of(config: Config, facts: Facts, clock: Clock) -> Desk:
    """Asks no network. Raises ConfigError where keys or addresses do not fit, Unusable for an unknown exchange."""
    lines = facts.lines or lines_without_ledger(config.run.symbols)
    if config.run.mode not in REMOTE_MODES:
        from avwapd.ops.kill_embedded import EmbeddedDesk

        return EmbeddedDesk(
            config.embedded.venue, lambda name: Decimal(lines[name].lot) if name in lines else Decimal(1), clock
        )
    terms = terms_of(tuple(lines), [asdict(line) for line in lines.values()], "/")
    keys = credentials.load(config)
    if config.venue.name == "alpaca":
        from avwapd.ops.kill_alpaca import AlpacaDesk
        from avwapd.remote.addresses import alpaca_addresses

        where = alpaca_addresses(config.run.mode, config.venue, config.feed.plan, keys.address)
        return AlpacaDesk(where, keys, config.run.mode, terms, clock)
    from avwapd.ops.kill_ccxt import CcxtDesk
    from avwapd.remote.addresses import assert_addresses

    assert_addresses(config.run.mode, config.venue, config.feed.plan, keys.address)
    near = credentials.is_loopback(config.venue.address)
    return CcxtDesk.open(config, keys, terms, ScaledClock(clock.now_ms(), config.venue.speed) if near else clock)
