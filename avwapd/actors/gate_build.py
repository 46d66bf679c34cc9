"""The gates of a run, put together from its parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from avwapd.actors.at_venue import AtVenue
from avwapd.actors.gate_arm import Armory
from avwapd.actors.gate_hours import Hours
from avwapd.actors.gate_judge import VenueJudge
from avwapd.actors.gates import Closed, Gates
from avwapd.actors.lists import Lists
from avwapd.actors.symbols import Symbols
from avwapd.core.codes import OUTER_LEDGER
from avwapd.feeds.world import Setup
from avwapd.ports import Clock
from avwapd.settings import CEILING_ORDER_NOTIONAL, live_limits
from avwapd.store.gates import Outer
from avwapd.store.limits import Counted, Limits
from avwapd.store.writer import Writer

NAMED = 3


def gates_of(
    setup: Setup,
    symbols: Symbols,
    writer: Writer,
    clock: Clock,
    lists: Lists,
    *,
    at_venue: AtVenue | None,
    venue: Any,
    keys: Callable[[str | None], list[str]],
    integrity: Callable[[], Awaitable[str]],
    before: Iterable[Outer],
    deaf: Callable[[], bool],
) -> Gates:
    """Also sets the hard limits that the ledger asks about."""
    config, hours = setup.config, Hours(setup)
    limits = live_limits(config)
    armory, judge = None, None
    if at_venue is not None:
        if limits is not None:
            armory = Armory(
                writer,
                clock,
                account=config.run.account,
                hours=config.live.arm_hours,
                ends=hours.ends,
                keys=keys,
                integrity=integrity,
                unfit=lambda: unfit(at_venue, symbols, deaf=deaf()),
            )
        judge = VenueJudge(
            config,
            hours,
            at_venue,
            venue,
            lists,
            symbols.journal.world.states,
            symbols.journal.names.symbols,
            writer,
            clock,
            timeframe_ms=setup.market.timeframe_ms,
            armory=armory,
        )
    known = {(row.gate, row.symbol): Closed(row.since_ms, row.reason) for row in before}
    gates = Gates(symbols, clock, mode=config.run.mode, judge=judge, arming=armory, limits=limits, before=known)
    if limits is not None:
        symbols.limits = hard_limits(setup, limits, hours)
        symbols.on_denied = gates.denied
    return gates


def hard_limits(setup: Setup, limits: dict[str, float], hours: Hours) -> Limits:
    """What the transaction that writes an order holds it against."""
    config = setup.config
    counted = tuple(
        Counted(float(row["tick"]), float(row["lot"]), int(row["convert_symbol"]), bool(row["convert_inverse"]))
        for row in setup.instruments
    )
    return Limits.of(
        limits,
        ceiling=CEILING_ORDER_NOTIONAL[config.equity.currency],
        slack=1.0 + config.order.limit_offset_bps / 10_000.0 + 1e-9,
        counted=counted,
        session_began=hours.began,
    )


def unfit(at_venue: AtVenue, symbols: Symbols, *, deaf: bool) -> list[str]:
    """What speaks against arming besides keys, alerts and the ledger's file."""
    found = []
    reconciler = at_venue.reconciler
    if not reconciler.compared:
        found.append("the venue's books were not compared yet")
    elif reconciler.differences:
        words = [each.what for each in reconciler.differences]
        found.append(f"the venue's books differ: {'; '.join(words[:NAMED])}")
    if int(symbols.journal.world.portfolio[0]["outer_closed"]) >> OUTER_LEDGER & 1:
        found.append("the ledger was restored from a backup and nobody has said that it is right")
    if deaf:
        found.append("notifications reach nobody: avwapd notify --test")
    return found
