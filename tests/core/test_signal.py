"""Setups and the pending confirmation, by example."""

from __future__ import annotations

import pytest

from avwapd.core import signal
from avwapd.core.codes import SETUP_RECLAIM
from tests.core import market
from tests.core.desk import Desk, Row

# Level 100 from the first bar; closes without volume leave it there.


def closes(desk: Desk, *prices: float) -> Row:
    desk.bar(100.0, 1_000.0)
    return desk.bars(*prices)


@pytest.mark.parametrize(
    ("prices", "last"),
    [
        ((101, 102), "entry"),
        ((99, 101, 102), "entry"),
        ((99, 101, 100), "entry"),  # on the line is not back across it
        ((99, 100.01, 100.01), "entry"),
        ((101,), "setup"),
        ((99, 101), "setup"),
        ((99, 100, 101), "setup"),  # on the line is not beyond it either
        ((101, 99.99), "none"),
        ((101, 99, 101), "setup"),
        ((101, 99, 101, 102), "entry"),
        ((99, 98), "none"),
    ],
)
def test_breakout_and_hold(prices: tuple[float, ...], last: str) -> None:
    row = closes(Desk(), *prices)
    assert row.signal == last
    assert row.skip == {"entry": "", "setup": "waiting", "none": "no_signal"}[last]


@pytest.mark.parametrize(
    ("prices", "last"), [((99, 98), "entry"), ((99, 100), "entry"), ((99, 101), "none"), ((101, 102), "none")]
)
def test_short_is_the_mirror(prices: tuple[float, ...], last: str) -> None:
    row = closes(Desk(allow_long=0, allow_short=1), *prices)
    assert row.signal == last
    if last == "entry":
        assert row.side == -1


def test_a_cross_is_needed_unless_the_setting_says_otherwise() -> None:
    """The first bar closes above its own line: no close on the other side was seen."""
    desk = Desk()
    desk.bar(101.0, 1_000.0, high=101.0, low=98.0)
    assert desk.level() == 100.0
    assert desk.bars(102.0, 103.0).signal == "none"

    desk = Desk(require_cross=0)
    desk.bar(101.0, 1_000.0, high=101.0, low=98.0)
    assert desk.bars(102.0).signal == "entry"


def test_the_closes_of_a_setup_lie_in_one_anchor_period() -> None:
    desk = Desk()
    desk.skip_to(0, bar=0)
    desk.bar(100.0, 1_000.0)
    desk.skip_to(0, bar=77)
    assert desk.bar(101.0).signal == "setup"
    desk.bar(102.0, 1_000.0, high=104.0, low=100.0)  # the next session: its line begins at 102
    assert desk.level() == 102.0
    assert desk.bars(102.5).signal == "setup"


@pytest.mark.parametrize(
    ("hold", "prices", "last"),
    [
        (1, (99, 101), "entry"),
        (2, (99, 101), "setup"),
        (2, (99, 101, 102), "entry"),
        (3, (99, 101, 102), "none"),
        (3, (99, 101, 102, 100), "entry"),
        (3, (99, 101, 102, 99, 101), "setup"),
    ],
)
def test_reclaim_holds_so_many_closes(hold: int, prices: tuple[float, ...], last: str) -> None:
    row = closes(Desk(setup=SETUP_RECLAIM, hold_closes=hold), *prices)
    assert row.signal == last


def test_a_touch_without_a_close_beyond_is_no_cross() -> None:
    desk = Desk()
    desk.bar(100.0, 1_000.0)
    desk.bar(99.0, high=105.0)
    assert desk.bar(99.5, high=105.0).signal == "none"


# ------------------------------------------------------------------ pending


def waiting(for_ever: bool = False) -> Desk:
    """A confirmation at 102 that waits for its delay; or longer, because another gate stays closed."""
    desk = Desk(entry_delay_min_ms=60_000, entry_delay_max_ms=240_000)
    row = closes(desk, 101.0, 102.0)
    assert (row.signal, row.skip, row.blocked) == ("confirmed", "waiting", {"entry_delay"})
    if for_ever:
        desk.params["max_distance_pct"] = -1.0
    return desk


def test_the_order_comes_with_the_first_close_after_the_delay() -> None:
    desk = waiting()
    due = int(desk.state["pending_due_ms"]) - desk.last_ms
    assert 60_000 <= due <= 240_000
    row = desk.bars(102.5)
    assert (row.signal, row.skip, row.blocked) == ("entry", "", set())
    assert row.limit == 102.6  # 102.5 x 1.001 = 102.6025


def test_delays_are_whole_seconds_spread_by_symbol_and_date() -> None:
    desk = Desk(entry_delay_min_ms=60_000, entry_delay_max_ms=240_000)
    p, inst = desk.params[0], desk.world.instruments.copy()
    found = []
    for n in range(400):
        inst["hash"] = (n * 7_919 + 13) % 2**31
        found += [signal.entry_delay(inst[0], p, 20240102 + day) for day in range(5)]
    assert {delay % 1000 for delay in found} == {0}
    assert (min(found), max(found)) == (60_000, 240_000)
    assert len(set(found)) == 181
    inst["hash"] = 12_345
    # 12345 x 48271 + 20240102 = 616145597, x 16807 mod (2^31 - 1) = 332612345, mod 181 = 65
    mixed = (12_345 * 48_271 + 20_240_102) % (2**31 - 1) * 16_807 % (2**31 - 1)
    assert signal.entry_delay(inst[0], p, 20240102) == 60_000 + mixed % 181 * 1000


@pytest.mark.parametrize(("close", "kept"), [(100.0, True), (99.99, False), (105.05, True), (105.07, False)])
def test_a_confirmation_ends_with_a_close_back_or_drift(close: float, kept: bool) -> None:
    """Drift up to 3% of 102, 3.06, is allowed; equality with the level is not back."""
    desk = waiting(for_ever=True)
    desk.bars(close)
    assert (desk.state["pending_side"] == 1) == kept


@pytest.mark.parametrize(("bars", "kept"), [(24, True), (25, False)])
def test_a_confirmation_ends_two_hours_old(bars: int, kept: bool) -> None:
    desk = waiting(for_ever=True)
    desk.bars(*[102.0] * bars)
    assert (desk.state["pending_side"] == 1) == kept


def test_a_confirmation_ends_with_the_session() -> None:
    desk = Desk(anchors=("week",), max_distance_pct=0.0001)
    desk.skip_to(4)
    closes(desk, 101.0, 102.0)
    assert desk.state["pending_side"] == 1
    desk.skip_to(5)
    row = desk.bar(102.0)
    assert (desk.state["pending_side"], row.signal) == (0, "setup")


def test_after_an_unfilled_order_two_new_closes_are_needed() -> None:
    desk = Desk()
    desk.ordered()
    assert desk.bar(103.0).skip == "in_flight"  # nothing traded: canceled at this close
    assert desk.phase == "FLAT"
    assert desk.causes == ["ordered", "unfilled"]
    assert desk.bar(103.0).signal == "entry"
    assert [e[:2] for e in desk.effects] == [("submit", "entry"), ("cancel", "entry"), ("submit", "entry")]


def test_crypto_waits_for_no_bell() -> None:
    days = market.utc_days()
    desk = Desk(market.crypto(0, len(days)), days, entry_delay_min_ms=60_000, entry_delay_max_ms=240_000)
    assert closes(desk, 101.0, 102.0).signal == "entry"
