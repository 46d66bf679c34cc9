"""Mode live from end to end: two keys, an arming that ends, who may open, how much."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from avwapd.actors.gates import GateClosed
from avwapd.core.codes import FLAT, OUTER_LEDGER
from avwapd.research.identity import Chosen
from avwapd.research.record import EVER, opened
from avwapd.research.verify import Report, _layers
from avwapd.store import notes
from tests.gates.living import Life, life, venue

ENTRIES = "SELECT symbol FROM orders JOIN instruments USING (symbol_id) WHERE purpose = 'entry' ORDER BY ts_ms"
CAPPED = "SELECT count(*) FROM decision_words WHERE instr(blocked, 'cap_symbol')"


async def refused(there: Life, hours: float | None = None, token: str | None = None) -> str:
    with pytest.raises(GateClosed) as caught:
        await there.daemon.gates.arm(hours, token, "uid 1")
    assert caught.value.exit_code == 75
    return caught.value.what


async def test_nothing_opens_before_it_is_armed_and_an_arming_outlives_a_restart(tmp_path: Path) -> None:
    async with venue(tmp_path) as at:
        async with life(at, tmp_path) as there:
            assert "nobody armed it" in there.is_closed("arming")
            await there.bar(40)
            assert await there.rows(ENTRIES) == []
            assert (await there.rows("SELECT count(*) FROM decision_words WHERE signal = 'entry'")) == [(0,)]
            blocked = "SELECT count(*) FROM decision_words WHERE instr(blocked, 'live') AND signal = 'confirmed'"
            assert (await there.rows(blocked))[0][0] > 0
            facts = await there.daemon.gates.arm(None, None, "uid 1")
            assert facts["armed"]
            assert facts["until_ms"] > there.now_ms
            assert there.is_closed("arming") == ""
            await there.bars_until(lambda: (there.states["phase"] != FLAT).any())
            assert there.daemon.facts()["gates"]["status"] == "open"
        async with life(at, tmp_path) as again:
            assert again.is_closed("arming") == ""
            assert again.daemon.gates.facts()["arming"]["until_ms"] == facts["until_ms"]
            assert await again.daemon.gates.disarm("uid 1") == {
                "done": "disarm",
                "was_armed": True,
                "effect": "no new entries; stops and exits go on",
            }
            assert "nobody armed it" in again.is_closed("arming")
            before = len(await again.rows(ENTRIES))
            await again.bars_until(lambda: (again.states["qty"] == 0).all())  # exits leave all the same
            await again.bar(5)
            assert len(await again.rows(ENTRIES)) == before
            assert await again.rows("SELECT mode FROM runs") == [("live",), ("live",)]


async def test_an_arming_runs_out(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path) as there:
        await there.bar(2)
        await there.daemon.gates.arm(0.5, "word", "uid 1")
        assert there.is_closed("arming") == ""
        await there.bar(5)
        assert there.is_closed("arming") == ""
        await there.bar(2)  # of five minutes
        await there.until(lambda: "run out" in there.is_closed("arming") or "nobody" in there.is_closed("arming"))
        assert await there.rows("SELECT end_reason FROM armings") == [("its time was over",)]
        facts = await there.daemon.gates.arm(0, None, "uid 1")
        closes = there.daemon.setup.sessions["close_ms"]
        assert facts["until_ms"] == min(int(each) for each in closes if each > there.now_ms)


async def test_what_forbids_arming(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path) as there:
        await there.bar(2)
        there.keys[:] = ["AVWAPD_LIVE_TRADING is not 1"]
        assert "AVWAPD_LIVE_TRADING is not 1" in await refused(there)
        there.keys.clear()
        assert "another token" in await refused(there, token="wrong")
        assert "-1 hours are not within" in await refused(there, hours=-1)
        assert "nan hours are not within" in await refused(there, hours=float("nan"))
        await there.daemon.writer.submit(lambda conn: notes.alert(conn, ts_ms=1, level="critical", what="look"))
        assert "1 critical alerts are unread" in await refused(there)
        await there.rows("UPDATE alerts SET delivered = 1 RETURNING id")
        await there.daemon.gates.turn(OUTER_LEDGER, True, "restored")
        assert "restored from a backup" in await refused(there)
        await there.daemon.gates.turn(OUTER_LEDGER, False, "looked at")
        reconciler: Any = there.daemon.at_venue.reconciler  # type: ignore[union-attr]
        reconciler._waiting = True
        assert "not compared yet" in await refused(there)
        reconciler._waiting = False
        assert await there.rows("SELECT count(*) FROM armings") == [(0,)]
        await there.daemon.gates.arm(1, None, "uid 1")
        there.keys[:] = ["the token is gone"]
        await there.until(lambda: there.is_closed("arming") == "armed, but the token is gone")
        there.keys.clear()
        await there.until(lambda: there.is_closed("arming") == "")


async def test_books_that_differ_forbid_arming(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path) as there:
        at.sim.desk.restate("S0", Decimal(7), Decimal(0))
        reconciler: Any = there.daemon.at_venue.reconciler  # type: ignore[union-attr]
        reconciler.ring()
        await there.until(lambda: reconciler.differences)
        assert "the venue's books differ: S0" in await refused(there)


async def test_a_damaged_ledger_is_not_armed(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path, integrity="row 7 missing from index") as there:
        assert "the ledger is damaged: row 7" in await refused(there)


async def test_only_the_allow_list_opens(tmp_path: Path) -> None:
    async with venue(tmp_path) as at:
        async with life(at, tmp_path, live__allow="S1") as there:
            assert there.is_closed("allow_list", 1) == "not in live.allow"
            await there.daemon.gates.arm(24, None, "uid 1")
            await there.bar(70)
            assert {symbol for (symbol,) in await there.rows(ENTRIES)} == {"S1"}
        async with life(at, tmp_path, live__allow="S0,S1") as there:
            assert there.is_closed("allow_list", 1) == ""
        async with life(at, tmp_path, live__allow="") as there:
            assert there.is_closed("allow_list", 2) == "not in live.allow"


async def test_a_first_day_is_one_symbol_one_entry_and_one_day(tmp_path: Path) -> None:
    first = {"live__first_live": "true", "live__first_symbol": "S0"}
    async with venue(tmp_path) as at:
        async with life(at, tmp_path, **first, live__first_max_symbol_notional="100000") as there:
            assert there.is_closed("first_live", 1) == "first live: live.first_symbol alone"
            assert there.daemon.journal.limits["max_entries_day"] == 1
            await there.daemon.gates.arm(100, None, "uid 1")
            await there.bar(70)
            assert len(await there.rows(ENTRIES)) == 1
            assert await there.rows(ENTRIES) == [("S0",)]
            await there.bar(20)  # the next session
            await there.until(lambda: "the first live day was" in there.is_closed("first_live"))
            assert len(await there.rows(ENTRIES)) == 1
        async with life(at, tmp_path) as there:
            assert there.is_closed("first_live") == ""
            assert there.is_closed("first_live", 1) == ""
            assert there.daemon.journal.limits["max_entries_day"] == 99
            assert len(await there.rows(ENTRIES)) == 1  # folded under the limits of its day


async def test_limits_bind_the_engine_and_a_breach_closes_the_gate_until_a_human_looked(tmp_path: Path) -> None:
    async with venue(tmp_path) as at:
        async with life(at, tmp_path) as there:
            await there.daemon.gates.arm(24, None, "uid 1")
            limits = there.daemon.symbols.limits
            assert limits is not None
            there.daemon.symbols.limits = replace(limits, order=1.0)  # the ledger stricter than the engine
            await there.bars_until(lambda: there.is_closed("limits"))
            assert "over the hard limit of an order" in there.is_closed("limits")
            sent = [order.client_id for order in at.sim.desk.all_orders()]
            assert sent == []
            assert (there.states["phase"] == FLAT).all()
        async with life(at, tmp_path) as there:
            assert there.is_closed("limits")
            assert (await there.daemon.gates.rearm("uid 1", "looked"))["ended"] == ["limits"]
            assert there.is_closed("limits") == ""
        async with life(at, tmp_path, live__max_symbol_notional="1") as there:
            await there.rows("UPDATE alerts SET delivered = 1 RETURNING id")
            await there.bar(40)
            assert (await there.rows(CAPPED))[0][0] > 0


async def test_an_alert_that_reaches_nobody_closes_its_gate(tmp_path: Path) -> None:
    async with venue(tmp_path) as at, life(at, tmp_path) as there:
        await there.bar(3)
        now_ms = there.now_ms
        await there.daemon.writer.submit(lambda conn: notes.alert(conn, ts_ms=now_ms, level="critical", what="look"))
        await there.bar(2)
        there.daemon.gates.judge._looks = 0  # type: ignore[union-attr]
        await there.daemon.gates.look()
        assert "1 critical alerts reached nobody" in there.is_closed("alerts")
        await there.rows("UPDATE alerts SET delivered = 1 RETURNING id")
        there.daemon.gates.judge._looks = 0  # type: ignore[union-attr]
        await there.daemon.gates.look()
        assert there.is_closed("alerts") == ""


async def test_verify_takes_the_limits_of_each_day_from_the_record(tmp_path: Path) -> None:
    first = {"live__first_live": "true", "live__first_symbol": "S0", "live__first_max_symbol_notional": "100000"}
    async with venue(tmp_path) as at:
        async with life(at, tmp_path, **first) as there:
            await there.daemon.gates.arm(100, None, "uid 1")
            await there.bar(60)
        async with life(at, tmp_path) as there:
            await there.bar(40)
            assert len(await there.rows(ENTRIES)) > 1
            setup, config = there.daemon.setup, there.daemon.config
    with opened(tmp_path / "avwapd.db") as record:
        report = Report("live")
        _layers(record, record.run(None), Chosen(config, setup, ()), report, *EVER)
        assert report.mismatch is None, report.mismatch
        assert report.passed
        assert report.compared["trades"] > 0
        assert report.taken["acts"] > 3
