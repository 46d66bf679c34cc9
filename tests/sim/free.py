"""Plans for a market that waits for nobody, and what must hold at the end of one."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from avwapd.venues.faults import FaultPlan
from tests.sim import ledgers
from tests.sim.scenario import Plan, bad_line
from tests.sim.world import Outcome, World

BAR_S = 4.0  # answers that come at all come within the bar


def free(seed: int, *, faults: bool = True, slow_fill_bars: int = 0, barriers: int = 90) -> Plan:
    """A market of its own pace; with slow fills, what it fills is heard bars later."""
    rng = Random(f"{seed}/free")
    return Plan(
        seed=seed,
        kind=rng.choice(["equity", "mixed"]),
        symbols=rng.choice([2, 3]),
        barriers=barriers,
        bar_s=BAR_S,
        options={
            "fills.volume_share": rng.choice(["0.1", "0.002"]),
            "signal.allow_short": rng.choice(["true", "false"]),
            "embedded.settling_ms": "400",
            "heartbeat.interval_ms": "1000",
        },
        faults=replace(bad_line(rng, seed), slow_fill_bars=slow_fill_bars) if faults else FaultPlan(),
    )


def sound(world: World, ended: Outcome) -> list[str]:
    """What is wrong at the end: the audit, the journal folded anew, the venue's positions, a decision for each bar."""
    wrong = [str(violation) for violation in ended.violations]
    wrong += [f"folding the journal gives other {name}" for name in ledgers.refolded(world.setup, ended.path)]
    bars = world.setup.market.bars
    expected = sorted(zip(bars["ts_ms"].tolist(), bars["symbol"].tolist(), strict=True))
    if [row[:2] for row in ended.rows["decisions"]] != expected:
        wrong.append(f"{len(ended.rows['decisions'])} decisions for {len(expected)} bars")
    return wrong


def books_differ(world: World, ended: Outcome) -> list[str]:
    """I11: the ledger's positions against the venue's."""
    signs = {"long": 1, "short": -1, "": 0}
    names = world.setup.market.symbols
    held = {names[row[0]]: signs[row[2]] * row[3] for row in ended.rows["positions"] if row[3]}
    return [] if held == ended.at_venue else [f"held {held}, at the venue {ended.at_venue}"]
