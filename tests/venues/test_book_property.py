"""Any order of requests, bars and kills: the exchange says what the fill model says, and its books add up."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from avwapd.core.price import to_lots
from avwapd.venues.port import Request
from tests.venues.kit import MINUTE, SHARE, SYMBOLS, Model, bar, exchange

PRICES = st.integers(9_700, 10_300)
SYMBOL = st.sampled_from(SYMBOLS)
SIDE = st.sampled_from((-1, 1))
TICK = 0.01


class Trading(RuleBasedStateMachine):
    """`lazy` forgets idle bars when killed, so only the eager one is killed; both must say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="book-"))
        (self.folder / "lazy").mkdir()
        self.lives = 0
        self.minute = 0
        self.running = False
        self.serial = 0
        self.volume: dict[tuple[int, str], float] = {}
        self.model = Model()
        self.x = exchange(self.folder, eager=True)
        self.lazy = exchange(self.folder / "lazy")

    def teardown(self) -> None:
        self.x.close()
        self.lazy.close()
        shutil.rmtree(self.folder)

    def _take(self, request: Request) -> None:
        for each in (self.x, self.lazy, self.model):
            each.take(request)

    def _cid(self) -> str:
        self.serial += 1
        return f"c{self.serial}"

    @rule(
        symbol=SYMBOL,
        side=SIDE,
        qty=st.integers(1, 60),
        kind=st.sampled_from(("market", "limit", "stop")),
        price=PRICES,
    )
    def submits(self, symbol: str, side: int, qty: int, kind: str, price: int) -> None:
        limit, stop = price if kind == "limit" else 0, price if kind == "stop" else 0
        self._take(Request("submit", self._cid(), "", symbol, "entry", side, kind, qty, limit, stop))

    @rule(symbol=SYMBOL, back=st.integers(0, 8), qty=st.integers(1, 60), price=PRICES, side=SIDE)
    def replaces(self, symbol: str, back: int, qty: int, price: int, side: int) -> None:
        ref = f"c{max(self.serial - back, 1)}"
        self._take(Request("replace", self._cid(), ref, symbol, "stop", side, "stop", qty, 0, price))

    @rule(symbol=SYMBOL, back=st.integers(0, 8))
    def cancels(self, symbol: str, back: int) -> None:
        ref = f"c{max(self.serial - back, 0)}"
        self._take(Request("cancel", f"k{self.x.last_word}", ref, symbol, "entry", 1, "", 0, 0, 0))

    @rule(prices=st.lists(PRICES, min_size=4, max_size=4), volume=st.integers(0, 900), present=st.sets(SYMBOL))
    def opens(self, prices: list[int], volume: int, present: set[str]) -> None:
        if self.running or not present:
            return
        self.minute += 1
        rows = []
        for symbol in sorted(present):
            o, c = prices[0] * TICK, prices[1] * TICK
            high, low = max(prices) * TICK, min(prices) * TICK
            rows.append(bar(self.minute, SYMBOLS.index(symbol), o=o, h=high, lo=low, c=c, volume=volume))
            self.volume[self.minute * MINUTE, symbol] = volume
        bars = np.concatenate(rows)
        self.running = True
        for each in (self.x, self.lazy):
            each.open_bar(self.minute * MINUTE, bars)
            each.open_bar(self.minute * MINUTE, bars)
        self.model.open_bar(bars)

    @rule()
    def closes(self) -> None:
        self.running = False
        for each in (self.x, self.lazy):
            each.close_bar(self.minute * MINUTE)
        self.model.close_bar()

    @rule()
    def is_killed(self) -> None:
        self.lives += 1
        folder = self.folder / str(self.lives)
        folder.mkdir()
        where = self.folder / str(self.lives - 1) if self.lives > 1 else self.folder
        for name in ("venue.db", "venue.db-wal"):
            shutil.copy(where / name, folder / name)
        self.x.close()
        self.x = exchange(folder, eager=True)

    @invariant()
    def says_what_the_fill_model_says(self) -> None:
        assert self.x.words(0) == self.model.words
        assert self.lazy.words(0) == self.model.words

    @invariant()
    def adds_up(self) -> None:
        words = self.x.words(0)
        assert [word.number for word in words] == list(range(1, len(words) + 1))
        filled: defaultdict[str, int] = defaultdict(int)
        traded: defaultdict[tuple[int, str], int] = defaultdict(int)
        orders: dict[str, tuple[Any, ...]] = {row[0]: row for row in self.x.orders_rows()}
        for word in words:
            if word.kind != "filled":
                continue
            filled[word.cid] += word.last_qty
            assert word.cum_qty == filled[word.cid]
            assert word.final == (word.cum_qty == orders[word.cid][4])
            traded[word.ts_ms, orders[word.cid][1]] += word.last_qty
        for key, lots in traded.items():
            assert lots <= to_lots(self.volume[key] * SHARE, 1.0)
        for cid, row in orders.items():
            assert row[7] == filled[cid] <= row[4]
            assert (row[8] == "filled") == (row[7] == row[4])


TestTrading = Trading.TestCase
TestTrading.settings = settings(
    max_examples=25, stateful_step_count=35, deadline=None, suppress_health_check=list(HealthCheck)
)
