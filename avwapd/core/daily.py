"""Daily bars of many symbols as the scan sees them."""

from __future__ import annotations

from typing import Any, NamedTuple


class Days(NamedTuple):
    """Raw daily bars of n symbols, symbol after symbol, oldest first.

    offsets: int64 [n + 1], symbol s owns rows offsets[s] to offsets[s + 1]; session: int32 [rows], index into the
    exchange's SESSION table; open, high, low, close, volume: float64 [rows]; price_ratio: float64 [rows], what every
    earlier price is multiplied by once the row's session has opened (splits and dividends, nearly always 1);
    split_ratio: float64 [rows], the same for splits alone; earlier volumes are divided by it.
    """

    offsets: Any
    session: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    price_ratio: Any
    split_ratio: Any
