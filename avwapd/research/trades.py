"""Round trips out of fills: one row for each order that took a position down, in exact money.

The same function reads a backtest's fills and a ledger's. Money is counted in whole units (tick x lot) and only then
written as decimals, so that the rows of a trade add up to what it earned. Where a position follows the venue, what
other hands bought is part of the entry and what they sold a leg; what was written off as dust closes the leg before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from avwapd.core import codes
from avwapd.core.codes import CAUSE_ADJUSTED, CAUSES, EXIT_NONE, PURPOSE_ENTRY, PURPOSE_RESTATE

SIGNIFICANT = 12  # decimals of a quotient that does not end


class Trade(NamedTuple):
    """One exit leg. Decimals as text: prices and money in quote currency, quantities in the instrument's own unit."""

    exchange: str
    symbol: str
    timeframe: str
    trade: int
    leg: int
    side: str
    entry_ts_ms: int  # the first fill
    exit_ts_ms: int  # the last fill of the leg's order
    qty: str
    entry_price: str
    exit_price: str
    entry_reason: str
    exit_reason: str
    gross_pnl: str
    fees: str
    pnl: str
    r_multiple: str  # empty where no stop lay behind the entry
    mae: str  # a unit, from the average entry
    mfe: str
    quote: str


COLUMNS = Trade._fields


@dataclass
class _Leg:
    intent: int
    reason: int
    scale: Fraction  # shares of its day in one share of the entry's
    ts_ms: int = 0
    qty: int = 0
    cost: int = 0  # ticks x lots
    fee: int = 0
    best: int = 0
    worst: int = 0
    prices: list[int] = field(default_factory=list)
    closes: bool = False


@dataclass
class _Round:
    """All fills of one (symbol, trade). qty, cost and stop in shares and ticks of the entry's day."""

    side: int
    ts_ms: int
    intent: int
    stop: int
    adopted: bool  # no entry of ours began it
    qty: Fraction = Fraction(0)
    cost: int = 0
    fee: int = 0
    scale: Fraction = Fraction(1)
    legs: dict[int, _Leg] = field(default_factory=dict)  # by intent; those of other hands by negative numbers
    last: _Leg | None = None


def trades(
    fills: Any,
    symbols: Sequence[str],
    instruments: Sequence[Mapping[str, Any]],
    *,
    exchange: str,
    timeframe: str,
    setups: Mapping[tuple[int, int], str] | None = None,
) -> list[Trade]:
    """Every exit leg in FILL rows (in time order), sorted by exit, symbol, leg.

    instruments: a mapping with tick, lot (decimal text) and quote for each symbol; setups: what was seen at the entry,
    by (symbol, intent).
    """
    rounds: dict[tuple[int, int], _Round] = {}
    for row in fills:
        _take(rounds, row)
    found: list[Trade] = []
    for (symbol, number), trip in rounds.items():
        inst = instruments[symbol]
        begun = CAUSES[CAUSE_ADJUSTED] if trip.adopted else codes.PURPOSES[PURPOSE_ENTRY]
        reason = (setups or {}).get((symbol, trip.intent), "") or begun
        head = (exchange, symbols[symbol], timeframe, number)
        found += _rows(trip, head, Decimal(inst["tick"]), Decimal(inst["lot"]), reason, str(inst["quote"]))
    return sorted(found, key=lambda t: (t.exit_ts_ms, t.symbol, t.trade, t.leg))


def setups_of(decisions: Any) -> dict[tuple[int, int], str]:
    """The setup behind each entry order, from DECISION rows."""
    made = decisions[decisions["intent"] != 0]
    keys = zip(made["symbol"].tolist(), made["intent"].tolist(), strict=True)
    return {key: codes.SETUPS[setup] for key, setup in zip(keys, made["setup"].tolist(), strict=True)}


def _take(rounds: dict[tuple[int, int], _Round], row: Any) -> None:
    symbol, number = int(row["symbol"]), int(row["trade"])
    side, qty, price, fee = int(row["side"]), int(row["qty"]), int(row["price"]), int(row["fee"])
    trip = rounds.get((symbol, number))
    restated = row["purpose"] == PURPOSE_RESTATE
    adjusted = restated and row["reason"] != EXIT_NONE
    entry = row["purpose"] == PURPOSE_ENTRY
    if trip is None:
        begun = int(row["intent"]) if entry else 0
        adopted = adjusted and int(row["held"]) == qty
        trip = _Round(side if entry or adopted else -side, int(row["ts_ms"]), begun, int(row["initial_stop"]), adopted)
        rounds[symbol, number] = trip
    if entry or (adjusted and side == trip.side):
        trip.qty += qty / trip.scale
        trip.cost += price * qty
        trip.fee += fee
        return
    if restated and not adjusted:
        after = int(row["held"])
        before = after - side * trip.side * qty
        trip.scale *= Fraction(after, before)
        trip.fee += fee  # paid for what made no whole lot
        return
    if adjusted and price == 0 and trip.last is not None:
        trip.last.closes = row["held"] == 0
        return
    intent = int(row["intent"]) or -len(trip.legs) - 1
    leg = trip.legs.setdefault(intent, _Leg(intent, int(row["reason"]), trip.scale))
    trip.last = leg
    leg.ts_ms = int(row["ts_ms"])
    leg.qty += qty
    leg.cost += price * qty
    leg.fee += fee
    leg.best, leg.worst = int(row["best"]), int(row["worst"])
    if price:
        leg.prices.append(price)
    leg.closes = row["held"] == 0


def _rows(
    trip: _Round, head: tuple[str, str, str, int], tick: Decimal, lot: Decimal, reason: str, quote: str
) -> Iterable[Trade]:
    """The legs in the order of their first fill. What was paid is shared out by quantity, the last leg has the rest."""
    cost_left, fee_left = trip.cost, trip.fee
    entry = Fraction(trip.cost, trip.qty) if trip.qty else Fraction(0)
    unit = tick * lot
    for number, leg in enumerate(trip.legs.values(), start=1):
        cost, fee = cost_left, fee_left
        price, stop = entry / leg.scale, trip.stop / leg.scale  # in ticks of the leg's day
        if not leg.closes and trip.qty:
            part = leg.qty / leg.scale
            cost = min(_share(trip.cost, part, trip.qty), cost_left)
            fee = min(_share(trip.fee, part, trip.qty), fee_left)
        cost_left -= cost
        fee_left -= fee
        gross = trip.side * (leg.cost - cost)
        fees = fee + leg.fee
        risk = trip.side * (price - stop) * leg.qty
        best = max([leg.best, *leg.prices], key=lambda price: trip.side * price)
        worst = min([leg.worst, *leg.prices], key=lambda price: trip.side * price)
        yield Trade(
            *head,
            number,
            "long" if trip.side > 0 else "short",
            trip.ts_ms,
            leg.ts_ms,
            plain(leg.qty * lot),
            plain(quotient(price) * tick),
            plain(quotient(Fraction(leg.cost, leg.qty)) * tick),
            reason,
            codes.EXITS[leg.reason],
            plain(gross * unit),
            plain(fees * unit),
            plain((gross - fees) * unit),
            plain(quotient((gross - fees) / risk, 6)) if risk > 0 else "",
            plain(quotient(max(trip.side * (price - worst), Fraction(0))) * tick),
            plain(quotient(max(trip.side * (best - price), Fraction(0))) * tick),
            quote,
        )


def _share(amount: int, part: Fraction, whole: Fraction) -> int:
    """amount x part / whole in whole units, half to even."""
    return round(amount * part / whole)


def quotient(value: Fraction, decimals: int = SIGNIFICANT) -> Decimal:
    """Exact where it ends within `decimals`, else rounded there, half to even."""
    return Decimal(round(value * 10**decimals)).scaleb(-decimals)


def plain(value: Decimal) -> str:
    """Without exponent and without zeros that say nothing."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
