"""What only a run at a venue across a network has: live bars, the books compared, unprotected seconds counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from anyio.abc import TaskGroup

from avwapd.actors.clock import MarketClock
from avwapd.actors.drill import Drill
from avwapd.actors.live import LiveBars
from avwapd.actors.naked import Naked
from avwapd.actors.reconcile import Reconciler
from avwapd.actors.router import Router
from avwapd.actors.standing import Standing
from avwapd.actors.symbols import Symbols
from avwapd.feeds.live import LiveFeed
from avwapd.feeds.world import Setup
from avwapd.ports import Clock, ScaledClock
from avwapd.remote.terms import terms_of
from avwapd.store import ledger, notes
from avwapd.store.kill_note import Sale
from avwapd.store.rows import StepRows
from avwapd.store.sql import Connection
from avwapd.store.writer import Writer
from avwapd.venues.port import KnownOrder, RemoteVenue, VenueDoubt

log = logging.getLogger("avwapd.venue")

FOLLOW_S = 1.0
FOLLOW_TRIP_S = 0.5  # a longer way tells nothing: half of it would be minutes of a fast market


def resynced(clock: Clock, limit_ms: int) -> Callable[[int], int]:
    """A simulated venue's market may leave hours out: `_follow` sets our clock, and until then it is no skew."""

    def skew(measured_ms: int) -> int:
        return 0 if isinstance(clock, ScaledClock) and abs(measured_ms) > limit_ms else measured_ms

    return skew


def trading(setup: Setup) -> Callable[[int, int], int | None]:
    """Symbol and market ms -> when its running session began, None between two; 0 where there is no bell."""

    def opened(symbol: int, at_ms: int) -> int | None:
        inst = setup.instruments[symbol]
        if not inst["bell"]:
            return 0
        first = int(inst["session_first"])
        table = setup.sessions[first : first + int(inst["session_count"])]
        at = int(np.searchsorted(table["close_ms"], at_ms, side="left"))
        began_ms = int(table["open_ms"][at]) if at < len(table) else 0
        return began_ms if began_ms <= at_ms else None

    return opened


class AtVenue:
    """Built before the router runs; `begin` first, then `start`."""

    def __init__(
        self,
        setup: Setup,
        venue: RemoteVenue,
        feed: LiveFeed,
        symbols: Symbols,
        writer: Writer,
        router: Router,
        clock: Clock,
        market: MarketClock,
        *,
        chance: Callable[[], float],
        sales: Callable[[], tuple[Sale, ...]] = lambda: (),
        standing: Standing,
        lost_ms: int = 0,
        drill: Drill,
    ) -> None:
        config = setup.config
        self._venue = venue
        self._writer = writer
        self._router = router
        self._symbols = symbols
        self._clock = clock
        terms = terms_of(setup.market.symbols, setup.market.instruments)
        self.reconciler = Reconciler(
            venue,
            symbols,
            writer,
            router,
            clock,
            config,
            terms,
            resync=resynced(clock, setup.market.timeframe_ms // 2),
        )
        self.naked = Naked(
            symbols.journal,
            clock,
            limit_s=config.reconcile.naked_limit_s,
            speed=config.venue.speed,
            alert=partial(self.alert, event="unprotected"),
            opened=trading(setup),
            bar_ms=setup.market.timeframe_ms if isinstance(clock, ScaledClock) else 0,
        )
        symbols.on_folded = self.naked.fold
        self.bars = LiveBars(
            feed,
            symbols,
            router,
            writer,
            clock,
            market,
            archive=setup.market.bars,
            warmup_sessions=config.run.warmup_sessions,
            actions=setup.market.actions,
            min_volume_share=config.feed.min_volume_share,
            draw=chance,
            standing=standing,
            lost_ms=lost_ms,
            drill=drill,
        )

        self.reconciler.due_actions(self.bars.due_actions)
        self.reconciler.sold_beside(sales)

    async def begin(self) -> None:
        """What the ledger knows of orders and executions, so that nothing is heard twice; then the account's worth.

        Raises AccountTooSmall.
        """
        known, booked = await self._writer.submit(self._load)
        self._venue.begin(self._symbols.journal.cursor, known, booked, self._router.ring)
        self.naked.start(await self._writer.submit(partial(ledger.unprotected_since, symbol_ids=self.naked.held())))
        await self.reconciler.assert_funded()

    def _load(self, conn: Connection) -> tuple[list[KnownOrder], frozenset[str]]:
        return [KnownOrder(*row) for row in ledger.known_orders(conn)], frozenset(ledger.exec_ids(conn))

    async def start(self, group: TaskGroup) -> None:
        """The venue's stream, the comparison of books, the count of unprotected seconds."""
        if isinstance(self._clock, ScaledClock):
            group.start_soon(self._follow, self._clock)
        await group.start(self._venue.run)
        await group.start(self.reconciler.run)
        await group.start(self.naked.run)

    async def _follow(self, clock: ScaledClock) -> None:
        """A simulated market may be slower than its pace, or leave hours out: its clock is ours."""
        while True:
            await clock.sleep(FOLLOW_S)
            begun = clock.monotonic()
            try:
                skew_ms = await self._venue.skew_ms()
            except VenueDoubt:
                continue  # the reconciliation tells of a venue that does not answer
            if clock.monotonic() - begun <= FOLLOW_TRIP_S:
                clock.set(clock.now_ms() + skew_ms)

    def tell(self, rows: StepRows) -> None:
        """Committed rows."""
        self.naked.tell(rows)

    async def alert(self, what: str, level: str = "critical", event: str = "alert") -> None:
        """A row that waits for a human, and a line in the log."""
        log.error("%s", what, extra={"fields": {"EVENT": event}})
        note = partial(notes.alert, ts_ms=self._clock.now_ms(), level=level, what=what, event=event)
        await self._writer.submit(note)

    def facts(self) -> dict[str, Any]:
        """The sections of status that a simulated run does not have."""
        return {
            "venue": self._venue.facts(),
            "feed": self.bars.facts(),
            "reconcile": self.reconciler.facts(),
            "naked": self.naked.facts(),
            "router": self._router.facts(),
        }
