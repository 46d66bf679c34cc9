"""What each archived symbol is: asset, currency, tick, lot, calendar. Fixed when its first bars are imported.

`archive/instruments.json`, sorted by exchange and symbol. Tick and lot count money and quantities exactly
wherever a position is kept, so they never move on their own: later bars with finer prices leave them as they
are, and are told.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avwapd.store.archive import Archive
from avwapd.store.archive_file import ArchiveError, sync_folder

FILE = "instruments.json"
EXACT = 1e-10  # relative: a price this close to a decimal is that decimal
EQUITY_DECIMALS, CRYPTO_DECIMALS, MOST_DECIMALS = 2, 8, 12
FEW_BARS, FEW_DIGITS = 100, 4  # of fewer bars a coin's tick is at most 1e-4 of its price's power of ten
SETTABLE = ("asset", "quote", "tick", "lot", "calendar", "min_qty", "min_notional")
CRYPTO_EXCHANGES = frozenset(
    ("binance", "binanceus", "bitfinex", "bitstamp", "bybit", "coinbase", "gateio", "gemini", "kraken", "okx")
)
QUOTES = frozenset(
    ("USD", "USDT", "USDC", "BUSD", "DAI", "EUR", "GBP", "JPY", "AUD", "CAD", "CHF", "BTC", "ETH", "BNB")
)
_PAIR = re.compile(r"(?P<base>[^\s/-]+)[-/](?P<quote>[^\s/-]+)")


class Settled(NamedTuple):
    """What an import says about its symbol's instrument; "" = nothing."""

    note: str = ""
    warning: str = ""
    misfit: float = 0.0  # the share of prices that do not fit the tick


@dataclass(frozen=True)
class Instrument:
    """One symbol at one exchange. Numbers are decimal strings; money is in the quote currency."""

    exchange: str
    symbol: str
    asset: str  # equity | crypto
    quote: str
    tick: str
    lot: str
    min_qty: str
    min_notional: str
    calendar: str  # XNYS | 24/7
    price_source: str = "hlc3"


def decimals_of(values: NDArray[np.float64], most: int = MOST_DECIMALS) -> int:
    """The fewest decimals that write every value within `EXACT`; `most` where none do."""
    for decimals in range(most):
        scale = 10.0**decimals
        if (np.abs(np.rint(values * scale) / scale - values) <= EXACT * np.abs(values)).all():
            return decimals
    return most


def step(decimals: int) -> str:
    """0 → "1", 2 → "0.01"."""
    return format(Decimal(1).scaleb(-decimals), "f")


def inferred(
    exchange: str,
    symbol: str,
    prices: NDArray[np.float64],
    volumes: NDArray[np.float64],
    asset: str | None = None,
) -> Instrument:
    """What the names and numbers say. prices, volumes: float64 of any length, already checked."""
    pair = _PAIR.fullmatch(symbol)
    listed = exchange.lower() in CRYPTO_EXCHANGES
    if asset is None:
        asset = "crypto" if pair and (listed or pair["quote"].upper() in QUOTES) else "equity"
    if asset == "equity":
        tick = step(max(EQUITY_DECIMALS, decimals_of(prices)))
        return Instrument(exchange, symbol, asset, "USD", tick, "1", "1", "0", "XNYS")
    decimals = decimals_of(prices)
    if 0 < len(volumes) < FEW_BARS and len(prices):
        usual = FEW_DIGITS - math.floor(math.log10(prices.min()))
        decimals = max(decimals, min(usual, MOST_DECIMALS))
    tick, lot = step(decimals), step(decimals_of(volumes, CRYPTO_DECIMALS))
    quote = pair["quote"].upper() if pair else "USD"
    return Instrument(exchange, symbol, asset, quote, tick, lot, lot, "0", "24/7")


def misfit(prices: NDArray[np.float64], tick: str) -> float:
    """The share of the prices that are no whole number of ticks."""
    size = float(tick)
    off = np.abs(np.rint(prices / size) * size - prices) > EXACT * prices
    return float(off.mean()) if len(prices) else 0.0


def checked(instrument: Instrument, where: object) -> Instrument:
    """The same, or what is wrong with it."""

    def bad(what: str, next_step: str) -> ArchiveError:
        return ArchiveError(f"{instrument.exchange} {instrument.symbol}: {what}", where, next_step)

    for name in ("tick", "lot", "min_qty", "min_notional"):
        text = getattr(instrument, name)
        try:
            number = Decimal(text)
        except (InvalidOperation, TypeError):
            raise bad(f"{name} {text!r} is no number", "write it like 0.01") from None
        if not number.is_finite() or number < 0 or (number == 0 and name in ("tick", "lot")):
            raise bad(f"{name} {text} is not positive", "write it like 0.01")
    if instrument.asset not in ("equity", "crypto"):
        raise bad(f"asset {instrument.asset!r} is unknown", "use equity or crypto")
    if instrument.calendar not in ("XNYS", "24/7"):
        raise bad(f"calendar {instrument.calendar!r} is unknown", "use XNYS or 24/7")
    return instrument


class Instruments:
    """The table below one archive folder."""

    def __init__(self, root: Path) -> None:
        self.path = root / FILE

    def load(self) -> dict[tuple[str, str], Instrument]:
        """Every instrument by (exchange, symbol)."""
        names = {f.name for f in fields(Instrument)}
        try:
            if not self.path.exists():
                return {}
            rows: list[dict[str, str]] = json.loads(self.path.read_bytes())["instruments"]
            found = [Instrument(**row) for row in rows if set(row) <= names]
            if len(found) != len(rows):
                raise ValueError("a row has unknown fields")
        except OSError as error:
            what = f"the instruments file cannot be read ({error.strerror or error})"
            raise ArchiveError(what, self.path, "give this user the right to read it") from error
        except (ValueError, TypeError, KeyError) as error:
            what = f"the instruments file is damaged ({str(error)[:80]})"
            raise ArchiveError(what, self.path, "restore it from a backup, or move it away and import again") from error
        return {(row.exchange, row.symbol): checked(row, self.path) for row in found}

    def add(self, made: Mapping[tuple[str, str], Instrument]) -> None:
        """Put in what is not there yet; what is there stays, whoever else wrote meanwhile."""
        with Archive(self.path.parent).writing():
            known = self.load()
            if made.keys() - known.keys():
                self._save({**made, **known}.values())

    def _save(self, table: Iterable[Instrument]) -> None:
        rows = sorted(table, key=lambda row: (row.exchange, row.symbol))
        lines = ",\n".join(json.dumps(asdict(row)) for row in rows)
        beside = self.path.with_name(f".{FILE}.tmp")
        try:
            with beside.open("w") as file:
                file.write(f'{{"instruments": [\n{lines}\n]}}\n')
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            what = f"the instruments file cannot be written ({error.strerror or error}); the old one is as it was"
            raise ArchiveError(what, self.path, "free space or mend the folder's rights, then do it again") from error


def settle(
    table: dict[tuple[str, str], Instrument],
    exchange: str,
    symbol: str,
    prices: NDArray[np.float64],
    volumes: NDArray[np.float64],
    wanted: Mapping[str, str | None],
) -> Settled:
    """Put the symbol's instrument into `table` at its first import, by wish and inference.

    A later wish that differs is refused: rows elsewhere may be counted in the old tick and lot.
    """
    wishes = {name: value for name, value in wanted.items() if value is not None}
    fresh = inferred(exchange, symbol, prices, volumes, wishes.get("asset"))
    known = table.get((exchange, symbol))
    if known is None:
        made = replace(fresh, **wishes)
        made = made if "min_qty" in wishes else replace(made, min_qty=made.lot)
        table[exchange, symbol] = checked(made, "the options")
        note = f"{symbol}: {made.asset} in {made.quote}, tick {made.tick}, lot {made.lot}, {made.calendar}"
        return Settled(note, *_unfit(made, prices))
    for name, value in wishes.items():
        if getattr(known, name) != value:
            raise ArchiveError(
                f"{symbol}'s {name} is {getattr(known, name)} since its first import, not {value}",
                FILE,
                f"leave --{name.replace('_', '-')} out; another {name} needs another state folder",
            )
    return Settled("", *_unfit(known, prices))


def _unfit(instrument: Instrument, prices: NDArray[np.float64]) -> tuple[str, float]:
    share = misfit(prices, instrument.tick)
    if not share:
        return "", 0.0
    fine = step(decimals_of(prices))
    what = f"{instrument.symbol}: {share:.2%} of the prices do not fit its tick {instrument.tick}, which stays"
    way_out = f"import all of it into a new state folder with --tick {fine}"
    return f"{what}; prices as fine as {fine} came in: {way_out}", share
