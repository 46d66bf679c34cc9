"""An exchange of ccxt for the kill program: the daemon's own reading of it, over a connection of its own, by REST."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from avwapd.config import Config
from avwapd.ops.kill_plan import Outcome, Resting
from avwapd.ports import Clock, ScaledClock
from avwapd.remote.calls import NoAnswer
from avwapd.remote.ccxt import Exchange, access_of
from avwapd.remote.ccxt_errors import Refused
from avwapd.remote.credentials import Credentials
from avwapd.remote.terms import Terms
from avwapd.store.ids import PREFIX
from avwapd.store.kill_note import Sale
from avwapd.venues.ccxt_account import SIDE, Account, refusal
from avwapd.venues.ccxt_words import Seen

CALL_S = 5.0
ASK = "exit"


class CcxtDesk:
    """terms: by our symbol, in ccxt's names. Made by `open`."""

    prefix = PREFIX  # ids are rewritten at some exchanges, and only those of our own form come back

    def __init__(self, exchange: Exchange, terms: Mapping[str, Terms], clock: Clock, *, settling_ms: int) -> None:
        self.name = exchange.row.name
        self.marked = exchange.row.marked
        self._exchange = exchange
        self._terms = terms
        self._account = Account(exchange, terms, clock, settling_ms=settling_ms)
        self._clock = clock
        self._loaded = False

    @classmethod
    def open(cls, config: Config, keys: Credentials, terms: Mapping[str, Terms], clock: Clock) -> CcxtDesk:
        """Nothing is sent yet. Raises Unusable. Inside a running loop."""
        venue = config.venue
        window_ms = min(60_000, max(1_000, venue.settling_ms))
        exchange = Exchange(
            access_of(config, keys), clock, limit_s=CALL_S, speed=venue.speed, window_ms=window_ms, stream=False
        )
        return cls(exchange, terms, clock, settling_ms=venue.settling_ms)

    async def close(self) -> None:
        await self._exchange.close()

    async def _ready(self) -> None:
        """Markets and the exchange's clock, once: without them nothing can be asked for, or signed."""
        if not self._loaded:
            await self._exchange.load()
            skew_ms = await self._exchange.skew_ms()
            if isinstance(self._clock, ScaledClock):  # nonces follow it, and the daemon's are of the market's time
                self._clock.set(self._clock.now_ms() + skew_ms)
                await self._exchange.skew_ms()
            self._loaded = True

    async def open_orders(self) -> list[Resting]:
        await self._ready()
        return [self._resting(seen) for seen in await self._account.open_orders()]

    @staticmethod
    def _resting(seen: Seen) -> Resting:
        return Resting(seen.cid, seen.venue_id, seen.symbol or seen.wire, seen.side, seen.qty, stop=seen.type == "stop")

    async def cancel(self, order: Resting) -> None:
        if order.symbol not in self._terms:
            await self._account.cancel_foreign(order.venue_id, order.symbol)
            return
        try:
            await self._account.cancel(ASK, order.symbol, order.cid, order.venue_id, stop=order.stop)
        except ValueError:  # an id that is none of ours cannot be written there
            await self._account.cancel_foreign(order.venue_id, order.symbol)

    async def positions(self) -> dict[str, Decimal]:
        """What the account holds of each coin, whoever bought it."""
        await self._ready()
        totals, _ = await self._account.balances()
        bases = self._account.reader.bases
        return {bases[coin]: total for coin, total in totals.items() if coin in bases and total}

    async def sell(self, sale: Sale) -> None:
        row = self._exchange.row
        if not row.market_orders or (sale.side > 0 and not row.market_buys):
            raise refusal(f"no market orders of this kind at {row.name} through ccxt: sell there by hand")
        terms = self._terms[sale.symbol]
        params = {**row.create_params, **row.fee_params, row.create_id: row.to_venue(sale.cid)}
        try:
            await self._exchange.ask(ASK, "create_order", terms.wire, "market", SIDE[sale.side], sale.qty, None, params)
        except Refused as refused:
            if refused.kind != "duplicate":
                raise

    async def outcome(self, sale: Sale) -> Outcome | None:
        """Raises NoAnswer at an exchange that cannot be asked for an order by our id."""
        await self._ready()
        terms = self._terms[sale.symbol]
        row = self._exchange.row
        if not row.can_look_up:
            raise NoAnswer(f"{row.name} cannot be asked for an order by our id: look there")
        seen = await self._account.find(sale.cid, sale.symbol, kind=ASK)
        if seen is None:
            return None
        price = Decimal(0)
        if seen.filled > 0:
            trades = await self._account.trades(sale.symbol, seen.made_ms)
            ours = [trade for trade in trades if trade.venue_id == seen.venue_id]
            qty = sum((trade.qty for trade in ours), Decimal(0))
            if qty:
                worth = sum((trade.qty * trade.price for trade in ours), Decimal(0))
                price = (worth / qty / terms.tick).to_integral_value() * terms.tick
        return Outcome(seen.filled, price, seen.state != "live")
