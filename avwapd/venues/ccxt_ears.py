"""What is heard of an account at a ccxt exchange, by stream, by question or with an answer, brought into words.

A replacement is two steps there: the old order is canceled, then the new one made. In between, the old one's end is
kept back: told too early, it would read as a lost stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from decimal import Decimal

from avwapd.ports import Clock
from avwapd.remote.terms import plain
from avwapd.venues.ccxt_account import Account
from avwapd.venues.ccxt_words import Seen, Trade
from avwapd.venues.hearing import Hearing
from avwapd.venues.port import KnownOrder, Request, Word

DAY_MS = 86_400_000
OVERLAP_MS = 60_000  # executions are asked for again from so long before the newest one heard
KEPT_BACK_MS = 60_000  # an old order's end is kept back no longer than this once its replacement is nowhere
STRANGERS_KEPT = 1_000


@dataclass(slots=True)
class KeptBack:
    """The end of an order whose replacement is under way."""

    seen: Seen
    since_ms: int


class Ears:
    """Synchronous hearing plus the questions that complete it. Raises what avwapd.remote raises."""

    def __init__(self, account: Account, clock: Clock, *, settling_ms: int) -> None:
        self.account = account
        self.hearing = Hearing(0, account.terms)
        self.counts: Counter[str] = Counter()
        self.last_word_ms = 0
        self._clock = clock
        self._settling_ms = settling_ms
        self._heard: Callable[[], None] = _nobody
        self._told = 0
        self._cids: dict[str, str] = {}  # the venue's id of an order -> ours
        self._stops: dict[str, bool] = {}
        self._kept: dict[str, KeptBack] = {}  # by the old order's id
        self._since: dict[str, int] = {}  # by symbol: executions are known up to here
        self._unsure: set[str] = set()  # symbols whose executions have to be asked for
        self._strangers: dict[str, Trade] = {}  # executions of orders whose id is not known yet

    def begin(
        self, cursor: int, known: Sequence[KnownOrder], booked: Container[str], heard: Callable[[], None]
    ) -> None:
        self.hearing = Hearing(cursor, self.account.terms, known, booked)
        self._heard, self._told = heard, cursor
        self._cids = {order.venue_id: order.cid for order in known if order.venue_id}
        self._unsure = {order.symbol for order in self.hearing.open()}

    def after(self, number: int) -> list[Word]:
        return self.hearing.after(number)

    def symbol_of(self, cid: str) -> str:
        order = self.hearing.order(cid)
        return order.symbol if order else ""

    def venue_id(self, cid: str) -> str:
        order = self.hearing.order(cid)
        return order.venue_id if order else ""

    def is_stop(self, cid: str) -> bool | None:
        """None where it is not known: an order of an earlier life."""
        return self._stops.get(cid)

    # -------------------------------------------------------------------------------------------------- hearing

    def sent(self, request: Request) -> None:
        self.hearing.sent(request)
        self._stops[request.cid] = request.type == "stop"

    def took(self, cid: str, venue_id: str, trades: Sequence[Trade], seen: Seen | None) -> None:
        """The answer to a new order: it is at the venue."""
        self._cids[venue_id] = cid
        self.hearing.acked(cid, venue_id, self._clock.now_ms())
        for trade in trades:
            self.trade(trade)
        if seen is not None and seen.cid == cid:
            self.order(seen)
        self._over_with_the_old(cid)
        self._tell()

    def order(self, seen: Seen) -> None:
        """An order as the venue shows it, ours or not."""
        order = self.hearing.order(seen.cid)
        if order is None or seen.symbol != order.symbol:
            return
        self._cids[seen.venue_id] = seen.cid
        if seen.made_ms:
            first_ms = self._since.get(seen.symbol, seen.made_ms)
            self._since[seen.symbol] = min(first_ms, seen.made_ms) if seen.symbol in self._unsure else first_ms
        ts_ms = seen.ts_ms or self._clock.now_ms()
        if seen.state != "rejected":
            self.hearing.acked(seen.cid, seen.venue_id, seen.made_ms or ts_ms)
        for trade in [trade for trade in self._strangers.values() if trade.venue_id == seen.venue_id]:
            self.trade(trade)
        self.hearing.progress(seen.cid, seen.filled)
        if seen.state in ("canceled", "rejected", "filled"):
            if self.hearing.waiting(seen.cid) is not None and not order.over:
                self._kept.setdefault(seen.cid, KeptBack(seen, self._clock.now_ms()))
            else:
                self.end(seen)
        self._over_with_the_old(seen.cid)
        self._tell()

    def end(self, seen: Seen, kind: str = "") -> None:
        """The last word about an order, as soon as every execution before it was heard."""
        self._kept.pop(seen.cid, None)
        word = kind or ("expired" if seen.expired else seen.state)
        self.hearing.final(seen.cid, word, seen.ts_ms or self._clock.now_ms(), cum_qty=seen.filled)
        self._tell()

    def refuse(self, cid: str) -> None:
        """The venue did not take a new order."""
        self.hearing.final(cid, "rejected", self._clock.now_ms(), cum_qty=Decimal(0))
        self._tell()

    def cancel_refused(self, cid: str) -> None:
        self.hearing.cancel_refused(cid, self._clock.now_ms())
        self._tell()

    def learn(self, seen: Seen) -> None:
        """Which order of ours the venue's id means, and that the venue has it."""
        self._cids[seen.venue_id] = seen.cid
        self.hearing.acked(seen.cid, seen.venue_id, seen.made_ms or seen.ts_ms or self._clock.now_ms())

    def trade(self, trade: Trade) -> None:
        """One execution, of ours or of a stranger."""
        cid = self._cids.get(trade.venue_id, "")
        if not cid:
            self._strangers[trade.exec_id] = trade
            while len(self._strangers) > STRANGERS_KEPT:
                del self._strangers[next(iter(self._strangers))]
            return
        self._strangers.pop(trade.exec_id, None)
        if trade.elsewhere:
            self.counts["fees_in_another_coin"] += 1
        self.hearing.executed(
            cid,
            trade.exec_id,
            trade.ts_ms,
            qty=trade.qty,
            price=trade.price,
            fee_quote=trade.fee_quote,
            fee_base=trade.fee_base,
        )
        self._tell()

    def _over_with_the_old(self, cid: str) -> None:
        """A replacement that was taken ends the order whose place it took."""
        order = self.hearing.order(cid)
        if order is not None and order.ref_cid and order.taken and order.ref_cid in self._kept:
            self.end(self._kept[order.ref_cid].seen, "replaced")

    def _tell(self) -> None:
        if self.hearing.last > self._told:
            self._told = self.hearing.last
            self.last_word_ms = self._clock.now_ms()
            self._heard()

    # --------------------------------------------------------------------------------------------------- asking

    async def find(self, cid: str, *, kind: str = "question") -> Seen | None:
        """The order with our id wherever it may be; heard as well. None: the venue knows none."""
        symbols = [self.symbol_of(cid)] if self.symbol_of(cid) else list(self.account.terms)
        stop = self.is_stop(cid)
        apart = [stop] if stop is not None or self.account.row.apart is None else [False, True]
        for symbol in symbols:
            for where in apart:
                found = await self.account.find(cid, symbol, stop=bool(where), venue_id=self.venue_id(cid), kind=kind)
                if found is not None:
                    self.order(found)
                    return found
        return None

    async def poll(self, *, everything: bool = False) -> None:
        """Orders that are not over, and executions where some are missing; everything: executions in any case."""
        shown = await self.account.open_orders()
        for seen in shown:
            self.order(seen)
        resting = {seen.cid for seen in shown}
        for order in self.hearing.open():
            if order.cid in resting or order.cid in self._kept:
                continue
            if order.venue_id or (self.account.row.look != "none" and (order.taken or everything)):
                await self.find(order.cid)
        await self._release()
        live = {order.symbol for order in self.hearing.open()}
        behind = {self.symbol_of(cid) for cid in self.hearing.behind}
        for symbol in sorted(behind | self._unsure | (live if everything else set())):
            await self.executions(symbol)

    async def executions(self, symbol: str) -> None:
        """Every execution of a symbol since the newest one heard."""
        now_ms = self._clock.now_ms()
        since_ms = self._since.get(symbol, now_ms - DAY_MS)
        trades = await self.account.trades(symbol, max(0, since_ms - OVERLAP_MS))
        for trade in trades:
            self.trade(trade)
        self._since[symbol] = max([since_ms, *(trade.ts_ms for trade in trades)])
        self._unsure.discard(symbol)

    async def _release(self) -> None:
        """An end that was kept back for a replacement that never came."""
        long_ms = max(KEPT_BACK_MS, 3 * self._settling_ms)
        for cid, kept in list(self._kept.items()):
            newer = self.hearing.waiting(cid)
            old = self._clock.now_ms() - kept.since_ms > long_ms
            if newer is not None and (not old or await self.find(newer.cid) is not None):
                continue
            if newer is not None:
                self.counts["replacements_that_never_came"] += 1
            self.end(kept.seen)

    def keep(self, seen: Seen) -> None:
        """Keep an order's end back: its replacement is about to be made."""
        self._kept.setdefault(seen.cid, KeptBack(seen, self._clock.now_ms()))

    def facts(self) -> dict[str, object]:
        return {
            "behind": len(self.hearing.behind),
            "kept_back": len(self._kept),
            "strangers": {trade.exec_id: plain(trade.qty) for trade in list(self._strangers.values())[-5:]},
        }


def _nobody() -> None:
    """Before `begin` nobody listens."""
