"""A desk over a real book in a folder, on two symbols, with bars made by hand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from avwapd.core.records import BAR, INSTRUMENT
from avwapd.demo_venue.desk import Desk
from avwapd.demo_venue.desk_shapes import PROFILES, DeskEvent, FeeRule, NewOrder, Profile
from avwapd.remote.terms import Terms
from avwapd.venues.book import Exchange

STEP_MS = 60_000


class Bench:
    """One desk, its clock and its bars. `again` is what a restarted process has."""

    def __init__(
        self,
        folder: Path,
        *,
        profile: Profile = PROFILES["strict"],
        fees: FeeRule | None = None,
        asset: str = "equity",
        lot: str = "1",
        cash: str = "10000",
        min_notional: str = "0",
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.now_ms = folder, 1_000_000
        self._given = {"profile": profile, "fees": fees or FeeRule()}
        self._cash = Decimal(cash)
        self.terms = {
            name: Terms(name, name, Decimal("0.01"), Decimal(lot), Decimal(lot), Decimal(min_notional), asset, "USD")
            for name in ("AAA", "BBB")
        }
        self._open()

    def _open(self) -> None:
        instruments = np.zeros(2, INSTRUMENT)
        lot = float(next(iter(self.terms.values())).lot)
        instruments["tick"], instruments["lot"], instruments["unit_value"] = 0.01, lot, 0.01 * lot
        self.exchange = Exchange(self.folder / "book.db", instruments, ("AAA", "BBB"), volume_share=0.1, eager=True)
        self.desk = Desk(
            self.exchange,
            self.terms,
            cash=self._cash,
            now_ms=lambda: self.now_ms,
            state=self.folder / "desk.jsonl",
            session_close=lambda symbol, ts_ms: 2_000_000,
            **self._given,
        )
        self.events: list[DeskEvent] = []
        self.desk.on_event.append(self.events.append)

    def again(self) -> Desk:
        marks = self.desk.marks
        self.close()
        self._open()
        self.desk.marks = marks
        return self.desk

    def close(self) -> None:
        self.desk.close()
        self.exchange.close()

    def open(self, **prices: tuple[float, float, float, float]) -> Any:
        """The next bar runs: symbol=(open, high, low, close); a volume of 1,000 unless a fifth number says."""
        self.now_ms += STEP_MS // 2
        self._ts_ms = self.now_ms + STEP_MS // 2
        rows = np.zeros(len(prices), BAR)
        for row, (name, figures) in zip(rows, sorted(prices.items()), strict=True):
            row["ts_ms"], row["symbol"] = self._ts_ms, ("AAA", "BBB").index(name)
            row["open"], row["high"], row["low"], row["close"], row["volume"] = (*figures, 1000)[:5]
        self._rows = rows
        self.desk.open_bar(self._ts_ms, rows)
        return rows

    def shut(self) -> None:
        self.now_ms = self._ts_ms
        self.desk.close_bar(self._ts_ms, self._rows)

    def bar(self, **prices: tuple[float, float, float, float]) -> None:
        self.open(**prices)
        self.shut()

    def order(self, side: int, qty: object, type: str = "market", symbol: str = "AAA", **more: Any) -> Any:
        for name in ("limit", "stop"):
            if name in more:
                more[name] = Decimal(str(more[name]))
        return self.desk.submit(NewOrder(symbol=symbol, side=side, type=type, qty=Decimal(str(qty)), **more))

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]
