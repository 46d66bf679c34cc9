"""Over the wire, unharmed and harmed: one order an intent, and at the end the venue's books."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.actors_router.bench import Bench, bench
from tests.sim import ledgers

HARMS = {
    "lost requests": {"lose_request": 0.3},
    "lost answers": {"lose_answer": 0.3},
    "cut lines": {"reset": 0.2, "cut_answer": 0.2, "wrong_length": 0.2},
    "taken behind a gateway": {"gateway_504_taken": 0.5},
    "answers that cannot be read": {"html_200": 0.2, "bad_json": 0.2, "nan_value": 0.1, "missing_field": 0.1},
    "a stream that loses and doubles": {"dropped_events": 0.4, "doubled_events": 0.3, "reordered_events": 0.2},
}
ON = ["submit", "replace", "cancel"]


async def books(there: Bench) -> ledgers.Rows:
    """The ledger as a backtest tells the same day."""
    found = {name: await there.rows(query) for name, query in ledgers.QUERIES.items()}
    return ledgers.comparable(found)


async def test_an_unharmed_day_is_the_backtests(tmp_path: Path) -> None:
    async with bench(tmp_path, reconciling=True) as there:
        await there.wait(lambda: there.reconciler.compared)
        await there.bar(50)
        await there.sound()
        assert ledgers.differences(ledgers.backtested(there.setup), await books(there)) == []
        assert len((await books(there))["fills"]) > 5
        assert await there.alerts() == []
        there.reconciler.ring()
        await there.wait(lambda: there.reconciler.readings > 1)
        assert (there.reconciler.differences, there.reconciler.cash_difference) == ([], 0)


@pytest.mark.parametrize("harm", HARMS)
async def test_a_harmed_day_ends_like_an_unharmed_one(harm: str, tmp_path: Path) -> None:
    """The market waits here, so that a doubt costs time and nothing else."""
    async with bench(tmp_path, order__fresh_ms="86400000") as there:
        for name, chance in HARMS[harm].items():
            there.fault(name, p=chance, **({} if "events" in name else {"on": ON}))
        await there.bar(50)
        there.sim.faults.clear()
        await there.quiet()
        assert sum(there.sim.faults.fired.values()) >= 3, there.sim.faults.fired
        await there.sound()
        assert ledgers.differences(ledgers.backtested(there.setup), await books(there)) == []
