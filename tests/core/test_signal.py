"""Setups and the pending confirmation, by example."""

from __future__ import annotations

import pytest

from avwapd.core import signal
from avwapd.core.codes import SETUP_PINCH, SETUP_PULLBACK, SETUP_RECLAIM
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


# ------------------------------------------------------------------ pullback


def rising(side: int = 1, **changes: float) -> Desk:
    """A line at 100 with sigma 4 that was lower five bars ago (side -1: higher)."""
    desk = Desk(setup=SETUP_PULLBACK, allow_short=1, **changes)
    desk.bar(96.0, 1_000.0)
    desk.bar(104.0, 1_000.0)
    assert (desk.level(), desk.state["avwap"][0]["spread"] / 2_000.0) == (100.0, 16.0)
    desk.bars(*[100.0] * 4)
    desk.state["slope_ring"][:] = 100.0 - side * 0.5
    return desk


@pytest.mark.parametrize(
    ("bar", "last"),
    [
        ({"close": 102.0, "open": 100.5, "low": 100.0}, "entry"),
        ({"close": 102.0, "open": 100.5, "low": 101.0}, "entry"),  # a quarter of sigma above
        ({"close": 102.0, "open": 101.5, "low": 101.01}, "none"),
        ({"close": 102.0, "open": 100.5, "low": 99.0}, "entry"),  # and below
        ({"close": 102.0, "open": 100.5, "low": 98.99}, "none"),
        ({"close": 100.0, "open": 99.5, "low": 99.5}, "none"),  # the close is on the line
        ({"close": 100.5, "open": 100.5, "low": 100.0}, "none"),  # not above the open
        ({"close": 100.5, "open": 100.49, "low": 100.0}, "entry"),
    ],
)
def test_pullback(bar: dict[str, float], last: str) -> None:
    assert rising().bar(**bar, high=103.0).signal == last
    mirror = {"high" if name == "low" else name: 200.0 - price for name, price in bar.items()}
    row = rising(-1).bar(**mirror, low=97.0)
    assert (row.signal, row.side) == (last, -1 if last == "entry" else 0)


def test_a_pullback_needs_a_line_that_is_known_to_rise() -> None:
    touch = {"close": 102.0, "open": 100.5, "low": 100.0}
    assert rising().bar(**touch).signal == "entry"
    assert rising(-1).bar(**touch).signal == "none", "falling"
    flat = rising()
    flat.state["slope_ring"][:] = 100.0
    assert flat.bar(**touch).signal == "none"
    young = rising()
    young.state["slope_count"] = 4
    assert young.bar(**touch).signal == "none"


def test_every_pullback_is_one_of_its_own() -> None:
    """Nothing of the bars before counts, and one that could not be ordered is dropped by a close back."""
    desk = rising(entry_delay_min_ms=600_000, entry_delay_max_ms=600_000)
    assert desk.bar(102.0, open=100.5, low=100.0).signal == "confirmed"
    assert desk.bar(102.5).signal == "pending"
    assert desk.bar(99.0).signal == "none"
    assert desk.bar(102.0, open=100.5, low=100.0).signal == "confirmed"


def test_a_pullback_that_takes_the_place_of_a_drifted_one_gets_its_own_stop() -> None:
    """The first confirms at 101; at 106 it has drifted away, and that bar is a pullback itself."""
    desk = rising(entry_delay_min_ms=600_000, entry_delay_max_ms=600_000)
    assert desk.bar(101.0, open=100.5, low=100.0).signal == "confirmed"
    desk.state["swing_low"] = 99.0
    row = desk.bar(106.0, open=100.5, low=100.0)
    assert (row.signal, desk.state["pending_close"]) == ("confirmed", 106.0)
    assert desk.state["pending_stop"] == 99.0 * 0.995


# ------------------------------------------------------------------ pinch


def pinched(second: float = 100.5, anchors: tuple[str, ...] = ("session", "year"), **changes: float) -> Desk:
    """Two lines, the session's at 100 and the year's at `second`, price last on the session's."""
    desk = Desk(anchors=anchors, setup=SETUP_PINCH, pinch_anchor=1, allow_short=1, **changes)
    desk.skip_to(1)
    desk.bar(100.0, 1_000.0)
    line = desk.state["avwap"][anchors.index("year")]
    line["anchor_ms"] = line["known_ms"] = 1
    line["shift"], line["mean"], line["weight"] = second, 0.0, 1.0
    assert {desk.level(0), desk.level(1)} == {100.0, second}
    desk.bar(100.0)
    return desk


@pytest.mark.parametrize(
    ("prices", "last", "side"),
    [
        ((101.0,), "setup", 0),
        ((101.0, 102.0), "entry", 1),
        ((100.51, 100.51), "entry", 1),
        ((100.5, 101.0), "setup", 0),  # on the upper line is not outside
        ((101.0, 100.4), "none", 0),  # back between the lines
        ((101.0, 100.4, 101.0), "setup", 0),
        ((99.5,), "setup", 0),
        ((99.5, 99.0), "entry", -1),
        ((101.0, 99.5), "setup", 0),
        ((101.0, 99.5, 99.0), "entry", -1),
    ],
)
def test_pinch(prices: tuple[float, ...], last: str, side: int) -> None:
    row = pinched().bars(*prices)
    assert (row.signal, row.side) == (last, side)


@pytest.mark.parametrize(("second", "last"), [(101.0, "entry"), (101.01, "none"), (99.01, "entry"), (99.0, "none")])
def test_the_lines_of_a_pinch_lie_within_one_percent(second: float, last: str) -> None:
    assert pinched(second).bars(103.0, 103.0).signal == last


def test_a_pinch_holds_so_many_closes() -> None:
    assert pinched(pinch_closes=3).bars(101.0, 102.0).signal == "none"
    assert pinched(pinch_closes=3).bars(101.0, 102.0, 102.0).signal == "entry"


def test_lines_may_part_once_price_has_left_them() -> None:
    desk = pinched()
    desk.bar(101.0)
    desk.state["avwap"][1]["shift"] = 95.0
    assert desk.bar(101.0).signal == "entry"


def test_price_that_was_outside_before_the_pinch_does_not_leave_it() -> None:
    for cross, last in ((1, "none"), (0, "entry")):
        desk = pinched(95.0, require_cross=cross)
        desk.bars(101.0, 102.0, 102.0)
        desk.state["avwap"][1]["shift"] = 100.5
        assert desk.bars(102.0, 102.0).signal == last


def test_a_pinch_needs_both_lines_in_their_period() -> None:
    desk = pinched()
    desk.bar(101.0)
    desk.state["avwap"][1]["anchor_ms"] = 0
    assert desk.bar(101.0).signal == "none"
    for anchors in (("year", "session"), ("session", "year")):
        desk = pinched(anchors=anchors)
        desk.skip_to(1, bar=77)
        assert desk.bar(101.0).signal == "setup"
        row = desk.bar(102.0, 1_000.0, open=102.0, high=102.0, low=100.0)  # a session's line begins, at 101.33
        assert (row.signal, desk.state["run_long"]) == ("none", -1)


def test_a_pending_pinch_ends_with_a_close_between_the_lines() -> None:
    desk = pinched(entry_delay_min_ms=600_000, entry_delay_max_ms=600_000)
    assert desk.bars(101.0, 102.0).signal == "confirmed"
    assert desk.bar(100.5).signal == "pending"
    desk.bar(100.4)
    assert desk.state["pending_side"] == 0


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
