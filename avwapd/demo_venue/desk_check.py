"""Why an order is refused before the book sees it: shape, precision, what is free to sell, what can be paid."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from avwapd.demo_venue.desk_shapes import ZERO, DeskRefused, NewOrder, Order
from avwapd.remote.terms import Terms, plain

if TYPE_CHECKING:
    from avwapd.demo_venue.desk import Desk

PRICES = {"market": (False, False), "limit": (True, False), "stop": (False, True), "stop_limit": (True, True)}
TIFS = ("day", "gtc", "ioc", "fok")


class Checks:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def order(self, wanted: NewOrder, instead_of: Order | None = None) -> None:
        """Raises DeskRefused. instead_of: the order that it replaces, whose hold is free for it."""
        terms = self._desk.terms.get(wanted.symbol)
        if terms is None:
            raise DeskRefused("unknown_symbol", f"asset {wanted.symbol!r} not found")
        self._shape(wanted)
        self._precision(wanted, terms)
        mark = self._desk.marks.get(wanted.symbol, ZERO)
        price = wanted.limit or wanted.stop or mark
        if price and wanted.qty * price < terms.min_notional:
            message = f"cost basis must be >= minimal amount of order {plain(terms.min_notional)}"
            raise DeskRefused("min_notional", message, {"min_notional": plain(terms.min_notional)})
        held = self._desk.held(wanted.symbol)
        if held * wanted.side < 0:
            self._free(wanted, held, instead_of)
        else:
            self._opening(wanted, terms, price, instead_of)

    def _shape(self, wanted: NewOrder) -> None:
        if wanted.type not in PRICES or wanted.side not in (1, -1) or wanted.tif not in TIFS:
            raise DeskRefused("bad_order", f"no such order: {wanted.side} {wanted.type} {wanted.tif}")
        for name, price, needed in zip(
            ("limit", "stop"), (wanted.limit, wanted.stop), PRICES[wanted.type], strict=True
        ):
            if needed != (price is not None):
                need = "require" if needed else "cannot have a"
                raise DeskRefused("bad_order", f"{wanted.type} orders {need} {name} price")
        if len(wanted.client_id) > 128:
            raise DeskRefused("bad_order", "client_order_id must be no more than 128 characters")

    def _precision(self, wanted: NewOrder, terms: Terms) -> None:
        if not wanted.qty.is_finite() or wanted.qty <= 0 or wanted.qty < terms.min_qty:
            raise DeskRefused("bad_qty", f"qty must be at least {plain(max(terms.min_qty, terms.lot))}")
        if terms.rest(wanted.qty):
            raise DeskRefused("bad_qty", f"qty {wanted.qty} is no multiple of {plain(terms.lot)}")
        for name, price in (("limit_price", wanted.limit), ("stop_price", wanted.stop)):
            if price is None:
                continue
            if not price.is_finite() or price <= 0:
                raise DeskRefused("bad_price", f"{name} must be > 0")
            if price % terms.tick:
                message = f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria"
                raise DeskRefused("bad_price", message)

    def _free(self, wanted: NewOrder, held: Decimal, instead_of: Order | None) -> None:
        resting = self.resting(wanted.symbol, wanted.side, instead_of)
        available = max(abs(held) - resting, ZERO)
        if wanted.qty > available:
            message = (
                f"insufficient qty available for order (requested: {plain(wanted.qty)}, available: {plain(available)})"
            )
            facts = {
                "available": plain(available),
                "existing_qty": plain(abs(held)),
                "held_for_orders": plain(resting),
                "symbol": wanted.symbol,
            }
            raise DeskRefused("held_qty", message, facts)

    def _opening(self, wanted: NewOrder, terms: Terms, price: Decimal, instead_of: Order | None) -> None:
        profile = self._desk.profile
        if wanted.side < 0:
            if terms.asset != "equity" or not profile.shorts:
                message = f"insufficient qty available for order (requested: {plain(wanted.qty)}, available: 0)"
                facts = {"available": "0", "existing_qty": "0", "held_for_orders": "0", "symbol": wanted.symbol}
                raise DeskRefused("held_qty", message, facts)
            if wanted.qty % 1:
                raise DeskRefused("not_shortable", "fractional orders cannot be sold short")
        cost = wanted.qty * price * (1 + self._desk.fees.bps / 10_000)
        power = self.buying_power(instead_of)
        if cost > power:
            facts = {"buying_power": plain(round(power, 2)), "cost_basis": plain(round(cost, 2))}
            raise DeskRefused("buying_power", "insufficient buying power", facts)

    def resting(self, symbol: str, side: int, without: Order | None = None) -> Decimal:
        """What the live orders of one side still want."""
        live = self._desk.live_orders()
        return sum((o.rest for o in live if o.symbol == symbol and o.side == side and o is not without), start=ZERO)

    def buying_power(self, without: Order | None = None) -> Decimal:
        """What may still be opened: margin x equity, less what is held and what resting orders would open."""
        desk = self._desk
        power = desk.equity() * desk.profile.margin
        for symbol, qty in desk.true_positions().items():
            power -= abs(qty) * desk.marks.get(symbol, ZERO)
        for order in desk.live_orders():
            if order is not without and desk.held(order.symbol) * order.side >= 0:
                power -= order.rest * (order.limit or order.stop or desk.marks.get(order.symbol, ZERO))
        return max(power, ZERO)
