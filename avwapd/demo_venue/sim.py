"""What an exchange's wire is built on: one desk, one market, the faults. Each wire module has `app(sim)`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from avwapd.remote.terms import Terms

if TYPE_CHECKING:
    from avwapd.demo_venue.desk import Desk
    from avwapd.demo_venue.faults import Faults
    from avwapd.demo_venue.market import SimMarket
    from avwapd.demo_venue.published import Published
    from avwapd.ports import Clock


@dataclass(slots=True)
class Sim:
    """terms: by our symbol (Terms.wire is the exchange's name); key, secret: what a caller must show, empty: anything.

    published: where a wire hears of closed bars (not from `market`: the feed's faults come in between).
    """

    desk: Desk
    market: SimMarket
    faults: Faults
    published: Published
    terms: dict[str, Terms]
    clock: Clock  # wall
    seed: int = 1
    key: str = ""
    secret: str = ""
    currency: str = "USD"
    streams_each: int = 1  # connections of one kind at a time; more are refused
    splits: list[dict[str, object]] = field(default_factory=list)  # of the fault `split`: symbol, new, old, ex_date

    by_wire: dict[str, str] = field(default_factory=dict)  # our symbol by the exchange's name

    def __post_init__(self) -> None:
        self.by_wire = {terms.wire: symbol for symbol, terms in self.terms.items()}

    def rename(self, symbol: str, wire: str) -> None:
        """The exchange calls it otherwise from now on; the old name is unknown."""
        self.by_wire.pop(self.terms[symbol].wire)
        self.by_wire[wire] = symbol
        self.terms[symbol] = replace(self.terms[symbol], wire=wire)

    async def answer_late(self, where: str) -> None:
        """The fault `fill_before_ack`: let what the streams have to say go first."""
        late = self.faults.fires("fill_before_ack", "book", call=where)
        if late is not None:
            await self.clock.sleep(float(late.value) / 1000)


def skewed_ms(sim: Sim, *, counted: bool = False) -> int:
    """The market's clock as the venue shows it; counted: a firing of the fault `clock_skew`."""
    faults = sim.faults
    if not faults.is_set("clock_skew"):
        return sim.market.now_ms()
    setting = faults.fires("clock_skew", "clock") if counted else faults.setting("clock_skew")
    return sim.market.now_ms() + (int(setting.value) if setting else 0)
