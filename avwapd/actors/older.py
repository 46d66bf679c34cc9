"""A ledger that is older than the account: found by the mark beside it, by what a copy says of itself, by the venue.

It is not trusted. Nothing opens until a human says so (gate `ledger`), and nothing at all leaves before the venue was
heard: what the lost rows may have sent is in doubt and answered by evidence, and a symbol with an order at the venue
that no row here explains is halted.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from avwapd.actors.mail import Acted
from avwapd.actors.router import Router
from avwapd.actors.symbols import Symbols
from avwapd.core import codes
from avwapd.core.machine import FROZEN
from avwapd.ports import Clock
from avwapd.store import mark, notes
from avwapd.store.journal import Act
from avwapd.store.writer import Writer
from avwapd.venues.port import VenueDoubt

log = logging.getLogger("avwapd.ledger")

BIT = 1 << codes.OUTER_LEDGER
WHO = "ledger"
AGAIN_S = 0.05
NEXT = "compare positions and orders with the venue's, then avwapd ctl resume --force"

Turn = Callable[[int, bool, str], Awaitable[Any]]


class Older:
    """reason: what the load found, "" where nothing speaks against the ledger. turn: closes or opens an outer gate."""

    def __init__(
        self, reason: str, symbols: Symbols, writer: Writer, router: Router, clock: Clock, *, turn: Turn
    ) -> None:
        self._reason = reason
        self._symbols = symbols
        self._writer = writer
        self._router = router
        self._clock = clock
        self._turn = turn
        self._known: set[str] = set()
        if reason:
            router.hold(WHO)
        router.stranger = self.stranger

    @property
    def closed(self) -> bool:
        return bool(int(self._symbols.journal.world.portfolio[0]["outer_closed"]) & BIT)

    async def begin(self) -> None:
        """After the symbols run, before the router does. What is found is on the disk before the ledger is taken on."""
        if self._reason:
            await self._close(self._reason)
            await self._writer.submit(partial(mark.found, ts_ms=self._clock.now_ms()))

    async def heard(self, *, reconciled: bool) -> None:
        """After the router runs: what the venue has to say is folded before anything leaves.

        reconciled: somebody else compares the books first and holds the router until then.
        """
        if not self._reason:
            return
        if not reconciled:
            await self._router.listened()
        self._router.release(WHO)

    async def stranger(self, cid: str) -> None:
        """The venue speaks of an order of ours that this ledger never made: evidence, and its symbol's halt."""
        if cid in self._known:
            return
        self._known.add(cid)
        await self._close(f"the venue speaks of {cid}, an order of ours that this ledger never made")
        order = await self._look_up(cid)
        names = self._symbols.journal.names.symbols
        if order is None or order.symbol not in names:
            await self._alert(f"{cid}: the venue cannot say of which symbol it is; entries stay closed: {NEXT}")
            return
        await self._halt(names.index(order.symbol), cid, order)

    async def unknown_at_venue(self, what: str) -> None:
        """The comparison of books met an order with an id of ours that this ledger never made."""
        await self._close(what)

    async def _look_up(self, cid: str) -> Any:
        while True:
            try:
                return await self._router.venue.look_up(cid)
            except VenueDoubt:
                await self._clock.sleep(AGAIN_S)

    async def _halt(self, symbol: int, cid: str, order: Any) -> None:
        journal = self._symbols.journal
        if journal.world.states[symbol]["halted"] == FROZEN:
            return
        told = f"{'buy' if order.side > 0 else 'sell'} {order.qty} lots, {order.filled_qty} filled, {order.state}"
        name = journal.symbol_name(symbol)
        what = f"{name}: the venue has an order of ours that this ledger never made: {told} ({cid})"
        await self._alert(f"{what}; halted: look at the venue, put it right, then avwapd ctl resume {name}")
        await self._do(Act(codes.ACT_HALT, symbol, True, WHO, what))

    async def _close(self, reason: str) -> None:
        if self.closed:
            return
        await self._alert(f"{reason}; exits only: {NEXT}")
        await self._turn(codes.OUTER_LEDGER, True, reason)

    async def _do(self, act: Act) -> None:
        mail = Acted(act)
        await self._symbols.put(mail)
        await mail.done.wait()

    async def _alert(self, what: str) -> None:
        log.error("%s", what)
        await self._writer.submit(partial(notes.alert, ts_ms=self._clock.now_ms(), level="critical", what=what))
