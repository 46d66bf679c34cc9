"""What to do about a request that may or may not be at the venue: judgment without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from avwapd.core import codes
from avwapd.store import rows
from avwapd.venues import port
from avwapd.venues.port import VenueOrder

SIDE = {"buy": 1, "sell": -1}
FIRST_WAIT_S = 0.05

WAIT, AGAIN, GIVE_UP, FREEZE, REFUSED = "wait", "again", "give up", "freeze", "refused"


class Waiting(NamedTuple):
    """A committed request that has not left. qty in lots, side +1 or -1; both 0 for a cancel."""

    symbol: int
    intent: int
    kind: str
    purpose: str
    side: int
    qty: int
    due_ts_ms: int

    @property
    def opens(self) -> bool:
        """It would add risk."""
        return self.kind == "submit" and self.purpose == "entry"

    @property
    def closes(self) -> bool:
        """A new order that takes from what is held."""
        return self.kind == "submit" and self.purpose != "entry"

    @classmethod
    def of_effect(cls, effect: rows.OutboxRow) -> Waiting:
        kind, purpose = codes.EFFECTS[effect.kind], codes.PURPOSES[effect.purpose]
        return cls(effect.symbol_id, effect.intent, kind, purpose, effect.side, effect.qty, effect.due_ts_ms)

    @classmethod
    def of_row(cls, row: rows.Request) -> Waiting:
        return cls(row.symbol_id, row.intent, row.kind, row.purpose, SIDE[row.side], row.qty, row.due_ts_ms)


@dataclass(slots=True)
class Doubt:
    """A request that may have arrived. Times are monotonic seconds.

    absent: the venue said that it did not take it, so there is nothing to look up; taken: it said that it has it, so
    that no look-up in vain can say otherwise; refused: why it did not take a second attempt, which says nothing about
    the first: that one may be what stands in its way; told: a human was called about it; frozen: its symbol was halted
    for it, so a resume is the human's word that it is not there.
    """

    row: rows.Request
    since: float
    ask_at: float
    wait_s: float = FIRST_WAIT_S
    absent: bool = False
    taken: bool = False
    refused: str = ""
    told: bool = False
    frozen: bool = False

    def wait(self, now: float, longest_s: float) -> None:
        """Ask again later, and later still the next time."""
        self.wait_s = min(self.wait_s * 2, max(longest_s, FIRST_WAIT_S))
        self.ask_at = now + self.wait_s


def judge(doubt: Doubt, *, settled: bool, lost: bool, refuses_duplicates: bool, can_look_up: bool, wanted: bool) -> str:
    """Of a request that the venue does not know, or cannot be asked about: WAIT, AGAIN, GIVE_UP, FREEZE or REFUSED.

    settled: so much time has passed that it would be known had it arrived; lost: so much more that "not found" is
    believed where no second post can prove it.
    """
    if not doubt.absent:
        if not settled:
            return WAIT
        if not (refuses_duplicates and can_look_up):
            return FREEZE
        if doubt.taken:
            return WAIT  # it is there, whatever the look-up says
        if not wanted and not lost:
            return WAIT  # venues have denied live orders for minutes: what follows would be a second one
        if doubt.refused and wanted:
            # Shares that are held, or an order replaced already: most likely by its own first attempt.
            itself = doubt.refused.startswith("held_quantity") or doubt.row.kind == "replace"
            return REFUSED if lost or not (itself or Waiting.of_row(doubt.row).opens) else WAIT
    return AGAIN if wanted else GIVE_UP


def differs(row: rows.Request, order: VenueOrder) -> str:
    """What the venue's order has otherwise than ours; "" where it is what we meant, field by field."""
    wanted = (row.symbol, SIDE[row.side], row.type, row.qty, row.limit_ticks, row.stop_ticks)
    found = (order.symbol, order.side, order.type, order.qty, order.limit_ticks, order.stop_ticks)
    return "" if wanted == found else f"the venue's order differs: {found}, ours {wanted}"


def as_request(row: rows.Request) -> port.Request:
    """An outbox row as the venue's port takes it."""
    return port.Request(
        kind=row.kind,
        cid=row.cid,
        ref_cid=row.ref_cid or "",
        symbol=row.symbol,
        purpose=row.purpose,
        side=SIDE[row.side],
        type=row.type,
        qty=row.qty,
        limit_ticks=row.limit_ticks,
        stop_ticks=row.stop_ticks,
    )


def cancel_of(row: rows.Request) -> port.Request:
    """The request that takes back an order which the venue may have or still get: it names the order by our id."""
    return port.Request("cancel", row.cid, row.cid, row.symbol, row.purpose, SIDE[row.side], "", 0, 0, 0)
