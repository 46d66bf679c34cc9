"""Alpaca's JSON: orders, positions, the account, error bodies, times."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from avwapd.demo_venue.desk_shapes import ZERO, DeskRefused, Execution, Order
from avwapd.demo_venue.sim import Sim
from avwapd.remote.terms import plain

NEW_YORK = ZoneInfo("America/New_York")
ASSETS = {"equity": "us_equity", "crypto": "crypto"}
NOT_FOUND = 40410000
# (HTTP status, code) of what the desk refuses.
REFUSALS = {
    "buying_power": (403, 40310000),
    "held_qty": (403, 40310000),
    "not_shortable": (403, 40310000),
    "min_notional": (403, 40310000),
    "duplicate": (422, 40010001),
    "not_found": (404, NOT_FOUND),
    "not_cancelable": (422, 42210000),
    "bad_price": (422, 42210000),
    "bad_qty": (422, 42210000),
    "unknown_symbol": (422, 42210000),
    "bad_order": (422, 42210000),
}


def stamp(ts_ms: int) -> str | None:
    """RFC 3339 in UTC with nanoseconds, as Alpaca writes it; None for 0."""
    if not ts_ms:
        return None
    return datetime.fromtimestamp(ts_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ts_ms % 1000:03d}000000Z"


def short_stamp(ts_ms: int) -> str:
    """Of bars: whole seconds."""
    return datetime.fromtimestamp(ts_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_stamp(ts_ms: int) -> str:
    """New York time with its offset."""
    return datetime.fromtimestamp(ts_ms / 1000, NEW_YORK).isoformat(timespec="microseconds")


def fixed_uuid(*parts: object) -> str:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:16]
    return str(uuid.UUID(bytes=digest, version=4))


def asset_id(symbol: str) -> str:
    return fixed_uuid("asset", symbol)


def money(value: Decimal) -> str:
    return plain(value)


def refusal(refused: DeskRefused) -> tuple[int, dict[str, Any]]:
    """HTTP status and body."""
    status, code = REFUSALS[refused.code]
    extra = dict(refused.extra)
    if refused.code == "duplicate":
        extra.pop("order_id", None)
    return status, {"code": code, "message": refused.message, **extra}


def order_body(sim: Sim, order: Order, *, fresh: bool = False) -> dict[str, Any]:
    """fresh: as the answer to its submission shows it, before anything happened to it."""
    terms = sim.terms[order.symbol]
    status = "pending_new" if fresh else order.status
    filled = ZERO if fresh else order.filled
    average = None if fresh or order.average is None else plain(round(order.average, 6))
    held = sim.desk.held(order.symbol)
    opens = held * order.side >= 0
    return {
        "id": order.id,
        "client_order_id": order.client_id,
        "created_at": stamp(order.created_ms),
        "updated_at": stamp(order.created_ms if fresh else order.updated_ms),
        "submitted_at": stamp(order.created_ms),
        "filled_at": None if fresh else stamp(order.filled_ms),
        "expired_at": stamp(order.expired_ms),
        "canceled_at": stamp(order.canceled_ms),
        "failed_at": stamp(order.failed_ms),
        "replaced_at": stamp(order.replaced_ms),
        "replaced_by": order.replaced_by or None,
        "replaces": order.replaces or None,
        "asset_id": asset_id(order.symbol),
        "symbol": terms.wire,
        "asset_class": ASSETS[terms.asset],
        "notional": None,
        "qty": plain(order.qty),
        "filled_qty": plain(filled),
        "filled_avg_price": average,
        "order_class": "",
        "order_type": order.type,
        "type": order.type,
        "side": "buy" if order.side > 0 else "sell",
        "position_intent": f"{'buy' if order.side > 0 else 'sell'}_to_{'open' if opens else 'close'}",
        "time_in_force": order.tif,
        "limit_price": None if order.limit is None else plain(order.limit),
        "stop_price": None if order.stop is None else plain(order.stop),
        "status": status,
        "extended_hours": bool(order.extra.get("extended_hours", False)),
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
        "expires_at": stamp(order.expires_ms),
    }


def account_body(sim: Sim) -> dict[str, Any]:
    desk = sim.desk
    held = desk.true_positions()
    values = {symbol: qty * desk.marks.get(symbol, ZERO) for symbol, qty in held.items()}
    long_value = sum((value for value in values.values() if value > 0), start=ZERO)
    short_value = sum((value for value in values.values() if value < 0), start=ZERO)
    gross = long_value - short_value
    power = money(round(desk.buying_power(), 2))
    return {
        "id": fixed_uuid("account", sim.seed),
        "account_number": f"PA{sim.seed:08d}",
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": sim.currency,
        "buying_power": power,
        "regt_buying_power": power,
        "effective_buying_power": power,
        "non_marginable_buying_power": money(max(round(desk.cash, 2), ZERO)),
        "cash": money(desk.cash),
        "accrued_fees": "0",
        "portfolio_value": money(desk.equity()),
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "created_at": "2024-01-02T14:30:00.000000000Z",
        "trade_suspended_by_user": False,
        "multiplier": money(desk.profile.margin),
        "shorting_enabled": desk.profile.shorts,
        "equity": money(desk.equity()),
        "last_equity": money(desk.equity()),
        "long_market_value": money(long_value),
        "short_market_value": money(short_value),
        "position_market_value": money(gross),
        "initial_margin": money(gross / 2),
        "maintenance_margin": money(gross * 3 / 10),
        "last_maintenance_margin": "0",
        "sma": "0",
    }


def position_body(sim: Sim, symbol: str, qty: Decimal) -> dict[str, Any]:
    desk, terms = sim.desk, sim.terms[symbol]
    mark, entry = desk.marks.get(symbol, ZERO), desk.average_entry(symbol)
    side = 1 if qty > 0 else -1
    cost, value = qty * entry, qty * mark
    gain = value - cost
    rate = gain / abs(cost) if cost else ZERO
    return {
        "asset_id": asset_id(symbol),
        "symbol": terms.wire,
        "exchange": "NASDAQ" if terms.asset == "equity" else "CRYPTO",
        "asset_class": ASSETS[terms.asset],
        "asset_marginable": terms.asset == "equity",
        "qty": plain(qty),
        "qty_available": plain(side * max(abs(qty) - desk.holds(symbol, -side), ZERO)),
        "avg_entry_price": plain(round(entry, 8)),
        "side": "long" if qty > 0 else "short",
        "market_value": money(value),
        "cost_basis": money(cost),
        "unrealized_pl": money(gain),
        "unrealized_plpc": plain(round(rate, 8)),
        "unrealized_intraday_pl": money(gain),
        "unrealized_intraday_plpc": plain(round(rate, 8)),
        "current_price": money(mark),
        "lastday_price": money(mark),
        "change_today": "0",
    }


def asset_body(sim: Sim, symbol: str) -> dict[str, Any]:
    terms = sim.terms[symbol]
    equity = terms.asset == "equity"
    body: dict[str, Any] = {
        "id": asset_id(symbol),
        "class": ASSETS[terms.asset],
        "exchange": "NASDAQ" if equity else "CRYPTO",
        "symbol": terms.wire,
        "name": f"{symbol} of the simulator",
        "status": "active",
        "tradable": True,
        "marginable": equity,
        "maintenance_margin_requirement": 30,
        "shortable": equity and sim.desk.profile.shorts,
        "easy_to_borrow": equity and sim.desk.profile.shorts,
        "fractionable": terms.lot < 1,
        "attributes": [],
    }
    if not equity:
        body |= {
            "min_order_size": float(terms.min_qty),
            "min_trade_increment": float(terms.lot),
            "price_increment": float(terms.tick),
        }
    return body


def activity_body(sim: Sim, execution: Execution) -> dict[str, Any]:
    order = sim.desk.get(execution.order_id)
    status = order.status if order else "filled"
    local = datetime.fromtimestamp(execution.ts_ms / 1000, NEW_YORK)
    return {
        "id": f"{local:%Y%m%d%H%M%S}{execution.ts_ms % 1000:03d}::{execution.id}",
        "activity_type": "FILL",
        "transaction_time": stamp(execution.ts_ms),
        "type": execution.type,
        "price": plain(execution.price),
        "qty": plain(execution.qty),
        "side": "buy" if execution.side > 0 else "sell",
        "symbol": sim.terms[execution.symbol].wire,
        "leaves_qty": plain((order.qty if order else execution.cum_qty) - execution.cum_qty),
        "order_id": execution.order_id,
        "cum_qty": plain(execution.cum_qty),
        "order_status": status,
    }
