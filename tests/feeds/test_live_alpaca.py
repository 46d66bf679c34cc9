"""The live feed over real sockets: alpaca-py's own clients before a simulator that loses, repeats, corrects and falls
silent. Whatever it does, every decision comes once, from the market's own bar, or says that there was none."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from avwapd.core.codes import BAR_CADENCE, BAR_MISSING, BAR_SILENT
from avwapd.feeds.live_decided import REVISED
from avwapd.ports import ScaledClock
from tests.feeds.live_kit import MINUTE_MS, Table, table

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_faultless_stream_needs_no_question(tmp_path: Path) -> None:
    async with table(tmp_path) as found:
        await found.bars(12)
        assert found.rows() == found.truth()
        counts = found.feed.facts()["counts"]
        assert (counts["bars"], counts.get("lost_by_stream", 0)) == (len(found.rows()), 0)
        assert found.feed.facts()["stream"] == "up"
        assert found.source.facts()["subscribed"] == 4


async def test_a_mute_stream_is_noticed_and_filled_by_rest(tmp_path: Path) -> None:
    async with table(tmp_path, speed=40.0) as found:
        await found.bars(3)
        found.faults(mute_stream={"on": "data_stream", "count": 1})
        last = found.got[-1][1].ts_ms
        await found.drink(lambda t: t.feed.counts["remade"] > 0)
        remade_ms = found.venue.sim.market.now_ms()
        assert remade_ms - last <= 2 * MINUTE_MS + 5_000
        await found.drink(lambda t: t.got[-1][1].streamed > 0)
        await found.bars(3)
        assert found.fired("mute_stream") == 1
        assert found.rows() == found.truth(), "no decision lost"
        assert found.feed.counts["lost_by_stream"] >= 8
        assert found.feed.facts()["connects"] == 2
        assert not found.flagged(BAR_MISSING)


async def test_doubled_reordered_and_dropped_frames_change_nothing(tmp_path: Path) -> None:
    faults = {name: {"on": "data_stream", "p": 0.3} for name in ("doubled_events", "reordered_events")}
    faults["dropped_events"] = {"on": "data_stream", "p": 0.15}
    async with table(tmp_path, faults=faults) as found:
        await found.bars(25)
        assert found.rows() == found.truth()
        for name in faults:
            assert found.fired(name) > 0, name
        assert not found.revisions


async def test_a_lost_bar_is_told_from_a_minute_without_trades(tmp_path: Path) -> None:
    async with table(tmp_path, faults={"missing_bar": 0.15, "silent_bar": 0.15}) as found:
        await found.bars(20)
        last = found.got[-1][1].ts_ms
        log = [row for row in found.venue.sim.faults.log if row["bar_ms"] <= last]
        silent = [(row["bar_ms"], SYMBOLS_AT[row["symbol"]]) for row in log if row["fault"] == "silent_bar"]
        lost = [row for row in log if row["fault"] == "missing_bar"]
        assert len(silent) > 3
        assert len(lost) > 3
        assert found.rows() == found.truth(without=silent)
        assert found.feed.counts["lost_by_stream"] == len(lost)
        assert not found.flagged(BAR_MISSING)


SYMBOLS_AT = {"ALFA": 0, "BRAVO": 1, "COCO": 2, "DELTA": 3}


@pytest.mark.campaign
async def test_what_can_be_no_bar_is_refused_and_had_by_rest(tmp_path: Path) -> None:
    async with table(tmp_path, faults={"nan_bar": 0.1, "future_bar": 0.1, "forming_bar": 0.1}) as found:
        await found.bars(15)
        refused = found.feed.facts()["counts"]["refused"]
        assert refused["from_future"] == found.fired("future_bar") > 0
        assert refused.get("not_finite", 0) + refused.get("high_below_low", 0) == found.fired("nan_bar") > 0
        assert found.fired("forming_bar") > 0
        assert found.rows() == found.truth()


@pytest.mark.campaign
async def test_a_late_bar_and_a_corrected_one(tmp_path: Path) -> None:
    async with table(tmp_path, faults={"late_bar": 0.1, "corrected_bar": 0.15}) as found:
        await found.bars(20)
        await anyio.sleep(0.3)
        assert found.rows() == found.truth(), "decided is what was had at the close, by stream or by REST"
        last = found.got[-1][1].ts_ms
        log = [row for row in found.venue.sim.faults.log if row["bar_ms"] < last - MINUTE_MS]
        corrected = {(row["bar_ms"], SYMBOLS_AT[row["symbol"]]) for row in log if row["fault"] == "corrected_bar"}
        assert len(corrected) > 3
        told = [(r.ts_ms, r.symbol) for r in found.revisions if r.kind == REVISED]
        assert corrected <= set(told)
        assert len(set(told)) == len(told), "each once"
        assert found.fired("late_bar") > 0


@pytest.mark.campaign
async def test_a_bar_that_comes_twice_with_other_values_is_decided_as_it_came_first(tmp_path: Path) -> None:
    async with table(tmp_path, faults={"doubled_bar": 0.2}) as found:
        await found.bars(12)
        assert found.rows() == found.truth()
        assert found.fired("doubled_bar") >= len(found.revisions) > 0


@pytest.mark.campaign
async def test_after_a_reconnect_the_gap_is_filled(tmp_path: Path) -> None:
    async with table(tmp_path, manners={"confirm": False}, speed=120.0) as found:
        await found.bars(2)
        found.faults(drop_stream={"on": "data_stream", "count": 1})
        await found.drink(lambda t: t.feed.counts["reconnects"] > 0)
        await found.bars(3)
        assert found.fired("drop_stream") == 1
        assert found.feed.facts()["connects"] == 2
        lost = [key[:2] for key in found.truth() if key not in found.rows()]
        known = {(r.ts_ms, r.symbol) for r in found.revisions}
        assert set(lost) <= known, "without confirmation they are late, but never silently lost"
        assert found.feed.counts["backfilled"] >= len(lost)


@pytest.mark.campaign
async def test_a_cut_stream_with_confirmation_loses_nothing(tmp_path: Path) -> None:
    async with table(tmp_path, faults={"drop_stream": {"on": "data_stream", "p": 0.3}}) as found:
        await found.bars(40)
        assert found.fired("drop_stream") > 1
        assert found.rows() == found.truth()
        assert not found.flagged(BAR_MISSING)


async def outage(found: Table) -> None:
    """Neither stream nor REST for three intervals."""
    found.faults(mute_stream={"on": "data_stream"}, down_500={"on": "bars"})
    await found.drink(lambda t: len(set(t.flagged(BAR_MISSING))) >= 12)


async def test_with_rest_down_rows_say_so_and_their_bars_follow(tmp_path: Path) -> None:
    async with table(tmp_path, speed=120.0, manners={"ask_limit_ms": 200}) as found:
        await found.bars(2)
        await outage(found)
        assert found.feed.down_since_ms is not None
        found.venue.sim.faults.clear()
        await found.drink(lambda t: bool(t.flagged(BAR_SILENT)))
        await found.bars(4)
        assert found.feed.down_since_ms is None
        assert set(found.flagged(BAR_SILENT)) == set(found.flagged(BAR_MISSING))
        assert found.rows() == found.truth(), "every bar came in the end, the missing ones silently"
        assert found.feed.counts["no_data"] == len(found.flagged(BAR_MISSING))


@pytest.mark.campaign
async def test_rest_that_hangs_does_not_stop_the_stream(tmp_path: Path) -> None:
    """Silent minutes cannot be confirmed; what the stream brings goes on."""
    faults = {"lose_request": {"on": "bars"}, "silent_bar": {"symbol": "DELTA"}}
    async with table(tmp_path, speed=60.0, manners={"ask_limit_ms": 200}, faults=faults) as found:
        await found.bars(6)
        assert {symbol for _, symbol in found.flagged(BAR_MISSING)} == {3}
        others = [row for row in found.truth() if row[1] != 3]
        assert [row for row in found.rows() if row[1] != 3] == others


@pytest.mark.campaign
async def test_a_stream_refused_for_ever_is_bounded_and_told(tmp_path: Path) -> None:
    async with table(tmp_path, speed=600.0, manners={"reconnects_minute": 3, "stale_bars": 1}) as found:
        await found.bars(2)
        found.faults(mute_stream={"on": "data_stream"})
        await found.drink(lambda t: bool(t.alerts), limit_s=25)
        assert found.feed.counts["remade"] == 3
        assert "stays mute" in found.alerts[0]
        await found.bars(3)
        assert len(found.alerts) == 1
        assert found.rows() == found.truth()


@pytest.mark.campaign
async def test_polled_bars_need_no_stream(tmp_path: Path) -> None:
    async with table(tmp_path, kind="rest", faults={"silent_bar": 0.1}) as found:
        await found.bars(8)
        silent = [
            (row["bar_ms"], SYMBOLS_AT[row["symbol"]])
            for row in found.venue.sim.faults.log
            if row["fault"] == "silent_bar"
        ]
        assert found.rows() == found.truth(without=silent)
        assert found.feed.facts()["stream"] == "none"
        assert found.feed.counts["lost_by_stream"] == 0


async def test_a_clock_that_is_behind_is_set_by_the_bars(tmp_path: Path) -> None:
    """Our scaled clock starts behind; a bar of an hour from now does not move it."""
    faults = {"future_bar": 0.2}
    clock = lambda now: ScaledClock(now - 90_000, 240.0)  # noqa: E731
    async with table(tmp_path, speed=240.0, clock=clock, faults=faults) as found:
        await found.bars(8)
        assert found.rows() == found.truth()
        assert found.feed.refused == {"from_future": found.fired("future_bar")}
        assert found.fired("future_bar") > 0


@pytest.mark.campaign
async def test_a_frozen_feed_opens_nothing(tmp_path: Path) -> None:
    async with table(tmp_path) as found:
        await found.bars(2)
        found.faults(frozen_feed=1.0)
        await found.drink(lambda t: bool(t.flagged(BAR_CADENCE)))
        assert len(found.alerts) == 1
        assert "repeats the last prices" in found.alerts[0]
        found.venue.sim.faults.clear()
        await found.drink(lambda t: not t.got[-1][1].bars["flags"].any())
