"""A recorded run at a remote venue, driven by hand: words that come late and in parts, other hands, a poor feed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avwapd.core.codes import (
    ACT_HALT,
    ACT_RESUME,
    BAR_LATE,
    BAR_MISSING,
    BAR_SILENT,
    BAR_WARMUP,
    FLAT,
    OPEN,
)
from avwapd.core.records import BAR
from avwapd.feeds.world import Setup
from avwapd.store import notes
from avwapd.store.journal import Act, Adjustment
from tests.research import paper

SETTINGS = """
[fills]
volume_share = 0.02

[venue]
name = "alpaca"
address = "http://127.0.0.1:9"
"""
WARM, DOWN, UP, LOST = 60, 300, 310, 350  # barriers
HANDS = (200, 230, 260, 351, 400, 430, 460, 520)  # somebody else is in the account, also after the bar that came late


def settings(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "wire.toml"
    path.write_text(paper.SETTINGS.replace("[run]\n", '[run]\nmode = "paper"\nmarket = "archive"\n') + SETTINGS)
    return path


class Wire(paper.Live):
    """revised: what the feed said at first of some bars, by (ts_ms, symbol); late: bars it brought too late."""

    def __init__(
        self, setup: Setup, state: Path, *, revised: dict[tuple[int, int], float], late: tuple[int, int], seed: int = 1
    ) -> None:
        super().__init__(setup, state, mode="paper", killed=self._shut)
        self._revised, self._late = revised, late
        self._rng = random.Random(f"{seed}/wire")
        self._times = np.unique(setup.market.bars["ts_ms"]).tolist()
        self._lost = int(self._times[LOST]), 2  # a bar whose answer failed, and came with the next barrier
        self._heard: list[tuple[int, Any]] = []  # the barrier at which a word arrives
        self._fetched = 0
        self.did: set[str] = set()

    def _shut(self, symbol: str, ts_ms: int) -> bool:
        """The kill switch lies there for a while."""
        return self._times[85] <= ts_ms <= self._times[165]

    def barriers(self, until: int) -> Iterator[Any]:
        """What the feed brings: the first version of each bar, marks, one bar failed and one not at all."""
        bars = np.array(self.setup.market.bars)
        for at, ts_ms in enumerate(self._times):
            rows = bars[bars["ts_ms"] == ts_ms]
            rows = rows[(rows["ts_ms"] != self._late[0]) | (rows["symbol"] != self._late[1])]
            for row in rows:
                if (ts_ms, int(row["symbol"])) in self._revised:
                    row["close"] = self._revised[ts_ms, int(row["symbol"])]
            rows["flags"] |= BAR_WARMUP if at < WARM else BAR_LATE if DOWN < at <= UP else 0
            if ts_ms == self._lost[0]:
                [kept] = rows[rows["symbol"] == self._lost[1]].copy()
                row = rows[rows["symbol"] == self._lost[1]]
                for name in ("open", "high", "low", "close", "volume"):
                    row[name] = np.nan
                row["flags"] |= BAR_MISSING
                rows[rows["symbol"] == self._lost[1]] = row
                yield rows
                kept["flags"] |= BAR_SILENT
                yield np.array([kept], BAR)
                continue
            yield rows

    def run(self) -> None:  # type: ignore[override]
        for at, barrier in enumerate(self.barriers(2**62)):
            ts_ms = int(barrier[0]["ts_ms"])
            if not barrier["flags"][0] & (BAR_MISSING | BAR_SILENT):
                self.venue.open_bar(ts_ms, barrier)
                self._listen(at)
                self.venue.close_bar(ts_ms)
            self.take(self.journal.bars(barrier))
            self._say_all()
            self._listen(at)
            self._happen(at)
            self._say_all()
        self.settle()
        self.conn.execute("COMMIT")

    def _say_all(self) -> None:
        while self._asked:
            self._send(self._asked.popleft())

    def _listen(self, at: int) -> None:
        """Words arrive in order, some of them one to three barriers late."""
        for word in self.venue.words(max(self._fetched, self.journal.cursor)):
            due = at + (self._rng.randint(1, 3) if self._rng.random() < 0.3 else 0)
            self._heard.append((due, word))
            self._fetched = word.number
        while self._heard and self._heard[0][0] <= at:
            _, word = self._heard.pop(0)
            rows = self.journal.word(word)
            if rows is not None:
                self.take(rows)
        self._say_all()

    def _happen(self, at: int) -> None:
        if at == UP:
            self.take(self.journal.caught_up())
            self.did.add("caught up")
        if at in (280, 290):
            self.act(Act(ACT_HALT if at == 280 else ACT_RESUME, 3, False, "operator", "test"))
        if at in HANDS:
            self._hands(at)
        if at == 420:
            self._revise()

    def _hands(self, at: int) -> None:
        """Somebody else trades: in what is held, and in what is not."""
        states = self.journal.world.states
        ts_ms = self._times[at] + 7_001
        for phase, qty in ((OPEN, -3), (OPEN, 11), (FLAT, 20), (OPEN, -2_000)):
            found = np.flatnonzero((states["phase"] == phase) & (states["halted"] == 0))
            if not len(found) or (qty == -2_000 and at != HANDS[-2]):
                continue
            symbol = int(found[-1])
            price = round(float(states[symbol]["last_close"]) * 100)
            self.did.add(f"{'held' if phase == OPEN else 'flat'} {qty:+}")
            change = Adjustment(symbol, qty, price, 3, f"hand-{at}-{symbol}-{qty}", "an order that is not ours")
            self.take(self.journal.adjust(change, ts_ms))

    def _revise(self) -> None:
        """The feed has other values now, and a bar more: those of the archive."""
        bars = self.setup.market.bars
        for kind, keys in (("revised", list(self._revised)), ("late", [self._late])):
            for ts_ms, symbol in keys:
                [row] = bars[(bars["ts_ms"] == ts_ms) & (bars["symbol"] == symbol)]
                values = tuple(float(row[name]) for name in ("open", "high", "low", "close", "volume"))
                note = partial(notes.revision, ts_ms=ts_ms, symbol_id=symbol, known_ms=self._times[420], kind=kind)
                note(self.conn, values=values)  # type: ignore[arg-type]
