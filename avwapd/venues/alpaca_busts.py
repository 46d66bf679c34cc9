"""Trades that Alpaca took back: told by its stream, or read off an order that has less filled than we counted.

No list of the API names a trade that was taken back, and a message of the stream may be lost: what remains of it is the
order's own figure, the position and the cash. Each trade is told once, whichever way it is heard first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from avwapd.ports import Clock
from avwapd.remote.terms import plain
from avwapd.venues.alpaca_words import Fill, Seen

ZERO = Decimal(0)
AGREE_S = 0.5  # between two sights that only together say that something was taken back
BOOKED = "bust:"
DECIMALS = 8  # of a price worked out from an average


@dataclass(frozen=True, slots=True)
class Bust:
    """An execution that the venue took back. side: of the order; qty and price as decimal text.

    price: "" where the order's other executions do not tell it.
    """

    exec_id: str
    cid: str
    symbol: str
    side: int
    qty: str
    price: str
    ts_ms: int

    @property
    def booked_as(self) -> str:
        """Its name in the ledger: the next life reads there how much of which order was taken back."""
        return f"{self.exec_id}|{self.cid}|{self.qty}"


def taken_back(booked: Collection[str]) -> dict[str, Decimal]:
    """By order, from the ledger's names."""
    found: dict[str, Decimal] = {}
    for name in booked:
        if name.startswith(BOOKED) and name.count("|") == 2 and "/" not in name:  # "/2": another part of the same row
            _, cid, qty = name.split("|")
            found[cid] = found.get(cid, ZERO) + Decimal(qty)
    return found


@dataclass(slots=True)
class Tally:
    """One order. base_ms: the venue's stamp of a sight that showed all that we counted, 0: none did; fill_ms: of the
    newest execution.

    paid: what the executions that stand came to, None: not known; unnamed: of `back`, what no message has named yet.
    """

    base_ms: int = 0
    fill_ms: int = 0
    back: Decimal = ZERO
    unnamed: Decimal = ZERO
    paid: Decimal | None = None


class Busts:
    """`begin` before anything else. Quantities in units of the asset.

    unsure: orders of which a second sight has to say whether something was taken back; since when they say what they
    say (monotonic), and how much of them is filled.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.unsure: dict[str, tuple[float, Decimal]] = {}
        self._tallies: dict[str, Tally] = {}
        self._named: set[str] = set()

    def begin(self, booked: Collection[str]) -> None:
        self._tallies = {cid: Tally(back=qty) for cid, qty in taken_back(booked).items()}

    def counted(self, cid: str, fill: Fill, before: Decimal) -> None:
        """An execution, and how much of its order was counted before it."""
        tally = self._of(cid)
        if tally.paid is None and before == 0:
            tally.paid = ZERO
        if tally.paid is not None:
            tally.paid += fill.qty * fill.price
        tally.base_ms, tally.fill_ms = 0, max(tally.fill_ms, fill.ts_ms)

    def seen(self, order: Seen, counted: Decimal, symbol: str, lot: Decimal) -> Bust | None:
        """What a sight of an order says, of which executions for `counted` were heard.

        A sight older than what was counted says nothing. One that is newer than a sight of all of it is believed at
        once: what stood in the order stands there no more. Else two sights have to agree, some time apart.
        """
        tally = self._of(order.cid)
        short = counted - tally.back - order.filled
        if short < lot:
            self.unsure.pop(order.cid, None)
            if short >= 0 and counted:
                self._stands(tally, order)
            return None
        if order.updated_ms < max(tally.base_ms, tally.fill_ms):
            return None
        if not 0 < tally.base_ms < order.updated_ms and not self._agreed(order):
            return None
        return self._read_off(tally, order, symbol, short)

    def named(self, name: str, cid: str, qty: Decimal, price: Decimal) -> bool:
        """A message about a trade taken back; True where it is news. A sight of its order has to follow."""
        if name in self._named:
            return False
        self._named.add(name)
        tally = self._of(cid)
        if tally.unnamed > 0:  # read off the order before; where it was another one, the sight tells
            tally.unnamed = max(ZERO, tally.unnamed - qty)
            return False
        tally.back += qty
        if tally.paid is not None:
            tally.paid -= qty * price
        return True

    def _agreed(self, order: Seen) -> bool:
        now = self._clock.monotonic()
        since, filled = self.unsure.get(order.cid, (now, None))
        if filled != order.filled:
            since = now
            self.unsure[order.cid] = (now, order.filled)
        return now - since >= AGREE_S

    def _stands(self, tally: Tally, order: Seen) -> None:
        """The order says the same as we: a base for what comes."""
        tally.base_ms = max(tally.base_ms, order.updated_ms)
        if tally.paid is None and order.average is not None:
            tally.paid = order.filled * order.average

    def _read_off(self, tally: Tally, order: Seen, symbol: str, short: Decimal) -> Bust:
        left = order.filled * (order.average or ZERO)
        price = "" if tally.paid is None else plain(round((tally.paid - left) / short, DECIMALS))
        tally.back += short
        tally.unnamed += short
        tally.base_ms = order.updated_ms
        self.unsure.pop(order.cid, None)
        if order.average is not None or not order.filled:
            tally.paid = left
        name = f"{BOOKED}{order.id}:-{plain(tally.back)}"
        return Bust(name, order.cid, symbol, order.side, plain(short), price, order.updated_ms)

    def _of(self, cid: str) -> Tally:
        return self._tallies.setdefault(cid, Tally())
