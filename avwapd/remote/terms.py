"""What a symbol is at a venue: decimal text on the wire, whole ticks and lots inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Terms:
    """One instrument. tick in quote currency, lot in units of the asset; wire: the venue's own name of the symbol."""

    symbol: str
    wire: str
    tick: Decimal
    lot: Decimal
    min_qty: Decimal
    min_notional: Decimal
    asset: str  # equity | crypto
    quote: str

    def qty_text(self, lots: int) -> str:
        """Exact, without an exponent."""
        return plain(lots * self.lot)

    def price_text(self, ticks: int) -> str:
        """Exact, without an exponent."""
        return plain(ticks * self.tick)

    def lots(self, qty: Decimal | str) -> int:
        """Whole lots towards zero."""
        value = Decimal(qty)
        whole = int((abs(value) / self.lot).to_integral_value(ROUND_FLOOR))
        return whole if value >= 0 else -whole

    def rest(self, qty: Decimal | str) -> Decimal:
        """What `lots` leaves, with the sign of qty."""
        return Decimal(qty) - self.lots(qty) * self.lot

    def ticks(self, price: Decimal | str) -> int:
        """The nearest tick, half to even."""
        return int((Decimal(price) / self.tick).to_integral_value(ROUND_HALF_EVEN))

    def units(self, money: Decimal | str) -> int:
        """Quote currency in tick x lot, half to even."""
        return int((Decimal(money) / (self.tick * self.lot)).to_integral_value(ROUND_HALF_EVEN))


def plain(value: Decimal) -> str:
    """Decimal text without exponent and without zeros behind the last digit."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def terms_of(symbols: Sequence[str], instruments: Sequence[Mapping[str, Any]], wire: str = "-") -> dict[str, Terms]:
    """By symbol. wire: what stands between base and quote of a pair at this venue ("/" for ccxt's names)."""
    return {
        symbol: Terms(
            symbol,
            symbol if row["asset"] == "equity" else symbol.replace("-", wire).replace("/", wire),
            Decimal(row["tick"]),
            Decimal(row["lot"]),
            Decimal(row["min_qty"]),
            Decimal(row["min_notional"]),
            row["asset"],
            row["quote"],
        )
        for symbol, row in zip(symbols, instruments, strict=True)
    }
