"""Where faults reach into the desk. This one does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avwapd.demo_venue.desk import Desk
    from avwapd.demo_venue.desk_shapes import Order


class Hook:
    """Every method is asked at one point of an order's life."""

    def bars(self, desk: Desk, ts_ms: int, bars: Any) -> Any:
        """What the book meets instead of `bars`."""
        return bars

    def opened(self, desk: Desk, ts_ms: int) -> None:
        """The book has met a bar."""

    def closed(self, desk: Desk, ts_ms: int) -> None:
        """A bar is over."""

    def accepted(self, desk: Desk, order: Order) -> None:
        """An order was taken; it may have filled already."""

    def canceling(self, desk: Desk, order: Order) -> bool:
        """True: the cancel was answered, and something else was done."""
        return False

    def replacing(self, desk: Desk, order: Order) -> bool:
        """True: the replacement is refused."""
        return False

    def pieces(self, desk: Desk, order: Order, lots: int) -> int:
        """Into how many executions a fill is told."""
        return 1
