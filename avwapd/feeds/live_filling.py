"""One interval while its bars come in: what is there, what is still due, what is in doubt."""

from __future__ import annotations

from avwapd.feeds.live_decided import Values
from avwapd.feeds.live_schedule import Mask


class Filling:
    """A barrier that is filling."""

    __slots__ = ("corrected", "doubted", "due", "found", "left", "others", "rows", "streamed")

    def __init__(self, due: Mask, left: int) -> None:
        self.rows: list[Values | None] = [None] * len(due)
        self.due = due
        self.left = left  # bars that are due and not in
        self.streamed = 0
        self.found = 0
        self.corrected: set[int] = set()
        self.doubted: set[int] = set()  # symbols of which two different bars came: REST says which
        self.others: list[tuple[int, Values]] = []  # (symbol, values) that may not be the ones

    def settle(self, symbol: int, values: Values) -> None:
        """Of two bars this is the one."""
        before = self.rows[symbol]
        if before is not None and before != values:
            self.others.append((symbol, before))
        self.rows[symbol] = values
        if symbol in self.doubted:
            self.doubted.remove(symbol)
            self.left -= bool(self.due[symbol])

    def doubt(self, symbol: int, values: Values) -> None:
        """Another bar of a symbol that has one."""
        self.others.append((symbol, values))
        if symbol not in self.doubted:
            self.doubted.add(symbol)
            self.left += bool(self.due[symbol])

    def lacks(self, symbol: int) -> bool:
        return self.rows[symbol] is None or symbol in self.doubted
